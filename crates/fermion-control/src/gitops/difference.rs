//! What a deploy would change, field by field, against what is active.

use fermion_api::{DiffRequest, DiffResult};
use fermion_model::app::PackageChoice;
use fermion_model::objective::ObjectiveSpec;
use fermion_model::release::Route;
use fermion_model::{AppName, Digest, Namespace, Release};
use serde_json::{Value, json};

use super::view::shown;
use crate::{Control, Error};

impl Control {
    /// Compares what is wanted with the active release. A package whose digest is not known here is compared by name.
    pub async fn diff(
        &self,
        namespace: &Namespace,
        app: &AppName,
        request: DiffRequest,
    ) -> Result<DiffResult, Error> {
        let state = self.read_state().await?;
        let there = state.apps.get(&format!("{namespace}/{app}"));
        let active = there.and_then(|there| there.releases.get(&there.document.active?));
        let choice = request.package.as_deref().map(str::parse::<PackageChoice>);
        let choice = choice.transpose().map_err(|what| Error::Request { what })?;
        let digest = match &choice {
            Some(choice) => self.digest_here(choice).await?,
            None => None,
        };
        let is_same = |release: &Release| match (&choice, digest) {
            (None, _) => true,
            (Some(_), Some(digest)) => digest == release.digest,
            (Some(choice), None) => is_called(choice, release),
        };
        let package = match (&choice, active) {
            (_, Some(active)) if is_same(active) => Some(package_of(active)),
            (Some(choice), _) => Some(match digest {
                Some(digest) if !matches!(choice, PackageChoice::Digest(..)) => {
                    format!("{choice} ({digest})")
                }
                _ => choice.to_string(),
            }),
            (None, _) => None,
        };
        let routes: Vec<Route> = request.routes.into_iter().map(Into::into).collect();
        let objectives = request.objectives;
        let objectives: Option<Vec<ObjectiveSpec>> =
            objectives.map(|list| list.into_iter().map(Into::into).collect());
        let wanted = json!({
            "package": package,
            "routes": routes,
            "config": request.config,
            "objectives": objectives,
            "rollout": request.rollout,
        });
        Ok(DiffResult {
            namespace: namespace.clone(),
            app: app.clone(),
            active: active.map(|active| active.number),
            changes: shown(&active.map_or(Value::Null, fields), &wanted),
        })
    }

    /// A package's digest, if it is in the store.
    async fn digest_here(&self, choice: &PackageChoice) -> Result<Option<Digest>, Error> {
        match choice {
            PackageChoice::Digest(_, digest) => Ok(Some(*digest)),
            PackageChoice::Remote(_) => Ok(None),
            PackageChoice::Version(reference) => {
                let (store, reference) = (self.shared.parts.store.clone(), reference.clone());
                let look = move || store.tag(&reference.name, &reference.version.to_string());
                let found = tokio::task::spawn_blocking(look).await;
                Ok(found.map_err(|_| Error::Stopped {
                    doing: "look a package up",
                })??)
            }
        }
    }
}

fn package_of(release: &Release) -> String {
    format!("{}:{} ({})", release.package, release.version, release.digest)
}

fn fields(release: &Release) -> Value {
    json!({
        "package": package_of(release),
        "routes": release.routes,
        "config": release.config,
        "objectives": release.objectives,
        "rollout": release.rollout,
    })
}

fn is_called(choice: &PackageChoice, release: &Release) -> bool {
    match choice {
        PackageChoice::Version(reference) => {
            reference.name == release.package && reference.version == release.version
        }
        PackageChoice::Remote(reference) => {
            let text = reference.to_string();
            text.ends_with(&format!("/{}:{}", release.package, release.version))
        }
        PackageChoice::Digest(_, digest) => *digest == release.digest,
    }
}
