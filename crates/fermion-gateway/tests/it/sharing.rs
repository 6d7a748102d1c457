//! Requests of one app between two releases: who gets which, and what the guest sees of that.

use std::sync::Arc;

use fermion_gateway::{RouteTable, Routed, Share};
use fermion_model::RequestRecord;
use fermion_model::frame::Arm;
use fermion_model::record::Served;
use fermion_model::rollout::{Condition, Field, Goal, Keep, MetricKind, MetricSpec, Split, Sticky};
use http::HeaderValue;
use http::header::{COOKIE, SET_COOKIE};

use crate::app::App;
use crate::harness::{Client, Harness, Reply, any};
use crate::http2;

pub(crate) fn split(weight: u16) -> Split {
    Split {
        rollout: 1,
        epoch: 1,
        weight,
        salt: "0123456789abcdef".repeat(2),
        sticky: Sticky::Cookie,
        testers: Vec::new(),
        audience: Vec::new(),
        copies: None,
        metric: None,
    }
}

/// The next release of the harness's app, which takes larger bodies.
fn canary(harness: &Harness) -> Arc<App> {
    let mut canary = App::named(&harness.app.served.app);
    canary.served = Arc::new(Served {
        release: 2,
        ..(*harness.app.served).clone()
    });
    canary.limits.request_body_bytes = 2000;
    Arc::new(canary)
}

pub(crate) fn share(harness: &Harness, canary: &Arc<App>, split: &Split) {
    let routed = Routed {
        route: any("/*"),
        target: Arc::clone(&harness.app),
        share: Some(Arc::new(
            Share::new(split, Arc::clone(canary), &Arc::default(), None).unwrap(),
        )),
    };
    harness
        .routes
        .store(Arc::new(RouteTable::build(vec![routed]).unwrap()));
}

/// The part and the caller, after checking that the part's release served.
fn placed(record: &RequestRecord) -> (Arm, u64) {
    let release = record.served.as_ref().unwrap().release;
    assert_eq!(release, if record.arm == Arm::Canary { 2 } else { 1 });
    (record.arm, record.caller)
}

fn ask(client: &mut Client, path: &str, cookie: &str) -> Reply {
    client.write(format!("GET {path} HTTP/1.1\r\nhost: x\r\ncookie: {cookie}\r\n\r\n").as_bytes());
    client.reply()
}

/// What a browser keeps of an answer that gives it a cookie.
fn kept(field: &str) -> String {
    assert!(field.starts_with("fermion_default_app="), "{field}");
    assert!(field.ends_with("; Path=/; HttpOnly; SameSite=Lax; Max-Age=2592000"));
    field.split(';').next().unwrap().to_owned()
}

#[test]
fn a_caller_gets_one_cookie_and_stays_where_it_says() {
    let harness = Harness::start();
    let canary = canary(&harness);
    share(&harness, &canary, &split(5_000));
    let mut client = harness.connect();
    let mut arms = Vec::new();
    for _ in 0..64 {
        let reply = ask(&mut client, "/x", "a=1");
        let cookie = kept(reply.header("set-cookie").expect("a cookie"));
        assert!(reply.text().contains("\ncookie: a=1\n"));
        let first = placed(&harness.record());
        for _ in 0..3 {
            let reply = ask(&mut client, "/x", &format!("a=1; {cookie}; b=2"));
            assert_eq!(reply.header("set-cookie"), None);
            assert!(
                reply.text().contains("\ncookie: a=1; b=2\n") && !reply.text().contains("fermion_"),
                "{}",
                reply.text()
            );
            assert_eq!(placed(&harness.record()), first);
        }
        arms.push(first.0);
    }
    assert!(arms.contains(&Arm::Stable) && arms.contains(&Arm::Canary));
}

#[test]
fn without_anything_to_share_nobody_gets_a_cookie() {
    let harness = Harness::start();
    let canary = canary(&harness);
    let mut client = harness.connect();
    let reply = ask(&mut client, "/x", "fermion_default_app=1");
    assert!(reply.text().contains("fermion_default_app=1"), "nobody looked");
    assert_eq!(reply.header("set-cookie"), None);
    assert_eq!(placed(&harness.record()), (Arm::Stable, 0));
    for (weight, arm) in [(0, Arm::Stable), (10_000, Arm::Canary)] {
        share(&harness, &canary, &split(weight));
        let reply = ask(&mut client, "/x", "fermion_default_app=1");
        assert!(!reply.text().contains("cookie"));
        assert_eq!(reply.header("set-cookie"), None);
        assert_eq!(placed(&harness.record()), (arm, 0));
    }
}

#[test]
fn the_chosen_release_s_limits_hold() {
    let harness = Harness::start();
    let canary = canary(&harness);
    let request = format!(
        "POST /read HTTP/1.1\r\nhost: x\r\ncontent-length: 1500\r\n\r\n{}",
        "x".repeat(1500)
    );
    for (weight, status) in [(0, 413), (10_000, 200)] {
        share(&harness, &canary, &split(weight));
        assert_eq!(harness.ask(&request).status, status, "at {weight}");
        placed(&harness.record());
    }
}

#[test]
fn who_gets_the_platform_s_answer_gets_a_cookie_too() {
    let harness = Harness::start();
    let canary = canary(&harness);
    share(&harness, &canary, &split(5_000));
    for path in ["/fail", "/cut-at-once", "/many-headers"] {
        let reply = harness.get(path);
        assert!(!reply.code().is_empty());
        let cookie = kept(reply.header("set-cookie").expect("a cookie"));
        let first = placed(&harness.record());
        let reply = ask(&mut harness.connect(), path, &cookie);
        assert_eq!(reply.header("set-cookie"), None, "{path}");
        assert_eq!(placed(&harness.record()), first);
    }
}

