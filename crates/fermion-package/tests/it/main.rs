//! The package crate through its public interface: what a package looks like on disk, and what is refused.

#![expect(clippy::unwrap_used, reason = "what a test cannot set up is a failed test")]

mod attestations;
mod channels;
mod fixtures;
mod format;
mod fuzz;
mod gate;
mod handling;
mod refusals;
mod remote;
mod signatures;
mod trust;
