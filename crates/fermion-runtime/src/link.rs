//! What a component may import, as `fermion_model::interfaces` lists it: linked for everyone, empty unless granted.
//! Released versions are matched by semver, so every 0.2.x and 0.3.x links; drafts by their whole name.

use std::sync::OnceLock;

use fermion_model::interfaces;
use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p3::bindings::ServicePre;

use crate::egress::p2_errors;
use crate::engine::{Engines, Generation};
use crate::error::Error;
use crate::state::State;
use crate::wasi::{config, keyvalue, logging, sockets};

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
        let made = linker(engines.engine(generation)?, generation).map_err(Error::Engine)?;
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
        .map_err(|error| import_unknown(component, &error))?;
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

/// Names the first import that nothing satisfies and what there is instead. What is in the list and fails all the same
/// has another type than the interface of that version, which the engine words.
fn import_unknown(component: &Component, error: &wasmtime::Error) -> Error {
    let missing = component
        .component_type()
        .imports(component.engine())
        .find_map(|(name, _)| interfaces::check(name).err());
    Error::ImportUnknown(match missing {
        Some(missing) => format!("the component imports {missing}"),
        None => format!("{error:#}"),
    })
}

fn linker(engine: &Engine, generation: Generation) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    p2_errors::add_to_linker(&mut linker)?;
    if generation == Generation::P3 {
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    }
    sockets::add_to_linker(&mut linker, generation == Generation::P3)?;
    config::add_to_linker(&mut linker)?;
    logging::add_to_linker(&mut linker)?;
    keyvalue::add_to_linker(&mut linker)?;
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

#[cfg(test)]
mod tests {
    use fermion_model::interfaces::INTERFACES;

    use super::*;

    /// An import is only matched by its name and by what it has in it, so an empty one tests the name.
    #[test]
    fn every_interface_of_the_list_links_in_every_version() {
        let engines = Engines::new().unwrap();
        for interface in INTERFACES {
            for linked in interface.versions {
                let import = linked.import(interface);
                let generation = generation(std::iter::once(import.as_str()));
                let text = format!("(component (import \"{import}\" (instance)))");
                let engine = engines.engine(generation).unwrap();
                let component = Component::new(engine, wat::parse_str(text).unwrap()).unwrap();
                let linker = linker(engine, generation).unwrap();
                assert!(linker.instantiate_pre(&component).is_ok(), "{import}");
            }
        }
    }

    #[test]
    fn what_is_not_linked_is_named_with_what_there_is() {
        let engines = Engines::new().unwrap();
        for (import, want) in [
            (
                "wasi:keyvalue/store@0.2.0-draft3",
                "there are 0.2.0-draft, 0.2.0-draft2",
            ),
            (
                "wasi:otel/tracing@0.2.0-rc.1",
                "the packages that are linked are wasi:cli",
            ),
        ] {
            let text = format!("(component (import \"{import}\" (instance (export \"x\" (func)))))");
            let engine = engines.engine(Generation::P2).unwrap();
            let component = Component::new(engine, wat::parse_str(text).unwrap()).unwrap();
            let Err(error) = link(&engines, Generation::P2, &component) else {
                panic!("{import} links");
            };
            assert_eq!(error.code(), "IMPORT_UNKNOWN");
            let words = error.to_string();
            assert!(words.contains(import) && words.contains(want), "{words}");
        }
    }
}
