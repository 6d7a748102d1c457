//! The transitions. Guards come first and are asked in every phase in which the canary has traffic; then what a person
//! wants; then the phase's own road forward.

use super::{ALPHA_EACH, Aim, Command, Observed, Pause, Phase, Reason, Spec, State, Telemetry};
use crate::judge::Verdict;
use crate::judge::experiment::Choice;
use crate::judge::sequential::Call;
use crate::limits::{DOUBT_MAX, MISSED_MAX, PROGRESS_MAX, WATCH_GAP_MAX, WEIGHT_MAX};

pub(super) fn advance(spec: &Spec, state: &State, observed: &Observed, now: u64) -> State {
    let mut next = state.clone();
    if next.phase.ended() {
        return next;
    }
    keep_time(&mut next, observed, now);
    let telemetry = observed.telemetry.as_ref();
    if let Some(telemetry) = telemetry {
        for (arm, exposure) in &telemetry.failures {
            next.watch.observe(*arm, true, *exposure);
        }
        next.watch.succeed(telemetry.canary_successes);
        for (arm, exposure) in &telemetry.slow {
            next.slowness.observe(*arm, *exposure);
        }
        next.missed = 0;
    } else {
        next.missed = next.missed.saturating_add(1);
    }
    let going_back = matches!(next.phase, Phase::Aborting(_) | Phase::AbortBlocked(_));
    if !going_back && let Some(reason) = must_go_back(&next, observed, telemetry) {
        go_back(&mut next, reason, observed, now);
    } else if !going_back && command(spec, &mut next, observed, now) {
        // What a person said is done; the road goes on at the next look.
    } else {
        forward(spec, &mut next, observed, telemetry, now);
    }
    next
}

/// Time that was not watched does not count, and neither does a clock that was set: deadlines move along.
fn keep_time(next: &mut State, observed: &Observed, now: u64) {
    let watched = now >= next.seen && now - next.seen <= WATCH_GAP_MAX;
    // A bake counts while the nodes have its weight and telemetry tells of it; what needs the registry waits for it.
    let counts = match next.phase {
        Phase::Baking | Phase::PostBake | Phase::Mirroring => {
            observed.weight == Some(next.weight) && observed.telemetry.is_some()
        }
        Phase::Validating | Phase::Prewarming => observed.registry,
        _ => true,
    };
    if !watched || !counts {
        next.deadline = moved(next.deadline, next.seen, now);
    }
    if !watched {
        next.drained_since = next.drained_since.map(|since| moved(since, next.seen, now));
    }
    next.seen = now;
}

/// A time moved by as much as the clock has.
fn moved(time: u64, before: u64, now: u64) -> u64 {
    if time == u64::MAX {
        return time;
    }
    if now >= before {
        time.saturating_add(now - before)
    } else {
        time.saturating_sub(before - now)
    }
}

fn must_go_back(next: &State, observed: &Observed, telemetry: Option<&Telemetry>) -> Option<Reason> {
    if observed.newer {
        return Some(Reason::Superseded);
    }
    if observed.command == Some(Command::Abort) {
        return Some(Reason::Person);
    }
    if observed.canary_failed && next.phase != Phase::Pending {
        return Some(Reason::Unready);
    }
    if !next.phase.serving() {
        return None;
    }
    if next.watch.call() == Call::Abort {
        return Some(Reason::Sequential);
    }
    if next.slowness.evidence().aborts(ALPHA_EACH) {
        return Some(Reason::Slow);
    }
    // Where both releases fail, the canary is not to blame.
    if telemetry.is_some_and(|telemetry| telemetry.burning && !telemetry.both_fail) {
        return Some(Reason::Burn);
    }
    (!observed.canary_ready && observed.stable_ready).then_some(Reason::Unready)
}

/// Turns round: to the healthy side, not blindly to the old one.
fn go_back(next: &mut State, reason: Reason, observed: &Observed, now: u64) {
    if next.weight > 0 && !observed.stable_ready {
        next.phase = Phase::AbortBlocked(reason);
        next.deadline = u64::MAX;
        return;
    }
    next.phase = Phase::Aborting(reason);
    next.weight = 0;
    next.drained_since = None;
    next.deadline = now.saturating_add(PROGRESS_MAX);
}

fn enter(next: &mut State, phase: Phase, deadline: u64) {
    next.phase = phase;
    next.deadline = deadline;
}

