//! One trouble at a time, and where it leads.

use super::*;

fn ends(name: &str, expected: Phase, change: impl FnMut(usize, &State, &mut World, &mut Observed)) -> World {
    let (state, world) = run(&spec(), change);
    assert_eq!(state.phase, expected, "{name}");
    if let Phase::RolledBack(_) | Phase::Superseded = expected {
        assert_eq!(
            (world.weight, world.running, world.promoted),
            (0, false, false),
            "{name}"
        );
    }
    world
}

fn telemetry(observed: &mut Observed) -> &mut Telemetry {
    observed.telemetry.get_or_insert_default()
}

#[test]
fn a_good_release_goes_out_in_steps() {
    let mut weights = Vec::new();
    let world = ends("good", Phase::Succeeded, |_, _, world, _| {
        if weights.last() != Some(&world.weight) {
            weights.push(world.weight);
        }
    });
    assert_eq!(weights, [0, 500, 2_500, 5_000, 10_000]);
    assert!(world.promoted);
}

#[test]
fn a_mirrored_release_sees_traffic_before_it_answers_any() {
    let spec = Spec {
        mirror: Some(60),
        ..spec()
    };
    let mut mirrored = 0;
    let (state, _) = run(&spec, |_, state, world, _| {
        if state.phase == Phase::Mirroring {
            mirrored += 1;
            assert_eq!(world.weight, 0);
        }
    });
    assert_eq!((state.phase, mirrored), (Phase::Succeeded, 6));
}

#[test]
fn guards_take_it_back_from_any_weight() {
    for step in 0..3 {
        let at = |state: &State| state.step == step && state.phase == Phase::Baking;
        let judged = ends(
            "judge",
            Phase::RolledBack(Reason::Judge),
            |_, state, _, observed| {
                if state.step == step {
                    telemetry(observed).verdict = Some((step, Verdict::Fail));
                }
            },
        );
        assert_eq!(judged.weight_most, spec().steps[step].weight);
        ends(
            "failures",
            Phase::RolledBack(Reason::Sequential),
            |_, state, _, observed| {
                if at(state) {
                    telemetry(observed).failures = vec![(Arm::Canary, 0.05); 3];
                }
            },
        );
        ends(
            "slow",
            Phase::RolledBack(Reason::Slow),
            |_, state, _, observed| {
                if at(state) {
                    telemetry(observed).slow = vec![(Arm::Canary, 0.05); 5];
                }
            },
        );
        ends(
            "burn",
            Phase::RolledBack(Reason::Burn),
            |_, state, _, observed| {
                telemetry(observed).burning = at(state);
            },
        );
        ends(
            "readiness",
            Phase::RolledBack(Reason::Unready),
            |_, state, _, observed| {
                observed.canary_ready &= !at(state);
            },
        );
        ends(
            "person",
            Phase::RolledBack(Reason::Person),
            |_, state, _, observed| {
                observed.command = at(state).then_some(Command::Abort);
            },
        );
        ends("newer spec", Phase::Superseded, |_, state, _, observed| {
            observed.newer = at(state);
        });
    }
    ends(
        "after promotion",
        Phase::RolledBack(Reason::Burn),
        |_, state, _, observed| {
            telemetry(observed).burning = state.phase == Phase::PostBake;
        },
    );
}

#[test]
fn what_cannot_begin_ends() {
    ends(
        "refused",
        Phase::RolledBack(Reason::Invalid),
        |_, _, _, observed| {
            observed.admitted = Some(false);
        },
    );
    ends(
        "never ready",
        Phase::RolledBack(Reason::NoProgress),
        |_, _, _, observed| {
            observed.canary_ready = false;
        },
    );
    ends(
        "never pinned",
        Phase::RolledBack(Reason::NoProgress),
        |_, _, world, observed| {
            (world.pinned, observed.stable_pinned) = (false, false);
        },
    );
    ends(
        "nodes not heard",
        Phase::RolledBack(Reason::NoProgress),
        |_, state, _, observed| {
            if state.phase == Phase::Shifting {
                observed.weight = None;
            }
        },
    );
}

