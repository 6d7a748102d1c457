//! P-256 keys on disk. The development key is made on first use, in PKCS#8 PEM, readable by its owner alone; a key that
//! others could read is refused. Trusted keys are a folder of public keys. Private bytes are never printed and are
//! wiped from memory by the types that hold them.

use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fermion_model::Digest;
use p256::ecdsa::signature::{Signer, Verifier};
use p256::ecdsa::{DerSignature, SigningKey, VerifyingKey};
use p256::elliptic_curve::Generate;
use p256::elliptic_curve::zeroize::Zeroizing;
use p256::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, LineEnding};

use crate::canonical::digest;
use crate::limits::{KEY_FILE_BYTES_MAX, TRUSTED_KEYS_MAX};
use crate::{Error, Result};

/// The development key in a folder of keys.
pub const PRIVATE_KEY_FILE: &str = "dev.key";
/// Its public half.
pub const PUBLIC_KEY_FILE: &str = "dev.pub";

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
    /// Loads `FOLDER/dev.key`, or makes it on first use; writes `FOLDER/dev.pub` beside it if it is not there.
    ///
    /// Of several processes that do this at once, one makes the key and all load that one.
    pub fn load_or_create(folder: &Path) -> Result<Self> {
        let path = folder.join(PRIVATE_KEY_FILE);
        if !path.exists() {
            fs::create_dir_all(folder).map_err(Error::io("make the folder", folder))?;
            create(&path)?;
        }
        let key = Self::load(&path)?;
        let public = folder.join(PUBLIC_KEY_FILE);
        let pem = key.public.to_pem();
        if fs::read_to_string(&public).ok().as_deref() != Some(pem.as_str()) {
            let file = temporary(folder, pem.as_bytes())?;
            file.persist(&public)
                .map_err(|failed| Error::io("write", &public)(failed.error))?;
            sync(folder)?;
        }
        Ok(key)
    }

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

fn create(path: &Path) -> Result<()> {
    let refuse = |why: String| Error::KeyInvalid {
        path: path.to_owned(),
        why,
    };
    let key = SigningKey::try_generate()
        .map_err(|why| refuse(format!("the system gives no randomness ({why})")))?;
    let pem = key
        .to_pkcs8_pem(LineEnding::LF)
        .map_err(|why| refuse(why.to_string()))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let file = temporary(folder, pem.as_bytes())?;
    match file.persist_noclobber(path) {
        Err(failed) if failed.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(failed) => Err(Error::io("write", path)(failed.error)),
        Ok(_) => sync(folder),
    }
}

/// A synced file of mode 0600 that is not yet under its name.
fn temporary(folder: &Path, bytes: &[u8]) -> Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new()
        .prefix(".key-")
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(folder)
        .map_err(Error::io("make a file in", folder))?;
    file.write_all(bytes)
        .and_then(|()| file.as_file().sync_all())
        .map_err(Error::io("write in", folder))?;
    Ok(file)
}

fn sync(folder: &Path) -> Result<()> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(Error::io("sync", folder))
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

/// The keys whose signatures count.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    keys: Vec<PublicKey>,
}

impl Trust {
    /// Trusts these keys and no others.
    pub fn of(keys: impl IntoIterator<Item = PublicKey>) -> Self {
        Self {
            keys: keys.into_iter().collect(),
        }
    }

    /// Trusts every `*.pub` in a folder; a file among them that is no key is an error, so that none is lost unnoticed.
    /// A folder that is not there trusts nobody.
    pub fn load_dir(folder: &Path) -> Result<Self> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Error::io("list", folder)(error)),
        };
        let mut keys = Vec::new();
        for entry in entries {
            let path = entry.map_err(Error::io("list", folder))?.path();
            if path.extension().is_none_or(|extension| extension != "pub") {
                continue;
            }
            if keys.len() >= TRUSTED_KEYS_MAX {
                let why = format!("more than {TRUSTED_KEYS_MAX} trusted keys in its folder; remove old ones");
                return Err(Error::KeyInvalid { path, why });
            }
            let text = read_text(File::open(&path).map_err(Error::io("open", &path))?, &path)?;
            keys.push(PublicKey::from_pem(&text, &path)?);
        }
        keys.sort_by_key(PublicKey::id);
        Ok(Self { keys })
    }

    /// The keys.
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// Which trusted key made `signature` over `message`; none if no one did.
    pub(crate) fn signer(&self, message: &[u8], signature: &[u8]) -> Option<Digest> {
        self.keys
            .iter()
            .find(|key| key.verifies(message, signature))
            .map(PublicKey::id)
    }
}

#[cfg(test)]
mod tests;
