//! P-256 keys: read, written, used. A private key is PKCS#8 PEM, readable by its owner alone; one that others could read
//! is refused. Private bytes are never printed and are wiped from memory by the types that hold them. Folders of keys
//! are in `folder`.

mod folder;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fermion_model::Digest;
use p256::ecdsa::signature::{Signer, Verifier};
use p256::ecdsa::{DerSignature, SigningKey, VerifyingKey};
use p256::elliptic_curve::Generate;
use p256::elliptic_curve::zeroize::Zeroizing;
use p256::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, LineEnding};

use crate::canonical::digest;
use crate::limits::KEY_FILE_BYTES_MAX;
use crate::{Error, Result};

pub use folder::{KeyFile, KeyFolder, PRIVATE_KEY_FILE, PUBLIC_KEY_FILE, SigningKeys};
pub(crate) use folder::{check_key_name, lock_folder, public_entries, write_file};

/// A public key and its id.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: VerifyingKey,
    id: Digest,
}

/// A key that signs.
pub struct PrivateKey {
    key: SigningKey,
    public: PublicKey,
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(of {})", self.public.id)
    }
}

impl PublicKey {
    fn new(key: VerifyingKey) -> Result<Self, String> {
        let der = key.to_public_key_der().map_err(|why| why.to_string())?;
        Ok(Self {
            key,
            id: digest(der.as_bytes()),
        })
    }

    /// Reads `-----BEGIN PUBLIC KEY-----`; nothing may follow it. `place` names the text in refusals.
    pub fn from_pem(text: &str, place: &Path) -> Result<Self> {
        let read = || {
            check_pem(text, "PUBLIC KEY")?;
            let key = VerifyingKey::from_public_key_pem(text)
                .map_err(|why| format!("not a P-256 public key in PEM ({why})"))?;
            Self::new(key)
        };
        read().map_err(|why| Error::KeyInvalid {
            path: place.to_owned(),
            why,
        })
    }

    /// Writes `-----BEGIN PUBLIC KEY-----`, as `cosign verify --key` reads it.
    pub fn to_pem(&self) -> String {
        self.key
            .to_public_key_pem(LineEnding::LF)
            .expect("every point on the curve has an encoding")
    }

    /// The SHA-256 of the key's SubjectPublicKeyInfo in DER.
    pub fn id(&self) -> Digest {
        self.id
    }

    /// True if `signature`, in DER, is this key's over `message`.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        DerSignature::from_bytes(signature)
            .is_ok_and(|signature| self.key.verify(message, &signature).is_ok())
    }
}

impl PrivateKey {
    /// Loads a PKCS#8 PEM file of mode 0600 or stricter.
    pub fn load(path: &Path) -> Result<Self> {
        let refuse = |why: String| Error::KeyInvalid {
            path: path.to_owned(),
            why,
        };
        let file = File::open(path).map_err(Error::io("open", path))?;
        let metadata = file.metadata().map_err(Error::io("look at", path))?;
        let mode = metadata.permissions().mode() & 0o777;
        if !metadata.is_file() {
            return Err(refuse("not a file".to_owned()));
        }
        if mode & 0o077 != 0 {
            return Err(refuse(format!(
                "others may use it (mode {mode:04o}); run: chmod 600 {}",
                path.display()
            )));
        }
        let text = Zeroizing::new(read_text(file, path)?);
        Self::from_pem(&text, path)
    }

    /// Reads `-----BEGIN PRIVATE KEY-----`; nothing may follow it. `place` names the text in refusals.
    pub fn from_pem(text: &str, place: &Path) -> Result<Self> {
        let read = || {
            check_pem(text, "PRIVATE KEY")?;
            // The parser's reason is left out: it could repeat a part of the key.
            let key = SigningKey::from_pkcs8_pem(text)
                .map_err(|_| "not a P-256 private key in PKCS#8 PEM".to_owned())?;
            let public = PublicKey::new(*key.verifying_key())?;
            Ok(Self { key, public })
        };
        read().map_err(|why| Error::KeyInvalid {
            path: place.to_owned(),
            why,
        })
    }

    /// A new key.
    pub(crate) fn generate() -> Result<Self, String> {
        let key =
            SigningKey::try_generate().map_err(|why| format!("the system gives no randomness ({why})"))?;
        let public = PublicKey::new(*key.verifying_key())?;
        Ok(Self { key, public })
    }

    /// Writes `-----BEGIN PRIVATE KEY-----`.
    pub(crate) fn to_pem(&self) -> Result<Zeroizing<String>, String> {
        self.key
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|why| why.to_string())
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// A signature in DER. The same message gives the same signature (RFC 6979).
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature: DerSignature = self.key.sign(message);
        signature.as_bytes().to_vec()
    }
}

fn read_text(file: File, path: &Path) -> Result<String> {
    let mut text = String::new();
    file.take(KEY_FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(Error::io("read", path))?;
    if text.len() as u64 > KEY_FILE_BYTES_MAX {
        return Err(Error::SizeExceeded {
            what: path.display().to_string(),
            bytes_max: KEY_FILE_BYTES_MAX,
        });
    }
    Ok(text)
}

/// One whole PEM block and nothing else: a file that was cut off, or that two were written into, is refused.
fn check_pem(text: &str, label: &str) -> Result<(), String> {
    let text = text.trim();
    let whole = text.starts_with(&format!("-----BEGIN {label}-----"))
        && text.ends_with(&format!("-----END {label}-----"));
    if whole && text.matches("-----BEGIN").count() == 1 && text.matches("-----END").count() == 1 {
        return Ok(());
    }
    Err(format!("not one whole PEM block -----BEGIN {label}-----"))
}

#[cfg(test)]
mod tests;
