//! The control plane over real HTTP, with a node that does as the test tells it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should stop there"
)]

mod access;
mod blobs;
mod deploys;
mod logs;
mod node;
mod packages;
mod platform;
mod refusals;
mod resume;
mod rollbacks;
mod rollouts;
