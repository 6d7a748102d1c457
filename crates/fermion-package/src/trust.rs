//! Who is trusted with what, in force. Decides whether a key counts for a role, a package name and a time, and whether
//! enough of them have signed. Reads no clock; what it is made of is in `document`, how it changes in `chain`, where it
//! lies in `keeper`.

mod chain;
pub mod change;
mod document;
mod keeper;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fermion_model::{Digest, PackageName};

use crate::{Error, PublicKey, Result, When, canonical};

pub use chain::SignedRoot;
pub use document::{
    KeyEntry, Moment, NamePattern, ROOT_SCHEMA, ROOT_TYPE, Revocation, Role, RootDocument, Thresholds,
};
pub use keeper::{ACCEPTED_FILE, ROOT_FILE, TrustKeeper, accept};

pub use crate::limits::ROOT_LIFETIME_DEFAULT;

/// The trust in force: what a root document says, or, where there is none, a folder of public keys. Clones share it.
#[derive(Debug, Clone)]
pub struct Trust {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    keys: Vec<TrustedKey>,
    thresholds: Thresholds,
    channels: Vec<NamePattern>,
    /// None for the implicit root.
    root: Option<SignedRoot>,
    identity: Digest,
}

/// A key with what it is trusted with.
#[derive(Debug, Clone)]
pub struct TrustedKey {
    /// The key.
    pub key: PublicKey,
    /// What the document says of it.
    pub entry: KeyEntry,
}

/// A key that signed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Signer {
    /// The key's id.
    pub id: Digest,
    /// What people call it.
    pub name: String,
}

/// A package that enough trusted keys have signed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Verified {
    /// Those that count, by id.
    pub signers: Vec<Signer>,
    /// How many had to.
    pub threshold: u32,
    /// The serial of the trust root by which this was decided.
    pub epoch: u64,
}

impl Verified {
    /// The ids of those who signed.
    pub fn ids(&self) -> Vec<Digest> {
        self.signers.iter().map(|signer| signer.id).collect()
    }
}

impl Default for Trust {
    /// Trusts nobody.
    fn default() -> Self {
        Self::of([])
    }
}

impl PartialEq for Trust {
    fn eq(&self, other: &Self) -> bool {
        self.inner.identity == other.inner.identity
    }
}

impl Trust {
    /// Trusts these keys with packages and no others with anything.
    pub fn of(keys: impl IntoIterator<Item = PublicKey>) -> Self {
        Self::implicit(keys.into_iter().map(|key| {
            let name = key.id().short();
            KeyEntry::new(&name, &key, [Role::Package])
        }))
    }

    /// The root of a folder without a document: serial 0, no expiry, one signature.
    pub(crate) fn implicit(entries: impl IntoIterator<Item = KeyEntry>) -> Self {
        let mut keys: Vec<TrustedKey> = entries
            .into_iter()
            .filter_map(|entry| {
                let key = entry.key().ok()?;
                Some(TrustedKey { key, entry })
            })
            .collect();
        keys.sort_by_key(|key| key.entry.id);
        let entries: Vec<&KeyEntry> = keys.iter().map(|key| &key.entry).collect();
        let identity = canonical::digest(&canonical::json(&entries));
        Self {
            inner: Arc::new(Inner {
                keys,
                thresholds: Thresholds::default(),
                channels: Vec::new(),
                root: None,
                identity,
            }),
        }
    }

    /// The trust that a document states. Whether the document is to be believed is `chain`'s to say.
    pub(crate) fn explicit(root: SignedRoot) -> Result<Self> {
        let document = root.document();
        let keys = document.keys.iter().map(|entry| {
            let key = entry.key().map_err(|why| Error::trust("the trust root", why))?;
            Ok(TrustedKey {
                key,
                entry: entry.clone(),
            })
        });
        Ok(Self {
            inner: Arc::new(Inner {
                keys: keys.collect::<Result<_>>()?,
                thresholds: document.thresholds,
                channels: document.channels.clone(),
                identity: root.identity(),
                root: Some(root),
            }),
        })
    }

    /// The trust of a folder of keys: its root document, or every `*.pub` in it where there is none. A document that
    /// does not hold leaves the last one that did in force.
    ///
    /// # Errors
    /// `TRUST_INVALID` if there is a document and none that was ever accepted here; `KEY_INVALID` for a `*.pub` that
    /// is no key, where they count.
    pub fn load(folder: &Path, now: SystemTime) -> Result<Self> {
        keeper::load(folder, now).map(|loaded| loaded.trust)
    }

    /// What a document would mean, whether or not it is to be believed: to look at, never to decide with.
    ///
    /// # Errors
    /// `TRUST_INVALID`
    pub fn shown(bytes: &[u8]) -> Result<Self> {
        Self::explicit(SignedRoot::read(bytes)?)
    }

    /// The serial of the root: it grows with every change. 0 without a document.
    pub fn epoch(&self) -> u64 {
        self.inner.root.as_ref().map_or(0, |root| root.document().serial)
    }

    /// Differs whenever what is trusted differs, also where there is no document.
    pub fn identity(&self) -> Digest {
        self.inner.identity
    }

    /// The root document with its signatures; none where every key of the folder is trusted.
    pub fn root(&self) -> Option<&SignedRoot> {
        self.inner.root.as_ref()
    }

    /// The keys, also those that count for nothing any more.
    pub fn keys(&self) -> &[TrustedKey] {
        &self.inner.keys
    }

    /// How many keys must sign.
    pub fn thresholds(&self) -> &Thresholds {
        &self.inner.thresholds
    }

