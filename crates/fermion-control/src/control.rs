//! The control plane's shared state, and reading what is on the bus.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fermion_bus::{Bus, Entry, Event};
use fermion_model::assignment::{ASSIGNMENT_SCHEMA, AppStatus, NodeStatus, app_status_key, status_key};
use fermion_model::release::RELEASE_SCHEMA;
use fermion_model::{AppName, Namespace, Release, ReleaseNumber};
use fermion_package::policy::Gate;
use fermion_package::remote::Client;
use fermion_package::{Store, TrustKeeper};
use fermion_telemetry::{LogHub, Telemetry, Traces};
use tokio::sync::{Mutex, RwLock, Semaphore};

use crate::documents::{APP_SCHEMA, AppDocument, app_key, release_key};
use crate::known::Known;
use crate::limits::{CHECKS_MAX, DEPLOYS_MAX, FOLLOWERS_MAX, GIT_FETCHES_MAX, PULLS_MAX, UPLOADS_MAX};
use crate::plan::{KnownApp, State};
use crate::receivers::Receivers;
use crate::slo::Slo;
use crate::why::Why;
use crate::{AdminToken, Error, Verifier};

/// The wall clock, passed in.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Draws what nobody can guess.
pub type Salt = Arc<dyn Fn() -> std::io::Result<String> + Send + Sync>;

/// What the control plane is told.
#[derive(Debug, Clone)]
pub struct ControlConfig {
    /// Where the admin API listens; loopback only.
    pub listen: SocketAddr,
    /// The node's name on the bus: `local` in the one-process mode.
    pub node: String,
    /// The version of fermion that `status` reports.
    pub version: String,
    /// Where copies of Git repositories lie, and the keys for them.
    pub git: PathBuf,
    /// How long a deploy waits for the node; `fermion_api::limits::DEPLOY_WAIT_MAX` outside tests.
    pub deploy_wait_max: Duration,
}

/// What the control plane is made of.
pub struct ControlParts {
    /// Where everything is kept.
    pub bus: Bus,
    /// Where uploaded blobs go.
    pub store: Store,
    /// The check of a package; [`crate::verifier`] outside tests.
    pub verifier: Verifier,
    /// Who is trusted with what.
    pub trust: Arc<TrustKeeper>,
    /// Reaches the registries that packages are pulled from.
    pub registries: Client,
    /// The policies that admit packages.
    pub gate: Arc<Gate>,
    /// Counts what the gate turned away, and what was let by in spite of it, by code.
    pub count: Arc<dyn Fn(&'static str) + Send + Sync>,
    /// What components write.
    pub logs: LogHub,
    /// Metrics: shown to scrapers, and what happens here is counted there.
    pub telemetry: Arc<Telemetry>,
    /// Traces of requests that are kept.
    pub traces: Traces,
    /// The wall clock.
    pub clock: Clock,
    /// Draws what nobody can guess: 32 hexadecimal digits.
    pub salt: Salt,
    /// Who is told of alerts.
    pub receivers: Receivers,
    /// What callers must have.
    pub token: AdminToken,
    /// The rest.
    pub config: ControlConfig,
}

/// The control plane of one process. Clones share it.
#[derive(Clone)]
pub struct Control {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) parts: ControlParts,
    /// Held by whoever decides and writes: checks against other apps and the write they justify are one step.
    pub(crate) intent: Mutex<Known>,
    /// Read while a package is checked and recorded, written while garbage is collected: between being looked at and
    /// being needed by a release, nothing is taken away.
    pub(crate) collecting: RwLock<()>,
    pub(crate) deploys: Semaphore,
    pub(crate) checks: Semaphore,
    pub(crate) uploads: Semaphore,
    pub(crate) pulls: Semaphore,
    pub(crate) fetches: Semaphore,
    pub(crate) followers: Arc<Semaphore>,
    pub(crate) slo: Slo,
    pub(crate) why: Why,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control")
            .field("config", &self.shared.parts.config)
            .finish_non_exhaustive()
    }
}

impl Control {
    /// Refuses an address that is not loopback. Does nothing yet: see [`Control::bind`].
    pub fn new(parts: ControlParts) -> Result<Self, Error> {
        let address = parts.config.listen;
        if !address.ip().is_loopback() {
            return Err(Error::NotLoopback { address });
        }
        let shared = Shared {
            parts,
            intent: Mutex::default(),
            collecting: RwLock::new(()),
            deploys: Semaphore::new(DEPLOYS_MAX),
            checks: Semaphore::new(CHECKS_MAX),
            uploads: Semaphore::new(UPLOADS_MAX),
            pulls: Semaphore::new(PULLS_MAX),
            fetches: Semaphore::new(GIT_FETCHES_MAX),
            followers: Arc::new(Semaphore::new(FOLLOWERS_MAX)),
            slo: Slo::default(),
            why: Why::default(),
        };
        let control = Self {
            shared: Arc::new(shared),
        };
        control.show_objectives();
        Ok(control)
    }

