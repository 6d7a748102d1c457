//! What the API shows of apps and releases, from the documents and the node's report.

use fermion_api::{AppView, NodeView, Reason, ReleaseState, ReleaseView, Status, Step};
use fermion_model::assignment::{AppStatus, Problem};
use fermion_model::{AppName, Namespace, Release, ReleaseNumber};

use crate::control::check_schema;
use crate::documents::{AppDocument, releases_prefix};
use crate::plan::KnownApp;
use crate::{Control, Error};
use fermion_model::release::RELEASE_SCHEMA;

impl Control {
    /// The node and every app.
    pub async fn status(&self) -> Result<Status, Error> {
        let state = self.read_state().await?;
        let apps = state
            .apps
            .iter()
            .map(|(name, known)| app_view(known, state.report(name)));
        Ok(Status {
            version: self.config().version.clone(),
            node: NodeView {
                name: self.config().node.clone(),
                assigned: state.generation,
                generation: state.status.generation,
                trust_epoch: state.status.trust_epoch,
            },
            apps: apps.collect(),
        })
    }

    /// The apps of one namespace, by name.
    pub async fn apps(&self, namespace: &Namespace) -> Result<Vec<AppView>, Error> {
        let mut apps = self.status().await?.apps;
        apps.retain(|app| app.namespace == *namespace);
        Ok(apps)
    }

    /// The releases of one app, newest first.
    pub async fn releases(&self, namespace: &Namespace, app: &AppName) -> Result<Vec<ReleaseView>, Error> {
        let known = self.read_app(namespace, app).await?;
        let report = self.read_report(&known.document.name()).await?;
        let mut releases = Vec::new();
        for entry in self.bus().list(&releases_prefix(namespace, app)).await? {
            let release: Release = entry.json()?;
            check_schema(&entry.key, release.schema, RELEASE_SCHEMA)?;
            releases.push(release_view(&release, &known.document, report.as_ref()));
        }
        releases.sort_by_key(|release| std::cmp::Reverse(release.number));
        Ok(releases)
    }
}

pub(crate) fn release_view(
    release: &Release,
    document: &AppDocument,
    report: Option<&AppStatus>,
) -> ReleaseView {
    let problem = document.problem_of(release.number);
    let state = if document.active == Some(release.number) {
        ReleaseState::Active
    } else if document.canary == Some(release.number) {
        ReleaseState::Canary
    } else if document.waiting == Some(release.number) {
        ReleaseState::Waiting
    } else if problem.is_some() {
        ReleaseState::Failed
    } else {
        ReleaseState::Superseded
    };
    ReleaseView {
        number: release.number,
        package: release.package.clone(),
        version: release.version.clone(),
        digest: release.digest,
        routes: release.routes.iter().cloned().map(Into::into).collect(),
        created_at: release.created_at,
        created_by: release.created_by.clone(),
        state,
        current: serving(report) == Some(release.number),
        policy_override: release.policy_override.clone(),
        problem: problem.map(reason),
    }
}

fn app_view(known: &KnownApp, report: Option<&AppStatus>) -> AppView {
    let document = &known.document;
    let active = document.active.and_then(|number| known.releases.get(&number));
    AppView {
        namespace: document.namespace.clone(),
        app: document.app.clone(),
        active: active.map(|release| release_view(release, document, report)),
        serving: serving(report),
        latest: document.latest,
        problem: report.and_then(|report| report.problem.as_ref()).map(reason),
        steps: report.map(steps).unwrap_or_default(),
        changed_at: document.changed.at,
        changed_by: document.changed.by.clone(),
        canary: document.canary,
        canary_weight: report
            .and_then(|report| report.canary.as_ref())
            .map(|canary| canary.weight),
    }
}

pub(crate) fn serving(report: Option<&AppStatus>) -> Option<ReleaseNumber> {
    report.and_then(|report| report.serving)
}

pub(crate) fn steps(report: &AppStatus) -> Vec<Step> {
    report
        .steps
        .iter()
        .map(|step| Step {
            name: step.name.clone(),
            micros: step.micros,
        })
        .collect()
}

fn reason(problem: &Problem) -> Reason {
    Reason {
        code: problem.code.clone(),
        message: problem.message.clone(),
    }
}
