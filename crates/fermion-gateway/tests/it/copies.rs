//! Copies of requests: which are made, what is in them, and that no caller notices.

use std::sync::Arc;

use fermion_model::RequestRecord;
use fermion_model::copies::{Copied, Likeness};
use fermion_model::frame::Arm;
use fermion_model::record::Served;
use fermion_model::rollout::{Copies, Split};

use crate::app::App;
use crate::harness::Harness;
use crate::sharing::{share, split};

/// A release that is tried. Paths below its name are behaviours of its own: at `/next/fail` it fails, and the old one,
/// whose name is another, does not.
fn next(change: impl FnOnce(&mut App)) -> Arc<App> {
    let mut next = App::named("next");
    next.served = Arc::new(Served {
        release: 2,
        ..(*next.served).clone()
    });
    change(&mut next);
    Arc::new(next)
}

fn tried(copies: Copies) -> Split {
    Split {
        copies: Some(copies),
        ..split(0)
    }
}

/// The next record, which must be a caller's.
fn answered(harness: &Harness) -> RequestRecord {
    let record = harness.record();
    assert_eq!((record.arm, &record.copied), (Arm::Stable, &None));
    record
}

/// The next record, which must be a copy's.
fn copied(harness: &Harness) -> Copied {
    let record = harness.record();
    assert_eq!(record.arm, Arm::Mirror, "{record:?}");
    assert_eq!(record.served.unwrap().release, 2);
    *record.copied.expect("a copy is compared")
}

#[test]
fn a_copy_lacks_who_asked_and_is_compared_with_what_they_got() {
    let harness = Harness::start();
    let next = next(|_| {});
    share(&harness, &next, &tried(Copies::default()));
    assert_eq!(harness.get("/hello").text(), "hello\n");
    assert_eq!(answered(&harness).status, 200);
    let same = copied(&harness);
    assert_eq!(
        (same.likeness, same.status, same.path.as_str()),
        (Some(Likeness::Same), 200, "")
    );

    // What both show has a trace in it, which is never the same.
    harness.get("/x?secret=1");
    answered(&harness);
    let other = copied(&harness);
    assert_eq!(
        (other.likeness, other.path.as_str()),
        (Some(Likeness::Body), "/x")
    );

    // Without the credentials only failing says anything.
    let request = "GET /x HTTP/1.1\r\nhost: x\r\nx-kept: 1\r\ncookie: a=1\r\nauthorization: b\r\n\
                   proxy-authorization: c\r\n\r\n";
    let reply = harness.ask(request);
    assert!(reply.text().contains("cookie: a=1") && !reply.text().contains("x-fermion-copy"));
    answered(&harness);
    assert_eq!(copied(&harness).likeness, Some(Likeness::Same));
    let shown = next.copies.lock().unwrap().pop().unwrap();
    assert!(
        shown.contains("x-kept: 1\n") && shown.contains("x-fermion-copy: 1\n"),
        "{shown}"
    );
    assert!(
        !shown.contains("cookie") && !shown.contains("authorization"),
        "{shown}"
    );
    assert!(harness.app.copies.lock().unwrap().is_empty());
}

#[test]
fn failures_of_the_copy_are_nobodys_but_its_own() {
    let harness = Harness::start();
    let next = next(|_| {});
    share(&harness, &next, &tried(Copies::default()));
    for (path, likeness) in [
        ("/next/fail", Likeness::Failed),
        ("/next/cut", Likeness::Failed),
        ("/next/short", Likeness::Failed),
        ("/next/500", Likeness::Status),
    ] {
        assert_eq!(harness.get(path).status, 200, "{path}");
        answered(&harness);
        let copy = copied(&harness);
        assert_eq!((copy.likeness, copy.path.as_str()), (Some(likeness), path));
    }
    // A caller's answer that is none cannot be compared with.
    assert_eq!(harness.get("/fail").code(), "GUEST_CPU_LIMIT");
    answered(&harness);
    harness.get("/hello");
    answered(&harness);
    assert_eq!(copied(&harness).likeness, Some(Likeness::Same));
    assert_eq!(next.copies.lock().unwrap().len(), 5);
}