    pub(crate) fn bus(&self) -> &Bus {
        &self.shared.parts.bus
    }

    pub(crate) fn config(&self) -> &ControlConfig {
        &self.shared.parts.config
    }

    /// Seconds since the Unix epoch.
    pub(crate) fn now(&self) -> u64 {
        unix_seconds((self.shared.parts.clock)())
    }

    /// Everything on the bus that decisions need, as it is now.
    pub(crate) async fn read_state(&self) -> Result<Arc<State>, Error> {
        let mut known = self.shared.intent.lock().await;
        self.catch_up(&mut known).await?;
        Ok(known.state.clone())
    }

    /// The packages of every release that is kept: what serves, and what can be gone back to.
    ///
    /// # Errors
    /// Also if a single release cannot be read: then nobody knows all of them.
    pub async fn pinned(&self) -> Result<std::collections::BTreeSet<fermion_model::Digest>, Error> {
        let mut pinned = std::collections::BTreeSet::new();
        let mut through = 0;
        loop {
            let changes = self.bus().changes(through, &["releases/"]).await?;
            for event in changes.events {
                let Event::Put(entry) = event else { continue };
                let release: Release = entry.json()?;
                check_schema(&entry.key, release.schema, RELEASE_SCHEMA)?;
                pinned.insert(release.digest);
            }
            through = changes.through;
            if changes.is_all {
                return Ok(pinned);
            }
        }
    }

    /// What the node says of itself.
    pub(crate) async fn read_status(&self) -> Result<NodeStatus, Error> {
        let key = status_key(&self.config().node);
        let Some((_, status)) = self.bus().get_json::<NodeStatus>(&key).await? else {
            return Ok(NodeStatus::default());
        };
        check_schema(&key, status.schema, ASSIGNMENT_SCHEMA)?;
        Ok(status)
    }

    /// What the node says of an app; none if it has said nothing since it was started.
    pub(crate) async fn read_report(&self, name: &str) -> Result<Option<AppStatus>, Error> {
        let key = app_status_key(&self.config().node, name);
        let Some((_, report)) = self.bus().get_json::<AppStatus>(&key).await? else {
            return Ok(None);
        };
        check_schema(&key, report.schema, ASSIGNMENT_SCHEMA)?;
        let status = self.read_status().await?;
        Ok(Some(report).filter(|report| report.incarnation == status.incarnation))
    }

    pub(crate) async fn read_app(&self, namespace: &Namespace, app: &AppName) -> Result<KnownApp, Error> {
        let key = app_key(namespace, app);
        let Some(document) = self.bus().get(&key).await? else {
            return Err(Error::NoSuchApp {
                namespace: namespace.clone(),
                app: app.clone(),
            });
        };
        self.read_known(&Entry {
            key,
            revision: document.revision,
            bytes: document.bytes,
        })
        .await
    }

    pub(crate) async fn read_known(&self, entry: &Entry) -> Result<KnownApp, Error> {
        let document: AppDocument = entry.json()?;
        check_schema(&entry.key, document.schema, APP_SCHEMA)?;
        let mut releases = BTreeMap::new();
        for number in document.held() {
            if let Some(release) = self
                .read_release(&document.namespace, &document.app, number)
                .await?
            {
                releases.insert(number, release);
            }
        }
        Ok(KnownApp {
            revision: Some(entry.revision),
            document,
            releases,
        })
    }

    /// None if there is no such release.
    pub(crate) async fn read_release(
        &self,
        namespace: &Namespace,
        app: &AppName,
        number: ReleaseNumber,
    ) -> Result<Option<Release>, Error> {
        let key = release_key(namespace, app, number);
        let Some((_, release)) = self.bus().get_json::<Release>(&key).await? else {
            return Ok(None);
        };
        check_schema(&key, release.schema, RELEASE_SCHEMA)?;
        Ok(Some(release))
    }
}

pub(crate) fn check_schema(key: &str, found: u32, known: u32) -> Result<(), Error> {
    if found == known {
        return Ok(());
    }
    Err(Error::Schema {
        key: key.to_owned(),
        found,
        known,
    })
}

/// Whole seconds since the Unix epoch; zero before it.
pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
