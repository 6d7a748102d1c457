//! Takes out of a component what no engine needs: function names, debug information, lists of tools, and every other
//! custom section, in nested modules and components too. Deterministic: what stays keeps its bytes and its order. Data
//! segments are never touched: a path in a panic's message is the build's to avoid, not this module's to hide.

use wasm_encoder::{RawSection, Section as _};

use crate::Result;
use crate::sections::{self, Binary, HEADER_BYTES};

/// Custom sections that stay. Branch hints are the one kind that engines compile by.
const KEPT_PREFIX: &str = "metadata.code.";

/// The component without its custom sections.
///
/// # Errors
/// `COMPONENT_INVALID` for what is neither a component nor a module.
pub fn strip(wasm: &[u8]) -> Result<Vec<u8>> {
    let tree = sections::read(wasm)?;
    Ok(write(wasm, &tree))
}

/// True if a custom section of this name stays.
pub(crate) fn stays(name: &str) -> bool {
    name.starts_with(KEPT_PREFIX)
}

fn write(wasm: &[u8], binary: &Binary) -> Vec<u8> {
    let start = binary.range.start;
    let mut out = Vec::with_capacity(binary.range.len());
    out.extend_from_slice(&wasm[start..start + HEADER_BYTES]);
    for section in &binary.sections {
        if section.custom.as_deref().is_some_and(|name| !stays(name)) {
            continue;
        }
        let inner = section.nested.as_ref().map(|nested| write(wasm, nested));
        let data = inner.as_deref().unwrap_or(&wasm[section.range.clone()]);
        RawSection { id: section.id, data }.append_to(&mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"(component
        (@custom "description" "not needed")
        (core module $m
            (@custom ".debug_info" "/home/someone/src")
            (@custom "metadata.code.branch_hint" "kept")
            (memory (export "memory") 1)
            (func $named (export "run") (result i32) i32.const 7)
            (data (i32.const 0) "/home/someone in data stays")
            (@custom "producers" (after data) "tools"))
        (core instance (instantiate $m)))"#;

    fn names(wasm: &[u8]) -> Vec<String> {
        let mut names = Vec::new();
        sections::read(wasm).unwrap().each(&mut |_, binary| {
            names.extend(
                binary
                    .sections
                    .iter()
                    .filter_map(|section| section.custom.clone()),
            );
        });
        names
    }

    #[test]
    fn custom_sections_go_at_every_depth_and_the_rest_keeps_its_bytes() {
        let wasm = wat::parse_str(TEXT).unwrap();
        assert!(
            names(&wasm).iter().any(|name| name == "name"),
            "{:?}",
            names(&wasm)
        );
        let stripped = strip(&wasm).unwrap();
        assert_eq!(names(&stripped), ["metadata.code.branch_hint"]);
        assert!(!contains(&stripped, b"producers") && !contains(&stripped, b"not needed"));
        assert!(contains(&stripped, b"/home/someone in data stays"));
        assert_eq!(
            strip(&stripped).unwrap(),
            stripped,
            "stripping again changes nothing"
        );
        for section in wasmparser::Parser::new(0).parse_all(&stripped) {
            section.unwrap();
        }
    }

    #[test]
    fn what_is_no_component_is_refused() {
        for bytes in [&b""[..], b"\0asm", b"not wasm at all"] {
            assert_eq!(strip(bytes).unwrap_err().code(), "COMPONENT_INVALID");
        }
    }

    fn contains(bytes: &[u8], part: &[u8]) -> bool {
        bytes.windows(part.len()).any(|window| window == part)
    }
}
