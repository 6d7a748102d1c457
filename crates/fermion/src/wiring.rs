//! Builds the one-process platform out of its parts: data directory, bus, store, node, control, gateway. Everything is
//! opened and bound here before anything runs, so that what is wrong is said at once and nothing is left half started.

use std::sync::Arc;

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use fermion_bus::Bus;
use fermion_control::{AdminToken, Control, ControlConfig, ControlParts, Receivers};
use fermion_gateway::{Countries, RouteTable, Server, ServerConfig};
use fermion_node::{Node, Preparer, Routes, Turns, Wakes};
use fermion_package::TrustKeeper;
use fermion_package::channel::Seen;
use fermion_package::keys::SigningKeys;
use fermion_package::store::Store;
use fermion_providers::EmbeddedStores;
use fermion_registry::{Collector, Registry};
use fermion_runtime::{Compiler, Engines};
use fermion_telemetry::{CacheReading, Clock as _, Counters, Door, Echo, Frames, LogHub, Traces};
use tokio_util::sync::CancellationToken;

use crate::cli::{Switch, UpArgs};
use crate::commands::{registry, transfer};
use crate::data::DataDirectory;
use crate::export::{self, Exporting};
use crate::frames::FrameSender;
use crate::health::Health;
use crate::process;
use crate::sink::{Sink, WallClock};

/// The node's name where there is only one.
pub(crate) const LOCAL_NODE: &str = "local";
/// How long a deploy may take to become ready before it counts as failed.
const DEPLOY_WAIT_MAX: std::time::Duration = std::time::Duration::from_secs(120);
/// How long a data directory in use is waited for: longer than it takes to end a killed process.
const LOCK_WAIT_MAX: std::time::Duration = std::time::Duration::from_secs(2);
/// How often it is looked at meanwhile.
const LOCK_RETRY_AFTER: std::time::Duration = std::time::Duration::from_millis(50);
/// How often garbage is collected: releases come and go some times a day.
const COLLECT_EVERY: std::time::Duration = std::time::Duration::from_secs(60 * 60);
/// How long what no tag and no release needs is left alone: longer than a push or a deploy takes, by far.
const COLLECT_GRACE: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);
/// How often the folder of keys is looked at.
const TRUST_RELOAD_EVERY: std::time::Duration = std::time::Duration::from_secs(1);

/// The platform, bound and not yet running.
pub(crate) struct Platform {
    pub(crate) data: DataDirectory,
    pub(crate) store: Store,
    pub(crate) control: Control,
    pub(crate) logs: LogHub,
    pub(crate) gateway: fermion_gateway::Bound,
    pub(crate) admin: fermion_control::Bound,
    pub(crate) engines: Arc<Engines>,
    node: Node,
    routes: Routes,
    sink: Arc<Sink>,
    trust: Arc<TrustKeeper>,
    frames: FrameSender,
    exporting: Exporting,
}

/// Opens and binds everything that `fermion up` needs.
pub(crate) async fn build(arguments: &UpArgs) -> Result<Platform> {
    process::allow_descriptors();
    let data = DataDirectory::open(&arguments.data.directory)?;
    let bus = open_bus(&data).await?;
    let gateway = gateway(arguments)?;
    let store = Store::open(&data.store())?;
    // Made before anybody looks at who is trusted, so that a new folder trusts its own keys.
    SigningKeys::load_or_create(&data.keys())?;
    let trust = Arc::new(TrustKeeper::open(&data.keys(), WallClock.now())?);
    let requests = Arc::new(Frames::default());
    let traces = Traces::new(&arguments.export.traces());
    let (sink, exporting) = sink(arguments, &data, &requests, &traces)?;
    let logs = guest_logs(&sink)?;
    let watched = Watched {
        logs: logs.clone(),
        traces,
    };
    let control = control(arguments, &data, &bus, &store, watched, &sink, &trust)?;
    let registry = own_registry(&data, &store, &sink)?;
    let admin = control.bind().await?.mount(registry.router());
    let engines = Arc::new(Engines::new()?);
    let executable = std::env::current_exe().context("cannot find this program's own file")?;
    let compiler = Compiler::new(
        engines.clone(),
        arguments.native.config(executable, data.native()),
        data.seal_key()?,
    )?;
    watch_native_code(&sink, &compiler);
    sink.watch(&gateway, &engines);
    let preparer = Preparer {
        store: store.clone(),
        trust: trust.subscribe(),
        clock: Arc::new(WallClock),
        engines: engines.clone(),
        compiler,
        stores: Arc::new(EmbeddedStores::in_folder(data.keyvalue())),
        logs: logs.clone(),
        countries: countries(arguments).await?,
        network: arguments.egress.network()?,
        telemetry: sink.telemetry.clone(),
        idle_after: arguments.native.idle_after,
        wakes: Wakes::default(),
        turns: Turns::default(),
    };
    let routes: Routes = Arc::new(ArcSwap::from_pointee(RouteTable::empty()));
    let mut node = Node::new(
        LOCAL_NODE,
        bus.clone(),
        preparer,
        routes.clone(),
        sink.telemetry.clone(),
    );
    control.upgrade().await?;
    node.announce().await?;
    let health = Health::new(sink.telemetry.clone(), arguments.export.telemetry_buffer);
    Ok(Platform {
        frames: FrameSender::new(bus, requests, LOCAL_NODE, node.incarnation(), health),
        exporting,
        data,
        store,
        control,
        logs,
        gateway,
        admin,
        engines,
        node,
        routes,
        sink,
        trust,
    })
}

