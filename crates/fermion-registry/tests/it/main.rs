//! The distribution API over real HTTP, in the categories of the specification's conformance: pull, push, content
//! discovery, content management; then rights, quotas, garbage and damage.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod server;

mod content;
mod discovery;
mod rights;
mod store;
