//! Plans as tables.

mod properties;

use super::*;

fn print(version: u8) -> Print {
    Print {
        digest: format!("d{version}"),
        settings: "s".to_owned(),
    }
}

fn record(version: u8) -> Record {
    Record {
        commit: "c1".to_owned(),
        print: print(version),
        pending: false,
        held: None,
        heals: 0,
        healed_at: 0,
        orphaned: false,
    }
}

fn active(version: u8) -> Observed {
    Observed {
        active: Some(print(version)),
        is_good: true,
        ..Observed::default()
    }
}

/// One app `a`: what the commit `c2` wants, what was done, how it stands; what comes of it.
fn one(
    wanted: Option<u8>,
    record: Option<Record>,
    observed: Observed,
    policy: Policy,
) -> (Vec<Action>, Standing) {
    let apps = |version| {
        let wanted = Wanted {
            print: print(version),
            wave: 0,
        };
        BTreeMap::from([("a".to_owned(), wanted)])
    };
    let wanted = wanted.map(apps);
    let records = record
        .map(|record| ("a".to_owned(), record))
        .into_iter()
        .collect();
    let observed = BTreeMap::from([("a".to_owned(), observed)]);
    let plan = plan(&Look {
        now: 1_000,
        policy,
        commit: wanted.as_ref().map(|wanted| Commit { id: "c2", wanted }),
        records: &records,
        observed: &observed,
        not_before: 0,
    });
    (plan.actions, plan.standings["a"])
}

const STRICT: Policy = Policy {
    prune: true,
    self_heal: true,
};
const MILD: Policy = Policy {
    prune: false,
    self_heal: false,
};

fn app() -> String {
    "a".to_owned()
}

fn apply(retry: bool) -> Vec<Action> {
    vec![Action::Apply { app: app(), retry }]
}

fn held(why: &str) -> Vec<Action> {
    vec![Action::Hold {
        app: app(),
        why: why.to_owned(),
    }]
}

