//! Published predicates against simulated traffic: who is told what, in which minute.

use super::*;
use crate::slo::view::objective_view;

/// 10 s of 100 requests a second.
const BUSY: u64 = 1_000;

#[test]
fn a_fast_burn_pages_and_its_end_is_told_in_the_order_of_the_windows() {
    let mut world = World::new(vec![success()]);
    world.history(&[stable(BUSY, 0)]);
    world.look();
    assert_eq!(world.heard(), Vec::<String>::new());
    // 5 % of requests fail: fifty times what the budget allows.
    world.minutes(10, &[stable(BUSY, 50)]);
    let told = world.heard();
    assert_eq!(told, ["0 notify fired", "4 page fired"], "{told:?}");
    let open: Vec<_> = world.alerts.incidents.iter().map(|one| one.id.clone()).collect();
    world.minutes(180, &[stable(BUSY, 0)]);
    let told = world.heard();
    assert_eq!(told, ["13 page resolved", "14 notify resolved"], "{told:?}");
    assert!(world.alerts.incidents.iter().all(|one| one.resolved_at.is_some()));
    assert!(
        open.iter()
            .all(|id| world.alerts.incidents.iter().any(|one| one.id == *id))
    );
}

#[test]
fn a_slow_burn_makes_a_ticket_and_wakes_nobody() {
    let mut world = World::new(vec![success()]);
    world.history(&[stable(BUSY, 0)]);
    // Twice what the budget allows.
    world.minutes(48 * 60, &[stable(BUSY, 2)]);
    let told = world.heard();
    let [ticket] = told.as_slice() else {
        panic!("{told:?}")
    };
    let (minute, words) = ticket.split_once(' ').unwrap();
    assert_eq!(words, "ticket fired");
    // 36 h of twice as much as allowed are three days of as much.
    assert!((35 * 60..37 * 60).contains(&minute.parse().unwrap()), "{ticket}");
}

#[test]
fn flapping_is_one_incident() {
    let mut world = World::new(vec![success()]);
    world.history(&[stable(BUSY, 0)]);
    for _ in 0..3 {
        world.minutes(8, &[stable(BUSY, 100)]);
        world.minutes(7, &[stable(BUSY, 0)]);
    }
    let told = world.heard();
    let pages: Vec<_> = told
        .iter()
        .filter_map(|text| Some(text.split_once(" page ")?.1))
        .collect();
    assert_eq!(pages[0], "fired", "{told:?}");
    assert!(pages[1..].iter().all(|word| *word != "fired"), "{told:?}");
    let count = world
        .alerts
        .incidents
        .iter()
        .filter(|one| one.key.severity == fermion_planner::alert::Severity::Page)
        .count();
    assert_eq!(count, 1);
}

#[test]
fn silence_of_requests_neither_fires_nor_resolves() {
    let mut world = World::new(vec![success()]);
    world.minutes(120, &[]);
    assert_eq!(
        world.heard(),
        Vec::<String>::new(),
        "an app without requests is no news"
    );
    assert_eq!(world.alerts.incidents.len(), 0);
    world.minutes(60, &[stable(BUSY, 0)]);
    world.minutes(20, &[stable(BUSY, 200)]);
    let told = world.heard();
    assert!(told.iter().any(|text| text.ends_with("page fired")), "{told:?}");
    // Longer than the widest short window: with little traffic it may be that of a day.
    world.minutes(25 * 60, &[]);
    let told = world.heard();
    assert!(told.iter().any(|text| text.ends_with("page no-data")), "{told:?}");
    assert!(!told.iter().any(|text| text.ends_with("resolved")), "{told:?}");
    world.minutes(60, &[stable(BUSY, 0)]);
    let told = world.heard();
    assert!(
        told.iter().any(|text| text.ends_with("page resolved")),
        "{told:?}"
    );
}

#[test]
fn a_few_failures_at_night_wake_nobody() {
    let mut world = World::new(vec![success()]);
    world.minutes(180, &[stable(1, 0)]);
    world.steps(2, &[stable(1, 1)]);
    world.minutes(60, &[stable(1, 0)]);
    assert_eq!(world.heard(), Vec::<String>::new());
    // A third one makes it a finding: three of a few hundred requests, where one of a thousand may fail.
    world.steps(1, &[stable(1, 1)]);
    assert!(!world.heard().is_empty());
}

fn canary(weight: u16) -> CanaryFacts {
    CanaryFacts {
        release: ReleaseNumber(2),
        rollout: 7,
        weight,
        bake: 600,
    }
}

