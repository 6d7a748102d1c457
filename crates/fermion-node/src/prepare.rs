//! From a release to a target: verify, compile, link, warm. Verification comes before compiling, compiling before
//! routing; each step is timed and each failure has its code.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use fermion_gateway::Countries;
use fermion_model::assignment::Step;
use fermion_model::record::Served;
use fermion_model::{Digest, Release};
use fermion_package::load::{self, VerifiedPackage};
use fermion_package::store::Store;
use fermion_package::{Trust, When};
use fermion_runtime::{
    Compiled, Compiler, EgressRule, Engines, Generation, Grants, KeyValueStores, Network, Outbound, Program,
};
use fermion_telemetry::{Clock, Compilation, Door, LogHub, Telemetry, UpstreamMetrics, Wake};
use tokio::sync::{Semaphore, watch};

use crate::counted::CountedStore;
use crate::error::Error;
use crate::limits;
use crate::sleep::Wakes;
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
    /// Where apps keep what they store.
    pub stores: Arc<dyn KeyValueStores>,
    /// Where guest output goes.
    pub logs: LogHub,
    /// Where callers are, if the operator has a file that says it.
    pub countries: Option<Arc<Countries>>,
    /// The way out for guests' calls.
    pub network: Arc<Network>,
    /// What is counted.
    pub telemetry: Arc<Telemetry>,
    /// How long an app may be without a request before its memory is given back.
    pub idle_after: Duration,
    /// Owns what is loaded again.
    pub wakes: Wakes,
    /// Who may verify.
    pub turns: Turns,
}

/// Bounds how many releases are made ready at once.
#[derive(Debug, Clone)]
pub struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(limits::PREPARED_AT_ONCE_MAX)))
    }
}

/// How far a release is made ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Its first request finds it warm.
    Loaded,
    /// Verified, with its native code at hand; its first request loads it. For what waits for instances of its own,
    /// the same as `Loaded`.
    Verified,
}

/// A release that can serve.
#[derive(Debug, Clone)]
pub(crate) struct Ready {
    pub(crate) target: Arc<Target>,
    pub(crate) plan: Arc<Plan>,
    /// How often in a row nobody had asked for it.
    pub(crate) quiet_looks: u32,
}

/// What was verified of a release: enough to load it again.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) release: Release,
    /// Without the component.
    pub(crate) package: VerifiedPackage,
    generation: Generation,
    /// The trusted keys that had signed it when it was verified.
    pub(crate) signers: Vec<Digest>,
    /// What it calls, if it may call anybody.
    pub(crate) upstreams: Option<Arc<UpstreamMetrics>>,
}

impl Plan {
    /// False if instances are to wait for its requests.
    pub(crate) fn may_sleep(&self) -> bool {
        self.package.instances.warm_min == 0
    }
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
    pub(crate) async fn prepare(
        self: &Arc<Self>,
        release: &Release,
        depth: Depth,
    ) -> (Result<Ready, Error>, Vec<Step>) {
        let mut steps = Steps::begin();
        let made = self.make(release, depth, &mut steps).await;
        (made, steps.done)
    }

    /// A release was let in when it was made; since then it only runs on.
    fn when(&self, release: &Release) -> When {
        let admitted = SystemTime::UNIX_EPOCH + Duration::from_secs(release.created_at);
        When::admitted(admitted, self.clock.now())
    }

    async fn make(
        self: &Arc<Self>,
        release: &Release,
        depth: Depth,
        steps: &mut Steps,
    ) -> Result<Ready, Error> {
        // Never closed: it lives as long as this.
        let turn = self.turns.0.clone().acquire_owned().await.ok();
        *steps = Steps::begin();
        let mut package = self.verify(release).await?;
        steps.end("verify");
        let wasm = std::mem::take(&mut package.wasm);
        let may_sleep = package.instances.warm_min == 0;
        let plan = |package: VerifiedPackage, generation| {
            Arc::new(Plan {
                release: release.clone(),
                signers: package.verified.ids(),
                upstreams: upstreams(&package),
                package,
                generation,
            })
        };
        let served = Arc::new(Served {
            namespace: release.namespace.to_string(),
            app: release.app.to_string(),
            release: release.number.0,
        });
        let (target, plan) = if depth == Depth::Verified && may_sleep {
            let provided = self.compiler.provide(wasm, &package.wasm_digest).await;
            let (generation, is_cached) = provided.inspect_err(|error| self.count(failure(error)))?;
            if !is_cached {
                self.count(Compilation::Made);
            }
            steps.end(step(is_cached));
            let plan = plan(package, generation);
            (Target::dormant(self, &plan, served), plan)
        } else {
            // Compiling has a queue of its own: whoever waits there keeps nobody from being verified.
            drop(turn);
            let compiled = self.compile(wasm, &package.wasm_digest).await?;
            steps.end(step(compiled.cached));
            let plan = plan(package, compiled.generation);
            let program = self.load(&plan, compiled).await?;
            steps.end("link");
            program.warm().await.map_err(Error::Warm)?;
            steps.end("warm");
            (Target::new(served, program, self.logs.clone()), plan)
        };
        Ok(Ready {
            target: Arc::new(target),
            plan,
            quiet_looks: 0,
        })
    }

