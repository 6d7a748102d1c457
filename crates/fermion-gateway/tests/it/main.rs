//! The front door over real sockets, with a dispatch that runs no guest: what callers send, what they get, and what is
//! recorded of it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod app;
mod bodies;
mod copies;
mod drain;
mod harness;
mod hostile;
mod http2;
mod overload;
mod routing;
mod sharing;
