//! The control plane: it stores what operators want on the bus, serves the admin API, and reconciles. An intent is
//! stored before anything acts on it; what acts is one idempotent reconciler that reads the bus and nothing else, so a
//! process that dies at any point resumes. Control never talks to a node: they meet on the bus.
//! Refuses to do: running packages, reading the clock or making random numbers (both are passed in), listening
//! anywhere but on loopback.

mod claims;
mod collect;
mod control;
mod decisions;
mod documents;
mod error;
mod freezes;
mod gitops;
#[cfg(test)]
mod harness;
mod http;
mod intent;
mod known;
pub mod limits;
mod plan;
mod problem;
mod receivers;
mod reconcile;
mod rollout;
mod slo;
mod source;
mod token;
mod traces;
mod upgrade;
mod verdict;
mod verified;
mod view;
mod why;

pub use control::{Clock, Control, ControlConfig, ControlParts, Salt};
pub use error::Error;
pub use http::Bound;
pub use problem::problem;
pub use receivers::{Patience, Receivers};
pub use token::AdminToken;
pub use verified::{PackageFacts, Verifier, verifier};