#[test]
fn a_name_in_a_header_needs_no_cookie_and_a_tester_no_luck() {
    let harness = Harness::start();
    let canary = canary(&harness);
    let mut asks = split(1);
    asks.sticky = Sticky::Header("x-user".to_owned());
    asks.testers = vec![Condition {
        field: Field::Query,
        name: "try".to_owned(),
        value: Some("new one".to_owned()),
        countries: Vec::new(),
    }];
    share(&harness, &canary, &asks);
    for (target, arm) in [("/x?try=new+one", Arm::Canary), ("/x?try=new", Arm::Stable)] {
        let reply = harness.ask(&format!(
            "GET {target} HTTP/1.1\r\nhost: x\r\nx-user: alice\r\n\r\n"
        ));
        assert_eq!(reply.header("set-cookie"), None);
        assert!(reply.text().contains("\nx-user: alice\n"));
        assert_eq!(placed(&harness.record()).0, arm, "{target}");
    }
}

#[test]
fn a_thousand_callers_never_go_back_while_the_weight_grows() {
    let harness = Harness::start();
    let canary = canary(&harness);
    let mut client = harness.connect();
    let mut callers: Vec<(String, Arm)> = vec![(String::new(), Arm::Stable); 1_000];
    for weight in [100, 1_000, 2_500, 5_000, 10_000] {
        share(&harness, &canary, &split(weight));
        for (cookie, before) in &mut callers {
            let reply = ask(&mut client, "/hello", cookie);
            match reply.header("set-cookie") {
                Some(field) if cookie.is_empty() => *cookie = kept(field),
                again => assert_eq!(again, None),
            }
            let (arm, caller) = placed(&harness.record());
            assert!(arm >= *before && caller != 0, "went back at {weight}");
            *before = arm;
        }
        let canaries = callers.iter().filter(|(_, arm)| *arm == Arm::Canary).count();
        let (share, count) = (f64::from(weight) / 10_000.0, canaries as f64);
        // Seven standard deviations: callers are others in each run.
        let spread = 7.0 * (1_000.0 * share * (1.0 - share)).sqrt();
        assert!(
            (count - 1_000.0 * share).abs() <= spread,
            "{canaries} at {weight}"
        );
    }
}

#[test]
fn http_2_is_shared_alike() {
    let harness = Harness::start();
    let canary = canary(&harness);
    share(&harness, &canary, &split(5_000));
    http2::run(&harness, async |mut sender| {
        let mut arms = Vec::new();
        for round in 0..64 {
            let path = ["/x", "/cut-at-once"][round % 2];
            let answer = sender.send_request(http2::get(path)).await.unwrap();
            let cookie = kept(answer.headers()[SET_COOKIE].to_str().unwrap());
            drop(http2::text(answer).await);
            let first = placed(&http2::record_beside(&harness).await);
            // Each cookie in a field of its own, as browsers send them.
            let mut request = http2::get("/x");
            for pair in ["a=1", &cookie, "b=2"] {
                let value = HeaderValue::from_str(pair).unwrap();
                request.headers_mut().append(COOKIE, value);
            }
            let answer = sender.send_request(request).await.unwrap();
            assert!(!answer.headers().contains_key(SET_COOKIE));
            let text = http2::text(answer).await;
            assert!(text.contains("\ncookie: a=1\ncookie: b=2\n") && !text.contains("fermion_"));
            assert_eq!(placed(&http2::record_beside(&harness).await), first);
            arms.push(first.0);
        }
        assert!(arms.contains(&Arm::Stable) && arms.contains(&Arm::Canary));
    });
}

#[test]
fn what_an_experiment_counts_is_counted_once_a_caller_who_is_part_of_it() {
    let harness = Harness::start();
    let canary = canary(&harness);
    let metric = |kind, strip| MetricSpec {
        header: "x-conversion".to_owned(),
        goal: Goal::Increase,
        kind,
        strip,
        keep: Keep::A,
    };
    let counted = |kind, strip, weight| {
        let mut split = split(weight);
        split.metric = Some(metric(kind, strip));
        split.audience = vec![asked("lang")];
        share(&harness, &canary, &split);
        let mut client = harness.connect();
        let mut answer = |path: &str, cookie: &str| {
            let reply = ask(&mut client, path, cookie);
            assert_eq!(
                reply.header("x-conversion").is_some(),
                !strip && path.starts_with("/converts")
            );
            let cookie = reply.header("set-cookie").map(kept).unwrap_or_default();
            (harness.record().metric, cookie)
        };
        let (none, cookie) = answer("/x?lang", "");
        assert_eq!(none, None, "the answer says nothing");
        let (first, _) = answer("/converts?lang", &cookie);
        assert_eq!(answer("/converts?lang", &cookie).0, None, "once is enough");
        assert_eq!(answer("/converts?lang", "").0, first, "another caller");
        assert_eq!(answer("/converts", "").0, None, "not part of it");
        first
    };
    assert_eq!(counted(MetricKind::Conversion, false, 5_000), Some(1.0));
    assert_eq!(counted(MetricKind::Value, true, 5_000), Some(2.5));
    for weight in [0, 10_000] {
        assert_eq!(counted(MetricKind::Value, true, weight), None, "nobody is drawn");
    }
}

fn asked(parameter: &str) -> Condition {
    Condition {
        field: Field::Query,
        name: parameter.to_owned(),
        value: None,
        countries: Vec::new(),
    }
}
