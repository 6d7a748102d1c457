//! The two engines of a process and the thread that moves their epochs. Components of WASI 0.2 run in an engine
//! without component-model concurrency, a fifth faster; everything that names WASI 0.3 runs in the other, which is made
//! when the first of those comes.

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::error::Error;
use crate::heavy::{Crew, Heavy, HeavyStats};
use crate::instances::Keeper;
use crate::limits;
use crate::link::Linkers;
use crate::native::Shared;

/// Which engine a component needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Generation {
    /// Synchronous components, WASI 0.2.
    P2,
    /// Components with asynchronous functions, WASI 0.3.
    P3,
}

/// How instances get their memory, the fastest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Allocation {
    /// Slots reserved ahead, reset by the kernel's pagemap scan: the fastest, Linux 6.7 or newer.
    PoolingWithScan,
    /// Slots reserved ahead.
    Pooling,
    /// Mapped for each instance: small machines and other systems.
    OnDemand,
}

/// The engines of one process. Cheap to share behind an `Arc`.
pub struct Engines {
    p2: Engine,
    p3: Arc<OnceLock<Engine>>,
    /// Of the engine for WASI 0.3, made or not.
    p3_key: u64,
    allocation: Allocation,
    native: Arc<Shared>,
    linkers: Linkers,
    keeper: Keeper,
    ticker: Arc<Ticker>,
    heavy: Heavy,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Engines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engines")
            .field("allocation", &self.allocation)
            .finish_non_exhaustive()
    }
}

impl Engines {
    /// Makes the engine for WASI 0.2 with the fastest allocation that this machine offers and starts the ticker.
    pub fn new() -> Result<Self, Error> {
        let (p2, allocation) = fastest(Generation::P2, Allocation::PoolingWithScan)?;
        let p3_key = code_key(&compiler(Generation::P3)?, Generation::P3);
        let p3: Arc<OnceLock<Engine>> = Arc::default();
        let ticker = Arc::new(Ticker::default());
        let thread = std::thread::Builder::new()
            .name("fermion-epoch".into())
            .spawn({
                let (ticker, p2, p3) = (ticker.clone(), p2.clone(), p3.clone());
                move || ticker.run(&p2, &p3)
            })
            .map_err(Error::Thread)?;
        ticker
            .thread
            .set(thread.thread().clone())
            .expect("set once, here");
        Ok(Self {
            p2,
            p3,
            p3_key,
            allocation,
            native: Arc::default(),
            linkers: Linkers::default(),
            keeper: Keeper::default(),
            ticker,
            heavy: Heavy::new(),
            thread: Some(thread),
        })
    }

    /// How instances get their memory on this machine.
    pub fn allocation(&self) -> Allocation {
        self.allocation
    }

    pub(crate) fn engine(&self, generation: Generation) -> Result<&Engine, Error> {
        if generation == Generation::P2 {
            return Ok(&self.p2);
        }
        if let Some(engine) = self.p3.get() {
            return Ok(engine);
        }
        let (engine, allocation) = fastest(generation, self.allocation)?;
        if allocation != self.allocation {
            tracing::warn!(
                ?allocation,
                "instances of WASI 0.3 get their memory another way than those of 0.2: addresses are few"
            );
        }
        Ok(self.p3.get_or_init(|| engine))
    }

    /// What is mapped at the moment.
    pub(crate) fn native(&self) -> &Arc<Shared> {
        &self.native
    }

    /// What components are linked against, made once an engine.
    pub(crate) fn linkers(&self) -> &Linkers {
        &self.linkers
    }

    /// Looks after instances that outlive a request.
    pub(crate) fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// A number that changes whenever native code compiled earlier must not be loaded: engine version, settings that
    /// shape code, CPU features.
    pub fn code_key(&self, generation: Generation) -> u64 {
        match generation {
            Generation::P2 => code_key(&self.p2, generation),
            Generation::P3 => self.p3_key,
        }
    }

    /// Guests that need more than a slice of CPU.
    pub fn heavy(&self) -> HeavyStats {
        self.heavy.stats()
    }

    pub(crate) fn crew(&self) -> &Arc<Crew> {
        self.heavy.crew()
    }

    /// Keeps the epochs moving while the guard lives.
    pub(crate) fn running(&self) -> Running {
        Running::new(self.ticker.clone())
    }
}

impl Drop for Engines {
    fn drop(&mut self) {
        self.ticker.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A ticker that panicked has nothing left to say here.
            drop(thread.join());
        }
    }
}

/// Hashes what decides whether compiled code fits an engine.
pub(crate) fn code_key(engine: &Engine, generation: Generation) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    generation.hash(&mut hasher);
    hasher.finish()
}

/// An engine for compiling only: the same code settings, no pool.
pub(crate) fn compiler(generation: Generation) -> Result<Engine, Error> {
    Engine::new(&config(generation)).map_err(Error::Engine)
}

