//! A project folder on its way to a package: manifest, app, build, publish. Shared by `build`, `pack`, `deploy`, `up`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fermion_api::DeployRequest;
use fermion_model::app::{APP_FILE, App, PackageChoice};
use fermion_model::manifest::{MANIFEST_FILE, Manifest, SnapshotAllow};
use fermion_model::openslo::{self, OPENSLO_FILE};
use fermion_model::{Digest, RemoteReference};
use fermion_package::build::{Difference, Varied, doubts};
use fermion_package::keys::SigningKeys;
use fermion_package::secrets::{AllowList, Scan};
use fermion_package::{
    Cancel, Companions, Environment, Packed, Prepared, Store, build, prepare, publish_with, rebuild,
};
use fermion_runtime::{Initialisation, snapshot};

use crate::cli::SnapshotArgs;
use crate::output;
use crate::sink::seconds_now;

/// A build that says nothing for long is not a build that hangs.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// A folder with a valid `fermion.toml` and, if there is one, a valid `app.yaml`.
#[derive(Debug, Clone)]
pub(crate) struct Project {
    pub(crate) folder: PathBuf,
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) app: Arc<App>,
}

impl Project {
    /// Reads and checks the folder's files.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let file = folder.join(MANIFEST_FILE);
        let text = std::fs::read_to_string(&file).with_context(|| {
            format!(
                "cannot read {}: a project has a {MANIFEST_FILE}; `fermion new` makes one",
                file.display()
            )
        })?;
        let manifest = Manifest::parse(&text, &file.display().to_string())?;
        let app = match app_of(folder)? {
            Some(app) => app,
            None => with_openslo(folder, App::derive(&manifest)?)?,
        };
        Ok(Self {
            folder: folder.to_owned(),
            manifest: Arc::new(manifest),
            app: Arc::new(app),
        })
    }

    /// Says what the files ask for and this version does not do.
    pub(crate) fn say_notes(&self) {
        for note in self.notes() {
            output::note(format!("{}: note: {note}", self.app.name));
        }
    }

    fn notes(&self) -> Vec<String> {
        let gaps = self.app.config_gaps(&self.manifest.capabilities);
        self.manifest
            .unsupported()
            .iter()
            .chain(&self.app.notes)
            .map(ToString::to_string)
            .chain(gaps.iter().map(ToString::to_string))
            .chain(doubts(&self.manifest, &self.folder))
            .collect()
    }

    /// Runs the build command and makes the component ready to be packed. What the build says, and that it goes on,
    /// goes to standard error. Dropping the future ends the build with everything it started. `sbom` is a file that
    /// takes the place of the bill of materials that would be found.
    pub(crate) async fn build(&self, sbom: Option<&Path>, snapshot: &SnapshotArgs) -> Result<Prepared> {
        let (manifest, folder) = (self.manifest.clone(), self.folder.clone());
        if let Some(build) = &manifest.build {
            let name = &self.app.name;
            output::note(format!(
                "{name}: building {}: {}",
                manifest.reference(),
                build.command
            ));
        }
        let sbom = sbom.map(Path::to_owned);
        let built = self.run(move |environment, cancel, on_line| {
            let built = build(&manifest, &folder, environment, cancel, on_line)?;
            prepare(&manifest, &folder, environment, built, sbom.as_deref())
        });
        let mut prepared = built.await?;
        self.freeze(&mut prepared, snapshot).await?;
        Ok(prepared)
    }

    /// Makes a snapshot of the component where the manifest or the command line asks for one.
    async fn freeze(&self, prepared: &mut Prepared, asked: &SnapshotArgs) -> Result<()> {
        let mut allowed: BTreeSet<_> = asked.snapshot_allow.iter().copied().collect();
        let mut is_wanted = asked.snapshot;
        if let Some(build) = &self.manifest.build {
            is_wanted |= build.snapshot;
            allowed.extend(&build.snapshot_allow);
        }
        if !is_wanted {
            return Ok(());
        }
        let facts = fermion_package::facts(&prepared.wasm)?;
        facts.check_imports()?;
        let initialisation = Initialisation {
            memory_bytes: self.manifest.limits.memory_bytes,
            instructions_max: None,
            is_seed_fixed: allowed.contains(&SnapshotAllow::InsecureSeed),
        };
        let executable = std::env::current_exe().context("cannot find this program's own file")?;
        let frozen = snapshot(&executable, prepared.wasm.clone(), initialisation);
        let frozen = with_progress(&self.app.name.to_string(), frozen)
            .await
            .with_context(|| format!("no snapshot of {}", self.manifest.reference()))?;
        prepared.freeze(frozen, &allowed);
        Ok(())
    }

    /// Builds a second time, elsewhere, and holds the outcome against the first. Gives what was different about the
    /// second build, and the differences that do not reach the package.
    ///
    /// # Errors
    /// `BUILD_NOT_REPRODUCIBLE` with every difference that does.
    pub(crate) async fn verify(&self, first: Vec<u8>) -> Result<(Vec<Varied>, Vec<Difference>)> {
        let Some(command) = self.manifest.build.as_ref().map(|build| &build.command) else {
            bail!("there is nothing to repeat: fermion.toml has no [build] command");
        };
        let (manifest, folder) = (self.manifest.clone(), self.folder.clone());
        output::note(format!("{}: building again, elsewhere: {command}", self.app.name));
        self.run(move |environment, cancel, on_line| {
            let second = rebuild(&manifest, &folder, environment, cancel, on_line)?;
            let differences = second.compare(&manifest, &folder, environment, &first)?;
            let (packed, stripped): (Vec<_>, Vec<_>) = differences
                .into_iter()
                .partition(|difference| difference.is_packed);
            if packed.is_empty() {
                return Ok((second.varied, stripped));
            }
            let differences = packed.iter().map(ToString::to_string).collect();
            Err(fermion_package::Error::BuildNotReproducible { differences })
        })
        .await
    }

    /// Runs a build on a thread that may block, shows what it says, and ends it when nobody waits for it any more.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Environment, &Cancel, &mut dyn FnMut(&str)) -> fermion_package::Result<T>
        + Send
        + 'static,
    ) -> Result<T> {
        let name = self.app.name.to_string();
        let cancel = Cancel::default();
        let guard = CancelOnDrop(cancel.clone());
        let prefix = name.clone();
        let work = tokio::task::spawn_blocking(move || {
            let environment = Environment::new(std::env::vars_os());
            work(&environment, &cancel, &mut |line| {
                output::note(format!("{prefix} | {line}"))
            })
        });
        let done = with_progress(&name, work)
            .await
            .context("the build ended unexpectedly")?;
        drop(guard);
        Ok(done?)
    }

    /// Refuses a component with a secret in it, before there is a package of it. `policy` is the folder with the list
    /// of what is known to be none.
    pub(crate) async fn scan(&self, wasm: &[u8], policy: &Path) -> Result<()> {
        let (wasm, policy) = (wasm.to_vec(), policy.to_owned());
        let check = move || {
            let mut scan = Scan::default();
            scan.component(&wasm);
            scan.check(&AllowList::read(&policy)?, seconds_now())
        };
        Ok(tokio::task::spawn_blocking(check).await??)
    }

    /// Makes a signed package of a component, in the local store, with its bill of materials and a statement about where
    /// it comes from. The keys are those that sign in the folder `keys` now; also gives the id of the package's signer.
    pub(crate) async fn publish(
        &self,
        prepared: &Prepared,
        store: &Store,
        keys: &Path,
    ) -> Result<(Packed, Digest)> {
        let (manifest, store, keys) = (self.manifest.clone(), store.clone(), keys.to_owned());
        if let Some(secret) = self.manifest.capabilities.secrets.first() {
            bail!(
                "SECRETS_UNSUPPORTED: the package asks for the secret {secret:?}; this version has no secrets yet: remove [capabilities] secrets"
            );
        }
        let Prepared {
            wasm,
            sbom,
            provenance,
            snapshot,
            ..
        } = prepared.clone();
        let published = tokio::task::spawn_blocking(move || {
            let keys = SigningKeys::load_or_create(&keys)?;
            let companions = Companions {
                sbom: sbom.as_ref().map(|sbom| sbom.bytes.as_slice()),
                provenance: Some((&provenance, &keys.provenance)),
                snapshot: snapshot.as_ref(),
            };
            let packed = publish_with(&manifest, &wasm, &store, &keys.package, companions)?;
            Ok::<_, fermion_package::Error>((packed, keys.package.public().id()))
        });
        Ok(published.await??)
    }

    /// What to ask of the control plane for a package of this project.
    pub(crate) fn request(&self, packed: &Packed) -> DeployRequest {
        DeployRequest {
            digest: Some(packed.digest),
            ..request(&self.app, None)
        }
    }
}