#[test]
fn doubt_waits_for_a_person_and_then_goes_back() {
    for (verdict, pause) in [
        (Verdict::Marginal, Pause::Marginal),
        (Verdict::Inconclusive, Pause::Inconclusive),
    ] {
        let mut waited = 0;
        ends(
            "deadline",
            Phase::RolledBack(Reason::Deadline),
            |_, state, world, observed| {
                telemetry(observed).verdict = Some((state.step, verdict));
                if state.phase == Phase::Paused(pause) {
                    waited += 1;
                    assert_eq!(world.weight, 500, "the weight is frozen");
                }
            },
        );
        assert_eq!(waited, 360);
        ends("a person promotes", Phase::Succeeded, |_, state, _, observed| {
            if state.step == 0 {
                telemetry(observed).verdict = Some((0, verdict));
            }
            // The second asks for a step that is not there any more: nothing happens twice.
            observed.command = (state.phase == Phase::Paused(pause)).then_some(Command::Promote {
                rollout: 7,
                epoch: 1,
                step: 0,
            });
        });
    }
    let stale = |rollout, epoch, step| {
        move |_: usize, state: &State, _: &mut World, observed: &mut Observed| {
            telemetry(observed).verdict = Some((state.step, Verdict::Marginal));
            observed.command = Some(Command::Promote { rollout, epoch, step });
        }
    };
    for (rollout, epoch, step) in [(8, 1, 0), (7, 2, 0), (7, 1, 1)] {
        ends(
            "another's promotion",
            Phase::RolledBack(Reason::Deadline),
            stale(rollout, epoch, step),
        );
    }
}

#[test]
fn a_pause_freezes_the_weight_and_keeps_the_guards() {
    let mut ticks = 0;
    ends(
        "paused and resumed",
        Phase::Succeeded,
        |tick, state, world, observed| {
            if tick == 5 {
                observed.command = Some(Command::Pause);
            }
            if state.phase == Phase::Paused(Pause::Person) {
                ticks += 1;
                assert_eq!(world.weight, 500);
                observed.command = (ticks == 1_000).then_some(Command::Resume);
            }
        },
    );
    assert_eq!(ticks, 1_000);
    ends(
        "guard in a pause",
        Phase::RolledBack(Reason::Burn),
        |tick, state, _, observed| {
            if tick == 5 {
                observed.command = Some(Command::Pause);
            }
            telemetry(observed).burning = state.phase == Phase::Paused(Pause::Person);
        },
    );
}

#[test]
fn lost_telemetry_holds_then_doubts_and_short_gaps_only_delay() {
    let mut steps = 0;
    ends(
        "lost for good",
        Phase::RolledBack(Reason::Deadline),
        |_, state, _, observed| {
            if state.step == 1 {
                observed.telemetry = None;
            }
            steps = steps.max(state.step);
        },
    );
    assert_eq!(steps, 1, "never a step further");
    ends("gaps of two looks", Phase::Succeeded, |tick, _, _, observed| {
        if tick % 4 < 2 {
            observed.telemetry = None;
        }
    });
}

#[test]
fn a_registry_that_is_down_blocks_forward_steps_only() {
    let mut held = 0;
    ends("down for an hour", Phase::Succeeded, |tick, _, _, observed| {
        observed.registry = tick > 40;
        held += usize::from(!observed.registry);
    });
    assert!(held > 0);
    ends(
        "rollback without it",
        Phase::RolledBack(Reason::Judge),
        |_, state, _, observed| {
            if state.step == 1 {
                observed.registry = false;
                telemetry(observed).verdict = Some((1, Verdict::Fail));
            }
        },
    );
}

#[test]
fn an_outage_of_both_is_not_blamed_on_the_canary() {
    let mut paused = 0;
    ends(
        "both fail for a while",
        Phase::Succeeded,
        |tick, state, _, observed| {
            let telemetry = telemetry(observed);
            telemetry.both_fail = (6..100).contains(&tick);
            telemetry.burning = telemetry.both_fail;
            paused += usize::from(state.phase == Phase::Paused(Pause::BothFail));
        },
    );
    assert!(paused > 80, "{paused}");
}

#[test]
fn nothing_healthy_to_go_back_to_blocks_the_abort() {
    let mut blocked = 0;
    let world = ends(
        "stable is down",
        Phase::RolledBack(Reason::Judge),
        |tick, state, world, observed| {
            if state.step == 1 || matches!(state.phase, Phase::AbortBlocked(_)) {
                telemetry(observed).verdict = Some((1, Verdict::Fail));
                observed.stable_ready = tick > 100;
            }
            if matches!(state.phase, Phase::AbortBlocked(_)) {
                blocked += 1;
                assert_eq!(world.weight, 2_500, "traffic stays where it is");
            }
        },
    );
    assert!(blocked > 10 && world.alarmed);
}

#[test]
fn instances_end_only_after_the_drain() {
    let mut confirmed = None;
    let mut ended = None;
    ends(
        "drain",
        Phase::RolledBack(Reason::Judge),
        |_, state, world, observed| {
            telemetry(observed).verdict = Some((state.step, Verdict::Fail));
            if matches!(state.phase, Phase::Aborting(_)) {
                if world.weight == 0 {
                    confirmed.get_or_insert(world.now);
                }
                if !world.running {
                    ended.get_or_insert(world.now);
                }
            }
        },
    );
    assert!(ended.unwrap() >= confirmed.unwrap() + crate::limits::DRAIN);
}

fn at(phase: Phase, step: usize, weight: u16) -> State {
    State {
        phase,
        step,
        weight,
        ..State::new(1, START)
    }
}

