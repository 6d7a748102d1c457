//! `fermion push`: from the local store to a registry.

use anyhow::Result;

use super::{inspect, transfer};
use crate::cli::PushArgs;

/// Pushes one package.
pub(crate) async fn run(arguments: &PushArgs, json: bool) -> Result<()> {
    let (remote, local) = match &arguments.to {
        Some(_) => (None, arguments.package.clone()),
        None => {
            let (remote, local) = transfer::split(&arguments.package)?;
            (Some(remote), local)
        }
    };
    let inspect::Found { store, digest, .. } = inspect::find(&local, &arguments.data)?;
    let remote = match (remote, &arguments.to) {
        (Some(remote), _) => remote,
        (None, to) => {
            let name = fermion_package::inspect::name(&store, &digest)?;
            transfer::target(to.as_deref().unwrap_or_default(), &name)?
        }
    };
    let client = transfer::client(&arguments.remote, "pushing", json)?;
    let pushed = client.push(&store, &digest, &remote).await?;
    transfer::show_pushed(&pushed, "pushed", json);
    Ok(())
}
