//! The nouns of Fermion and their rules: names, digests, limits, manifests, releases, faults, request records.
//! Refuses to do: I/O, clocks, randomness, async. Everything here is a value that can be compared and printed.

pub mod app;
pub mod assignment;
pub mod calls;
pub mod copies;
pub mod digest;
pub mod document;
pub mod endpoint;
pub mod fault;
pub mod frame;
pub mod gate;
pub mod git;
pub mod health;
pub mod interfaces;
pub mod limits;
pub mod manifest;
pub mod name;
pub mod objective;
pub mod openslo;
pub mod origin;
pub mod receivers;
pub mod record;
pub mod release;
pub mod remote;
pub mod rollout;
pub mod sketch;
pub mod units;

pub use digest::{Digest, DigestError};
pub use fault::{Blame, Fault};
pub use limits::Limits;
pub use name::{AppName, NameError, Namespace, PackageName, PackageReference, SourceName};
pub use record::RequestRecord;
pub use release::{Release, ReleaseNumber};
pub use remote::RemoteReference;