#[test]
fn what_is_done_with_one_app() {
    let coming = |version: u8, observed: Observed| Observed {
        coming: Some(print(version)),
        ..observed
    };
    let went_back = |observed: Observed| Observed {
        went_back: Some("worse".to_owned()),
        ..observed
    };
    let quarantined = |observed: Observed| Observed {
        quarantined: Some("bad".to_owned()),
        ..observed
    };
    let on_hold = |version| Record {
        held: Some("worse".to_owned()),
        ..record(version)
    };
    let pending = |version| Record {
        pending: true,
        ..record(version)
    };
    let healed = |heals, healed_at| Record {
        heals,
        healed_at,
        ..record(1)
    };
    let starting = Observed {
        is_good: false,
        ..active(1)
    };
    let adopt = || vec![Action::Adopt { app: app() }];
    let heal = || vec![Action::Heal { app: app() }];
    let none = Observed::default;
    for (case, wanted, record, observed, actions, standing) in [
        ("new", Some(1), None, none(), apply(false), Standing::Due),
        (
            "there already",
            Some(1),
            None,
            active(1),
            adopt(),
            Standing::InPlace,
        ),
        (
            "in place",
            Some(1),
            Some(record(1)),
            active(1),
            vec![],
            Standing::InPlace,
        ),
        (
            "on trial",
            Some(1),
            Some(record(1)),
            starting,
            vec![],
            Standing::Starting,
        ),
        (
            "changed",
            Some(2),
            Some(record(1)),
            active(1),
            apply(false),
            Standing::Due,
        ),
        (
            "rolled out",
            Some(2),
            Some(record(2)),
            coming(2, active(1)),
            vec![],
            Standing::Rolling,
        ),
        (
            "rolled out by hand",
            Some(2),
            None,
            coming(2, active(1)),
            vec![],
            Standing::Rolling,
        ),
        (
            "reverted while it is rolled out",
            Some(1),
            Some(record(2)),
            coming(2, active(1)),
            apply(false),
            Standing::Due,
        ),
        (
            "another is rolled out by hand",
            Some(1),
            Some(record(1)),
            coming(2, active(1)),
            vec![],
            Standing::Busy,
        ),
        (
            "cut off before the deploy",
            Some(2),
            Some(pending(2)),
            active(1),
            apply(false),
            Standing::Due,
        ),
        (
            "cut off after an older rollback",
            Some(2),
            Some(pending(2)),
            went_back(active(1)),
            apply(false),
            Standing::Due,
        ),
        (
            "went back",
            Some(2),
            Some(record(2)),
            went_back(active(1)),
            held("worse"),
            Standing::Held,
        ),
        (
            "held",
            Some(2),
            Some(on_hold(2)),
            active(1),
            vec![],
            Standing::Held,
        ),
        (
            "held, and changed by hand",
            Some(2),
            Some(on_hold(2)),
            active(3),
            vec![],
            Standing::Held,
        ),
        (
            "held, and there after all",
            Some(2),
            Some(on_hold(2)),
            active(2),
            adopt(),
            Standing::InPlace,
        ),
        (
            "held, and Git goes on",
            Some(3),
            Some(on_hold(2)),
            went_back(active(1)),
            apply(false),
            Standing::Due,
        ),
        (
            "held, and Git asks for it anew",
            Some(2),
            Some(record(1)),
            quarantined(active(1)),
            apply(true),
            Standing::Due,
        ),
        (
            "taken back before Git knew it",
            Some(2),
            None,
            quarantined(active(1)),
            held("bad"),
            Standing::Held,
        ),
        (
            "drifted",
            Some(1),
            Some(record(1)),
            active(2),
            heal(),
            Standing::Drifted,
        ),
        (
            "taken away",
            Some(1),
            Some(record(1)),
            none(),
            heal(),
            Standing::Drifted,
        ),
        (
            "drifted again at once",
            Some(1),
            Some(healed(1, 999)),
            active(2),
            vec![],
            Standing::Drifted,
        ),
        (
            "drifted again later",
            Some(1),
            Some(healed(1, 998)),
            active(2),
            heal(),
            Standing::Drifted,
        ),
        (
            "the clock was set back",
            Some(1),
            Some(healed(5, 2_000)),
            active(2),
            heal(),
            Standing::Drifted,
        ),
        (
            "no new commit, drifted",
            None,
            Some(record(1)),
            active(2),
            heal(),
            Standing::Drifted,
        ),
        (
            "no new commit, cut off",
            None,
            Some(pending(1)),
            none(),
            apply(false),
            Standing::Due,
        ),
    ] {
        assert_eq!(
            one(wanted, record, observed, STRICT),
            (actions, standing),
            "{case}"
        );
    }
    let (actions, standing) = one(Some(1), Some(record(1)), active(2), MILD);
    assert_eq!((actions, standing), (vec![], Standing::Drifted), "report only");
}

/// Several apps: name, wave, wanted version, version that is active.
fn several(apps: &[(&str, u32, u8, u8)], records: &BTreeMap<String, Record>, policy: Policy) -> Plan {
    let wanted = |&(app, wave, version, _): &(&str, u32, u8, u8)| {
        let print = print(version);
        (app.to_owned(), Wanted { print, wave })
    };
    let wanted = apps.iter().map(wanted).collect();
    let observed = apps.iter().map(|&(app, _, _, now)| (app.to_owned(), active(now)));
    let observed = observed.collect();
    plan(&Look {
        now: 1_000,
        policy,
        commit: Some(Commit {
            id: "c2",
            wanted: &wanted,
        }),
        records,
        observed: &observed,
        not_before: 0,
    })
}

