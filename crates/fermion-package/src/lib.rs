//! Packages: made, signed, stored, verified. The only crate that knows the OCI artifact layout, signatures and the
//! content-addressed store on disk. Refuses to hand out anything of a package before all of it has been verified, and
//! knows no network and no wasm engine. Everything here blocks: callers on a reactor use a blocking thread.

pub mod build;
pub mod canonical;
mod contract;
mod error;
pub mod facts;
pub mod inspect;
pub mod keys;
pub mod limits;
pub mod load;
pub mod pack;
pub mod prepare;
pub mod sbom;
mod sections;
pub mod sign;
pub mod store;
pub mod strip;
pub mod transfer;
pub mod verify;

pub use build::{Cancel, Environment, build};
pub use error::{Error, Result};
pub use facts::{Facts, Handler, Target, facts};
pub use inspect::{Inspection, inspect};
pub use keys::{PrivateKey, PublicKey, Trust};
pub use load::{VerifiedPackage, load};
pub use pack::{Packed, pack, publish};
pub use prepare::{Prepared, prepare};
pub use sbom::{Sbom, SbomSource};
pub use sign::sign;
pub use store::{BlobWriter, Store};
pub use strip::strip;
pub use transfer::{Export, Refs, export, import_refs};
pub use verify::{SignatureReport, signatures, verify};
