//! A key-value store whose use is measured: how often, how long, with which result.

use std::sync::Arc;

use fermion_runtime::{Answering, KeyValue, Page, Start, StoreError, Value, Write, Written};
use fermion_telemetry::{StoreMetrics, StoreOperation, StoreResult};
use tokio::time::Instant;

/// The store, and where its use is counted.
#[derive(Debug)]
pub(crate) struct CountedStore {
    store: Arc<dyn KeyValue>,
    metrics: Arc<StoreMetrics>,
}

impl CountedStore {
    pub(crate) fn over(store: Arc<dyn KeyValue>, metrics: Arc<StoreMetrics>) -> Arc<dyn KeyValue> {
        Arc::new(Self { store, metrics })
    }

    /// An operation whose guest stops waiting for it is not counted.
    async fn count<T>(
        &self,
        operation: StoreOperation,
        answering: Answering<'_, T>,
    ) -> Result<T, StoreError> {
        let begun = Instant::now();
        let answer = answering.await;
        let result = match &answer {
            Ok(_) => StoreResult::Done,
            Err(StoreError::Refused(_)) => StoreResult::Refused,
            Err(StoreError::Failed | StoreError::Busy) => StoreResult::Failed,
        };
        self.metrics.observe(operation, result, begun.elapsed());
        answer
    }
}

impl KeyValue for CountedStore {
    fn get(&self, keys: Vec<String>) -> Answering<'_, Vec<Option<Value>>> {
        Box::pin(self.count(StoreOperation::Get, self.store.get(keys)))
    }

    fn list(&self, start: Start, keys_max: usize) -> Answering<'_, Page> {
        Box::pin(self.count(StoreOperation::List, self.store.list(start, keys_max)))
    }

    fn write(&self, write: Write) -> Answering<'_, Written> {
        Box::pin(self.count(StoreOperation::Write, self.store.write(write)))
    }
}
