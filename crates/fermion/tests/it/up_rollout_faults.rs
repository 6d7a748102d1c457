//! The other strategies, good and bad, and rollouts whose platform is killed or whose registry is gone.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::Value;

use crate::platform::remotes::{Kind, Place, Remote};
use crate::platform::{Site, Up};
use crate::up_rollout::{TRAP, project, status_weight, under_load, until, watched};

const BLUE_GREEN: &str = "{strategy: blue-green, steps: [{weight: 100%, bake: 4s}], post_bake: 1s}";
const ROLLING: &str =
    "{strategy: rolling, steps: [{weight: 50%, bake: 4s}, {weight: 100%, bake: 4s}], post_bake: 1s}";

/// Every weight that the rollout had, in order, each once.
fn weights(rollout: &Value) -> Vec<u64> {
    let events = rollout["events"].as_array().unwrap();
    let mut weights: Vec<_> = events
        .iter()
        .map(|event| event["weight"].as_u64().unwrap())
        .collect();
    weights.dedup();
    weights
}

/// A good release takes over by this strategy, and a bad one is taken back, while callers come all the time.
fn goes_out_and_back(strategy: &str, expected: &[u64]) {
    let site = Site::new();
    let up = Up::start(&site, &[project(&site, "1.0.0", "p2-hello", strategy)]);
    let next = project(&site, "1.0.1", "p2-hello", strategy);
    let ((status, last), met) = under_load(up.gateway, TRAP, |_| {
        up.deploy(&next);
        watched(&up)
    });
    assert_eq!((status, met.bad.load(Relaxed)), (Some(0), 0), "{last}");
    assert_eq!(weights(&last), expected, "{last}");

    let bad = project(&site, "1.0.2", "p2-edge", strategy);
    let (hit, met) = under_load(up.gateway, TRAP, |met| {
        up.deploy(&bad);
        until(&up, |rollout| {
            rollout["canary"] == 3
                && rollout["phase"].as_str().unwrap().starts_with("aborting")
                && status_weight(&up) == Some(0)
        });
        let (hit, good) = (met.bad.load(Relaxed), met.good.load(Relaxed));
        while met.good.load(Relaxed) < good + 200 {
            std::thread::yield_now();
        }
        // Requests that had been routed before may still have ended in a failure.
        assert!(met.bad.load(Relaxed) <= hit + 2, "nobody is hit any more");
        hit
    });
    assert!(hit > 0, "it was bad");
    let (status, last) = watched(&up);
    assert_eq!(status, Some(1), "{last}");
    // Whoever was hit is counted, to the last one.
    let counted = last["canary_arm"]["failures"].as_u64().unwrap();
    assert_eq!(counted, met.bad.load(Relaxed), "{last}");
    up.stop();
}

#[test]
fn blue_green_switches_at_once_and_returns_at_once() {
    goes_out_and_back(BLUE_GREEN, &[0, 10_000]);
}

#[test]
fn rolling_goes_by_shares_and_returns() {
    goes_out_and_back(ROLLING, &[0, 5_000, 10_000]);
}

/// `kill -9` at each transition that can be seen, until it is over; `order` is given once, at the first bake.
fn killed_at_each_transition(order: Option<&str>) -> Value {
    let site = Site::new();
    let mut up = Up::start(&site, &[project(&site, "1.0.0", "p2-hello", ROLLING)]);
    up.deploy(&project(&site, "1.0.1", "p2-hello", ROLLING));
    let mut seen = Value::Null;
    let mut order = order;
    let mut killed = 0;
    loop {
        let rollout = until(&up, |rollout| {
            rollout["events"] != seen || rollout["over"] == true
        });
        if rollout["over"] == true {
            break;
        }
        if let Some(word) = order.filter(|_| rollout["phase"] == "baking") {
            up.run(&[word, "shop"]).done();
            order = None;
        }
        seen = up.run(&["rollout", "status", "shop"]).json()["events"].clone();
        up.kill();
        killed += 1;
        up = Up::start::<&Path>(&site, &[]);
    }
    // Some pass while the platform starts.
    assert!(killed >= 2, "{killed}");
    let (_, last) = watched(&up);
    let serving = up.app("shop")["serving"].clone();
    assert_eq!(
        serving,
        if last["phase"] == "succeeded" { 2 } else { 1 },
        "{last}"
    );
    up.get("/shop/").expect(200, crate::up_rollout::HELLO);
    up.stop();
    last
}

#[test]
fn killed_at_each_transition_it_ends_where_it_would_have() {
    let last = killed_at_each_transition(None);
    assert_eq!(last["phase"], "succeeded", "{last}");
}

#[test]
fn killed_on_its_way_back_it_goes_back() {
    let last = killed_at_each_transition(Some("abort"));
    assert_eq!(last["phase"], "rolled-back: person", "{last}");
}

#[test]
fn without_its_registry_a_rollout_goes_on_and_goes_back() {
    for order in [None, Some("abort")] {
        let here = Place::new();
        let remote = Remote::start(Kind::Own, &here.site);
        for version in ["1.0.0", "1.0.1"] {
            here.push(&remote, "shop", version, "p2-hello");
        }
        let there = Place::trusting(&here);
        let operations = there.site.path().join("operations");
        fs::create_dir(&operations).unwrap();
        let app = |version: &str| {
            let package = remote.at(&format!("acme/shop:{version}"));
            let text = format!(
                "apiVersion: fermion.dev/v1\nkind: App\nmetadata: {{name: shop}}\nspec:\n  package: {package}\n  \
                 rollout: {ROLLING}\n"
            );
            fs::write(operations.join("app.yaml"), text).unwrap();
        };
        app("1.0.0");
        let up = Up::start::<&str>(&there.site, &[]);
        up.deploy(&operations);
        app("1.0.1");
        up.deploy(&operations);
        remote.kill();
        until(&up, |rollout| rollout["phase"] == "baking");
        if let Some(word) = order {
            up.run(&[word, "shop"]).done();
        }
        let (_, last) = watched(&up);
        let (phase, serving) = match order {
            None => ("succeeded", 2),
            Some(_) => ("rolled-back: person", 1),
        };
        assert_eq!(last["phase"], phase, "{last}");
        assert_eq!(up.app("shop")["serving"], serving);
        up.stop();
    }
}
