//! Rollouts in a small simulated world: nodes that follow, controllers that die, clocks that jump. Every plan is checked
//! before it is carried out.

mod experiments;
mod scenarios;
mod shadows;

use proptest::prelude::*;

use super::*;
use crate::judge::Verdict;
use crate::limits::WEIGHT_MAX;

const START: u64 = 1_800_000_000;
/// Seconds between two looks.
const TICK: u64 = 10;

fn spec() -> Spec {
    let step = |weight| Step { weight, bake: 60 };
    Spec {
        id: 7,
        salt: 42,
        aim: Aim::TakeOver,
        steps: vec![step(500), step(2_500), step(5_000)],
        mirror: None,
        post_bake: 60,
        scored: true,
    }
}

/// What the nodes have, and how the canary behaves.
#[derive(Debug, Clone)]
struct World {
    now: u64,
    /// The highest epoch that the nodes have seen; they refuse lower ones.
    epoch: u64,
    weight: u16,
    /// The highest weight that the canary ever had.
    weight_most: u16,
    pinned: bool,
    ready: bool,
    running: bool,
    promoted: bool,
    alarmed: bool,
}

impl World {
    fn new() -> Self {
        Self {
            now: START,
            epoch: 1,
            weight: 0,
            weight_most: 0,
            pinned: false,
            ready: false,
            running: false,
            promoted: false,
            alarmed: false,
        }
    }

    /// What a controller sees, if all is well and the judge passes each step.
    fn observe(&self, state: &State) -> Observed {
        Observed {
            epoch: self.epoch,
            weight: Some(self.weight),
            admitted: Some(true),
            canary_ready: self.ready,
            canary_failed: false,
            stable_ready: true,
            stable_pinned: self.pinned,
            canary_running: self.running,
            registry: true,
            gate_open: true,
            telemetry: Some(Telemetry {
                canary_successes: 100,
                slow: vec![(Arm::Baseline, 0.05); 4],
                verdict: Some((state.step, Verdict::Pass)),
                copies: Some(Verdict::Pass),
                ..Telemetry::default()
            }),
            command: None,
            newer: false,
        }
    }

    fn execute(&mut self, action: Action) {
        match action {
            Action::Validate | Action::Mirror(_) => {}
            Action::PinStable => self.pinned = true,
            Action::Prewarm => (self.ready, self.running) = (true, true),
            Action::SetWeight { epoch, weight } => {
                if epoch >= self.epoch {
                    (self.epoch, self.weight) = (epoch, weight);
                    self.weight_most = self.weight_most.max(weight);
                }
            }
            Action::ScaleDownCanary => {
                assert_eq!(self.weight, 0, "instances end without traffic only");
                (self.ready, self.running) = (false, false);
            }
            Action::Promote => self.promoted = true,
            Action::Alarm => self.alarmed = true,
        }
    }

    /// One look: plans, checks, stores, acts. `survived` is how many actions a controller carries out before it dies.
    fn tick(&mut self, spec: &Spec, state: &mut State, observed: &Observed, survived: usize) {
        let plan = plan(spec, state, observed, self.now);
        check(spec, state, observed, &plan, self.now)
            .unwrap_or_else(|rule| panic!("{rule}: {plan:?} of {state:?}"));
        // As the bus keeps it.
        *state = serde_json::from_str(&serde_json::to_string(&plan.next).unwrap()).unwrap();
        for action in plan.actions.into_iter().take(survived) {
            self.execute(action);
        }
        self.now += TICK;
    }
}

/// Looks after which a rollout that is not over never will be.
const TICKS_MAX: usize = 2_000;

/// Runs a rollout to its end in a world that `change` makes worse, look by look.
fn run(spec: &Spec, mut change: impl FnMut(usize, &State, &mut World, &mut Observed)) -> (State, World) {
    let mut world = World::new();
    let mut state = State::new(1, world.now);
    for tick in 0..TICKS_MAX {
        if state.phase.ended() {
            break;
        }
        let mut observed = world.observe(&state);
        change(tick, &state, &mut world, &mut observed);
        world.tick(spec, &mut state, &observed, usize::MAX);
    }
    // What an end still asks for.
    let observed = world.observe(&state);
    world.tick(spec, &mut state, &observed, usize::MAX);
    (state, world)
}

