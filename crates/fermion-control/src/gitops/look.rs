//! One look at a source: fetch, read, compare, act, and write down how it stands.

use std::collections::BTreeMap;

use fermion_bus::Expect;
use fermion_model::git::GitSource;
use fermion_model::{Namespace, SourceName};
use fermion_planner::git::{Commit, Look, Observed, Outcome, Plan, Policy, Record, Standing, backoff, plan};

use super::mirror::Mirror;
use super::render::{Refusal, Rendered};
use super::short;
use super::stored::{Event, GitAppDocument, Rejected, SourceDocument, StateDocument, print_of, state_key};
use super::view::changes;
use crate::documents::ChangeKind;
use crate::limits::GIT_PASSES_MAX;
use crate::plan::{KnownApp, State};
use crate::{Control, Error};

/// Fields that an event names; `git status` and `diff` have all of them.
const FIELDS_NAMED_MAX: usize = 8;

/// What follows one source knows that is not stored.
pub(super) struct Watcher {
    pub(super) control: Control,
    pub(super) namespace: Namespace,
    pub(super) name: SourceName,
    pub(super) mirror: Mirror,
    pub(super) rendered: Option<Rendered>,
    /// Commits whose note says something else than what became of them.
    pub(super) unsaid: Vec<(String, String)>,
}

/// What was done for the apps of a namespace, with the revisions of the documents.
pub(super) type Known = BTreeMap<String, (u64, GitAppDocument)>;

impl Watcher {
    pub(super) fn new(control: &Control, namespace: &Namespace, name: &SourceName) -> Self {
        Self {
            control: control.clone(),
            namespace: namespace.clone(),
            name: name.clone(),
            mirror: Mirror::new(&control.config().git, namespace, name),
            rendered: None,
            unsaid: Vec::new(),
        }
    }

