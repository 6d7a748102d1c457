//! A folder of keys: `NAME.key` is private, `NAME.pub` its public half or somebody else's key. A key for packages has
//! the name alone, `dev`; one for something else has its role behind it, `dev.provenance`, or is the role, `root`. One
//! of the package keys signs, by default `dev`; the file `signing` names another.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{PrivateKey, PublicKey, read_text};
use crate::limits::{KEY_NAME_CHARS_MAX, TRUSTED_KEYS_MAX};
use crate::trust::{KeyEntry, Role};
use crate::{Error, Result};

/// The development key in a folder of keys.
pub const PRIVATE_KEY_FILE: &str = "dev.key";
/// Its public half.
pub const PUBLIC_KEY_FILE: &str = "dev.pub";
/// Names the key that signs packages.
const SIGNING_FILE: &str = "signing";

/// Refuses what could not be the name of a file here.
pub(crate) fn check_key_name(name: &str) -> Result<(), String> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = |b: Option<&u8>| b.is_some_and(|&b| inner(b));
    let bytes = name.as_bytes();
    let good = ends(bytes.first())
        && ends(bytes.last())
        && bytes.len() <= KEY_NAME_CHARS_MAX
        && bytes.iter().all(|&b| inner(b) || matches!(b, b'-' | b'.' | b'_'))
        && !name.contains("..");
    if good {
        return Ok(());
    }
    Err(format!(
        "{:?} is no name for a key: up to {KEY_NAME_CHARS_MAX} lower-case letters, digits, '-', '_' and single '.'",
        name.chars().take(80).collect::<String>()
    ))
}

/// What a key of this file name is for.
fn role_of(name: &str) -> Role {
    let last = name.rsplit('.').next().unwrap_or(name);
    last.parse().unwrap_or(Role::Package)
}

/// One key of a folder.
#[derive(Debug, Clone)]
pub struct KeyFile {
    /// Its file name without the ending.
    pub name: String,
    /// What it is for, by its name.
    pub role: Role,
    /// The public key.
    pub public: PublicKey,
    /// Whether the private half is here.
    pub is_private: bool,
    /// Whether it signs packages.
    pub is_signing: bool,
}

/// A folder of keys.
#[derive(Debug, Clone)]
pub struct KeyFolder(PathBuf);

impl KeyFolder {
    /// The folder need not be there yet.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The file name of a key for `role`; `name` is chosen by people, or absent.
    pub fn name_of(name: Option<&str>, role: Role) -> String {
        match (name, role) {
            (Some(name), Role::Package) => name.to_owned(),
            (Some(name), role) => format!("{name}.{role}"),
            (None, Role::Package) => "dev".to_owned(),
            (None, role) => role.to_string(),
        }
    }

    /// Loads the key of this name, or makes it; writes its public half beside it if it is not there.
    ///
    /// Of several processes that do this at once, one makes the key and all load that one.
    pub fn load_or_create(&self, name: &str) -> Result<PrivateKey> {
        let path = self.private_path(name)?;
        if !path.exists() {
            fs::create_dir_all(&self.0).map_err(Error::io("make the folder", &self.0))?;
            create(&path)?;
        }
        let key = PrivateKey::load(&path)?;
        let pem = key.public().to_pem();
        let public = self.0.join(format!("{name}.pub"));
        if fs::read_to_string(&public).ok().as_deref() != Some(pem.as_str()) {
            write_file(&self.0, &format!("{name}.pub"), pem.as_bytes())?;
        }
        Ok(key)
    }

    /// The private key of this name.
    pub fn load(&self, name: &str) -> Result<PrivateKey> {
        let path = self.private_path(name)?;
        if !path.exists() {
            let why = "there is no such private key here; `fermion key list` shows those that are".to_owned();
            return Err(Error::KeyInvalid { path, why });
        }
        PrivateKey::load(&path)
    }

    /// Keeps a key that was made elsewhere, and its public half.
    pub fn import(&self, name: &str, key: &PrivateKey) -> Result<()> {
        let path = self.private_path(name)?;
        fs::create_dir_all(&self.0).map_err(Error::io("make the folder", &self.0))?;
        let refuse = |why: String| Error::KeyInvalid {
            path: path.clone(),
            why,
        };
        let pem = key.to_pem().map_err(refuse)?;
        match temporary(&self.0, pem.as_bytes())?.persist_noclobber(&path) {
            Err(failed) if failed.error.kind() == ErrorKind::AlreadyExists => {
                return Err(refuse(
                    "there is a key of this name already; choose another with --name".to_owned(),
                ));
            }
            Err(failed) => return Err(Error::io("write", &path)(failed.error)),
            Ok(_) => sync(&self.0)?,
        }
        self.import_public(name, key.public())
    }

    /// Keeps somebody else's public key. Where there is no trust root, that is to trust it.
    pub fn import_public(&self, name: &str, key: &PublicKey) -> Result<()> {
        let path = self.private_path(name)?.with_file_name(format!("{name}.pub"));
        fs::create_dir_all(&self.0).map_err(Error::io("make the folder", &self.0))?;
        if let Ok(other) = read_public(&path)
            && other != *key
        {
            let why = "there is another key of this name already; choose another with --name".to_owned();
            return Err(Error::KeyInvalid { path, why });
        }
        write_file(&self.0, &format!("{name}.pub"), key.to_pem().as_bytes())
    }

