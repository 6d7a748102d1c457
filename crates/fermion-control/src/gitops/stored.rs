//! What is stored of Git: sources, how each stands, and what was done for each app by the word of one.

use std::collections::BTreeMap;

use fermion_api::DeployRequest;
use fermion_model::git::GitSource;
use fermion_model::objective::ObjectiveSpec;
use fermion_model::release::Route;
use fermion_model::rollout::RolloutSpec;
use fermion_model::{AppName, Digest, Namespace, Release, ReleaseNumber, SourceName};
use fermion_planner::git::{Print, Record, Standing};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::control::check_schema;
use crate::limits::GIT_EVENTS_MAX;
use crate::{Control, Error};

/// The schema of these documents that this build writes and understands.
pub(super) const GIT_SCHEMA: u32 = 1;
/// Where sources lie.
pub(super) const SOURCES: &str = "git-sources/";
const STATES: &str = "git-states/";
const APPS: &str = "git-apps/";

pub(super) fn source_key(namespace: &Namespace, name: &SourceName) -> String {
    format!("{SOURCES}{namespace}/{name}")
}

pub(super) fn state_key(namespace: &Namespace, name: &SourceName) -> String {
    format!("{STATES}{namespace}/{name}")
}

pub(super) fn apps_prefix(namespace: &Namespace) -> String {
    format!("{APPS}{namespace}/")
}

/// A source as it was handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceDocument {
    pub(super) schema: u32,
    pub(super) source: GitSource,
    pub(super) added_at: u64,
    pub(super) added_by: String,
    /// How often a person has asked for a look.
    pub(super) sync: u64,
    /// Whether the last one asked to try again what was given up.
    pub(super) retry: bool,
}

/// A commit that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rejected {
    pub(super) commit: String,
    pub(super) at: u64,
    pub(super) why: String,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Event {
    pub(super) at: u64,
    pub(super) kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) commit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) app: Option<String>,
    pub(super) what: String,
}

/// How a source stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StateDocument {
    pub(super) schema: u32,
    /// The newest commit that counts.
    #[serde(default)]
    pub(super) seen: Option<String>,
    /// The newest of which it is known that it follows from the one before, or that need not.
    #[serde(default)]
    pub(super) trunk: Option<String>,
    /// The last commit that is, or was, wholly in place.
    #[serde(default)]
    pub(super) applied: Option<(String, u64)>,
    /// A commit whose documents are not taken at all.
    #[serde(default)]
    pub(super) refused: Option<Rejected>,
    /// A commit of which something could not be brought in.
    #[serde(default)]
    pub(super) failed: Option<Rejected>,
    /// Why the repository cannot be reached.
    #[serde(default)]
    pub(super) unreachable: Option<String>,
    /// Something else that passes: a package is not there yet, a registry does not answer.
    #[serde(default)]
    pub(super) trouble: Option<String>,
    /// Tries in vain since something went well.
    #[serde(default)]
    pub(super) tries: u32,
    /// When the next may be.
    #[serde(default)]
    pub(super) not_before: u64,
    /// The last look that a person asked for and that is over.
    #[serde(default)]
    pub(super) synced: u64,
    #[serde(default)]
    pub(super) standings: BTreeMap<String, Standing>,
    /// The newest last.
    #[serde(default)]
    pub(super) events: Vec<Event>,
}

impl StateDocument {
    pub(super) fn new() -> Self {
        Self {
            schema: GIT_SCHEMA,
            seen: None,
            trunk: None,
            applied: None,
            refused: None,
            failed: None,
            unreachable: None,
            trouble: None,
            tries: 0,
            not_before: 0,
            synced: 0,
            standings: BTreeMap::new(),
            events: Vec::new(),
        }
    }

    pub(super) fn note(&mut self, event: Event) {
        tracing::info!(
            kind = event.kind,
            commit = event.commit,
            app = event.app,
            what = event.what,
            "git"
        );
        self.events.push(event);
        let surplus = self.events.len().saturating_sub(GIT_EVENTS_MAX);
        self.events.drain(..surplus);
    }
}

/// What a document asks for, with its package as a digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedApp {
    /// As the document has it.
    pub(crate) package: String,
    /// What that stood for when the document was read first.
    pub(crate) digest: Digest,
    pub(crate) routes: Vec<Route>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) config: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) objectives: Option<Vec<ObjectiveSpec>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rollout: Option<RolloutSpec>,
}

