//! The bus: small documents with revisions, compare-and-set, watches and leases, and messages that are
//! not kept. Control and node meet here and
//! nowhere else. This implementation is embedded: one process, one redb file, every commit on disk before it is
//! acknowledged. Its promises are those a replicated key-value bucket can keep too: one sequence of revisions per
//! bus, the newest state per key, watchers that see the newest state and not every state.
//! Refuses to do: large values (they belong in the content-addressed store), queries, clocks (`now` is passed in).

mod bus;
mod document;
mod error;
mod lease;
pub mod limits;
mod message;
mod store;
mod watch;

pub use bus::Bus;
pub use document::{Changes, Document, Entry, Event, Expect, Op};
pub use error::Error;
pub use lease::Lease;
pub use message::{Heard, Listener, Message};
pub use watch::Watch;