    /// The name of the key that signs packages.
    pub fn signing(&self) -> Result<String> {
        let path = self.0.join(SIGNING_FILE);
        let name = match File::open(&path) {
            Ok(file) => read_text(file, &path)?.trim().to_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => "dev".to_owned(),
            Err(error) => return Err(Error::io("open", &path)(error)),
        };
        check_key_name(&name).map_err(|why| Error::KeyInvalid { path, why })?;
        Ok(name)
    }

    /// Makes the key of this name the one that signs packages.
    pub fn set_signing(&self, name: &str) -> Result<()> {
        self.load(name)?;
        write_file(&self.0, SIGNING_FILE, format!("{name}\n").as_bytes())
    }

    /// Every key, by name. A `*.pub` that is no key is an error, so that none is lost unnoticed.
    pub fn list(&self) -> Result<Vec<KeyFile>> {
        let signing = self.signing()?;
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("list", &self.0)(error)),
        };
        let mut keys = Vec::new();
        for entry in entries {
            let path = entry.map_err(Error::io("list", &self.0))?.path();
            if path.extension().is_none_or(|extension| extension != "pub") {
                continue;
            }
            if keys.len() >= TRUSTED_KEYS_MAX {
                let why = format!("more than {TRUSTED_KEYS_MAX} trusted keys in its folder; remove old ones");
                return Err(Error::KeyInvalid { path, why });
            }
            let name = path
                .file_stem()
                .map(|stem| stem.to_string_lossy().into_owned())
                .unwrap_or_default();
            keys.push(KeyFile {
                public: read_public(&path)?,
                role: role_of(&name),
                is_private: path.with_file_name(format!("{name}.key")).exists(),
                is_signing: name == signing,
                name,
            });
        }
        keys.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(keys)
    }

    fn private_path(&self, name: &str) -> Result<PathBuf> {
        let path = self.0.join(format!("{name}.key"));
        match check_key_name(name) {
            Ok(()) if name != "node" => Ok(path),
            Ok(()) => Err(Error::KeyInvalid {
                path,
                why: "the name belongs to the node's own seal; choose another".to_owned(),
            }),
            Err(why) => Err(Error::KeyInvalid {
                path: self.0.clone(),
                why,
            }),
        }
    }
}

/// The keys with which a package is made: one signs it, another says where it comes from.
#[derive(Debug)]
pub struct SigningKeys {
    /// Signs the package.
    pub package: PrivateKey,
    /// Vouches for its origin; never the same key.
    pub provenance: PrivateKey,
}

impl SigningKeys {
    /// The keys of a folder; made on first use.
    pub fn load_or_create(folder: &Path) -> Result<Self> {
        Ok(Self {
            package: PrivateKey::load_or_create(folder)?,
            provenance: KeyFolder::new(folder).load_or_create(&KeyFolder::name_of(None, Role::Provenance))?,
        })
    }
}

impl PrivateKey {
    /// The key of a folder that signs packages; made on first use.
    pub fn load_or_create(folder: &Path) -> Result<Self> {
        let folder = KeyFolder::new(folder);
        let name = folder.signing()?;
        if folder.0.join(SIGNING_FILE).exists() {
            return folder.load(&name);
        }
        folder.load_or_create(&name)
    }
}

/// The keys of a folder as a trust root would list them.
pub(crate) fn public_entries(folder: &Path) -> Result<Vec<KeyEntry>> {
    let keys = KeyFolder::new(folder).list()?;
    let entry = |key: KeyFile| KeyEntry::new(&key.name, &key.public, [key.role]);
    Ok(keys.into_iter().map(entry).collect())
}

fn read_public(path: &Path) -> Result<PublicKey> {
    let text = read_text(File::open(path).map_err(Error::io("open", path))?, path)?;
    PublicKey::from_pem(&text, path)
}

fn create(path: &Path) -> Result<()> {
    let refuse = |why: String| Error::KeyInvalid {
        path: path.to_owned(),
        why,
    };
    let pem = PrivateKey::generate()
        .and_then(|key| key.to_pem())
        .map_err(refuse)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    match temporary(folder, pem.as_bytes())?.persist_noclobber(path) {
        Err(failed) if failed.error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(failed) => Err(Error::io("write", path)(failed.error)),
        Ok(_) => sync(folder),
    }
}

/// Puts a whole file of mode 0600 under its name, durably.
pub(crate) fn write_file(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = folder.join(name);
    temporary(folder, bytes)?
        .persist(&path)
        .map_err(|failed| Error::io("write", &path)(failed.error))?;
    sync(folder)
}

/// Keeps other threads and processes out of a folder's change until it is dropped; the file stays.
pub(crate) fn lock_folder(folder: &Path, name: &str) -> Result<File> {
    let path = folder.join(name);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    file.and_then(|file| file.lock().map(|()| file))
        .map_err(Error::io("lock", &path))
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
