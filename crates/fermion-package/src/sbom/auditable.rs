//! The list of crates that `cargo auditable` leaves in a component's `.dep-v0` section, in whichever module of the
//! component it lies. The compressed list is bounded before and after it is unpacked.

use std::ops::Range;

use auditable_info::json_from_slice;
use serde::Deserialize;
use wasm_encoder::{CustomSection, Section as _};

use super::{Crate, Origin, check_count};
use crate::Result;
use crate::limits::{AUDITABLE_BYTES_MAX, CRATE_NAME_BYTES_MAX};
use crate::sections::{self, CUSTOM};

/// The section's name, fixed by the format.
pub(super) const SECTION: &str = ".dep-v0";

/// Where the list is, the section's name included; none if the component has no list.
pub(super) fn section(wasm: &[u8]) -> Result<Option<Range<usize>>> {
    let tree = sections::read(wasm)?;
    let mut found = None;
    tree.each(&mut |_, binary| {
        let list = binary
            .sections
            .iter()
            .find(|section| section.id == CUSTOM && section.custom.as_deref() == Some(SECTION));
        found = found.take().or(list.map(|section| section.range.clone()));
    });
    Ok(found)
}

#[derive(Deserialize)]
struct List {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: semver::Version,
    source: String,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    dependencies: Vec<usize>,
    #[serde(default)]
    root: bool,
}

/// `section` is a custom section's name and data.
pub(super) fn unpack(section: &[u8]) -> Result<Vec<Crate>, String> {
    // The reader takes whole files and looks no further than the first module: it gets one that is nothing but the list.
    let data = &section[section.len().min(1 + SECTION.len())..];
    let mut module = wasm_encoder::Module::HEADER.to_vec();
    CustomSection {
        name: SECTION.into(),
        data: data.into(),
    }
    .append_to(&mut module);
    let json = json_from_slice(&module, AUDITABLE_BYTES_MAX).map_err(|why| why.to_string())?;
    let list: List = serde_json::from_str(&json).map_err(|why| why.to_string())?;
    check_count(list.packages.len())?;
    list.packages.into_iter().map(Package::into_crate).collect()
}

impl Package {
    fn into_crate(self) -> Result<Crate, String> {
        let allowed = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
        if self.name.is_empty() || self.name.len() > CRATE_NAME_BYTES_MAX || !self.name.chars().all(allowed) {
            let name: String = self.name.chars().take(80).collect();
            return Err(format!("{name:?} is not the name of a crate"));
        }
        Ok(Crate {
            name: self.name,
            version: self.version.to_string(),
            origin: match self.source.as_str() {
                "crates.io" => Origin::CratesIo,
                "git" => Origin::Git { commit: None },
                "local" => Origin::Local,
                _ => Origin::Other,
            },
            checksum: None,
            is_build_only: self.kind.as_deref() == Some("build"),
            is_root: self.root,
            dependencies: self.dependencies,
        })
    }
}
