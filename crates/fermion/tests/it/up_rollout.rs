//! Rollouts through the real platform under load: a good release gets all traffic step by step, a bad one none of it
//! for long, callers stay where they are, and no request is lost by the platform.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use serde_json::Value;

use crate::platform::{Site, Up};
use crate::support::{Ask, Connection, PATIENCE};

/// `p2-hello` answers every path; `p2-edge` traps on this one. So on one path the first is good and the second is bad.
pub(crate) const TRAP: &str = "/shop/trap";
pub(crate) const HELLO: &str = "Hello, world!\n";

/// A project whose app is rolled out as `rollout` says.
pub(crate) fn project(site: &Site, version: &str, guest: &str, rollout: &str) -> PathBuf {
    with_rollout(&site.simple("shop", version, guest), rollout)
}

/// The same for the project in a folder.
pub(crate) fn with_rollout(folder: &Path, rollout: &str) -> PathBuf {
    let app = format!(
        "apiVersion: fermion.dev/v1\nkind: App\nmetadata: {{name: shop}}\nspec:\n  rollout: {rollout}\n"
    );
    fs::write(folder.join("app.yaml"), app).unwrap();
    folder.to_owned()
}

/// What callers met.
#[derive(Debug, Default)]
pub(crate) struct Met {
    good: AtomicU64,
    bad: AtomicU64,
}

impl Met {
    pub(crate) fn good(&self) -> u64 {
        self.good.load(Relaxed)
    }

    pub(crate) fn bad(&self) -> u64 {
        self.bad.load(Relaxed)
    }
}

/// New callers, each on a connection of its own, until told to stop.
fn load(gateway: SocketAddr, path: &str, done: &AtomicBool, met: &Met) {
    let ask = Ask::get(path);
    while !done.load(Relaxed) {
        let answer = ask
            .send_on(&mut Connection::open(gateway))
            .expect("no connection is closed without an answer");
        let count = match answer.status {
            200 => &met.good,
            502 => &met.bad,
            _ => panic!("{answer:?}"),
        };
        count.fetch_add(1, Relaxed);
    }
}

/// Runs `act` while somebody asks for `path`, as fast as answers come.
pub(crate) fn under_load<T>(gateway: SocketAddr, path: &str, act: impl FnOnce(&Met) -> T) -> (T, Met) {
    let (done, met) = (AtomicBool::new(false), Met::default());
    let acted = std::thread::scope(|scope| {
        scope.spawn(|| load(gateway, path, &done, &met));
        let acted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| act(&met)));
        done.store(true, Relaxed);
        acted
    });
    (
        acted.unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        met,
    )
}

/// Waits for the rollout's end; gives what following it says then.
pub(crate) fn watched(up: &Up) -> (Option<i32>, Value) {
    until(up, |rollout| {
        rollout["over"] == true || rollout["phase"].as_str().unwrap().starts_with("paused")
    });
    let ran = up.run(&["rollout", "watch", "shop"]);
    let last = ran
        .stdout
        .lines()
        .last()
        .unwrap_or_else(|| panic!("{}", ran.stderr));
    (
        ran.status,
        serde_json::from_str(last).expect("a line is a rollout"),
    )
}

