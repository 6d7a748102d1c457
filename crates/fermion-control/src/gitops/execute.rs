//! Carries out what the planner decided. What is done for an app is written down before it is done, and again when it is
//! known what came of it; a process that dies in between does it again, which changes nothing where it had been done.

use fermion_bus::Expect;
use fermion_model::{AppName, ReleaseNumber};
use fermion_planner::git::{Action, Record, heals_after};

use super::by;
use super::look::{Known, Watcher};
use super::render::{RenderedApp, passes};
use super::stored::{GIT_SCHEMA, GitAppDocument, StateDocument};
use crate::Error;

impl Watcher {
    pub(super) async fn carry_out(
        &mut self,
        action: &Action,
        state: &mut StateDocument,
        known: &Known,
    ) -> Result<(), Error> {
        match action {
            Action::Apply { app, retry } => self.apply(app, *retry, state, known).await,
            Action::Heal { app } => self.heal(app, state, known).await,
            Action::Hold { app, why } => self.hold(app, why, state, known).await,
            Action::Adopt { app } => self.adopt(app, state, known).await,
            Action::Orphan { app } => {
                let Some((revision, mut document)) = known.get(app).cloned() else {
                    return Ok(());
                };
                document.record.orphaned = true;
                let what = format!("{} is gone; it stays, because pruning is off", document.file);
                state.note(self.event("gone", state.seen.as_deref(), Some(app), what));
                self.write(&document, Some(revision)).await.map(drop)
            }
            Action::Prune { app } => self.prune(app, state, known).await,
        }
    }

    fn rendered(&self, app: &str) -> Option<&RenderedApp> {
        self.rendered.as_ref()?.apps.get(app)
    }

    async fn write(&self, document: &GitAppDocument, revision: Option<u64>) -> Result<u64, Error> {
        let expect = Expect::unchanged(revision);
        Ok(self
            .control
            .bus()
            .put_json(&document.key(), document, expect)
            .await?)
    }

    /// What is to be written of an app that the newest commit names.
    fn document(&self, app: &str, known: &Known) -> Option<(Option<u64>, GitAppDocument)> {
        let before = known.get(app);
        let Some(rendered) = self.rendered(app) else {
            return before.map(|(revision, document)| (Some(*revision), document.clone()));
        };
        let print = rendered.wanted.print();
        let commit = self.rendered.as_ref()?.commit.clone();
        let old = before.map(|(_, document)| document);
        let same = old.filter(|old| old.record.print == print);
        // The same as before, perhaps in another file or with another rollout.
        let record = same.map(|same| same.record.clone()).unwrap_or(Record {
            commit,
            print,
            pending: true,
            held: None,
            heals: 0,
            healed_at: 0,
            orphaned: false,
        });
        let served = old.filter(|old| old.record.held.is_none() && !old.record.pending);
        let document = GitAppDocument {
            schema: GIT_SCHEMA,
            namespace: self.namespace.clone(),
            app: rendered.app.name.clone(),
            source: self.name.clone(),
            file: rendered.file.clone(),
            record,
            wanted: rendered.wanted.clone(),
            release: same.and_then(|same| same.release),
            before: match (same, served) {
                (None, Some(served)) => Some(served.record.commit.clone()),
                _ => old.and_then(|old| old.before.clone()),
            },
        };
        Some((before.map(|(revision, _)| *revision), document))
    }

    async fn apply(
        &mut self,
        app: &str,
        retry: bool,
        state: &mut StateDocument,
        known: &Known,
    ) -> Result<(), Error> {
        let Some((revision, mut document)) = self.document(app, known) else {
            return Ok(());
        };
        (document.record.pending, document.record.orphaned) = (true, false);
        let revision = self.write(&document, revision).await?;
        self.deploy(document, revision, retry, "applied", state).await
    }

    async fn heal(&mut self, app: &str, state: &mut StateDocument, known: &Known) -> Result<(), Error> {
        let Some((revision, mut document)) = self.document(app, known) else {
            return Ok(());
        };
        let now = self.control.now();
        document.record.heals = heals_after(&document.record, now);
        document.record.healed_at = now;
        let revision = self.write(&document, revision).await?;
        self.deploy(document, revision, false, "healed", state).await
    }

