//! What a component may import: the whole `wasi:cli` and `wasi:http` set, linked and empty unless granted. Versions
//! are matched by semver, so every 0.2.x and 0.3.x links.

use std::sync::OnceLock;

use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p3::bindings::ServicePre;

use crate::config_store;
use crate::egress::p2_errors;
use crate::engine::{Engines, Generation};
use crate::error::Error;
use crate::state::State;

/// A component linked and ready to be instantiated.
pub(crate) enum Handler {
    /// Exports `wasi:http/incoming-handler@0.2.x`.
    P2(ProxyPre<State>),
    /// Exports `wasi:http/handler@0.3.x`.
    P3(ServicePre<State>),
}

/// The linkers of both engines, each made when it is first needed: a thousand functions take longer to link than a
/// small component to load.
#[derive(Default)]
pub(crate) struct Linkers {
    p2: OnceLock<Linker<State>>,
    p3: OnceLock<Linker<State>>,
}

impl Linkers {
    fn of(&self, engines: &Engines, generation: Generation) -> Result<&Linker<State>, Error> {
        let slot = match generation {
            Generation::P2 => &self.p2,
            Generation::P3 => &self.p3,
        };
        if let Some(linker) = slot.get() {
            return Ok(linker);
        }
        let made = linker(engines, generation).map_err(Error::Engine)?;
        Ok(slot.get_or_init(|| made))
    }
}

/// Links a component that was compiled for this generation's engine.
pub(crate) fn link(
    engines: &Engines,
    generation: Generation,
    component: &Component,
) -> Result<Handler, Error> {
    let linker = engines.linkers().of(engines, generation)?;
    let pre: InstancePre<State> = linker
        .instantiate_pre(component)
        .map_err(|error| Error::ImportUnknown(format!("{error:#}")))?;
    let exports: Vec<String> = component
        .component_type()
        .exports(component.engine())
        .map(|(name, _)| name.to_owned())
        .collect();
    if exports
        .iter()
        .any(|name| name.starts_with("wasi:http/handler@0.3."))
    {
        return ServicePre::new(pre)
            .map(Handler::P3)
            .map_err(|e| Error::ComponentInvalid(format!("{e:#}")));
    }
    if exports
        .iter()
        .any(|name| name.starts_with("wasi:http/incoming-handler@0.2."))
    {
        return ProxyPre::new(pre)
            .map(Handler::P2)
            .map_err(|e| Error::ComponentInvalid(format!("{e:#}")));
    }
    let exports = if exports.is_empty() {
        "nothing".to_owned()
    } else {
        exports.join(", ")
    };
    Err(Error::NoHttpHandler { exports })
}

fn linker(engines: &Engines, generation: Generation) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engines.engine(generation));
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    p2_errors::add_to_linker(&mut linker)?;
    if generation == Generation::P3 {
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    }
    config_store::add_to_linker(&mut linker)?;
    Ok(linker)
}

/// Which engine a component needs: decided by the names it imports and exports, before anything is compiled.
pub(crate) fn generation<'a>(mut names: impl Iterator<Item = &'a str>) -> Generation {
    if names.any(|name| name.starts_with("wasi:") && name.contains("@0.3.")) {
        Generation::P3
    } else {
        Generation::P2
    }
}