fn rolled(failures: u64) -> [Share; 2] {
    let new = Share {
        release: 2,
        arm: Arm::Canary,
        requests: 50,
        failures,
    };
    [stable(BUSY - 50, 0), new]
}

#[test]
fn a_canary_holds_back_what_is_minor_and_about_itself_for_as_long_as_it_bakes() {
    let mut world = World::new(vec![success()]);
    world.history(&[stable(BUSY, 0)]);
    world.roll_out(Some(canary(500)));
    // Ten times the budget, all of it the canary's.
    world.minutes(14, &rolled(10));
    let told = world.heard();
    assert_eq!(told, Vec::<String>::new(), "bake and five minutes are not over");
    assert!(!world.alerts.incidents.is_empty(), "it is on record meanwhile");
    let blamed = &world.alerts.incidents[0].releases[0];
    assert_eq!((blamed.release, blamed.share), (ReleaseNumber(2), 1.0));
    world.minutes(3, &rolled(10));
    let told = world.heard();
    assert_eq!(told, ["15 notify fired"], "{told:?}");
    world.minutes(30, &rolled(40));
    let told = world.heard();
    assert!(
        told.iter().any(|text| text.ends_with("page fired")),
        "a page is never held: {told:?}"
    );
}

#[test]
fn a_rollout_holds_back_nothing_that_is_not_about_it() {
    let mut world = World::new(vec![success()]);
    world.minutes(60, &[stable(BUSY, 0)]);
    world.roll_out(Some(canary(500)));
    world.minutes(10, &[stable(BUSY - 50, 10), rolled(0)[1]]);
    let told = world.heard();
    assert!(told.iter().any(|text| text.ends_with("notify fired")), "{told:?}");
}

#[test]
fn a_silence_keeps_pages_too_and_ends() {
    let mut world = World::new(vec![success()]);
    world.history(&[stable(BUSY, 0)]);
    world.silences.push(Silence {
        tenant: "default".to_owned(),
        app: Some("tax".to_owned()),
        slo: None,
        from: world.now,
        until: world.now + 1_800,
    });
    world.minutes(29, &[stable(BUSY, 100)]);
    assert_eq!(world.heard(), Vec::<String>::new());
    world.minutes(5, &[stable(BUSY, 100)]);
    let told = world.heard();
    assert_eq!(
        told,
        ["30 page fired"],
        "the page stands for what is less: {told:?}"
    );
}

#[test]
fn a_promise_that_is_withdrawn_ends_its_incidents() {
    let mut world = World::new(vec![success()]);
    world.minutes(60, &[stable(BUSY, 0)]);
    world.minutes(10, &[stable(BUSY, 100)]);
    assert!(!world.heard().is_empty());
    world.facts.objectives.clear();
    world.follow();
    world.look();
    let told = world.heard();
    assert!(
        !told.is_empty() && told.iter().all(|text| text.ends_with("resolved")),
        "{told:?}"
    );
    world.look();
    assert_eq!(world.heard(), Vec::<String>::new());
}

#[test]
fn an_incident_names_owner_runbook_change_and_the_release_to_blame() {
    let mut world = World::new(vec![success()]);
    world.minutes(60, &[stable(BUSY, 0)]);
    let new = Share {
        release: 2,
        ..stable(BUSY / 2, 200)
    };
    world.minutes(20, &[stable(BUSY / 2, 1), new]);
    let incident = world
        .alerts
        .incidents
        .iter()
        .find(|one| one.key.severity == fermion_planner::alert::Severity::Page)
        .unwrap();
    assert_eq!(incident.owner.as_deref(), Some("team-checkout"));
    assert_eq!(incident.changed.release, Some(ReleaseNumber(2)));
    let worst = &incident.releases[0];
    assert_eq!(worst.release, ReleaseNumber(2));
    assert!(worst.share > 0.99 && worst.bad < worst.total, "{worst:?}");
    assert!(incident.burn.burn.unwrap() > incident.threshold);
    let tally = world.observed.tally(NAME, &success()).unwrap();
    let view = objective_view(&success(), tally, world.now);
    assert!(view.actions.contains(&"page".to_owned()), "{view:?}");
    // 20 min of 20 % of requests, in 80 min of data: many times the budget of a month that has only these.
    assert!(view.budget_left.unwrap() < 0.0);
    assert_eq!(view.exhausted_in_seconds, Some(0));
}
