//! The OCI distribution server over the content-addressed store: its HTTP, who may do what in which repository, and when
//! garbage is collected. Refuses to do: reading the clock or making random numbers (both are passed in), keeping content
//! in memory, answering for a repository to whoever has no right to it.

mod access;
mod collector;
mod error;
mod http;
pub mod limits;
mod registry;
mod server;
mod tokens;

pub use access::{Access, AdminCheck, Anonymous, Right};
pub use collector::{Collector, Pins};
pub use error::{Error, Result};
pub use registry::{Clock, Count, Random, Registry};
pub use server::{Bound, Listen};
pub use tokens::{NewToken, TokenFile, TokenView};
