//! The documents in one redb file: the only file that knows redb's tables. Synchronous; every call may touch the
//! disk, so the bus calls it off the reactor. Three tables: the documents (a deleted one stays as a mark until the
//! next start, so that watchers learn of it), the changes by revision (exactly one per document: its newest), and
//! the counters.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, Table, TableDefinition};

use crate::Error;
use crate::document::{Changes, Document, Entry, Event, Op};
use crate::limits::{CACHE_BYTES, CHANGES_BYTES_MAX, COMMIT_OPS_MAX, LIST_ENTRIES_MAX, WATCH_SCAN_MAX};

type Stored<'a> = (u64, Option<&'a [u8]>);

const DOCUMENTS: TableDefinition<'_, &str, Stored<'_>> = TableDefinition::new("documents");
const CHANGES: TableDefinition<'_, u64, &str> = TableDefinition::new("changes");
const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");

/// The format this build writes and understands.
const FORMAT: u64 = 1;
const FORMAT_COUNTER: &str = "format";
const REVISION_COUNTER: &str = "revision";

/// What a watch step found after a revision.
pub(crate) struct Step {
    /// The first matching change, if there is one within the scan.
    pub(crate) event: Option<Event>,
    /// Everything up to here has been looked at.
    pub(crate) through: u64,
}

pub(crate) struct Store {
    database: Database,
}

impl Store {
    /// Opens the file, or makes it with its tables. Returns the last revision given out.
    pub(crate) fn open(path: &Path) -> Result<(Self, u64), Error> {
        if !path.exists() {
            create(path)?;
        }
        let database = open_database(path, path)?;
        remove_unfinished(path);
        let store = Self { database };
        let revision = store.check_format_and_sweep(path)?;
        Ok((store, revision))
    }

    /// Refuses a later format; forgets marks of deleted documents, which no watcher can still wait for.
    fn check_format_and_sweep(&self, path: &Path) -> Result<u64, Error> {
        let doing = "read the database";
        let write = self.database.begin_write().map_err(Error::storage(doing))?;
        let revision = {
            let counters = write.open_table(COUNTERS).map_err(Error::storage(doing))?;
            let counter = |name| -> Result<u64, Error> {
                Ok(counters
                    .get(name)
                    .map_err(Error::storage(doing))?
                    .map_or(0, |value| value.value()))
            };
            let found = counter(FORMAT_COUNTER)?;
            if found != FORMAT {
                return Err(Error::Format {
                    path: path.to_owned(),
                    found,
                    known: FORMAT,
                });
            }
            let mut documents = write.open_table(DOCUMENTS).map_err(Error::storage(doing))?;
            let mut changes = write.open_table(CHANGES).map_err(Error::storage(doing))?;
            let mut deleted = Vec::new();
            for row in documents.iter().map_err(Error::storage(doing))? {
                let (key, stored) = row.map_err(Error::storage(doing))?;
                if let (revision, None) = stored.value() {
                    deleted.push((key.value().to_owned(), revision));
                }
            }
            for (key, revision) in deleted {
                documents.remove(key.as_str()).map_err(Error::storage(doing))?;
                changes.remove(revision).map_err(Error::storage(doing))?;
            }
            counter(REVISION_COUNTER)?
        };
        write.commit().map_err(Error::storage(doing))?;
        Ok(revision)
    }

    pub(crate) fn get(&self, key: &str) -> Result<Option<Document>, Error> {
        let doing = "read a document";
        let read = self.database.begin_read().map_err(Error::storage(doing))?;
        let documents = read.open_table(DOCUMENTS).map_err(Error::storage(doing))?;
        let stored = documents.get(key).map_err(Error::storage(doing))?;
        Ok(stored.and_then(|stored| match stored.value() {
            (revision, Some(bytes)) => Some(Document {
                revision,
                bytes: bytes.to_owned(),
            }),
            (_, None) => None,
        }))
    }

    pub(crate) fn list(&self, prefix: &str) -> Result<Vec<Entry>, Error> {
        let doing = "list documents";
        let read = self.database.begin_read().map_err(Error::storage(doing))?;
        let documents = read.open_table(DOCUMENTS).map_err(Error::storage(doing))?;
        let mut entries = Vec::new();
        for row in documents.range(prefix..).map_err(Error::storage(doing))? {
            let (key, stored) = row.map_err(Error::storage(doing))?;
            if !key.value().starts_with(prefix) {
                break;
            }
            let (revision, Some(bytes)) = stored.value() else {
                continue;
            };
            if entries.len() == LIST_ENTRIES_MAX {
                return Err(Error::TooManyEntries {
                    prefix: prefix.to_owned(),
                });
            }
            entries.push(Entry {
                key: key.value().to_owned(),
                revision,
                bytes: bytes.to_owned(),
            });
        }
        Ok(entries)
    }