#[test]
fn only_methods_that_are_named_are_copied_and_no_copy_is_copied_again() {
    let mut app = App::named("app");
    app.limits.request_body_bytes = 200_000;
    let harness = Harness::with(app, Default::default());
    let next = next(|next| next.limits.request_body_bytes = 200_000);
    let post = |bytes: usize| {
        let body = "b".repeat(bytes);
        let request = format!("POST /read HTTP/1.1\r\nhost: x\r\ncontent-length: {bytes}\r\n\r\n{body}");
        assert_eq!(harness.ask(&request).text(), format!("{bytes} bytes, 0 trailers"));
        answered(&harness);
    };
    share(&harness, &next, &tried(Copies::default()));
    post(10);
    harness.ask("GET /hello HTTP/1.1\r\nhost: x\r\nx-fermion-copy: 1\r\n\r\n");
    answered(&harness);
    assert!(next.copies.lock().unwrap().is_empty());

    let copies = Copies {
        methods: vec!["POST".to_owned()],
        ..Copies::default()
    };
    share(&harness, &next, &tried(copies));
    for bytes in [1, 60_000] {
        post(bytes);
        assert_eq!(copied(&harness).likeness, Some(Likeness::Same), "{bytes}");
    }
    // Too long to copy, whether it says so or not.
    share_anew_and_skip(&harness, &next);
}

/// A body of more than is copied is not, and that is counted.
fn share_anew_and_skip(harness: &Harness, next: &Arc<App>) {
    let copies = Copies {
        methods: vec!["GET".to_owned(), "POST".to_owned()],
        ..Copies::default()
    };
    share(harness, next, &tried(copies));
    let before = next.copies.lock().unwrap().len();
    let body = "b".repeat(70_000);
    harness.ask(&format!(
        "POST /read HTTP/1.1\r\nhost: x\r\ncontent-length: 70000\r\n\r\n{body}"
    ));
    answered(harness);
    harness.ask(&format!(
        "POST /read HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n11170\r\n{body}\r\n0\r\n\r\n"
    ));
    answered(harness);
    let (mut skipped, mut copies) = (0, 0);
    while skipped < 2 {
        harness.get("/hello");
        answered(harness);
        skipped += copied(harness).skipped;
        copies += 1;
    }
    assert_eq!(next.copies.lock().unwrap().len(), before + copies);
}

#[test]
fn copies_have_a_tenth_of_the_places_and_what_finds_none_is_dropped() {
    let harness = Harness::start();
    let next = next(|next| next.limits.concurrency = 10);
    share(&harness, &next, &tried(Copies::default()));
    assert_eq!(harness.get("/next/never").status, 200);
    answered(&harness);
    harness.wait_for(&next.arrived, 1);
    for _ in 0..3 {
        assert_eq!(harness.get("/hello").status, 200);
        answered(&harness);
    }
    next.gate.add_permits(1);
    let late = copied(&harness);
    assert_eq!((late.likeness, late.dropped), (Some(Likeness::Body), 3));
}

#[test]
fn who_is_not_in_the_audience_is_not_copied() {
    let harness = Harness::start();
    let next = next(|_| {});
    let mut split = tried(Copies::default());
    split.audience = vec![fermion_model::rollout::Condition {
        field: fermion_model::rollout::Field::Query,
        name: "lang".to_owned(),
        value: Some("de".to_owned()),
        countries: Vec::new(),
    }];
    share(&harness, &next, &split);
    harness.get("/hello?lang=en");
    answered(&harness);
    harness.get("/hello?lang=de");
    answered(&harness);
    assert_eq!(copied(&harness).likeness, Some(Likeness::Same));
    assert_eq!(next.copies.lock().unwrap().len(), 1);
}