    /// The copy of a source that was taken away goes too.
    pub(super) async fn forget(&self) {
        if let Err(error) = tokio::fs::remove_dir_all(&self.mirror.folder).await
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %self.mirror.folder.display(), %error, "the copy of a repository stays");
        }
    }

    /// Gives when there is something to do although nothing has happened.
    pub(super) async fn look(
        &mut self,
        source: &SourceDocument,
        is_time: bool,
    ) -> Result<Option<u64>, Error> {
        let (mut revision, mut state) = self.control.read_git_state(&self.namespace, &self.name).await?;
        let is_ordered = source.sync > state.synced;
        if is_ordered {
            state.not_before = 0;
        }
        if is_ordered || is_time {
            self.bring_up_to_date(&source.source, &mut state, is_ordered && source.retry)
                .await;
        }
        if is_ordered && source.retry {
            self.try_again().await?;
        }
        self.read_commit(&source.source, &mut state, is_ordered).await?;
        let mut wake_at = None;
        for _ in 0..GIT_PASSES_MAX {
            let (known, plan) = self.plan(&source.source, &state).await?;
            self.note_standings(&mut state, &plan, &known).await?;
            wake_at = plan.wake_at;
            let commit = self.rendered.as_ref().map(|rendered| rendered.commit.clone());
            for action in &plan.actions {
                self.carry_out(action, &mut state, &known).await?;
            }
            if plan.actions.is_empty() {
                self.note_outcome(&mut state, commit, plan.outcome);
                break;
            }
            revision = Some(self.save(&state, revision).await?);
        }
        if is_ordered {
            state.synced = source.sync;
        }
        if state.not_before > self.control.now() {
            wake_at = Some(wake_at.map_or(state.not_before, |at| at.min(state.not_before)));
        }
        revision = Some(self.save(&state, revision).await?);
        if self.say(&source.source, &mut state).await {
            self.save(&state, revision).await?;
        }
        Ok(wake_at)
    }

    /// Writes the state if it differs from what is stored.
    async fn save(&self, state: &StateDocument, revision: Option<u64>) -> Result<u64, Error> {
        let key = state_key(&self.namespace, &self.name);
        if let Some(revision) = revision
            && self
                .control
                .bus()
                .get_json::<StateDocument>(&key)
                .await?
                .is_some_and(|(_, stored)| stored == *state)
        {
            return Ok(revision);
        }
        Ok(self
            .control
            .bus()
            .put_json(&key, state, Expect::unchanged(revision))
            .await?)
    }

    pub(super) fn event(&self, kind: &str, commit: Option<&str>, app: Option<&str>, what: String) -> Event {
        Event {
            at: self.control.now(),
            kind: kind.to_owned(),
            commit: commit.map(ToOwned::to_owned),
            app: app.map(ToOwned::to_owned),
            what,
        }
    }

    /// Fetches, and checks that the newest commit may be followed.
    async fn bring_up_to_date(&mut self, source: &GitSource, state: &mut StateDocument, retry: bool) {
        let fetched = {
            let Ok(_turn) = self.control.shared.fetches.acquire().await else {
                return;
            };
            self.mirror.fetch(source).await
        };
        let checked = match fetched {
            Ok(commit) if state.seen.as_ref() == Some(&commit) && !retry => Ok(()),
            Ok(commit) => self.arrived(source, state, commit, retry).await,
            Err(error) => Err(error),
        };
        match checked {
            Ok(()) => state.unreachable = None,
            Err(error) => {
                let why = error.to_string();
                if state.unreachable.as_ref() != Some(&why) {
                    state.note(self.event("trouble", None, None, why.clone()));
                }
                // What was applied stays, and is kept up from what is stored.
                state.unreachable = Some(why);
            }
        }
    }

    /// A commit that has not been here before, or is looked at anew.
    async fn arrived(
        &mut self,
        source: &GitSource,
        state: &mut StateDocument,
        commit: String,
        retry: bool,
    ) -> Result<(), Error> {
        let follows = match &state.trunk {
            Some(trunk) if *trunk != commit => self.mirror.follows(trunk, &commit).await?,
            _ => true,
        };
        let signed = match &source.allowed_signers {
            Some(signers) => self.mirror.verify(signers, &commit).await?,
            None => Ok(String::new()),
        };
        if state.seen.as_ref() != Some(&commit) {
            let what = match &signed {
                Ok(words) if !words.is_empty() => format!("a new commit: {words}"),
                _ => "a new commit".to_owned(),
            };
            state.note(self.event("commit", Some(&commit), None, what));
        }
        state.seen = Some(commit.clone());
        state.refused = None;
        state.not_before = 0;
        self.rendered = None;
        if !follows {
            let trunk = state.trunk.clone().unwrap_or_default();
            let what = format!("history was rewritten: it does not follow from {}", short(&trunk));
            state.note(self.event("rewritten", Some(&commit), None, what.clone()));
            if !source.follow_rewrites && !retry {
                let why = format!("{what}; `fermion git sync --retry` takes it all the same");
                self.refuse(state, &commit, why);
                return Ok(());
            }
        }
        if let Err(why) = signed {
            let signers = source.allowed_signers.as_ref().map_or("", |file| file.as_str());
            let why = format!("it is not signed by a key of {signers}: {why}");
            self.refuse(state, &commit, why);
            return Ok(());
        }
        state.trunk = Some(commit);
        Ok(())
    }

    fn refuse(&mut self, state: &mut StateDocument, commit: &str, why: String) {
        state.note(self.event("refused", Some(commit), None, why.clone()));
        self.unsaid.push((commit.to_owned(), format!("refused: {why}")));
        state.refused = Some(Rejected {
            commit: commit.to_owned(),
            at: self.control.now(),
            why,
        });
    }

    /// Reads the documents of the newest commit, unless that has been done, was in vain, or is too soon.
    async fn read_commit(
        &mut self,
        source: &GitSource,
        state: &mut StateDocument,
        is_ordered: bool,
    ) -> Result<(), Error> {
        let Some(commit) = state
            .trunk
            .clone()
            .filter(|trunk| state.seen.as_ref() == Some(trunk))
        else {
            self.rendered = None;
            return Ok(());
        };
        let is_read = self
            .rendered
            .as_ref()
            .is_some_and(|rendered| rendered.commit == commit);
        let is_refused = state
            .refused
            .as_ref()
            .is_some_and(|refused| refused.commit == commit);
        let now = self.control.now();
        if (is_read || is_refused) && !is_ordered || !is_read && state.not_before > now {
            return Ok(());
        }
        let files = match self.mirror.files(&commit, &source.path).await {
            Ok(files) => files,
            // The copy is gone: the next fetch brings it back.
            Err(error) => Err(Refusal::Later(error.to_string())),
        };
        let rendered = match files {
            Ok(files) => {
                let known = self.control.read_git_apps(&self.namespace).await?;
                self.control.render(source, &commit, files, &known).await
            }
            Err(refusal) => Err(refusal),
        };
        self.rendered = None;
        let why = match rendered {
            Ok(rendered) => {
                (state.refused, state.trouble, state.tries) = (None, None, 0);
                self.rendered = Some(rendered);
                return Ok(());
            }
            Err(Refusal::Later(why)) => {
                self.wait(state, why);
                return Ok(());
            }
            Err(Refusal::Document(error)) => error.to_string(),
            Err(Refusal::Commit(why)) => why,
        };
        if state.refused.as_ref().is_none_or(|refused| refused.why != why) {
            self.refuse(state, &commit, why);
        }
        Ok(())
    }

    /// Something passes: it is tried again, with growing pauses.
    pub(super) fn wait(&self, state: &mut StateDocument, why: String) {
        state.tries = state.tries.saturating_add(1);
        state.not_before = self.control.now() + backoff(state.tries);
        if state.trouble.as_ref() != Some(&why) {
            state.note(self.event("trouble", state.seen.as_deref(), None, why.clone()));
        }
        state.trouble = Some(why);
    }

    async fn plan(&self, source: &GitSource, state: &StateDocument) -> Result<(Known, Plan), Error> {
        let mut known = self.control.read_git_apps(&self.namespace).await?;
        known.retain(|_, (_, document)| document.source == self.name);
        let now = self.control.read_state().await?;
        let records: BTreeMap<String, Record> = known
            .iter()
            .map(|(app, (_, document))| (app.clone(), document.record.clone()))
            .collect();
        let wanted = self.rendered.as_ref().map(Rendered::wanted);
        let names = records.keys().chain(wanted.iter().flatten().map(|(app, _)| app));
        let observed = names
            .map(|app| {
                (
                    app.clone(),
                    self.observe(&now, app, known.get(app).map(|(_, known)| known)),
                )
            })
            .collect();
        let commit = self.rendered.as_ref().zip(wanted.as_ref());
        let plan = plan(&Look {
            now: self.control.now(),
            policy: Policy {
                prune: source.prune,
                self_heal: source.self_heal,
            },
            commit: commit.map(|(rendered, wanted)| Commit {
                id: &rendered.commit,
                wanted,
            }),
            records: &records,
            observed: &observed,
            not_before: state.not_before,
        });
        Ok((known, plan))
    }

    fn observe(&self, state: &State, app: &str, known: Option<&GitAppDocument>) -> Observed {
        let Some(there) = state.apps.get(&format!("{}/{app}", self.namespace)) else {
            return Observed::default();
        };
        let document = &there.document;
        let print = |number| there.releases.get(&number).map(print_of);
        let rendered = self.rendered.as_ref().and_then(|rendered| rendered.apps.get(app));
        let wanted = rendered
            .map(|rendered| &rendered.wanted)
            .or(known.map(|known| &known.wanted));
        let quarantined = document
            .quarantined
            .iter()
            .find(|quarantined| wanted.is_some_and(|wanted| wanted.digest == quarantined.digest));
        Observed {
            active: document.active.and_then(print),
            is_good: document.active.is_some() && document.last_good() == document.active,
            coming: document.waiting.or(document.canary).and_then(print),
            went_back: went_back(there, known),
            quarantined: quarantined
                .map(|known| format!("{} was rolled out and went back: {}", known.release, known.why)),
        }
    }

    /// Says what is new about how apps stand.
    async fn note_standings(
        &self,
        state: &mut StateDocument,
        plan: &Plan,
        known: &Known,
    ) -> Result<(), Error> {
        for (app, standing) in &plan.standings {
            let is_new = state.standings.get(app) != Some(standing);
            if let (true, Standing::Drifted, Some((_, document))) = (is_new, standing, known.get(app)) {
                let what = self.drift(document).await?;
                state.note(self.event("drift", Some(&document.record.commit), Some(app), what));
            }
        }
        state.standings = plan.standings.clone();
        Ok(())
    }

    /// What of an app is not as it was applied.
    async fn drift(&self, document: &GitAppDocument) -> Result<String, Error> {
        let now = self.control.read_state().await?;
        let there = now.apps.get(&format!("{}/{}", self.namespace, document.app));
        Ok(
            match there.and_then(|there| Some((there, there.document.active?))) {
                Some((there, active)) => format!(
                    "{active} by {} differs in {}",
                    there.document.changed.by,
                    self.differing(document).await?
                ),
                None => "it is not there any more".to_owned(),
            },
        )
    }

    /// The fields in which what is active is not what is wanted, as people read them.
    pub(super) async fn differing(&self, document: &GitAppDocument) -> Result<String, Error> {
        let now = self.control.read_state().await?;
        let fields: Vec<_> = changes(&now, document)
            .into_iter()
            .take(FIELDS_NAMED_MAX)
            .map(|change| change.field)
            .collect();
        Ok(fields.join(", "))
    }

    fn note_outcome(&mut self, state: &mut StateDocument, commit: Option<String>, outcome: Outcome) {
        let Some(commit) = commit else { return };
        match outcome {
            Outcome::Idle | Outcome::Progressing => {}
            Outcome::Empty => {
                if state.refused.is_none() {
                    let why = "there is no document at its path, which is taken for a mistake: nothing is taken away"
                        .to_owned();
                    self.refuse(state, &commit, why);
                }
            }
            Outcome::Failed { app, why } => {
                let why = format!("{app}: {why}");
                if state
                    .failed
                    .as_ref()
                    .is_none_or(|failed| failed.commit != commit || failed.why != why)
                {
                    state.note(self.event("failed", Some(&commit), Some(&app), why.clone()));
                    self.unsaid.push((commit.clone(), format!("failed: {why}")));
                    state.failed = Some(Rejected {
                        commit,
                        at: self.control.now(),
                        why,
                    });
                }
            }
            Outcome::Done => {
                (state.failed, state.trouble, state.tries) = (None, None, 0);
                if state
                    .applied
                    .as_ref()
                    .is_none_or(|(applied, _)| *applied != commit)
                {
                    state.note(self.event(
                        "in-place",
                        Some(&commit),
                        None,
                        "everything is as it says".to_owned(),
                    ));
                    self.unsaid.push((commit.clone(), "in place".to_owned()));
                    state.applied = Some((commit, self.control.now()));
                }
            }
        }
    }
}

/// Why what was applied is not active, if it was taken back and not just replaced.
fn went_back(there: &KnownApp, known: Option<&GitAppDocument>) -> Option<String> {
    let document = &there.document;
    let failed = known.and_then(|known| known.release);
    if let Some((number, problem)) = failed.and_then(|number| Some((number, document.problem_of(number)?))) {
        return Some(format!(
            "{number} went back: {} ({})",
            problem.message, problem.code
        ));
    }
    let by = &document.changed.by;
    match document.changed.kind {
        ChangeKind::Rollback => {
            let to = document
                .active
                .map_or_else(String::new, |active| format!(" to {active}"));
            Some(format!("{by} rolled it back{to}"))
        }
        ChangeKind::Retire => Some(format!("{by} took it out of service")),
        ChangeKind::Deploy | ChangeKind::Rollout | ChangeKind::Return => None,
    }
}
