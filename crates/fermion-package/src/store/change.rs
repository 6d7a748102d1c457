//! Who adds references and who collects garbage keep out of each other's way: many may add at once, and while a part of
//! the store is swept, nobody adds. Between threads a lock in memory does it, between processes one on a file.

use std::fs::File;
use std::sync::{PoisonError, RwLockReadGuard, RwLockWriteGuard};

use super::Store;
use crate::{Error, Result};

const LOCK_FILE: &str = "collect.lock";

/// References may be added while this lives. Never taken twice by one thread.
pub(super) struct Change<'a> {
    _file: File,
    _threads: RwLockReadGuard<'a, ()>,
}

/// Nobody adds references while this lives.
pub(super) struct Sweep<'a> {
    _file: File,
    _threads: RwLockWriteGuard<'a, ()>,
}

impl Store {
    pub(super) fn change(&self) -> Result<Change<'_>> {
        let threads = self.inner.changes.read().unwrap_or_else(PoisonError::into_inner);
        let file = self.lock_file()?;
        file.lock_shared()
            .map_err(Error::io("lock", &self.root().join(LOCK_FILE)))?;
        Ok(Change {
            _file: file,
            _threads: threads,
        })
    }

    pub(super) fn sweep(&self) -> Result<Sweep<'_>> {
        let threads = self.inner.changes.write().unwrap_or_else(PoisonError::into_inner);
        let file = self.lock_file()?;
        file.lock()
            .map_err(Error::io("lock", &self.root().join(LOCK_FILE)))?;
        Ok(Sweep {
            _file: file,
            _threads: threads,
        })
    }

    fn lock_file(&self) -> Result<File> {
        let path = self.root().join(LOCK_FILE);
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(Error::io("open", &path))
    }
}