    async fn deploy(
        &mut self,
        mut document: GitAppDocument,
        revision: u64,
        retry: bool,
        kind: &str,
        state: &mut StateDocument,
    ) -> Result<(), Error> {
        let (commit, app) = (document.record.commit.clone(), document.app.clone());
        let request = document.wanted.request(retry);
        let by = by(&self.name, &commit);
        let fields = self.differing(&document).await?;
        let deployed = self.control.deploy(&self.namespace, &app, request, &by).await;
        document.record.pending = false;
        let what = match deployed {
            Ok(result) => {
                let number = result.release.number;
                document.release = Some(number);
                if result.rollout.is_some() {
                    format!("{number} is rolled out")
                } else {
                    format!("{number} serves")
                }
            }
            // It is stored, and what becomes of it is seen by and by.
            Err(Error::NotYetReady { number, .. } | Error::Superseded { number, .. }) => {
                document.release = Some(number);
                format!("{number} is not ready yet")
            }
            Err(error) if passes(&error) => {
                self.wait(state, format!("{app}: {error}"));
                return Ok(());
            }
            Err(error) => {
                if let Error::ReleaseFailed { number, .. } = error {
                    document.release = Some(number);
                }
                let why = error.to_string();
                return self.give_up(document, revision, &why, state).await;
            }
        };
        (state.trouble, state.tries, state.not_before) = (None, 0, 0);
        let what = if fields.is_empty() {
            what
        } else {
            format!("{what}; new is {fields}")
        };
        state.note(self.event(kind, Some(&commit), Some(app.as_str()), what));
        self.write(&document, Some(revision)).await.map(drop)
    }

    async fn hold(
        &mut self,
        app: &str,
        why: &str,
        state: &mut StateDocument,
        known: &Known,
    ) -> Result<(), Error> {
        let Some((revision, mut document)) = self.document(app, known) else {
            return Ok(());
        };
        document.record.pending = false;
        let revision = match revision {
            Some(revision) => revision,
            None => self.write(&document, None).await?,
        };
        self.give_up(document, revision, why, state).await
    }

    /// Writes down that it is not asked for again, and says so.
    async fn give_up(
        &mut self,
        mut document: GitAppDocument,
        revision: u64,
        why: &str,
        state: &mut StateDocument,
    ) -> Result<(), Error> {
        document.record.held = Some(why.to_owned());
        (state.trouble, state.tries, state.not_before) = (None, 0, 0);
        let app = document.app.to_string();
        let what = format!("{why}; it is left so until Git says something else of it");
        state.note(self.event("held", Some(&document.record.commit), Some(&app), what));
        self.write(&document, Some(revision)).await?;
        self.offer_revert(&document, state).await
    }

    async fn adopt(&mut self, app: &str, state: &mut StateDocument, known: &Known) -> Result<(), Error> {
        let Some((revision, mut document)) = self.document(app, known) else {
            return Ok(());
        };
        let record = &mut document.record;
        let is_news = revision.is_none() || record.held.is_some() || record.orphaned;
        (record.pending, record.held, record.orphaned) = (false, None, false);
        document.release = self.active(&document.app).await?;
        if is_news {
            let (commit, what) = (
                document.record.commit.clone(),
                "it is as Git says already".to_owned(),
            );
            state.note(self.event("adopted", Some(&commit), Some(app), what));
        }
        self.write(&document, revision).await.map(drop)
    }

    async fn active(&self, app: &AppName) -> Result<Option<ReleaseNumber>, Error> {
        Ok(self.control.read_app(&self.namespace, app).await?.document.active)
    }

    async fn prune(&mut self, app: &str, state: &mut StateDocument, known: &Known) -> Result<(), Error> {
        let Some((revision, document)) = known.get(app) else {
            return Ok(());
        };
        let commit = state.seen.clone().unwrap_or_default();
        let by = by(&self.name, &commit);
        match self.control.retire(&self.namespace, &document.app, &by).await {
            Ok(()) => {}
            Err(error) if passes(&error) => {
                self.wait(state, format!("{app}: {error}"));
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        let what = format!(
            "{} is gone; the app is out of service, its releases stay",
            document.file
        );
        state.note(self.event("pruned", Some(&commit), Some(app), what));
        let expect = Expect::Revision(*revision);
        self.control.bus().delete(&document.key(), expect).await?;
        Ok(())
    }

    /// A person wants that what was given up is tried once more.
    pub(super) async fn try_again(&self) -> Result<(), Error> {
        for (revision, mut document) in self.control.read_git_apps(&self.namespace).await?.into_values() {
            if document.source == self.name && document.record.held.take().is_some() {
                document.record.pending = true;
                self.write(&document, Some(revision)).await?;
            }
        }
        Ok(())
    }
}
