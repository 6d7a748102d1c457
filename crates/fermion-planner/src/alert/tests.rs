//! Scenarios on simulated time, one evaluation a minute.

use super::*;

const MINUTE: u64 = 60;
const START: u64 = 1_800_000_000;

fn key(severity: Severity) -> Key {
    Key {
        tenant: "shop".into(),
        app: "tax".into(),
        region: "eu".into(),
        slo: "success".into(),
        severity,
    }
}

fn sign(letter: char) -> Sign {
    match letter {
        'B' => Sign::Burning,
        '-' => Sign::Lingering,
        '.' => Sign::Clear,
        '?' => Sign::NoData,
        _ => panic!("{letter}"),
    }
}

/// Runs conditions side by side, a letter a minute, and gives what people are told: `3 page fired`. `context` says what
/// else goes on in which minute.
fn told(conditions: &[(Key, bool, &str)], pending: u64, context: impl Fn(u64) -> Context) -> Vec<String> {
    let mut board = Board::default();
    let mut lines = Vec::new();
    let minutes = conditions[0].2.len();
    for minute in 0..minutes {
        let now = START + minute as u64 * MINUTE;
        let mut messages = Vec::new();
        for (key, canary, letters) in conditions {
            let letter = letters.chars().nth(minute).unwrap();
            let (watched, message) = board.observe(key, sign(letter), *canary, now, pending);
            assert!(watched);
            messages.extend(message);
        }
        messages.extend(board.announce(&context(minute as u64), now));
        let stored = serde_json::to_string(&board).unwrap();
        assert_eq!(board, serde_json::from_str(&stored).unwrap());
        // Asking again changes nothing and repeats nothing.
        assert_eq!(board.announce(&context(minute as u64), now), []);
        for message in messages {
            lines.push(format!(
                "{minute} {} {} {}",
                message.key.app,
                word(&message.key.severity),
                word(&message.change)
            ));
        }
    }
    lines
}

/// The word of a value in JSON.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap().replace('"', "")
}

fn check(name: &str, conditions: &[(Key, bool, &str)], context: impl Fn(u64) -> Context, expected: &[&str]) {
    assert_eq!(told(conditions, 2 * MINUTE, context), expected, "{name}");
}

fn nothing(_: u64) -> Context {
    Context::default()
}

#[test]
fn lives_of_one_alert() {
    let page = |letters| [(key(Severity::Page), false, letters)];
    for (name, letters, expected) in [
        ("nothing", "......", &[][..]),
        ("a spike shorter than the wait", ".BB...", &[]),
        (
            "fast burn",
            ".BBBB.....",
            &["3 tax page fired", "6 tax page resolved"],
        ),
        ("the long window remembers", ".BBB--------", &["3 tax page fired"]),
        (
            "flapping stays one incident",
            "BBB.B.B.B.B..",
            &["2 tax page fired", "12 tax page resolved"],
        ),
        (
            "a relapse within ten minutes is the same incident",
            "BBB.....BBB..",
            &[
                "2 tax page fired",
                "4 tax page resolved",
                "10 tax page reopened",
                "12 tax page resolved",
            ],
        ),
        (
            "one after that is another",
            "BBB..............BBB",
            &["2 tax page fired", "4 tax page resolved", "19 tax page fired"],
        ),
        (
            "silence is not an end",
            "BBB???????",
            &["2 tax page fired", "5 tax page no-data"],
        ),
        ("silence does not fire", "BB?BB?BB?.", &[]),
        (
            "silence is an alert of its own, and ends",
            "..???....",
            &["4 tax page no-data", "5 tax page data-back"],
        ),
    ] {
        check(name, &page(letters), nothing, expected);
    }
}

