//! What the API shows of sources.

use fermion_api::{FieldChange, GitAppView, GitEventView, GitSourceView};
use fermion_planner::difference::differences;
use fermion_planner::git::Standing;

use super::stored::{Event, GitAppDocument, SourceDocument, StateDocument, fields_of};
use crate::plan::State;
use crate::{Control, Error};

impl Control {
    pub(super) async fn source_view(&self, document: &SourceDocument) -> Result<GitSourceView, Error> {
        let source = &document.source;
        let (_, state) = self.read_git_state(&source.namespace, &source.name).await?;
        let known = self.read_git_apps(&source.namespace).await?;
        let now = self.read_state().await?;
        let mut apps = Vec::new();
        for (name, standing) in &state.standings {
            let Ok(app) = name.parse() else { continue };
            let known = known.get(name).map(|(_, known)| known);
            let known = known.filter(|known| known.source == source.name);
            apps.push(GitAppView {
                app,
                state: word(*standing),
                file: known.map(|known| known.file.clone()),
                commit: known.map(|known| known.record.commit.clone()),
                release: known.and_then(|known| known.release),
                why: known.and_then(|known| known.record.held.clone()),
                changes: known.map_or_else(Vec::new, |known| changes(&now, known)),
            });
        }
        let (word, why) = summary(&state);
        Ok(GitSourceView {
            namespace: source.namespace.clone(),
            name: source.name.clone(),
            repository: source.repository.to_string(),
            reference: source.reference.to_string(),
            path: source.path.clone(),
            interval_seconds: source.interval,
            prune: source.prune,
            self_heal: source.self_heal,
            state: word.to_owned(),
            why,
            commit: state.seen.clone(),
            applied: state.applied.as_ref().map(|(commit, _)| commit.clone()),
            applied_at: state.applied.as_ref().map(|&(_, at)| at),
            apps,
            events: state.events.iter().map(event).collect(),
        })
    }
}

/// The word and the reason for a source as a whole: the worst of what is to be said.
fn summary(state: &StateDocument) -> (&'static str, Option<String>) {
    let has = |wanted: &[Standing]| state.standings.values().any(|standing| wanted.contains(standing));
    if let Some(refused) = &state.refused {
        return ("refused", Some(refused.why.clone()));
    }
    if let Some(why) = state.unreachable.as_ref().or(state.trouble.as_ref()) {
        return ("trouble", Some(why.clone()));
    }
    if let Some(failed) = &state.failed {
        return ("failed", Some(failed.why.clone()));
    }
    if has(&[Standing::Drifted]) {
        return ("drifted", None);
    }
    if has(&[
        Standing::Due,
        Standing::Starting,
        Standing::Rolling,
        Standing::Waiting,
    ]) {
        return ("progressing", None);
    }
    if has(&[Standing::Held]) {
        return ("held", None);
    }
    match state.applied {
        Some(_) => ("in-place", None),
        None => ("new", None),
    }
}

fn word(standing: Standing) -> String {
    let value = serde_json::to_value(standing).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

/// What is active of an app and not as it was applied.
pub(super) fn changes(now: &State, known: &GitAppDocument) -> Vec<FieldChange> {
    let there = now.apps.get(&format!("{}/{}", known.namespace, known.app));
    let active = there.and_then(|there| there.releases.get(&there.document.active?));
    let active = active.map_or(serde_json::Value::Null, |active| fields_of(active, &known.wanted));
    shown(&active, &known.wanted.fields())
}

pub(super) fn shown(active: &serde_json::Value, wanted: &serde_json::Value) -> Vec<FieldChange> {
    differences(active, wanted)
        .into_iter()
        .map(|found| FieldChange {
            field: found.field,
            active: found.before,
            wanted: found.after,
        })
        .collect()
}

fn event(event: &Event) -> GitEventView {
    let Event {
        at,
        kind,
        commit,
        app,
        what,
    } = event.clone();
    GitEventView {
        at,
        kind,
        commit,
        app,
        what,
    }
}
