//! Watches give the present, then every later newest state, and lose nothing when their reader is slow or cancelled.

use fermion_bus::{Event, Expect, Watch};

use crate::documents::fresh;

async fn next(watch: &mut Watch) -> (String, String) {
    match watch.next().await.unwrap() {
        Event::Put(entry) => (entry.key, String::from_utf8(entry.bytes).unwrap()),
        Event::Delete { key, .. } => (key, "-".to_owned()),
        Event::Current => ("current".to_owned(), String::new()),
    }
}

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

#[tokio::test]
async fn the_present_then_the_changes() {
    let (_folder, bus) = fresh();
    for (key, value) in [
        ("w/b", "1"),
        ("w/a", "1"),
        ("x/a", "1"),
        ("w/c", "1"),
        ("w/b", "2"),
    ] {
        bus.put(key, value.into(), Expect::Any).await.unwrap();
    }
    bus.delete("w/c", Expect::Any).await.unwrap();
    let mut watch = bus.watch("w/");
    assert_eq!(next(&mut watch).await, pair("w/a", "1"));
    assert_eq!(next(&mut watch).await, pair("w/b", "2"));
    assert_eq!(next(&mut watch).await, pair("current", ""));
    bus.put("x/a", "2".into(), Expect::Any).await.unwrap();
    bus.put("w/d", "1".into(), Expect::Any).await.unwrap();
    assert_eq!(next(&mut watch).await, pair("w/d", "1"));
    bus.delete("w/a", Expect::Any).await.unwrap();
    assert_eq!(next(&mut watch).await, pair("w/a", "-"));
}

#[tokio::test]
async fn an_empty_bus_is_current_at_once() {
    let (_folder, bus) = fresh();
    let mut watch = bus.watch("");
    assert_eq!(next(&mut watch).await, pair("current", ""));
    bus.put("a", "1".into(), Expect::Any).await.unwrap();
    assert_eq!(next(&mut watch).await, pair("a", "1"));
}

#[tokio::test]
async fn a_slow_watcher_sees_the_newest_state_only() {
    let (_folder, bus) = fresh();
    let mut watch = bus.watch("k");
    assert_eq!(next(&mut watch).await, pair("current", ""));
    for n in 0..20 {
        bus.put("k1", n.to_string().into(), Expect::Any).await.unwrap();
        bus.put("k2", n.to_string().into(), Expect::Any).await.unwrap();
    }
    assert_eq!(next(&mut watch).await, pair("k1", "19"));
    assert_eq!(next(&mut watch).await, pair("k2", "19"));
    bus.put("k1", "end".into(), Expect::Any).await.unwrap();
    assert_eq!(next(&mut watch).await, pair("k1", "end"));
}

#[tokio::test]
async fn a_watch_begun_amid_changes_still_says_current() {
    let (_folder, bus) = fresh();
    bus.put("a", "1".into(), Expect::Any).await.unwrap();
    let mut watch = bus.watch("");
    bus.put("a", "2".into(), Expect::Any).await.unwrap();
    assert_eq!(next(&mut watch).await, pair("current", ""));
    assert_eq!(next(&mut watch).await, pair("a", "2"));
}

#[tokio::test]
async fn a_waiting_watcher_is_woken_and_a_cancelled_wait_loses_nothing() {
    let (_folder, bus) = fresh();
    let mut watch = bus.watch("");
    assert_eq!(next(&mut watch).await, pair("current", ""));
    for n in 0..50 {
        let expected = n.to_string();
        tokio::select! {
            biased;
            event = next(&mut watch) => panic!("nothing has changed yet, but {event:?}"),
            () = std::future::ready(()) => {}
        }
        bus.put("a", expected.clone().into(), Expect::Any).await.unwrap();
        // Dropped in the middle of reading; the change is still to come.
        let event = tokio::select! {
            biased;
            event = next(&mut watch) => event,
            () = std::future::ready(()) => next(&mut watch).await,
        };
        assert_eq!(event, pair("a", &expected));
    }
}
