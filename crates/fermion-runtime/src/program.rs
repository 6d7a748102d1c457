//! A component that is compiled, linked and granted its capabilities: everything but an instance.

use std::sync::Arc;

use fermion_model::Limits;
use wasmtime::Store;

use crate::classify::CpuLimit;
use crate::compile::{Code, Compiled};
use crate::egress::{Egress, EgressClient};
use crate::engine::Engines;
use crate::error::Error;
use crate::grants::Grants;
use crate::heavy::Appetite;
use crate::limits;
use crate::link::{self, Handler};
use crate::meter::Meter;
use crate::native::Native;
use crate::output::GuestOutput;
use crate::state::State;

/// One release's component, ready to be instantiated for a request.
pub struct Program {
    pub(crate) engines: Arc<Engines>,
    /// Held so that others who run the same component share it.
    _native: Arc<Native>,
    pub(crate) handler: Handler,
    pub(crate) limits: Limits,
    pub(crate) appetite: Arc<Appetite>,
    grants: Arc<Grants>,
    egress: Arc<EgressClient>,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Program {
    /// Loads compiled code and links it. Fails if the component imports what the host does not have or exports no
    /// HTTP handler.
    pub fn load(
        engines: &Arc<Engines>,
        compiled: &Compiled,
        grants: Grants,
        limits: Limits,
    ) -> Result<Self, Error> {
        grants.check()?;
        let native = match &compiled.code {
            Code::Mapped(native) => native.clone(),
            Code::Read(code) => {
                let (engine, key) = (
                    engines.engine(compiled.generation),
                    (compiled.digest, compiled.generation),
                );
                engines.native().load(engine, key, code)?
            }
        };
        let handler = link::link(engines, compiled.generation, native.component())?;
        let grants = Arc::new(grants);
        let egress = Arc::new(EgressClient::new(grants.clone()));
        Ok(Self {
            engines: engines.clone(),
            _native: native,
            handler,
            limits,
            appetite: Arc::new(Appetite::new()),
            grants,
            egress,
        })
    }

    /// The ceilings it runs under.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn store(
        &self,
        meter: &Arc<Meter>,
        output: Arc<dyn GuestOutput>,
        traceparent: Option<http::HeaderValue>,
    ) -> Store<State> {
        let egress = Egress::new(self.egress.clone(), traceparent);
        let engine = match &self.handler {
            Handler::P2(pre) => pre.engine(),
            Handler::P3(pre) => pre.engine(),
        };
        let running = self.engines.running();
        let state = State::new(
            self.grants.clone(),
            meter.clone(),
            egress,
            output,
            self.limits.memory_bytes,
            running,
        );
        let mut store = Store::new(engine, state);
        store.limiter(|state| state);
        store.set_hostcall_fuel(limits::HOSTCALL_BYTES_MAX);
        store.set_max_component_handles(limits::HANDLES_MAX);
        let cpu_time_max = self.limits.cpu_time;
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |context| {
            if context.data().meter.tick() > cpu_time_max {
                return Err(CpuLimit.into());
            }
            Ok(wasmtime::UpdateDeadline::Yield(1))
        });
        store
    }
}
