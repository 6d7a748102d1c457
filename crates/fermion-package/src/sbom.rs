//! The software bill of materials of a component, as CycloneDX 1.5. Three places to take it from, the first that has
//! one: a file that is given, the list that `cargo auditable` left in the component, the project's `Cargo.lock`. It says
//! itself which it was. Deterministic: no serial number, no time, no path.

mod auditable;
mod cyclonedx;
mod lockfile;

use std::path::Path;

use fermion_model::manifest::Manifest;
use serde::Serialize;

use crate::limits::{SBOM_BYTES_MAX, SBOM_COMPONENTS_MAX};
use crate::{Error, Result};

/// The file with a Rust project's exact dependencies.
pub(crate) const LOCK_FILE: &str = "Cargo.lock";

/// Where a bill of materials comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SbomSource {
    /// A file that the user named.
    Given,
    /// The list in the component itself: what was compiled in.
    Auditable,
    /// `Cargo.lock`: what may have been compiled in, tests and other targets included.
    Lockfile,
}

impl SbomSource {
    /// In words, for people and for the document itself.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Given => "the file that was given",
            Self::Auditable => "cargo-auditable data in the component",
            Self::Lockfile => "Cargo.lock",
        }
    }
}

/// A bill of materials.
#[derive(Debug, Clone)]
pub struct Sbom {
    /// The document; kept byte for byte.
    pub bytes: Vec<u8>,
    /// Where it comes from.
    pub source: SbomSource,
    /// How many components it lists.
    pub components: usize,
}

/// One crate, wherever its name was read.
struct Crate {
    name: String,
    version: String,
    origin: Origin,
    /// SHA-256 of its archive, hex.
    checksum: Option<String>,
    is_build_only: bool,
    is_root: bool,
    /// By their places in the list.
    dependencies: Vec<usize>,
}

/// Where a crate comes from. Addresses are left out: they may hold a user's name or a token.
enum Origin {
    CratesIo,
    Git { commit: Option<String> },
    Local,
    Other,
}

/// The bill of materials of `built`, the component as the build left it; none where nothing says what is in it.
///
/// # Errors
/// `SBOM_INVALID` for a list that is there and cannot be read, `SIZE_EXCEEDED`.
pub fn find(
    manifest: &Manifest,
    built: &[u8],
    given_file: Option<&Path>,
    lock: Option<&Path>,
) -> Result<Option<Sbom>> {
    if let Some(path) = given_file {
        return given(&read_bounded(path)?, &path.display().to_string()).map(Some);
    }
    if let Some(list) = auditable::section(built)? {
        return of_list(manifest, &built[list]).map(Some);
    }
    lock.map(|lock| of_lock(manifest, &read_bounded(lock)?))
        .transpose()
}

/// What the content of a component's section of crates says, name of the section and all.
#[doc(hidden)]
pub fn of_list(manifest: &Manifest, section: &[u8]) -> Result<Sbom> {
    let crates = auditable::unpack(section).map_err(invalid("the component's list of crates"))?;
    Ok(cyclonedx::write(manifest, &crates, SbomSource::Auditable))
}

/// What the text of a lock file says.
#[doc(hidden)]
pub fn of_lock(manifest: &Manifest, text: &[u8]) -> Result<Sbom> {
    let crates = lockfile::read(text, &manifest.component).map_err(invalid(LOCK_FILE))?;
    Ok(cyclonedx::write(manifest, &crates, SbomSource::Lockfile))
}

/// A document of somebody else's; `place` names it in a refusal.
#[doc(hidden)]
pub fn given(bytes: &[u8], place: &str) -> Result<Sbom> {
    let components = cyclonedx::check(bytes).map_err(invalid(place))?;
    Ok(Sbom {
        bytes: bytes.to_vec(),
        source: SbomSource::Given,
        components,
    })
}

fn invalid(place: &str) -> impl FnOnce(String) -> Error {
    move |why| Error::SbomInvalid {
        place: place.to_owned(),
        why,
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>> {
    use std::io::Read;

    let file = std::fs::File::open(path).map_err(Error::io("open", path))?;
    let mut bytes = Vec::new();
    file.take(SBOM_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::io("read", path))?;
    if bytes.len() as u64 > SBOM_BYTES_MAX {
        return Err(Error::SizeExceeded {
            what: path.display().to_string(),
            bytes_max: SBOM_BYTES_MAX,
        });
    }
    Ok(bytes)
}

fn check_count(count: usize) -> Result<(), String> {
    if count <= SBOM_COMPONENTS_MAX {
        return Ok(());
    }
    Err(format!(
        "it lists {count} components, the ceiling is {SBOM_COMPONENTS_MAX}"
    ))
}

#[cfg(test)]
mod tests;