fn pause(next: &mut State, pause: Pause, now: u64) {
    let deadline = match pause {
        Pause::Marginal | Pause::Inconclusive => now.saturating_add(DOUBT_MAX),
        Pause::Person | Pause::BothFail | Pause::Gate => u64::MAX,
    };
    enter(next, Phase::Paused(pause), deadline);
}

/// Does what a person wants, if it can be done here. Says whether it was.
fn command(spec: &Spec, next: &mut State, observed: &Observed, now: u64) -> bool {
    match (observed.command, next.phase) {
        (Some(Command::Pause), Phase::Mirroring | Phase::Shifting | Phase::Baking | Phase::Judging) => {
            pause(next, Pause::Person, now);
            true
        }
        // A closed gate is opened by a promotion: going on would go round it.
        (Some(Command::Resume), Phase::Paused(reason)) if reason != Pause::Gate => {
            again(spec, next, now);
            true
        }
        (Some(Command::Promote { rollout, epoch, step }), Phase::Paused(_))
            if (rollout, epoch, step) == (spec.id, next.epoch, next.step) && observed.registry =>
        {
            onward(spec, next, now);
            true
        }
        _ => false,
    }
}

/// From a pause back to where it was, from the beginning. Without weight that was before the first step.
fn again(spec: &Spec, next: &mut State, now: u64) {
    match spec.mirror {
        Some(seconds) if next.weight == 0 => enter(next, Phase::Mirroring, now.saturating_add(seconds)),
        _ => shift(spec, next, next.step, now),
    }
}

/// From copies to the first step, or to the end of what was only to be tried.
fn mirrored(spec: &Spec, next: &mut State, now: u64) {
    if spec.aim == Aim::Shadow {
        enter(next, Phase::Succeeded, u64::MAX);
    } else {
        shift(spec, next, 0, now);
    }
}

/// To a step's weight; for a step that has it, to its bake anew.
fn shift(spec: &Spec, next: &mut State, step: usize, now: u64) {
    next.step = step;
    next.weight = spec.steps[step].weight.min(WEIGHT_MAX);
    enter(next, Phase::Shifting, now.saturating_add(PROGRESS_MAX));
}

fn next_step(spec: &Spec, next: &mut State, now: u64) {
    if next.step + 1 < spec.steps.len() {
        shift(spec, next, next.step + 1, now);
    } else {
        next.weight = WEIGHT_MAX;
        enter(next, Phase::Promoting, now.saturating_add(PROGRESS_MAX));
    }
}

/// To the first step of a rollout that has no traffic yet, to the next one of another.
fn onward(spec: &Spec, next: &mut State, now: u64) {
    if next.weight == 0 {
        mirrored(spec, next, now);
    } else {
        next_step(spec, next, now);
    }
}

/// Onward through the gate, or waits before it.
fn through_gate(spec: &Spec, next: &mut State, observed: &Observed, now: u64) {
    if observed.gate_open {
        onward(spec, next, now);
    } else {
        pause(next, Pause::Gate, now);
    }
}

fn forward(spec: &Spec, next: &mut State, observed: &Observed, telemetry: Option<&Telemetry>, now: u64) {
    let late = now >= next.deadline;
    match next.phase {
        Phase::Pending => enter(next, Phase::Validating, now.saturating_add(PROGRESS_MAX)),
        Phase::Validating => match observed.admitted {
            Some(true) => enter(next, Phase::Prewarming, now.saturating_add(PROGRESS_MAX)),
            Some(false) => go_back(next, Reason::Invalid, observed, now),
            None if late => go_back(next, Reason::NoProgress, observed, now),
            None => {}
        },
        Phase::Prewarming => {
            if observed.canary_ready && observed.stable_pinned && observed.registry {
                match spec.mirror {
                    Some(seconds) => enter(next, Phase::Mirroring, now.saturating_add(seconds)),
                    None => through_gate(spec, next, observed, now),
                }
            } else if late {
                go_back(next, Reason::NoProgress, observed, now);
            }
        }
        Phase::Mirroring if next.missed >= MISSED_MAX => pause(next, Pause::Inconclusive, now),
        Phase::Mirroring if late => match telemetry.map(|telemetry| telemetry.copies) {
            Some(Some(Verdict::Pass)) if spec.aim == Aim::Shadow => mirrored(spec, next, now),
            Some(Some(Verdict::Pass)) => through_gate(spec, next, observed, now),
            Some(Some(Verdict::Fail)) => go_back(next, Reason::Differs, observed, now),
            Some(_) => pause(next, Pause::Inconclusive, now),
            None => {}
        },
        Phase::Mirroring | Phase::Succeeded | Phase::RolledBack(_) | Phase::Superseded => {}
        Phase::Shifting if observed.weight == Some(next.weight) => {
            let bake = spec.steps[next.step].bake;
            enter(next, Phase::Baking, now.saturating_add(bake));
        }
        Phase::Promoting if observed.weight == Some(next.weight) => {
            enter(next, Phase::PostBake, now.saturating_add(spec.post_bake));
        }
        Phase::Shifting | Phase::Promoting if late => go_back(next, Reason::NoProgress, observed, now),
        Phase::Shifting | Phase::Promoting => {}
        Phase::Baking => bake(spec, next, telemetry, late, now),
        Phase::Judging => judge(spec, next, observed, telemetry, late, now),
        Phase::PostBake if late => enter(next, Phase::Succeeded, u64::MAX),
        Phase::PostBake => {}
        Phase::Paused(reason) => wait(spec, next, reason, observed, telemetry, late, now),
        Phase::AbortBlocked(reason) if observed.stable_ready => go_back(next, reason, observed, now),
        Phase::AbortBlocked(_) => {}
        Phase::Aborting(reason) => drain(next, reason, observed, now),
    }
}