    /// Applies all operations or none. Returns one revision per operation, in order; on disk when it returns.
    pub(crate) fn commit(&self, ops: &[Op]) -> Result<Vec<u64>, Error> {
        let doing = "commit a change";
        check_commit(ops)?;
        let write = self.database.begin_write().map_err(Error::storage(doing))?;
        let revisions = {
            let mut documents = write.open_table(DOCUMENTS).map_err(Error::storage(doing))?;
            let mut changes = write.open_table(CHANGES).map_err(Error::storage(doing))?;
            let mut counters = write.open_table(COUNTERS).map_err(Error::storage(doing))?;
            let mut revision = counters
                .get(REVISION_COUNTER)
                .map_err(Error::storage(doing))?
                .map_or(0, |value| value.value());
            let mut revisions = Vec::with_capacity(ops.len());
            for op in ops {
                revision += 1;
                apply(&mut documents, &mut changes, op, revision)?;
                revisions.push(revision);
            }
            counters
                .insert(REVISION_COUNTER, revision)
                .map_err(Error::storage(doing))?;
            revisions
        };
        write.commit().map_err(Error::storage(doing))?;
        Ok(revisions)
    }

    /// The changes after `after` under any of `prefixes`, as far as one step goes.
    pub(crate) fn changes(&self, after: u64, prefixes: &[String]) -> Result<Changes, Error> {
        let doing = "read changes";
        let read = self.database.begin_read().map_err(Error::storage(doing))?;
        let table = read.open_table(CHANGES).map_err(Error::storage(doing))?;
        let documents = read.open_table(DOCUMENTS).map_err(Error::storage(doing))?;
        let (mut changes, mut bytes) = (Changes::default(), 0);
        changes.through = after;
        for row in table.range(after + 1..).map_err(Error::storage(doing))? {
            if changes.events.len() >= LIST_ENTRIES_MAX || bytes >= CHANGES_BYTES_MAX {
                return Ok(changes);
            }
            let (revision, key) = row.map_err(Error::storage(doing))?;
            changes.through = revision.value();
            let key = key.value();
            if !prefixes.iter().any(|prefix| key.starts_with(prefix.as_str())) {
                continue;
            }
            let stored = documents.get(key).map_err(Error::storage(doing))?;
            let value = stored.as_ref().and_then(|stored| stored.value().1);
            bytes += value.map_or(0, <[u8]>::len);
            changes.events.push(event(key, revision.value(), value));
        }
        changes.is_all = true;
        Ok(changes)
    }

    /// The first change after `after` under `prefix`. Only the newest change of a document is kept, so a reader that
    /// fell behind sees each document once.
    pub(crate) fn next_change(&self, prefix: &str, after: u64) -> Result<Step, Error> {
        let doing = "watch documents";
        let read = self.database.begin_read().map_err(Error::storage(doing))?;
        let changes = read.open_table(CHANGES).map_err(Error::storage(doing))?;
        let documents = read.open_table(DOCUMENTS).map_err(Error::storage(doing))?;
        let counters = read.open_table(COUNTERS).map_err(Error::storage(doing))?;
        let latest = counters.get(REVISION_COUNTER).map_err(Error::storage(doing))?;
        let latest = latest.map_or(0, |value| value.value());
        let mut through = after;
        for (scanned, row) in changes
            .range(after + 1..)
            .map_err(Error::storage(doing))?
            .enumerate()
        {
            if scanned == WATCH_SCAN_MAX {
                return Ok(Step { event: None, through });
            }
            let (revision, key) = row.map_err(Error::storage(doing))?;
            through = revision.value();
            let key = key.value();
            if !key.starts_with(prefix) {
                continue;
            }
            let stored = documents.get(key).map_err(Error::storage(doing))?;
            let value = stored.as_ref().and_then(|stored| stored.value().1);
            return Ok(Step {
                event: Some(event(key, through, value)),
                through,
            });
        }
        Ok(Step {
            event: None,
            through: latest.max(after),
        })
    }
}

