//! Key-value stores in files of this node: `NAMESPACE/APP/NAME.redb` under one folder, or in memory. A file a store, so
//! that one app's writes and damages are no other's, and what an app leaves behind can be removed by hand. Files are
//! opened on first use, and those unused for longest are closed when there are many.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fermion_runtime::{KeyValue, KeyValueStores};
use redb::{Database, DatabaseError, StorageError};

use crate::error::Error;
use crate::limits::{CACHE_BYTES, STORES_OPEN_MAX};
use crate::rows;
use crate::store::{Store, Waiting};

/// The stores of one node. Clones share them.
#[derive(Debug, Clone)]
pub struct EmbeddedStores(Arc<Files>);

/// Whose store it is, and its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct StoreId {
    pub(crate) namespace: String,
    pub(crate) app: String,
    pub(crate) name: String,
}

/// One store: all releases of its app that run at the same time share it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: StoreId,
    /// Writes that are not done.
    pub(crate) waiting: Mutex<VecDeque<Waiting>>,
    /// Held by the one who commits.
    pub(crate) turn: Arc<tokio::sync::Mutex<()>>,
    database: Mutex<Option<Arc<Database>>>,
    /// When it was used last, counted in uses of any store.
    used: AtomicU64,
}

/// Every store that was asked for, and which of them are open.
#[derive(Debug)]
pub(crate) struct Files {
    folder: Option<PathBuf>,
    stores: Mutex<HashMap<StoreId, Arc<Shared>>>,
    uses: AtomicU64,
}

pub(crate) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EmbeddedStores {
    /// Stores in files under this folder, which is made when it is needed.
    pub fn in_folder(folder: PathBuf) -> Self {
        Self::of(Some(folder))
    }

    /// Stores that end with the process.
    pub fn in_memory() -> Self {
        Self::of(None)
    }

    fn of(folder: Option<PathBuf>) -> Self {
        Self(Arc::new(Files {
            folder,
            stores: Mutex::default(),
            uses: AtomicU64::new(0),
        }))
    }
}

impl KeyValueStores for EmbeddedStores {
    fn store(&self, namespace: &str, app: &str, name: &str) -> Arc<dyn KeyValue> {
        let id = StoreId {
            namespace: namespace.to_owned(),
            app: app.to_owned(),
            name: name.to_owned(),
        };
        let new = || {
            Arc::new(Shared {
                id: id.clone(),
                waiting: Mutex::default(),
                turn: Arc::default(),
                database: Mutex::default(),
                used: AtomicU64::new(0),
            })
        };
        let shared = held(&self.0.stores).entry(id.clone()).or_insert_with(new).clone();
        Arc::new(Store::new(self.0.clone(), shared))
    }
}

impl Files {
    /// The store, open. Only those who want the same one wait for it.
    pub(crate) fn open(&self, store: &Shared) -> Result<Arc<Database>, Error> {
        store.used.store(self.uses.fetch_add(1, Relaxed), Relaxed);
        let mut slot = held(&store.database);
        if let Some(database) = &*slot {
            return Ok(database.clone());
        }
        let database = Arc::new(match &self.folder {
            Some(folder) => open_file(folder, &store.id)?,
            None => open_memory()?,
        });
        *slot = Some(database.clone());
        drop(slot);
        if self.folder.is_some() {
            self.close_some();
        }
        Ok(database)
    }

    /// Closes files that nobody uses at the moment, those unused for longest first, until there are few enough.
    fn close_some(&self) {
        let stores: Vec<_> = held(&self.stores).values().cloned().collect();
        let is_open = |store: &&Arc<Shared>| store.database.try_lock().is_ok_and(|slot| slot.is_some());
        let mut open: Vec<_> = stores.iter().filter(is_open).collect();
        open.sort_by_key(|store| store.used.load(Relaxed));
        let surplus = open.len().saturating_sub(STORES_OPEN_MAX);
        for store in open.into_iter().take(surplus) {
            if let Ok(mut slot) = store.database.try_lock()
                && slot
                    .as_ref()
                    .is_some_and(|database| Arc::strong_count(database) == 1)
            {
                *slot = None;
            }
        }
    }
}

fn builder() -> redb::Builder {
    let mut builder = redb::Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn open_memory() -> Result<Database, Error> {
    let database = builder()
        .create_with_backend(redb::backends::InMemoryBackend::new())
        .map_err(opening(Path::new("in memory")))?;
    rows::prepare(&database)?;
    Ok(database)
}

fn open_file(folder: &Path, id: &StoreId) -> Result<Database, Error> {
    let folder = folder.join(&id.namespace).join(&id.app);
    let failed = |source| Error::Folder {
        path: folder.clone(),
        source,
    };
    let path = folder.join(format!("{}.redb", id.name));
    if !path.exists() {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(failed)?;
        // Made under another name first, so that a kill never leaves half a file where a store is looked for.
        let unfinished = folder.join(format!("{}.unfinished", id.name));
        rows::prepare(&open_at(&unfinished)?)?;
        fs::rename(&unfinished, &path).map_err(failed)?;
        File::open(&folder)
            .and_then(|folder| folder.sync_all())
            .map_err(failed)?;
    }
    open_at(&path)
}

fn open_at(path: &Path) -> Result<Database, Error> {
    let is_new = path
        .extension()
        .is_some_and(|extension| extension == "unfinished");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(is_new)
        .truncate(is_new)
        .mode(0o600)
        .open(path);
    file.map_err(|error| DatabaseError::Storage(StorageError::Io(error)))
        .and_then(|file| builder().create_file(file))
        .map_err(opening(path))
}

fn opening(path: &Path) -> impl Fn(DatabaseError) -> Error + use<> {
    let path = path.display().to_string();
    move |source| Error::Open {
        path: path.clone(),
        source: Box::new(source),
    }
}
