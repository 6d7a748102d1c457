//! What the host links beyond `wasi:cli` and `wasi:http`: configuration, logging, key-value stores, and the parts of
//! WASI where a grant or a bound decides. A file an interface; `fermion_model::interfaces` lists them all.

pub(crate) mod clocks;
pub(crate) mod config;
pub(crate) mod keyvalue;
pub(crate) mod logging;
pub(crate) mod sockets;
