//! A component that is compiled, linked and granted its capabilities, with the instances of it that wait.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fermion_model::Limits;
use fermion_model::fault::{Failure, Fault};
use fermion_model::manifest::Instances;
use tokio::time::Instant;
use wasmtime::{PoolConcurrencyLimitError, Store};

use crate::classify::{CpuLimit, classify};
use crate::compile::{Code, Compiled};
use crate::egress::{Egress, EgressClient};
use crate::engine::{Engines, Running};
use crate::error::Error;
use crate::grants::Grants;
use crate::heavy::Appetite;
use crate::instances::{Bound, Instance, Pool, Turn};
use crate::limits;
use crate::link::{self, Handler};
use crate::native::Native;
use crate::state::State;

/// One release's component, ready to be instantiated for a request.
pub struct Program {
    pub(crate) core: Arc<Core>,
}

/// What requests, waiting instances and the keeper share.
pub(crate) struct Core {
    pub(crate) engines: Arc<Engines>,
    /// Held so that others who run the same component share it.
    _native: Arc<Native>,
    pub(crate) handler: Handler,
    pub(crate) limits: Limits,
    pub(crate) appetite: Arc<Appetite>,
    pub(crate) pool: Pool,
    grants: Arc<Grants>,
    /// Made with the first copy of a request.
    without_effects: OnceLock<Arc<Grants>>,
    egress: Arc<EgressClient>,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program")
            .field("limits", &self.core.limits)
            .finish_non_exhaustive()
    }
}

impl Program {
    /// Loads compiled code and links it. Fails if the component imports what the host does not have or exports no
    /// HTTP handler. `instances` says how long its instances live and how many wait.
    pub fn load(
        engines: &Arc<Engines>,
        compiled: &Compiled,
        grants: Grants,
        limits: Limits,
        instances: Instances,
    ) -> Result<Self, Error> {
        grants.check()?;
        let native = match &compiled.code {
            Code::Mapped(native) => native.clone(),
            Code::Read(code) => {
                let (engine, key) = (
                    engines.engine(compiled.generation)?,
                    (compiled.digest, compiled.generation),
                );
                engines.native().load(engine, key, code)?
            }
        };
        let handler = link::link(engines, compiled.generation, native.component())?;
        let grants = Arc::new(grants);
        let egress = Arc::new(EgressClient::new(grants.clone()));
        let pool = Pool::new(instances, limits.concurrency, engines.keeper().process().clone());
        Ok(Self {
            core: Arc::new(Core {
                engines: engines.clone(),
                _native: native,
                handler,
                limits,
                appetite: Arc::new(Appetite::new()),
                pool,
                grants,
                without_effects: OnceLock::new(),
                egress,
            }),
        })
    }

    /// The ceilings it runs under.
    pub fn limits(&self) -> &Limits {
        &self.core.limits
    }

    /// Instances that are kept beyond a request, whether they wait or serve.
    pub fn kept(&self) -> u64 {
        self.core.pool.kept()
    }

    /// Makes an instance, has it run the package's warm-up and keeps it for the first request: code is paged in and
    /// the memory image mapped by then. Makes as many as the package wants to have ready.
    pub async fn warm(&self) -> Result<(), Failure> {
        let ready = self.core.pool.policy().warm_min.max(1) as usize;
        let filled = self.core.fill(ready).await;
        self.core.engines.keeper().list(&self.core);
        filled
    }
}

impl Core {
    /// An instance that waits.
    pub(crate) fn take(&self) -> Option<Instance> {
        let taken = self.pool.take()?;
        if taken.served == 0 && self.pool.policy().warm_min > 0 {
            self.engines.keeper().refill();
        }
        Some(taken)
    }

    /// The instance that a request brought, made its own, or a new one.
    pub(crate) async fn instance(
        self: &Arc<Self>,
        taken: Option<Instance>,
        turn: &Turn,
    ) -> wasmtime::Result<Instance> {
        let Some(mut instance) = taken else {
            return Box::pin(self.make(turn)).await;
        };
        turn.meter.taken();
        let egress = Egress::new(
            self.egress.clone(),
            turn.traceparent.clone(),
            Some(turn.meter.clone()),
        );
        let running = self.engines.running();
        let state = instance.store.data_mut();
        state.begin(turn.meter.clone(), egress, turn.output.clone(), running);
        instance.store.set_epoch_deadline(1);
        Ok(instance)
    }

    /// Makes an instance; if the engine has no room, once more without those that wait.
    async fn make(&self, turn: &Turn) -> wasmtime::Result<Instance> {
        match self.instantiate(turn).await {
            // A copy takes no place that another request could have.
            Err(error) if error.is::<PoolConcurrencyLimitError>() && !turn.is_copy => {
                self.engines.keeper().make_room();
                self.instantiate(turn).await
            }
            made => made,
        }
    }

