//! Two builds of the same sources, section by section: what differs, where it begins, and what it probably comes from.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use serde::Serialize;

use crate::limits::DIFFERENCES_SHOWN_MAX;
use crate::sections::{self, Section};
use crate::{Result, report, strip};

/// Where one of the builds took place: what may have got into the component.
#[derive(Debug, Clone, Default)]
pub(super) struct Surroundings {
    /// The folder of the sources.
    pub(super) folder: PathBuf,
    /// The home of the user.
    pub(super) home: PathBuf,
}

/// A section that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// `module 0: data`
    pub section: String,
    /// Its length in the first build and in the second; none where it is missing.
    pub bytes: (Option<u64>, Option<u64>),
    /// The first byte that differs, counted from the start of the section.
    pub offset: u64,
    /// The same byte, counted from the start of each component.
    pub position: (u64, u64),
    /// The function that it lies in, if it has a name.
    pub function: Option<String>,
    /// What it probably comes from, and what helps.
    pub cause: &'static str,
    /// Whether it reaches the package; what is stripped does not.
    pub is_packed: bool,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.section)?;
        match self.bytes {
            (Some(first), Some(second)) if first == second => write!(f, ", {first} bytes")?,
            (Some(first), Some(second)) => write!(f, ", {first} bytes and then {second}")?,
            (Some(first), None) => write!(f, ", {first} bytes and then not there")?,
            (None, second) => write!(f, ", not there and then {} bytes", second.unwrap_or_default())?,
        }
        write!(
            f,
            ": differs from byte {} on (byte {} of the component)",
            self.offset, self.position.0
        )?;
        if let Some(function) = &self.function {
            write!(f, ", in {function}")?;
        }
        write!(f, "; {}", self.cause)
    }
}

/// Every difference between two components, those that reach the package first.
///
/// # Errors
/// `COMPONENT_INVALID`
pub(super) fn compare(
    first: &[u8],
    second: &[u8],
    places: [&Surroundings; 2],
    strips: bool,
) -> Result<Vec<Difference>> {
    let (ours, theirs) = (flat(first)?, flat(second)?);
    let names: std::collections::BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    let mut found = Vec::new();
    for name in names {
        let (a, b) = (ours.get(name), theirs.get(name));
        let bytes = |wasm: &'_ [u8], part: Option<&Part>| part.map(|part| wasm[part.range.clone()].to_vec());
        let (left, right) = (bytes(first, a), bytes(second, b));
        if left == right {
            continue;
        }
        let (old, new) = (
            left.as_deref().unwrap_or_default(),
            right.as_deref().unwrap_or_default(),
        );
        let offset = old.iter().zip(new).take_while(|(a, b)| a == b).count();
        let start = |part: Option<&Part>| part.map_or(0, |part| part.range.start);
        let is_custom = a.or(b).is_some_and(|part| part.is_stripped);
        found.push(Difference {
            section: name.1.clone(),
            bytes: (
                left.as_ref().map(|b| b.len() as u64),
                right.as_ref().map(|b| b.len() as u64),
            ),
            offset: offset as u64,
            position: ((start(a) + offset) as u64, (start(b) + offset) as u64),
            function: report::function_at(first, start(a) + offset),
            cause: cause(&name.1, old, new, offset, places),
            is_packed: !(strips && is_custom),
        });
    }
    found.sort_by_key(|difference| !difference.is_packed);
    found.truncate(DIFFERENCES_SHOWN_MAX);
    Ok(found)
}

struct Part {
    range: Range<usize>,
    is_stripped: bool,
}

