//! Makes a component by running the `[build]` command of a manifest in its folder. The command is the developer's own
//! and runs with the developer's rights; what is owned here is its bounds: its own process group, a time limit, output
//! line by line, and the end of all of it when the build is cancelled.

mod artifact;
mod compare;
mod environment;
mod process;
mod rebuild;
mod recipe;

use std::path::Path;

use fermion_model::manifest::Manifest;

use crate::Result;

pub use compare::Difference;
pub use environment::Environment;
pub(crate) use environment::find as find_program;
pub use process::Cancel;
pub use rebuild::{Rebuilt, Varied, rebuild};
pub use recipe::{FIXED, doubts};

/// Builds the component of the manifest in `folder` and reads it.
///
/// Each line of the command's output, of both streams, goes to `on_line` as it comes. Without a `[build]` table the
/// component is only read.
///
/// # Errors
/// `BUILD_FAILED` with the end of the output; `COMPONENT_MISSING` with what is there instead; `SIZE_EXCEEDED`.
pub fn build(
    manifest: &Manifest,
    folder: &Path,
    environment: &Environment,
    cancel: &Cancel,
    on_line: &mut dyn FnMut(&str),
) -> Result<Vec<u8>> {
    if let Some(build) = &manifest.build {
        let variables = environment.for_build(manifest, folder, None);
        process::run(
            &build.command,
            folder,
            &variables,
            &process::Bounds::default(),
            cancel,
            on_line,
        )?;
    }
    artifact::read(folder, &manifest.component)
}