/// What goes wrong at one look.
#[derive(Debug, Clone)]
struct Trouble {
    silent: bool,
    verdict: u8,
    failures: u8,
    burning: bool,
    both_fail: bool,
    registry: bool,
    gate_open: bool,
    stable_ready: bool,
    heard: bool,
    command: u8,
    newer: bool,
    clock: i64,
    survived: usize,
    epoch: bool,
}

fn trouble() -> impl Strategy<Value = Trouble> {
    let rare = || prop::bool::weighted(0.03);
    let usual = || prop::bool::weighted(0.9);
    (
        (
            prop::bool::weighted(0.2),
            0u8..40,
            0u8..3,
            rare(),
            rare(),
            usual(),
            usual(),
            usual(),
        ),
        (
            usual(),
            0u8..60,
            prop::bool::weighted(0.005),
            clock(),
            0usize..6,
            prop::bool::weighted(0.005),
        ),
    )
        .prop_map(|(telemetry, rest)| Trouble {
            silent: telemetry.0,
            verdict: telemetry.1,
            failures: telemetry.2,
            burning: telemetry.3,
            both_fail: telemetry.4,
            registry: telemetry.5,
            stable_ready: telemetry.6,
            gate_open: telemetry.7,
            heard: rest.0,
            command: rest.1,
            newer: rest.2,
            clock: rest.3,
            survived: rest.4,
            epoch: rest.5,
        })
}

fn clock() -> impl Strategy<Value = i64> {
    prop_oneof![20 => Just(0), 1 => -4_000i64..4_000]
}

impl Trouble {
    fn apply(&self, state: &State, world: &mut World, observed: &mut Observed) {
        world.now = world.now.saturating_add_signed(self.clock);
        if self.epoch {
            world.epoch += 1;
        }
        observed.epoch = world.epoch;
        observed.registry = self.registry;
        observed.gate_open = self.gate_open;
        observed.stable_ready = self.stable_ready;
        observed.newer = self.newer;
        observed.canary_failed = self.command == 5 && self.verdict == 0;
        if !self.heard {
            observed.weight = None;
        }
        observed.command = match self.command {
            0 => Some(Command::Pause),
            1 => Some(Command::Resume),
            2 => Some(Command::Abort),
            3 => Some(Command::Promote {
                rollout: 7,
                epoch: state.epoch,
                step: state.step,
            }),
            4 => Some(Command::Promote {
                rollout: 7,
                epoch: state.epoch,
                step: state.step + 1,
            }),
            _ => None,
        };
        let verdict = match self.verdict {
            0 => Some(Verdict::Fail),
            1 => Some(Verdict::Marginal),
            2 => Some(Verdict::Inconclusive),
            3 => None,
            _ => Some(Verdict::Pass),
        };
        observed.telemetry = (!self.silent).then(|| Telemetry {
            failures: vec![(Arm::Baseline, 0.05); usize::from(self.failures)],
            canary_successes: 100,
            slow: vec![(Arm::Baseline, 0.05); 5],
            verdict: verdict.map(|verdict| (state.step, verdict)),
            copies: verdict,
            choice: match self.verdict {
                0 => Some(Choice::Old),
                4 => Some(Choice::New),
                _ => None,
            },
            burning: self.burning,
            both_fail: self.both_fail,
        });
    }
}

