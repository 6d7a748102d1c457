//! The files of a data directory: where they lie and with which rights. Formats belong to the crates that own them.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fermion_runtime::SealKey;

/// Where things lie in a data directory.
#[derive(Debug, Clone)]
pub(crate) struct DataDirectory(PathBuf);

impl DataDirectory {
    /// Makes the directory, private to its owner, if it is not there.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let built = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        built.with_context(|| format!("cannot make the data directory {}", path.display()))?;
        let path = path
            .canonicalize()
            .with_context(|| format!("cannot find {}", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    pub(crate) fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    pub(crate) fn bus(&self) -> PathBuf {
        self.0.join("bus.redb")
    }

    pub(crate) fn native(&self) -> PathBuf {
        self.0.join("native")
    }

    pub(crate) fn keyvalue(&self) -> PathBuf {
        self.0.join("keyvalue")
    }

    /// What waits for a receiver of telemetry.
    pub(crate) fn telemetry(&self) -> PathBuf {
        self.0.join("telemetry")
    }

    pub(crate) fn policy(&self) -> PathBuf {
        self.0.join("policy")
    }

    /// Copies of Git repositories, and keys for them.
    pub(crate) fn git(&self) -> PathBuf {
        self.0.join("git")
    }

    pub(crate) fn advisories(&self) -> PathBuf {
        self.0.join("advisories")
    }

    pub(crate) fn registry_tokens(&self) -> PathBuf {
        self.0.join("registry.tokens")
    }

    pub(crate) fn token(&self) -> PathBuf {
        self.0.join("admin.token")
    }

    /// The key that seals native code; made on first use.
    pub(crate) fn seal_key(&self) -> Result<SealKey> {
        let directory = self.keys();
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        seal_key(&directory.join("node.key"))
    }
}

/// Reads or makes a file of 32 random bytes that only its owner may read.
pub(crate) fn seal_key(path: &Path) -> Result<SealKey> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
            bail!(
                "{} can be read by others: `chmod 600` it, or remove it to have a new one made",
                path.display()
            )
        }
        Ok(_) => {
            let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            let key = bytes.try_into().ok().with_context(|| {
                format!(
                    "{} does not hold 32 bytes: remove it to have a new one made",
                    path.display()
                )
            })?;
            Ok(SealKey::from_bytes(key))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => make_key(path),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn make_key(path: &Path) -> Result<SealKey> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    let temporary = path.with_extension(format!("new-{}", std::process::id()));
    let write = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(&key)?;
        file.sync_all()?;
        // A link, not a rename: of two processes that start at once, the second finds the first one's key.
        let linked = fs::hard_link(&temporary, path);
        fs::remove_file(&temporary)?;
        linked
    };
    match write() {
        Ok(()) => Ok(SealKey::from_bytes(key)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => seal_key(path),
        Err(error) => Err(error).with_context(|| format!("cannot write {}", path.display())),
    }
}
