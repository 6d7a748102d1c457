//! Channels: what a name stands for, never again what it stood for before.

use std::time::{Duration, SystemTime};

use fermion_package::channel::{self, CHANNEL_SCHEMA, ChannelDocument, Seen};
use fermion_package::trust::{
    KeyEntry, Moment, ROOT_SCHEMA, Role, RootDocument, SignedRoot, Thresholds, accept,
};
use fermion_package::{Trust, When, publish};
use tempfile::TempDir;

use crate::fixtures::{World, component, key, manifest, world};

const NOW: u64 = 1_795_219_200;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

struct Place {
    world: World,
    folder: TempDir,
    trust: Trust,
}

/// Key 1 signs packages, key 2 channels, key 9 roots; acme/* goes only through channels.
fn place() -> Place {
    let entry = |number: u8, role| KeyEntry::new(&format!("key-{number}"), key(number).public(), [role]);
    let document = RootDocument {
        schema: ROOT_SCHEMA,
        serial: 1,
        expires: Moment::of(at(NOW + 1_000_000)),
        grace_seconds: 0,
        keys: vec![
            entry(9, Role::Root),
            entry(1, Role::Package),
            entry(2, Role::Channel),
        ],
        thresholds: Thresholds::default(),
        channels: vec!["acme/*".parse().unwrap()],
    };
    let mut root = SignedRoot::draft(&document).unwrap();
    root.sign(&key(9)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let trust = accept(folder.path(), &root.write(), at(NOW)).unwrap();
    Place {
        world: world(),
        folder,
        trust,
    }
}

impl Place {
    fn document(&self, serial: u64) -> ChannelDocument {
        ChannelDocument {
            schema: CHANNEL_SCHEMA,
            name: self.world.packed.reference.name.clone(),
            channel: "stable".to_owned(),
            digest: *self.world.digest(),
            version: self.world.packed.reference.version.clone(),
            serial,
            expires: Moment::of(at(NOW + 1000)),
        }
    }

    fn publish(&self, document: &ChannelDocument, by: u8) {
        channel::publish(&self.world.store, document, &key(by)).unwrap();
    }

    fn check(&self, now: u64) -> (&'static str, String) {
        let seen = Seen::new(self.folder.path());
        let when = When::admission(at(now));
        let name = &self.world.packed.reference.name;
        match channel::check(
            &self.world.store,
            name,
            self.world.digest(),
            &self.trust,
            &seen,
            when,
        ) {
            Ok(()) => ("OK", String::new()),
            Err(error) => (error.code(), error.to_string()),
        }
    }
}

#[test]
fn a_name_that_demands_a_channel_is_let_in_only_through_one() {
    let place = place();
    let (code, words) = place.check(NOW);
    assert_eq!(code, "CHANNEL_MISMATCH");
    assert!(words.contains("fermion channel publish"), "{words}");
    place.publish(&place.document(1), 2);
    assert_eq!(place.check(NOW).0, "OK");
    let other = publish(
        &manifest("acme/hello"),
        &component(&[], "other"),
        &place.world.store,
        &key(1),
    )
    .unwrap();
    let next = ChannelDocument {
        digest: other.digest,
        ..place.document(2)
    };
    place.publish(&next, 2);
    let (code, words) = place.check(NOW);
    assert_eq!(code, "CHANNEL_MISMATCH");
    assert!(words.contains("stable names 1.2.3"), "{words}");
    // Names that nobody listed go as before.
    let free = "other/hello".parse().unwrap();
    assert!(!place.trust.demands_channel(&free));
}

#[test]
fn a_replayed_document_is_a_rollback_whoever_puts_it_there() {
    let place = place();
    place.publish(&place.document(7), 2);
    assert_eq!(place.check(NOW).0, "OK");
    let name = &place.world.packed.reference.name;
    let old = place.world.store.tag(name, "channel-stable").unwrap().unwrap();
    place.publish(&place.document(8), 2);
    assert_eq!(place.check(NOW).0, "OK");
    place.world.set_tag("channel-stable", &old);
    let (code, words) = place.check(NOW);
    assert_eq!(code, "ROLLBACK");
    assert!(
        words.contains("serial 7") && words.contains("serial 8 has been seen"),
        "{words}"
    );
    // The same serial with other content is one, too.
    let forked = ChannelDocument {
        expires: Moment::of(at(NOW + 5000)),
        ..place.document(8)
    };
    place.publish(&forked, 2);
    assert_eq!(place.check(NOW).0, "ROLLBACK");
    place.publish(&place.document(9), 2);
    assert_eq!(place.check(NOW).0, "OK");
    // A memory that cannot be read believes nothing.
    std::fs::write(place.folder.path().join("channels.seen.json"), "{").unwrap();
    assert_eq!(place.check(NOW).0, "TRUST_INVALID");
}

#[test]
fn time_and_signer_decide() {
    let place = place();
    place.publish(&place.document(1), 2);
    assert_eq!(place.check(NOW + 999).0, "OK");
    let (code, words) = place.check(NOW + 1000);
    assert_eq!(code, "STALE");
    assert!(words.contains("fermion channel publish"), "{words}");
    for stranger in [1, 9, 5] {
        place.publish(&place.document(2), stranger);
        assert_eq!(place.check(NOW).0, "SIG_UNTRUSTED", "key {stranger}");
    }
    // A refused document leaves no trace in the memory.
    place.publish(&place.document(1), 2);
    assert_eq!(place.check(NOW).0, "OK");
}

#[test]
fn a_document_of_another_name_or_channel_does_not_pass() {
    let place = place();
    let other = ChannelDocument {
        channel: "beta".to_owned(),
        ..place.document(1)
    };
    place.publish(&other, 2);
    let name = &place.world.packed.reference.name;
    let tagged = place.world.store.tag(name, "channel-beta").unwrap().unwrap();
    assert_eq!(place.check(NOW).0, "OK", "any channel will do");
    place.world.set_tag("channel-stable", &tagged);
    let seen = Seen::new(place.folder.path());
    let when = When::admission(at(NOW));
    let error = channel::read(&place.world.store, name, "stable", &place.trust, &seen, when).unwrap_err();
    assert_eq!(error.code(), "TRUST_INVALID", "{error}");
    for bad in ["../x", "a b", ""] {
        let read = channel::read(&place.world.store, name, bad, &place.trust, &seen, when);
        assert!(read.is_err(), "{bad:?}");
    }
}
