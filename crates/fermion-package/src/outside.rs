//! Readers of what strangers wrote, one document at a time and without a store: what fuzzing is aimed at. Each does
//! what the crate itself does with these bytes, and nothing else. Not a part of the interface.

use fermion_model::{Digest, PackageName};

use crate::contract::Config;
use crate::verify::{Verdict, judge_bundle};
use crate::{Result, Trust, When, canonical, load};

/// Reads a package's config, and reads what it would be written as again.
pub fn config(bytes: &[u8]) -> Result<()> {
    let config = Config::read(bytes)?;
    config.contract.terms()?;
    let again = Config::read(&canonical::json(&config))?;
    assert_eq!(again, config, "a config that was read is read again as the same");
    Ok(())
}

/// Reads a package's manifest; gives the digests of config and component.
pub fn manifest(bytes: &[u8]) -> Result<(Digest, Digest)> {
    load::layout(bytes).map(|(config, wasm)| (config.digest, wasm.digest))
}

/// Reads a signature bundle of the package `digest`; true if it holds a trusted signature of it.
pub fn bundle(bytes: &[u8], name: &PackageName, digest: &Digest, trust: &Trust, when: When) -> bool {
    let verdicts = judge_bundle(bytes, name, digest, trust, when);
    verdicts
        .iter()
        .any(|verdict| matches!(verdict, Verdict::Trusted { .. }))
}
