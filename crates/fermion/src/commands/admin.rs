//! Commands that speak to a running platform through its admin API.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use fermion_api::{
    AppView, Client, CollectRequest, DeployRequest, DeployResult, RefTag, Refs, ReleaseState, ReleaseView,
    RollbackRequest,
};
use fermion_model::RemoteReference;
use fermion_model::app::App;
use fermion_package::store::Store;
use fermion_package::transfer;
use fermion_telemetry::rfc3339;

use crate::cli::{AdminArgs, AppArgs, DeployArgs, GcArgs, LogsArgs, RollbackArgs, SnapshotArgs};
use crate::commands::apps;
use crate::data::DataDirectory;
use crate::output;
use crate::project::{self, Project};

pub(crate) fn client(arguments: &AdminArgs) -> Result<Client> {
    let token_file = arguments.token_file.as_deref();
    client_at(arguments.admin, token_file, &arguments.data.directory)
}

/// A client of the admin API at `address`; the token is the data directory's own unless another file is named.
pub(crate) fn client_at(address: SocketAddr, token_file: Option<&Path>, data: &Path) -> Result<Client> {
    let file = token_file.map_or_else(|| data.join("admin.token"), Path::to_owned);
    let token = std::fs::read_to_string(&file).with_context(|| {
        format!(
            "cannot read the admin token {}: start `fermion up` here first, or say --data or --token-file",
            file.display()
        )
    })?;
    Ok(Client::new(&address.to_string(), token.trim())?)
}

/// Makes the new release: of a package that the platform pulls itself, or of the folder's own.
pub(crate) async fn deploy(arguments: &DeployArgs, json: bool) -> Result<()> {
    let app = project::app_of(&arguments.folder)?;
    let named = app.as_ref().and_then(|app| project::source_of(app).cloned());
    let source = match &arguments.from {
        Some(text) => Some(text.parse::<RemoteReference>()?),
        None => named,
    };
    match source {
        Some(source) => deploy_from(&source, app, arguments, json).await,
        None => deploy_folder(arguments, json).await,
    }
}

/// Has the platform pull the package.
async fn deploy_from(
    source: &RemoteReference,
    app: Option<App>,
    arguments: &DeployArgs,
    json: bool,
) -> Result<()> {
    let app = match app {
        Some(app) => app,
        None => App::called(source.repository())?,
    };
    if !json {
        output::note(format!("{}: the platform pulls {source}", app.name));
    }
    let mut request = project::request(&app, Some(source));
    choose(&mut request, arguments);
    let result = client(&arguments.admin)?
        .deploy(&app.namespace, &app.name, &request)
        .await?;
    show(&result, app.name.as_str(), json);
    Ok(())
}

/// What the command line says beside the files.
fn choose(request: &mut DeployRequest, arguments: &DeployArgs) {
    request.override_policy = arguments.override_policy.clone();
    request.retry = arguments.retry;
    if arguments.now {
        request.rollout = None;
        request.during_freeze = true;
    }
}

/// Builds, packs and signs here; uploads what is missing.
async fn deploy_folder(arguments: &DeployArgs, json: bool) -> Result<()> {
    let project = Project::open(&arguments.folder)?;
    project.say_notes();
    let client = client(&arguments.admin)?;
    // Whether it runs and lets us in is known before the build, not after it.
    client.status().await?;
    let data = DataDirectory::open(&arguments.admin.data.directory)?;
    let store = Store::open(&data.store())?;
    let prepared = project.build(None, &SnapshotArgs::default()).await?;
    project.scan(&prepared.wasm, &data.policy()).await?;
    let (packed, _) = project.publish(&prepared, &store, &data.keys()).await?;
    let export = {
        let (store, digest) = (store.clone(), packed.digest);
        tokio::task::spawn_blocking(move || transfer::export(&store, &digest)).await??
    };
    for blob in &export.blobs {
        if !client.has_blob(&blob.digest).await? {
            client.put_blob(&blob.digest, &blob.path).await?;
        }
    }
    let mut request = project.request(&packed);
    let tags = export.refs.tags.iter().map(|(tag, digest)| RefTag {
        tag: tag.clone(),
        digest: *digest,
    });
    choose(&mut request, arguments);
    request.refs = Some(Refs {
        name: export.refs.name.clone(),
        tags: tags.collect(),
    });
    let result = client
        .deploy(&project.app.namespace, &project.app.name, &request)
        .await?;
    show(&Arc::new(result), project.app.name.as_str(), json);
    Ok(())
}

