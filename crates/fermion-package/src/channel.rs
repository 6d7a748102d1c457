//! Channel documents: which package a name stands for at the moment, signed, with a serial that never decreases and a
//! time to live. They keep whoever can write to a registry from serving an old release again (rollback), or for ever
//! the same one (freeze). A document lies in its package's repository under the tag `channel-NAME`.

mod seen;

use fermion_model::{Digest, PackageName};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::canonical::{self, Descriptor, ImageManifest, MANIFEST_TYPE};
use crate::envelope::Envelope;
use crate::limits::{CHANNELS_MAX, MANIFEST_BYTES_MAX, SIGNATURE_BYTES_MAX};
use crate::referrers::{put_blob, put_manifest};
use crate::store::check_tag;
use crate::trust::{Moment, Role, Signer};
use crate::{Error, PrivateKey, Result, Store, Trust, When};

pub use seen::Seen;

/// The artifact type, the layer's media type, and what the envelope says its payload is.
pub const CHANNEL_TYPE: &str = "application/vnd.fermion.channel.v1+json";
/// The format that this version reads and writes.
pub const CHANNEL_SCHEMA: u32 = 1;
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
const TAG_PREFIX: &str = "channel-";

/// What a channel says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelDocument {
    /// The format.
    pub schema: u32,
    /// The package's name.
    pub name: PackageName,
    /// The channel's name: `stable`.
    pub channel: String,
    /// What the name stands for.
    pub digest: Digest,
    /// Its version, for people.
    pub version: semver::Version,
    /// Counts up with every change.
    pub serial: u64,
    /// After this, the document lets nothing new in.
    pub expires: Moment,
}

/// A channel document that holds, and who signed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Channel {
    /// What it says.
    #[serde(flatten)]
    pub document: ChannelDocument,
    /// Those who signed it.
    pub signers: Vec<Signer>,
}

/// The tag under which a channel's document lies.
///
/// # Errors
/// `NAME_INVALID`
pub fn tag_of(channel: &str) -> Result<String> {
    let tag = format!("{TAG_PREFIX}{channel}");
    check_tag(&tag)?;
    Ok(tag)
}

/// True for a tag under which a channel's document may lie.
pub fn is_channel_tag(tag: &str) -> bool {
    tag.starts_with(TAG_PREFIX)
}

/// Signs a document and puts it under its tag.
pub fn publish(store: &Store, document: &ChannelDocument, key: &PrivateKey) -> Result<Digest> {
    let tag = tag_of(&document.channel)?;
    let payload = canonical::json(document);
    // Signatures of other keys over the same document stay.
    let mut envelope = match envelope(store, &document.name, &tag) {
        Ok(Some(old)) if old.payload().is_ok_and(|old| old == payload) => old,
        _ => Envelope::new(CHANNEL_TYPE, &payload),
    };
    envelope
        .sign(key)
        .map_err(|why| Error::trust(describe(&document.name, &tag), why))?;
    let layer = put_blob(store, &document.name, CHANNEL_TYPE, &envelope.write())?;
    let empty = put_blob(store, &document.name, EMPTY_TYPE, &canonical::json(&json!({})))?;
    let mut manifest = ImageManifest::new(empty, vec![layer]);
    manifest.artifact_type = Some(CHANNEL_TYPE.to_owned());
    let digest = put_manifest(store, &document.name, MANIFEST_TYPE, &manifest)?.digest;
    store.set_tag(&document.name, &tag, &digest)?;
    Ok(digest)
}

/// What the document under a channel's tag says, whether or not it is to be believed; none if there is none.
pub fn proposed(store: &Store, name: &PackageName, channel: &str) -> Result<Option<ChannelDocument>> {
    let tag = tag_of(channel)?;
    let payload = envelope(store, name, &tag)?.and_then(|envelope| envelope.payload().ok());
    Ok(payload.and_then(|payload| serde_json::from_slice(&payload).ok()))
}

/// The document of a channel, if it is signed as the trust demands, is not older than one seen before, and has not
/// expired.
///
/// # Errors
/// `CHANNEL_MISMATCH` if there is none, `SIG_UNTRUSTED`, `ROLLBACK`, `STALE`, `TRUST_INVALID`.
pub fn read(
    store: &Store,
    name: &PackageName,
    channel: &str,
    trust: &Trust,
    seen: &Seen,
    when: When,
) -> Result<Channel> {
    let channel = read_signed(store, name, channel, trust, when)?;
    let ChannelDocument { serial, expires, .. } = &channel.document;
    let what = format!("channel {} of {name} (serial {serial})", channel.document.channel);
    seen.observe(&channel.document, &what)?;
    if *expires <= Moment::of(when.now()) {
        return Err(Error::Stale {
            what,
            expired: expires.to_string(),
            next: "publish it again with `fermion channel publish`".to_owned(),
        });
    }
    Ok(channel)
}

