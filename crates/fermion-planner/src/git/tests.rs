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

/// What the commit wants, what was done, how the app stands (versions, with marks), what is to be done.
const ONE: &str = "
case                              | git | record        | app           | action | standing
new                               | 1   | -             | -             | apply  | due
there already                     | 1   | -             | 1             | adopt  | in-place
in place                          | 1   | 1             | 1             | -      | in-place
on trial                          | 1   | 1             | 1 trial       | -      | starting
changed                           | 2   | 1             | 1             | apply  | due
rolled out                        | 2   | 2             | 1 coming=2    | -      | rolling
rolled out by hand                | 2   | -             | 1 coming=2    | -      | rolling
reverted while it is rolled out   | 1   | 2             | 1 coming=2    | apply  | due
another is rolled out by hand     | 1   | 1             | 1 coming=2    | -      | busy
cut off before the deploy         | 2   | 2 pending     | 1             | apply  | due
cut off after an older rollback   | 2   | 2 pending     | 1 back        | apply  | due
went back                         | 2   | 2             | 1 back        | hold   | held
held                              | 2   | 2 held        | 1             | -      | held
held, and changed by hand         | 2   | 2 held        | 3             | -      | held
held, and there after all         | 2   | 2 held        | 2             | adopt  | in-place
held, and Git goes on             | 3   | 2 held        | 1 back        | apply  | due
held, and Git asks for it anew    | 2   | 1             | 1 quarantined | retry  | due
taken back before Git knew it     | 2   | -             | 1 quarantined | hold   | held
drifted                           | 1   | 1             | 2             | heal   | drifted
taken away                        | 1   | 1             | -             | heal   | drifted
drifted again at once             | 1   | 1 heals=1@999 | 2             | -      | drifted
drifted again later               | 1   | 1 heals=1@998 | 2             | heal   | drifted
the clock was set back            | 1   | 1 heals=5@2000| 2             | heal   | drifted
no new commit, drifted            | -   | 1             | 2             | heal   | drifted
no new commit, cut off            | -   | 1 pending     | -             | apply  | due
no new commit, and stayed behind  | -   | 1 orphaned    | 2             | -      | orphaned
";

fn read_record(text: &str) -> Option<Record> {
    let mut words = text.split(' ');
    let mut record = record(words.next()?.parse().ok()?);
    for word in words {
        match word {
            "pending" => record.pending = true,
            "held" => record.held = Some("worse".to_owned()),
            "orphaned" => record.orphaned = true,
            heals => {
                let (heals, at) = heals.strip_prefix("heals=").unwrap().split_once('@').unwrap();
                (record.heals, record.healed_at) = (heals.parse().unwrap(), at.parse().unwrap());
            }
        }
    }
    Some(record)
}

fn read_app(text: &str) -> Observed {
    let mut words = text.split(' ');
    let Ok(version) = words.next().unwrap().parse() else {
        return Observed::default();
    };
    let mut observed = active(version);
    for word in words {
        match word {
            "trial" => observed.is_good = false,
            "back" => observed.went_back = Some("worse".to_owned()),
            "quarantined" => observed.quarantined = Some("bad".to_owned()),
            coming => {
                let version = coming.strip_prefix("coming=").unwrap().parse().unwrap();
                observed.coming = Some(print(version));
            }
        }
    }
    observed
}

fn word(actions: &[Action]) -> &str {
    match actions {
        [] => "-",
        [Action::Apply { retry: false, .. }] => "apply",
        [Action::Apply { retry: true, .. }] => "retry",
        [Action::Heal { .. }] => "heal",
        [Action::Hold { .. }] => "hold",
        [Action::Adopt { .. }] => "adopt",
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_done_with_one_app() {
    for line in ONE.lines().skip(2) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, git, record, app, action, standing] = cells[..] else {
            panic!("{line}")
        };
        let (actions, found) = one(git.parse().ok(), read_record(record), read_app(app), STRICT);
        let found = serde_json::to_value(found).unwrap();
        assert_eq!(
            (word(&actions), found.as_str()),
            (action, Some(standing)),
            "{line}"
        );
    }
    let (actions, standing) = one(Some(1), Some(record(1)), active(2), MILD);
    assert_eq!((actions, standing), (vec![], Standing::Drifted), "report only");
    let why = "worse".to_owned();
    let (actions, _) = one(Some(2), Some(record(2)), read_app("1 back"), STRICT);
    assert_eq!(actions, [Action::Hold { app: app(), why }]);
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
