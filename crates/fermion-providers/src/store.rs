//! One store as guests meet it: reads and writes off the reactor. Writes that wait at the same time are committed
//! together, so that one sync of the disk serves them all.

use std::sync::Arc;

use fermion_runtime::{Answering, KeyValue, Page, Start, StoreError, Value, Write, Written};
use tokio::sync::oneshot;

use crate::embedded::{Files, Shared, held};
use crate::error::Error;
use crate::limits::WRITES_WAITING_MAX;
use crate::rows::{self, Outcome};

/// One app's store of one name.
#[derive(Debug)]
pub(crate) struct Store {
    files: Arc<Files>,
    shared: Arc<Shared>,
}

/// A write that is not done, and who wants to know.
#[derive(Debug)]
pub(crate) struct Waiting {
    write: Write,
    answer: oneshot::Sender<Outcome>,
}

impl Store {
    pub(crate) fn new(files: Arc<Files>, shared: Arc<Shared>) -> Self {
        Self { files, shared }
    }

    /// Runs something on the open file, where it may block.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&redb::Database) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (files, shared) = (self.files.clone(), self.shared.clone());
        let done = tokio::task::spawn_blocking(move || {
            let worked = files.open(&shared).and_then(|database| work(&database));
            worked.inspect_err(|error| log(&shared, error))
        });
        match done.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(StoreError::Failed),
        }
    }

    async fn queue(&self, write: Write) -> Outcome {
        let (answer, mut answered) = oneshot::channel();
        {
            let mut waiting = held(&self.shared.waiting);
            if waiting.len() >= WRITES_WAITING_MAX {
                return Err(StoreError::Busy);
            }
            waiting.push_back(Waiting { write, answer });
        }
        let turn = self.shared.turn.clone().lock_owned().await;
        // Whoever had the turn before may have taken this write along.
        if let Ok(outcome) = answered.try_recv() {
            return outcome;
        }
        let (files, shared) = (self.files.clone(), self.shared.clone());
        // The turn goes along: a caller who is gone does not let another commit run into this one.
        let committing = tokio::task::spawn_blocking(move || {
            commit(&files, &shared);
            drop(turn);
        });
        if committing.await.is_err() {
            return Err(StoreError::Failed);
        }
        answered.await.unwrap_or(Err(StoreError::Failed))
    }
}

/// Carries out everything that waits. A write whose caller is gone is left out.
fn commit(files: &Files, shared: &Shared) {
    let waiting = std::mem::take(&mut *held(&shared.waiting));
    let (batch, answers): (Vec<_>, Vec<_>) = waiting
        .into_iter()
        .filter(|waiting| !waiting.answer.is_closed())
        .map(|waiting| (waiting.write, waiting.answer))
        .unzip();
    if batch.is_empty() {
        return;
    }
    let written = files
        .open(shared)
        .and_then(|database| rows::write(&database, batch));
    let outcomes = written
        .inspect_err(|error| log(shared, error))
        .unwrap_or_default();
    // Without outcomes the answers are dropped, which their callers take for a failure.
    for (answer, outcome) in answers.into_iter().zip(outcomes) {
        // A caller who has left since does not want it.
        drop(answer.send(outcome));
    }
}

fn log(shared: &Shared, error: &Error) {
    let id = &shared.id;
    tracing::error!(namespace = id.namespace, app = id.app, store = id.name, %error, "key-value store failed");
}

impl KeyValue for Store {
    fn get(&self, keys: Vec<String>) -> Answering<'_, Vec<Option<Value>>> {
        Box::pin(async move { self.run(move |database| rows::get(database, &keys)).await? })
    }

    fn list(&self, start: Start, keys_max: usize) -> Answering<'_, Page> {
        Box::pin(self.run(move |database| rows::list(database, &start, keys_max)))
    }

    fn write(&self, write: Write) -> Answering<'_, Written> {
        Box::pin(self.queue(write))
    }
}