    async fn verify(&self, release: &Release) -> Result<VerifiedPackage, Error> {
        let (store, digest) = (self.store.clone(), release.digest);
        let (trust, when) = (self.trust.borrow().clone(), self.when(release));
        let load = move || load::load(&store, &digest, &trust, when);
        Ok(tokio::task::spawn_blocking(load).await??)
    }

    async fn compile(&self, wasm: Vec<u8>, component: &Digest) -> Result<Compiled, Error> {
        let compiled = self.compiler.compile(wasm, component).await;
        self.count(match &compiled {
            Ok(compiled) if compiled.cached => Compilation::Cached,
            Ok(_) => Compilation::Made,
            Err(error) => failure(error),
        });
        let compiled = compiled?;
        if let Some(refused) = &compiled.refused {
            self.telemetry.doors().refused(Door::Native, refused.code());
        }
        Ok(compiled)
    }

    async fn load(&self, plan: &Plan, compiled: Compiled) -> Result<Program, Error> {
        let (engines, mut grants) = (self.engines.clone(), self.grants(&plan.package, &plan.release));
        if let Some(metrics) = &plan.upstreams {
            grants.outbound = Outbound {
                network: Some(self.network.clone()),
                observer: Some(Arc::new(Counted(metrics.clone()))),
            };
        }
        let (limits, instances) = (plan.package.limits.clone(), plan.package.instances.clone());
        let load = move || Program::load(&engines, &compiled, grants, limits, instances);
        Ok(tokio::task::spawn_blocking(load).await??)
    }

    /// Loads what was verified before, if it may still run: from its native code, or from the beginning if that is gone
    /// or not what it was.
    pub(crate) async fn load_again(&self, plan: &Plan) -> Result<(Program, Wake), Error> {
        self.recheck(&plan.release, &plan.signers)
            .await
            .inspect_err(|error| self.telemetry.doors().refused(Door::Trust, error.code()))?;
        let component = &plan.package.wasm_digest;
        let (compiled, outcome) = match self.compiler.cached(component, plan.generation).await {
            Ok(Some(compiled)) => {
                self.count(Compilation::Cached);
                (compiled, Wake::Loaded)
            }
            cached => {
                if let Err(error) = cached {
                    tracing::warn!(%component, code = error.code(), %error, "cached native code refused, compiling again");
                    self.telemetry.doors().refused(Door::Native, error.code());
                }
                let wasm = self.verify(&plan.release).await?.wasm;
                (self.compile(wasm, component).await?, Wake::Compiled)
            }
        };
        let program = self.load(plan, compiled).await?;
        program.warm().await.map_err(Error::Warm)?;
        Ok((program, outcome))
    }

    fn count(&self, outcome: Compilation) {
        self.telemetry.doors().compiled(outcome);
    }

    /// Which releases a start loads, and which it leaves to their first requests.
    pub(crate) async fn order(&self, waiting: Vec<(String, Digest)>) -> (Vec<String>, Vec<String>) {
        let (store, compiler) = (self.store.clone(), self.compiler.clone());
        let by_use = move || {
            let mut waiting = waiting;
            if waiting.len() > limits::LOADED_AT_START_MAX {
                waiting.sort_by_cached_key(|(_, package)| {
                    let component = load::component_digest(&store, package).ok();
                    std::cmp::Reverse(component.and_then(|component| compiler.last_used(&component)))
                });
            }
            let mut keys: Vec<String> = waiting.into_iter().map(|(key, _)| key).collect();
            let others = keys.split_off(keys.len().min(limits::LOADED_AT_START_MAX));
            (keys, others)
        };
        tokio::task::spawn_blocking(by_use).await.unwrap_or_default()
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
            .and_then(|()| self.still(release, &ready.plan.signers))
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

    /// Only what the package declares and the release sets. Stores belong to the app: its next release finds them
    /// again, and another app of the same name for a store has its own.
    fn grants(&self, package: &VerifiedPackage, release: &Release) -> Grants {
        let declared = &package.capabilities;
        let config = release
            .config
            .iter()
            .filter(|(key, _)| declared.config.contains(*key));
        let store = |name: &String| {
            let (namespace, app) = (release.namespace.as_str(), release.app.as_str());
            let store = self.stores.store(namespace, app, name);
            let counted = self.telemetry.keyvalue().store(namespace, app, name);
            (name.clone(), CountedStore::over(store, counted))
        };
        Grants {
            config: config.map(|(key, value)| (key.clone(), value.clone())).collect(),
            http: rules(package),
            keyvalue: declared.keyvalue.iter().map(store).collect(),
            sockets: declared.sockets.iter().cloned().collect(),
            ..Grants::default()
        }
    }
}

fn failure(error: &fermion_runtime::Error) -> Compilation {
    match error.code() {
        "COMPILE_LIMIT" => Compilation::Limit,
        _ => Compilation::Failed,
    }
}

fn step(is_cached: bool) -> &'static str {
    if is_cached { "compile (cached)" } else { "compile" }
}

/// Counters for what a release calls, if it may call anybody.
fn upstreams(package: &VerifiedPackage) -> Option<Arc<UpstreamMetrics>> {
    let rules = rules(package);
    (!rules.is_empty()).then(|| Arc::new(UpstreamMetrics::new(rules.iter().map(ToString::to_string))))
}

fn rules(package: &VerifiedPackage) -> Vec<EgressRule> {
    let origins = package.capabilities.http.iter();
    origins
        .filter_map(|origin| EgressRule::parse(&origin.to_string()).ok())
        .collect()
}
