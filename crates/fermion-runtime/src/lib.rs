//! The sandbox: compiles components in a child, seals native code, instantiates and calls components under limits.
//! The only crate that knows wasmtime. Refuses to do: listening, routing, deciding what may run.

mod classify;
mod compile;
mod egress;
mod engine;
mod error;
mod grants;
mod guest_body;
mod heavy;
mod instances;
mod invoke;
pub mod limits;
mod link;
mod meter;
mod native;
mod output;
mod program;
mod response;
mod seal;
mod snapshot;
mod state;
mod wasi;

pub use compile::{CompileLimits, Compiled, Compiler, CompilerConfig, compile_child};
pub use egress::{EgressEvent, EgressObserver, EgressOutcome, Network, NetworkConfig, Outbound};
pub use engine::{Allocation, Engines, Generation};
pub use error::Error;
pub use grants::{Directory, EgressRule, Grants};
pub use guest_body::GuestBody;
pub use heavy::HeavyStats;
pub use invoke::Call;
pub use meter::Meter;
pub use output::{GuestOutput, Level, Stream};
pub use program::Program;
pub use seal::{CacheUsage, SealKey};
pub use snapshot::{Initialisation, snapshot};
pub use wasi::keyvalue::{
    Answering, KeyValue, KeyValueStores, Page, Start, StoreError, Value, Write, Written,
};
