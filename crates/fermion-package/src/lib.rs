//! Packages: made, signed, stored, verified. The only crate that knows the OCI artifact layout, signatures and the
//! content-addressed store on disk. Refuses to hand out anything of a package before all of it has been verified, and
//! knows no wasm engine. Everything here blocks, so callers on a reactor use a blocking thread; only `remote`, the client
//! of registries, is asynchronous.

pub mod advisories;
pub mod attest;
pub mod build;
pub mod canonical;
pub mod channel;
mod contract;
mod envelope;
mod error;
pub mod facts;
pub mod inspect;
pub mod keys;
pub mod limits;
pub mod load;
#[doc(hidden)]
pub mod outside;
pub mod pack;
pub mod policy;
pub mod prepare;
pub mod provenance;
mod referrers;
pub mod remote;
pub mod report;
pub mod sbom;
pub mod secrets;
mod sections;
pub mod sign;
pub mod store;
pub mod strip;
pub mod transfer;
pub mod trust;
pub mod verify;
mod when;

pub use attest::{Attestations, attest, attestations};
pub use build::{Cancel, Environment, build, rebuild};
pub use contract::SnapshotOf;
pub use error::{Error, RegistryFault, Result};
pub use facts::{Facts, Handler, Target, facts};
pub use inspect::{Inspection, inspect};
pub use keys::{KeyFolder, PrivateKey, PublicKey};
pub use load::{VerifiedPackage, load};
pub use pack::{Companions, Packed, pack, publish, publish_with};
pub use prepare::{Prepared, prepare};
pub use referrers::attach;
pub use report::{CrateSize, Sizes, sizes};
pub use sbom::{Sbom, SbomSource};
pub use sign::sign;
pub use store::{
    BlobWriter, Collected, Collection, ContentDigest, ManifestReference, Quotas, Repository, Store,
};
pub use strip::strip;
pub use transfer::{Export, Refs, export, import_refs};
pub use trust::{Trust, TrustKeeper, Verified};
pub use verify::{SignatureReport, signatures, verify};
pub use when::When;
