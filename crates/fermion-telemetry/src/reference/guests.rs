//! The families of what guests use.

use super::{Family, Kind, RELEASE};

pub(crate) const GUEST_CPU: Family = Family {
    name: "fermion_guest_cpu_seconds",
    kind: Kind::Counter,
    unit: "seconds",
    labels: RELEASE,
    help: "CPU time that guests used",
    watch: "Its rate nears the number of cores: this app is what fills the machine. Requests shorter than a tick of a \
            millisecond count as zero",
};
pub(crate) const GUEST_MEMORY: Family = Family {
    name: "fermion_guest_memory_max_bytes",
    kind: Kind::Gauge,
    unit: "bytes",
    labels: RELEASE,
    help: "The most linear memory that one instance had since the process was started",
    watch: "It nears `[limits] memory`: soon requests fail with `GUEST_MEMORY_LIMIT`. It grows with `[instances] reuse`: \
            the guest leaks",
};
