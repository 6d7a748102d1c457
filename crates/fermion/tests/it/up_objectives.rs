//! What an app promises, over a running platform: requests that fail use up its budget, an alert says so to a person and
//! to a program, and all of it is there after a restart.

use std::fs;
use std::time::Instant;

use serde_json::Value;

use crate::platform::{Site, Up};
use crate::support::PATIENCE;

const APP: &str = "apiVersion: fermion.dev/v1
kind: App
metadata: {name: shop}
spec:
  objectives:
    - {name: success, indicator: success, target: 99.9%, window: 30d}
    - {name: quick, indicator: {latency_below: 10s}, target: 95%, window: 7d}
";

/// Asks until the answer is so: frames go once a second, evaluation is every ten.
fn when(up: &Up, words: &[&str], is_so: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = up.run(words).json();
        if is_so(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{answer:#}");
    }
}

fn objective<'v>(list: &'v Value, name: &str) -> &'v Value {
    let mut objectives = list["objectives"].as_array().unwrap().iter();
    objectives.find(|view| view["objective"]["name"] == name).unwrap()
}

/// The draft says what happened, and leaves to people what only they know.
#[track_caller]
fn has_post_mortem(up: &Up, id: &str) {
    let draft = up.shown(&["alerts", "post-mortem", id]);
    for part in [
        "# Post-mortem: default/shop success (page ",
        "- 20 of 100 events were not good",
        "| r1 of acme/shop 1.0.0 was made by up |",
        "the alert fired |",
        "receivers were told: fired |",
        "operator took it on |",
        "- r1: 20 of its 100 events",
        "GUEST_TRAP, kept: error",
        "## Root cause",
        "| action | owner | until |",
    ] {
        assert!(draft.done().contains(part), "{part}: {}", draft.stdout);
    }
    up.run(&["alerts", "post-mortem", "000000000000"])
        .refused("NO_SUCH_INCIDENT");
}

#[test]
fn failures_burn_the_budget_and_somebody_is_told() {
    let site = Site::new();
    let project = site.simple("shop", "1.0.0", "p2-edge");
    fs::write(project.join("app.yaml"), APP).unwrap();
    let told = site.path().join("told");
    fs::create_dir_all(site.data()).unwrap();
    let receivers = format!(
        "[receivers.local]\nkind = \"command\"\nprogram = \"/bin/sh\"\n\
         arguments = [\"-c\", \"cat >> {0}; echo >> {0}\"]\n[[routes]]\nseverities = [\"page\"]\nreceivers = [\"local\"]\n",
        told.display()
    );
    fs::write(site.data().join("alerts.toml"), receivers).unwrap();
    let up = Up::start(&site, &[&project]);
    for _ in 0..80 {
        up.get("/shop/hello").expect(200, "Hello, world!\n");
    }
    for _ in 0..20 {
        assert_eq!(up.get("/shop/trap").code(), "GUEST_TRAP");
    }
    let list = when(&up, &["slo", "shop"], |list| {
        objective(list, "success")["whole"]["total"] == 100
    });
    let success = objective(&list, "success");
    assert_eq!(list["telemetry"], true);
    assert_eq!(success["whole"]["good"], 80);
    // A fifth of all requests fails, of which a thousandth may.
    let burn = success["whole"]["burn"].as_f64().unwrap();
    assert!((burn - 200.0).abs() < 0.1, "{success:#}");
    assert!(success["budget_left"].as_f64().unwrap() < -190.0);
    assert_eq!(success["releases"][0]["release"], 1);
    assert_eq!(success["releases"][0]["bad"], 20);
    assert_eq!(objective(&list, "quick")["whole"]["good"], 100);

    let alerts = when(&up, &["alerts"], |list| {
        list["receivers"][0]["waiting"] == 0
            && list["alerts"]
                .as_array()
                .is_some_and(|alerts| alerts.iter().any(|alert| alert["severity"] == "page"))
    });
    let mut all = alerts["alerts"].as_array().unwrap().iter();
    let page = all.find(|alert| alert["severity"] == "page").unwrap();
    let id = page["id"].as_str().unwrap();
    assert_eq!((&page["state"], &page["held"]), (&"firing".into(), &false.into()));
    assert_eq!(page["changed"]["kind"], "deploy");
    let text = fs::read_to_string(&told).unwrap();
    let document: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(document["alert"]["id"], id);
    assert_eq!(document["transition"], "fired");
    let taken = up.run(&["alerts", "ack", id, "--for", "2h"]).json();
    assert_eq!(taken["acknowledged"]["by"], "operator");
    has_post_mortem(&up, id);
    up.stop();

    let up = Up::on(&site.data(), &[] as &[&str], &[]);
    let list = up.run(&["slo", "shop"]).json();
    assert_eq!(objective(&list, "success")["whole"]["total"], 100, "{list:#}");
    let alerts = when(&up, &["alerts"], |list| {
        !list["alerts"].as_array().unwrap().is_empty()
    });
    let mut all = alerts["alerts"].as_array().unwrap().iter();
    let page = all.find(|alert| alert["severity"] == "page").unwrap();
    assert_eq!(
        (page["id"].as_str(), &page["acknowledged"]["by"]),
        (Some(id), &"operator".into())
    );
    for words in [&["slo"][..], &["slo", "shop"], &["alerts", "list"]] {
        let shown = up.shown(words);
        assert!(shown.done().contains("success"), "{}", shown.stdout);
    }
}