#[test]
fn waves_wait_for_each_other() {
    let named = |name: &str, version| (name.to_owned(), record(version));
    let records = BTreeMap::from([named("a", 1), named("b", 1), named("c", 1)]);
    let first = several(
        &[("a", 0, 2, 1), ("b", 1, 2, 1), ("c", 1, 1, 1)],
        &records,
        STRICT,
    );
    assert_eq!(first.actions, apply(false));
    assert_eq!(first.standings["b"], Standing::Waiting);
    assert_eq!(
        first.standings["c"],
        Standing::InPlace,
        "what stays as it is need not wait"
    );
    assert_eq!(first.outcome, Outcome::Progressing);

    let records = BTreeMap::from([named("a", 2), named("b", 1)]);
    let second = several(&[("a", 0, 2, 2), ("b", 1, 2, 1)], &records, STRICT);
    let (app, retry) = ("b".to_owned(), false);
    assert_eq!(second.actions, [Action::Apply { app, retry }]);

    let mut failed = records.clone();
    let record = failed.get_mut("a").unwrap();
    (record.commit, record.held) = ("c2".to_owned(), Some("worse".to_owned()));
    let stopped = several(&[("a", 0, 2, 1), ("b", 1, 2, 1)], &failed, STRICT);
    assert_eq!(stopped.actions, [], "nothing comes after what failed");
    let (app, why) = ("a".to_owned(), "worse".to_owned());
    assert_eq!(stopped.outcome, Outcome::Failed { app, why });
    // What an earlier commit gave up is no reason to leave out what this one says of others.
    failed.get_mut("a").unwrap().commit = "c1".to_owned();
    let later = several(&[("a", 0, 2, 1), ("b", 1, 2, 1)], &failed, STRICT);
    assert_eq!(later.actions.len(), 1);
}

#[test]
fn what_is_gone_goes_by_consent_and_last() {
    let records = BTreeMap::from([("a".to_owned(), record(1)), ("old".to_owned(), record(1))]);
    let app = || "old".to_owned();
    let prune = several(&[("a", 0, 1, 1)], &records, STRICT);
    assert_eq!(prune.actions, [Action::Prune { app: app() }]);
    assert_eq!(prune.outcome, Outcome::Done);
    let orphan = several(&[("a", 0, 1, 1)], &records, MILD);
    assert_eq!(orphan.actions, [Action::Orphan { app: app() }]);
    let busy = several(&[("a", 0, 2, 1)], &records, STRICT);
    assert_eq!(busy.actions, apply(false), "what comes in is in place first");
    assert_eq!(busy.standings["old"], Standing::Waiting);
    let empty = several(&[], &records, STRICT);
    assert_eq!(empty.outcome, Outcome::Empty);
    // What was applied is kept up, and nothing is taken away.
    let is_heal = |action: &Action| matches!(action, Action::Heal { .. });
    assert!(empty.actions.iter().all(is_heal), "{:?}", empty.actions);
}

#[test]
fn tries_are_further_and_further_apart() {
    let waits: Vec<u64> = (0..8).map(backoff).collect();
    assert_eq!(waits, [0, 2, 6, 18, 54, 162, 300, 300]);
    let often = |healed_at| Record {
        heals: 3,
        healed_at,
        ..record(1)
    };
    assert_eq!(heals_after(&often(900), 1_000), 4);
    assert_eq!(heals_after(&often(400), 1_000), 1, "it has been quiet for long");
    assert_eq!(heals_after(&often(2_000), 1_000), 1, "the clock was set back");
}

#[test]
fn looks_are_spread() {
    let looks: Vec<u64> = (0..100)
        .map(|look| next_look_millis(120, "shop/a", look))
        .collect();
    assert!(looks.iter().all(|millis| (120_000..=180_000).contains(millis)));
    assert!(looks.iter().max().unwrap() - looks.iter().min().unwrap() > 30_000);
    assert_eq!(next_look_millis(120, "a", 7), next_look_millis(120, "a", 7));
    assert!((1_000..=1_500).contains(&next_look_millis(1, "a", 0)));
}
