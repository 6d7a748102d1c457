//! `fermion copy`: from one registry to another. Nothing stays here, and no byte is changed.

use anyhow::{Context, Result};
use fermion_model::{PackageName, RemoteReference};
use fermion_package::Store;

use super::transfer;
use crate::cli::CopyArgs;

/// Copies one package.
pub(crate) async fn run(arguments: &CopyArgs, json: bool) -> Result<()> {
    let from: RemoteReference = arguments.from.parse()?;
    let to = if arguments.to.contains('/') {
        arguments.to.parse()?
    } else {
        transfer::target(&arguments.to, &from.repository().parse::<PackageName>()?)?
    };
    let folder = tempfile::tempdir().context("cannot make a folder for what is on its way")?;
    let between = Store::open(folder.path())?;
    let client = transfer::client(&arguments.remote, "copying", json)?;
    let pushed = client.copy(&between, &from, &to).await?;
    transfer::show_pushed(&pushed, "copied", json);
    Ok(())
}
