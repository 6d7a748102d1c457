//! A release that is tried with copies of requests, on the real platform: callers get every answer from the old one,
//! what is done for a copy leaves no trace, and the differences are told.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde_json::Value;

use crate::platform::{Package, Site, Up};
use crate::support::upstream::Upstream;
use crate::up_rollout::{HELLO, project, under_load, until, watched, with_rollout};

/// Short, and enough for a verdict.
const SHADOW: &str = "{strategy: shadow, mirror: {for: 3s, min_compared: 20}}";

fn count(rollout: &Value, of: &str) -> u64 {
    rollout["copies"][of]
        .as_u64()
        .unwrap_or_else(|| panic!("{rollout}"))
}

#[test]
fn a_shadow_that_answers_alike_succeeds_without_traffic_and_can_be_promoted() {
    let site = Site::new();
    let up = Up::start(&site, &[project(&site, "1.0.0", "p2-hello", SHADOW)]);
    let next = project(&site, "1.0.1", "p2-edge", SHADOW);
    let ((status, last), met) = under_load(up.gateway, "/shop/", |_| {
        let deployed = up.deploy(&next);
        assert_eq!(deployed["serving"], 1, "{deployed}");
        watched(&up)
    });
    assert_eq!((status, &last["phase"]), (Some(0), &"succeeded".into()), "{last}");
    assert_eq!(met.bad(), 0);
    assert!(count(&last, "same") >= 20, "{last}");
    for other in ["status", "headers", "body", "failed"] {
        assert_eq!(count(&last, other), 0, "{last}");
    }
    assert_eq!(last["canary_arm"]["requests"], 0, "{last}");
    let events = last["events"].as_array().unwrap();
    assert!(events.iter().all(|event| event["weight"] == 0), "{last}");
    // It serves nobody until somebody says so.
    assert_eq!(up.app("shop")["serving"], 1);
    assert_ne!(up.get("/shop/status/201").status, 201);
    up.run(&["promote", "shop"]).done();
    up.waits_for("shop", |app| app["serving"] == 2);
    assert_eq!(up.get("/shop/status/201").status, 201);
    let again = up.run(&["promote", "shop"]).refused("ROLLOUT_PHASE");
    assert!(again.contains("r2 serves by now"), "{again}");
    up.stop();
}

#[test]
fn a_shadow_that_answers_otherwise_is_reported_and_nobody_notices() {
    let site = Site::new();
    let up = Up::start(&site, &[project(&site, "1.0.0", "p2-hello", SHADOW)]);
    let next = project(&site, "1.0.1", "p2-edge", SHADOW);
    // One counts, the other says hello. The trap is no more than a difference, either.
    for (path, differs) in [("/shop/state?secret=1", "body"), ("/shop/trap", "failed")] {
        let ((status, last), met) = under_load(up.gateway, path, |_| {
            up.run(&["deploy", "--retry", next.to_str().unwrap()]).done();
            watched(&up)
        });
        assert_eq!(status, Some(1), "{last}");
        assert_eq!(last["phase"], "rolled-back: differs", "{last}");
        assert_eq!(met.bad(), 0, "callers have the old release's answers");
        assert!(count(&last, differs) >= 20 && count(&last, "same") == 0, "{last}");
        let example = &last["copies"]["examples"][0];
        let plain = path.split('?').next().unwrap().strip_prefix("/shop").unwrap();
        assert_eq!(
            (&example["path"], &example["differs"]),
            (&plain.into(), &differs.into()),
            "{last}"
        );
        assert!(!last.to_string().contains("secret"), "{last}");
        assert!(last["why"].as_str().unwrap().contains("answers differ"), "{last}");
    }
    up.get("/shop/state").expect(200, HELLO);
    up.stop();
}

#[test]
fn what_is_done_for_a_copy_leaves_no_trace() {
    let upstream = Upstream::start();
    let http = format!("[capabilities]\nhttp = [\"http://{}\"]\n", upstream.address);
    let stores = "[capabilities]\nkeyvalue = [\"rates\"]\n".to_owned();
    let fetch = upstream.via("/shop/fetch", "/status/200");
    let echo = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = echo.local_addr().unwrap().port();
    let talks = echoes(echo);
    let socket = format!("[capabilities]\nsockets = [\"tcp://127.0.0.1:{port}\"]\n");
    for (guest, more, path) in [
        ("p2-sockets", socket, format!("/shop/tcp4/127/0/0/1/{port}")),
        ("p2-keyvalue", stores, "/shop/rates/increment/a/1".to_owned()),
        ("p2-edge", http, fetch),
    ] {
        let site = Site::new();
        let version = |version| {
            let package = Package {
                more: &more,
                ..Package::new("shop", version, guest)
            };
            with_rollout(&site.project(package), SHADOW)
        };
        let up = Up::start(&site, &[version("1.0.0")]);
        let ((_, last), met) = under_load(up.gateway, &path, |_| {
            up.deploy(&version("1.0.1"));
            watched(&up)
        });
        // The copies were sent, and were refused what the callers' requests got.
        assert_eq!(last["phase"], "rolled-back: differs", "{guest}: {last}");
        assert!(count(&last, "status") >= 20, "{guest}: {last}");
        let example = &last["copies"]["examples"][0];
        assert_eq!(
            (&example["stable_status"], &example["canary_status"]),
            (&200.into(), &502.into()),
            "{last}"
        );
        assert_eq!(met.bad(), 0);
        let done = match guest {
            "p2-edge" => upstream.requests().to_string(),
            "p2-sockets" => talks.load(Relaxed).to_string(),
            _ => up.get("/shop/rates/get/a").text().trim().to_owned(),
        };
        assert_eq!(done, met.good().to_string(), "{guest}: once for each caller");
        up.stop();
    }
}

/// Sends back what comes first on each connection; counts them. Its thread ends with the process.
fn echoes(listener: TcpListener) -> Arc<AtomicU64> {
    let talks = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&talks);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            counted.fetch_add(1, Relaxed);
            let mut bytes = [0; 64];
            if let Ok(count) = stream.read(&mut bytes) {
                drop(stream.write_all(&bytes[..count]));
            }
        }
    });
    talks
}

#[test]
fn a_canary_may_be_mirrored_before_its_first_step() {
    let site = Site::new();
    let rollout = "{strategy: rolling, mirror: {for: 2s, min_compared: 10}, steps: [{weight: 100%, bake: 1s}], \
                   post_bake: 1s}";
    let up = Up::start(&site, &[project(&site, "1.0.0", "p2-hello", rollout)]);
    let next = project(&site, "1.0.1", "p2-hello", rollout);
    let ((status, last), met) = under_load(up.gateway, "/shop/", |_| {
        up.deploy(&next);
        until(&up, |rollout| rollout["phase"] != "mirroring");
        watched(&up)
    });
    assert_eq!((status, &last["phase"]), (Some(0), &"succeeded".into()), "{last}");
    assert_eq!(met.bad(), 0);
    let phases: Vec<_> = last["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| &event["phase"])
        .collect();
    let at = |phase: &str| phases.iter().position(|entered| *entered == phase);
    assert!(
        at("mirroring") < at("shifting") && at("mirroring").is_some(),
        "{phases:?}"
    );
    assert_eq!(up.app("shop")["serving"], 2);
    up.stop();
}
