//! What holds of every plan.

use proptest::prelude::*;

use super::super::*;
use super::{STRICT, active, print, record};

prop_compose! {
    fn any_observed()(
        active in proptest::option::of(1..4_u8),
        coming in proptest::option::of(1..4_u8),
        is_good: bool,
        went_back: bool,
        quarantined: bool,
    ) -> Observed {
        Observed {
            active: active.map(print),
            is_good,
            coming: coming.map(print),
            went_back: went_back.then(|| "worse".to_owned()),
            quarantined: quarantined.then(|| "bad".to_owned()),
        }
    }
}

prop_compose! {
    fn any_record()(
        version in 1..4_u8,
        pending: bool,
        held: bool,
        orphaned: bool,
        is_newest: bool,
        heals in 0..9_u32,
        healed_at in 0..2_000_u64,
    ) -> Record {
        Record {
            commit: if is_newest { "c2" } else { "c1" }.to_owned(),
            print: print(version),
            pending,
            held: held.then(|| "worse".to_owned()),
            heals,
            healed_at,
            orphaned,
        }
    }
}

fn apps<T: std::fmt::Debug>(one: impl Strategy<Value = T>) -> impl Strategy<Value = BTreeMap<String, T>> {
    let name = prop_oneof![Just("a"), Just("b"), Just("c"), Just("d")].prop_map(str::to_owned);
    proptest::collection::btree_map(name, one, 0..5)
}

proptest! {
    #[test]
    fn plans_keep_their_promises(
        wanted in proptest::option::of(apps((1..4_u8, 0..3_u32).prop_map(|(version, wave)| Wanted { print: print(version), wave }))),
        records in apps(any_record()),
        observed in apps(any_observed()),
        prune: bool,
        self_heal: bool,
        not_before in 0..2_000_u64,
    ) {
        let look = Look {
            now: 1_000,
            policy: Policy { prune, self_heal },
            commit: wanted.as_ref().map(|wanted| Commit { id: "c2", wanted }),
            records: &records,
            observed: &observed,
            not_before,
        };
        let plan = plan(&look);
        let is_empty = wanted.as_ref().is_some_and(BTreeMap::is_empty);
        prop_assert_eq!(is_empty, plan.outcome == Outcome::Empty);
        let nothing = Observed::default();
        let mut touched = std::collections::BTreeSet::new();
        for action in &plan.actions {
            let (Action::Apply { app, .. } | Action::Heal { app } | Action::Hold { app, .. } | Action::Adopt { app }
                | Action::Orphan { app } | Action::Prune { app }) = action;
            prop_assert!(touched.insert(app.clone()), "one thing an app");
            let now = observed.get(app).unwrap_or(&nothing);
            let record = records.get(app);
            let asked = wanted.as_ref().filter(|_| !is_empty).and_then(|wanted| wanted.get(app));
            let asked_print = asked.map(|asked| &asked.print).or(record.map(|record| &record.print));
            match action {
                Action::Apply { .. } | Action::Heal { .. } => {
                    let is_heal = matches!(action, Action::Heal { .. });
                    prop_assert!(not_before <= 1_000 || is_heal);
                    prop_assert_ne!(now.coming.as_ref(), asked_print, "a rollout is let do its work");
                    let is_held = record.is_some_and(|record| record.held.is_some() && Some(&record.print) == asked_print);
                    prop_assert!(!is_held, "what went back stays back until Git changes");
                }
                Action::Prune { .. } => {
                    prop_assert!(prune && wanted.is_some() && !is_empty && asked.is_none());
                    prop_assert!(now.coming.is_none());
                }
                Action::Orphan { .. } => prop_assert!(!prune && asked.is_none()),
                _ => {}
            }
            if let Action::Heal { .. } = action {
                prop_assert!(self_heal && now.coming.is_none() && now.went_back.is_none());
            }
            if let (Action::Apply { .. }, Some(asked), None | Some(Record { pending: false, .. })) = (action, asked, record) {
                // Everything of earlier waves is settled.
                let earlier = wanted.iter().flatten().filter(|(_, other)| other.wave < asked.wave);
                for (other, _) in earlier {
                    prop_assert!(plan.standings[other].is_settled(), "{other}");
                }
            }
        }
    }

    /// Carried out again and again where everything succeeds, plans come to an end with all as Git says.
    #[test]
    fn it_comes_to_rest(
        wanted in apps((1..4_u8, 0..3_u32).prop_map(|(version, wave)| Wanted { print: print(version), wave })),
        mut records in apps(any_record()),
        mut observed in apps((1..4_u8).prop_map(active)),
    ) {
        prop_assume!(!wanted.is_empty());
        for record in records.values_mut() {
            record.held = None;
        }
        for round in 0..10 {
            let look = Look {
                now: 10_000 + round * 1_000,
                policy: STRICT,
                commit: Some(Commit { id: "c2", wanted: &wanted }),
                records: &records,
                observed: &observed,
                not_before: 0,
            };
            let plan = plan(&look);
            for action in plan.actions {
                match action {
                    Action::Apply { app, .. } | Action::Adopt { app } | Action::Heal { app } => {
                        let print = wanted[&app].print.clone();
                        let now = Observed { active: Some(print.clone()), is_good: true, ..Observed::default() };
                        observed.insert(app.clone(), now);
                        records.insert(app, Record { print, ..record(1) });
                    }
                    Action::Prune { app } => drop((records.remove(&app), observed.remove(&app))),
                    Action::Hold { .. } | Action::Orphan { .. } => prop_assert!(false, "nothing fails here"),
                }
            }
        }
        for (app, wanted) in &wanted {
            prop_assert_eq!(observed[app].active.as_ref(), Some(&wanted.print));
        }
        prop_assert!(records.keys().all(|app| wanted.contains_key(app)));
    }
}
