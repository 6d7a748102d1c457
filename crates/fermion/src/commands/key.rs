//! `fermion key`: the development key and whom this place trusts. Private halves are never printed.

use anyhow::Result;
use fermion_package::keys::{PrivateKey, Trust};

use crate::cli::{KeyAction, KeyArgs};
use crate::data::DataDirectory;
use crate::output;

/// Makes, lists or exports keys.
pub(crate) fn run(arguments: &KeyArgs, json: bool) -> Result<()> {
    let data = DataDirectory::open(&arguments.data.directory)?;
    match arguments.action {
        KeyAction::New => {
            let key = PrivateKey::load_or_create(&data.keys())?;
            let id = key.public().id();
            if json {
                output::json(&serde_json::json!({ "id": id, "folder": data.keys() }));
            } else {
                output::line(format!(
                    "{id}\n  in {} (dev.key stays there; dev.pub may be shared)",
                    data.keys().display()
                ));
            }
        }
        KeyAction::List => {
            let trust = Trust::load_dir(&data.keys())?;
            let ids: Vec<String> = trust.keys().iter().map(|key| key.id().to_string()).collect();
            if json {
                output::json(&serde_json::json!({ "trusted": ids }));
            } else if ids.is_empty() {
                output::line("no key is trusted here yet: `fermion key new` makes one");
            } else {
                output::line(ids.join("\n"));
            }
        }
        KeyAction::Export => {
            let key = PrivateKey::load_or_create(&data.keys())?;
            let pem = key.public().to_pem();
            if json {
                output::json(&serde_json::json!({ "id": key.public().id(), "pem": pem }));
            } else {
                output::line(pem.trim_end());
            }
        }
    }
    Ok(())
}
