//! The trust root: who counts, when, for what, and which document may follow which.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use fermion_package::trust::{
    ACCEPTED_FILE, KeyEntry, Moment, ROOT_FILE, ROOT_SCHEMA, Revocation, Role, RootDocument, SignedRoot,
    Thresholds, accept,
};
use fermion_package::{Trust, TrustKeeper, When, load, sign, verify};

use crate::fixtures::{World, key, world};

const NOW: u64 = 1_795_219_200;
const DAY: u64 = 24 * 60 * 60;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn moment(seconds: u64) -> Moment {
    Moment::of(at(seconds))
}

fn entry(number: u8, roles: &[Role]) -> KeyEntry {
    KeyEntry::new(
        &format!("key-{number}"),
        key(number).public(),
        roles.iter().copied(),
    )
}

/// Key 9 is the root key; keys 1 to 3 sign packages.
fn document(serial: u64) -> RootDocument {
    RootDocument {
        schema: ROOT_SCHEMA,
        serial,
        expires: moment(NOW + 30 * DAY),
        grace_seconds: 10 * DAY,
        keys: vec![
            entry(9, &[Role::Root]),
            entry(1, &[Role::Package]),
            entry(2, &[Role::Package]),
            entry(3, &[Role::Package]),
        ],
        thresholds: Thresholds::default(),
        channels: Vec::new(),
    }
}

fn signed(document: &RootDocument, by: &[u8]) -> Vec<u8> {
    let mut root = SignedRoot::draft(document).unwrap();
    for number in by {
        root.sign(&key(*number)).unwrap();
    }
    root.write()
}

/// The trust of a folder that has accepted `document`.
fn trusting(document: &RootDocument) -> Trust {
    let folder = tempfile::tempdir().unwrap();
    accept(folder.path(), &signed(document, &[9]), at(NOW)).unwrap()
}

/// `OK`, or the code and the words with which the package is refused.
fn verdict(world: &World, trust: &Trust, when: When) -> (&'static str, String) {
    match verify(
        &world.store,
        &world.packed.reference.name,
        world.digest(),
        trust,
        when,
    ) {
        Ok(_) => ("OK", String::new()),
        Err(error) => (error.code(), error.to_string()),
    }
}

#[track_caller]
fn refused(world: &World, document: &RootDocument, when: When, words: &str) {
    let (code, text) = verdict(world, &trusting(document), when);
    assert_eq!(code, "SIG_UNTRUSTED", "{text}");
    assert!(text.contains(words), "{text:?} does not say {words:?}");
}

fn new() -> When {
    When::admission(at(NOW))
}

#[test]
fn a_key_counts_for_its_roles_its_names_and_its_time() {
    let world = world();
    assert_eq!(verdict(&world, &trusting(&document(1)), new()).0, "OK");
    let change = |change: &dyn Fn(&mut KeyEntry)| {
        let mut document = document(1);
        change(&mut document.keys[1]);
        document
    };
    refused(
        &world,
        &change(&|key| key.roles = [Role::Provenance].into()),
        new(),
        "has the role provenance, not package",
    );
    refused(
        &world,
        &change(&|key| key.roles = [Role::Root].into()),
        new(),
        "role root",
    );
    let named = |pattern: &str| change(&|key| key.names = vec![pattern.parse().unwrap()]);
    for covers in ["*", "acme/*", "acme/hello"] {
        assert_eq!(
            verdict(&world, &trusting(&named(covers)), new()).0,
            "OK",
            "{covers}"
        );
    }
    for other in ["acme/hell", "acme/hello/*", "other/*", "acme/hello2"] {
        refused(&world, &named(other), new(), "not acme/hello");
    }
    refused(
        &world,
        &change(&|key| key.not_before = Some(moment(NOW + 1))),
        new(),
        "valid only from",
    );
    refused(
        &world,
        &change(&|key| key.not_after = Some(moment(NOW))),
        new(),
        "was valid until",
    );
    let bounded = change(&|key| {
        key.not_before = Some(moment(NOW));
        key.not_after = Some(moment(NOW + 1));
    });
    assert_eq!(verdict(&world, &trusting(&bounded), new()).0, "OK");
    refused(&world, &bounded, When::admission(at(NOW + 1)), "was valid until");
    refused(&world, &bounded, When::admission(at(NOW - 1)), "valid only from");
    // In the second in which the window ends nothing new is let in; what was let in before that in the same second stays.
    let ended = change(&|key| key.not_after = Some(moment(NOW)));
    assert_eq!(
        verdict(&world, &trusting(&ended), When::admitted(at(NOW), at(NOW + 5))).0,
        "OK"
    );
    // What was let in within the window runs on after it, and what was let in outside it does not.
    let later = at(NOW + 20 * DAY);
    assert_eq!(
        verdict(&world, &trusting(&bounded), When::admitted(at(NOW), later)).0,
        "OK"
    );
    refused(
        &world,
        &bounded,
        When::admitted(at(NOW + 2), later),
        "was valid until",
    );
}