    /// Whether packages of this name are let in only if a channel names them.
    pub fn demands_channel(&self, name: &PackageName) -> bool {
        self.inner.channels.iter().any(|pattern| pattern.covers(name))
    }

    /// Refuses if the document has expired: at once for what is new, after the grace for what runs.
    ///
    /// # Errors
    /// `STALE`
    pub fn check_fresh(&self, when: When) -> Result<()> {
        let Some(root) = self.root() else { return Ok(()) };
        let document = root.document();
        let grace = if when.is_admission() {
            Duration::ZERO
        } else {
            Duration::from_secs(document.grace_seconds)
        };
        if Moment::of(when.now()) < document.expires.plus(grace) {
            return Ok(());
        }
        Err(Error::Stale {
            what: format!("the trust root (serial {})", document.serial),
            expired: document.expires.to_string(),
            next: "make one of a higher serial with `fermion trust draft`, sign and apply it".to_owned(),
        })
    }

    /// Whether a package whose signatures by these keys have been checked before still has enough of them. Does no
    /// cryptography: for each activation, and for everything that runs when the trust changes.
    ///
    /// # Errors
    /// As [`crate::verify`].
    pub fn still(
        &self,
        signers: &[Digest],
        name: &PackageName,
        digest: &Digest,
        when: When,
    ) -> Result<Verified> {
        self.check_fresh(when)?;
        let known = |id: &Digest| self.inner.keys.iter().find(|key| key.entry.id == *id);
        let keys: Vec<_> = signers.iter().map(|id| known(id).ok_or(*id)).collect();
        self.count(Role::Package, keys, Some(name), when)
            .map_err(|why| Error::SigUntrusted { digest: *digest, why })
    }

    /// The public keys to try signatures with.
    pub(crate) fn public_keys(&self) -> Vec<&PublicKey> {
        self.inner.keys.iter().map(|key| &key.key).collect()
    }

    /// The entry of a key.
    pub(crate) fn trusted(&self, id: &Digest) -> Option<&TrustedKey> {
        self.inner.keys.iter().find(|key| key.entry.id == *id)
    }

    /// Whether enough of the makers of signatures count for `role`; the refusal says why those that do not do not.
    /// `Err(id)` stands for a key that is not known here.
    pub(crate) fn count<'k>(
        &self,
        role: Role,
        makers: impl IntoIterator<Item = Result<&'k TrustedKey, Digest>>,
        name: Option<&PackageName>,
        when: When,
    ) -> Result<Verified, String> {
        let (mut signers, mut reasons) = (Vec::<Signer>::new(), BTreeSet::new());
        for maker in makers {
            match maker {
                Ok(key) => match key.standing(role, name, when) {
                    Ok(()) if signers.iter().any(|signer| signer.id == key.entry.id) => {}
                    Ok(()) => signers.push(key.signer()),
                    Err(why) => reasons.extend([why]),
                },
                Err(id) => reasons.extend([format!("the key {} is not trusted any more", id.short())]),
            }
        }
        signers.sort_by_key(|signer| signer.id);
        let threshold = self.inner.thresholds.of(role);
        if signers.len() >= threshold as usize {
            return Ok(Verified {
                signers,
                threshold,
                epoch: self.epoch(),
            });
        }
        if threshold > 1 {
            let names: Vec<_> = signers.iter().map(|signer| signer.name.as_str()).collect();
            reasons.insert(format!(
                "{threshold} different {role} keys must sign and {} did ({}); let the others {}",
                signers.len(),
                names.join(", "),
                role.how_to_sign()
            ));
        }
        if reasons.is_empty() {
            return Err(
                "no trusted key made its signatures; add the signer's public key to the trusted keys if you trust it"
                    .to_owned(),
            );
        }
        Err(reasons.into_iter().collect::<Vec<_>>().join("; "))
    }
}

impl TrustedKey {
    /// The key as it is named in results.
    pub fn signer(&self) -> Signer {
        Signer {
            id: self.entry.id,
            name: self.entry.name.clone(),
        }
    }

    /// Whether the key counts; if not, why, and what to do.
    pub fn standing(&self, role: Role, name: Option<&PackageName>, when: When) -> Result<(), String> {
        let KeyEntry {
            id,
            name: key,
            roles,
            not_before,
            not_after,
            names,
            revoked,
            ..
        } = &self.entry;
        let key = format!("key {key:?} ({})", id.short());
        if let Some(revoked) = revoked {
            return Err(format!(
                "{key} was revoked at {} ({}); build the package again and sign it with a key that is valid",
                revoked.at, revoked.reason
            ));
        }
        if !roles.contains(&role) {
            let roles: Vec<_> = roles.iter().map(|role| role.as_str()).collect();
            return Err(format!("{key} has the role {}, not {role}", roles.join(", ")));
        }
        let judged = Moment::of(when.judged());
        if let Some(from) = not_before.filter(|from| judged < *from) {
            return Err(format!(
                "{key} is valid only from {from}; sign with another key until then"
            ));
        }
        // Times are whole seconds: what was let in during the key's last one was let in while it counted.
        let has_ended = |until: &Moment| judged > *until || judged == *until && when.is_admission();
        if let Some(until) = not_after.filter(has_ended) {
            return Err(format!(
                "{key} was valid until {until}; sign the package with the key that took its place"
            ));
        }
        if let Some(name) = name
            && !names.is_empty()
            && !names.iter().any(|pattern| pattern.covers(name))
        {
            let names: Vec<_> = names.iter().map(ToString::to_string).collect();
            return Err(format!("{key} may sign {}, not {name}", names.join(", ")));
        }
        Ok(())
    }
}
