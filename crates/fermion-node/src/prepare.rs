//! From a release to a target: verify, compile, link, warm. Verification comes before compiling, compiling before
//! routing; each step is timed and each failure has its code.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use fermion_model::assignment::Step;
use fermion_model::record::Served;
use fermion_model::{Digest, Release};
use fermion_package::load::{self, VerifiedPackage};
use fermion_package::store::Store;
use fermion_package::{Trust, When};
use fermion_runtime::{Compiler, EgressRule, Engines, Grants, Network, Outbound, Program};
use fermion_telemetry::{Clock, Compilation, Door, LogHub, Telemetry, UpstreamMetrics};
use tokio::sync::watch;

use crate::error::Error;
use crate::target::Target;
use crate::upstreams::Counted;

/// Everything that is needed to make a release ready.
#[derive(Clone)]
pub struct Preparer {
    /// Where packages lie.
    pub store: Store,
    /// Whose signatures count at the moment.
    pub trust: watch::Receiver<Trust>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// The engines.
    pub engines: Arc<Engines>,
    /// The compiler with its sealed cache.
    pub compiler: Compiler,
    /// Where guest output goes.
    pub logs: LogHub,
    /// The way out for guests' calls.
    pub network: Arc<Network>,
    /// What is counted.
    pub telemetry: Arc<Telemetry>,
}

/// A release that can serve.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) target: Arc<Target>,
    /// The trusted keys that had signed it when it was loaded.
    pub(crate) signers: Vec<Digest>,
    /// What it calls, if it may call anybody.
    pub(crate) upstreams: Option<Arc<UpstreamMetrics>>,
}

/// Times the steps of one preparation.
struct Steps {
    begun: Instant,
    done: Vec<Step>,
}

impl Steps {
    #[expect(
        clippy::disallowed_methods,
        reason = "how long a deploy's steps took is shown to people, nothing depends on it"
    )]
    fn now() -> Instant {
        Instant::now()
    }

    fn begin() -> Self {
        Self {
            begun: Self::now(),
            done: Vec::new(),
        }
    }

    fn end(&mut self, name: &str) {
        let now = Self::now();
        let micros = u64::try_from((now - self.begun).as_micros()).unwrap_or(u64::MAX);
        self.begun = now;
        self.done.push(Step {
            name: name.to_owned(),
            micros,
        });
    }
}

impl Preparer {
    /// Makes a release ready to serve. The steps taken are given also when one of them fails.
    pub(crate) async fn prepare(&self, release: &Release) -> (Result<Ready, Error>, Vec<Step>) {
        let mut steps = Steps::begin();
        let made = self.make(release, &mut steps).await;
        (made, steps.done)
    }

    /// A release was let in when it was made; since then it only runs on.
    fn when(&self, release: &Release) -> When {
        let admitted = SystemTime::UNIX_EPOCH + Duration::from_secs(release.created_at);
        When::admitted(admitted, self.clock.now())
    }

    async fn make(&self, release: &Release, steps: &mut Steps) -> Result<Ready, Error> {
        let (store, digest) = (self.store.clone(), release.digest);
        let (trust, when) = (self.trust.borrow().clone(), self.when(release));
        let mut package =
            tokio::task::spawn_blocking(move || load::load(&store, &digest, &trust, when)).await??;
        steps.end("verify");
        let compiled = self
            .compiler
            .compile(std::mem::take(&mut package.wasm), &package.wasm_digest)
            .await;
        self.telemetry.doors().compiled(match &compiled {
            Ok(compiled) if compiled.cached => Compilation::Cached,
            Ok(_) => Compilation::Made,
            Err(error) if error.code() == "COMPILE_LIMIT" => Compilation::Limit,
            Err(_) => Compilation::Failed,
        });
        let compiled = compiled?;
        if let Some(refused) = &compiled.refused {
            self.telemetry.doors().refused(Door::Native, refused.code());
        }
        steps.end(if compiled.cached {
            "compile (cached)"
        } else {
            "compile"
        });
        let mut grants = grants(&package, release);
        let upstreams = self.counted(&mut grants);
        let engines = self.engines.clone();
        let (limits, instances) = (package.limits.clone(), package.instances.clone());
        let load = move || Program::load(&engines, &compiled, grants, limits, instances);
        let program = tokio::task::spawn_blocking(load).await??;
        steps.end("link");
        program.warm().await.map_err(Error::Warm)?;
        steps.end("warm");
        let served = Arc::new(Served {
            namespace: release.namespace.to_string(),
            app: release.app.to_string(),
            release: release.number.0,
        });
        Ok(Ready {
            target: Arc::new(Target::new(served, program, self.logs.clone())),
            signers: package.verified.ids(),
            upstreams,
        })
    }

    /// Gives the release its way out, and counters for what it calls there.
    fn counted(&self, grants: &mut Grants) -> Option<Arc<UpstreamMetrics>> {
        if grants.http.is_empty() {
            return None;
        }
        let metrics = Arc::new(UpstreamMetrics::new(grants.http.iter().map(ToString::to_string)));
        grants.outbound = Outbound {
            network: Some(self.network.clone()),
            observer: Some(Arc::new(Counted(metrics.clone()))),
        };
        Some(metrics)
    }

    /// The door before a release is routed. It was verified whole when it was loaded, which may be minutes ago: what
    /// can have changed since is who is trusted, and whether the package is still kept here. Cheap: no file is read.
    /// What is refused here, or was before, is counted.
    pub(crate) fn admit(&self, release: &Release, made: Result<Ready, Error>) -> Result<Ready, Error> {
        let count = |door, error: &Error| {
            if matches!(error, Error::Package(_)) {
                self.telemetry.doors().refused(door, error.code());
            }
        };
        let ready = made.inspect_err(|error| count(Door::Load, error))?;
        let is_kept = if self.store.has(&release.digest) {
            Ok(())
        } else {
            Err(fermion_package::Error::BlobMissing(release.digest.into()))
        };
        is_kept
            .and_then(|()| self.still(release, &ready.signers))
            .map_err(Error::from)
            .inspect_err(|error| count(Door::Activation, error))?;
        Ok(ready)
    }

    fn still(&self, release: &Release, signers: &[Digest]) -> Result<(), fermion_package::Error> {
        let trust = self.trust.borrow();
        trust
            .still(signers, &release.package, &release.digest, self.when(release))
            .map(drop)
    }

    /// Whether a release that serves may go on. From memory as a rule; only if the keys that were found when it was
    /// loaded do not suffice any more, its signatures are read again, since others may have been added.
    pub(crate) async fn recheck(&self, release: &Release, signers: &[Digest]) -> Result<(), Error> {
        let Err(refusal) = self.still(release, signers) else {
            return Ok(());
        };
        let (store, name, digest) = (self.store.clone(), release.package.clone(), release.digest);
        let (trust, when) = (self.trust.borrow().clone(), self.when(release));
        let read = move || fermion_package::verify(&store, &name, &digest, &trust, when);
        match tokio::task::spawn_blocking(read).await? {
            Ok(_) => Ok(()),
            Err(_) => Err(refusal.into()),
        }
    }
}

/// Only what the package declares and the release sets.
fn grants(package: &VerifiedPackage, release: &Release) -> Grants {
    let declared = &package.capabilities;
    let config = release
        .config
        .iter()
        .filter(|(key, _)| declared.config.contains(*key));
    Grants {
        config: config.map(|(key, value)| (key.clone(), value.clone())).collect(),
        http: declared
            .http
            .iter()
            .filter_map(|origin| EgressRule::parse(&origin.to_string()).ok())
            .collect(),
        ..Grants::default()
    }
}