#[test]
fn revocation_counts_at_once_also_for_what_was_let_in() {
    let world = world();
    let mut document = document(1);
    document.keys[1].revoked = Some(Revocation {
        at: moment(NOW),
        reason: "the laptop was stolen".to_owned(),
    });
    for when in [new(), When::admitted(at(NOW - 10 * DAY), at(NOW))] {
        refused(
            &world,
            &document,
            when,
            "revoked at 2026-11-21T00:00:00Z (the laptop was stolen)",
        );
    }
    // Another key that signed, too, keeps the package.
    sign(
        &world.store,
        &world.packed.reference.name,
        world.digest(),
        &key(2),
    )
    .unwrap();
    assert_eq!(verdict(&world, &trusting(&document), new()).0, "OK");
}

#[test]
fn two_of_three_means_different_keys() {
    let world = world();
    let name = &world.packed.reference.name;
    let mut document = document(1);
    document.thresholds.package = 2;
    let trust = trusting(&document);
    refused(
        &world,
        &document,
        new(),
        "2 different package keys must sign and 1 did (key-1)",
    );
    // The same key again, in both forms, is still one; a stranger's signature counts for nothing.
    sign(&world.store, name, world.digest(), &key(1)).unwrap();
    sign(&world.store, name, world.digest(), &key(7)).unwrap();
    assert_eq!(verdict(&world, &trust, new()).0, "SIG_UNTRUSTED");
    sign(&world.store, name, world.digest(), &key(3)).unwrap();
    let verified = verify(&world.store, name, world.digest(), &trust, new()).unwrap();
    let names: Vec<_> = verified
        .signers
        .iter()
        .map(|signer| signer.name.as_str())
        .collect();
    assert_eq!((verified.threshold, verified.epoch, names.len()), (2, 1, 2));
    assert!(names.contains(&"key-1") && names.contains(&"key-3"), "{names:?}");
    assert_eq!(
        load(&world.store, world.digest(), &trust, new())
            .unwrap()
            .verified,
        verified
    );
    // The same decision from the ids alone, and it changes with the trust.
    let ids = verified.ids();
    assert_eq!(trust.still(&ids, name, world.digest(), new()).unwrap(), verified);
    document.serial = 2;
    document.keys.retain(|entry| entry.name != "key-3");
    let next = trusting(&document);
    let error = next.still(&ids, name, world.digest(), new()).unwrap_err();
    assert_eq!(error.code(), "SIG_UNTRUSTED");
    assert!(error.to_string().contains("is not trusted any more"), "{error}");
}

#[test]
fn an_expired_root_lets_nothing_new_in_and_leaves_the_rest_its_grace() {
    let world = world();
    let trust = trusting(&document(1));
    let end = NOW + 30 * DAY;
    for (when, want) in [
        (When::admission(at(end - 1)), "OK"),
        (When::admission(at(end)), "STALE"),
        (When::admitted(at(NOW), at(end)), "OK"),
        (When::admitted(at(NOW), at(end + 10 * DAY - 1)), "OK"),
        (When::admitted(at(NOW), at(end + 10 * DAY)), "STALE"),
    ] {
        assert_eq!(verdict(&world, &trust, when).0, want, "{when:?}");
    }
}

/// What a folder that has accepted serial 5 says to a document.
#[track_caller]
fn offered(bytes: &[u8]) -> Result<u64, &'static str> {
    let folder = tempfile::tempdir().unwrap();
    accept(folder.path(), &signed(&document(5), &[9]), at(NOW)).unwrap();
    let outcome = accept(folder.path(), bytes, at(NOW));
    let after = Trust::load(folder.path(), at(NOW)).unwrap().epoch();
    match outcome {
        Ok(trust) => {
            assert_eq!(trust.epoch(), after);
            Ok(after)
        }
        Err(error) => {
            assert_eq!(after, 5, "a refused document changes nothing: {error}");
            Err(error.code())
        }
    }
}

