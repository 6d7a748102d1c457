//! Experiments: which release is kept, and what ends them before their time.

use super::*;

fn experiment(keep_new: bool) -> Spec {
    Spec {
        aim: Aim::Choose { keep_new },
        steps: vec![Step {
            weight: 5_000,
            bake: 600,
        }],
        scored: false,
        ..spec()
    }
}

/// The end, when it came, and whether the new release was kept, where this is found at the tenth look.
fn end(keep_new: bool, choice: Option<Choice>, burning: bool) -> (Phase, u64, bool) {
    let (mut looks, mut baked) = (0, 0);
    let (state, world) = run(&experiment(keep_new), |_, state, _, observed| {
        let telemetry = observed.telemetry.get_or_insert_default();
        looks += 1;
        baked += u64::from(state.phase == Phase::Baking);
        if looks > 10 {
            telemetry.choice = choice;
            telemetry.burning = burning && state.phase == Phase::Baking;
        }
    });
    assert!(world.weight_most == 5_000 || world.promoted);
    (state.phase, baked * TICK, world.promoted)
}

#[test]
fn the_better_one_is_kept_as_soon_as_it_is_known() {
    for keep_new in [false, true] {
        let (phase, baked, kept) = end(keep_new, Some(Choice::New), false);
        assert_eq!((phase, kept), (Phase::Succeeded, true));
        assert!(baked < 200, "{baked}");
        let (phase, baked, kept) = end(keep_new, Some(Choice::Old), false);
        assert_eq!((phase, kept), (Phase::RolledBack(Reason::Loses), false));
        assert!(baked < 200, "{baked}");
    }
}

#[test]
fn where_neither_is_better_the_end_decides_as_it_was_said() {
    let (phase, baked, kept) = end(false, None, false);
    assert_eq!((phase, kept), (Phase::RolledBack(Reason::Undecided), false));
    assert!(baked >= 600, "{baked}");
    let (phase, baked, kept) = end(true, None, false);
    assert_eq!((phase, kept), (Phase::Succeeded, true));
    assert!(baked >= 600, "{baked}");
}

#[test]
fn guards_go_before_what_is_counted() {
    let (phase, _, kept) = end(true, Some(Choice::New), true);
    assert_eq!((phase, kept), (Phase::RolledBack(Reason::Burn), false));
}
