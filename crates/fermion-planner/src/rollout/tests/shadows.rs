//! Releases that are tried with copies of requests, and where that leads.

use super::*;

fn shadow() -> Spec {
    Spec {
        aim: Aim::Shadow,
        steps: Vec::new(),
        mirror: Some(60),
        scored: false,
        ..spec()
    }
}

/// What copies say from now on.
fn say(observed: &mut Observed, copies: Option<Verdict>) {
    observed.telemetry.get_or_insert_default().copies = copies;
}

fn order(state: &State, spec: &Spec) -> Command {
    Command::Promote {
        rollout: spec.id,
        epoch: state.epoch,
        step: state.step,
    }
}

#[test]
fn a_shadow_ends_without_ever_having_traffic() {
    for (copies, end) in [
        (Some(Verdict::Pass), Phase::Succeeded),
        (Some(Verdict::Fail), Phase::RolledBack(Reason::Differs)),
        // Nobody decides.
        (Some(Verdict::Inconclusive), Phase::RolledBack(Reason::Deadline)),
        (None, Phase::RolledBack(Reason::Deadline)),
    ] {
        let mut mirrored = 0;
        let (state, world) = run(&shadow(), |_, state, _, observed| {
            mirrored += usize::from(state.phase == Phase::Mirroring);
            say(observed, copies);
        });
        assert_eq!(state.phase, end, "{copies:?}");
        assert_eq!((world.weight_most, world.promoted, mirrored), (0, false, 6));
    }
}

#[test]
fn a_person_may_pause_copies_and_take_doubt_for_an_answer() {
    let spec = shadow();
    let mut paused = 0;
    let (state, world) = run(&spec, |_, state, _, observed| {
        say(observed, Some(Verdict::Inconclusive));
        observed.command = match state.phase {
            Phase::Mirroring if paused == 0 => {
                paused += 1;
                Some(Command::Pause)
            }
            Phase::Paused(Pause::Person) => Some(Command::Resume),
            Phase::Paused(_) => Some(order(state, &spec)),
            _ => None,
        };
    });
    assert_eq!((state.phase, world.weight_most), (Phase::Succeeded, 0));
}

#[test]
fn copies_that_differ_keep_a_canary_from_its_first_step() {
    let spec = Spec {
        mirror: Some(60),
        ..super::spec()
    };
    let (state, world) = run(&spec, |_, _, _, observed| say(observed, Some(Verdict::Fail)));
    assert_eq!(
        (state.phase, world.weight_most),
        (Phase::RolledBack(Reason::Differs), 0)
    );
    let (state, world) = run(&spec, |_, state, _, observed| {
        say(observed, Some(Verdict::Inconclusive));
        if matches!(state.phase, Phase::Paused(_)) {
            observed.command = Some(order(state, &spec));
        }
    });
    assert_eq!((state.phase, world.promoted), (Phase::Succeeded, true));
}

#[test]
fn silence_while_copies_are_made_waits_for_a_person() {
    let (state, world) = run(&shadow(), |_, state, _, observed| {
        if state.phase == Phase::Mirroring {
            observed.telemetry = None;
        }
    });
    assert_eq!(
        (state.phase, world.weight_most),
        (Phase::RolledBack(Reason::Deadline), 0)
    );
}
