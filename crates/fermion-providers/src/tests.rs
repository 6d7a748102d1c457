//! Stores on a disk: what lasts, what is kept apart, what a kill may leave, and how many files are open.

#[cfg(target_os = "linux")]
use std::path::Path;

use fermion_runtime::{KeyValue, KeyValueStores as _, Page, Start, StoreError, Write, Written};

use crate::EmbeddedStores;
#[cfg(target_os = "linux")]
use crate::limits::STORES_OPEN_MAX;

async fn set(store: &dyn KeyValue, key: &str, value: &str) {
    let write = Write::Set(vec![(key.to_owned(), value.as_bytes().to_vec())]);
    assert_eq!(store.write(write).await, Ok(Written::Done));
}

async fn get(store: &dyn KeyValue, key: &str) -> Option<String> {
    let value = store.get(vec![key.to_owned()]).await.unwrap().pop().unwrap();
    value.map(|value| String::from_utf8(value.bytes).unwrap())
}

fn swap(version: Option<u64>) -> Write {
    Write::Swap {
        key: "a".to_owned(),
        version,
        value: b"swapped".to_vec(),
    }
}

#[tokio::test]
async fn what_was_written_is_there_when_the_files_are_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let names = [
        ("shop", "cart", "rates"),
        ("shop", "cart", "other"),
        ("shop", "tax", "rates"),
        ("bank", "cart", "rates"),
    ];
    let stores = EmbeddedStores::in_folder(folder.path().to_owned());
    for (index, (namespace, app, name)) in names.into_iter().enumerate() {
        let store = stores.store(namespace, app, name);
        assert_eq!(get(&*store, "a").await, None, "{namespace} {app} {name}");
        set(&*store, "a", &index.to_string()).await;
        // Another release of the same app has the same store.
        assert_eq!(
            get(&*stores.store(namespace, app, name), "a").await,
            Some(index.to_string())
        );
    }
    drop(stores);
    let stores = EmbeddedStores::in_folder(folder.path().to_owned());
    for (index, (namespace, app, name)) in names.into_iter().enumerate() {
        assert_eq!(
            get(&*stores.store(namespace, app, name), "a").await,
            Some(index.to_string())
        );
    }
}

#[tokio::test]
async fn a_version_never_comes_back() {
    let store = EmbeddedStores::in_memory().store("shop", "cart", "rates");
    assert_eq!(store.write(swap(Some(1))).await, Ok(Written::Stale(None)));
    assert_eq!(store.write(swap(None)).await, Ok(Written::Done));
    let first = store
        .get(vec!["a".to_owned()])
        .await
        .unwrap()
        .pop()
        .unwrap()
        .unwrap();
    store.write(Write::Delete(vec!["a".to_owned()])).await.unwrap();
    set(&*store, "a", "swapped").await;
    let second = store
        .get(vec!["a".to_owned()])
        .await
        .unwrap()
        .pop()
        .unwrap()
        .unwrap();
    assert_eq!(second.bytes, first.bytes);
    let stale = Ok(Written::Stale(Some(second.clone())));
    assert_eq!(store.write(swap(Some(first.version))).await, stale);
    assert_eq!(store.write(swap(Some(second.version))).await, Ok(Written::Done));
}

#[tokio::test]
async fn writes_at_the_same_time_are_each_done_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStores::in_folder(folder.path().to_owned()).store("shop", "cart", "rates");
    let mut steps = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let store = store.clone();
        let step = Write::Increment {
            key: "n".to_owned(),
            delta: 1,
            least: 0,
        };
        steps.spawn(async move { store.write(step).await });
    }
    let mut sums = Vec::new();
    while let Some(step) = steps.join_next().await {
        let Ok(Written::Sum(sum)) = step.unwrap() else {
            panic!("a step failed");
        };
        sums.push(sum);
    }
    sums.sort_unstable();
    assert_eq!(sums, (1..=200).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_batch_is_whole_or_refused() {
    let store = EmbeddedStores::in_memory().store("shop", "cart", "rates");
    set(&*store, "word", "one").await;
    let step = Write::Increment {
        key: "word".to_owned(),
        delta: 1,
        least: 0,
    };
    assert!(matches!(store.write(step).await, Err(StoreError::Refused(_))));
    let chunk = vec![0; 100 << 20];
    let three = ["x", "y", "z"].map(|key| (key.to_owned(), chunk.clone())).into();
    assert!(matches!(
        store.write(Write::Set(three)).await,
        Err(StoreError::Refused(_))
    ));
    let all = store.list(Start::Skip(0), 10).await.unwrap();
    let want = Page {
        keys: vec!["word".to_owned()],
        more: false,
    };
    assert_eq!(all, want);
}

#[tokio::test]
async fn what_a_kill_left_unfinished_does_not_stand_in_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("shop/cart");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join("rates.unfinished"), b"half a file").unwrap();
    let stores = EmbeddedStores::in_folder(folder.path().to_owned());
    set(&*stores.store("shop", "cart", "rates"), "a", "1").await;
    // A file that is damaged fails its own store and no other.
    std::fs::write(place.join("broken.redb"), b"not a store").unwrap();
    let broken = stores.store("shop", "cart", "broken");
    assert_eq!(broken.get(vec!["a".to_owned()]).await, Err(StoreError::Failed));
    assert_eq!(
        get(&*stores.store("shop", "cart", "rates"), "a").await,
        Some("1".to_owned())
    );
}

#[cfg(target_os = "linux")]
fn open_files(folder: &Path) -> usize {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap();
    let targets = descriptors.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    targets.filter(|target| target.starts_with(folder)).count()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn only_so_many_files_are_open() {
    let folder = tempfile::tempdir().unwrap();
    let stores = EmbeddedStores::in_folder(folder.path().to_owned());
    for index in 0..STORES_OPEN_MAX + 20 {
        set(&*stores.store("shop", "cart", &format!("s{index}")), "a", "1").await;
    }
    let open = open_files(folder.path());
    assert!((1..=STORES_OPEN_MAX).contains(&open), "{open}");
    assert_eq!(
        get(&*stores.store("shop", "cart", "s0"), "a").await,
        Some("1".to_owned())
    );
}
