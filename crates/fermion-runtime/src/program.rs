//! A component that is compiled, linked and granted its capabilities: everything but an instance.

use std::sync::Arc;

use fermion_model::Limits;
use wasmtime::Store;
use wasmtime::component::Component;

use crate::classify::CpuLimit;
use crate::compile::Compiled;
use crate::egress::{Egress, EgressClient};
use crate::engine::Engines;
use crate::error::Error;
use crate::grants::Grants;
use crate::limits;
use crate::link::{self, Handler};
use crate::meter::Meter;
use crate::output::GuestOutput;
use crate::state::State;

/// One release's component, ready to be instantiated for a request.
pub struct Program {
    pub(crate) engines: Arc<Engines>,
    pub(crate) handler: Handler,
    pub(crate) limits: Limits,
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
        let engine = engines.engine(compiled.generation);
        let component =
            load_native(engine, compiled).map_err(|e| Error::ComponentInvalid(format!("{e:#}")))?;
        let handler = link::link(engines, compiled.generation, &component)?;
        let grants = Arc::new(grants);
        let egress = Arc::new(EgressClient::new(grants.clone()));
        Ok(Self {
            engines: engines.clone(),
            handler,
            limits,
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

#[expect(
    unsafe_code,
    reason = "loading native code is the engine's only unsafe entry that this crate needs"
)]
fn load_native(engine: &wasmtime::Engine, compiled: &Compiled) -> wasmtime::Result<Component> {
    // SAFETY: `Component::deserialize` demands bytes that came out of this engine's own compiler unchanged.
    // `NativeCode` can be made only from the output of the compiling child of this process, or from a file whose HMAC
    // under the node's key covers the component's digest, the engine's code key and every byte; the key never leaves
    // the node and is used only for output of that child. The bytes are copied before use, so a later change of the
    // file does not matter.
    unsafe { Component::deserialize(engine, compiled.code.bytes()) }
}
