//! A store whose operations are noted for the request that asks for them: which and how long, never keys or values.

use std::sync::Arc;

use fermion_model::calls::{CallKind, HostCall};
use tokio::time::Instant;

use super::{Answering, KeyValue, Page, Start, StoreError, Value, Write, Written};
use crate::meter::Meter;

/// See the module. One operation's.
#[derive(Debug)]
pub(super) struct Noted {
    store: Arc<dyn KeyValue>,
    name: Arc<str>,
    meter: Arc<Meter>,
}

impl Noted {
    pub(super) fn over(store: Arc<dyn KeyValue>, name: Arc<str>, meter: Arc<Meter>) -> Arc<dyn KeyValue> {
        Arc::new(Self { store, name, meter })
    }

    async fn note<T>(&self, operation: &'static str, answering: Answering<'_, T>) -> Result<T, StoreError> {
        let begun = Instant::now();
        let answer = answering.await;
        self.meter.called(HostCall {
            kind: CallKind::KeyValue(operation),
            target: self.name.clone(),
            status: 0,
            outcome: match &answer {
                Ok(_) => "done",
                Err(StoreError::Refused(_)) => "refused",
                Err(StoreError::Failed) => "failed",
                Err(StoreError::Busy) => "busy",
            },
            retries: 0,
            begun: begun.into_std(),
            took: begun.elapsed(),
        });
        answer
    }
}

impl KeyValue for Noted {
    fn get(&self, keys: Vec<String>) -> Answering<'_, Vec<Option<Value>>> {
        Box::pin(self.note("get", self.store.get(keys)))
    }

    fn list(&self, start: Start, keys_max: usize) -> Answering<'_, Page> {
        Box::pin(self.note("list", self.store.list(start, keys_max)))
    }

    fn write(&self, write: Write) -> Answering<'_, Written> {
        let operation = match &write {
            Write::Set(_) => "set",
            Write::Delete(_) => "delete",
            Write::Increment { .. } => "increment",
            Write::Swap { .. } => "swap",
        };
        Box::pin(self.note(operation, self.store.write(write)))
    }
}
