//! What a build has left: the component where the manifest says it is, or a list of where it may be instead.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::limits::{BUILD_FOUND_MAX, BUILD_SEARCH_ENTRIES_MAX, WASM_BYTES_MAX};
use crate::{Error, Result};

/// Folders that hold no component of the package itself.
const NOT_SEARCHED: [&str; 7] = [
    ".git",
    "build",
    "deps",
    "examples",
    "incremental",
    "node_modules",
    "venv",
];

/// Reads the component of the package in `folder`.
pub(super) fn read(folder: &Path, component: &str) -> Result<Vec<u8>> {
    let path = folder.join(component);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::ComponentMissing {
                found: found(folder),
                path,
            });
        }
        Err(error) => return Err(Error::io("open", &path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(WASM_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::io("read", &path))?;
    if bytes.len() as u64 > WASM_BYTES_MAX {
        return Err(Error::SizeExceeded {
            what: path.display().to_string(),
            bytes_max: WASM_BYTES_MAX,
        });
    }
    Ok(bytes)
}

/// Component files below `folder`, relative to it; those nearest to it first.
fn found(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = std::collections::VecDeque::from([folder.to_owned()]);
    let mut entries_left = BUILD_SEARCH_ENTRIES_MAX;
    while let Some(next) = folders.pop_front() {
        // The list is help, not the answer: what cannot be read is left out.
        let mut entries: Vec<_> = fs::read_dir(&next)
            .into_iter()
            .flatten()
            .flatten()
            .take(entries_left)
            .collect();
        entries_left -= entries.len();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() && !NOT_SEARCHED.iter().any(|name| entry.file_name() == *name) {
                folders.push_back(path);
            } else if kind.is_file() && path.extension().is_some_and(|extension| extension == "wasm") {
                found.push(path.strip_prefix(folder).unwrap_or(&path).to_owned());
                if found.len() == BUILD_FOUND_MAX {
                    return found;
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_component_is_named_with_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let error = read(folder.path(), "a.wasm").unwrap_err();
        assert_eq!(error.code(), "COMPONENT_MISSING");
        assert!(error.to_string().contains("nor any other .wasm file"), "{error}");
        let release = folder.path().join("target/wasm32-wasip2/release");
        fs::create_dir_all(release.join("deps")).unwrap();
        fs::write(release.join("deps/hidden.wasm"), "").unwrap();
        fs::write(release.join("b.wasm"), "bytes").unwrap();
        let error = read(folder.path(), "a.wasm").unwrap_err().to_string();
        assert!(
            error.ends_with("one of these:\n  target/wasm32-wasip2/release/b.wasm"),
            "{error}"
        );
        assert_eq!(
            read(folder.path(), "target/wasm32-wasip2/release/b.wasm").unwrap(),
            b"bytes"
        );
    }
}
