//! Who may run, judged again: whenever the trust changes, and now and then for what time alone changes. Everything here
//! works offline and from memory; the disk is asked only about a release that would have to stop.

use std::collections::HashSet;

use fermion_telemetry::Door;

use crate::prepare::Depth;
use crate::reconcile::Node;

impl Node {
    /// Judges everything that serves by the trust of this moment. A release that may not run any more stops at once;
    /// its app goes to the last good one that may, if there is one. After a change (`is_change`), what could not be
    /// made ready before is tried again.
    pub(crate) async fn judge(&mut self, is_change: bool) {
        let epoch = self.preparer.trust.borrow().epoch();
        let keys: Vec<String> = self.apps.keys().cloned().collect();
        for key in keys {
            let Some(serving) = self.apps.get(&key).and_then(|app| app.serving.clone()) else {
                if is_change {
                    self.try_again(&key);
                }
                continue;
            };
            let verdict = self
                .preparer
                .recheck(&serving.release, &serving.ready.plan.signers)
                .await;
            let Some(app) = self.apps.get_mut(&key) else {
                continue;
            };
            match verdict {
                Ok(()) if is_change && !app.is_as_wanted() => self.try_again(&key),
                Ok(()) => {}
                Err(error) => {
                    tracing::error!(
                        app = key, release = %serving.release.number, package = %serving.release.package,
                        digest = %serving.release.digest, code = error.code(), %error,
                        "release stopped: it may not run any more"
                    );
                    self.telemetry.doors().refused(Door::Trust, error.code());
                    app.stop(&error);
                    self.changed.app(&key);
                    self.begin(&key, Depth::Loaded);
                }
            }
        }
        self.judge_canaries().await;
        self.trust_epoch = epoch;
        self.telemetry.doors().trusts(epoch);
    }

    /// The same for what is rolled out: it loses its requests at once, and the rollout goes back.
    async fn judge_canaries(&mut self) {
        let keys: Vec<String> = self.apps.keys().cloned().collect();
        for key in keys {
            let canary = self.apps.get(&key).and_then(|app| app.canary.as_ref());
            let Some((release, plan)) = canary.and_then(|canary| {
                Some((canary.wanted.release.clone(), canary.ready.as_ref()?.plan.clone()))
            }) else {
                continue;
            };
            let Err(error) = self.preparer.recheck(&release, &plan.signers).await else {
                continue;
            };
            tracing::error!(
                app = key, release = %release.number, digest = %release.digest, code = error.code(), %error,
                "a release that is being rolled out stopped: it may not run any more"
            );
            self.telemetry.doors().refused(Door::Trust, error.code());
            if let Some(canary) = self.apps.get_mut(&key).and_then(|app| app.canary.as_mut()) {
                canary.stop(&error);
                self.changed.app(&key);
            }
        }
    }

    fn try_again(&mut self, key: &str) {
        let idle = |app: &crate::app::App| app.attempt.is_none() && !app.is_as_wanted();
        if self.apps.get(key).is_some_and(idle) {
            self.begin(key, Depth::Loaded);
        }
    }

    /// Keeps the native code of what runs and of what it would fall back to.
    pub(crate) async fn pin(&mut self) {
        let releases = self.apps.values().flat_map(|app| {
            let serving = app.serving.iter().map(|serving| &serving.release);
            let canary = app.wanted.canary.iter().map(|canary| &canary.release);
            serving
                .chain([&app.wanted.release])
                .chain(&app.wanted.last_good)
                .chain(canary)
        });
        let wanted: HashSet<_> = releases.map(|release| release.digest).collect();
        if self.pinned.keys().copied().collect::<HashSet<_>>() == wanted {
            return;
        }
        let (store, mut known) = (self.preparer.store.clone(), std::mem::take(&mut self.pinned));
        let look = move || {
            known.retain(|digest, _| wanted.contains(digest));
            for digest in wanted {
                // One that is damaged or gone has no native code that anybody could use.
                known
                    .entry(digest)
                    .or_insert_with(|| fermion_package::load::component_digest(&store, &digest).ok());
            }
            known
        };
        self.pinned = tokio::task::spawn_blocking(look).await.unwrap_or_default();
        let components = self.pinned.values().copied().flatten().collect();
        self.preparer.compiler.pin(components);
    }
}