#[test]
fn a_root_follows_only_with_the_consent_of_the_one_before_it() {
    assert_eq!(offered(&signed(&document(6), &[9])), Ok(6));
    assert_eq!(offered(&signed(&document(50), &[9])), Ok(50), "serials may skip");
    assert_eq!(
        offered(&signed(&document(5), &[9])),
        Ok(5),
        "the same again is nothing new"
    );
    assert_eq!(offered(&signed(&document(4), &[9])), Err("ROLLBACK"));
    let mut other = document(5);
    other.grace_seconds = 1;
    assert_eq!(
        offered(&signed(&other, &[9])),
        Err("ROLLBACK"),
        "the same serial, other content"
    );
    for wrong in [&[][..], &[1], &[8], &[1, 2, 3, 8]] {
        assert_eq!(
            offered(&signed(&document(6), wrong)),
            Err("SIG_UNTRUSTED"),
            "{wrong:?}"
        );
    }
    // A new root key: the old one consents, and the new one must agree.
    let mut moved = document(6);
    moved.keys[0] = entry(8, &[Role::Root]);
    assert_eq!(offered(&signed(&moved, &[8])), Err("SIG_UNTRUSTED"));
    assert_eq!(offered(&signed(&moved, &[9])), Err("SIG_UNTRUSTED"));
    assert_eq!(offered(&signed(&moved, &[9, 8])), Ok(6));
    let mut expired = document(6);
    expired.expires = moment(NOW);
    assert_eq!(offered(&signed(&expired, &[9])), Err("STALE"));
    let whole = signed(&document(6), &[9]);
    for cut in [0, 1, whole.len() / 2, whole.len() - 1] {
        assert_eq!(offered(&whole[..cut]), Err("TRUST_INVALID"), "cut at {cut}");
    }
    assert_eq!(offered(&vec![b'['; 3 << 20]), Err("SIZE_EXCEEDED"));
    // A changed byte of the payload, with the signature left alone.
    let text = String::from_utf8(whole).unwrap();
    let payload = text
        .split("\"payload\":\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let other = SignedRoot::draft(&document(7)).unwrap().write();
    let other = String::from_utf8(other).unwrap();
    let other = other
        .split("\"payload\":\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    assert_eq!(
        offered(text.replace(payload, other).as_bytes()),
        Err("SIG_UNTRUSTED")
    );
}

#[test]
fn root_keys_have_a_threshold_and_windows_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = document(1);
    first.keys.push(entry(8, &[Role::Root]));
    first.thresholds.root = 2;
    let code =
        |bytes: &[u8]| accept(folder.path(), bytes, at(NOW)).map_or_else(|error| error.code(), |_| "OK");
    assert_eq!(code(&signed(&first, &[9])), "SIG_UNTRUSTED");
    assert_eq!(code(&signed(&first, &[9, 9])), "SIG_UNTRUSTED", "one key twice");
    assert_eq!(code(&signed(&first, &[9, 8])), "OK");
    let mut second = first.clone();
    second.serial = 2;
    second.keys[4].revoked = Some(Revocation {
        at: moment(NOW),
        reason: "gone".to_owned(),
    });
    second.keys.push(entry(7, &[Role::Root]));
    assert_eq!(
        code(&signed(&second, &[9, 7])),
        "SIG_UNTRUSTED",
        "the old root knows nothing of 7"
    );
    assert_eq!(
        code(&signed(&second, &[9, 8])),
        "SIG_UNTRUSTED",
        "the new one no more of 8"
    );
    assert_eq!(code(&signed(&second, &[9, 8, 7])), "OK");
    let mut third = second.clone();
    third.serial = 3;
    assert_eq!(
        code(&signed(&third, &[9, 8])),
        "SIG_UNTRUSTED",
        "8 is revoked by now"
    );
    assert_eq!(code(&signed(&third, &[9, 7])), "OK");
}

