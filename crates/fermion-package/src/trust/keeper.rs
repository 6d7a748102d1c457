//! Where the trust lies on disk, and what is in force in this process. `root.json` is what is published and may be put
//! there by anyone who manages files; `root.accepted.json` is the last one that followed from the one before it. A bad
//! `root.json` changes nothing. The first document of a folder is taken only on the word of an operator at the machine.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use tokio::sync::watch;

use super::Trust;
use super::chain::{SignedRoot, follow};
use crate::limits::TRUST_ROOT_BYTES_MAX;
use crate::{Error, Result, keys};

/// The document that is published.
pub const ROOT_FILE: &str = "root.json";
/// The last document that held.
pub const ACCEPTED_FILE: &str = "root.accepted.json";
const LOCK_FILE: &str = "root.lock";

/// What is in force, and what was found and not taken.
pub(super) struct Loaded {
    pub(super) trust: Trust,
    /// Why `root.json` is not what is in force.
    pub(super) refused: Option<Error>,
}

/// The trust in force in one process. Others watch it.
#[derive(Debug)]
pub struct TrustKeeper {
    folder: PathBuf,
    sender: watch::Sender<Trust>,
    /// Held by whoever decides what comes next; holds what was refused last, so that it is said once.
    deciding: Mutex<Option<String>>,
}

impl TrustKeeper {
    /// Takes what the folder holds.
    ///
    /// # Errors
    /// As [`Trust::load`].
    pub fn open(folder: &Path, now: SystemTime) -> Result<Self> {
        let loaded = load(folder, now)?;
        let keeper = Self {
            folder: folder.to_owned(),
            sender: watch::Sender::new(loaded.trust),
            deciding: Mutex::new(None),
        };
        keeper.say(loaded.refused.as_ref(), &mut keeper.deciding());
        Ok(keeper)
    }

    /// What is in force now.
    pub fn current(&self) -> Trust {
        self.sender.borrow().clone()
    }

    /// Sees every change from now on.
    pub fn subscribe(&self) -> watch::Receiver<Trust> {
        self.sender.subscribe()
    }

    /// Takes a document that came from elsewhere, and stores it before it is in force. True if it changed anything.
    ///
    /// # Errors
    /// As [`accept`]; a folder without a document takes its first one only from an operator at the machine.
    pub fn apply(&self, bytes: &[u8], now: SystemTime) -> Result<bool> {
        let _deciding = self.deciding();
        if self.current().root().is_none() {
            let why = "there is no trust root here yet, and the first one is accepted only at the machine itself: \
                       run `fermion trust apply FILE` there";
            return Err(Error::trust("the first trust root", why));
        }
        let trust = accept(&self.folder, bytes, now)?;
        Ok(self.swap(trust))
    }

    /// Looks at the folder again. True if something else is in force now. What is wrong is logged, once, and changes
    /// nothing.
    pub fn reload(&self, now: SystemTime) -> bool {
        let mut said = self.deciding();
        match load(&self.folder, now) {
            Ok(loaded) => {
                self.say(loaded.refused.as_ref(), &mut said);
                let held = self.current().epoch();
                if loaded.trust.epoch() < held {
                    let error = Error::Rollback {
                        what: format!("a folder of trust of serial {}", loaded.trust.epoch()),
                        held,
                    };
                    self.say(Some(&error), &mut said);
                    return false;
                }
                self.swap(loaded.trust)
            }
            Err(error) => {
                self.say(Some(&error), &mut said);
                false
            }
        }
    }

    fn swap(&self, trust: Trust) -> bool {
        let changed = self.sender.send_if_modified(|current| {
            let differs = *current != trust;
            if differs {
                *current = trust;
            }
            differs
        });
        if changed {
            tracing::warn!(epoch = self.current().epoch(), "trust changed");
        }
        changed
    }

    fn say(&self, error: Option<&Error>, said: &mut Option<String>) {
        let words = error.map(ToString::to_string);
        if let Some(error) = error.filter(|_| *said != words) {
            tracing::error!(code = error.code(), %error, folder = %self.folder.display(), "the trust root is refused, the last good one stays in force");
        }
        *said = words;
    }

    fn deciding(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.deciding
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Takes `bytes` as the folder's root document if it follows from the one in force, or as its first; gives what is in
/// force then. Durable before it returns.
///
/// # Errors
/// `ROLLBACK`, `STALE`, `SIG_UNTRUSTED`, `TRUST_INVALID`, and what the disk says.
pub fn accept(folder: &Path, bytes: &[u8], now: SystemTime) -> Result<Trust> {
    fs::create_dir_all(folder).map_err(Error::io("make the folder", folder))?;
    let _lock = keys::lock_folder(folder, LOCK_FILE)?;
    let current = accepted(folder)?.unwrap_or_default();
    let candidate = SignedRoot::read(bytes)?;
    let text = candidate.write();
    match follow(&current, candidate, now)? {
        Some(next) => {
            keys::write_file(folder, ACCEPTED_FILE, &text)?;
            keys::write_file(folder, ROOT_FILE, &text)?;
            Ok(next)
        }
        None => {
            keys::write_file(folder, ROOT_FILE, &text)?;
            Ok(current)
        }
    }
}

/// What a folder holds, as [`Trust::load`] says.
pub(super) fn load(folder: &Path, now: SystemTime) -> Result<Loaded> {
    let published = read(&folder.join(ROOT_FILE));
    let Some(current) = accepted(folder)? else {
        return match published {
            Ok(None) => Ok(Loaded {
                trust: Trust::implicit(keys::public_entries(folder)?),
                refused: None,
            }),
            Ok(Some(_)) => {
                let why = format!(
                    "it was never accepted on this machine; look at it with `fermion trust show {0}`, then run \
                     `fermion trust apply {0}`, or remove it",
                    folder.join(ROOT_FILE).display()
                );
                Err(Error::trust(ROOT_FILE, why))
            }
            Err(error) => Err(error),
        };
    };
    let published = published.and_then(|bytes| bytes.map(|bytes| SignedRoot::read(&bytes)).transpose());
    let refused = match published {
        Ok(None) => None,
        Ok(Some(candidate)) => {
            let text = candidate.write();
            match follow(&current, candidate, now) {
                Ok(None) => None,
                Ok(Some(_)) => {
                    return Ok(Loaded {
                        trust: accept(folder, &text, now)?,
                        refused: None,
                    });
                }
                Err(error) => Some(error),
            }
        }
        Err(error) => Some(error),
    };
    Ok(Loaded {
        trust: current,
        refused,
    })
}

/// The last document that held; none if there never was one.
fn accepted(folder: &Path) -> Result<Option<Trust>> {
    let Some(bytes) = read(&folder.join(ACCEPTED_FILE))? else {
        return Ok(None);
    };
    Ok(Some(Trust::explicit(SignedRoot::read(&bytes)?)?))
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    // Opening a pipe would wait for whoever writes into it.
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(Error::trust(path.display().to_string(), "it is not a file"));
    }
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open", path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(TRUST_ROOT_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::io("read", path))?;
    Ok(Some(bytes))
}
