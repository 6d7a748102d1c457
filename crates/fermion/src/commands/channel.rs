//! `fermion channel`: which package a name stands for at the moment.

use anyhow::Result;
use fermion_package::channel::{self, CHANNEL_SCHEMA, ChannelDocument, Seen};
use fermion_package::keys::KeyFolder;
use fermion_package::store::Store;
use fermion_package::trust::{Moment, Role};
use fermion_package::{Trust, When, load};
use fermion_telemetry::Clock as _;

use crate::cli::{ChannelAction, ChannelArgs, ChannelPublish, DataArgs};
use crate::commands::inspect;
use crate::data::DataDirectory;
use crate::output;
use crate::sink::WallClock;

/// Publishes or shows.
pub(crate) fn run(arguments: &ChannelArgs, json: bool) -> Result<()> {
    match &arguments.action {
        ChannelAction::Publish(publication) => publish(publication, &arguments.data, json),
        ChannelAction::Show { name, channel } => {
            let data = DataDirectory::open(&arguments.data.directory)?;
            let store = Store::open(&data.store())?;
            let trust = Trust::load(&data.keys(), WallClock.now())?;
            let when = When::admission(WallClock.now());
            let found = channel::read(&store, name, channel, &trust, &Seen::new(&data.keys()), when)?;
            show(&found, json);
            Ok(())
        }
    }
}

fn publish(publication: &ChannelPublish, data: &DataArgs, json: bool) -> Result<()> {
    let found = inspect::find(&publication.package, data)?;
    let (name, version) = load::identity(&found.store, &found.digest)?;
    let folder = KeyFolder::new(&found.keys);
    let key = match &publication.key {
        Some(key) => folder.load(key)?,
        None => folder.load_or_create(&KeyFolder::name_of(None, Role::Channel))?,
    };
    let seen = Seen::new(&found.keys);
    let held = seen.serial(&name, &publication.channel)?;
    let serial = publication.serial.unwrap_or(held.saturating_add(1));
    // A document that is not in force yet waits for more signatures: this is one.
    let waiting = channel::proposed(&found.store, &name, &publication.channel)?
        .filter(|document| document.digest == found.digest && document.serial == serial && serial > held);
    let document = waiting.unwrap_or(ChannelDocument {
        schema: CHANNEL_SCHEMA,
        name: name.clone(),
        channel: publication.channel.clone(),
        digest: found.digest,
        version,
        serial,
        expires: Moment::of(WallClock.now()).plus(publication.expires),
    });
    channel::publish(&found.store, &document, &key)?;
    // The key may be the first of its kind here: what is trusted is looked at anew.
    let trust = Trust::load(&found.keys, WallClock.now())?;
    let held = channel::read(
        &found.store,
        &name,
        &publication.channel,
        &trust,
        &seen,
        found.when,
    )?;
    show(&held, json);
    Ok(())
}

fn show(channel: &channel::Channel, json: bool) {
    if json {
        return output::json(channel);
    }
    let document = &channel.document;
    let signers: Vec<_> = channel
        .signers
        .iter()
        .map(|signer| signer.name.as_str())
        .collect();
    output::line(format!(
        "{} {}: {} ({})\n  serial {}, until {}, signed by {}",
        document.name,
        document.channel,
        document.version,
        document.digest,
        document.serial,
        document.expires,
        signers.join(", ")
    ));
}
