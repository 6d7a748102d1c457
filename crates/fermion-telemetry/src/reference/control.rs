//! The families of the control plane, and of what telemetry itself cannot hold.

use super::{Family, Kind};

pub(crate) const DEPLOYS: Family = Family {
    name: "fermion_deploys",
    kind: Kind::Counter,
    unit: "orders",
    labels: &["order", "outcome"],
    help: "Deploys and rollbacks by what came of them",
    watch: "`outcome=\"failed\"` grows: the platform could not do it, and its log says why. `refused` grows: packages do \
            not pass the doors, or do not come up",
};
pub(crate) const ROLLOUTS: Family = Family {
    name: "fermion_rollouts",
    kind: Kind::Counter,
    unit: "rollouts",
    labels: &["outcome"],
    help: "Rollouts that have come to an end",
    watch: "`outcome=\"rolled_back\"` grows: `fermion rollout` says why",
};
pub(crate) const ROLLOUTS_RUNNING: Family = Family {
    name: "fermion_rollouts_running",
    kind: Kind::Gauge,
    unit: "rollouts",
    labels: &[],
    help: "Apps whose traffic is shared between two releases at the moment",
    watch: "It stays above 0 for longer than steps bake: one is paused and waits for somebody",
};
pub(crate) const FRAMES: Family = Family {
    name: "fermion_frames",
    kind: Kind::Counter,
    unit: "frames",
    labels: &["outcome"],
    help: "Frames of nodes that objectives are made of, by what became of them",
    watch: "`taken` stands still: nothing is known of now. `missed` grows: the control plane does not keep up, and budgets \
            are too good",
};
pub(crate) const REGISTRY_REQUESTS: Family = Family {
    name: "fermion_registry_requests",
    kind: Kind::Counter,
    unit: "requests",
    labels: &["operation", "status_class"],
    help: "Requests to the registry by what they wanted and how they were answered",
    watch: "`5xx` grows: the disk fails or is full. `4xx` of `push` grows: a token or a quota",
};
pub(crate) const OVERFLOW: Family = Family {
    name: "fermion_series_overflow",
    kind: Kind::Counter,
    unit: "requests and operations",
    labels: &["of"],
    help: "What had no place for series of its own and is counted together as `other`",
    watch: "It grows: there are more releases or stores than a scraper should have to read; what is seen of the rest is \
            their sum",
};
