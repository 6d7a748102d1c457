//! The interfaces `store`, `atomics` and `batch` in both drafts. They differ in the cursor of a list, in the type of a
//! counter, in what a batch gives for a missing key, and the first has no compare-and-swap.

use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType};

use super::noted::Noted;
use super::{KeyValue, Page, Start, StoreError, Value, Write, Written};
use crate::limits::{
    KEYVALUE_BATCH_KEYS_MAX, KEYVALUE_KEY_BYTES_MAX, KEYVALUE_PAGE_KEYS_MAX, KEYVALUE_VALUE_BYTES_MAX,
};
use crate::state::State;

const DRAFT: &str = "0.2.0-draft";
const DRAFT2: &str = "0.2.0-draft2";

type Store<'a> = StoreContextMut<'a, State>;
type Pairs = Vec<(String, Vec<u8>)>;

/// `resource bucket`
struct Bucket {
    store: Arc<dyn KeyValue>,
    name: Arc<str>,
}

/// `resource cas`: a key as it was once read.
struct Cas {
    store: Arc<dyn KeyValue>,
    key: String,
    version: Option<u64>,
}

/// `variant error`
#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "no-such-store")]
    NoSuchStore,
    #[component(name = "access-denied")]
    _AccessDenied,
    #[component(name = "other")]
    Other(String),
}

/// `variant cas-error`
#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum CasError {
    #[component(name = "store-error")]
    Store(Error),
    #[component(name = "cas-failed")]
    Failed((Resource<Cas>, Option<Vec<u8>>)),
}

/// `record key-response` of the first draft.
#[derive(ComponentType, Lift, Lower)]
#[component(record)]
struct NumberedPage {
    keys: Vec<String>,
    cursor: Option<u64>,
}

/// `record key-response` of the second.
#[derive(ComponentType, Lift, Lower)]
#[component(record)]
struct NamedPage {
    keys: Vec<String>,
    cursor: Option<String>,
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Other(error.to_string())
    }
}

/// Links both drafts.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    for version in [DRAFT, DRAFT2] {
        let mut store = linker.instance(&format!("wasi:keyvalue/store@{version}"))?;
        add_store(&mut store)?;
        if version == DRAFT {
            add_numbered_list(&mut store)?;
        } else {
            add_named_list(&mut store)?;
        }
        let mut batch = linker.instance(&format!("wasi:keyvalue/batch@{version}"))?;
        add_batch(&mut batch)?;
        if version == DRAFT {
            add_get_found(&mut batch)?;
        } else {
            add_get_each(&mut batch)?;
        }
        let mut atomics = linker.instance(&format!("wasi:keyvalue/atomics@{version}"))?;
        if version == DRAFT {
            add_unsigned_increment(&mut atomics)?;
        } else {
            add_increment(&mut atomics)?;
            add_cas(&mut atomics)?;
        }
    }
    Ok(())
}

fn open(store: &mut Store<'_>, bucket: &Resource<Bucket>) -> wasmtime::Result<Arc<dyn KeyValue>> {
    let state = store.data_mut();
    let Bucket { store: opened, name } = state.table.get(bucket)?;
    // Of several requests in one instance nobody is certain to be the one that calls.
    if state.desk().is_some() {
        return Ok(opened.clone());
    }
    Ok(Noted::over(opened.clone(), name.clone(), state.meter.clone()))
}

fn refuse(why: String) -> Error {
    Error::Other(why)
}

fn check_key(key: &str) -> Result<(), Error> {
    if key.is_empty() || key.len() > KEYVALUE_KEY_BYTES_MAX {
        let bytes = key.len();
        return Err(refuse(format!(
            "a key has 1 to {KEYVALUE_KEY_BYTES_MAX} bytes, this one has {bytes}"
        )));
    }
    Ok(())
}

fn check_value(value: &[u8]) -> Result<(), Error> {
    if value.len() > KEYVALUE_VALUE_BYTES_MAX {
        let bytes = value.len();
        return Err(refuse(format!(
            "a value has at most {KEYVALUE_VALUE_BYTES_MAX} bytes, this one has {bytes}"
        )));
    }
    Ok(())
}

fn check_keys<'a>(mut keys: impl ExactSizeIterator<Item = &'a String>) -> Result<(), Error> {
    if keys.len() > KEYVALUE_BATCH_KEYS_MAX {
        let count = keys.len();
        return Err(refuse(format!(
            "a batch has at most {KEYVALUE_BATCH_KEYS_MAX} keys, this one has {count}"
        )));
    }
    keys.try_for_each(|key| check_key(key))
}

