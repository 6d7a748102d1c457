//! The initialisation itself, inside the child: an engine without signals or reserved memory, a store that counts
//! instructions, imports that only say their name.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake};

use sha2::{Digest as _, Sha256};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, Val};
use wasmtime::{Config, Engine, ResourceLimiter, Store, Trap};
use wasmtime_wizer::Wizer;

use super::Initialisation;
use super::frozen;
use super::state::Reader;
use crate::engine::Generation;
use crate::limits;

/// The export that is called once, where there is one. Wizer's own name, which toolchains know.
const INITIALISE: &str = "wizer-initialize";
/// How the engine begins the name of an import that nobody answers.
const UNKNOWN: &str = "unknown import: `";

/// Why there is no snapshot.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The component does what cannot be frozen, or is of a shape that cannot be.
    Refused(String),
    /// It used more than it may.
    Limit(String),
}

/// What a store of an initialisation knows.
pub(super) struct Host {
    memory_bytes_max: usize,
    is_growth_refused: bool,
}

impl ResourceLimiter for Host {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let is_allowed = desired <= self.memory_bytes_max;
        self.is_growth_refused |= !is_allowed;
        Ok(is_allowed)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= limits::TABLE_ELEMENTS_MAX)
    }
}

/// An engine for one initialisation. Nothing of it depends on the machine: no signals, no memory reserved ahead, one
/// form of every NaN.
pub(crate) fn make_engine(generation: Generation) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config.consume_fuel(true);
    config.max_wasm_stack(limits::GUEST_STACK_BYTES);
    config.async_stack_size(limits::FIBER_STACK_BYTES);
    config.signals_based_traps(false);
    config.memory_init_cow(false);
    config.memory_reservation(0);
    config.memory_guard_size(0);
    config.memory_reservation_for_growth(limits::SNAPSHOT_GROWTH_BYTES);
    config.cranelift_nan_canonicalization(true);
    config.wasm_relaxed_simd(true).relaxed_simd_deterministic(true);
    match generation {
        Generation::P2 => config.concurrency_support(false),
        Generation::P3 => config.wasm_component_model_async(true),
    };
    Engine::new(&config)
}

/// Runs the initialisation and gives the component as it is afterwards.
pub(crate) fn initialise(engine: &Engine, wasm: &[u8], allowed: Initialisation) -> Result<Vec<u8>, Failure> {
    let mut wizer = Wizer::new();
    // Wizer would take it out of the module too, where components still name it.
    wizer.init_func(INITIALISE).keep_init_func(true);
    let shape = |error: wasmtime::Error| Failure::Refused(format!("it cannot be frozen: {error:#}"));
    let (context, instrumented) = wizer.instrument_component(wasm).map_err(shape)?;
    let component = Component::new(engine, &instrumented).map_err(shape)?;
    let mut linker = Linker::new(engine);
    if allowed.is_seed_fixed {
        fix_seed(&mut linker, &component, wasm).map_err(shape)?;
    }
    linker
        .define_unknown_imports_as_traps(&component)
        .map_err(shape)?;
    let mut store = Store::new(
        engine,
        Host {
            memory_bytes_max: usize::try_from(allowed.memory_bytes).unwrap_or(usize::MAX),
            is_growth_refused: false,
        },
    );
    store.limiter(|host| host);
    let instructions = allowed
        .instructions_max
        .unwrap_or(limits::SNAPSHOT_INSTRUCTIONS_MAX);
    store.set_fuel(instructions).map_err(shape)?;
    let begun = wait(async {
        let instance = linker.instantiate_async(&mut store, &component).await?;
        if let Some(found) = instance.get_export_index(&mut store, None, INITIALISE) {
            let function = instance.get_typed_func::<(), ()>(&mut store, found)?;
            function.call_async(&mut store, ()).await?;
        }
        Ok(instance)
    });
    let instance = begun.map_err(|error| name(&error, store.data(), instructions))?;
    // Reading a memory grows it by a page.
    store.data_mut().memory_bytes_max = usize::MAX;
    store.set_fuel(u64::MAX).map_err(shape)?;
    let mut reader = Reader::new(&mut store, instance);
    let frozen = wait(wizer.snapshot_component(&context, &mut reader));
    reader.finish().map_err(shape)?;
    let frozen = frozen.map_err(shape)?;
    wasmparser::Validator::new()
        .validate_all(&frozen)
        .map_err(|error| shape(wasmtime::Error::msg(error.to_string())))?;
    if frozen.len() as u64 > limits::COMPONENT_BYTES_MAX {
        let (size, max) = (frozen.len() >> 20, limits::COMPONENT_BYTES_MAX >> 20);
        return Err(Failure::Limit(format!(
            "the component has {size} MiB once initialised, more than the {max} that may be loaded"
        )));
    }
    Ok(frozen)
}

/// What ended an initialisation.
fn name(error: &wasmtime::Error, host: &Host, instructions: u64) -> Failure {
    let causes = || error.chain().map(ToString::to_string);
    if let Some(import) = causes().find_map(|cause| {
        let (_, rest) = cause.split_once(UNKNOWN)?;
        Some(rest.split('`').next()?.to_owned())
    }) {
        return Failure::Refused(frozen::refusal(&import));
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => Failure::Limit(format!(
            "initialisation was not done after {instructions} instructions"
        )),
        _ if host.is_growth_refused => Failure::Limit(format!(
            "initialisation wanted more than {} MiB of memory: see [limits] memory",
            host.memory_bytes_max >> 20
        )),
        _ => Failure::Refused(format!("initialisation failed: {error:#}")),
    }
}

/// Answers requests for a seed with one that follows from the component.
fn fix_seed(linker: &mut Linker<Host>, component: &Component, wasm: &[u8]) -> wasmtime::Result<()> {
    let digest = Sha256::digest(wasm);
    let word = |at: usize| {
        let bytes: [u8; 8] = digest[at..at + 8].try_into().expect("a digest has 32 bytes");
        Val::U64(u64::from_le_bytes(bytes))
    };
    let seed = Val::Tuple(vec![word(0), word(8)]);
    let engine = component.engine();
    for (interface, import) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(instance) = import.ty else {
            continue;
        };
        if !interface.starts_with("wasi:random/insecure-seed@") {
            continue;
        }
        let mut linked = linker.instance(interface)?;
        for (function, _) in instance.exports(engine) {
            let seed = seed.clone();
            linked.func_new(function, move |_, _, _, results| {
                results.fill(seed.clone());
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// Drives a future that waits for nothing outside of itself.
fn wait<T>(future: impl Future<Output = wasmtime::Result<T>>) -> wasmtime::Result<T> {
    struct Woken(AtomicBool);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = woken.clone().into();
    let mut future = pin!(future);
    while woken.0.swap(false, Ordering::Relaxed) {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return done;
        }
    }
    wasmtime::bail!("it waits for something that does not come")
}

#[cfg(test)]
mod tests;