impl WantedApp {
    pub(super) fn request(&self, retry: bool) -> DeployRequest {
        let objectives = self.objectives.clone();
        DeployRequest {
            digest: Some(self.digest),
            source: None,
            refs: None,
            routes: self.routes.iter().cloned().map(Into::into).collect(),
            config: self.config.clone(),
            objectives: objectives.map(|list| list.into_iter().map(Into::into).collect()),
            expected: None,
            override_policy: None,
            rollout: self.rollout.clone(),
            retry,
            during_freeze: false,
        }
    }

    pub(super) fn print(&self) -> Print {
        print(self.digest, &self.routes, &self.config, self.objectives.as_ref())
    }

    /// For people: what a release is compared by.
    pub(super) fn fields(&self) -> Value {
        json!({
            "package": format!("{} ({})", self.package, self.digest),
            "routes": self.routes,
            "config": self.config,
            "objectives": self.objectives,
        })
    }
}

pub(super) fn print_of(release: &Release) -> Print {
    print(
        release.digest,
        &release.routes,
        &release.config,
        release.objectives.as_ref(),
    )
}

/// The same of a release. What is the same package by another name is not told apart.
pub(super) fn fields_of(release: &Release, wanted: &WantedApp) -> Value {
    let package = if release.digest == wanted.digest {
        wanted.package.clone()
    } else {
        format!("{}:{}", release.package, release.version)
    };
    json!({
        "package": format!("{package} ({})", release.digest),
        "routes": release.routes,
        "config": release.config,
        "objectives": release.objectives,
    })
}

fn print(
    digest: Digest,
    routes: &[Route],
    config: &BTreeMap<String, String>,
    objectives: Option<&Vec<ObjectiveSpec>>,
) -> Print {
    let settings = serde_json::to_vec(&(routes, config, objectives))
        .expect("routes, config and objectives are maps with text keys, which JSON can write");
    Print {
        digest: digest.to_string(),
        settings: hex::encode(Sha256::digest(settings)),
    }
}

/// What was done for one app. There is one document for each app, so no two sources have the same one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GitAppDocument {
    pub(super) schema: u32,
    pub(super) namespace: Namespace,
    pub(super) app: AppName,
    pub(super) source: SourceName,
    /// Where in the repository it is said.
    pub(super) file: String,
    pub(super) record: Record,
    pub(super) wanted: WantedApp,
    /// The release that came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) release: Option<ReleaseNumber>,
    /// The commit that said what served before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<String>,
}

impl GitAppDocument {
    pub(super) fn key(&self) -> String {
        format!("{}{}", apps_prefix(&self.namespace), self.app)
    }
}

impl Control {
    pub(super) async fn read_source(
        &self,
        namespace: &Namespace,
        name: &SourceName,
    ) -> Result<Option<(u64, SourceDocument)>, Error> {
        let key = source_key(namespace, name);
        let Some((revision, document)) = self.bus().get_json::<SourceDocument>(&key).await? else {
            return Ok(None);
        };
        check_schema(&key, document.schema, GIT_SCHEMA)?;
        Ok(Some((revision, document)))
    }

    pub(super) async fn read_git_state(
        &self,
        namespace: &Namespace,
        name: &SourceName,
    ) -> Result<(Option<u64>, StateDocument), Error> {
        let key = state_key(namespace, name);
        let Some((revision, document)) = self.bus().get_json::<StateDocument>(&key).await? else {
            return Ok((None, StateDocument::new()));
        };
        check_schema(&key, document.schema, GIT_SCHEMA)?;
        Ok((Some(revision), document))
    }

    /// What was done for the apps of a namespace, with the revisions of the documents.
    pub(super) async fn read_git_apps(
        &self,
        namespace: &Namespace,
    ) -> Result<BTreeMap<String, (u64, GitAppDocument)>, Error> {
        let mut apps = BTreeMap::new();
        for entry in self.bus().list(&apps_prefix(namespace)).await? {
            let document: GitAppDocument = entry.json()?;
            check_schema(&entry.key, document.schema, GIT_SCHEMA)?;
            apps.insert(document.app.to_string(), (entry.revision, document));
        }
        Ok(apps)
    }
}