/// What to ask of the control plane for an app whose package lies in a registry, or is named otherwise.
pub(crate) fn request(app: &App, source: Option<&RemoteReference>) -> DeployRequest {
    DeployRequest {
        digest: None,
        source: source.map(ToString::to_string),
        refs: None,
        routes: app.routes.iter().cloned().map(Into::into).collect(),
        config: app.config.clone(),
        objectives: app
            .objectives
            .clone()
            .map(|list| list.into_iter().map(Into::into).collect()),
        expected: None,
        override_policy: None,
        rollout: app.rollout.clone(),
        retry: false,
        during_freeze: false,
    }
}

/// The app of a folder's `app.yaml`; none if there is no such file.
pub(crate) fn app_of(folder: &Path) -> Result<Option<App>> {
    let file = folder.join(APP_FILE);
    match std::fs::read_to_string(&file) {
        Ok(text) => {
            let app = App::parse(&text, &file.display().to_string())?;
            with_openslo(folder, app).map(Some)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// The app with the objectives of the folder's `openslo.yaml`, if there is one.
fn with_openslo(folder: &Path, mut app: App) -> Result<App> {
    let file = folder.join(OPENSLO_FILE);
    match std::fs::read_to_string(&file) {
        Ok(_) if app.objectives.is_some() => bail!(
            "{} and spec.objectives of {APP_FILE} both say what {} promises: keep one",
            file.display(),
            app.name
        ),
        Ok(text) => {
            let objectives = openslo::parse(&text, &file.display().to_string(), &app.name)?;
            app.objectives = Some(objectives);
            Ok(app)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(app),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// Where an app says that its package lies, if that is a registry.
pub(crate) fn source_of(app: &App) -> Option<&RemoteReference> {
    match &app.package {
        Some(PackageChoice::Remote(reference)) => Some(reference),
        _ => None,
    }
}

/// Waits, and says every now and then that it does.
async fn with_progress<T>(name: &str, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    let begun = tokio::time::Instant::now();
    loop {
        match tokio::time::timeout(PROGRESS_EVERY, &mut work).await {
            Ok(done) => return done,
            Err(_) => output::note(format!(
                "{name}: still building after {} s",
                begun.elapsed().as_secs()
            )),
        }
    }
}

/// Ends a build whose caller has given up.
struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: &str = "apiVersion: fermion.dev/v1\nkind: App\nmetadata: {name: shop}\n";
    const SLO: &str = "apiVersion: openslo/v1\nkind: SLO\nmetadata: {name: works}\nspec:\n  indicatorRef: success\n  \
                       timeWindow: [{duration: 30d, isRolling: true}]\n  objectives: [{target: 0.99}]\n";

    #[test]
    fn objectives_stand_in_one_of_two_files() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let read = || app_of(folder.path()).map(|app| app.unwrap().objectives);
        write(APP_FILE, APP);
        assert_eq!(read().unwrap(), None);
        write(OPENSLO_FILE, SLO);
        assert_eq!(read().unwrap().unwrap()[0].name, "works");
        write(APP_FILE, &format!("{APP}spec: {{objectives: []}}\n"));
        let refusal = read().unwrap_err().to_string();
        assert!(refusal.contains("keep one"), "{refusal}");
        write(APP_FILE, APP);
        write(OPENSLO_FILE, &SLO.replace("success", "speed"));
        let refusal = read().unwrap_err().to_string();
        assert!(refusal.contains("openslo.yaml:5:17"), "{refusal}");
    }
}