async fn get_one(store: Arc<dyn KeyValue>, key: String) -> Result<Option<Value>, Error> {
    check_key(&key)?;
    Ok(store.get(vec![key]).await?.pop().flatten())
}

async fn get_many(
    store: Arc<dyn KeyValue>,
    keys: Vec<String>,
) -> Result<Vec<(String, Option<Vec<u8>>)>, Error> {
    check_keys(keys.iter())?;
    let values = store.get(keys.clone()).await?;
    let values = values.into_iter().map(|value| value.map(|value| value.bytes));
    Ok(keys.into_iter().zip(values).collect())
}

async fn set(store: Arc<dyn KeyValue>, pairs: Pairs) -> Result<(), Error> {
    check_keys(pairs.iter().map(|(key, _)| key))?;
    pairs.iter().try_for_each(|(_, value)| check_value(value))?;
    store.write(Write::Set(pairs)).await?;
    Ok(())
}

async fn delete(store: Arc<dyn KeyValue>, keys: Vec<String>) -> Result<(), Error> {
    check_keys(keys.iter())?;
    store.write(Write::Delete(keys)).await?;
    Ok(())
}

async fn increment(store: Arc<dyn KeyValue>, key: String, delta: i64, least: i64) -> Result<i64, Error> {
    check_key(&key)?;
    match store.write(Write::Increment { key, delta, least }).await? {
        Written::Sum(sum) => Ok(sum),
        _ => Err(StoreError::Failed.into()),
    }
}

fn add_store(interface: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    interface.resource("bucket", ResourceType::host::<Bucket>(), |mut store, rep| {
        store.data_mut().table.delete(Resource::<Bucket>::new_own(rep))?;
        Ok(())
    })?;
    interface.func_wrap("open", |mut store: Store<'_>, (name,): (String,)| {
        let found = store.data().grants.keyvalue.get(&name).cloned();
        let opened = match found {
            Some(found) => Ok(store.data_mut().table.push(Bucket {
                store: found,
                name: name.into(),
            })?),
            None => Err(Error::NoSuchStore),
        };
        Ok((opened,))
    })?;
    interface.func_wrap_async(
        "[method]bucket.get",
        |mut store: Store<'_>, (bucket, key): (Resource<Bucket>, String)| {
            Box::new(async move {
                let value = get_one(open(&mut store, &bucket)?, key).await;
                Ok((value.map(|value| value.map(|value| value.bytes)),))
            })
        },
    )?;
    interface.func_wrap_async(
        "[method]bucket.set",
        |mut store: Store<'_>, (bucket, key, value): (Resource<Bucket>, String, Vec<u8>)| {
            Box::new(async move { Ok((set(open(&mut store, &bucket)?, vec![(key, value)]).await,)) })
        },
    )?;
    interface.func_wrap_async(
        "[method]bucket.delete",
        |mut store: Store<'_>, (bucket, key): (Resource<Bucket>, String)| {
            Box::new(async move { Ok((delete(open(&mut store, &bucket)?, vec![key]).await,)) })
        },
    )?;
    interface.func_wrap_async(
        "[method]bucket.exists",
        |mut store: Store<'_>, (bucket, key): (Resource<Bucket>, String)| {
            Box::new(async move {
                let value = get_one(open(&mut store, &bucket)?, key).await;
                Ok((value.map(|value| value.is_some()),))
            })
        },
    )
}

async fn list(store: Arc<dyn KeyValue>, start: Start) -> Result<Page, Error> {
    Ok(store.list(start, KEYVALUE_PAGE_KEYS_MAX).await?)
}

fn add_numbered_list(interface: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    interface.func_wrap_async(
        "[method]bucket.list-keys",
        |mut store: Store<'_>, (bucket, cursor): (Resource<Bucket>, Option<u64>)| {
            Box::new(async move {
                let skipped = cursor.unwrap_or(0);
                let page = list(open(&mut store, &bucket)?, Start::Skip(skipped)).await;
                let numbered = |Page { keys, more }| NumberedPage {
                    cursor: more.then(|| skipped.saturating_add(keys.len() as u64)),
                    keys,
                };
                Ok((page.map(numbered),))
            })
        },
    )
}

fn add_named_list(interface: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    interface.func_wrap_async(
        "[method]bucket.list-keys",
        |mut store: Store<'_>, (bucket, cursor): (Resource<Bucket>, Option<String>)| {
            Box::new(async move {
                let start = cursor.map_or(Start::Skip(0), Start::After);
                let page = list(open(&mut store, &bucket)?, start).await;
                let named = |Page { keys, more }: Page| NamedPage {
                    cursor: keys.last().filter(|_| more).cloned(),
                    keys,
                };
                Ok((page.map(named),))
            })
        },
    )
}

