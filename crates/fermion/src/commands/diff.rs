//! `fermion diff`: field by field, what a deploy would change, before it does.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fermion_api::{DiffRequest, DiffResult, FieldChange};
use fermion_model::app::{APP_FILE, App};
use fermion_model::manifest::MANIFEST_FILE;

use crate::cli::DiffArgs;
use crate::commands::admin::client;
use crate::output;
use crate::project::{self, Project};

/// Documents that one comparison takes: as many as one Git source.
const DOCUMENTS_MAX: usize = 256;

/// Compares every app that the argument describes with what is active.
pub(crate) async fn run(arguments: &DiffArgs, json: bool) -> Result<()> {
    let described = described(&arguments.what)?;
    let client = client(&arguments.admin)?;
    let mut results = Vec::new();
    for (app, package) in described {
        let deploy = project::request(&app, None);
        let request = DiffRequest {
            package,
            routes: deploy.routes,
            config: deploy.config,
            objectives: deploy.objectives,
            rollout: deploy.rollout,
        };
        results.push(client.diff(&app.namespace, &app.name, &request).await?);
    }
    if json {
        output::json(&results);
        return Ok(());
    }
    for result in &results {
        show(result);
    }
    Ok(())
}

/// Apps with the packages that they would have.
fn described(what: &Path) -> Result<Vec<(App, Option<String>)>> {
    if what.is_file() {
        return Ok(vec![document(what)?]);
    }
    if what.join(MANIFEST_FILE).is_file() {
        let project = Project::open(what)?;
        // What is built here is known by its version before it is built.
        let named = project::source_of(&project.app).map(ToString::to_string);
        let package = named.unwrap_or_else(|| project.manifest.reference().to_string());
        return Ok(vec![(App::clone(&project.app), Some(package))]);
    }
    if what.join(APP_FILE).is_file() {
        return Ok(vec![document(&what.join(APP_FILE))?]);
    }
    let mut files = Vec::new();
    documents(what, &mut files)?;
    files.sort();
    match files.len() {
        0 => bail!(
            "{} holds no {MANIFEST_FILE}, no {APP_FILE} and no other document",
            what.display()
        ),
        count if count > DOCUMENTS_MAX => {
            bail!("{} holds more than {DOCUMENTS_MAX} documents", what.display())
        }
        _ => files.iter().map(|file| document(file)).collect(),
    }
}

fn document(file: &Path) -> Result<(App, Option<String>)> {
    let shown = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
    let app = App::parse(&text, &shown)?;
    let package = app.package.as_ref().map(ToString::to_string);
    Ok((app, package))
}

/// What a Git source would take for a document below its path.
fn documents(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let read = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in read {
        let entry = entry.with_context(|| format!("cannot read {}", folder.display()))?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
        let is_yaml = path.extension().is_some_and(|end| end == "yaml" || end == "yml");
        if is_hidden {
            continue;
        }
        if kind.is_dir() {
            documents(&path, files)?;
        } else if kind.is_file() && is_yaml && files.len() <= DOCUMENTS_MAX {
            files.push(path);
        }
    }
    Ok(())
}

fn show(result: &DiffResult) {
    let name = format!("{}/{}", result.namespace, result.app);
    match (result.active, result.changes.is_empty()) {
        (Some(active), true) => output::line(format!("{name}: as {active}, nothing would change")),
        (Some(active), false) => output::line(format!("{name}: against {active}")),
        (None, _) => output::line(format!("{name}: new, nothing is active")),
    }
    for change in &result.changes {
        output::line(format!("  {}", change_line(change)));
    }
}

/// `~ field: before -> after`, `+ field: after`, `- field: before`.
pub(crate) fn change_line(change: &FieldChange) -> String {
    let field = &change.field;
    match (&change.active, &change.wanted) {
        (Some(active), Some(wanted)) => format!("~ {field}: {active} -> {wanted}"),
        (None, Some(wanted)) => format!("+ {field}: {wanted}"),
        (Some(active), None) => format!("- {field}: {active}"),
        (None, None) => format!("  {field}"),
    }
}