fn bake(spec: &Spec, next: &mut State, telemetry: Option<&Telemetry>, late: bool, now: u64) {
    let is_choice = matches!(spec.aim, Aim::Choose { .. });
    let chosen = is_choice && telemetry.is_some_and(|telemetry| telemetry.choice.is_some());
    if next.missed >= MISSED_MAX {
        pause(next, Pause::Inconclusive, now);
    } else if telemetry.is_some_and(|telemetry| telemetry.both_fail) {
        pause(next, Pause::BothFail, now);
    } else if late || chosen {
        enter(next, Phase::Judging, now.saturating_add(PROGRESS_MAX));
    }
}

/// Goes on only on this step's own pass, with the canary's failure rate cleared, the registry there, and no burn, which
/// the guards have asked for already.
fn judge(
    spec: &Spec,
    next: &mut State,
    observed: &Observed,
    telemetry: Option<&Telemetry>,
    late: bool,
    now: u64,
) {
    if !spec.scored
        && observed.registry
        && let Some(telemetry) = telemetry.filter(|telemetry| !telemetry.both_fail)
    {
        match (spec.aim, telemetry.choice) {
            (Aim::Choose { .. }, Some(Choice::Old)) => go_back(next, Reason::Loses, observed, now),
            (Aim::Choose { keep_new: false }, None) => go_back(next, Reason::Undecided, observed, now),
            _ => through_gate(spec, next, observed, now),
        }
        return;
    }
    let verdict = telemetry
        .filter(|telemetry| !telemetry.both_fail)
        .and_then(|telemetry| telemetry.verdict)
        .filter(|(step, _)| *step == next.step)
        .map(|(_, verdict)| verdict);
    match verdict {
        Some(Verdict::Fail) => go_back(next, Reason::Judge, observed, now),
        Some(Verdict::Marginal) => pause(next, Pause::Marginal, now),
        Some(Verdict::Inconclusive) => pause(next, Pause::Inconclusive, now),
        Some(Verdict::Pass) if observed.registry && next.watch.call() == Call::Clear => {
            through_gate(spec, next, observed, now)
        }
        _ if next.missed >= MISSED_MAX || late => pause(next, Pause::Inconclusive, now),
        _ => {}
    }
}

fn wait(
    spec: &Spec,
    next: &mut State,
    reason: Pause,
    observed: &Observed,
    telemetry: Option<&Telemetry>,
    late: bool,
    now: u64,
) {
    let over = telemetry.is_some_and(|telemetry| !telemetry.both_fail);
    match reason {
        Pause::BothFail if over => shift(spec, next, next.step, now),
        // Before the first step there is no traffic that telemetry could tell of.
        Pause::Gate if observed.gate_open && observed.registry && (over || next.weight == 0) => {
            onward(spec, next, now);
        }
        Pause::Marginal | Pause::Inconclusive if late => go_back(next, Reason::Deadline, observed, now),
        _ => {}
    }
}

fn drain(next: &mut State, reason: Reason, observed: &Observed, now: u64) {
    if observed.weight != Some(0) {
        next.drained_since = None;
    } else if !observed.canary_running {
        let ended = match reason {
            Reason::Superseded => Phase::Superseded,
            reason => Phase::RolledBack(reason),
        };
        enter(next, ended, u64::MAX);
    } else {
        next.drained_since.get_or_insert(now);
    }
}
