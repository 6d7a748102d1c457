//! The families of the export.

use super::{Family, Kind};
use crate::{DropReason, Reason};

pub(crate) const EXPORT_BUFFER_BYTES: Family = Family {
    name: "fermion_telemetry_buffer_bytes",
    kind: Kind::Gauge,
    unit: "bytes",
    labels: &[],
    help: "Telemetry that waits on disk for the receiver",
    watch: "It grows: the receiver is away or too slow. Near `--telemetry-buffer` the oldest is about to be dropped",
};
pub(crate) const EXPORT_BUFFER_BATCHES: Family = Family {
    name: "fermion_telemetry_buffer_batches",
    kind: Kind::Gauge,
    unit: "batches",
    labels: &["signal"],
    help: "Requests to the receiver that wait on disk",
    watch: "It does not fall while the receiver is there: it takes less than comes",
};
pub(crate) const EXPORT_BUFFER_ITEMS: Family = Family {
    name: "fermion_telemetry_buffer_items",
    kind: Kind::Gauge,
    unit: "data points, spans or log records",
    labels: &["signal"],
    help: "What is in the batches that wait on disk",
    watch: "Together with the batches: how much is at stake",
};
pub(crate) const EXPORT_SENT: Family = Family {
    name: "fermion_telemetry_sent",
    kind: Kind::Counter,
    unit: "data points, spans or log records",
    labels: &["signal"],
    help: "What the receiver has taken, over all restarts",
    watch: "It stands still: nothing arrives",
};
pub(crate) const EXPORT_DROPPED: Family = Family {
    name: "fermion_telemetry_dropped",
    kind: Kind::Counter,
    unit: "data points, spans or log records",
    labels: &["signal", "reason"],
    help: "What the receiver will never get, over all restarts",
    watch: "`full` grows: the receiver was away for longer than the buffer lasts. `refused` grows: it does not understand \
            what it gets. `queue` grows: more comes in a second than is taken. `disk` grows: the disk fails or is full",
};
pub(crate) const EXPORT_FAILURES: Family = Family {
    name: "fermion_telemetry_failures",
    kind: Kind::Counter,
    unit: "attempts",
    labels: &["signal"],
    help: "Attempts to send that failed",
    watch: "It grows: the log says why",
};
pub(crate) const TRACES: Family = Family {
    name: "fermion_traces",
    kind: Kind::Counter,
    unit: "requests",
    labels: &["decision", "reason"],
    help: "Requests by whether their trace is exported, and why",
    watch: "`over_budget` grows: there are more of this kind than are kept in a second, and what is seen is a sample",
};

/// The row of the one label that means something else in another family.
pub(super) fn reasons() -> String {
    let quoted = |values: &[&str]| {
        let quoted: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
        quoted.join(", ")
    };
    let (drops, traces) = (
        DropReason::ALL.map(DropReason::as_str),
        Reason::ALL.map(Reason::as_str),
    );
    let (drops, traces) = (quoted(&drops), quoted(&traces));
    format!("| `reason` | of what is dropped: {drops}; of a trace: {traces}, or `none` |\n")
}
