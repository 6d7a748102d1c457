//! File changes of projects, as folders to build again. Many changes at once are one; what a build writes is none.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use fermion_model::openslo::OPENSLO_FILE;
use globset::{Glob, GlobSet, GlobSetBuilder};
use notify::{EventKind, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::project::Project;

/// Changes that may wait; more of the same folder are the same change.
const CHANGES_WAITING_MAX: usize = 1024;
/// Editors write a file in several steps: a change is taken up when nothing more has come for this long.
const QUIET_FOR: Duration = Duration::from_millis(150);

/// Keeps the watching alive.
pub(crate) struct Watcher {
    _system: notify::RecommendedWatcher,
    _tasks: JoinSet<()>,
}

struct Watched {
    folder: PathBuf,
    canonical: PathBuf,
    globs: GlobSet,
}

/// The folders whose watched files changed, each once a burst.
pub(crate) fn changes(folders: &[PathBuf]) -> Result<(mpsc::Receiver<PathBuf>, Watcher)> {
    let watched = folders
        .iter()
        .map(|folder| watched(folder))
        .collect::<Result<Vec<_>>>()?;
    let (raw_sender, raw) = mpsc::channel(CHANGES_WAITING_MAX);
    let canonical: Vec<PathBuf> = watched.iter().map(|watched| watched.canonical.clone()).collect();
    let mut system = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        if matches!(event.kind, EventKind::Access(_)) {
            return;
        }
        for path in event.paths {
            if let Some(folder) = watched.iter().find(|watched| watched.covers(&path)) {
                // A full queue already holds a change of this burst.
                drop(raw_sender.try_send(folder.folder.clone()));
            }
        }
    })
    .context("cannot watch files")?;
    for folder in &canonical {
        system
            .watch(folder, RecursiveMode::Recursive)
            .with_context(|| format!("cannot watch {}", folder.display()))?;
    }
    let (sender, settled) = mpsc::channel(folders.len().max(1));
    let mut tasks = JoinSet::new();
    tasks.spawn(settle(raw, sender));
    Ok((
        settled,
        Watcher {
            _system: system,
            _tasks: tasks,
        },
    ))
}

async fn settle(mut raw: mpsc::Receiver<PathBuf>, settled: mpsc::Sender<PathBuf>) {
    while let Some(first) = raw.recv().await {
        let mut folders = BTreeSet::from([first]);
        while let Ok(Some(more)) = tokio::time::timeout(QUIET_FOR, raw.recv()).await {
            folders.insert(more);
        }
        for folder in folders {
            if settled.send(folder).await.is_err() {
                return;
            }
        }
    }
}

fn watched(folder: &Path) -> Result<Watched> {
    let canonical = folder
        .canonicalize()
        .with_context(|| format!("cannot find {}", folder.display()))?;
    // A project that cannot be read yet is watched too: mending it is a change.
    let patterns = Project::open(folder)
        .ok()
        .and_then(|project| project.manifest.build.as_ref().map(|build| build.watch.clone()))
        .unwrap_or_default();
    let patterns = if patterns.is_empty() {
        vec!["src/**".to_owned()]
    } else {
        patterns
    };
    let mut globs = GlobSetBuilder::new();
    for pattern in patterns
        .iter()
        .map(String::as_str)
        .chain(["fermion.toml", "app.yaml", OPENSLO_FILE])
    {
        globs.add(
            Glob::new(pattern).with_context(|| format!("{pattern:?} in [build] watch is not a pattern"))?,
        );
    }
    Ok(Watched {
        folder: folder.to_owned(),
        canonical,
        globs: globs.build()?,
    })
}

impl Watched {
    fn covers(&self, path: &Path) -> bool {
        path.strip_prefix(&self.canonical)
            .is_ok_and(|inside| self.globs.is_match(inside))
    }
}
