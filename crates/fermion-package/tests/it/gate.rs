//! Facts of a real package, byte for byte, and through the default policy.

use fermion_package::load;
use fermion_package::policy::{Evidence, Policies, PolicyFacts};

use crate::fixtures::{World, now, trust, world};

const NOW: u64 = 1_795_219_200;

fn facts(world: &World) -> PolicyFacts {
    let package = load(&world.store, world.digest(), &trust(1), now()).unwrap();
    let evidence = Evidence::gather(&world.store, &package, &trust(1), now()).unwrap();
    let nothing = tempfile::tempdir().unwrap();
    evidence
        .weigh(nothing.path(), &nothing.path().join("advisories"), NOW)
        .unwrap()
}

/// The document that policies, tests of policies and records of decisions share. To accept a change, copy what the
/// failed test printed, and think of the version.
#[test]
fn facts_are_a_published_format() {
    let text = serde_json::to_string_pretty(&facts(&world())).unwrap();
    let golden = include_str!("golden/facts.json").trim_end();
    assert!(text == golden, "{text}");
    assert_eq!(PolicyFacts::parse(golden.as_bytes()).unwrap(), facts(&world()));
}

#[test]
fn the_default_policy_admits_it() {
    let question = fermion_package::policy::Question {
        by: "operator".to_owned(),
        action: fermion_package::policy::Action::Deploy,
        namespace: "default".parse().unwrap(),
        app: "hello".parse().unwrap(),
        hosts: Default::default(),
        paths: Default::default(),
        config_keys: Default::default(),
    };
    let decision = Policies::builtin().decide(&facts(&world()), &question);
    assert_eq!(
        decision.verdict,
        fermion_package::policy::Verdict::Allow,
        "{}",
        decision.explanation()
    );
}