/// A document's newest state; without a value it is gone.
fn event(key: &str, revision: u64, value: Option<&[u8]>) -> Event {
    let key = key.to_owned();
    match value {
        Some(bytes) => Event::Put(Entry {
            key,
            revision,
            bytes: bytes.to_owned(),
        }),
        None => Event::Delete { key, revision },
    }
}

fn check_commit(ops: &[Op]) -> Result<(), Error> {
    if ops.is_empty() || ops.len() > COMMIT_OPS_MAX {
        return Err(Error::Commit);
    }
    for (index, op) in ops.iter().enumerate() {
        op.check()?;
        if ops[..index].iter().any(|earlier| earlier.key() == op.key()) {
            return Err(Error::Commit);
        }
    }
    Ok(())
}

fn apply(
    documents: &mut Table<'_, &'static str, Stored<'static>>,
    changes: &mut Table<'_, u64, &'static str>,
    op: &Op,
    revision: u64,
) -> Result<(), Error> {
    let doing = "commit a change";
    let before = documents
        .get(op.key())
        .map_err(Error::storage(doing))?
        .map(|stored| (stored.value().0, stored.value().1.is_some()));
    let actual = before.and_then(|(revision, exists)| exists.then_some(revision));
    if !op.expect().holds(actual) {
        return Err(Error::Conflict {
            key: op.key().to_owned(),
            actual,
        });
    }
    if let Some((revision, _)) = before {
        changes.remove(revision).map_err(Error::storage(doing))?;
    }
    let value = match op {
        Op::Put { bytes, .. } => Some(bytes.as_slice()),
        Op::Delete { .. } => None,
    };
    documents
        .insert(op.key(), (revision, value))
        .map_err(Error::storage(doing))?;
    changes
        .insert(revision, op.key())
        .map_err(Error::storage(doing))?;
    Ok(())
}

/// Makes the database beside its place and links it there whole: a process killed while it makes one leaves either
/// nothing or a complete file, and of two that make one at once the second finds the first's.
fn create(path: &Path) -> Result<(), Error> {
    let unfinished = unfinished_path(path, std::process::id());
    let doing = "create the database";
    let file = |doing| {
        move |source| Error::File {
            doing,
            path: path.to_owned(),
            source,
        }
    };
    {
        let database = open_database(&unfinished, path)?;
        let write = database.begin_write().map_err(Error::storage(doing))?;
        write.open_table(DOCUMENTS).map_err(Error::storage(doing))?;
        write.open_table(CHANGES).map_err(Error::storage(doing))?;
        write
            .open_table(COUNTERS)
            .map_err(Error::storage(doing))?
            .insert(FORMAT_COUNTER, FORMAT)
            .map_err(Error::storage(doing))?;
        write.commit().map_err(Error::storage(doing))?;
    }
    match std::fs::hard_link(&unfinished, path) {
        Ok(()) => {}
        // Another process was faster, or has already tidied our attempt away: its file counts.
        Err(error) if path.exists() => drop(error),
        Err(error) => return Err(file("create")(error)),
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(file("flush the folder of"))?;
    }
    Ok(())
}

fn open_database(path: &Path, named: &Path) -> Result<Database, Error> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(path != named)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|source| Error::File {
            doing: "open",
            path: named.to_owned(),
            source,
        })?;
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder.create_file(file).map_err(|error| refusal(named, error))
}

fn refusal(path: &Path, error: DatabaseError) -> Error {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen => Error::InUse { path },
        DatabaseError::Storage(StorageError::Io(source))
            if source.kind() != std::io::ErrorKind::InvalidData =>
        {
            Error::File {
                doing: "open",
                path,
                source,
            }
        }
        DatabaseError::Storage(StorageError::Io(source)) => Error::NotADatabase {
            path,
            reason: source.to_string(),
        },
        other => Error::NotADatabase {
            path,
            reason: other.to_string(),
        },
    }
}

fn unfinished_path(path: &Path, process: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".new-{process}"));
    PathBuf::from(name)
}

/// Removes what processes killed during `create` left behind. Called under the lock of the finished file; one that
/// is just being made by a slower process finds the finished file instead.
fn remove_unfinished(path: &Path) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return;
    };
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let prefix = format!("{name}.new-");
    let Ok(files) = std::fs::read_dir(folder) else {
        return;
    };
    for file in files.flatten() {
        if file
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(&prefix))
        {
            // A leftover that cannot be removed costs disk space and nothing else.
            drop(std::fs::remove_file(file.path()));
        }
    }
}
