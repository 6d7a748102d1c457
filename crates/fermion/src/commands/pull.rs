//! `fermion pull`: from a registry into the local store. A package gets its name there only after it has been verified.

use anyhow::{Context, Result};
use fermion_model::RemoteReference;
use fermion_package::{Store, Trust, When, load};
use fermion_telemetry::Clock as _;

use super::transfer;
use crate::cli::PullArgs;
use crate::data::DataDirectory;
use crate::output;
use crate::sink::WallClock;

/// Pulls one package.
pub(crate) async fn run(arguments: &PullArgs, json: bool) -> Result<()> {
    let reference: RemoteReference = arguments.reference.parse()?;
    let data = DataDirectory::open(&arguments.data.directory)?;
    let store = Store::open(&data.store())?;
    let now = WallClock.now();
    let trust = Trust::load(&data.keys(), now)?;
    let client = transfer::client(&arguments.remote, "pulling", json)?;
    let pulled = client.pull(&store, &reference).await?;
    let verified = load(&store, &pulled.digest, &trust, When::admission(now));
    let signers = match verified {
        Ok(package) => {
            pulled.set_tag(&store)?;
            package.verified.ids()
        }
        Err(error) if arguments.unverified => {
            output::note(format!("not verified: {}: {error}", error.code()));
            Vec::new()
        }
        Err(error) => {
            return Err(error).with_context(|| {
                format!(
                    "{reference} is not kept under a name; `fermion inspect {}@{}` shows it",
                    pulled.name, pulled.digest
                )
            });
        }
    };
    let package = format!("{}:{}", pulled.name, pulled.version);
    if json {
        output::json(&serde_json::json!({
            "package": package, "digest": pulled.digest, "from": reference, "verified": !signers.is_empty(),
            "signers": signers, "blobs": pulled.blobs, "bytes": pulled.bytes, "referrers": pulled.referrers,
        }));
        return Ok(());
    }
    let signed = match signers.as_slice() {
        [] => "not verified".to_owned(),
        ids => {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            format!("signed by {}", ids.join(", "))
        }
    };
    output::line(format!(
        "pulled {package} from {reference}\n  digest {}\n  {signed}\n  {} KiB in {} blobs, {} attached",
        pulled.digest,
        pulled.bytes.div_ceil(1024),
        pulled.blobs,
        pulled.referrers,
    ));
    Ok(())
}
