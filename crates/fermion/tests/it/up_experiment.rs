//! Experiments on the real platform: callers are drawn by lot, what they do is read off answers, and the release that does
//! better is kept.

use crate::platform::{Site, Up};
use crate::up_rollout::{TRAP, project, under_load, watched};

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
        ["rolled-back: sequential", "rolled-back: slow", "rolled-back: burn"].contains(&phase),
        "{last}"
    );
    assert!(met.bad() > 0 && met.good() > met.bad());
    up.stop();
}