/// What the checker says of a plan at 5 %, where `change` tells what is different from a world that is well.
fn checked(
    before: &State,
    next: State,
    actions: &[Action],
    change: fn(&mut Observed),
) -> Result<(), Violation> {
    let mut world = World::new();
    (world.pinned, world.ready, world.running, world.weight) = (true, true, true, 500);
    let mut observed = world.observe(before);
    change(&mut observed);
    let actions = actions.to_vec();
    check(&spec(), before, &observed, &Plan { next, actions }, START)
}

fn set(epoch: u64, weight: u16) -> [Action; 1] {
    [Action::SetWeight { epoch, weight }]
}

/// The checker is asked of plans that are wrong, because right ones do not show that it looks.
#[test]
fn the_checker_refuses_actions_that_break_a_rule() {
    let baking = at(Phase::Baking, 0, 500);
    let aborting = at(Phase::Aborting(Reason::Judge), 0, 0);
    let still = |actions: &[Action], change| checked(&baking, baking.clone(), actions, change);
    assert_eq!(still(&set(1, 500), |_| {}), Ok(()));
    assert_eq!(
        still(&set(1, 500), |seen| seen.epoch = 2),
        Err(Violation::NotTheWriter)
    );
    assert_eq!(still(&set(1, 400), |_| {}), Err(Violation::NotStored));
    assert_eq!(
        still(&set(1, 500), |seen| seen.stable_pinned = false),
        Err(Violation::NotPinned)
    );
    assert_eq!(still(&[Action::Promote], |_| {}), Err(Violation::StableLost));
    let ended = checked(&aborting, aborting.clone(), &[Action::ScaleDownCanary], |_| {});
    assert_eq!(ended, Err(Violation::NotDrained));
}

#[test]
fn the_checker_refuses_states_that_break_a_rule() {
    let judging = at(Phase::Judging, 0, 500);
    let to = |next: State, change| checked(&judging, next, &[], change);
    assert_eq!(to(at(Phase::Shifting, 1, 2_500), |_| {}), Ok(()));
    let silent = to(at(Phase::Shifting, 1, 2_500), |seen| seen.telemetry = None);
    assert_eq!(silent, Err(Violation::Unjudged));
    assert_eq!(to(at(Phase::Shifting, 2, 5_000), |_| {}), Err(Violation::Skipped));
    assert_eq!(
        to(at(Phase::Judging, 0, 501), |_| {}),
        Err(Violation::TooMuchWeight)
    );
    let aborting = to(at(Phase::Aborting(Reason::Judge), 0, 1), |_| {});
    assert_eq!(aborting, Err(Violation::TooMuchWeight));
}

#[test]
fn a_closed_gate_holds_it_before_each_step_and_the_guards_stay_awake() {
    for held_at in [0, 500, 2_500, 5_000] {
        // It waits with the weight that it has, for hundreds of looks if need be, and goes on by itself.
        let mut waited = 0;
        let world = ends("opens", Phase::Succeeded, |_, state, world, observed| {
            let waits = state.phase == Phase::Paused(Pause::Gate);
            waited += usize::from(waits);
            observed.gate_open = world.weight != held_at || waited >= 500;
            assert!(!waits || world.weight == held_at, "{state:?}");
        });
        assert_eq!((waited, world.weight_most), (500, WEIGHT_MAX), "{held_at}");

        // A person's word opens it; to go on with the step is none.
        ends("promoted", Phase::Succeeded, |_, state, world, observed| {
            observed.gate_open = world.weight != held_at;
            if state.phase == Phase::Paused(Pause::Gate) {
                let (epoch, step) = (state.epoch, state.step);
                let rollout = spec().id;
                observed.command = Some(Command::Promote { rollout, epoch, step });
            }
        });
        let mut last = None;
        run(&spec(), |_, state, world, observed| {
            observed.gate_open = world.weight != held_at;
            if state.phase == Phase::Paused(Pause::Gate) {
                observed.command = Some(Command::Resume);
            }
            last = Some((state.phase, world.weight_most));
        });
        assert_eq!(last, Some((Phase::Paused(Pause::Gate), held_at)));

        ends(
            "guards",
            Phase::RolledBack(Reason::Sequential),
            |_, state, world, observed| {
                observed.gate_open = world.weight != held_at;
                if state.phase == Phase::Paused(Pause::Gate) {
                    telemetry(observed).failures = vec![(Arm::Canary, 0.05); 5];
                }
            },
        );
    }
}

#[test]
fn a_gate_that_opens_in_silence_promotes_nothing() {
    let mut last = None;
    run(&spec(), |_, state, world, observed| {
        observed.gate_open = world.weight != 500;
        if state.phase == Phase::Paused(Pause::Gate) {
            (observed.gate_open, observed.telemetry) = (true, None);
        }
        last = Some((state.phase, world.weight_most));
    });
    assert_eq!(last, Some((Phase::Paused(Pause::Gate), 500)));
}
