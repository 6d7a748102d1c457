//! Pure decisions: what should be done, given what is wanted, what was observed and what time it is. No I/O, no clock,
//! no randomness of its own. The only crate that knows statistics.

mod error;

pub use error::Error;

pub mod alert;
pub mod breaker;
pub mod budget;
pub mod difference;
pub mod erlang;
pub mod fair;
pub mod git;
pub mod gradient;
pub mod judge;
pub mod limits;
pub mod rollout;
pub mod slo;
pub mod warm;
pub mod why;