/// The operator's file of countries, read off the reactor.
async fn countries(arguments: &UpArgs) -> Result<Option<Arc<Countries>>> {
    let Some(path) = arguments.geoip.clone() else {
        return Ok(None);
    };
    let opened = tokio::task::spawn_blocking(move || Countries::open(&path)).await??;
    Ok(Some(Arc::new(opened)))
}

fn gateway(arguments: &UpArgs) -> Result<fermion_gateway::Bound> {
    let mut config = ServerConfig::new(arguments.listen);
    config.drain_max = arguments.drain;
    if let Some(threads) = arguments.threads {
        config.threads = threads;
    }
    Ok(Server::bind(config)?)
}

/// Where records of requests go, and what sends them on from there.
fn sink(
    arguments: &UpArgs,
    data: &DataDirectory,
    requests: &Arc<Frames>,
    traces: &Traces,
) -> Result<(Arc<Sink>, Exporting)> {
    let (export, exporting) = export::open(&arguments.export, data)?;
    let wants = (arguments.telemetry == Switch::On).then(|| Counters {
        frames: Some(requests.clone()),
        traces: Some(traces.clone()),
        export,
    });
    let sink = Sink::open(&arguments.access_log, wants)?;
    Ok((Arc::new(sink), exporting))
}

/// The registry over the platform's own store.
fn own_registry(data: &DataDirectory, store: &Store, sink: &Sink) -> Result<Registry> {
    let counted = sink.telemetry.control().clone();
    let registry = registry::registry(data, store.clone(), fermion_registry::Anonymous::Nothing)?;
    Ok(registry.counting(Arc::new(move |method, status| {
        counted.registry(method, status);
    })))
}

/// Where guests' lines go; what is lost of them is counted.
fn guest_logs(sink: &Sink) -> Result<LogHub> {
    let logs = LogHub::new(Arc::new(WallClock), Echo::Off)?;
    sink.telemetry.watch_dropped_lines("guest", {
        let logs = logs.clone();
        move || logs.lost()
    });
    Ok(logs)
}

/// A process that was killed a moment ago may still hold the lock: the kernel takes it apart at its leisure.
async fn open_bus(data: &DataDirectory) -> Result<Bus> {
    let deadline = tokio::time::Instant::now() + LOCK_WAIT_MAX;
    loop {
        match Bus::open(&data.bus()) {
            Err(fermion_bus::Error::InUse { .. }) if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(LOCK_RETRY_AFTER).await;
            }
            opened => return Ok(opened?),
        }
    }
}

fn watch_native_code(sink: &Sink, compiler: &Compiler) {
    let compiler = compiler.clone();
    sink.telemetry.doors().watch_cache("native", move || {
        let usage = compiler.usage();
        CacheReading {
            bytes: usage.bytes,
            quarantined: usage.quarantined,
        }
    });
}

/// What people may look at, beside what is on the bus.
struct Watched {
    logs: LogHub,
    traces: Traces,
}

fn control(
    arguments: &UpArgs,
    data: &DataDirectory,
    bus: &Bus,
    store: &Store,
    watched: Watched,
    sink: &Sink,
    trust: &Arc<TrustKeeper>,
) -> Result<Control> {
    let registries = transfer::platform_client(&arguments.registries, arguments.insecure_registry.clone())?;
    let telemetry = sink.telemetry.clone();
    let counted = sink.telemetry.clone();
    let clock: fermion_control::Clock = Arc::new(|| WallClock.now());
    let (doors, seen) = (telemetry.doors().clone(), Seen::new(&data.keys()));
    let verifier = fermion_control::verifier(store.clone(), trust.subscribe(), seen, clock.clone());
    let control = Control::new(ControlParts {
        bus: bus.clone(),
        store: store.clone(),
        verifier: Arc::new(move |digest, admitted| {
            verifier(digest, admitted).inspect_err(|error| doors.refused(Door::Deploy, error.code()))
        }),
        trust: trust.clone(),
        registries,
        gate: Arc::new(fermion_package::policy::Gate::new(
            data.policy(),
            data.advisories(),
        )),
        count: Arc::new(move |code| counted.doors().refused(fermion_telemetry::Door::Deploy, code)),
        logs: watched.logs,
        traces: watched.traces,
        telemetry,
        clock,
        salt: Arc::new(salt),
        receivers: Receivers::open(data.path())?,
        token: AdminToken::load_or_create(&data.token(), |bytes| {
            getrandom::fill(bytes).map_err(std::io::Error::other)
        })?,
        config: ControlConfig {
            listen: arguments.admin,
            node: LOCAL_NODE.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            git: data.git(),
            deploy_wait_max: DEPLOY_WAIT_MAX,
        },
    })?;
    Ok(control)
}

