//! The bus through its public API: documents, watches, leases, and what a killed or second process finds.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should stop there"
)]
mod crash;
mod documents;
mod leases;
mod messages;
mod watches;
