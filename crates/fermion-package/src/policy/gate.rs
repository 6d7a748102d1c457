//! The policies in force: read anew before each decision, and swapped only for a set that is sound. Until the folder is
//! mended, the last sound set decides; a process that has never seen one denies.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::set::{Policies, hash, read_folder};
use super::{Evidence, PolicyFacts};
use crate::Result;

/// The policies of one folder.
#[derive(Debug)]
pub struct Gate {
    folder: PathBuf,
    advisories: PathBuf,
    sound: Mutex<Option<Arc<Policies>>>,
}

impl Gate {
    /// A gate over a folder of `*.cedar` files and a folder with an advisory database; either may be missing, and come
    /// later.
    pub fn new(folder: PathBuf, advisories: PathBuf) -> Self {
        Self {
            folder,
            advisories,
            sound: Mutex::default(),
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The facts that policies are asked about. Blocks.
    ///
    /// # Errors
    /// As [`Evidence::weigh`].
    pub fn weigh(&self, evidence: Evidence, now: u64) -> Result<PolicyFacts> {
        evidence.weigh(&self.folder, &self.advisories, now)
    }

    /// The policies in force. The folder is read each time: it is small, decisions are rare, and neither clocks nor
    /// notifications can then hide a change. Blocks.
    ///
    /// # Errors
    /// `POLICY_INVALID` if the folder's policies are not sound and none that were are known; otherwise the last sound
    /// set holds, and what is wrong is logged.
    pub fn policies(&self) -> Result<Arc<Policies>> {
        let mut sound = self.sound.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = match self.read(sound.as_ref()) {
            Ok(policies) => return Ok(Arc::clone(sound.insert(policies))),
            Err(refused) => refused,
        };
        let Some(last) = sound.as_ref() else {
            return Err(refused);
        };
        tracing::error!(error = %refused, policy_hash = %last.hash(), "policies refused; the last sound set decides");
        Ok(Arc::clone(last))
    }

    fn read(&self, last: Option<&Arc<Policies>>) -> Result<Arc<Policies>> {
        let sources = read_folder(&self.folder)?;
        match last {
            Some(last) if last.hash() == hash(&sources) => Ok(Arc::clone(last)),
            _ => Ok(Arc::new(Policies::parse(&self.folder, &sources)?)),
        }
    }
}