/// An engine with the fastest allocation that this machine offers, beginning with this one.
fn fastest(generation: Generation, first: Allocation) -> Result<(Engine, Allocation), Error> {
    let ladder = [
        Allocation::PoolingWithScan,
        Allocation::Pooling,
        Allocation::OnDemand,
    ];
    let mut refused = None;
    for allocation in ladder.into_iter().filter(|allocation| *allocation >= first) {
        match engine(generation, allocation) {
            Ok(engine) => return Ok((engine, allocation)),
            Err(error) => {
                tracing::debug!(?allocation, %error, "allocation strategy not available");
                refused = Some(error);
            }
        }
    }
    Err(Error::Engine(
        refused.expect("the ladder ends with what is always there"),
    ))
}

fn engine(generation: Generation, allocation: Allocation) -> wasmtime::Result<Engine> {
    let mut config = config(generation);
    match allocation {
        Allocation::PoolingWithScan => {
            if PoolingAllocationConfig::is_pagemap_scan_available() {
                config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(true)));
            } else {
                wasmtime::bail!("the kernel has no pagemap scan");
            }
        }
        Allocation::Pooling => {
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(false)));
        }
        Allocation::OnDemand => {}
    }
    Engine::new(&config)
}

/// The settings that shape code: the compiling child and the serving engines must agree on all of them.
fn config(generation: Generation) -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true);
    config.max_wasm_stack(limits::GUEST_STACK_BYTES);
    config.async_stack_size(limits::FIBER_STACK_BYTES);
    config.memory_init_cow(true);
    config.generate_address_map(false);
    config.wasm_relaxed_simd(true).relaxed_simd_deterministic(true);
    match generation {
        Generation::P2 => {
            config.concurrency_support(false);
        }
        Generation::P3 => {
            config.wasm_component_model_async(true);
        }
    }
    config
}

fn pool(scan: bool) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(limits::POOL_INSTANCES)
        .total_core_instances(limits::POOL_CORE_INSTANCES)
        .total_memories(2 * limits::POOL_INSTANCES)
        .total_tables(limits::POOL_TABLES)
        .total_stacks(limits::POOL_INSTANCES)
        .max_core_instances_per_component(limits::CORE_INSTANCES_PER_COMPONENT_MAX)
        .max_memories_per_component(limits::MEMORIES_PER_COMPONENT_MAX)
        .max_tables_per_component(limits::TABLES_PER_COMPONENT_MAX)
        .max_component_instance_size(limits::INSTANCE_BYTES_MAX)
        .max_core_instance_size(limits::INSTANCE_BYTES_MAX)
        .table_elements(limits::TABLE_ELEMENTS_MAX)
        .max_memory_size(limits::MEMORY_RESERVATION_BYTES);
    if scan {
        pool.pagemap_scan(Enabled::Yes)
            .linear_memory_keep_resident(limits::MEMORY_KEEP_RESIDENT_BYTES)
            .table_keep_resident(limits::TABLE_KEEP_RESIDENT_BYTES)
            .async_stack_keep_resident(limits::STACK_KEEP_RESIDENT_BYTES);
    }
    pool
}

/// The one thread that moves the epochs, asleep while nothing runs.
#[derive(Default)]
struct Ticker {
    running: AtomicU32,
    asleep: AtomicBool,
    stop: AtomicBool,
    thread: OnceLock<std::thread::Thread>,
}

impl Ticker {
    fn run(&self, p2: &Engine, p3: &OnceLock<Engine>) {
        let mut idle_ticks = 0;
        while !self.stop.load(Ordering::Acquire) {
            if idle_ticks >= limits::EPOCH_IDLE_TICKS {
                self.asleep.store(true, Ordering::SeqCst);
                if self.running.load(Ordering::SeqCst) == 0 && !self.stop.load(Ordering::Acquire) {
                    std::thread::park();
                }
                self.asleep.store(false, Ordering::SeqCst);
                idle_ticks = 0;
            }
            std::thread::sleep(limits::EPOCH_TICK);
            p2.increment_epoch();
            if let Some(p3) = p3.get() {
                p3.increment_epoch();
            }
            if self.running.load(Ordering::SeqCst) == 0 {
                idle_ticks += 1;
            } else {
                idle_ticks = 0;
            }
        }
    }
}

/// One running guest, as the ticker counts it.
pub(crate) struct Running(Arc<Ticker>);

impl Running {
    fn new(ticker: Arc<Ticker>) -> Self {
        ticker.running.fetch_add(1, Ordering::SeqCst);
        if ticker.asleep.load(Ordering::SeqCst)
            && let Some(thread) = ticker.thread.get()
        {
            thread.unpark();
        }
        Self(ticker)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_engine_is_made_when_it_is_needed_and_its_key_is_known_before() {
        let engines = Engines::new().unwrap();
        let key = engines.code_key(Generation::P3);
        assert!(engines.p3.get().is_none());
        let made = engines.engine(Generation::P3).unwrap();
        assert_eq!(code_key(made, Generation::P3), key);
        assert!(Engine::same(made, engines.engine(Generation::P3).unwrap()));
        assert_ne!(engines.code_key(Generation::P2), key);
    }
}