proptest! {
    /// The rules hold for every plan, whatever happens, and whenever the controller dies.
    #[test]
    fn no_plan_breaks_a_rule(troubles in prop::collection::vec(trouble(), 1..300)) {
        let spec = match troubles.len() % 5 {
            0 => Spec { aim: Aim::Shadow, mirror: Some(60), steps: Vec::new(), ..spec() },
            1 => Spec { mirror: Some(60), ..spec() },
            2 => Spec { scored: false, aim: Aim::Choose { keep_new: troubles.len() % 2 == 0 }, ..spec() },
            odd => Spec { scored: odd != 3, ..spec() },
        };
        let mut world = World::new();
        let mut state = State::new(1, world.now);
        for trouble in &troubles {
            let mut observed = world.observe(&state);
            trouble.apply(&state, &mut world, &mut observed);
            let before = (world.weight, world.epoch);
            world.tick(&spec, &mut state, &observed, trouble.survived);
            if observed.epoch > state.epoch {
                prop_assert_eq!((world.weight, world.epoch), before, "only the highest epoch writes");
            }
            if world.promoted {
                prop_assert_eq!(state.phase, Phase::Succeeded, "stable is kept until the end");
            }
        }
    }

    /// Whatever else happens, without telemetry and without a person there is no step after the first.
    #[test]
    fn silence_promotes_nothing(troubles in prop::collection::vec(trouble(), 1..300)) {
        let spec = spec();
        let mut world = World::new();
        let mut state = State::new(1, world.now);
        for trouble in &troubles {
            let mut observed = world.observe(&state);
            trouble.apply(&state, &mut world, &mut observed);
            (observed.telemetry, observed.command) = (None, None);
            world.tick(&spec, &mut state, &observed, trouble.survived);
            prop_assert!(state.step == 0 && world.weight_most <= spec.steps[0].weight, "{state:?}");
        }
    }

    /// A clock that jumps neither promotes nor aborts: the rollout takes as many looks as without, but for those that fit
    /// into the largest gap that counts as watched.
    #[test]
    fn clocks_change_nothing(jumps in prop::collection::vec((0usize..60, -4_000i64..4_000), 0..4)) {
        let spec = spec();
        let mut looks = 0;
        let (state, world) = run(&spec, |tick, _, world, _| {
            looks = tick;
            for (_, jump) in jumps.iter().filter(|(at, _)| *at == tick) {
                world.now = world.now.saturating_add_signed(*jump);
            }
        });
        prop_assert_eq!(state.phase, Phase::Succeeded);
        prop_assert!(world.promoted);
        let mut steady = 0;
        run(&spec, |tick, _, _, _| steady = tick);
        let saved = jumps.len() * usize::try_from(crate::limits::WATCH_GAP_MAX / TICK).unwrap();
        prop_assert!(looks + saved >= steady, "{looks} looks, {steady} without jumps");
    }

    #[test]
    fn raising_the_weight_takes_nobody_back(hash in any::<u64>(), one in 0u16..=WEIGHT_MAX, two in 0u16..=WEIGHT_MAX) {
        let (less, more) = (one.min(two), one.max(two));
        prop_assert!(!is_canary(hash, less) || is_canary(hash, more));
        prop_assert!(!is_canary(hash, 0) && is_canary(hash, WEIGHT_MAX));
    }

    #[test]
    fn instances_add_up_and_nobody_with_traffic_has_none(total in 0u32..1_000, weight in 0u16..=WEIGHT_MAX) {
        let (canary, stable) = instances(total, weight);
        prop_assert_eq!(canary + stable, total);
        if total > 1 && weight > 0 && weight < WEIGHT_MAX {
            prop_assert!(canary > 0 && stable > 0);
        }
    }
}

/// The controller dies at every look, before it stores, after it, and after each action; the end is the same.
#[test]
fn a_controller_that_dies_at_any_point_ends_where_it_would_have() {
    let spec = spec();
    for bad in [false, true] {
        let trouble = |state: &State, observed: &mut Observed| {
            if bad
                && state.step == 1
                && let Some(telemetry) = &mut observed.telemetry
            {
                telemetry.verdict = Some((1, Verdict::Fail));
            }
        };
        let (steady, _) = run(&spec, |_, state, _, observed| trouble(state, observed));
        for death in 0..60 {
            for survived in 0..4 {
                let mut world = World::new();
                let mut state = State::new(1, world.now);
                for tick in 0..TICKS_MAX {
                    let mut observed = world.observe(&state);
                    trouble(&state, &mut observed);
                    if tick == death && survived == 0 {
                        // Before it stored: the look never happened. The next controller comes after a while.
                        world.now += 300;
                        continue;
                    }
                    let survived = if tick == death { survived - 1 } else { usize::MAX };
                    world.tick(&spec, &mut state, &observed, survived);
                    if tick == death {
                        world.now += 300;
                    }
                }
                assert_eq!(state.phase, steady.phase, "died at {death} with {survived}");
                assert_eq!(world.promoted, !bad);
            }
        }
    }
}

