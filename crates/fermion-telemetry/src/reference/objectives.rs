//! The families of objectives.

use super::{Family, Kind};

const OBJECTIVE: &[&str] = &["namespace", "app", "objective"];

pub(crate) const SLO_TARGET: Family = Family {
    name: "fermion_slo_target_ratio",
    kind: Kind::Gauge,
    unit: "share",
    labels: OBJECTIVE,
    help: "The share of events that an objective wants to be good",
    watch: "It is not what the app's file says: another release is active",
};
pub(crate) const SLO_WINDOW: Family = Family {
    name: "fermion_slo_window_seconds",
    kind: Kind::Gauge,
    unit: "seconds",
    labels: OBJECTIVE,
    help: "The rolling time that an objective is about",
    watch: "Together with the target",
};
pub(crate) const SLO_EVENTS: Family = Family {
    name: "fermion_slo_events",
    kind: Kind::Counter,
    unit: "events",
    labels: OBJECTIVE,
    help: "Events that an objective counts, since the process began: requests, or for availability seconds of nodes",
    watch: "It stands still: there is no data, which is no success",
};
pub(crate) const SLO_BAD_EVENTS: Family = Family {
    name: "fermion_slo_bad_events",
    kind: Kind::Counter,
    unit: "events",
    labels: OBJECTIVE,
    help: "Events that an objective counts and that were not good",
    watch: "The rules of `fermion rules` watch it",
};
pub(crate) const SLO_BUDGET_LEFT: Family = Family {
    name: "fermion_slo_budget_left_ratio",
    kind: Kind::Gauge,
    unit: "share",
    labels: OBJECTIVE,
    help: "The share of the error budget that is left of the objective's window; below 0 when it is overdrawn, no series \
           without data",
    watch: "It nears 0: take fewer risks with this app until it has grown again",
};
pub(crate) const SLO_BURN_RATE: Family = Family {
    name: "fermion_slo_burn_rate",
    kind: Kind::Gauge,
    unit: "times",
    labels: &["namespace", "app", "objective", "window"],
    help: "How many times as fast as allowed the error budget burns, by window; no series without data",
    watch: "It stays above 1: the budget will be gone before the window is over",
};
pub(crate) const SLO_ALERT_FIRING: Family = Family {
    name: "fermion_slo_alert_firing",
    kind: Kind::Gauge,
    unit: "",
    labels: &["namespace", "app", "objective", "severity"],
    help: "1 while an incident of this severity is open",
    watch: "It is 1: `fermion alerts` says since when, and who is most to blame",
};
