//! One store in one redb file: the only file that knows its tables. Synchronous; every call may touch the disk, so it is
//! called off the reactor. The entries with their versions, and two counters: the last version given out, and the bytes
//! that are held.

use fermion_runtime::limits::KEYVALUE_ANSWER_BYTES_MAX;
use fermion_runtime::{Page, Start, StoreError, Value, Write, Written};
use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition};

use crate::error::Error;
use crate::limits::{ENTRY_BYTES, STORE_BYTES_MAX};

const ENTRIES: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("entries");
const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");
const VERSION: &str = "version";
const BYTES: &str = "bytes";

/// What one write came to: an answer, or a refusal that leaves nothing behind.
pub(crate) type Outcome = Result<Written, StoreError>;

/// Makes the tables, so that readers find them.
pub(crate) fn prepare(database: &Database) -> Result<(), Error> {
    let doing = "prepare a store";
    let transaction = database.begin_write().map_err(Error::storage(doing))?;
    transaction.open_table(ENTRIES).map_err(Error::storage(doing))?;
    transaction.open_table(COUNTERS).map_err(Error::storage(doing))?;
    transaction.commit().map_err(Error::storage(doing))
}

pub(crate) fn get(
    database: &Database,
    keys: &[String],
) -> Result<Result<Vec<Option<Value>>, StoreError>, Error> {
    let doing = "read a store";
    let transaction = database.begin_read().map_err(Error::storage(doing))?;
    let entries = transaction.open_table(ENTRIES).map_err(Error::storage(doing))?;
    let mut values = Vec::with_capacity(keys.len());
    let mut bytes = 0;
    for key in keys {
        let found = entries.get(key.as_str()).map_err(Error::storage(doing))?;
        let value = found.map(|found| value(found.value()));
        bytes += value.as_ref().map_or(0, |value| value.bytes.len());
        if bytes > KEYVALUE_ANSWER_BYTES_MAX {
            let why =
                format!("the values have more than {KEYVALUE_ANSWER_BYTES_MAX} bytes: ask for fewer at once");
            return Ok(Err(StoreError::Refused(why)));
        }
        values.push(value);
    }
    Ok(Ok(values))
}

fn value((version, bytes): (u64, &[u8])) -> Value {
    Value {
        bytes: bytes.to_owned(),
        version,
    }
}

pub(crate) fn list(database: &Database, start: &Start, keys_max: usize) -> Result<Page, Error> {
    let doing = "list a store";
    let transaction = database.begin_read().map_err(Error::storage(doing))?;
    let entries = transaction.open_table(ENTRIES).map_err(Error::storage(doing))?;
    let (after, skipped) = match start {
        Start::After(key) => (key.as_str(), 0),
        Start::Skip(count) => ("", usize::try_from(*count).unwrap_or(usize::MAX)),
    };
    let mut keys = Vec::new();
    let rows = entries.range(after..).map_err(Error::storage(doing))?;
    for row in rows.skip(skipped) {
        let (key, _) = row.map_err(Error::storage(doing))?;
        if matches!(start, Start::After(last) if last == key.value()) {
            continue;
        }
        if keys.len() == keys_max {
            return Ok(Page { keys, more: true });
        }
        keys.push(key.value().to_owned());
    }
    Ok(Page { keys, more: false })
}

