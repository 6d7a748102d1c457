//! One task for each source: it looks when it is time, when somebody asks, and when an app of its namespace changes.

use std::collections::BTreeSet;

use fermion_bus::Event as BusEvent;
use fermion_model::{Namespace, SourceName};
use fermion_planner::git::next_look_millis;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::look::Watcher;
use super::stored::{SOURCES, source_key};
use crate::documents::APPS;
use crate::limits::{GIT_PAUSE, GIT_SOURCES_MAX};
use crate::{Control, Error};

impl Control {
    /// Follows every source until cancelled. What is under way then is taken up again at the next start.
    pub(crate) async fn run_git(&self, shutdown: CancellationToken) {
        let mut tasks = JoinSet::new();
        let mut followed = BTreeSet::new();
        loop {
            let seen = self.bus().revision();
            match self.sources().await {
                Ok(sources) => {
                    for (namespace, name) in sources {
                        if followed.len() < GIT_SOURCES_MAX
                            && followed.insert((namespace.clone(), name.clone()))
                        {
                            let (control, shutdown) = (self.clone(), shutdown.clone());
                            tasks.spawn(async move {
                                let follow = control.follow_source(&namespace, &name);
                                shutdown.run_until_cancelled(follow).await;
                                (namespace, name)
                            });
                        }
                    }
                }
                Err(error) => tracing::error!(%error, "git sources cannot be read; trying again"),
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(ended) = tasks.join_next() => match ended {
                    Ok(ended) => drop(followed.remove(&ended)),
                    Err(error) => tracing::error!(%error, "a git source is not followed any more"),
                },
                changed = self.changed(seen, &[SOURCES]) => if changed.is_err() { break },
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    async fn sources(&self) -> Result<Vec<(Namespace, SourceName)>, Error> {
        let entries = self.bus().list(SOURCES).await?;
        let name = |key: &str| {
            let (namespace, name) = key.strip_prefix(SOURCES)?.split_once('/')?;
            Some((namespace.parse().ok()?, name.parse().ok()?))
        };
        Ok(entries.iter().filter_map(|entry| name(&entry.key)).collect())
    }

    /// Waits until something below one of these keys has changed since.
    pub(super) async fn changed(&self, since: u64, prefixes: &[&str]) -> Result<(), Error> {
        let mut seen = since;
        loop {
            self.bus().changed_since(seen).await?;
            let changes = self.bus().changes(seen, prefixes).await?;
            if changes
                .events
                .iter()
                .any(|event| !matches!(event, BusEvent::Current))
            {
                return Ok(());
            }
            seen = changes.through;
        }
    }

    /// Follows one source until it is taken away.
    async fn follow_source(&self, namespace: &Namespace, name: &SourceName) {
        let mut watcher = Watcher::new(self, namespace, name);
        let (apps, own) = (format!("{APPS}{namespace}/"), source_key(namespace, name));
        // Sources do not all begin at once, and a first one need not wait for long.
        let mut looks = 0;
        let mut next_fetch = Instant::now();
        loop {
            let seen = self.bus().revision();
            let source = match self.read_source(namespace, name).await {
                Ok(Some((_, source))) => source,
                Ok(None) => {
                    watcher.forget().await;
                    return;
                }
                Err(error) => {
                    tracing::error!(%namespace, %name, %error, "a git source cannot be read; trying again");
                    tokio::time::sleep(GIT_PAUSE).await;
                    continue;
                }
            };
            let is_time = Instant::now() >= next_fetch;
            let looked = watcher.look(&source, is_time).await;
            if is_time {
                looks += 1;
                let label = format!("{namespace}/{name}");
                let millis = next_look_millis(source.source.interval, &label, looks);
                next_fetch = Instant::now() + std::time::Duration::from_millis(millis);
            }
            let wake = match looked {
                Ok(wake_at) => wake_at.map(|at| {
                    let seconds = at.saturating_sub(self.now()).max(1);
                    Instant::now() + std::time::Duration::from_secs(seconds)
                }),
                Err(error) => {
                    tracing::error!(%namespace, %name, %error, "a git source cannot be looked at; trying again");
                    // Another source may have the app by now: all is checked again.
                    watcher.rendered = None;
                    Some(Instant::now() + GIT_PAUSE)
                }
            };
            let wake = wake.map_or(next_fetch, |wake| wake.min(next_fetch));
            let prefixes = [apps.as_str(), own.as_str()];
            tokio::select! {
                () = tokio::time::sleep_until(wake) => {}
                changed = self.changed(seen, &prefixes) => if changed.is_err() { return },
            }
        }
    }
}
