//! The bus as its users see it: asynchronous, cheap to clone, one writer at a time. The disk is touched on blocking
//! threads only; a caller that gives up after its commit began leaves the commit to finish whole.

use std::path::Path;
use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{Semaphore, broadcast, watch};

use crate::document::{Changes, Document, Entry, Expect, Op, check_key, decode};
use crate::limits::{COMMIT_WAIT_MAX, COMMITS_WAITING_MAX};
use crate::message::{self, Message};
use crate::store::Store;
use crate::{Error, Watch};

/// A handle on the documents of one data directory. Clones share the file; the last one closes it.
#[derive(Clone)]
pub struct Bus {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) store: Store,
    /// The revision of the last commit: what wakes the watchers.
    pub(crate) latest: watch::Sender<u64>,
    pub(crate) messages: broadcast::Sender<Message>,
    /// One permit: the storage engine has one writer.
    writer: Arc<Semaphore>,
    /// Who may stand in the queue for it.
    waiting: Semaphore,
}

impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bus")
            .field("revision", &*self.shared.latest.borrow())
            .finish_non_exhaustive()
    }
}

impl Bus {
    /// Opens the file at `path`, or makes it (mode 0600; the folder must exist). Blocks: call it once, at the start.
    /// Errors: `InUse`, `NotADatabase`, `Format`, `File`.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let (store, revision) = Store::open(path)?;
        let shared = Shared {
            store,
            latest: watch::Sender::new(revision),
            messages: message::channel(),
            writer: Arc::new(Semaphore::new(1)),
            waiting: Semaphore::new(COMMITS_WAITING_MAX),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The document now, if it exists.
    pub async fn get(&self, key: &str) -> Result<Option<Document>, Error> {
        check_key(key)?;
        let key = key.to_owned();
        self.blocking("read a document", move |shared| shared.store.get(&key))
            .await
    }

    /// The document now as JSON, with its revision. A field the reader does not know is an error that names it,
    /// where the type says so.
    pub async fn get_json<T: DeserializeOwned>(&self, key: &str) -> Result<Option<(u64, T)>, Error> {
        let Some(document) = self.get(key).await? else {
            return Ok(None);
        };
        Ok(Some((document.revision, decode(key, &document.bytes)?)))
    }

    /// Writes one document; gives its revision. `Conflict` if the expectation does not hold.
    pub async fn put(&self, key: &str, bytes: Vec<u8>, expect: Expect) -> Result<u64, Error> {
        self.commit_one(Op::Put {
            key: key.to_owned(),
            bytes,
            expect,
        })
        .await
    }

    /// Writes one document as JSON; gives its revision.
    pub async fn put_json<T: Serialize>(&self, key: &str, value: &T, expect: Expect) -> Result<u64, Error> {
        self.commit_one(Op::put_json(key, value, expect)?).await
    }

    /// Removes one document; gives the revision of the deletion.
    pub async fn delete(&self, key: &str, expect: Expect) -> Result<u64, Error> {
        self.commit_one(Op::Delete {
            key: key.to_owned(),
            expect,
        })
        .await
    }

    /// Every document whose key begins with `prefix` (any text), in the order of keys. `TooManyEntries` beyond the
    /// limit.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Entry>, Error> {
        let prefix = prefix.to_owned();
        self.blocking("list documents", move |shared| shared.store.list(&prefix))
            .await
    }

    /// Applies all operations or none; on disk when it returns. Gives one revision per operation, in order.
    /// Errors: `Conflict` (the first operation whose expectation does not hold), `Busy`, `Commit`, `Key`,
    /// `ValueTooLarge`, `Storage`.
    pub async fn commit(&self, ops: Vec<Op>) -> Result<Vec<u64>, Error> {
        let waiting = self.shared.waiting.try_acquire().map_err(|_| Error::Busy)?;
        let writer = Arc::clone(&self.shared.writer).acquire_owned();
        let permit = match tokio::time::timeout(COMMIT_WAIT_MAX, writer).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => {
                return Err(Error::Stopped {
                    doing: "commit a change",
                });
            }
            Err(_) => return Err(Error::Busy),
        };
        drop(waiting);
        self.blocking("commit a change", move |shared| {
            let revisions = shared.store.commit(&ops)?;
            if let Some(&last) = revisions.last() {
                shared.latest.send_replace(last);
            }
            // Held until here, so that watchers are woken in the order of commits.
            drop(permit);
            Ok(revisions)
        })
        .await
    }

    /// The documents under `prefix` (any text), then `Event::Current`, then each change as it comes.
    pub fn watch(&self, prefix: &str) -> Watch {
        Watch::new(self.clone(), prefix)
    }

    /// What has changed after a revision under any of `prefixes` (any text), in one look: for whoever keeps a copy. From
    /// revision 0 on it is every document there is, however many.
    pub async fn changes(&self, after: u64, prefixes: &[&str]) -> Result<Changes, Error> {
        let prefixes: Vec<String> = prefixes.iter().map(|&prefix| prefix.to_owned()).collect();
        let look = move |shared: &Shared| shared.store.changes(after, &prefixes);
        self.blocking("read changes", look).await
    }

    /// The revision of the last commit.
    pub fn revision(&self) -> u64 {
        *self.shared.latest.borrow()
    }

    /// Waits until something has been committed after a revision: however much it was, once.
    pub async fn changed_since(&self, revision: u64) -> Result<(), Error> {
        let mut latest = self.shared.latest.subscribe();
        let changed = latest.wait_for(|now| *now > revision).await;
        changed.map(drop).map_err(|_| Error::Stopped {
            doing: "wait for a change",
        })
    }

    async fn commit_one(&self, op: Op) -> Result<u64, Error> {
        let revisions = self.commit(vec![op]).await?;
        Ok(revisions[0])
    }

    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Shared) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || work(&shared))
            .await
            .map_err(|_| Error::Stopped { doing })?
    }
}
