//! Sealed native code on disk: one file for each component and engine, a quota by least recent use, pins, and a
//! quarantine for what was refused. A file is an untrusted thing until its seal has been checked on the bytes that were
//! read. Several processes may share a directory: whatever one removes, another makes again.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use fermion_model::Digest;
use rustix::fs::{CWD, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

use super::{HEADER_BYTES, NativeCode, SealKey};
use crate::error::Error;
use crate::limits;

const SUFFIX: &str = ".native";
/// A file that is being written; whoever writes it holds its lock.
const TEMPORARY: &str = ".native-";
const QUARANTINE: &str = "quarantine";

/// What a cache holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheUsage {
    /// Bytes of native code.
    pub bytes: u64,
    /// Refused files that are kept aside.
    pub quarantined: u64,
}

#[derive(Debug)]
pub(crate) struct NativeCache {
    directory: PathBuf,
    key: SealKey,
    bytes_max: u64,
    pinned: Mutex<HashSet<Digest>>,
    bytes: AtomicU64,
    quarantined: AtomicU64,
}

/// One file as the directory lists it.
struct Kept {
    path: PathBuf,
    used: SystemTime,
    bytes: u64,
}

impl NativeCache {
    /// Opens a directory, makes it private, and cleans away what a crash left half-written.
    pub(crate) fn open(directory: &Path, key: SealKey, bytes_max: u64) -> Result<Self, Error> {
        let quarantine = directory.join(QUARANTINE);
        let open = || -> std::io::Result<()> {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&quarantine)?;
            for folder in [directory, &quarantine] {
                // One that belongs to somebody else is left as it is: its files are judged one by one.
                if fs::metadata(folder)?.uid() == rustix::process::geteuid().as_raw() {
                    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
                }
            }
            clean(directory)
        };
        open().map_err(|source| Error::file("make ready", directory, source))?;
        let cache = Self {
            directory: directory.to_owned(),
            key,
            bytes_max,
            pinned: Mutex::default(),
            bytes: AtomicU64::new(0),
            quarantined: AtomicU64::new(0),
        };
        // Nothing is evicted yet: what is pinned has not been said.
        cache.count();
        cache.bound_quarantine();
        Ok(cache)
    }

    pub(crate) fn usage(&self) -> CacheUsage {
        CacheUsage {
            bytes: self.bytes.load(Relaxed),
            quarantined: self.quarantined.load(Relaxed),
        }
    }

    pub(crate) fn pin(&self, components: HashSet<Digest>) {
        *self.pinned.lock().unwrap_or_else(PoisonError::into_inner) = components;
    }

    fn path(&self, digest: &Digest, code_key: u64) -> PathBuf {
        self.directory
            .join(format!("{}-{code_key:016x}{SUFFIX}", digest.hex()))
    }

    /// Code whose seal is right; none if there is no file.
    ///
    /// # Errors
    /// `SEAL_INVALID` after moving aside what lay there instead.
    pub(crate) fn get(&self, digest: &Digest, code_key: u64) -> Result<Option<NativeCode>, Error> {
        let path = self.path(digest, code_key);
        let file_error = |source| Error::file("read", &path, source);
        let why = match self.read(&path) {
            Ok(None) => return Ok(None),
            Ok(Some(Ok(bytes))) => match self.key.open(digest, code_key, bytes) {
                Some(code) => return Ok(Some(code)),
                None => "its seal is not this node's for this component and engine".to_owned(),
            },
            Ok(Some(Err(why))) => why,
            Err(source) => return Err(file_error(source)),
        };
        self.quarantine(&path).map_err(file_error)?;
        let digest = digest.to_string();
        Err(Error::SealInvalid { digest, why })
    }

    /// True if a file lies there, whatever is in it.
    pub(crate) fn has(&self, digest: &Digest, code_key: u64) -> bool {
        self.last_used(digest, code_key).is_some()
    }

    /// When a file was read or written last.
    pub(crate) fn last_used(&self, digest: &Digest, code_key: u64) -> Option<SystemTime> {
        let metadata = fs::symlink_metadata(self.path(digest, code_key)).ok()?;
        metadata.modified().ok().filter(|_| metadata.is_file())
    }

    /// The bytes of a file that looks as this process writes them, or what is odd about it; none if there is none.
    fn read(&self, path: &Path) -> std::io::Result<Option<Result<Vec<u8>, String>>> {
        // Neither led elsewhere by a link nor kept waiting by a pipe.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let mut file = match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
            Ok(descriptor) => File::from(descriptor),
            Err(errno) => {
                let error = std::io::Error::from(errno);
                let there = fs::symlink_metadata(path);
                return match there {
                    Err(gone) if gone.kind() == ErrorKind::NotFound => Ok(None),
                    Ok(metadata) if !metadata.is_file() => Ok(Some(Err("it is not a file".to_owned()))),
                    Ok(_) if error.kind() == ErrorKind::PermissionDenied => {
                        Ok(Some(Err("it cannot be read".to_owned())))
                    }
                    _ => Err(error),
                };
            }
        };
        let metadata = file.metadata()?;
        if let Some(why) = oddity(&metadata) {
            return Ok(Some(Err(why)));
        }
        let bytes_max = limits::NATIVE_BYTES_MAX + HEADER_BYTES as u64;
        if metadata.len() > bytes_max {
            return Ok(Some(Err(format!("it has {} bytes", metadata.len()))));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
        (&mut file).take(bytes_max).read_to_end(&mut bytes)?;
        // The modification time is the time of last use, also over restarts. The system's clock sets it.
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        };
        let untouched = Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        };
        let times = Timestamps {
            last_access: untouched,
            last_modification: now,
        };
        // A time that cannot be set makes the file older than it is, no more.
        rustix::fs::futimens(&file, &times).ok();
        Ok(Some(Ok(bytes)))
    }

    /// Keeps code so that a crash leaves either the whole file or none, then makes room.
    pub(crate) fn put(&self, digest: &Digest, code_key: u64, code: &[u8]) -> Result<(), Error> {
        let path = self.path(digest, code_key);
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::Builder::new()
                .prefix(TEMPORARY)
                .tempfile_in(&self.directory)?;
            file.as_file().lock()?;
            file.write_all(&self.key.header(digest, code_key, code))?;
            file.write_all(code)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            File::open(&self.directory)?.sync_all()
        };
        let before = fs::symlink_metadata(&path).map_or(0, |metadata| metadata.len());
        let written = write().map_err(|source| Error::file("write", &path, source));
        // The directory is walked only when there may be too much: with thousands of files that takes its time.
        let added = if written.is_ok() {
            (HEADER_BYTES + code.len()) as u64
        } else {
            0
        };
        let total = (self.bytes.load(Relaxed) + added).saturating_sub(before);
        self.bytes.store(total, Relaxed);
        if total > self.bytes_max {
            self.make_room(&path);
        }
        written
    }

    /// Removes the least recently used beyond the quota; never what is pinned, nor `newest`.
    fn make_room(&self, newest: &Path) {
        let pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut kept = self.kept();
        kept.sort_by(|a, b| (a.used, &a.path).cmp(&(b.used, &b.path)));
        let mut total: u64 = kept.iter().map(|file| file.bytes).sum();
        for file in &kept {
            if total <= self.bytes_max {
                break;
            }
            let is_pinned = component(&file.path).is_none_or(|digest| pinned.contains(&digest));
            if is_pinned || file.path == newest {
                continue;
            }
            match fs::remove_file(&file.path) {
                Ok(()) => tracing::debug!(path = %file.path.display(), "native code evicted"),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!(path = %file.path.display(), %error, "native code cannot be evicted");
                    continue;
                }
            }
            total -= file.bytes;
        }
        self.bytes.store(total, Relaxed);
    }

    fn count(&self) {
        let total = self.kept().iter().map(|file| file.bytes).sum();
        self.bytes.store(total, Relaxed);
    }

    /// Every file of native code. What cannot be listed is not there for the quota.
    fn kept(&self) -> Vec<Kept> {
        list(&self.directory)
            .into_iter()
            .filter(|file| component(&file.path).is_some())
            .collect()
    }

    /// Moves whatever lies at a path aside, link or folder as it is.
    fn quarantine(&self, path: &Path) -> std::io::Result<()> {
        let mut mark = [0; 8];
        getrandom::fill(&mut mark).map_err(std::io::Error::other)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let aside = self
            .directory
            .join(QUARANTINE)
            .join(format!("{name}.{}", hex::encode(mark)));
        match fs::rename(path, &aside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.bound_quarantine();
        self.count();
        Ok(())
    }

    /// Keeps the quarantine's newest, in number and bytes.
    fn bound_quarantine(&self) {
        let mut aside = list(&self.directory.join(QUARANTINE));
        aside.sort_by(|a, b| (b.used, &b.path).cmp(&(a.used, &a.path)));
        let (mut files, mut bytes) = (0, 0);
        for file in aside {
            let fits = files < limits::NATIVE_QUARANTINE_FILES_MAX
                && bytes + file.bytes <= limits::NATIVE_QUARANTINE_BYTES_MAX;
            if fits {
                files += 1;
                bytes += file.bytes;
                continue;
            }
            let is_folder = fs::symlink_metadata(&file.path).is_ok_and(|metadata| metadata.is_dir());
            let removed = if is_folder {
                fs::remove_dir_all(&file.path)
            } else {
                fs::remove_file(&file.path)
            };
            if let Err(error) = removed {
                tracing::warn!(path = %file.path.display(), %error, "the quarantine cannot be cleared");
            }
        }
        self.quarantined.store(files as u64, Relaxed);
    }
}

