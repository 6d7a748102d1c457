//! Revisions, compare-and-set, atomic commits, listings, limits, and refusals of wrong files.

use std::os::unix::fs::PermissionsExt;

use fermion_bus::limits::{COMMIT_OPS_MAX, VALUE_BYTES_MAX};
use fermion_bus::{Bus, Error, Expect, Op};

pub(crate) fn fresh() -> (tempfile::TempDir, Bus) {
    let folder = tempfile::tempdir().unwrap();
    let bus = Bus::open(&folder.path().join("bus.redb")).unwrap();
    (folder, bus)
}

fn put(key: &str, text: &str, expect: Expect) -> Op {
    Op::Put {
        key: key.to_owned(),
        bytes: text.as_bytes().to_vec(),
        expect,
    }
}

fn conflict<T: std::fmt::Debug>(result: Result<T, Error>) -> Option<u64> {
    match result {
        Err(Error::Conflict { actual, .. }) => actual,
        other => panic!("expected a conflict, got {other:?}"),
    }
}

#[tokio::test]
async fn compare_and_set() {
    let (_folder, bus) = fresh();
    assert_eq!(bus.get("a").await.unwrap(), None);
    let first = bus.put("a", b"1".to_vec(), Expect::Absent).await.unwrap();
    assert_eq!(
        conflict(bus.put("a", b"2".to_vec(), Expect::Absent).await),
        Some(first)
    );
    let second = bus
        .put("a", b"2".to_vec(), Expect::Revision(first))
        .await
        .unwrap();
    assert!(second > first);
    assert_eq!(
        conflict(bus.put("a", b"3".to_vec(), Expect::Revision(first)).await),
        Some(second)
    );
    let other = bus.put("b", b"x".to_vec(), Expect::Any).await.unwrap();
    assert!(other > second, "one sequence for the whole bus");
    let document = bus.get("a").await.unwrap().unwrap();
    assert_eq!(
        (document.revision, document.bytes.as_slice()),
        (second, &b"2"[..])
    );

    assert_eq!(
        conflict(bus.delete("a", Expect::Revision(first)).await),
        Some(second)
    );
    bus.delete("a", Expect::Revision(second)).await.unwrap();
    assert_eq!(bus.get("a").await.unwrap(), None);
    assert_eq!(
        conflict(bus.put("a", b"4".to_vec(), Expect::Revision(second)).await),
        None
    );
    assert!(bus.put("a", b"4".to_vec(), Expect::Absent).await.unwrap() > other);
    assert!(bus.delete("never", Expect::Any).await.is_ok());
}

#[tokio::test]
async fn a_commit_is_all_or_nothing() {
    let (_folder, bus) = fresh();
    let base = bus.put("b", b"old".to_vec(), Expect::Any).await.unwrap();
    let refused = bus
        .commit(vec![
            put("a", "new", Expect::Absent),
            put("b", "new", Expect::Absent),
        ])
        .await;
    assert_eq!(conflict(refused), Some(base));
    assert_eq!(bus.get("a").await.unwrap(), None);

    let ops = vec![
        put("a", "new", Expect::Absent),
        put("b", "new", Expect::Revision(base)),
    ];
    let revisions = bus.commit(ops).await.unwrap();
    assert_eq!(bus.get("a").await.unwrap().unwrap().revision, revisions[0]);
    assert_eq!(bus.get("b").await.unwrap().unwrap().revision, revisions[1]);
    assert!(base < revisions[0] && revisions[0] < revisions[1]);
}

