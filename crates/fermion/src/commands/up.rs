//! `fermion up`: the platform in one process, and the conversation with the person who started it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Result, bail};
use fermion_api::{AppView, DeployResult, Route, Step};
use fermion_bus::Event;
use fermion_model::assignment::{Assignment, NodeStatus};
use fermion_model::{AppName, Namespace};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cli::UpArgs;
use crate::commands::watch;
use crate::output;
use crate::project::Project;
use crate::signals::Signals;
use crate::wiring::{self, Front, LOCAL_NODE};

/// Runs the platform until a signal.
pub(crate) async fn run(arguments: UpArgs, json: bool) -> Result<()> {
    let signals = Signals::install()?;
    let platform = wiring::build(&arguments).await?;
    let shutdown = CancellationToken::new();
    let front = {
        let (folders, is_watching) = (arguments.folders, arguments.watch);
        move |front: Front, stop: CancellationToken| async move {
            let talk = talk(&front, folders, is_watching, json);
            stop.run_until_cancelled(talk).await.unwrap_or(Ok(()))
        }
    };
    signals.run(shutdown.clone(), platform.run(shutdown, front)).await
}

async fn talk(front: &Front, folders: Vec<PathBuf>, is_watching: bool, json: bool) -> Result<()> {
    let mut failed = 0;
    for folder in &folders {
        if let Err(error) = deploy(front, folder, json).await {
            failed += 1;
            output::fail(
                &error.context(format!("{} is not deployed", folder.display())),
                json,
            );
        }
    }
    settled(front).await?;
    let apps = front.control.status().await?.apps;
    let is_serving = apps.iter().any(|app| app.serving.is_some());
    if failed > 0 && !is_serving {
        bail!(
            "nothing to serve: {failed} of {} projects could not be deployed",
            folders.len()
        );
    }
    show(front, &apps, json);
    let mut tasks = JoinSet::new();
    if is_watching {
        let (changes, watcher) = watch::changes(&folders)?;
        follow_changes(front, changes, watcher, &mut tasks, apps, json).await
    } else {
        follow_logs(front, &mut tasks, &apps, json);
        std::future::pending().await
    }
}

/// Build, pack, sign, verify, compile, route: the whole road of one project.
async fn deploy(front: &Front, folder: &std::path::Path, json: bool) -> Result<DeployResult> {
    let begun = tokio::time::Instant::now();
    let project = Project::open(folder)?;
    for note in project.notes() {
        output::note(format!("{}: {note}", folder.display()));
    }
    let name = project.app.name.clone();
    if !json {
        output::line(format!("{name}: building {}", project.manifest.reference()));
    }
    let prefix = name.to_string();
    let wasm = project
        .build(move |line| output::note(format!("{prefix}: {line}")))
        .await?;
    let built = begun.elapsed();
    let packed = project.publish(wasm, &front.store, &front.key).await?;
    let published = begun.elapsed() - built;
    let request = project.request(&packed);
    let result = front
        .control
        .deploy(&project.app.namespace, &name, request, "up")
        .await?;
    if json {
        output::line(serde_json::json!({ "event": "deployed", "app": name, "result": result }).to_string());
    } else {
        let mut steps = vec![step("build", built), step("pack and sign", published)];
        steps.extend(result.steps.iter().cloned());
        output::line(format!("{name}: r{} {}", result.release.number.0, times(&steps)));
    }
    Ok(result)
}

fn step(name: &str, took: std::time::Duration) -> Step {
    Step {
        name: name.into(),
        micros: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
    }
}

