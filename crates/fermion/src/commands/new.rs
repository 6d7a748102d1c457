//! `fermion new`: a project that builds, from a template that is part of the binary.

use std::path::Path;

use anyhow::{Context, Result, bail};
use fermion_model::AppName;

use crate::cli::{Language, NewArgs};
use crate::output;
use crate::templates;

/// Writes the template's files into a folder that is not there yet.
pub(crate) fn run(arguments: &NewArgs, json: bool) -> Result<()> {
    let folder = Path::new(&arguments.name);
    let name: AppName = folder
        .file_name()
        .and_then(|name| name.to_str())
        .with_context(|| format!("{:?} has no last part that could be a name", arguments.name))?
        .parse()?;
    if folder.exists() {
        bail!(
            "{} is there already: choose another name, or remove it",
            folder.display()
        );
    }
    let files = match arguments.lang {
        Language::Rust => templates::RUST,
        Language::Js => templates::JS,
        Language::Python => templates::PYTHON,
    };
    for (path, text) in files {
        let path = folder.join(path);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        let text = text
            .replace("{{name}}", name.as_str())
            .replace("{{crate}}", &name.as_str().replace('-', "_"));
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if json {
        let written: Vec<&str> = files.iter().map(|(path, _)| *path).collect();
        output::json(&serde_json::json!({ "folder": folder, "files": written }));
    } else {
        output::line(format!(
            "made {0}\n  fermion up {0}      build it, sign it, serve it",
            folder.display()
        ));
    }
    Ok(())
}