#[test]
fn a_page_inhibits_a_ticket_and_a_region_its_apps() {
    let both = [
        (key(Severity::Ticket), false, "BBBBBBBBBBBBB"),
        (key(Severity::Page), false, "BBBBBB......."),
    ];
    check(
        "page and ticket",
        &both,
        nothing,
        &["2 tax page fired", "7 tax ticket fired", "7 tax page resolved"],
    );
    let down = |minute: u64| Context {
        down: if minute < 6 {
            vec![Region("eu".into())]
        } else {
            Vec::new()
        },
        ..Context::default()
    };
    let page = [(key(Severity::Page), false, "BBBBBBBBB")];
    check(
        "held while the region is down",
        &page,
        down,
        &["6 tax page fired"],
    );
    let short = [(key(Severity::Page), false, "BBBBB....")];
    check("over before the region is back", &short, down, &[]);
    let rollback = [(key(Severity::Rollback), false, "BBBBB....")];
    check(
        "a rollback is never held",
        &rollback,
        down,
        &["2 tax rollback fired", "6 tax rollback resolved"],
    );
}

#[test]
fn a_rollout_holds_only_a_canarys_minor_alerts_and_not_for_ever() {
    let rollout = |_: u64| Context {
        rollouts: vec![Rollout {
            tenant: "shop".into(),
            app: "tax".into(),
            since: START,
            bake: 2 * MINUTE,
        }],
        ..Context::default()
    };
    let all = |severity, canary| [(key(severity), canary, "BBBBBBBBBB")];
    check(
        "a canary's ticket",
        &all(Severity::Ticket, true),
        rollout,
        &["7 tax ticket fired"],
    );
    check(
        "the app's ticket",
        &all(Severity::Ticket, false),
        rollout,
        &["2 tax ticket fired"],
    );
    check(
        "a canary's page",
        &all(Severity::Page, true),
        rollout,
        &["2 tax page fired"],
    );
}

#[test]
fn silences_hold_what_they_name_and_expire() {
    let silence = |app: Option<&str>, slo: Option<&str>| Silence {
        tenant: "shop".into(),
        app: app.map(str::to_owned),
        slo: slo.map(str::to_owned),
        from: START,
        until: START + 5 * MINUTE,
    };
    for (silence, minute) in [
        (silence(None, None), 5),
        (silence(Some("tax"), Some("success")), 5),
        (silence(Some("cart"), None), 2),
        (silence(None, Some("latency")), 2),
        (
            Silence {
                tenant: "bank".into(),
                ..silence(None, None)
            },
            2,
        ),
    ] {
        let context = |_: u64| Context {
            silences: vec![silence.clone()],
            ..Context::default()
        };
        let page = [(key(Severity::Page), false, "BBBBBBBB")];
        check("silence", &page, context, &[&format!("{minute} tax page fired")]);
    }
}

#[test]
fn an_acknowledgement_lasts_as_long_as_its_incident() {
    let mut board = Board::default();
    let key = key(Severity::Page);
    assert!(!board.acknowledge(&key));
    let mut minute = 0;
    let mut run = |board: &mut Board, letters: &str| {
        for letter in letters.chars() {
            minute += 1;
            board.observe(&key, sign(letter), false, START + minute * MINUTE, 0);
        }
    };
    run(&mut board, "B");
    assert!(board.acknowledge(&key) && board.acknowledged(&key));
    assert_eq!(board.groups().keys().next(), Some(&("shop", "tax", "success")));
    run(&mut board, "..");
    assert!(!board.acknowledged(&key) && board.groups().is_empty());
    run(&mut board, "............B");
    assert!(!board.acknowledged(&key), "another incident");
}

#[test]
fn a_clock_that_is_set_back_fires_nothing_early_and_a_restart_changes_nothing() {
    let mut alert = Alert::default();
    assert_eq!(alert.step(Sign::Burning, START, 120), None);
    assert_eq!(alert.step(Sign::Burning, START - 3_600, 120), None);
    let stored = serde_json::to_string(&alert).unwrap();
    let mut again: Alert = serde_json::from_str(&stored).unwrap();
    assert_eq!(again.step(Sign::Burning, START + 120, 120), Some(Change::Fired));
    assert_eq!(again.incident(), Some(START + 120));
}
