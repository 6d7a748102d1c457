//! Where the bytes of a component go: its largest sections, and the crates with the most code. Crates are told by the
//! names of their functions, so they are only known while the component still has its name section.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Serialize;
use wasmparser::{
    BinaryReader, CodeSectionReader, ImportSectionReader, KnownCustom, Name, NameSectionReader,
};

use crate::limits::{FUNCTIONS_MAX, NAME_CHARS_MAX, SIZES_SHOWN_MAX};
use crate::sections::{self, Binary};
use crate::{Result, facts};

/// The section of a module with its imports, and the one with its code.
const IMPORTS: u8 = 2;
const CODE: u8 = 10;
/// What has no crate: C, the linker's own, names that nothing can be made of.
const NO_CRATE: &str = "(no crate)";
/// Functions without a name, in a component where others have one.
const NO_NAME: &str = "(no name)";

/// How a component's bytes are spent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// All of it, bytes.
    pub bytes: u64,
    /// The largest kinds of section, largest first.
    pub sections: Vec<facts::Section>,
    /// The crates with the most code, largest first; empty without function names.
    pub crates: Vec<CrateSize>,
}

/// The code of one crate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CrateSize {
    /// As it stands in the names of its functions.
    pub name: String,
    /// Bytes of code, generic functions counted where they are defined.
    pub bytes: u64,
    /// How many functions.
    pub functions: u64,
}

/// Measures `wasm`.
///
/// # Errors
/// `COMPONENT_INVALID`. Names that cannot be read are no error: the report goes without them.
pub fn sizes(wasm: &[u8]) -> Result<Sizes> {
    let tree = sections::read(wasm)?;
    let mut crates: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    tree.each(&mut |_, binary| {
        if binary.is_module {
            add_module(wasm, binary, &mut crates);
        }
    });
    let mut crates: Vec<_> = crates
        .into_iter()
        .map(|(name, (bytes, functions))| CrateSize {
            name,
            bytes,
            functions,
        })
        .collect();
    crates.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    crates.truncate(SIZES_SHOWN_MAX);
    let mut sections = facts::sections(wasm)?;
    sections.truncate(SIZES_SHOWN_MAX);
    Ok(Sizes {
        bytes: wasm.len() as u64,
        sections,
        crates,
    })
}

fn add_module(wasm: &[u8], module: &Binary, crates: &mut BTreeMap<String, (u64, u64)>) {
    let names = names(wasm, module);
    if names.is_empty() {
        return;
    }
    let Some(bodies) = bodies(wasm, module) else {
        return;
    };
    let imported = imported_functions(wasm, module);
    for (at, body) in (imported..).zip(bodies) {
        let name = names
            .get(&at)
            .map_or_else(|| NO_NAME.to_owned(), |name| crate_of(name));
        let (bytes, functions) = crates.entry(name).or_default();
        *bytes += body.len() as u64;
        *functions += 1;
    }
}

fn section<'a>(wasm: &'a [u8], module: &Binary, id: u8) -> Option<BinaryReader<'a>> {
    let found = module.sections.iter().find(|section| section.id == id)?;
    Some(BinaryReader::new(&wasm[found.range.clone()], found.range.start))
}

/// The names of functions by their index.
fn names<'a>(wasm: &'a [u8], module: &Binary) -> BTreeMap<u32, &'a str> {
    let mut names = BTreeMap::new();
    let customs = module
        .sections
        .iter()
        .filter(|section| section.custom.as_deref() == Some("name"));
    for section in customs {
        for part in subsections(wasm, section.range.clone()).into_iter().flatten() {
            if let Ok(Name::Function(map)) = part {
                names.extend(
                    map.into_iter()
                        .flatten()
                        .take(FUNCTIONS_MAX)
                        .map(|naming| (naming.index, naming.name)),
                );
            }
        }
    }
    names
}

fn subsections(wasm: &[u8], range: Range<usize>) -> Option<NameSectionReader<'_>> {
    let reader =
        wasmparser::CustomSectionReader::new(BinaryReader::new(&wasm[range.clone()], range.start)).ok()?;
    match reader.as_known() {
        KnownCustom::Name(names) => Some(names),
        _ => None,
    }
}

fn bodies(wasm: &[u8], module: &Binary) -> Option<Vec<Range<usize>>> {
    let code = CodeSectionReader::new(section(wasm, module, CODE)?).ok()?;
    code.into_iter()
        .take(FUNCTIONS_MAX)
        .map(|body| body.map(|body| body.range()))
        .collect::<Result<_, _>>()
        .ok()
}

