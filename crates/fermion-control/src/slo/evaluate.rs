//! One look at one promise: what each window says, what that calls for, and which sign each severity gets of it.

use std::time::Duration;

use fermion_api::BurnView;
use fermion_model::objective::ObjectiveSpec;
use fermion_planner::alert::{Severity, Sign};
use fermion_planner::slo::{Action, Counts, Objective, Outcome, PRODUCT, Predicate, evaluate, workbook};

/// What alerts are made of, the gravest last.
pub(super) const SEVERITIES: [Severity; 3] = [Severity::Notify, Severity::Ticket, Severity::Page];

/// The longest window that any predicate looks at.
const LONGEST: Duration = Duration::from_secs(3 * 24 * 3600);

pub(crate) fn objective(spec: &ObjectiveSpec) -> Objective {
    Objective {
        target: spec.target.share(),
        period: Duration::from_secs(spec.window),
    }
}

/// Ours and the workbook's.
pub(super) fn predicates(objective: &Objective) -> Vec<Predicate> {
    let mut predicates = PRODUCT.to_vec();
    predicates.extend(workbook(objective));
    predicates
}

/// Whom an action speaks to. Taking a release back is a rollout's matter, and tells nobody by itself.
fn severity(action: Action) -> Option<Severity> {
    match action {
        Action::Notify | Action::Mitigate => Some(Severity::Notify),
        Action::Ticket => Some(Severity::Ticket),
        Action::Page => Some(Severity::Page),
        Action::Rollback => None,
    }
}

/// What an alert rests on: the predicate that decided and what it saw.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ground {
    pub(super) burn: BurnView,
    pub(super) threshold: f64,
}

/// What one evaluation says to one severity.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Signed {
    pub(super) severity: Severity,
    pub(super) sign: Sign,
    /// The predicates that hold, one bit each.
    pub(super) holds: u16,
    /// Of a sign that burns.
    pub(super) ground: Option<Ground>,
}

/// One sign for each severity. `burnt` gives the predicates that have held in a severity's open incident: they alone say
/// whether it is over. `window` gives what happened in the last so much time.
pub(super) fn signs(
    objective: &Objective,
    burnt: impl Fn(Severity) -> u16,
    window: impl Fn(Duration) -> Counts,
) -> Vec<Signed> {
    let is_well = window(LONGEST).bad() == 0;
    let predicates = predicates(objective);
    let of = |wanted: Severity| {
        let own = predicates
            .iter()
            .enumerate()
            .filter(|(_, predicate)| severity(predicate.action) == Some(wanted));
        let own: Vec<_> = own.map(|(index, predicate)| (1 << index, predicate)).collect();
        let (mut holds, mut ground) = (0, None);
        for (bit, predicate) in own.iter().filter(|_| !is_well) {
            let evaluation = evaluate(objective, predicate, &window);
            if evaluation.outcome == Outcome::Met {
                holds |= bit;
                ground.get_or_insert_with(|| Ground {
                    burn: burn_view(objective, evaluation.long, evaluation.counts),
                    threshold: predicate.factor,
                });
            }
        }
        let burnt = burnt(wanted);
        let asked = own.iter().filter(|(bit, _)| burnt == 0 || burnt & bit != 0);
        let sign = if holds != 0 {
            Sign::Burning
        } else {
            let shorts = asked.map(|(_, predicate)| short(objective, predicate, &window));
            shorts.max_by_key(|sign| rank(*sign)).unwrap_or(Sign::NoData)
        };
        Signed {
            severity: wanted,
            sign,
            holds,
            ground,
        }
    };
    SEVERITIES.map(of).into()
}

/// What the short window of a predicate says that does not hold.
fn short(objective: &Objective, predicate: &Predicate, window: impl Fn(Duration) -> Counts) -> Sign {
    match objective.burn(window(predicate.short)) {
        None => Sign::NoData,
        Some(burn) if burn > predicate.factor => Sign::Lingering,
        Some(_) => Sign::Clear,
    }
}

/// Without data nothing is clear: only what has just burnt says more than silence.
fn rank(sign: Sign) -> u8 {
    match sign {
        Sign::Clear => 0,
        Sign::NoData => 1,
        Sign::Lingering => 2,
        Sign::Burning => 3,
    }
}

pub(super) fn burn_view(objective: &Objective, window: Duration, counts: Counts) -> BurnView {
    BurnView {
        window_seconds: window.as_secs(),
        good: counts.good,
        total: counts.total,
        burn: objective.burn(counts),
    }
}