/// 32 hexadecimal digits that nobody can guess.
fn salt() -> std::io::Result<String> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What is left of the platform for whoever talks to the person in front of it.
pub(crate) struct Front {
    pub(crate) data: DataDirectory,
    pub(crate) store: Store,
    pub(crate) control: Control,
    pub(crate) logs: LogHub,
    pub(crate) gateway_address: std::net::SocketAddr,
    pub(crate) admin_address: std::net::SocketAddr,
    pub(crate) allocation: fermion_runtime::Allocation,
}

impl Platform {
    /// Runs until `shutdown`: the gateway drains first, and only then do node and control stop.
    pub(crate) async fn run<F: Future<Output = Result<()>>>(
        self,
        shutdown: CancellationToken,
        front: impl FnOnce(Front, CancellationToken) -> F,
    ) -> Result<()> {
        let Self {
            data,
            store,
            control,
            logs,
            gateway,
            admin,
            engines,
            node,
            routes,
            sink,
            trust,
            frames,
            exporting,
        } = self;
        let allocation = engines.allocation();
        let (after_drain, exported) = (CancellationToken::new(), logs.clone());
        let collect = collector(&store, &control).run(after_drain.clone());
        let (gateway_address, admin_address) = (gateway.local_addr(), admin.local_addr());
        let front = front(
            Front {
                data,
                store,
                control,
                logs,
                gateway_address,
                admin_address,
                allocation,
            },
            shutdown.clone(),
        );
        let serve = async {
            let drained = process::behind(gateway.run(routes, sink.clone(), shutdown.clone())).await;
            after_drain.cancel();
            let drained = drained?;
            if drained.aborted_connections > 0 {
                tracing::warn!(
                    connections = drained.aborted_connections,
                    "connections cut at the drain's deadline"
                );
            }
            anyhow::Ok(())
        };
        let exporting = stop_all_on_failure(&shutdown, exporting.run(&exported, after_drain.clone()));
        let admin = stop_all_on_failure(&shutdown, async { Ok(admin.run(after_drain.clone()).await?) });
        let front = stop_all_on_failure(&shutdown, front);
        let serve = stop_all_on_failure(&shutdown, serve);
        let reload = follow_trust(trust, after_drain.clone());
        let ((), (), (), (), (), exporting, admin, front, serve) = tokio::join!(
            node.run(after_drain.clone()),
            engines.keep(after_drain.clone()),
            frames.run(after_drain.clone()),
            reload,
            collect,
            exporting,
            admin,
            front,
            serve
        );
        if let Some(sink) = Arc::into_inner(sink) {
            sink.close();
        }
        front.and(admin).and(serve).and(exporting)
    }
}

/// Garbage of the store, except what any release still needs.
fn collector(store: &Store, control: &Control) -> Collector {
    let control = control.clone();
    Collector {
        store: store.clone(),
        every: COLLECT_EVERY,
        grace: COLLECT_GRACE,
        pins: Arc::new(move || {
            let control = control.clone();
            Box::pin(async move { control.pinned().await.map_err(|error| error.to_string()) })
        }),
        clock: Arc::new(|| WallClock.now()),
    }
}

/// Takes up what is put into the folder of keys. A look costs two small reads, and works on every kind of file system.
async fn follow_trust(trust: Arc<TrustKeeper>, stop: CancellationToken) {
    while stop
        .run_until_cancelled(tokio::time::sleep(TRUST_RELOAD_EVERY))
        .await
        .is_some()
    {
        let trust = trust.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || trust.reload(WallClock.now())).await {
            tracing::error!(%error, "the folder of keys could not be looked at");
        }
    }
}

/// A part that fails takes the platform down in order, instead of leaving it limping.
async fn stop_all_on_failure(
    shutdown: &CancellationToken,
    part: impl Future<Output = Result<()>>,
) -> Result<()> {
    let outcome = part.await;
    if outcome.is_err() {
        shutdown.cancel();
    }
    outcome
}