fn show(result: &DeployResult, app: &str, json: bool) {
    if json {
        return output::json(result);
    }
    let release = &result.release;
    if let Some(rollout) = &result.rollout {
        output::line(format!(
            "{app} {} {}: {}",
            rollout.canary, rollout.phase, rollout.why
        ));
        output::line(format!(
            "  `fermion rollout watch {app}` follows it, `fermion abort {app}` takes it back"
        ));
        return;
    }
    let changed = result.created || result.previous.is_some_and(|previous| previous != release.number);
    let what = if changed { "is now" } else { "already is" };
    output::line(format!(
        "{app} {what} {} ({}:{})",
        release.number, release.package, release.version
    ));
    if !result.created && result.previous == Some(release.number) {
        return;
    }
    if let Some(previous) = result.previous {
        output::line(format!(
            "  before: {previous}; `fermion rollback {app} {previous}` goes back"
        ));
    }
    if !result.steps.is_empty() {
        output::line(format!("  {}", output::steps(&result.steps)));
    }
}

/// Removes what nothing needs, or says what that would be.
pub(crate) async fn collect(arguments: &GcArgs, json: bool) -> Result<()> {
    let request = CollectRequest {
        dry_run: arguments.dry_run,
    };
    let collected = client(&arguments.admin)?.collect(&request).await?;
    if json {
        output::json(&collected);
        return Ok(());
    }
    output::line(format!(
        "{} {} manifests, {} files of {}; {} packages of releases stay",
        if collected.dry_run {
            "would remove"
        } else {
            "removed"
        },
        collected.manifests,
        collected.contents,
        fermion_model::units::format_bytes(collected.bytes),
        collected.pinned,
    ));
    Ok(())
}

/// What runs where.
pub(crate) async fn status(arguments: &AdminArgs, json: bool) -> Result<()> {
    let status = client(arguments)?.status().await?;
    if json {
        output::json(&status);
        return Ok(());
    }
    let is_pending = |app: &AppView| {
        let active = app.active.as_ref().map(|release| release.number);
        app.problem.is_none() && app.serving != active
    };
    let is_settled = status.node.generation >= status.node.assigned && !status.apps.iter().any(is_pending);
    let settled = if is_settled { "settled" } else { "changing" };
    output::line(format!(
        "fermion {}, node {}: {settled}",
        status.version, status.node.name
    ));
    let row = |app: &AppView| {
        [
            apps::name(app),
            apps::serving(app),
            apps::package(app),
            apps::state(app),
        ]
    };
    let rows: Vec<_> = status.apps.iter().map(row).collect();
    output::table(["APP", "RELEASE", "PACKAGE", "STATE"], &rows);
    apps::problems(&status.apps);
    Ok(())
}

/// An app's releases, newest first.
pub(crate) async fn releases(arguments: &AppArgs, json: bool) -> Result<()> {
    let releases = client(&arguments.admin)?
        .releases(&arguments.namespace, &arguments.app)
        .await?;
    if json {
        output::json(&releases);
        return Ok(());
    }
    let rows: Vec<[String; 6]> = releases
        .iter()
        .map(|release| {
            let state = match release.state {
                ReleaseState::Active => "active".to_owned(),
                ReleaseState::Canary => "canary".to_owned(),
                ReleaseState::Waiting => "waiting".to_owned(),
                ReleaseState::Superseded => "superseded".to_owned(),
                ReleaseState::Failed => {
                    format!(
                        "failed: {}",
                        release
                            .problem
                            .as_ref()
                            .map_or("unknown", |problem| &problem.code)
                    )
                }
            };
            let package = format!("{}:{}", release.package, release.version);
            [
                release.number.to_string(),
                state,
                package,
                release.digest.short(),
                rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(release.created_at)),
                by(release),
            ]
        })
        .collect();
    output::table(["RELEASE", "STATE", "PACKAGE", "DIGEST", "CREATED", "BY"], &rows);
    Ok(())
}

/// Who made a release, and why policies were passed by.
fn by(release: &ReleaseView) -> String {
    match &release.policy_override {
        Some(reason) => format!("{} (policy passed by: {reason})", release.created_by),
        None => release.created_by.clone(),
    }
}

/// Routes to an earlier release.
pub(crate) async fn rollback(arguments: &RollbackArgs, json: bool) -> Result<()> {
    let AppArgs {
        app,
        namespace,
        admin,
    } = &arguments.app;
    let result = client(admin)?
        .rollback(
            namespace,
            app,
            &RollbackRequest {
                to: arguments.to,
                override_policy: arguments.override_policy.clone(),
            },
        )
        .await?;
    show(&result, app.as_str(), json);
    Ok(())
}

/// What an app's components wrote.
pub(crate) async fn logs(arguments: &LogsArgs, json: bool) -> Result<()> {
    let AppArgs {
        app,
        namespace,
        admin,
    } = &arguments.app;
    let mut lines = client(admin)?
        .logs(namespace, app, arguments.lines, arguments.follow)
        .await?;
    while let Some(line) = lines.next().await? {
        if json {
            output::line(serde_json::to_string(&line)?);
        } else {
            let source = line.level.as_deref().unwrap_or(&line.stream);
            let context = line.context.as_deref();
            let context = context.map_or_else(String::new, |context| format!("{context}: "));
            output::line(format!(
                "{} r{} {source} | {context}{}",
                line.time, line.release, line.line
            ));
        }
    }
    Ok(())
}