#[test]
fn documents_that_contradict_themselves_are_refused() {
    type Change = fn(&mut RootDocument);
    let broken: [(&str, Change); 10] = [
        ("schema 2", |root| root.schema = 2),
        ("serial 0", |root| root.serial = 0),
        ("0 package keys", |root| root.thresholds.package = 0),
        ("4 package keys", |root| root.thresholds.package = 4),
        ("2 root keys", |root| root.thresholds.root = 2),
        ("1 root keys", |root| {
            root.keys.retain(|key| !key.roles.contains(&Role::Root))
        }),
        ("listed twice", |root| root.keys.push(entry(1, &[Role::Package]))),
        ("different keys", |root| {
            root.keys[1].roles.extend([Role::Provenance])
        }),
        ("no role", |root| root.keys[1].roles.clear()),
        ("has the id", |root| root.keys[1].id = root.keys[2].id),
    ];
    for (words, change) in broken {
        let mut root = document(1);
        change(&mut root);
        let error = SignedRoot::draft(&root).unwrap_err();
        assert_eq!(error.code(), "TRUST_INVALID", "{words}");
        assert!(error.to_string().contains(words), "{error}");
    }
    let mut noisy = document(1);
    noisy.keys[1].revoked = Some(Revocation {
        at: moment(NOW),
        reason: "\u{1b}[2Jgone".to_owned(),
    });
    assert!(
        SignedRoot::draft(&noisy).is_err(),
        "whoever reads the reason has a terminal"
    );
    let text = String::from_utf8(document(1).write()).unwrap();
    for (from, to) in [
        ("\"serial\":1", "\"serial\":1,\"extra\":1"),
        ("\"serial\":1", "\"serial\":-1"),
        ("2026", "soon"),
    ] {
        RootDocument::read(text.replace(from, to).as_bytes()).unwrap_err();
    }
    for name in ["../x", "a/*/b", "", "**", "*/a", "A/*"] {
        name.parse::<fermion_package::trust::NamePattern>().unwrap_err();
    }
}

fn put(folder: &Path, file: &str, bytes: &[u8]) {
    fs::write(folder.join(file), bytes).unwrap();
}

#[test]
fn a_process_takes_up_good_documents_and_keeps_the_last_good_one() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    accept(folder, &signed(&document(1), &[9]), at(NOW)).unwrap();
    let keeper = TrustKeeper::open(folder, at(NOW)).unwrap();
    let mut changes = keeper.subscribe();
    assert!(!keeper.reload(at(NOW)));
    // A file that somebody put there.
    put(folder, ROOT_FILE, &signed(&document(2), &[9]));
    assert!(keeper.reload(at(NOW)));
    assert_eq!(
        (changes.borrow_and_update().epoch(), keeper.current().epoch()),
        (2, 2)
    );
    let good = signed(&document(3), &[9]);
    for bad in [
        &good[..good.len() / 2],
        b"",
        b"{}",
        &signed(&document(1), &[9]),
        &signed(&document(3), &[1]),
    ] {
        put(folder, ROOT_FILE, bad);
        assert!(!keeper.reload(at(NOW)));
        assert_eq!(keeper.current().epoch(), 2);
        assert_eq!(
            Trust::load(folder, at(NOW)).unwrap().epoch(),
            2,
            "also after a restart"
        );
    }
    fs::remove_file(folder.join(ROOT_FILE)).unwrap();
    assert!(!keeper.reload(at(NOW)));
    fs::create_dir(folder.join(ROOT_FILE)).unwrap();
    assert!(!keeper.reload(at(NOW)));
    fs::remove_dir(folder.join(ROOT_FILE)).unwrap();
    // Over the API, and from another process.
    assert!(keeper.apply(&good, at(NOW)).unwrap());
    assert!(!keeper.apply(&good, at(NOW)).unwrap());
    accept(folder, &signed(&document(4), &[9]), at(NOW)).unwrap();
    assert!(keeper.reload(at(NOW)));
    assert_eq!(keeper.apply(&good, at(NOW)).unwrap_err().code(), "ROLLBACK");
    // Nobody can take a process back by taking its files away.
    for file in [ROOT_FILE, ACCEPTED_FILE] {
        fs::remove_file(folder.join(file)).unwrap();
    }
    assert!(!keeper.reload(at(NOW)));
    assert_eq!(keeper.current().epoch(), 4);
}

#[test]
fn the_first_root_needs_an_operator_at_the_machine() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let first = signed(&document(1), &[9]);
    let keeper = TrustKeeper::open(folder, at(NOW)).unwrap();
    assert_eq!(keeper.apply(&first, at(NOW)).unwrap_err().code(), "TRUST_INVALID");
    put(folder, ROOT_FILE, &first);
    assert!(!keeper.reload(at(NOW)));
    let error = Trust::load(folder, at(NOW)).unwrap_err();
    assert!(error.to_string().contains("fermion trust apply"), "{error}");
    accept(folder, &first, at(NOW)).unwrap();
    assert!(keeper.reload(at(NOW)));
    assert_eq!(keeper.current().epoch(), 1);
}
