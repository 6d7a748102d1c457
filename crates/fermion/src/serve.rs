//! `fermion serve`: one component behind one listener. The shortest road through the same crates as the platform.

use std::sync::Arc;

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use fermion_gateway::{RouteTable, Routed, Server, ServerConfig};
use fermion_model::record::Served;
use fermion_model::release::Route;
use fermion_model::{Digest, units};
use fermion_node::Target;
use fermion_providers::EmbeddedStores;
use fermion_runtime::{
    Allocation, Compiler, CompilerConfig, Engines, Grants, KeyValueStores as _, Outbound, Program,
};
use fermion_telemetry::{Counters, Echo, LogHub};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use crate::cli::ServeArgs;
use crate::data;
use crate::output;
use crate::process;
use crate::signals::Signals;
use crate::sink::{Sink, WallClock};

/// Serves until a signal, then drains.
pub(crate) async fn run(arguments: ServeArgs, json: bool) -> Result<()> {
    let signals = Signals::install()?;
    process::allow_descriptors();
    let mut config = ServerConfig::new(arguments.listen);
    config.drain_max = arguments.drain;
    if let Some(threads) = arguments.threads {
        config.threads = threads;
    }
    // Bound now for the error it may give, and again when the component is ready: until then nobody should connect.
    drop(Server::bind(config.clone())?);
    let wasm = std::fs::read(&arguments.file)
        .with_context(|| format!("cannot read the component {}", arguments.file.display()))?;
    let sink = Arc::new(Sink::open(&arguments.access_log, Some(Counters::default()))?);
    let logs = LogHub::new(Arc::new(WallClock), Echo::Stderr)?;
    let engines = Arc::new(Engines::new()?);
    let bytes = wasm.len() as u64;
    let program = program(&arguments, &engines, wasm).await?;
    let name = arguments
        .file
        .file_stem()
        .map_or("component".into(), |stem| stem.to_string_lossy().into_owned());
    let served = Arc::new(Served {
        namespace: "default".into(),
        app: name,
        release: 0,
    });
    let target = Arc::new(Target::new(served.clone(), program, logs));
    let everything = Route {
        host: None,
        path: "/*".into(),
        methods: Vec::new(),
        strip_prefix: false,
    };
    let table = RouteTable::build(vec![Routed {
        route: everything,
        target,
        share: None,
    }])?;
    let bound = Server::bind(config)?;
    announce(
        &arguments,
        &bound.local_addr().to_string(),
        bytes,
        engines.allocation(),
        json,
    );
    let shutdown = CancellationToken::new();
    let serving = process::behind(bound.run(
        Arc::new(ArcSwap::from_pointee(table)),
        sink.clone(),
        shutdown.clone(),
    ));
    let kept = CancellationToken::new();
    let keeping = engines.keep(kept.clone());
    // However serving ends: a second signal does not wait for it.
    let serving = async {
        let drained = signals.run(shutdown, async { Ok(serving.await?) }).await;
        kept.cancel();
        drained
    };
    let (drained, ()) = tokio::join!(serving, keeping);
    let drained = drained?;
    if drained.aborted_connections > 0 {
        output::note(format!(
            "{} connections did not finish in time and were cut",
            drained.aborted_connections
        ));
    }
    if let Some(sink) = Arc::into_inner(sink) {
        sink.close();
    }
    Ok(())
}

async fn program(arguments: &ServeArgs, engines: &Arc<Engines>, wasm: Vec<u8>) -> Result<Program> {
    let cache = match &arguments.cache {
        Some(directory) => directory.clone(),
        None => default_cache()?,
    };
    std::fs::create_dir_all(&cache).with_context(|| format!("cannot make the cache {}", cache.display()))?;
    let key = data::seal_key(&cache.join("node.key"))?;
    let executable = std::env::current_exe().context("cannot find this program's own file")?;
    let compiler = Compiler::new(engines.clone(), CompilerConfig::new(executable, cache), key)?;
    let digest = Digest::from_bytes(Sha256::digest(&wasm).into());
    let context = || format!("cannot serve {}", arguments.file.display());
    let compiled = compiler.compile(wasm, &digest).await.with_context(context)?;
    let stores = EmbeddedStores::in_memory();
    let store = |name: &String| (name.clone(), stores.store("default", "serve", name));
    let grants = Grants {
        env: arguments.env.clone(),
        config: arguments.config.iter().cloned().collect(),
        http: arguments.reach.allow_http.clone(),
        outbound: Outbound {
            network: Some(arguments.egress.network()?),
            observer: None,
        },
        directories: arguments.dir.clone(),
        keyvalue: arguments.reach.keyvalue.iter().map(store).collect(),
        sockets: arguments.reach.allow_socket.iter().cloned().collect(),
    };
    let (limits, instances) = (arguments.limits.limits(), arguments.instances.instances());
    let program = Program::load(engines, &compiled, grants, limits, instances).with_context(context)?;
    program.warm().await.with_context(context)?;
    Ok(program)
}

/// `$XDG_CACHE_HOME/fermion/native`, or the same under the home directory.
#[expect(
    clippy::disallowed_methods,
    reason = "the environment is read in the binary, once"
)]
fn default_cache() -> Result<std::path::PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(std::path::PathBuf::from)
        .or_else(|| {
            std::env::var("HOME")
                .ok()
                .map(|home| std::path::Path::new(&home).join(".cache"))
        })
        .context("neither XDG_CACHE_HOME nor HOME is set: say --cache DIR")?;
    Ok(base.join("fermion").join("native"))
}

fn announce(arguments: &ServeArgs, address: &str, bytes: u64, allocation: Allocation, json: bool) {
    let limits = arguments.limits.limits();
    if json {
        let ready = serde_json::json!({
            "event": "serving", "file": arguments.file, "address": address, "bytes": bytes,
            "allocation": output::allocation_word(allocation),
        });
        return output::line(ready.to_string());
    }
    output::line(format!(
        "serving {} ({} KiB) on http://{address}/\n  memory {}, cpu {}, wall {}, {} at once, instances: {}",
        arguments.file.display(),
        bytes.div_ceil(1024),
        units::format_bytes(limits.memory_bytes),
        units::format_duration(limits.cpu_time),
        units::format_duration(limits.wall_time),
        limits.concurrency,
        output::allocation(allocation),
    ));
}
