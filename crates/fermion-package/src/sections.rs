//! A component as a tree of sections, by byte ranges. What strips, compares and measures reads components through this
//! one walk. Everything a range names lies within the bytes; nesting and number of sections are bounded.

use std::ops::Range;

use wasmparser::{Chunk, Encoding, Parser, Payload};

use crate::limits::{NESTING_MAX, SECTIONS_MAX};
use crate::{Error, Result};

/// The section of a component that holds a module, and the one that holds a component.
const NESTED: [u8; 2] = [1, 4];
/// Magic number, version and layer, which begin every module and component.
pub(crate) const HEADER_BYTES: usize = 8;
/// Custom sections have this number in modules and components alike.
pub(crate) const CUSTOM: u8 = 0;

/// A module or a component.
#[derive(Debug)]
pub(crate) struct Binary {
    pub(crate) is_module: bool,
    /// Where it lies, header and all.
    pub(crate) range: Range<usize>,
    pub(crate) sections: Vec<Section>,
}

/// A section, without its number and length.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) id: u8,
    pub(crate) range: Range<usize>,
    /// The name of a custom section.
    pub(crate) custom: Option<String>,
    /// What is in it, where it holds a module or a component.
    pub(crate) nested: Option<Binary>,
}

/// Reads the tree of `wasm`.
///
/// # Errors
/// `COMPONENT_INVALID`
pub(crate) fn read(wasm: &[u8]) -> Result<Binary> {
    let mut left = SECTIONS_MAX;
    binary(wasm, 0..wasm.len(), 0, &mut left)
}

fn invalid(why: impl Into<String>) -> Error {
    Error::ComponentInvalid(why.into())
}

fn binary(wasm: &[u8], range: Range<usize>, depth: usize, left: &mut usize) -> Result<Binary> {
    if depth > NESTING_MAX {
        return Err(invalid(format!(
            "modules and components are nested more than {NESTING_MAX} deep"
        )));
    }
    let mut rest = wasm
        .get(range.clone())
        .ok_or_else(|| invalid("it ends too early"))?;
    let mut parser = Parser::new(range.start as u64);
    let mut found = Binary {
        is_module: true,
        range: range.clone(),
        sections: Vec::new(),
    };
    loop {
        let chunk = parser
            .parse(rest, true)
            .map_err(|why| invalid(format!("{} (at byte {})", why.message(), why.offset())))?;
        let Chunk::Parsed { consumed, payload } = chunk else {
            return Err(invalid("it ends too early"));
        };
        rest = &rest[consumed..];
        let (id, section) = match payload {
            Payload::Version { encoding, .. } => {
                found.is_module = encoding == Encoding::Module;
                continue;
            }
            Payload::End(_) => return Ok(found),
            Payload::CodeSectionStart { range, size, .. } => {
                parser.skip_section();
                rest = after(rest, size as usize)?;
                (10, range)
            }
            Payload::CustomSection(section) => {
                let name = section.name().to_owned();
                push(&mut found, left, CUSTOM, section.range(), Some(name), None)?;
                continue;
            }
            other => match other.as_section() {
                Some(section) => section,
                None => continue,
            },
        };
        let is_nested = !found.is_module && NESTED.contains(&id);
        let nested = if is_nested {
            rest = after(rest, section.len())?;
            Some(binary(wasm, section.clone(), depth + 1, left)?)
        } else {
            None
        };
        push(&mut found, left, id, section, None, nested)?;
    }
}

fn after(rest: &[u8], bytes: usize) -> Result<&[u8]> {
    rest.get(bytes..).ok_or_else(|| invalid("it ends too early"))
}

fn push(
    found: &mut Binary,
    left: &mut usize,
    id: u8,
    range: Range<usize>,
    custom: Option<String>,
    nested: Option<Binary>,
) -> Result<()> {
    *left = left
        .checked_sub(1)
        .ok_or_else(|| invalid(format!("it has more than {SECTIONS_MAX} sections")))?;
    found.sections.push(Section {
        id,
        range,
        custom,
        nested,
    });
    Ok(())
}

impl Binary {
    /// Every binary of the tree, this one first, each with its path: `""`, `"module 2"`, `"component 1, module 0"`.
    pub(crate) fn each<'a>(&'a self, visit: &mut dyn FnMut(&str, &'a Self)) {
        self.each_below("", visit);
    }

    fn each_below<'a>(&'a self, path: &str, visit: &mut dyn FnMut(&str, &'a Self)) {
        visit(path, self);
        let (mut modules, mut components) = (0, 0);
        for nested in self.sections.iter().filter_map(|section| section.nested.as_ref()) {
            let (kind, number) = if nested.is_module {
                ("module", &mut modules)
            } else {
                ("component", &mut components)
            };
            let comma = if path.is_empty() { "" } else { ", " };
            nested.each_below(&format!("{path}{comma}{kind} {number}"), visit);
            *number += 1;
        }
    }
}

impl Section {
    /// `code`, `data`, `custom name`, `imports of the component`.
    pub(crate) fn name(&self, is_module: bool) -> String {
        if let Some(name) = &self.custom {
            let name: String = name.chars().filter(|c| !c.is_control()).take(60).collect();
            return format!("custom {name}");
        }
        let names: &[&str] = if is_module { &IN_MODULE } else { &IN_COMPONENT };
        let known = names.get(usize::from(self.id)).copied();
        known.map_or_else(|| format!("section {}", self.id), str::to_owned)
    }
}

const IN_MODULE: [&str; 14] = [
    "custom",
    "types",
    "imports",
    "functions",
    "tables",
    "memories",
    "globals",
    "exports",
    "start",
    "elements",
    "code",
    "data",
    "data count",
    "tags",
];
const IN_COMPONENT: [&str; 13] = [
    "custom",
    "core module",
    "core instances",
    "core types",
    "component",
    "instances",
    "aliases",
    "component types",
    "canonical functions",
    "component start",
    "component imports",
    "component exports",
    "values",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_binaries_have_paths_and_damaged_ones_are_refused() {
        let wasm = wat::parse_str(
            "(component (core module (func)) (component (core module (memory 1))) (core module))",
        )
        .unwrap();
        let tree = read(&wasm).unwrap();
        let mut paths = Vec::new();
        tree.each(&mut |path, binary| paths.push((path.to_owned(), binary.is_module)));
        assert_eq!(
            paths,
            [
                (String::new(), false),
                ("module 0".to_owned(), true),
                ("component 0".to_owned(), false),
                ("component 0, module 0".to_owned(), true),
                ("module 1".to_owned(), true),
            ]
        );
        for length in 0..wasm.len() {
            // Cut anywhere, it is refused or it is a shorter component; it never panics.
            drop(read(&wasm[..length]));
        }
        assert!(read(&wasm[..wasm.len() - 1]).is_err());
    }

    #[test]
    fn nesting_is_bounded() {
        let mut wasm = wat::parse_str("(component)").unwrap();
        for _ in 0..=NESTING_MAX {
            let mut outer = wasm[..HEADER_BYTES].to_vec();
            wasm_encoder::Section::append_to(&wasm_encoder::RawSection { id: 4, data: &wasm }, &mut outer);
            wasm = outer;
        }
        assert_eq!(read(&wasm).unwrap_err().code(), "COMPONENT_INVALID");
    }
}
