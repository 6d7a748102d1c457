//! How much repositories may hold, and how much they do. Counted by what repositories have links to: content that two of
//! them share counts for both. The count is taken once, when somebody first needs it, then kept along, and set right by
//! each collection; writers in other processes are seen then. A store without bounds never counts.

use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};

use fermion_model::PackageName;

use super::repository::{BLOBS, MANIFESTS, TAGS};
use super::{ContentDigest, Repository, Store, files};
use crate::{Error, Result};

/// Bounds on a store. Without any, it takes what the disk takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Bytes of all repositories together.
    pub bytes: Option<u64>,
    /// Bytes of one repository.
    pub repository_bytes: Option<u64>,
    /// Bytes of all repositories whose names begin with a prefix: `acme/` and everything under it.
    pub prefix_bytes: Vec<(String, u64)>,
    /// Repositories.
    pub repositories: Option<usize>,
    /// Tags of one repository.
    pub tags: Option<usize>,
    /// Unfinished uploads.
    pub uploads: Option<usize>,
}

impl Quotas {
    fn count(&self) -> bool {
        self.bytes.is_some()
            || self.repository_bytes.is_some()
            || !self.prefix_bytes.is_empty()
            || self.repositories.is_some()
            || self.tags.is_some()
    }
}

/// What one repository holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) bytes: u64,
    pub(super) tags: usize,
}

/// What is used of the quotas.
#[derive(Debug, Default)]
pub(super) struct Usage {
    bytes: u64,
    repositories: HashMap<String, Held>,
}

impl Usage {
    fn set(&mut self, name: &str, held: Held) {
        let before = if held == Held::default() {
            self.repositories.remove(name)
        } else {
            self.repositories.insert(name.to_owned(), held)
        };
        self.bytes = self
            .bytes
            .saturating_sub(before.unwrap_or_default().bytes)
            .saturating_add(held.bytes);
    }

    fn held(&self, name: &str) -> Held {
        self.repositories.get(name).copied().unwrap_or_default()
    }

    fn under(&self, prefix: &str) -> u64 {
        let under = self
            .repositories
            .iter()
            .filter(|(name, _)| name.starts_with(prefix));
        under.fold(0, |sum, (_, held)| sum.saturating_add(held.bytes))
    }

    /// Refuses what would pass a bound once `name` holds `held`, with `more` bytes still on their way.
    fn check(&self, quotas: &Quotas, name: &str, held: Held, more: u64) -> Result<()> {
        let refuse = |what: String, limit: String| Err(Error::QuotaExceeded { what, limit });
        let before = self.held(name);
        let grown = held.bytes.saturating_sub(before.bytes).saturating_add(more);
        let bytes = |what: String, used: u64, bound: u64| {
            if used.saturating_add(grown) > bound {
                refuse(what, format!("{bound} bytes"))
            } else {
                Ok(())
            }
        };
        if let Some(bound) = quotas.bytes {
            bytes("the store".to_owned(), self.bytes, bound)?;
        }
        if let Some(bound) = quotas.repository_bytes {
            bytes(format!("the repository {name}"), before.bytes, bound)?;
        }
        for (prefix, bound) in quotas
            .prefix_bytes
            .iter()
            .filter(|(prefix, _)| name.starts_with(prefix))
        {
            bytes(format!("what is under {prefix}"), self.under(prefix), *bound)?;
        }
        if let Some(bound) = quotas.repositories
            && !self.repositories.contains_key(name)
            && self.repositories.len() >= bound
        {
            return refuse("the store".to_owned(), format!("{bound} repositories"));
        }
        if let Some(bound) = quotas.tags
            && held.tags > bound
            && held.tags > before.tags
        {
            return refuse(format!("the repository {name}"), format!("{bound} tags"));
        }
        Ok(())
    }
}

impl Store {
    /// Counts what is there, if there are bounds; otherwise the first push does.
    pub fn measure(&self) -> Result<()> {
        self.usage().map(|_| ())
    }

    fn usage(&self) -> Result<Option<MutexGuard<'_, Option<Usage>>>> {
        if !self.inner.quotas.count() {
            return Ok(None);
        }
        let mut guard = self.inner.usage.lock().unwrap_or_else(PoisonError::into_inner);
        if guard.is_none() {
            let mut usage = Usage::default();
            for name in self.repositories()? {
                usage.set(name.as_str(), self.repository(&name).held()?);
            }
            *guard = Some(usage);
        }
        Ok(Some(guard))
    }

    fn change_held(&self, name: &PackageName, change: impl FnOnce(&mut Held), checked: bool) -> Result<()> {
        let Some(mut guard) = self.usage()? else {
            return Ok(());
        };
        let Some(usage) = guard.as_mut() else {
            return Ok(());
        };
        let mut held = usage.held(name.as_str());
        change(&mut held);
        if checked {
            usage.check(&self.inner.quotas, name.as_str(), held, 0)?;
        }
        usage.set(name.as_str(), held);
        Ok(())
    }

    /// Takes room for `bytes` more in a repository.
    pub(super) fn reserve_bytes(&self, name: &PackageName, bytes: u64) -> Result<()> {
        self.change_held(name, |held| held.bytes = held.bytes.saturating_add(bytes), true)
    }

    pub(super) fn release_bytes(&self, name: &PackageName, bytes: u64) {
        let released = self.change_held(name, |held| held.bytes = held.bytes.saturating_sub(bytes), false);
        drop(released);
    }

    pub(super) fn reserve_tag(&self, name: &PackageName) -> Result<()> {
        self.change_held(name, |held| held.tags += 1, true)
    }

    pub(super) fn release_tag(&self, name: &PackageName) {
        let released = self.change_held(name, |held| held.tags = held.tags.saturating_sub(1), false);
        drop(released);
    }

    /// Refuses an upload that could not be kept once it has `bytes`.
    pub(super) fn check_bytes(&self, name: &PackageName, bytes: u64) -> Result<()> {
        let Some(guard) = self.usage()? else {
            return Ok(());
        };
        let Some(usage) = guard.as_ref() else {
            return Ok(());
        };
        let held = usage.held(name.as_str());
        usage.check(&self.inner.quotas, name.as_str(), held, bytes)
    }

    /// Refuses to begin one more upload where there are too many, or where nothing more may be kept.
    pub(super) fn check_uploads(&self, name: &PackageName) -> Result<()> {
        if let Some(bound) = self.inner.quotas.uploads
            && files::names(&self.root().join("uploads"))?.len() >= bound
        {
            return Err(Error::QuotaExceeded {
                what: "the store".to_owned(),
                limit: format!("{bound} unfinished uploads"),
            });
        }
        self.check_bytes(name, 1)
    }

    /// Sets the count of one repository right.
    pub(super) fn recount(&self, name: &PackageName, held: Held) {
        let mut guard = self.inner.usage.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(usage) = guard.as_mut() {
            usage.set(name.as_str(), held);
        }
    }
}

impl Repository {
    /// Counts what is there.
    pub(super) fn held(&self) -> Result<Held> {
        let mut held = Held {
            bytes: 0,
            tags: files::names(&self.folder().join(TAGS))?.len(),
        };
        for part in [BLOBS, MANIFESTS] {
            for name in files::names(&self.folder().join(part))? {
                let digest = ContentDigest::from_file_name(&name);
                let bytes = digest.and_then(|digest| self.store().content_bytes(&digest).ok());
                held.bytes = held.bytes.saturating_add(bytes.unwrap_or(0));
            }
        }
        Ok(held)
    }
}