/// Carries out writes in their order, in one transaction. Each is whole or refused; if the transaction fails, none is.
pub(crate) fn write(database: &Database, writes: Vec<Write>) -> Result<Vec<Outcome>, Error> {
    let doing = "write to a store";
    let transaction = database.begin_write().map_err(Error::storage(doing))?;
    let outcomes;
    {
        let mut counters = transaction.open_table(COUNTERS).map_err(Error::storage(doing))?;
        let counter = |name| -> Result<u64, Error> {
            let found = counters.get(name).map_err(Error::storage(doing))?;
            Ok(found.map_or(0, |count| count.value()))
        };
        let mut rows = Rows {
            version: counter(VERSION)?,
            bytes: counter(BYTES)?,
            entries: transaction.open_table(ENTRIES).map_err(Error::storage(doing))?,
        };
        outcomes = writes
            .into_iter()
            .map(|write| rows.apply(write))
            .collect::<Result<Vec<_>, _>>()
            .map_err(Error::storage(doing))?;
        let (version, bytes) = (rows.version, rows.bytes);
        for (name, count) in [(VERSION, version), (BYTES, bytes)] {
            counters.insert(name, count).map_err(Error::storage(doing))?;
        }
    }
    transaction.commit().map_err(Error::storage(doing))?;
    Ok(outcomes)
}

/// The entries of a store while they change.
struct Rows<'t> {
    entries: Table<'t, &'static str, (u64, &'static [u8])>,
    version: u64,
    bytes: u64,
}

type Stored<T> = Result<T, redb::StorageError>;

fn cost(key: &str, value_bytes: usize) -> u64 {
    key.len() as u64 + value_bytes as u64 + ENTRY_BYTES
}

fn full() -> StoreError {
    StoreError::Refused(format!(
        "the store is full: it holds {STORE_BYTES_MAX} bytes at most"
    ))
}

impl Rows<'_> {
    fn apply(&mut self, write: Write) -> Stored<Outcome> {
        match write {
            Write::Set(pairs) => self.set(&pairs),
            Write::Delete(keys) => {
                for key in keys {
                    let old = self.entries.remove(key.as_str())?;
                    let freed = old.map_or(0, |old| cost(&key, old.value().1.len()));
                    self.bytes = self.bytes.saturating_sub(freed);
                }
                Ok(Ok(Written::Done))
            }
            Write::Increment { key, delta, least } => self.increment(key, delta, least),
            Write::Swap { key, version, value } => {
                let current = self.read(&key)?;
                if current.as_ref().map(|current| current.version) != version {
                    return Ok(Ok(Written::Stale(current)));
                }
                self.set(&[(key, value)])
            }
        }
    }

    fn read(&self, key: &str) -> Stored<Option<Value>> {
        Ok(self.entries.get(key)?.map(|found| value(found.value())))
    }

    /// Sets all pairs, or none if the store would be too full. The room is counted before anything is written.
    fn set(&mut self, pairs: &[(String, Vec<u8>)]) -> Stored<Outcome> {
        let mut last = std::collections::BTreeMap::new();
        for (key, value) in pairs {
            last.insert(key.as_str(), value.as_slice());
        }
        let mut bytes = self.bytes;
        for (key, value) in &last {
            let old = self.entries.get(*key)?;
            let freed = old.map_or(0, |old| cost(key, old.value().1.len()));
            bytes = (bytes + cost(key, value.len())).saturating_sub(freed);
        }
        if bytes > STORE_BYTES_MAX && bytes > self.bytes {
            return Ok(Err(full()));
        }
        for (key, value) in last {
            self.version += 1;
            self.entries.insert(key, (self.version, value))?;
        }
        self.bytes = bytes;
        Ok(Ok(Written::Done))
    }

    fn increment(&mut self, key: String, delta: i64, least: i64) -> Stored<Outcome> {
        let refuse = |why: String| Ok(Err(StoreError::Refused(why)));
        let number = match self.read(&key)? {
            None => Some(0),
            Some(value) => std::str::from_utf8(&value.bytes)
                .ok()
                .and_then(|text| text.parse().ok()),
        };
        let Some(number) = number else {
            return refuse(format!(
                "the value of {key:?} is not a whole number in decimal text"
            ));
        };
        let number: i64 = number;
        let Some(sum) = number.checked_add(delta).filter(|sum| *sum >= least) else {
            return refuse(format!(
                "{number} and {delta} together are no number that a counter holds"
            ));
        };
        Ok(self
            .set(&[(key, sum.to_string().into_bytes())])?
            .map(|_| Written::Sum(sum)))
    }
}
