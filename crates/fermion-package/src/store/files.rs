//! Files that are there whole or not at all: temporary name, sync, rename, sync of the folder. Owns the lock that
//! orders replacements, and the cleaning of what a crash left behind.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, utimensat};
use tempfile::NamedTempFile;

use super::Store;
use crate::limits::TEMPORARY_TRIES_MAX;
use crate::{Error, Result};

/// Makes a rename or a new name in `path`'s folder durable.
pub(super) fn sync_parent(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(Error::io("sync", folder))
}

/// Makes a file as young as one written now; false if it is not there.
pub(super) fn touch(path: &Path) -> Result<bool> {
    let now = |nanoseconds| Timespec {
        tv_sec: 0,
        tv_nsec: nanoseconds,
    };
    let times = Timestamps {
        last_access: now(UTIME_OMIT),
        last_modification: now(UTIME_NOW),
    };
    match utimensat(CWD, path, &times, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(error) => Err(Error::io("touch", path)(error.into())),
    }
}

/// Removes a file; false if it was not there.
pub(super) fn remove(path: &Path) -> Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("remove", path)(error)),
    }
}

/// The names in a folder that are text; none if there is no such folder.
pub(super) fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("list", folder)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("list", folder))?;
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

/// A small file as text, of which no more than `bytes_max` are read; none if it is not there.
pub(super) fn read_small(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open", path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(bytes_max)
        .read_to_end(&mut bytes)
        .map_err(Error::io("read", path))?;
    Ok(Some(bytes))
}

impl Store {
    /// One effect on the disk is about to happen. Tests make it fail.
    #[cfg(not(test))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "the same calls as in tests, where power can fail"
    )]
    pub(super) fn effect(&self, _path: &Path) -> Result<()> {
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn effect(&self, path: &Path) -> Result<()> {
        use std::sync::atomic::Ordering;
        let left = self
            .inner
            .effects_left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match left {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::io("write (power cut)", path)(
                std::io::ErrorKind::Other.into(),
            )),
        }
    }

    /// Makes a folder and those above it durable.
    pub(super) fn make_folder(&self, path: &Path) -> Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            self.make_folder(parent)?;
        }
        self.effect(path)?;
        match fs::create_dir(path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            Err(error) => Err(Error::io("make the folder", path)(error)),
            Ok(()) => sync_parent(path),
        }
    }

    /// Takes the lock file `name` for as long as the result lives; the system frees it when the process dies.
    /// They are taken in this order, never in another: `refs.lock`, `collect.lock`, `lock`.
    pub(super) fn lock(&self, name: &str) -> Result<File> {
        let path = self.root().join(name);
        let open = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        open.and_then(|file| file.lock().map(|()| file))
            .map_err(Error::io("lock", &path))
    }

    /// A file in `tmp/` that nobody cleans away while it is open: it is locked.
    pub(super) fn temporary(&self) -> Result<NamedTempFile> {
        let folder = self.root().join("tmp");
        for _ in 0..TEMPORARY_TRIES_MAX {
            self.effect(&folder)?;
            let file = NamedTempFile::new_in(&folder).map_err(Error::io("make a file in", &folder))?;
            file.as_file()
                .lock()
                .map_err(Error::io("lock a file in", &folder))?;
            // Between making and locking it, another process that opens the store may have cleaned it away.
            if file.path().exists() {
                return Ok(file);
            }
        }
        Err(Error::io("keep a file in", &folder)(
            std::io::ErrorKind::ResourceBusy.into(),
        ))
    }

    /// Makes `file`'s content durable under `path`, in place of whatever was there.
    pub(super) fn settle(&self, file: NamedTempFile, path: &Path) -> Result<()> {
        self.effect(path)?;
        file.as_file()
            .sync_all()
            .map_err(Error::io("sync", file.path()))?;
        {
            let _lock = self.lock("lock")?;
            self.effect(path)?;
            file.persist(path)
                .map_err(|failed| Error::io("rename into", path)(failed.error))?;
        }
        touch(path)?;
        self.effect(path)?;
        sync_parent(path)
    }

    /// Makes an empty file durable; true if it was not there before. One that is there becomes young again.
    pub(super) fn mark(&self, path: &Path) -> Result<bool> {
        self.make_folder(path.parent().unwrap_or(Path::new(".")))?;
        self.effect(path)?;
        let new = match File::create_new(path) {
            Ok(_) => true,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                touch(path)?;
                false
            }
            Err(error) => return Err(Error::io("make", path)(error)),
        };
        self.effect(path)?;
        sync_parent(path)?;
        Ok(new)
    }

    /// Writes a whole file durably.
    pub(super) fn write_file(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let file = self.temporary_with(bytes)?;
        self.settle(file, path)
    }

    fn temporary_with(&self, bytes: &[u8]) -> Result<NamedTempFile> {
        let mut file = self.temporary()?;
        self.effect(file.path())?;
        let path = file.path().to_owned();
        file.write_all(bytes).map_err(Error::io("write", &path))?;
        Ok(file)
    }

    /// Removes temporary files that no living process holds.
    pub(super) fn clean(&self) -> Result<()> {
        let folder = self.root().join("tmp");
        for entry in fs::read_dir(&folder).map_err(Error::io("list", &folder))? {
            let path = entry.map_err(Error::io("list", &folder))?.path();
            let Ok(file) = File::open(&path) else { continue };
            if file.try_lock().is_ok() {
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(Error::io("remove", &path)(error));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}
