//! `fermion up`: the platform in one process, and the conversation with the person who started it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use fermion_api::{AppView, DeployResult, Step};
use fermion_model::ReleaseNumber;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cli::{SnapshotArgs, UpArgs};
use crate::commands::{apps, watch};
use crate::output;
use crate::project::{self, Project};
use crate::signals::Signals;
use crate::wiring::{self, Front};

/// How long what was served before may take to come back before projects are built beside it: native code that is in the
/// cache is loaded in some milliseconds, and a build would take them from it.
const RECOVERY_HEAD_START: Duration = Duration::from_secs(1);

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
    // What was served before serves again before anything is built, unless that takes its time.
    if let Ok(settled) = tokio::time::timeout(RECOVERY_HEAD_START, settled(front)).await {
        settled?;
    }
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
    // Watching and following begin before anybody is told that all is ready, so that nothing is missed from then on.
    let watching = is_watching.then(|| watch::changes(&folders)).transpose()?;
    let lines = front.logs.follow_all();
    show(front, &apps, json);
    let mut tasks = JoinSet::new();
    follow_logs(lines, &mut tasks, json);
    match watching {
        Some((changes, _watcher)) => follow_changes(front, changes, json).await,
        None => std::future::pending().await,
    }
}

/// Build, pack, sign, verify, compile, route: the whole road of one project.
async fn deploy(front: &Front, folder: &std::path::Path, json: bool) -> Result<DeployResult> {
    let begun = tokio::time::Instant::now();
    let project = Project::open(folder)?;
    project.say_notes();
    let name = project.app.name.clone();
    let (request, built, published) = match project::source_of(&project.app) {
        Some(source) => (
            project::request(&project.app, Some(source)),
            begun.elapsed(),
            Duration::ZERO,
        ),
        None => {
            let prepared = project.build(None, &SnapshotArgs::default()).await?;
            let built = begun.elapsed();
            project.scan(&prepared.wasm, &front.data.policy()).await?;
            let (packed, _) = project
                .publish(&prepared, &front.store, &front.data.keys())
                .await?;
            (project.request(&packed), built, begun.elapsed() - built)
        }
    };
    let result = front
        .control
        .deploy(&project.app.namespace, &name, request, "up")
        .await?;
    if json {
        output::line(serde_json::json!({ "event": "deployed", "app": name, "result": result }).to_string());
    } else {
        let mut steps = vec![step("build", built), step("pack and sign", published)];
        steps.extend(result.steps.iter().cloned());
        output::line(format!(
            "{name}: {} {}",
            result.release.number,
            output::steps(&steps)
        ));
    }
    Ok(result)
}

fn step(name: &str, took: std::time::Duration) -> Step {
    Step {
        name: name.into(),
        micros: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
    }
}

/// Waits until the node has dealt with what is assigned, which is what was intended last: a process that died between
/// intent and assignment has left the first without the second.
async fn settled(front: &Front) -> Result<()> {
    front.control.reconcile().await?;
    Ok(front.control.wait_until_settled().await?)
}

fn show(front: &Front, apps: &[AppView], json: bool) {
    let (gateway, admin) = (front.gateway_address, front.admin_address);
    if json {
        let ready = serde_json::json!({
            "event": "up", "gateway": gateway, "admin": admin, "data": front.data.path(), "apps": apps,
            "allocation": output::allocation_word(front.allocation),
        });
        output::line(ready.to_string());
        return;
    }
    output::line("");
    if apps.is_empty() {
        output::line("nothing is deployed yet: `fermion new hello && fermion deploy hello`");
    } else {
        let row = |app: &AppView| {
            [
                apps::name(app),
                apps::serving(app),
                apps::package(app),
                apps::state(app),
                apps::urls(app, gateway),
            ]
        };
        let rows: Vec<_> = apps.iter().map(row).collect();
        output::table(["APP", "RELEASE", "PACKAGE", "STATE", "URL"], &rows);
        apps::problems(apps);
    }
    output::line(format!(
        "\ngateway  http://{gateway}/\nadmin    http://{admin}/ (token in {})\ninstances {}; Ctrl-C drains and stops",
        front.data.token().display(),
        output::allocation(front.allocation),
    ));
}

/// Prints what components write, of every app there is or will be.
fn follow_logs(mut follower: fermion_telemetry::Follower, tasks: &mut JoinSet<()>, json: bool) {
    tasks.spawn(async move {
        while let Some(line) = follower.next().await {
            if json {
                output::line(line.to_json());
            } else {
                output::line(format!(
                    "{} {} | {}",
                    line.served.app,
                    ReleaseNumber(line.served.release),
                    line.line
                ));
            }
        }
    });
}

/// Deploys a project again whenever its files change. A project that does not build leaves what serves alone.
async fn follow_changes(
    front: &Front,
    mut changes: tokio::sync::mpsc::Receiver<PathBuf>,
    json: bool,
) -> Result<()> {
    output::note("watching for changes");
    while let Some(folder) = changes.recv().await {
        if let Err(error) = deploy(front, &folder, json).await {
            output::fail(
                &error.context(format!("{}: the running release stays", folder.display())),
                json,
            );
        }
    }
    Ok(())
}