/// Every section that holds no others, by its place among the binaries and its name.
fn flat(wasm: &[u8]) -> Result<BTreeMap<(usize, String, usize), Part>> {
    let tree = sections::read(wasm)?;
    let mut parts = BTreeMap::new();
    let mut binaries = 0;
    tree.each(&mut |path, binary| {
        for section in binary.sections.iter().filter(|section| section.nested.is_none()) {
            let name = named(path, section, binary.is_module);
            let same = parts
                .range((binaries, name.clone(), 0)..=(binaries, name.clone(), usize::MAX))
                .count();
            let part = Part {
                range: section.range.clone(),
                is_stripped: section.custom.as_deref().is_some_and(|name| !strip::stays(name)),
            };
            parts.insert((binaries, name, same), part);
        }
        binaries += 1;
    });
    Ok(parts)
}

fn named(path: &str, section: &Section, is_module: bool) -> String {
    let name = section.name(is_module);
    if path.is_empty() {
        name
    } else {
        format!("{path}: {name}")
    }
}

fn cause(name: &str, old: &[u8], new: &[u8], offset: usize, places: [&Surroundings; 2]) -> &'static str {
    let has = |bytes: &[u8], path: &PathBuf| {
        let path = path.as_os_str().as_encoded_bytes();
        path.len() > 1 && bytes.windows(path.len()).any(|window| window == path)
    };
    if has(old, &places[0].folder) || has(new, &places[1].folder) {
        return "the folder of the sources is in it: look for env!(\"CARGO_MANIFEST_DIR\"), OUT_DIR or __FILE__";
    }
    if has(old, &places[0].home) || has(new, &places[1].home) {
        return "the user's home is in it: look for a build script or macro that reads HOME";
    }
    let is_digit = |bytes: &[u8]| bytes.get(offset).is_some_and(u8::is_ascii_digit);
    if is_digit(old) && is_digit(new) {
        return "a number differs: look for a build script or macro that reads the clock; SOURCE_DATE_EPOCH is set";
    }
    if name.contains("custom") {
        return "it comes from the tools and not from the sources: pin their versions";
    }
    if ["code", "functions", "elements", "types"]
        .iter()
        .any(|end| name.ends_with(end))
    {
        return "look for generated code in no fixed order, random numbers in a build script or macro, or a profile \
                other than release, which is compiled in parallel";
    }
    "something of the surroundings is in it: a path, a time, a name, an order of files"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(data: &str, name: &str) -> Vec<u8> {
        let text = format!(
            r#"(component (core module (func ${name} (export "f") nop) (memory 1) (data (i32.const 0) "{data}")))"#
        );
        wat::parse_str(text).unwrap()
    }

    fn check(first: (&str, &str), second: (&str, &str)) -> Vec<Difference> {
        let here = Surroundings {
            folder: "/home/hello".into(),
            home: "/home/a".into(),
        };
        let there = Surroundings {
            folder: "/tmp/elsewhere".into(),
            home: "/tmp/home".into(),
        };
        let (first, second) = (component(first.0, first.1), component(second.0, second.1));
        compare(&first, &second, [&here, &there], true).unwrap()
    }

    #[test]
    fn a_section_that_differs_is_named_with_its_first_byte_and_a_cause() {
        assert!(check(("same", "f"), ("same", "f")).is_empty());
        let found = check(("at /home/hello/src", "f"), ("at /tmp/elsewhere/src", "f"));
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].section.as_str(), found[0].is_packed),
            ("module 0: data", true)
        );
        assert!(found[0].cause.contains("folder of the sources"), "{}", found[0]);
        // Mode, three bytes of the address, the length, "at /".
        assert!(
            found[0]
                .to_string()
                .contains(", 24 bytes and then 27: differs from byte 5 on"),
            "{}",
            found[0]
        );
        assert!(check(("at 17", "f"), ("at 18", "f"))[0].cause.contains("clock"));
        assert!(
            check(("in /home/a", "f"), ("in /tmp/home", "f"))[0]
                .cause
                .contains("home")
        );
    }

    #[test]
    fn what_is_stripped_is_told_apart() {
        let found = check(("same", "one"), ("same", "two"));
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].section.as_str(), found[0].is_packed),
            ("module 0: custom name", false)
        );
    }
}
