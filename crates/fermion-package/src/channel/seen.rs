//! The highest serial of every channel that was ever believed here, and of every package that was let in. Durable before it is acted on: what has been seen
//! stays seen after a crash. A file that cannot be read refuses everything, because an empty one would believe anything.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use fermion_model::{Digest, PackageName};
use serde::{Deserialize, Serialize};

use super::ChannelDocument;
use crate::limits::SEEN_BYTES_MAX;
use crate::{Error, Result, canonical, keys};

const FILE: &str = "channels.seen.json";
const LOCK_FILE: &str = "channels.lock";

/// A folder's memory of channels. Clones, threads and processes share it through the disk.
#[derive(Debug, Clone)]
pub struct Seen(PathBuf);

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Memory {
    channels: BTreeMap<String, Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    serial: u64,
    /// Of the document's own bytes, or of the package, so that two of one serial are told apart.
    document: Digest,
}

impl Seen {
    /// The memory in this folder.
    pub fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// The highest serial of a channel; 0 if none was seen.
    pub fn serial(&self, name: &PackageName, channel: &str) -> Result<u64> {
        let memory = self.read()?;
        Ok(memory
            .channels
            .get(&format!("{name}:{channel}"))
            .map_or(0, |entry| entry.serial))
    }

    /// Remembers a document.
    ///
    /// # Errors
    /// `ROLLBACK` if a higher serial was seen, or other content under this one.
    pub(super) fn observe(&self, document: &ChannelDocument, what: &str) -> Result<()> {
        let key = format!("{}:{}", document.name, document.channel);
        let identity = canonical::digest(&canonical::json(document));
        self.remember(key, document.serial, identity, what)
    }

    /// Remembers a package that is to be let in. Once a name has counted, all of its packages must.
    ///
    /// # Errors
    /// `ROLLBACK` if a package of a higher serial was let in, or another one of the same.
    pub fn observe_package(&self, name: &PackageName, serial: Option<u32>, digest: &Digest) -> Result<()> {
        let key = name.to_string();
        if serial.is_none() && !self.read()?.channels.contains_key(&key) {
            return Ok(());
        }
        let serial = serial.unwrap_or(0);
        let what = format!("the package {name} ({}) of serial {serial}", digest.short());
        self.remember(key, u64::from(serial), *digest, &what)
    }

    fn remember(&self, key: String, serial: u64, document: Digest, what: &str) -> Result<()> {
        fs::create_dir_all(&self.0).map_err(Error::io("make the folder", &self.0))?;
        let _lock = keys::lock_folder(&self.0, LOCK_FILE)?;
        let mut memory = self.read()?;
        if let Some(held) = memory.channels.get(&key) {
            if held.serial == serial && held.document == document {
                return Ok(());
            }
            if serial <= held.serial {
                return Err(Error::Rollback {
                    what: what.to_owned(),
                    held: held.serial,
                });
            }
        }
        let entry = Entry { serial, document };
        memory.channels.insert(key, entry);
        keys::write_file(&self.0, FILE, &canonical::json(&memory))
    }

    fn read(&self) -> Result<Memory> {
        let path = self.0.join(FILE);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Memory::default()),
            Err(error) => return Err(Error::io("open", &path)(error)),
        };
        let mut bytes = Vec::new();
        file.take(SEEN_BYTES_MAX)
            .read_to_end(&mut bytes)
            .map_err(Error::io("read", &path))?;
        serde_json::from_slice(&bytes).map_err(|why| {
            let why = format!(
                "{why}; restore it from a backup: without it, old channel documents would be believed"
            );
            Error::trust(path.display().to_string(), why)
        })
    }
}
