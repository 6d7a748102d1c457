//! How one root document follows another: more signatures than one side could make up. A new one needs the threshold of
//! the root keys of the one in force, and of its own (The Update Framework's rule), a higher serial, and a time to
//! live. Refusals leave the old one in force.

use std::time::SystemTime;

use fermion_model::Digest;

use super::document::{Moment, ROOT_TYPE, Role, RootDocument};
use super::{Trust, TrustedKey};
use crate::envelope::Envelope;
use crate::limits::TRUST_ROOT_BYTES_MAX;
use crate::{Error, PrivateKey, Result, When, canonical};

const WHAT: &str = "the trust root";

/// A root document with its signatures, as it is stored and sent.
#[derive(Debug, Clone)]
pub struct SignedRoot {
    document: RootDocument,
    payload: Vec<u8>,
    envelope: Envelope,
}

impl SignedRoot {
    /// A document that nobody has signed yet.
    pub fn draft(document: &RootDocument) -> Result<Self> {
        let payload = document.write();
        let document = RootDocument::read(&payload).map_err(|why| Error::trust(WHAT, why))?;
        Ok(Self {
            document,
            envelope: Envelope::new(ROOT_TYPE, &payload),
            payload,
        })
    }

    /// Reads an envelope. Whether to believe it is another question.
    ///
    /// # Errors
    /// `TRUST_INVALID`, `SIZE_EXCEEDED`
    pub fn read(bytes: &[u8]) -> Result<Self> {
        if bytes.len() as u64 > TRUST_ROOT_BYTES_MAX {
            return Err(Error::SizeExceeded {
                what: WHAT.to_owned(),
                bytes_max: TRUST_ROOT_BYTES_MAX,
            });
        }
        let refuse = |why| Error::trust(WHAT, why);
        let envelope = Envelope::read(bytes, ROOT_TYPE).map_err(refuse)?;
        let payload = envelope.payload().map_err(refuse)?;
        Ok(Self {
            document: RootDocument::read(&payload).map_err(refuse)?,
            payload,
            envelope,
        })
    }

    /// As it is stored and sent.
    pub fn write(&self) -> Vec<u8> {
        self.envelope.write()
    }

    /// What it says.
    pub fn document(&self) -> &RootDocument {
        &self.document
    }

    /// The digest of what it says, without the signatures.
    pub fn identity(&self) -> Digest {
        canonical::digest(&self.payload)
    }

    /// Adds a signature.
    pub fn sign(&mut self, key: &PrivateKey) -> Result<()> {
        self.envelope.sign(key).map_err(|why| Error::trust(WHAT, why))
    }

    /// Refuses unless enough root keys of `judge` have signed. `whose` names the judge in the refusal.
    fn check_signed(&self, judge: &Trust, whose: &str, now: SystemTime) -> Result<()> {
        let keys = judge.public_keys();
        let ids = self
            .envelope
            .signers(&keys)
            .map_err(|why| Error::trust(WHAT, why))?;
        let makers: Vec<Result<&TrustedKey, Digest>> =
            ids.iter().map(|id| judge.trusted(id).ok_or(*id)).collect();
        let when = When::admission(now);
        match judge.count(Role::Root, makers, None, when) {
            Ok(_) => Ok(()),
            Err(why) => Err(Error::RootUntrusted {
                serial: self.document.serial,
                why: format!(
                    "of its {} signatures, not {} by root keys of {whose}: {why}",
                    self.envelope.signature_count(),
                    judge.thresholds().root
                ),
            }),
        }
    }
}

/// Decides whether `candidate` follows `current`. `Ok(None)` if it is the one in force already.
///
/// # Errors
/// `ROLLBACK`, `STALE`, `SIG_UNTRUSTED`, `TRUST_INVALID`
pub(super) fn follow(current: &Trust, candidate: SignedRoot, now: SystemTime) -> Result<Option<Trust>> {
    let serial = candidate.document.serial;
    if let Some(root) = current.root() {
        if candidate.identity() == root.identity() {
            return Ok(None);
        }
        if serial <= root.document.serial {
            return Err(Error::Rollback {
                what: format!("a trust root of serial {serial}"),
                held: root.document.serial,
            });
        }
        candidate.check_signed(current, &format!("serial {}", root.document.serial), now)?;
    }
    let next = Trust::explicit(candidate.clone())?;
    candidate.check_signed(&next, "its own", now)?;
    if candidate.document.expires <= Moment::of(now) {
        return Err(Error::Stale {
            what: format!("the new trust root (serial {serial})"),
            expired: candidate.document.expires.to_string(),
            next: "set a later time in \"expires\" and sign it again".to_owned(),
        });
    }
    Ok(Some(next))
}