fn times(steps: &[Step]) -> String {
    let shown = steps.iter().map(|step| {
        #[expect(clippy::cast_precision_loss, reason = "shown to one decimal")]
        let millis = step.micros as f64 / 1000.0;
        format!("{} {millis:.1} ms", step.name)
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// Waits until the node has dealt with the assignment that is in force.
async fn settled(front: &Front) -> Result<()> {
    let wanted = match front
        .bus
        .get_json::<Assignment>(&format!("assignments/{LOCAL_NODE}"))
        .await?
    {
        Some((_, assignment)) => assignment.generation,
        None => return Ok(()),
    };
    let mut watch = front.bus.watch(&format!("status/{LOCAL_NODE}"));
    loop {
        if let Event::Put(entry) = watch.next().await?
            && entry.json::<NodeStatus>()?.generation >= wanted
        {
            return Ok(());
        }
    }
}

fn show(front: &Front, apps: &[AppView], json: bool) {
    let (gateway, admin) = (front.gateway_address, front.admin_address);
    if json {
        let ready = serde_json::json!({
            "event": "up", "gateway": gateway, "admin": admin, "data": front.data.path(), "apps": apps,
        });
        output::line(ready.to_string());
        return;
    }
    output::line("");
    if apps.is_empty() {
        output::line("nothing is deployed yet: `fermion new hello && fermion deploy hello`");
    } else {
        let rows: Vec<[String; 5]> = apps.iter().map(|app| row(app, gateway)).collect();
        output::table(["APP", "RELEASE", "PACKAGE", "STATE", "URL"], &rows);
    }
    output::line(format!(
        "\ngateway  http://{gateway}/\nadmin    http://{admin}/ (token in {})\ninstances {:?}; Ctrl-C drains and stops",
        front.data.token().display(),
        front.allocation,
    ));
}

/// One app's line in the table.
pub(crate) fn row(app: &AppView, gateway: SocketAddr) -> [String; 5] {
    let release = app.serving.map_or("-".into(), |number| number.to_string());
    let (package, url) = match &app.active {
        Some(active) => (
            format!("{}:{}", active.package, active.version),
            url(&active.routes, gateway),
        ),
        None => ("-".into(), "-".into()),
    };
    let state = match (&app.problem, app.serving) {
        (None, Some(_)) => "serving".to_owned(),
        (Some(problem), Some(_)) => format!("serving ({} refused: {})", app.latest, problem.code),
        (Some(problem), None) => format!("down: {}", problem.code),
        (None, None) => "starting".to_owned(),
    };
    let name = if app.namespace == Namespace::default() {
        app.app.to_string()
    } else {
        format!("{}/{}", app.namespace, app.app)
    };
    [name, release, package, state, url]
}

fn url(routes: &[Route], gateway: SocketAddr) -> String {
    let shown = routes.iter().map(|route| {
        let host = route.host.as_ref().map_or_else(
            || gateway.to_string(),
            |host| format!("{host}:{}", gateway.port()),
        );
        format!("http://{host}{}", route.path.trim_end_matches('*'))
    });
    shown.collect::<Vec<_>>().join("  ")
}

fn follow_logs(front: &Front, tasks: &mut JoinSet<()>, apps: &[AppView], json: bool) {
    for app in apps {
        follow_app(front, tasks, &app.namespace, &app.app, json);
    }
}

fn follow_app(front: &Front, tasks: &mut JoinSet<()>, namespace: &Namespace, app: &AppName, json: bool) {
    let mut follower = front.logs.follow(namespace.as_str(), app.as_str());
    tasks.spawn(async move {
        while let Some(line) = follower.next().await {
            if json {
                output::line(line.to_json());
            } else {
                output::line(format!(
                    "{} r{} | {}",
                    line.served.app, line.served.release, line.line
                ));
            }
        }
    });
}

/// Deploys a project again whenever its files change. A project that does not build leaves what serves alone.
async fn follow_changes(
    front: &Front,
    mut changes: tokio::sync::mpsc::Receiver<PathBuf>,
    watcher: watch::Watcher,
    tasks: &mut JoinSet<()>,
    apps: Vec<AppView>,
    json: bool,
) -> Result<()> {
    let mut followed: BTreeSet<String> = BTreeSet::new();
    for app in &apps {
        followed.insert(app.app.to_string());
    }
    follow_logs(front, tasks, &apps, json);
    output::note("watching for changes");
    while let Some(folder) = changes.recv().await {
        match deploy(front, &folder, json).await {
            Ok(_) => {
                let project = Project::open(&folder)?;
                if followed.insert(project.app.name.to_string()) {
                    follow_app(front, tasks, &project.app.namespace, &project.app.name, json);
                }
            }
            Err(error) => {
                output::fail(
                    &error.context(format!("{}: the running release stays", folder.display())),
                    json,
                );
            }
        }
    }
    drop(watcher);
    Ok(())
}
