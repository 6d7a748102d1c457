//! `fermion git`: sources in Git, how they stand, and looking at them now.

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use fermion_api::{GitAppView, GitEventView, GitSourceRequest, GitSourceView, GitSyncRequest};
use fermion_model::git::GitSource;
use fermion_telemetry::rfc3339;

use crate::cli::{AdminArgs, GitAction, GitArgs};
use crate::commands::admin::client;
use crate::commands::diff::change_line;
use crate::output;

/// Events that are shown of one source; `--json` has all that are kept.
const EVENTS_SHOWN: usize = 20;

/// Runs one of the subcommands.
pub(crate) async fn run(arguments: &GitArgs, json: bool) -> Result<()> {
    match &arguments.action {
        GitAction::Add { file, admin } => add(file, admin, json).await,
        GitAction::Remove(source) => {
            let client = client(&source.admin)?;
            let view = client
                .remove_git_source(&source.namespace, &source.source)
                .await?;
            if json {
                output::json(&view);
            } else {
                output::line(format!(
                    "{} is not followed any more; its {} apps stay as they are",
                    name(&view),
                    view.apps.len()
                ));
            }
            Ok(())
        }
        GitAction::List { namespace, admin } => {
            let sources = client(admin)?.git_sources(namespace).await?;
            if json {
                output::json(&sources);
            } else {
                list(&sources);
            }
            Ok(())
        }
        GitAction::Status(source) => {
            let view = client(&source.admin)?
                .git_source(&source.namespace, &source.source)
                .await?;
            if json {
                output::json(&view);
            } else {
                show(&view);
            }
            Ok(())
        }
        GitAction::Sync { source, retry } => {
            let request = GitSyncRequest { retry: *retry };
            let view = client(&source.admin)?
                .sync_git_source(&source.namespace, &source.source, &request)
                .await?;
            if json {
                output::json(&view);
            } else {
                show(&view);
            }
            match (view.state.as_str(), &view.why) {
                ("refused" | "failed" | "trouble", Some(why)) => {
                    bail!("{} is {}: {why}", name(&view), view.state)
                }
                _ => Ok(()),
            }
        }
    }
}

async fn add(file: &Path, admin: &AdminArgs, json: bool) -> Result<()> {
    let shown = file.display().to_string();
    let document = std::fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
    let source = GitSource::parse(&document, &shown)?;
    let request = GitSourceRequest {
        document,
        file: shown,
    };
    let view = client(admin)?.add_git_source(&source.namespace, &request).await?;
    if json {
        output::json(&view);
    } else {
        output::line(format!(
            "{} follows {} of {}; `fermion git status {}` says how it stands",
            name(&view),
            view.reference,
            view.repository,
            view.name
        ));
    }
    Ok(())
}

fn name(view: &GitSourceView) -> String {
    format!("{}/{}", view.namespace, view.name)
}

fn list(sources: &[GitSourceView]) {
    if sources.is_empty() {
        output::line("there is no Git source; `fermion git add FILE` hands one over");
        return;
    }
    let row = |view: &GitSourceView| {
        [
            name(view),
            view.state.clone(),
            commit(view.commit.as_deref()),
            commit(view.applied.as_deref()),
            view.apps.len().to_string(),
            format!("{} {}", view.repository, view.reference),
        ]
    };
    let rows: Vec<_> = sources.iter().map(row).collect();
    output::table(
        ["SOURCE", "STATE", "NEWEST", "IN PLACE", "APPS", "REPOSITORY"],
        &rows,
    );
}

fn show(view: &GitSourceView) {
    let path = if view.path.is_empty() { "/" } else { &view.path };
    output::line(format!("{}: {}", name(view), view.state));
    if let Some(why) = &view.why {
        output::line(format!("  {why}"));
    }
    output::line(format!("  {} {}, {path}", view.repository, view.reference));
    output::line(format!(
        "  newest commit {}, in place {}",
        commit(view.commit.as_deref()),
        match (&view.applied, view.applied_at) {
            (Some(applied), Some(since)) => format!("{} since {}", commit(Some(applied)), at(since)),
            _ => "none yet".to_owned(),
        }
    ));
    let row = |app: &GitAppView| {
        [
            app.app.to_string(),
            app.state.clone(),
            app.release
                .map_or_else(|| "-".to_owned(), |release| release.to_string()),
            commit(app.commit.as_deref()),
            app.file.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    };
    let rows: Vec<_> = view.apps.iter().map(row).collect();
    if !rows.is_empty() {
        output::table(["APP", "STATE", "RELEASE", "COMMIT", "FILE"], &rows);
    }
    for app in &view.apps {
        if let Some(why) = &app.why {
            output::line(format!("{}: {why}", app.app));
        }
        for change in &app.changes {
            output::line(format!("{}: {}", app.app, change_line(change)));
        }
    }
    let surplus = view.events.len().saturating_sub(EVENTS_SHOWN);
    for event in &view.events[surplus..] {
        output::line(event_line(event));
    }
}

fn event_line(event: &GitEventView) -> String {
    let about = event.app.as_ref().map_or(String::new(), |app| format!(" {app}"));
    format!(
        "{} {} {}{about}: {}",
        at(event.at),
        commit(event.commit.as_deref()),
        event.kind,
        event.what
    )
}

/// As much of a commit's id as people compare.
fn commit(id: Option<&str>) -> String {
    id.map_or("-", |id| id.get(..12).unwrap_or(id)).to_owned()
}

fn at(seconds: u64) -> String {
    rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}