    async fn instantiate(&self, turn: &Turn) -> wasmtime::Result<Instance> {
        let begun = Instant::now();
        let mut store = self.store(turn);
        let bound = match &self.handler {
            Handler::P2(pre) => Bound::P2(pre.instantiate_async(&mut store).await?),
            Handler::P3(pre) => Bound::P3(pre.instantiate_async(&mut store).await?),
        };
        turn.meter.instantiated(begun.elapsed());
        Ok(Instance::new(store, bound))
    }

    /// Another request begins in an instance that serves several at once. Only one that is alone in it is certain to
    /// be the one that writes and sends: otherwise nobody's name is on lines, and no trace on outgoing requests. Each
    /// request brings its outgoing requests to all of them.
    pub(crate) fn admit(&self, state: &mut State, turn: &Turn, running: Running, is_alone: bool) {
        let (output, traceparent) = if is_alone {
            (turn.output.clone(), turn.traceparent.clone())
        } else {
            (turn.output.nameless(), None)
        };
        let meter = state.meter.clone();
        state.begin(
            meter,
            Egress::new(
                self.egress.clone(),
                traceparent,
                is_alone.then(|| turn.meter.clone()),
            ),
            output,
            running,
        );
    }

    /// True if an instance may serve several requests at once.
    pub(crate) fn is_sharing(&self) -> bool {
        let policy = self.pool.policy();
        self.pool.is_reusing() && policy.reuse_concurrency > 1 && matches!(self.handler, Handler::P3(_))
    }

    /// A request has gone well: keeps its instance for the next one if the package, the instance and the room allow.
    pub(crate) fn settle(self: &Arc<Self>, mut instance: Instance, turn: &Turn) {
        let pool = &self.pool;
        if turn.is_copy {
            return;
        }
        if turn.is_warmup {
            instance.is_warmed = true;
        } else if pool.is_reusing() {
            instance.served += 1;
        } else {
            return;
        }
        let keeper = self.engines.keeper();
        let is_worn = instance.served >= pool.policy().reuse_requests;
        if is_worn || !instance.may_stay(turn.has_body) || !pool.enter(&mut instance) {
            keeper.bury(instance);
        } else if pool.policy().warmup.is_some() && !instance.is_warmed {
            instance.store.data_mut().rest();
            keeper.warm_later(self.clone(), instance);
        } else {
            pool.give(instance);
        }
        keeper.list(self);
    }

    /// Makes instances until so many are ready. Each is put there after its warm-up, if there is one.
    pub(crate) async fn fill(self: &Arc<Self>, ready: usize) -> Result<(), Failure> {
        while self.pool.ready() < ready {
            let turn = Turn::warmup();
            let made = tokio::time::timeout(self.limits.wall_time, self.make(&turn)).await;
            let mut instance = made
                .map_err(|_| timed_out(self.limits.wall_time))?
                .map_err(|error| classify(&error, &turn.meter))?;
            self.pool.made(turn.meter.instantiate());
            if !self.pool.enter(&mut instance) {
                // It has shown that it can be made; there is no room to keep it.
                return Ok(());
            }
            let before = self.pool.ready();
            if self.pool.policy().warmup.is_some() {
                self.warm_up(instance).await?;
            } else {
                self.pool.give(instance);
            }
            if self.pool.ready() <= before {
                return Ok(());
            }
        }
        Ok(())
    }

    fn store(&self, turn: &Turn) -> Store<State> {
        let (grants, egress) = if turn.is_copy {
            let made = || Arc::new(self.grants.without_effects());
            let grants = self.without_effects.get_or_init(made);
            (grants.clone(), Egress::denied(self.egress.clone()))
        } else {
            let egress = Egress::new(
                self.egress.clone(),
                turn.traceparent.clone(),
                Some(turn.meter.clone()),
            );
            (self.grants.clone(), egress)
        };
        let engine = match &self.handler {
            Handler::P2(pre) => pre.engine(),
            Handler::P3(pre) => pre.engine(),
        };
        let state = State::new(
            grants,
            turn.meter.clone(),
            egress,
            turn.output.clone(),
            self.limits.memory_bytes,
            self.engines.running(),
        );
        let mut store = Store::new(engine, state);
        store.limiter(|state| state);
        store.set_hostcall_fuel(limits::HOSTCALL_BYTES_MAX);
        store.set_max_component_handles(limits::HANDLES_MAX);
        let cpu_time_max = self.limits.cpu_time;
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |mut context| {
            let is_within = match context.data().desk().cloned() {
                None => context.data().meter.tick() <= cpu_time_max,
                Some(desk) => desk.tick(context.async_call_stack()?.last(), cpu_time_max),
            };
            if is_within {
                Ok(wasmtime::UpdateDeadline::Yield(1))
            } else {
                Err(CpuLimit.into())
            }
        });
        store
    }
}

fn timed_out(wall_time: Duration) -> Failure {
    Failure::new(
        Fault::GuestTimeout,
        format!("instantiating took longer than the wall time of {wall_time:?}"),
    )
}
