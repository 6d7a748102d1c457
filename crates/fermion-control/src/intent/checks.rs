//! What an intent must fulfil before it is recorded.

use std::collections::{BTreeMap, BTreeSet};

use fermion_api::Refs;
use fermion_api::limits::{CONFIG_BYTES_MAX, CONFIG_KEYS_MAX, REF_TAGS_MAX};
use fermion_bus::limits::VALUE_BYTES_MAX;
use fermion_model::objective::{ObjectiveSpec, check_all};
use fermion_model::release::Route;
use fermion_model::{Digest, Release};

use crate::Error;
use crate::claims::route_text;
use crate::documents::AppDocument;
use crate::plan::{KnownApp, State};

/// What a deploy may do only if it is said.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unusual {
    /// Take a package that went back.
    pub(super) retry: bool,
    /// Take over although a freeze holds the app.
    pub(super) during_freeze: bool,
}

/// Room in an app's part of an assignment beside its releases: braces, schema, generation.
const ASSIGNMENT_FRAME_BYTES: usize = 1024;

pub(super) fn check_claims(state: &State, name: &str, routes: &[Route]) -> Result<(), Error> {
    match state.claims().collision(name, routes) {
        None => Ok(()),
        Some((route, other)) => Err(Error::RouteCollision {
            route: route_text(route),
            app: name.to_owned(),
            other: other.to_owned(),
        }),
    }
}

/// Refuses a package that was rolled out before and went back, unless it is asked for again by name.
pub(super) fn check_quarantine(document: &AppDocument, release: &Release, retry: bool) -> Result<(), Error> {
    let known = document
        .quarantined
        .iter()
        .find(|known| known.digest == release.digest);
    match known.filter(|_| !retry) {
        None => Ok(()),
        Some(known) => Err(Error::Quarantined {
            app: release.app.clone(),
            release: known.release,
            why: known.why.clone(),
        }),
    }
}

/// Refuses what would make an app's part of the assignment too large to store, before it is an intent that cannot be
/// met.
pub(super) fn check_room(known: &KnownApp) -> Result<(), Error> {
    let held = known.releases.values().map(serde_json::to_vec);
    let bytes: usize = held
        .map(|text| text.map_or(VALUE_BYTES_MAX, |text| text.len()))
        .sum();
    if bytes > VALUE_BYTES_MAX - ASSIGNMENT_FRAME_BYTES {
        return Err(Error::AssignmentFull);
    }
    Ok(())
}

pub(super) fn checked_refs(refs: Refs, digest: Digest) -> Result<fermion_package::Refs, Error> {
    if refs.tags.len() > REF_TAGS_MAX {
        let what = format!(
            "refs.tags has {} entries, more than {REF_TAGS_MAX}",
            refs.tags.len()
        );
        return Err(Error::Request { what });
    }
    let tags = refs.tags.into_iter().map(|tag| (tag.tag, tag.digest)).collect();
    Ok(fermion_package::Refs {
        name: refs.name,
        digest,
        tags,
    })
}

/// What the app promises, in the model's words.
pub(super) fn checked_objectives(
    objectives: Option<Vec<fermion_api::ObjectiveSpec>>,
) -> Result<Option<Vec<ObjectiveSpec>>, Error> {
    let objectives: Option<Vec<ObjectiveSpec>> =
        objectives.map(|list| list.into_iter().map(Into::into).collect());
    check_all(objectives.as_deref().unwrap_or_default()).map_err(|why| Error::Request {
        what: format!("objectives: {why}"),
    })?;
    Ok(objectives)
}

pub(super) fn check_config(config: &BTreeMap<String, String>, asked: &BTreeSet<String>) -> Result<(), Error> {
    let bytes: usize = config.iter().map(|(key, value)| key.len() + value.len()).sum();
    let refuse = |what: String| Err(Error::Config { what });
    if config.len() > CONFIG_KEYS_MAX || bytes > CONFIG_BYTES_MAX {
        let (keys, max) = (config.len(), CONFIG_BYTES_MAX);
        return refuse(format!(
            "config has {keys} keys and {bytes} bytes, more than {CONFIG_KEYS_MAX} keys or {max} bytes"
        ));
    }
    if let Some(key) = asked.iter().find(|key| !config.contains_key(*key)) {
        return refuse(format!(
            "the package asks for config {key:?} and the app does not set it: give it a value"
        ));
    }
    if let Some(key) = config.keys().find(|key| !asked.contains(*key)) {
        return refuse(format!(
            "the app sets config {key:?} and the package does not ask for it: add it to capabilities.config in \
             fermion.toml, or remove it"
        ));
    }
    Ok(())
}