/// The demangled name of the function whose code has the byte at `position`.
pub(crate) fn function_at(wasm: &[u8], position: usize) -> Option<String> {
    let tree = sections::read(wasm).ok()?;
    let mut found = None;
    tree.each(&mut |_, module| {
        if !module.is_module || !module.range.contains(&position) {
            return;
        }
        let Some(bodies) = bodies(wasm, module) else {
            return;
        };
        let at = (imported_functions(wasm, module)..)
            .zip(bodies)
            .find(|(_, body)| body.contains(&position));
        found = at.and_then(|(at, _)| names(wasm, module).get(&at).map(|name| demangled(name)));
    });
    found
}

fn demangled(symbol: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(symbol))
        .chars()
        .take(NAME_CHARS_MAX)
        .collect()
}

/// Imported functions come first in the numbering.
fn imported_functions(wasm: &[u8], module: &Binary) -> u32 {
    let Some(Ok(imports)) = section(wasm, module, IMPORTS).map(ImportSectionReader::new) else {
        return 0;
    };
    let functions = imports
        .into_imports()
        .flatten()
        .filter(|import| matches!(import.ty, wasmparser::TypeRef::Func(_)));
    u32::try_from(functions.count()).unwrap_or(u32::MAX)
}

/// The crate that a function's name says it is defined in.
fn crate_of(symbol: &str) -> String {
    let Ok(demangled) = rustc_demangle::try_demangle(symbol) else {
        return NO_CRATE.to_owned();
    };
    let path = format!("{demangled:#}");
    // `<alloc::vec::Vec<T> as core::ops::Drop>::drop` is counted where its type is.
    let mut rest = path.as_str();
    loop {
        let shorter = rest.trim_start_matches(['<', '&', '*', '[', '(', ' ']);
        let shorter = ["mut ", "const ", "dyn ", "impl "]
            .iter()
            .find_map(|word| shorter.strip_prefix(word))
            .unwrap_or(shorter);
        if shorter.len() == rest.len() {
            break;
        }
        rest = shorter;
    }
    let end = rest
        .find(|c: char| !(c.is_alphanumeric() || c == '_'))
        .unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    // A type of the language itself, such as `str`, has no path.
    match name {
        "" => NO_CRATE.to_owned(),
        _ if after.starts_with("::") => name.to_owned(),
        _ => path
            .split(" as ")
            .nth(1)
            .and_then(|of| of.split("::").next())
            .map_or_else(|| "core".to_owned(), str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_functions_name_tells_its_crate() {
        for (symbol, name) in [
            ("_ZN4core3fmt9Formatter3pad17h0123456789abcdefE", "core"),
            ("_ZN5hello6handle17h0123456789abcdefE", "hello"),
            (
                "_ZN60_$LT$alloc..vec..Vec$LT$T$GT$$u20$as$u20$core..ops..Drop$GT$4drop17h0123456789abcdefE",
                "alloc",
            ),
            (
                "_ZN42_$LT$$RF$T$u20$as$u20$core..fmt..Debug$GT$3fmt17h0123456789abcdefE",
                "core",
            ),
            ("_RNvC6_123foo3bar", "123foo"),
            ("memcpy", NO_CRATE),
            ("wasi:http/incoming-handler@0.2.3#handle", NO_CRATE),
        ] {
            assert_eq!(crate_of(symbol), name, "{symbol}");
        }
    }

    #[test]
    fn code_is_summed_by_crate_and_imports_are_not_counted() {
        let wasm = wat::parse_str(
            r#"(component (core module
                (import "host" "f" (func $_ZN9elsewhere1f17h0123456789abcdefE))
                (func $_ZN5hello1a17h0123456789abcdefE nop nop nop)
                (func $_ZN5hello1b17h0123456789abcdefE nop)
                (func $_ZN4core1c17h0123456789abcdefE nop)
                (func)))"#,
        )
        .unwrap();
        let sizes = sizes(&wasm).unwrap();
        let shown: Vec<_> = sizes
            .crates
            .iter()
            .map(|found| (found.name.as_str(), found.bytes, found.functions))
            .collect();
        // Locals, instructions and the end of each function.
        assert_eq!(shown, [("hello", 8, 2), ("core", 3, 1), (NO_NAME, 2, 1)]);
        assert_eq!(sizes.bytes, wasm.len() as u64);
        let stripped = super::sizes(&crate::strip(&wasm).unwrap()).unwrap();
        assert!(stripped.crates.is_empty() && !stripped.sections.is_empty());
    }
}
