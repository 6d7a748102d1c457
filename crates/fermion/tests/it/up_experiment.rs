//! Experiments on the real platform: callers are drawn by lot, what they do is read off answers, and the release that does
//! better is kept.

use std::path::Path;

use crate::platform::{Ran, Site, Up};
use crate::up_rollout::{HELLO, TRAP, project, under_load, until, watched};

/// `p2-edge` answers this with a field that `p2-hello` does not have: there every caller converts, here nobody.
const CONVERTS: &str = "/shop/many-headers/2";
const EXPERIMENT: &str = "{strategy: ab, steps: [{weight: 50%, bake: 1h}], post_bake: 1s, \
                          metric: {header: x-h-1, strip: true}}";

#[test]
fn the_release_that_converts_more_callers_is_kept() {
    for (old, new, end) in [
        ("p2-hello", "p2-edge", "succeeded"),
        ("p2-edge", "p2-hello", "rolled-back: loses"),
    ] {
        let site = Site::new();
        let up = Up::start(&site, &[project(&site, "1.0.0", old, EXPERIMENT)]);
        let next = project(&site, "1.0.1", new, EXPERIMENT);
        let ((_, last), met) = under_load(up.gateway, CONVERTS, |_| {
            up.deploy(&next);
            watched(&up)
        });
        assert_eq!(last["phase"], end, "{last}");
        assert_eq!(met.bad(), 0);
        let experiment = &last["experiment"];
        let callers = |arm: &str| experiment[arm].as_u64().unwrap();
        let (won, lost) = if end == "succeeded" {
            ("canary_callers", "stable_callers")
        } else {
            ("stable_callers", "canary_callers")
        };
        assert!(callers(won) >= 10 && callers(lost) == 0, "{last}");
        assert!(experiment["p"].as_f64().unwrap() < 0.05, "{last}");
        assert!(last.to_string().contains("callers converted"), "{last}");
        let serving = if end == "succeeded" { 2 } else { 1 };
        assert_eq!(up.app("shop")["serving"], serving);
        up.stop();
    }
}

#[test]
fn a_release_that_fails_is_taken_back_whatever_it_converts() {
    let site = Site::new();
    let up = Up::start(&site, &[project(&site, "1.0.0", "p2-hello", EXPERIMENT)]);
    let bad = project(&site, "1.0.1", "p2-edge", EXPERIMENT);
    let ((status, last), met) = under_load(up.gateway, TRAP, |_| {
        up.deploy(&bad);
        watched(&up)
    });
    assert_eq!(status, Some(1), "{last}");
    let phase = last["phase"].as_str().unwrap();
    assert!(
        [
            "rolled-back: sequential",
            "rolled-back: slow",
            "rolled-back: burn"
        ]
        .contains(&phase),
        "{last}"
    );
    assert!(met.bad() > 0 && met.good() > met.bad());
    up.stop();
}

/// Three networks; here is Germany.
fn countries() -> String {
    let gateway = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("fermion-gateway");
    gateway
        .join("tests/it/countries.mmdb")
        .to_str()
        .unwrap()
        .to_owned()
}

#[test]
fn callers_are_told_apart_by_country_where_the_operator_says_where_they_are() {
    for (country, is_here) in [("DE", true), ("FR", false)] {
        let site = Site::new();
        let rollout = format!(
            "{{strategy: canary, steps: [{{weight: 0.01%, bake: 1h}}], testers: [{{country: [XX, {country}]}}]}}"
        );
        let first = project(&site, "1.0.0", "p2-hello", &rollout);
        let up = Up::start_with(&site, &[first], &["--geoip", &countries()]);
        up.deploy(&project(&site, "1.0.1", "p2-edge", &rollout));
        until(&up, |rollout| rollout["phase"] == "baking");
        for _ in 0..5 {
            let answer = up.get("/shop/state");
            assert_eq!(answer.text() != HELLO, is_here, "{country}: {answer:?}");
        }
        up.stop();
    }
}

#[test]
fn without_a_file_of_countries_nothing_is_guessed() {
    let site = Site::new();
    let rollout = "{strategy: canary, audience: [{country: [DE]}]}";
    let up = Up::start(&site, &[project(&site, "1.0.0", "p2-hello", rollout)]);
    let next = project(&site, "1.0.1", "p2-edge", rollout);
    let refused = up.deploy_refused(&next, "NO_COUNTRIES");
    assert!(refused.contains("--geoip"), "{refused}");
    up.get("/shop/state").expect(200, HELLO);
    up.stop();

    let mut arguments = Up::arguments(site.data().to_str().unwrap());
    let not_one = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    arguments.extend(["--geoip".to_owned(), not_one.to_owned()]);
    let bad = Ran::new(arguments);
    assert_eq!(bad.status, Some(1), "{bad:?}");
    assert!(bad.stderr.contains(not_one), "{bad:?}");
}
