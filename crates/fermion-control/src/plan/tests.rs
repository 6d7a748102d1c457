//! Decisions over hand-made states.

use fermion_model::assignment::{ASSIGNMENT_SCHEMA, AppStatus};
use fermion_model::release::{RELEASE_SCHEMA, Route};
use fermion_model::{Digest, Namespace};

use super::*;
use crate::documents::{Change, ChangeKind};

fn release(app: &str, number: u32, path: &str) -> Release {
    Release {
        schema: RELEASE_SCHEMA,
        namespace: Namespace::default(),
        app: app.parse().unwrap(),
        number: ReleaseNumber(number),
        package: "acme/a".parse().unwrap(),
        version: semver::Version::new(1, 0, 0),
        digest: Digest::from_bytes([7; 32]),
        routes: vec![Route {
            host: None,
            path: path.to_owned(),
            methods: vec![],
            strip_prefix: false,
        }],
        config: BTreeMap::new(),
        created_at: 0,
        created_by: "test".to_owned(),
        policy_override: None,
        rollout: None,
        objectives: None,
        owner: None,
        runbook: None,
    }
}

/// An app whose releases 1.. have the given paths.
fn known(app: &str, paths: &[&str], active: u32, good: &[u32]) -> (String, KnownApp) {
    let change = Change {
        at: 0,
        by: "test".to_owned(),
        kind: ChangeKind::Deploy,
    };
    let mut document = AppDocument::new(Namespace::default(), app.parse().unwrap(), change);
    document.active = Some(ReleaseNumber(active));
    document.good = good.iter().map(|&number| ReleaseNumber(number)).collect();
    let releases = (1..)
        .zip(paths)
        .map(|(number, path)| (ReleaseNumber(number), release(app, number, path)));
    (
        document.name(),
        KnownApp {
            revision: Some(1),
            document,
            releases: releases.collect(),
        },
    )
}

fn state(apps: Vec<(String, KnownApp)>) -> State {
    let mut state = State {
        apps: apps.into_iter().collect(),
        generation: 5,
        ..State::default()
    };
    state.assigned = assigned(&state);
    state
}

fn assigned(state: &State) -> BTreeMap<String, AssignedApp> {
    let app = |(name, part): (&str, Part<'_>)| {
        let app = AssignedApp {
            schema: ASSIGNMENT_SCHEMA,
            generation: 5,
            release: part.release.clone(),
            last_good: part.last_good.cloned(),
            canary: part.canary,
        };
        (name.to_owned(), app)
    };
    state.assign().into_iter().map(app).collect()
}

fn report(state: &mut State, generation: u64, wanted: u32, serving: Option<u32>, code: Option<&str>) {
    let problem = code.map(|code| Problem {
        code: code.to_owned(),
        message: String::new(),
    });
    let serving = serving.map(ReleaseNumber);
    let status = AppStatus {
        schema: ASSIGNMENT_SCHEMA,
        incarnation: state.status.incarnation,
        generation,
        serving,
        wanted: ReleaseNumber(wanted),
        problem,
        steps: vec![],
        canary: None,
    };
    state.reports.insert("default/a".to_owned(), status);
}

#[test]
fn an_outcome_needs_a_report_on_this_assignment_and_this_release() {
    let mut state = state(vec![known("a", &["/1", "/2"], 2, &[1])]);
    let two = ReleaseNumber(2);
    let cases = [
        (4, 2, Some(2), None, None),
        (5, 1, Some(1), None, None),
        (5, 2, Some(1), None, None),
        (5, 2, Some(2), None, Some(true)),
        (6, 2, Some(2), None, Some(true)),
        (5, 2, Some(1), Some("X"), Some(false)),
        (4, 2, Some(1), Some("X"), None),
    ];
    for (generation, wanted, serving, code, expected) in cases {
        report(&mut state, generation, wanted, serving, code);
        let outcome = state.outcome("default/a");
        let good = outcome.as_ref().map(|outcome| *outcome == Outcome::Good(two));
        assert_eq!(good, expected, "{generation} {wanted} {serving:?} {code:?}");
    }
    report(&mut state, 5, 2, Some(2), None);
    state.status.incarnation += 1;
    assert_eq!(
        state.outcome("default/a"),
        None,
        "what an earlier process said is void"
    );
    assert!(!state.is_settled());
    state.apps.get_mut("default/a").unwrap().document.good = vec![two];
    report(&mut state, 5, 2, Some(1), Some("X"));
    assert_eq!(
        state.outcome("default/a"),
        None,
        "a release that was good once is not put on trial again"
    );
}

#[test]
fn the_fallback_comes_along_unless_its_routes_went_to_another() {
    let state_with = |other: &str| {
        state(vec![
            known("a", &["/1", "/2"], 2, &[2, 1]),
            known("b", &[other], 1, &[1]),
        ])
    };
    let fallback = |state: &State| state.assigned["default/a"].last_good.as_ref().map(|r| r.number.0);
    assert_eq!(fallback(&state_with("/b")), Some(1));
    assert_eq!(fallback(&state_with("/1")), None);
}

#[test]
fn what_cannot_be_read_is_left_as_it_is() {
    let mut state = state(vec![known("a", &["/1"], 1, &[1]), known("b", &["/b"], 1, &[1])]);
    let before = state.assigned.clone();
    state.apps.get_mut("default/a").unwrap().releases.clear();
    state.apps.remove("default/b");
    state.unreadable.insert("default/b".to_owned());
    assert_eq!(assigned(&state), before);
    assert!(state.reassign().is_empty());
    let claimed = [release("c", 1, "/b").routes[0].clone()];
    assert!(state.claims().collision("default/c", &claimed).is_some());
}

#[test]
fn generations_go_on_even_if_the_assignment_is_lost() {
    let mut state = State::default();
    assert_eq!(state.next_generation(), 1);
    state.status.generation = 9;
    assert_eq!(state.next_generation(), 10);
}

#[test]
fn only_what_differs_is_assigned_anew() {
    let apps = vec![known("a", &["/a"], 1, &[1]), known("b", &["/b", "/c"], 1, &[1])];
    let mut state = state(apps);
    assert!(state.reassign().is_empty());
    state.apps.get_mut("default/b").unwrap().document.active = Some(ReleaseNumber(2));
    state.apps.remove("default/a");
    let changes = state.reassign();
    let numbers: Vec<_> = changes
        .iter()
        .map(|(name, part)| (*name, part.as_ref().map(|part| part.release.number.0)))
        .collect();
    assert_eq!(numbers, [("default/b", Some(2)), ("default/a", None)]);
}
