//! `wasi:keyvalue` as a provider sees it: one store, three kinds of calls, each atomic. What guests may ask for at once
//! is bounded here, for every provider alike; what a store may hold is the provider's to bound.

mod link;
mod noted;

pub(crate) use link::add_to_linker;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// What a call to a store will give.
pub type Answering<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// One store: keys and values of one app. Dropping an answer that is awaited leaves it open whether a write came about.
pub trait KeyValue: fmt::Debug + Send + Sync + 'static {
    /// The values of keys, in their order. Refuses an answer of more than `limits::KEYVALUE_ANSWER_BYTES_MAX`.
    fn get(&self, keys: Vec<String>) -> Answering<'_, Vec<Option<Value>>>;

    /// Keys in the order of their bytes, at most `keys_max`.
    fn list(&self, start: Start, keys_max: usize) -> Answering<'_, Page>;

    /// Changes the store, whole or not at all. What was answered survives the process, if the store outlives it.
    fn write(&self, write: Write) -> Answering<'_, Written>;
}

/// Finds the stores of apps.
pub trait KeyValueStores: fmt::Debug + Send + Sync + 'static {
    /// The store of this name that an app of a namespace has. Nothing is made before its first use.
    fn store(&self, namespace: &str, app: &str, name: &str) -> Arc<dyn KeyValue>;
}

/// A store that can be read and not written, for copies of requests.
#[derive(Debug)]
pub(crate) struct ReadOnly(pub(crate) Arc<dyn KeyValue>);

impl KeyValue for ReadOnly {
    fn get(&self, keys: Vec<String>) -> Answering<'_, Vec<Option<Value>>> {
        self.0.get(keys)
    }

    fn list(&self, start: Start, keys_max: usize) -> Answering<'_, Page> {
        self.0.list(start, keys_max)
    }

    fn write(&self, _write: Write) -> Answering<'_, Written> {
        let why = "this request is a copy, for which nothing is written";
        Box::pin(std::future::ready(Err(StoreError::Refused(why.to_owned()))))
    }
}

/// A value as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The value.
    pub bytes: Vec<u8>,
    /// Changes with every write to the key and never comes back.
    pub version: u64,
}

/// Where a list of keys begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// Behind this key, whether it is still there or not.
    After(String),
    /// Behind so many keys.
    Skip(u64),
}

/// A part of the list of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The keys.
    pub keys: Vec<String>,
    /// True if more follow.
    pub more: bool,
}

/// A change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Sets each key to its value.
    Set(Vec<(String, Vec<u8>)>),
    /// Removes keys; those that are not there are passed by.
    Delete(Vec<String>),
    /// Adds to a number, which is kept as decimal text; a key that is not there counts as 0.
    Increment {
        /// Which.
        key: String,
        /// How much.
        delta: i64,
        /// The least that the sum may be.
        least: i64,
    },
    /// Sets one key if it still has this version; none: if it is not there.
    Swap {
        /// Which.
        key: String,
        /// As it was read.
        version: Option<u64>,
        /// The new value.
        value: Vec<u8>,
    },
}

/// What a change came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// It is done.
    Done,
    /// The new number.
    Sum(i64),
    /// Nothing was swapped: the key has another version by now, or is not there.
    Stale(Option<Value>),
}

/// Why a store did not do what it was asked for. The text is for the guest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The guest asked for what may not be: too much, or a number where none is.
    #[error("{0}")]
    Refused(String),
    /// The store failed; the provider has logged why.
    #[error("the store failed; the operator's log says why")]
    Failed,
    /// Too many wait for this store.
    #[error("the store is busy; try again later")]
    Busy,
}