fn add_batch(interface: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    interface.func_wrap_async(
        "set-many",
        |mut store: Store<'_>, (bucket, pairs): (Resource<Bucket>, Pairs)| {
            Box::new(async move { Ok((set(open(&mut store, &bucket)?, pairs).await,)) })
        },
    )?;
    interface.func_wrap_async(
        "delete-many",
        |mut store: Store<'_>, (bucket, keys): (Resource<Bucket>, Vec<String>)| {
            Box::new(async move { Ok((delete(open(&mut store, &bucket)?, keys).await,)) })
        },
    )
}

fn add_get_found(interface: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    interface.func_wrap_async(
        "get-many",
        |mut store: Store<'_>, (bucket, keys): (Resource<Bucket>, Vec<String>)| {
            Box::new(async move {
                let found = get_many(open(&mut store, &bucket)?, keys).await;
                let pair = |(key, value): (String, Option<Vec<u8>>)| value.map(|value| (key, value));
                let found = found.map(|pairs| pairs.into_iter().map(pair).collect::<Vec<_>>());
                Ok((found,))
            })
        },
    )
}

fn add_get_each(interface: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    interface.func_wrap_async(
        "get-many",
        |mut store: Store<'_>, (bucket, keys): (Resource<Bucket>, Vec<String>)| {
            Box::new(async move { Ok((get_many(open(&mut store, &bucket)?, keys).await,)) })
        },
    )
}

fn add_unsigned_increment(interface: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    interface.func_wrap_async(
        "increment",
        |mut store: Store<'_>, (bucket, key, delta): (Resource<Bucket>, String, u64)| {
            Box::new(async move {
                let found = open(&mut store, &bucket)?;
                let sum = match i64::try_from(delta) {
                    Ok(delta) => increment(found, key, delta, 0).await,
                    Err(_) => Err(refuse(format!("{delta} is more than a counter holds"))),
                };
                Ok((sum.map(i64::unsigned_abs),))
            })
        },
    )
}

fn add_increment(interface: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    interface.func_wrap_async(
        "increment",
        |mut store: Store<'_>, (bucket, key, delta): (Resource<Bucket>, String, i64)| {
            Box::new(async move { Ok((increment(open(&mut store, &bucket)?, key, delta, i64::MIN).await,)) })
        },
    )
}

async fn read_for_swap(store: Arc<dyn KeyValue>, key: String) -> Result<(Cas, Option<Vec<u8>>), Error> {
    let value = get_one(store.clone(), key.clone()).await?;
    let version = value.as_ref().map(|value| value.version);
    Ok((Cas { store, key, version }, value.map(|value| value.bytes)))
}

fn add_cas(interface: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    interface.resource("cas", ResourceType::host::<Cas>(), |mut store, rep| {
        store.data_mut().table.delete(Resource::<Cas>::new_own(rep))?;
        Ok(())
    })?;
    interface.func_wrap_async(
        "[static]cas.new",
        |mut store: Store<'_>, (bucket, key): (Resource<Bucket>, String)| {
            Box::new(async move {
                Ok((match read_for_swap(open(&mut store, &bucket)?, key).await {
                    Ok((cas, _)) => Ok(store.data_mut().table.push(cas)?),
                    Err(error) => Err(error),
                },))
            })
        },
    )?;
    interface.func_wrap_async(
        "[static]cas.new-with-read",
        |mut store: Store<'_>, (bucket, key): (Resource<Bucket>, String)| {
            Box::new(async move {
                Ok((match read_for_swap(open(&mut store, &bucket)?, key).await {
                    Ok((cas, value)) => Ok((store.data_mut().table.push(cas)?, value)),
                    Err(error) => Err(error),
                },))
            })
        },
    )?;
    interface.func_wrap_async(
        "swap",
        |mut store: Store<'_>, (cas, value): (Resource<Cas>, Vec<u8>)| {
            Box::new(async move {
                let cas = store.data_mut().table.delete(cas)?;
                Ok((swap(&mut store, cas, value).await?,))
            })
        },
    )
}

async fn swap(store: &mut Store<'_>, mut cas: Cas, value: Vec<u8>) -> wasmtime::Result<Result<(), CasError>> {
    if let Err(error) = check_value(&value) {
        return Ok(Err(CasError::Store(error)));
    }
    let write = Write::Swap {
        key: cas.key.clone(),
        version: cas.version,
        value,
    };
    Ok(match cas.store.write(write).await {
        Ok(Written::Stale(current)) => {
            cas.version = current.as_ref().map(|current| current.version);
            let current = current.map(|current| current.bytes);
            Err(CasError::Failed((store.data_mut().table.push(cas)?, current)))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(CasError::Store(error.into())),
    })
}
