//! `wasi:logging`: a message with its level and context goes where the guest's other lines go.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower};

use crate::output::Level;
use crate::state::State;

const INTERFACES: [&str; 2] = ["wasi:logging/logging", "wasi:logging/logging@0.1.0-draft"];

#[expect(
    dead_code,
    reason = "levels come from guests, whose bytes are taken as this type"
)]
#[derive(ComponentType, Lift, Lower, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
enum WitLevel {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
    #[component(name = "critical")]
    Critical,
}

impl From<WitLevel> for Level {
    fn from(level: WitLevel) -> Self {
        match level {
            WitLevel::Trace => Self::Trace,
            WitLevel::Debug => Self::Debug,
            WitLevel::Info => Self::Info,
            WitLevel::Warn => Self::Warn,
            WitLevel::Error => Self::Error,
            WitLevel::Critical => Self::Critical,
        }
    }
}

/// Links every published version.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    for name in INTERFACES {
        linker.instance(name)?.func_wrap(
            "log",
            |store: StoreContextMut<'_, State>, (level, context, message): (WitLevel, String, String)| {
                store.data().output().log(level.into(), &context, &message);
                Ok(())
            },
        )?;
    }
    Ok(())
}
