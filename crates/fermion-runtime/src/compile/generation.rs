//! Which engine a component needs, found before anything is compiled. Reads the binary's structure only.

use crate::engine::Generation;
use crate::error::Error;
use crate::limits;

/// Which engine the component needs, by the names it imports and exports.
pub(crate) fn generation(wasm: &[u8]) -> Result<Generation, Error> {
    use wasmparser::{Encoding, Parser, Payload};
    let invalid = |e: wasmparser::BinaryReaderError| Error::ComponentInvalid(e.to_string());
    if wasm.len() as u64 > limits::COMPONENT_BYTES_MAX {
        let (size, max) = (wasm.len(), limits::COMPONENT_BYTES_MAX);
        return Err(Error::ComponentInvalid(format!(
            "{size} bytes are more than the {max} that may be loaded"
        )));
    }
    let mut depth = 0_u32;
    let mut names = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(invalid)? {
            Payload::Version {
                encoding: Encoding::Module,
                ..
            } if depth == 0 => {
                return Err(Error::ComponentInvalid(
                    "this is a core module, not a component: build it for wasm32-wasip2, or wrap it with \
                     `wasm-tools component new`"
                        .into(),
                ));
            }
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    names.push(import.map_err(invalid)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    names.push(export.map_err(invalid)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(crate::link::generation(names.iter().map(String::as_str)))
}
