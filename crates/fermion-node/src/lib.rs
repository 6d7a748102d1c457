//! Makes this machine match its assignment: loads, verifies, compiles, warms and routes releases, and says what it
//! did. Implements the gateway's `Dispatch` over the runtime. Refuses to do: deciding what should run.

mod app;
mod canary;
mod counted;
mod error;
mod judge;
pub mod limits;
mod prepare;
mod reconcile;
mod report;
mod sleep;
mod target;
mod upstreams;

pub use error::Error;
pub use prepare::{Preparer, Turns};
pub use reconcile::Node;
pub use sleep::Wakes;
pub use target::{Routes, Target};
