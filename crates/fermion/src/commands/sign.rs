//! `fermion sign`: one more signature on a package of this place, beside those that are there.

use anyhow::Result;
use fermion_package::keys::KeyFolder;
use fermion_package::{PrivateKey, load, sign, signatures};

use crate::cli::SignArgs;
use crate::commands::inspect;
use crate::output;

/// Signs in both forms.
pub(crate) fn run(arguments: &SignArgs, json: bool) -> Result<()> {
    let found = inspect::find(&arguments.package, &arguments.data)?;
    let key = match &arguments.key {
        Some(name) => KeyFolder::new(&found.keys).load(name)?,
        None => PrivateKey::load_or_create(&found.keys)?,
    };
    let (name, _) = load::identity(&found.store, &found.digest)?;
    sign(&found.store, &name, &found.digest, &key)?;
    let reports = signatures(&found.store, &name, &found.digest, &found.trust, found.when)?;
    let id = key.public().id();
    if json {
        output::json(&serde_json::json!({
            "package": name, "digest": found.digest, "signer": id, "signatures": reports,
        }));
    } else {
        output::line(format!("{} is signed by {id}", arguments.package));
    }
    Ok(())
}
