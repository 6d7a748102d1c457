//! The store under crashes, corruption and company.

use fermion_model::PackageName;

use super::*;
use crate::canonical::digest;

fn open() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    (folder, store)
}

fn name() -> PackageName {
    "acme/hello".parse().unwrap()
}

#[test]
fn what_is_put_is_read_and_tags_move() {
    let (_folder, store) = open();
    let (one, two) = (store.put(b"one").unwrap(), store.put(b"two").unwrap());
    assert_eq!(store.put(b"one").unwrap(), one);
    assert_eq!(store.read(&one, 3).unwrap(), b"one");
    assert_eq!(store.read(&one, 2).unwrap_err().code(), "SIZE_EXCEEDED");
    assert_eq!(store.tag(&name(), "1.0.0").unwrap(), None);
    store.set_tag(&name(), "1.0.0", &one).unwrap();
    store.set_tag(&name(), "1.0.0", &two).unwrap();
    let again = Store::open(store.root()).unwrap();
    assert_eq!(again.tags(&name()).unwrap(), [("1.0.0".to_owned(), two)]);
}

#[test]
fn corruption_is_quarantined_and_healed_by_a_new_put() {
    let (_folder, store) = open();
    let digest = store.put(b"content").unwrap();
    std::fs::write(store.path(&digest), b"cOntent").unwrap();
    for _ in 0..2 {
        assert_eq!(store.read(&digest, 100).unwrap_err().code(), "DIGEST_MISMATCH");
    }
    assert!(store.root().join("quarantine").join(digest.hex()).is_file());
    assert!(!store.has(&digest));
    store.put(b"content").unwrap();
    assert_eq!(store.read(&digest, 100).unwrap(), b"content");
    std::fs::write(store.path(&digest), b"longer content").unwrap();
    assert_eq!(store.read(&digest, 7).unwrap_err().code(), "SIZE_EXCEEDED");
    store.put(b"content").unwrap();
    assert_eq!(store.read(&digest, 7).unwrap(), b"content");
}

#[test]
fn hostile_tags_are_refused() {
    let (_folder, store) = open();
    let digest = store.put(b"x").unwrap();
    for bad in [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        ".hidden",
        "-x",
        "a b",
        "a+b",
        "ä",
        "a\0",
        &"a".repeat(129),
    ] {
        assert_eq!(
            store.set_tag(&name(), bad, &digest).unwrap_err().code(),
            "NAME_INVALID",
            "{bad:?}"
        );
    }
}

#[test]
fn a_damaged_tag_is_named() {
    let (_folder, store) = open();
    store
        .set_tag(&name(), "1.0.0", &store.put(b"x").unwrap())
        .unwrap();
    std::fs::write(
        store.root().join("repositories/acme/hello/_tags/1.0.0"),
        "sha256:12",
    )
    .unwrap();
    assert_eq!(store.tag(&name(), "1.0.0").unwrap_err().code(), "TAG_DAMAGED");
}

#[test]
fn pieces_become_a_blob_only_if_they_are_the_announced_one() {
    let (_folder, store) = open();
    let wanted = digest(b"two pieces");
    let mut writer = store.writer(10).unwrap();
    writer.push(b"two ").unwrap();
    writer.push(b"pieces").unwrap();
    assert_eq!(writer.push(b"!").unwrap_err().code(), "SIZE_EXCEEDED");
    assert_eq!(writer.finish(&wanted).unwrap(), 10);
    assert_eq!(store.read(&wanted, 10).unwrap(), b"two pieces");
    let mut writer = store.writer(10).unwrap();
    writer.push(b"other").unwrap();
    assert_eq!(writer.finish(&wanted).unwrap_err().code(), "DIGEST_MISMATCH");
    assert_eq!(std::fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
}

#[test]
fn opening_cleans_leftovers_but_not_what_is_being_written() {
    let (_folder, store) = open();
    std::fs::write(store.root().join("tmp/left-by-a-crash"), b"half").unwrap();
    let mut writer = store.writer(10).unwrap();
    writer.push(b"alive").unwrap();
    let other = Store::open(store.root()).unwrap();
    assert_eq!(std::fs::read_dir(store.root().join("tmp")).unwrap().count(), 1);
    assert_eq!(writer.finish(&digest(b"alive")).unwrap(), 5);
    assert!(other.has(&digest(b"alive")));
}

/// Cuts the power before each effect in turn: what is there afterwards is whole, and the same work then succeeds.
#[test]
fn a_power_cut_at_any_effect_leaves_old_or_new() {
    for effects in 0.. {
        let (_folder, store) = open();
        let old = store.put(b"old").unwrap();
        store.set_tag(&name(), "1.0.0", &old).unwrap();
        store.cut_power_after(effects);
        let work = |store: &Store| store.set_tag(&name(), "1.0.0", &store.put(b"new")?);
        let done = work(&store).is_ok();

        let after = Store::open(store.root()).unwrap();
        let tagged = after.tag(&name(), "1.0.0").unwrap().unwrap();
        let content = after.read(&tagged, 3).unwrap();
        assert!(content == b"old" || content == b"new", "after {effects} effects");
        work(&after).unwrap();
        assert_eq!(after.tag(&name(), "1.0.0").unwrap(), Some(digest(b"new")));
        if done {
            assert!(effects > 8, "a put and a tag are more than {effects} effects");
            return;
        }
    }
}

#[test]
fn many_writers_share_one_store() {
    let (_folder, store) = open();
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let root = store.root().to_owned();
            scope.spawn(move || {
                let store = Store::open(&root).unwrap();
                for round in 0..20_u8 {
                    let digest = store.put(&[round; 1000]).unwrap();
                    assert_eq!(store.read(&digest, 1000).unwrap(), [round; 1000]);
                    store.set_tag(&name(), &format!("t{thread}"), &digest).unwrap();
                    store.set_tag(&name(), "shared", &digest).unwrap();
                }
            });
        }
    });
    assert_eq!(store.tags(&name()).unwrap().len(), 5);
    assert_eq!(std::fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
}