/// What makes a file other than those this process writes. Its seal might be right all the same, but somebody has had
/// his hands on it, and it costs only a compilation to be sure.
fn oddity(metadata: &fs::Metadata) -> Option<String> {
    let mode = metadata.mode() & 0o7777;
    if !metadata.is_file() {
        Some("it is not a file".to_owned())
    } else if metadata.nlink() != 1 {
        Some("it has another name elsewhere".to_owned())
    } else if metadata.uid() != rustix::process::geteuid().as_raw() {
        Some("it belongs to another user".to_owned())
    } else if mode & !0o600 != 0 {
        Some(format!("others may use it (mode {mode:04o})"))
    } else {
        None
    }
}

fn list(directory: &Path) -> Vec<Kept> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let kept = |entry: fs::DirEntry| {
        // Of the entry itself: a link is not followed.
        let metadata = entry.metadata().ok()?;
        Some(Kept {
            path: entry.path(),
            used: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            bytes: metadata.len(),
        })
    };
    entries.filter_map(|entry| kept(entry.ok()?)).collect()
}

/// Whose native code a file is, by its name; none for any other file.
fn component(path: &Path) -> Option<Digest> {
    let name = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?;
    let (digest, code_key) = name.split_once('-')?;
    u64::from_str_radix(code_key, 16).ok()?;
    format!("sha256:{digest}").parse().ok()
}

/// Removes what no living process is writing.
fn clean(directory: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let is_temporary = entry.file_name().to_string_lossy().starts_with(TEMPORARY);
        if !is_temporary || !entry.file_type()?.is_file() {
            continue;
        }
        let Ok(file) = File::open(entry.path()) else {
            continue;
        };
        if file.try_lock().is_ok() {
            drop(fs::remove_file(entry.path()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
