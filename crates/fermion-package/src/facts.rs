//! What a component says of itself: its imports, its exports, what it serves, how its bytes are spent. Always read from
//! the component; nothing that a package claims is believed. Says no to what is not a component, serves nothing, or
//! imports what Fermion does not link.

use std::collections::BTreeMap;
use std::fmt;

use fermion_model::interfaces;
use serde::Serialize;
use wasmparser::{Encoding, Parser, Payload};

use crate::limits::{EXTERN_NAME_BYTES_MAX, EXTERNS_MAX, SECTIONS_SHOWN_MAX, WASM_BYTES_MAX};
use crate::{Error, Result};

/// Which generation of `wasi:http` a component serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Handler {
    /// `wasi:http/incoming-handler@0.2.x`
    Wasi02,
    /// `wasi:http/handler@0.3.x`
    Wasi03,
}

/// The world a component is made for; displays as `wasi:http/proxy@0.2.3` or `wasi:http/service@0.3.0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    handler: Handler,
    version: semver::Version,
}

impl Target {
    /// The generation.
    pub fn handler(&self) -> Handler {
        self.handler
    }

    /// The `os` field of the config.
    pub(crate) fn os(&self) -> &'static str {
        match self.handler {
            Handler::Wasi02 => "wasip2",
            Handler::Wasi03 => "wasip3",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let world = match self.handler {
            Handler::Wasi02 => "proxy",
            Handler::Wasi03 => "service",
        };
        write!(f, "wasi:http/{world}@{}", self.version)
    }
}

impl Serialize for Target {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Bytes of one kind of section, summed over the component and everything nested in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Section {
    /// `code`, `data`, `custom .debug_info`, ...
    pub name: String,
    /// Bytes.
    pub bytes: u64,
}

/// What a component says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// Names of the top-level imports, sorted: `wasi:http/types@0.2.3`.
    pub imports: Vec<String>,
    /// Names of the top-level exports, sorted.
    pub exports: Vec<String>,
    /// What it serves.
    pub target: Target,
    /// Its sections, largest first.
    pub sections: Vec<Section>,
}

/// Reads the facts of a component.
///
/// # Errors
/// `SIZE_EXCEEDED`, and `COMPONENT_INVALID` for what is no component or has no HTTP handler.
pub fn facts(wasm: &[u8]) -> Result<Facts> {
    if wasm.len() as u64 > WASM_BYTES_MAX {
        return Err(Error::SizeExceeded {
            what: "the component".to_owned(),
            bytes_max: WASM_BYTES_MAX,
        });
    }
    let mut reader = Reader::default();
    for payload in Parser::new(0).parse_all(wasm) {
        reader.payload(payload.map_err(|why| damaged(&why))?)?;
    }
    let Reader {
        mut imports,
        mut exports,
        sections,
        ..
    } = reader;
    imports.sort();
    exports.sort();
    let target = target(&exports)?;
    Ok(Facts {
        imports,
        exports,
        target,
        sections: largest(sections),
    })
}

/// How the bytes of a component or module are spent, largest first.
pub(crate) fn sections(wasm: &[u8]) -> Result<Vec<Section>> {
    let mut sections = BTreeMap::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Some((name, bytes)) = section_size(&payload.map_err(|why| damaged(&why))?) {
            *sections.entry(name).or_default() += bytes;
        }
    }
    Ok(largest(sections))
}

fn damaged(why: &wasmparser::BinaryReaderError) -> Error {
    Error::ComponentInvalid(format!("{} (at byte {})", why.message(), why.offset()))
}

#[derive(Default)]
struct Reader {
    /// Modules and components that are open; the first is the component itself.
    depth: usize,
    imports: Vec<String>,
    exports: Vec<String>,
    sections: BTreeMap<String, u64>,
}

impl Reader {
    fn payload(&mut self, payload: Payload<'_>) -> Result<()> {
        let size = section_size(&payload);
        match &payload {
            Payload::Version {
                encoding: Encoding::Module,
                ..
            } if self.depth == 0 => {
                let why = "this is a core module; build for wasm32-wasip2, or make a component of it with `wasm-tools component new`";
                return Err(Error::ComponentInvalid(why.to_owned()));
            }
            Payload::Version { .. } => self.depth += 1,
            Payload::End(_) => self.depth = self.depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if self.depth == 1 => {
                for import in section.clone() {
                    add(&mut self.imports, import.map_err(|why| damaged(&why))?.name)?;
                }
            }
            Payload::ComponentExportSection(section) if self.depth == 1 => {
                for export in section.clone() {
                    add(&mut self.exports, export.map_err(|why| damaged(&why))?.name)?;
                }
            }
            _ => {}
        }
        if let Some((name, bytes)) = size {
            *self.sections.entry(name).or_default() += bytes;
        }
        Ok(())
    }
}