#[tokio::test]
async fn of_concurrent_writers_one_wins_each_round() {
    let (_folder, bus) = fresh();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let bus = bus.clone();
        tasks.spawn(async move {
            let mut won = 0;
            while won < 5 {
                let (revision, count) = bus.get_json::<u32>("n").await.unwrap().unzip();
                match bus
                    .put_json("n", &(count.unwrap_or(0) + 1), Expect::unchanged(revision))
                    .await
                {
                    Ok(_) => won += 1,
                    Err(error) => assert!(error.is_conflict(), "{error}"),
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(bus.get_json::<u32>("n").await.unwrap().unwrap().1, 40);
}

#[tokio::test]
async fn listing_is_by_prefix_and_in_order() {
    let (_folder, bus) = fresh();
    for key in ["apps/b/x", "apps/a/y", "apps/a/x", "appsx", "releases/a/x/1"] {
        bus.put(key, key.as_bytes().to_vec(), Expect::Any).await.unwrap();
    }
    bus.delete("apps/a/y", Expect::Any).await.unwrap();
    let keys = async |prefix| -> Vec<String> {
        bus.list(prefix)
            .await
            .unwrap()
            .into_iter()
            .map(|entry| entry.key)
            .collect()
    };
    assert_eq!(keys("apps/").await, ["apps/a/x", "apps/b/x"]);
    assert_eq!(keys("apps/a/").await, ["apps/a/x"]);
    assert_eq!(keys("nothing").await, Vec::<String>::new());
    assert_eq!(keys("").await.len(), 4);
}

#[tokio::test]
async fn limits_and_bad_input_are_refused() {
    let (_folder, bus) = fresh();
    let large = bus.put("a", vec![0; VALUE_BYTES_MAX + 1], Expect::Any).await;
    assert!(matches!(large, Err(Error::ValueTooLarge { .. })));
    bus.put("a", vec![0; VALUE_BYTES_MAX], Expect::Any).await.unwrap();
    assert!(matches!(
        bus.put("a b", vec![], Expect::Any).await,
        Err(Error::Key { .. })
    ));
    assert!(matches!(bus.get("../a").await, Err(Error::Key { .. })));
    assert!(matches!(bus.commit(vec![]).await, Err(Error::Commit)));
    let twice = vec![put("a", "", Expect::Any), put("a", "", Expect::Any)];
    assert!(matches!(bus.commit(twice).await, Err(Error::Commit)));
    let many = (0..=COMMIT_OPS_MAX)
        .map(|n| put(&format!("k{n}"), "", Expect::Any))
        .collect();
    assert!(matches!(bus.commit(many).await, Err(Error::Commit)));
    bus.put("a", b"{".to_vec(), Expect::Any).await.unwrap();
    let broken = bus.get_json::<u32>("a").await.unwrap_err().to_string();
    assert!(broken.contains("document a"), "{broken}");
}

#[tokio::test]
async fn everything_is_there_after_reopening() {
    let (folder, bus) = fresh();
    let path = folder.path().join("bus.redb");
    let kept = bus.put("kept", b"1".to_vec(), Expect::Any).await.unwrap();
    bus.put("gone", b"1".to_vec(), Expect::Any).await.unwrap();
    let last = bus.delete("gone", Expect::Any).await.unwrap();
    drop(bus);
    let bus = Bus::open(&path).unwrap();
    assert_eq!(bus.get("kept").await.unwrap().unwrap().revision, kept);
    assert_eq!(bus.get("gone").await.unwrap(), None);
    assert_eq!(
        bus.put("next", vec![], Expect::Any).await.unwrap(),
        last + 1,
        "revisions never repeat"
    );
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        1,
        "nothing half-made stays"
    );
}

#[tokio::test]
async fn a_second_opener_is_told_why_it_cannot() {
    let (folder, bus) = fresh();
    let path = folder.path().join("bus.redb");
    let refused = Bus::open(&path).unwrap_err();
    assert!(matches!(refused, Error::InUse { .. }), "{refused}");
    assert!(refused.to_string().contains("another fermion"), "{refused}");
    drop(bus);
    Bus::open(&path).unwrap();
}

#[test]
fn files_that_are_no_database_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bus.redb");
    Bus::open(&path).unwrap();
    let good = std::fs::read(&path).unwrap();
    let mut zeroed = good.clone();
    zeroed[9..4096].fill(0);
    let mut flipped = good.clone();
    for byte in &mut flipped[64..320] {
        *byte ^= 0x55;
    }
    let cases: [(&str, &[u8]); 5] = [
        (
            "text",
            b"this is not a database, it is a letter to whoever finds it",
        ),
        ("zeros", &[0; 8192]),
        ("cut", &good[..good.len() / 2]),
        ("zeroed header", &zeroed),
        ("flipped header", &flipped),
    ];
    for (name, bytes) in cases {
        std::fs::write(&path, bytes).unwrap();
        let refused = Bus::open(&path).expect_err(name);
        assert!(
            matches!(refused, Error::NotADatabase { .. }),
            "{name}: {refused:?}"
        );
        assert_eq!(
            std::fs::read(&path).unwrap().len(),
            bytes.len(),
            "{name}: a refused file is left alone"
        );
    }
    let missing = Bus::open(&folder.path().join("no/such/folder/bus.redb")).unwrap_err();
    assert!(matches!(missing, Error::File { .. }), "{missing}");
}
