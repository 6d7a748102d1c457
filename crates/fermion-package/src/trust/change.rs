//! How an operator makes the next root document: what changes, and signatures of the root keys that are at hand. Makes
//! documents; `keeper` decides whether they are taken.

use std::time::{Duration, SystemTime};

use super::document::{KeyEntry, Moment, ROOT_SCHEMA, Revocation, Role, RootDocument, Thresholds};
use super::{SignedRoot, Trust};
use crate::limits::{ROOT_GRACE_DEFAULT, TRUSTED_KEYS_MAX};
use crate::{Error, KeyFolder, PublicKey, Result, keys};

const WHAT: &str = "the trust root";

/// The first document of a folder: what its file names say today, and a root key, which is made if there is none.
pub fn first(folder: &KeyFolder, now: SystemTime, lifetime: Duration) -> Result<RootDocument> {
    folder.load_or_create(&KeyFolder::name_of(None, Role::Root))?;
    Ok(RootDocument {
        schema: ROOT_SCHEMA,
        serial: 1,
        expires: Moment::of(now).plus(lifetime),
        grace_seconds: ROOT_GRACE_DEFAULT.as_secs(),
        keys: keys::public_entries(folder.path())?,
        thresholds: Thresholds::default(),
        channels: Vec::new(),
    })
}

/// The document that follows the one in force, before anything in it is changed.
///
/// # Errors
/// `TRUST_INVALID` where there is none yet.
pub fn next(current: &Trust, now: SystemTime, lifetime: Duration) -> Result<RootDocument> {
    let Some(root) = current.root() else {
        let why =
            "there is none yet: every *.pub in the folder of keys is trusted; `fermion trust init` makes one";
        return Err(Error::trust(WHAT, why));
    };
    let mut document = root.document().clone();
    document.serial = document.serial.saturating_add(1);
    document.expires = Moment::of(now).plus(lifetime);
    Ok(document)
}

/// Signs with every private key of the folder that is a root key, of the document in force or of the new one; gives
/// their names.
pub fn sign_with(root: &mut SignedRoot, folder: &KeyFolder, current: &Trust) -> Result<Vec<String>> {
    let mut signed = Vec::new();
    for key in folder.list()?.into_iter().filter(|key| key.is_private) {
        let id = key.public.id();
        let is_root = |entry: &KeyEntry| entry.id == id && entry.roles.contains(&Role::Root);
        let mut entries = current
            .keys()
            .iter()
            .map(|key| &key.entry)
            .chain(&root.document().keys);
        if entries.any(is_root) {
            root.sign(&folder.load(&key.name)?)?;
            signed.push(key.name);
        }
    }
    Ok(signed)
}

/// Lists a key. One of the same id is replaced.
pub fn add(document: &mut RootDocument, entry: KeyEntry) -> Result<()> {
    document.keys.retain(|key| key.id != entry.id);
    if document.keys.len() >= TRUSTED_KEYS_MAX {
        return Err(Error::trust(
            WHAT,
            format!("more than {TRUSTED_KEYS_MAX} keys; remove old ones"),
        ));
    }
    document.keys.push(entry);
    Ok(())
}

/// Puts a new key in the place of the key `name`: the same rights, and from now on. The old one counts for `overlap`
/// more, so that what it has signed can still be let in.
pub fn rotate(
    document: &mut RootDocument,
    name: &str,
    (new_name, new): (&str, &PublicKey),
    now: SystemTime,
    overlap: Duration,
) -> Result<()> {
    let now = Moment::of(now);
    let old = known(document, name)?;
    if let Some(revoked) = &old.revoked {
        return Err(Error::trust(
            WHAT,
            format!("{name:?} was revoked at {}; add a new key instead", revoked.at),
        ));
    }
    let until = now.plus(overlap);
    old.not_after = Some(old.not_after.map_or(until, |earlier| earlier.min(until)));
    let entry = KeyEntry {
        not_before: None,
        not_after: None,
        names: old.names.clone(),
        ..KeyEntry::new(new_name, new, old.roles.clone())
    };
    add(document, entry)
}

/// Takes every right from the key `name`, for ever and at once. It stays listed, so that refusals can say why.
pub fn revoke(document: &mut RootDocument, name: &str, reason: &str, now: SystemTime) -> Result<()> {
    let key = known(document, name)?;
    if let Some(revoked) = &key.revoked {
        return Err(Error::trust(
            WHAT,
            format!("{name:?} was revoked at {} already", revoked.at),
        ));
    }
    key.revoked = Some(Revocation {
        at: Moment::of(now),
        reason: reason.to_owned(),
    });
    Ok(())
}

fn known<'d>(document: &'d mut RootDocument, name: &str) -> Result<&'d mut KeyEntry> {
    let names: Vec<String> = document.keys.iter().map(|key| key.name.clone()).collect();
    document
        .key_mut(name)
        .ok_or_else(|| Error::trust(WHAT, format!("it has no key {name:?}, only {}", names.join(", "))))
}