fn add(names: &mut Vec<String>, name: wasmparser::ComponentExternName<'_>) -> Result<()> {
    let full = format!("{}{}", name.name, name.version_suffix.unwrap_or_default());
    if names.len() >= EXTERNS_MAX || full.len() > EXTERN_NAME_BYTES_MAX {
        let why = format!(
            "more than {EXTERNS_MAX} imports or exports, or one longer than {EXTERN_NAME_BYTES_MAX} bytes"
        );
        return Err(Error::ComponentInvalid(why));
    }
    names.push(full);
    Ok(())
}

/// What a payload adds to the sums. Nested modules and components are not counted themselves, only what is in them.
fn section_size(payload: &Payload<'_>) -> Option<(String, u64)> {
    let name = match payload {
        Payload::CustomSection(section) => {
            let name: String = section
                .name()
                .chars()
                .filter(|c| !c.is_control())
                .take(60)
                .collect();
            return Some((format!("custom {name}"), section.range().len() as u64));
        }
        Payload::CodeSectionStart { .. } => "code",
        Payload::DataSection(_) => "data",
        Payload::ElementSection(_) => "elements",
        Payload::CodeSectionEntry(_) | Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
            return None;
        }
        Payload::ComponentTypeSection(_) | Payload::CoreTypeSection(_) => "component types",
        Payload::ComponentAliasSection(_)
        | Payload::ComponentCanonicalSection(_)
        | Payload::ComponentExportSection(_)
        | Payload::ComponentImportSection(_)
        | Payload::ComponentInstanceSection(_)
        | Payload::ComponentStartSection { .. }
        | Payload::InstanceSection(_) => "component wiring",
        _ => "module headers",
    };
    payload
        .as_section()
        .map(|(_, range)| (name.to_owned(), range.len() as u64))
}

fn largest(sections: BTreeMap<String, u64>) -> Vec<Section> {
    let mut sections: Vec<_> = sections
        .into_iter()
        .map(|(name, bytes)| Section { name, bytes })
        .collect();
    sections.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    if sections.len() > SECTIONS_SHOWN_MAX {
        let bytes = sections
            .split_off(SECTIONS_SHOWN_MAX - 1)
            .iter()
            .map(|section| section.bytes)
            .sum();
        sections.push(Section {
            name: "others".to_owned(),
            bytes,
        });
    }
    sections
}

/// The interface name `wasi:PACKAGE/INTERFACE@VERSION` in parts; none for anything else.
fn wasi(name: &str) -> Option<(&str, &str, semver::Version)> {
    let (package, rest) = name.strip_prefix("wasi:")?.split_once('/')?;
    let (interface, version) = rest.split_once('@')?;
    Some((package, interface, version.parse().ok()?))
}

fn target(exports: &[String]) -> Result<Target> {
    let find = |handler, interface, minor| {
        exports.iter().find_map(|export| match wasi(export) {
            Some(("http", name, version))
                if name == interface && (version.major, version.minor) == (0, minor) =>
            {
                Some(Target { handler, version })
            }
            _ => None,
        })
    };
    // A component that serves both is served by the newer: it can take several requests at once.
    find(Handler::Wasi03, "handler", 3)
        .or_else(|| find(Handler::Wasi02, "incoming-handler", 2))
        .ok_or_else(|| {
            let why = "it exports neither wasi:http/incoming-handler@0.2 nor wasi:http/handler@0.3";
            Error::ComponentInvalid(format!("{why}; its exports are [{}]", exports.join(", ")))
        })
}

impl Facts {
    /// Refuses a component that imports what Fermion does not link.
    ///
    /// # Errors
    /// `POLICY_DENIED`, naming the first such import.
    pub fn check_imports(&self) -> Result<()> {
        for import in &self.imports {
            interfaces::check(import).map_err(|missing| Error::PolicyDenied {
                interface: missing.import,
                why: missing.instead,
            })?;
        }
        Ok(())
    }
}