/// Two controllers that both believe to lead: the nodes follow the newer one, and the older one ceases when it hears.
#[test]
fn two_controllers_never_both_act() {
    let spec = spec();
    let mut world = World::new();
    let mut old = State::new(1, world.now);
    while old.phase != Phase::Judging {
        let observed = world.observe(&old);
        world.tick(&spec, &mut old, &observed, usize::MAX);
    }
    let mut new = State {
        epoch: 2,
        ..old.clone()
    };
    for _ in 0..40 {
        // The older one has not heard of the newer: its observation is from before.
        let stale = Observed {
            epoch: 1,
            ..world.observe(&old)
        };
        let observed = Observed {
            epoch: 2,
            ..world.observe(&new)
        };
        world.tick(&spec, &mut new, &observed, usize::MAX);
        let weight = world.weight;
        world.epoch = 2;
        for action in plan(&spec, &old, &stale, world.now).actions {
            world.execute(action);
        }
        assert_eq!(world.weight, weight, "the nodes refuse the older epoch");
        let heard = plan(&spec, &old, &observed, world.now);
        assert_eq!((heard.actions, &heard.next), (Vec::new(), &old));
    }
    assert_eq!(new.phase, Phase::Succeeded);
}

#[test]
fn shares_of_many_keys_are_within_binomial_bounds() {
    const KEYS: u32 = 100_000;
    // Any hash that spreads well stands for the real one.
    let hash = |key: u32| {
        let mut z = u64::from(key).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z ^ (z >> 31)
    };
    for weight in [100, 500, 2_500, 5_000] {
        let count = (0..KEYS).filter(|key| is_canary(hash(*key), weight)).count() as f64;
        let share = f64::from(weight) / f64::from(WEIGHT_MAX);
        let expected = f64::from(KEYS) * share;
        let luck = 4.0 * (expected * (1.0 - share)).sqrt();
        assert!(
            (count - expected).abs() <= luck,
            "{count} of {expected} at {weight}"
        );
    }
}

#[test]
fn counts_and_checks_are_those_of_argo_rollouts() {
    assert_eq!(instances(10, 1_500), (2, 8));
    let assess = |failed, inconclusive, errors_in_a_row, passed| {
        let limits = Limits {
            failed: 2,
            inconclusive: 1,
            count: Some(5),
            ..Limits::default()
        };
        Checks {
            passed,
            failed,
            inconclusive,
            errors_in_a_row,
        }
        .assess(&limits)
    };
    for (found, expected) in [
        (assess(3, 0, 0, 0), Assessment::Failed),
        (assess(2, 0, 0, 0), Assessment::Running),
        (assess(0, 0, 5, 0), Assessment::Error),
        (assess(0, 0, 4, 0), Assessment::Running),
        (assess(0, 2, 0, 0), Assessment::Inconclusive),
        (assess(2, 1, 0, 2), Assessment::Successful),
    ] {
        assert_eq!(found, expected);
    }
}

#[test]
fn what_cannot_be_made_ready_goes_back_before_it_has_traffic() {
    let (state, world) = run(&spec(), |_, state, _, observed| {
        observed.canary_failed = state.phase == Phase::Prewarming;
    });
    assert_eq!(state.phase, Phase::RolledBack(Reason::Unready));
    assert_eq!(world.weight_most, 0);
}

#[test]
fn what_is_only_watched_goes_on_without_traffic_and_back_on_proof() {
    let spec = Spec {
        scored: false,
        ..spec()
    };
    let quiet = |_: usize, _: &State, _: &mut World, observed: &mut Observed| {
        observed.telemetry = Some(Telemetry::default());
    };
    assert_eq!(run(&spec, quiet).0.phase, Phase::Succeeded);
    let (state, _) = run(&spec, |_, state, _, observed| {
        let failing = state.phase == Phase::Baking;
        observed.telemetry = Some(Telemetry {
            failures: vec![(Arm::Canary, 0.05); if failing { 3 } else { 0 }],
            ..Telemetry::default()
        });
    });
    assert_eq!(state.phase, Phase::RolledBack(Reason::Sequential));
}
