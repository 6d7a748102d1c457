//! `wasi:config` in the versions that toolchains have published: one table of values, four names.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower};

use crate::state::State;

/// The interface names under which guests ask for configuration.
const INTERFACES: [&str; 4] = [
    "wasi:config/store@0.2.0-rc.1",
    "wasi:config/store@0.2.0-draft",
    "wasi:config/store@0.2.0-draft-2024-09-27",
    "wasi:config/runtime@0.2.0-draft",
];

/// `variant error { upstream(string), io(string) }`: never returned, because the values are in memory.
#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum ConfigError {
    #[component(name = "upstream")]
    _Upstream(String),
    #[component(name = "io")]
    _Io(String),
}

type Values = Vec<(String, String)>;

/// Links every published version.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    for name in INTERFACES {
        let mut interface = linker.instance(name)?;
        interface.func_wrap("get", |store: StoreContextMut<'_, State>, (key,): (String,)| {
            let value = store.data().grants.config.get(&key).cloned();
            Ok((Ok::<Option<String>, ConfigError>(value),))
        })?;
        interface.func_wrap("get-all", |store: StoreContextMut<'_, State>, (): ()| {
            let values = store
                .data()
                .grants
                .config
                .iter()
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect();
            Ok((Ok::<Values, ConfigError>(values),))
        })?;
    }
    Ok(())
}