#[test]
fn a_good_release_gets_all_traffic_step_by_step() {
    let site = Site::new();
    let rollout = "{strategy: canary, steps: [{weight: 20%, bake: 16s}, {weight: 60%, bake: 16s}], post_bake: 1s, \
                   judge: {metrics: [errors]}}";
    let up = Up::start(&site, &[project(&site, "1.0.0", "p2-hello", rollout)]);
    let next = project(&site, "1.0.1", "p2-hello", rollout);
    let ((status, last), met) = under_load(up.gateway, "/shop/", |_| {
        let deployed = up.deploy(&next);
        assert_eq!(deployed["serving"], 1, "{deployed}");
        assert_eq!(deployed["rollout"]["canary"], 2, "{deployed}");
        watched(&up)
    });
    assert_eq!(status, Some(0), "{last}");
    assert_eq!(
        (&last["phase"], &last["weight"]),
        (&"succeeded".into(), &10_000.into()),
        "{last}"
    );
    assert_eq!(met.bad(), 0);
    let weights: Vec<_> = last["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["weight"].as_u64())
        .collect();
    assert!(weights.is_sorted(), "{weights:?}");
    let verdicts: Vec<_> = last["verdicts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|judged| judged["verdict"].as_str())
        .collect();
    assert_eq!(verdicts, [Some("pass"), Some("pass")], "{last}");
    let shared = |arm: &str| last[arm]["requests"].as_u64().unwrap();
    assert!(shared("canary_arm") > 0 && shared("stable_arm") > 0, "{last}");
    let releases = up.run(&["releases", "shop"]).json();
    assert_eq!(
        (&releases[0]["number"], &releases[0]["state"]),
        (&2.into(), &"active".into()),
        "{releases}"
    );
    up.stop();
}

#[test]
fn a_bad_release_is_taken_back_at_its_first_step_and_stays_out() {
    let site = Site::new();
    let rollout = "{strategy: canary, steps: [{weight: 5%, bake: 10m}], judge: {metrics: [errors]}}";
    let up = Up::start(&site, &[project(&site, "1.0.0", "p2-hello", rollout)]);
    let bad = project(&site, "1.0.1", "p2-edge", rollout);
    let (hit, met) = under_load(up.gateway, TRAP, |met| {
        up.deploy(&bad);
        // All traffic is with the old release again as soon as it says that it goes back; the end comes when whoever
        // was in flight is done.
        let rollout = until(&up, |rollout| {
            rollout["phase"].as_str().unwrap().starts_with("aborting") && status_weight(&up) == Some(0)
        });
        // What traps is slower than what answers, too: either proof may be the first.
        let phase = rollout["phase"].as_str().unwrap();
        assert!(
            ["aborting: sequential", "aborting: slow"].contains(&phase),
            "{rollout}"
        );
        let hit = met.bad();
        let good = met.good();
        while met.good() < good + 200 {
            std::thread::yield_now();
        }
        // Requests that had been routed before may still have ended in a failure.
        assert!(met.bad() <= hit + 2, "nobody is hit any more");
        hit
    });
    let all = met.good() + met.bad();
    assert!(hit > 0 && hit * 5 < all, "{hit} of {all}");
    let (status, last) = watched(&up);
    assert_eq!(status, Some(1), "{last}");
    assert!(
        last["phase"].as_str().unwrap().starts_with("rolled-back: "),
        "{last}"
    );

    // The same package is not taken again unasked, another one is.
    let folder = bad.to_str().unwrap();
    let refused = up.run(&["deploy", folder]).refused("QUARANTINED");
    assert!(refused.contains("--retry"), "{refused}");
    let mended = project(
        &site,
        "1.0.2",
        "p2-hello",
        "{strategy: rolling, steps: [{weight: 100%, bake: 1s}], post_bake: 1s}",
    );
    up.deploy(&mended);
    assert_eq!(watched(&up).0, Some(0));
    up.get(TRAP).expect(200, HELLO);
    up.stop();
}

#[test]
fn people_pause_promote_and_abort() {
    let site = Site::new();
    let rollout = "{strategy: canary, steps: [{weight: 10%, bake: 1h}, {weight: 50%, bake: 1h}]}";
    let up = Up::start(&site, &[project(&site, "1.0.0", "p2-hello", rollout)]);
    let next = project(&site, "1.0.1", "p2-edge", rollout);
    up.deploy(&next);
    until(&up, |rollout| rollout["phase"] == "baking");
    let words = up.run(&["promote", "shop"]).refused("ROLLOUT_PHASE");
    assert!(words.contains("pause"), "{words}");
    assert_eq!(up.run(&["pause", "shop"]).json()["phase"], "paused: person");
    let promoted = up.run(&["promote", "shop"]).json();
    assert_eq!(
        (&promoted["step"], &promoted["weight"]),
        (&1.into(), &5_000.into()),
        "{promoted}"
    );
    let aborted = up.run(&["abort", "shop"]).json();
    assert_eq!(
        (&aborted["phase"], &aborted["weight"]),
        (&"aborting: person".into(), &0.into()),
        "{aborted}"
    );
    // The rollout that is under way is what a newer release waits for, and then it is rolled out in its turn.
    let newest = project(
        &site,
        "1.0.2",
        "p2-hello",
        "{strategy: rolling, steps: [{weight: 100%, bake: 1s}], post_bake: 1s}",
    );
    up.deploy(&newest);
    let rollout = until(&up, |rollout| rollout["canary"] == 3 && rollout["over"] == true);
    assert_eq!(rollout["phase"], "succeeded", "{rollout}");
    let history = up.run(&["rollout", "history", "shop"]).json();
    let phases: Vec<_> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["phase"].as_str())
        .collect();
    assert_eq!(
        phases,
        [Some("succeeded"), Some("rolled-back: person")],
        "{history}"
    );
    up.stop();
}

#[test]
fn a_killed_platform_goes_on_with_its_rollout() {
    let site = Site::new();
    let rollout =
        "{strategy: rolling, steps: [{weight: 50%, bake: 2s}, {weight: 100%, bake: 2s}], post_bake: 1s}";
    let mut up = Up::start(&site, &[project(&site, "1.0.0", "p2-hello", rollout)]);
    up.deploy(&project(&site, "1.0.1", "p2-hello", rollout));
    for phase in ["baking", "baking", "post-bake"] {
        until(&up, |rollout| {
            rollout["phase"] == phase || rollout["over"] == true
        });
        up.kill();
        up = Up::start::<&Path>(&site, &[]);
    }
    let (status, last) = watched(&up);
    assert_eq!((status, &last["phase"]), (Some(0), &"succeeded".into()), "{last}");
    assert_eq!(up.app("shop")["serving"], 2);
    up.stop();
}

#[test]
fn callers_stay_where_they_are() {
    let site = Site::new();
    let rollout = "{strategy: canary, steps: [{weight: 50%, bake: 1h}], testers: [{header: x-tester}]}";
    let up = Up::start(&site, &[project(&site, "1.0.0", "p2-hello", rollout)]);
    up.deploy(&project(&site, "1.0.1", "p2-edge", rollout));
    until(&up, |rollout| rollout["phase"] == "baking");
    let state = |ask: Ask| {
        let answer = ask.send(up.gateway);
        let cookie = answer
            .header("set-cookie")
            .map(|cookie| cookie.split(';').next().unwrap().to_owned());
        (answer.text().to_owned(), cookie)
    };
    let (mut old, mut new) = (0, 0);
    for _ in 0..40 {
        let (first, cookie) = state(Ask::get("/shop/state"));
        let cookie = cookie.expect("whoever is not known gets a cookie");
        for _ in 0..3 {
            let (again, none) = state(Ask::get("/shop/state").header("cookie", &cookie));
            assert_eq!((again, none), (first.clone(), None));
        }
        *if first == HELLO { &mut old } else { &mut new } += 1;
    }
    assert!(old > 0 && new > 0, "{old} {new}");
    for _ in 0..10 {
        let (tester, _) = state(Ask::get("/shop/state").header("x-tester", "1"));
        assert_ne!(tester, HELLO);
    }
    up.stop();
}

/// Looks at the rollout until it is as wanted.
pub(crate) fn until(up: &Up, is_as_wanted: impl Fn(&Value) -> bool) -> Value {
    let begun = std::time::Instant::now();
    loop {
        let rollout = up.run(&["rollout", "status", "shop"]).json();
        if is_as_wanted(&rollout) {
            return rollout;
        }
        assert!(begun.elapsed() < PATIENCE, "{rollout}");
    }
}

/// The canary's weight as the node has it.
fn status_weight(up: &Up) -> Option<u64> {
    up.app("shop")["canary_weight"].as_u64()
}