/// The document as far as signatures go; serial and time are not looked at.
fn read_signed(
    store: &Store,
    name: &PackageName,
    channel: &str,
    trust: &Trust,
    when: When,
) -> Result<Channel> {
    let tag = tag_of(channel)?;
    let what = describe(name, &tag);
    let refuse = |why: String| Error::trust(what.clone(), why);
    let Some(envelope) = envelope(store, name, &tag)? else {
        return Err(Error::ChannelMismatch {
            name: name.clone(),
            why: format!("it has no channel {channel}; `fermion channel publish` makes it"),
        });
    };
    let ids = envelope.signers(&trust.public_keys()).map_err(refuse)?;
    let makers: Vec<_> = ids.iter().map(|id| trust.trusted(id).ok_or(*id)).collect();
    let verified = trust
        .count(Role::Channel, makers, Some(name), When::admission(when.now()))
        .map_err(|why| Error::ChannelUntrusted {
            what: what.clone(),
            why,
        })?;
    let payload = envelope.payload().map_err(refuse)?;
    let document: ChannelDocument =
        serde_json::from_slice(&payload).map_err(|why| refuse(why.to_string()))?;
    if document.schema != CHANNEL_SCHEMA {
        return Err(refuse(format!(
            "schema {}, this version reads {CHANNEL_SCHEMA}",
            document.schema
        )));
    }
    if document.name != *name || document.channel != channel {
        return Err(refuse(format!(
            "it is the document of channel {:?} of {}",
            document.channel, document.name
        )));
    }
    Ok(Channel {
        document,
        signers: verified.signers,
    })
}

/// Refuses a package whose name demands a channel unless one names it.
///
/// # Errors
/// `CHANNEL_MISMATCH`, and as [`read`].
pub fn check(
    store: &Store,
    name: &PackageName,
    digest: &Digest,
    trust: &Trust,
    seen: &Seen,
    when: When,
) -> Result<()> {
    if !trust.demands_channel(name) {
        return Ok(());
    }
    let mut others = Vec::new();
    let mut refused = None;
    let tags = store.tags(name)?;
    let channels = tags.iter().filter_map(|(tag, _)| tag.strip_prefix(TAG_PREFIX));
    for channel in channels.take(CHANNELS_MAX) {
        match read(store, name, channel, trust, seen, when) {
            Ok(found) if found.document.digest == *digest => return Ok(()),
            Ok(found) => others.push(format!("{channel} names {}", found.document.version)),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    if let Some(error) = refused {
        return Err(error);
    }
    let why = if others.is_empty() {
        "the trust root lets it in only through a channel, and it has none; publish one with \
         `fermion channel publish`"
            .to_owned()
    } else {
        format!(
            "the trust root lets it in only through a channel, and none names {digest} ({}); \
             `fermion channel publish` names another",
            others.join(", ")
        )
    };
    Err(Error::ChannelMismatch {
        name: name.clone(),
        why,
    })
}

fn describe(name: &PackageName, tag: &str) -> String {
    format!("the channel document {name}:{tag}")
}

fn envelope(store: &Store, name: &PackageName, tag: &str) -> Result<Option<Envelope>> {
    let Some(tagged) = store.tag(name, tag)? else {
        return Ok(None);
    };
    let what = "the channel document";
    let bytes = store.read_part(what, &tagged, MANIFEST_BYTES_MAX)?;
    let manifest: ImageManifest =
        serde_json::from_slice(&bytes).map_err(|why| Error::layout(what, why.to_string()))?;
    let layer = match <[Descriptor; 1]>::try_from(manifest.layers) {
        Ok([layer]) if layer.media_type == CHANNEL_TYPE => layer,
        _ => return Err(Error::layout(what, "not exactly one layer, a channel document")),
    };
    let bytes = store.read_described(what, &layer, SIGNATURE_BYTES_MAX)?;
    let envelope =
        Envelope::read(&bytes, CHANNEL_TYPE).map_err(|why| Error::trust(describe(name, tag), why))?;
    Ok(Some(envelope))
}
