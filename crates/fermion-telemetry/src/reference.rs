//! Every metric family: name, kind, unit, labels, what it counts and when to look. The exposition takes names and help
//! from here, and so does the published page, so neither can know a family that the other does not.

mod control;
mod export;
mod guests;
mod objectives;
mod page;

pub(crate) use control::{DEPLOYS, FRAMES, OVERFLOW, REGISTRY_REQUESTS, ROLLOUTS, ROLLOUTS_RUNNING};
pub(crate) use export::{
    EXPORT_BUFFER_BATCHES, EXPORT_BUFFER_BYTES, EXPORT_BUFFER_ITEMS, EXPORT_DROPPED, EXPORT_FAILURES,
    EXPORT_SENT, TRACES,
};
pub(crate) use guests::{GUEST_CPU, GUEST_MEMORY};
pub(crate) use objectives::{
    SLO_ALERT_FIRING, SLO_BAD_EVENTS, SLO_BUDGET_LEFT, SLO_BURN_RATE, SLO_EVENTS, SLO_TARGET, SLO_WINDOW,
};
pub use page::page;

/// What kind of number a family holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations by size.
    Histogram,
    /// Always 1; the labels are the news.
    Info,
}

impl Kind {
    /// As OpenMetrics writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }

    /// What the name of a sample adds to the family's.
    pub const fn suffixes(self) -> &'static [&'static str] {
        match self {
            Self::Counter => &["_total"],
            Self::Gauge => &[""],
            Self::Histogram => &["_bucket", "_sum", "_count"],
            Self::Info => &["_info"],
        }
    }
}

/// One metric family.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// Without the suffix of its samples.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// What is counted or measured.
    pub unit: &'static str,
    /// In the order in which they are written; without a histogram's own `le`.
    pub labels: &'static [&'static str],
    /// What it means, as the scraper gets it.
    pub help: &'static str,
    /// When an operator should look.
    pub watch: &'static str,
}

pub(crate) const REQUESTS: Family = Family {
    name: "fermion_requests",
    kind: Kind::Counter,
    unit: "requests",
    labels: &["namespace", "app", "release", "status_class", "blame"],
    help: "Requests by status class and by whose fault a failed one is",
    watch: "The share of `blame=\"guest\"` (the app is broken) or `blame=\"platform\"` (Fermion or the machine is) grows",
};
pub(crate) const REQUEST_DURATION: Family = Family {
    name: "fermion_request_duration_seconds",
    kind: Kind::Histogram,
    unit: "seconds",
    labels: &["namespace", "app", "release", "phase"],
    help: "Time from the request's head, by phase: waiting for a permit, making or taking the instance, until the \
           answer's head, until its end",
    watch: "`queue` is above zero: the app is at its `[limits] concurrency`. `instantiate` is above a millisecond: the \
            machine is short of CPU or memory",
};
pub(crate) const FAULTS: Family = Family {
    name: "fermion_faults",
    kind: Kind::Counter,
    unit: "answers",
    labels: &["namespace", "app", "release", "code"],
    help: "Answers that the platform gave or cut in a guest's stead, by code",
    watch: "It grows: look the code up. `OVERLOADED` and `INTERNAL` first",
};
pub(crate) const COLD_STARTS: Family = Family {
    name: "fermion_cold_starts",
    kind: Kind::Counter,
    unit: "instances",
    labels: RELEASE,
    help: "Instances made while a request waited",
    watch: "Together with `phase=\"instantiate\"`: how many, and how long each took",
};
pub(crate) const WARM_STARTS: Family = Family {
    name: "fermion_warm_starts",
    kind: Kind::Counter,
    unit: "requests",
    labels: RELEASE,
    help: "Requests that found an instance ready",
    watch: "Its share of all requests falls: instances are made while requests wait; raise `[instances] warm`, or let \
            the package be reused",
};
pub(crate) const REQUEST_BYTES: Family = Family {
    name: "fermion_request_bytes",
    kind: Kind::Counter,
    unit: "bytes",
    labels: RELEASE,
    help: "Request body bytes read",
    watch: "Traffic is billed or the network is full",
};
pub(crate) const RESPONSE_BYTES: Family = Family {
    name: "fermion_response_bytes",
    kind: Kind::Counter,
    unit: "bytes",
    labels: RELEASE,
    help: "Answer body bytes written",
    watch: "Traffic is billed or the network is full",
};
pub(crate) const INSTANCES: Family = Family {
    name: "fermion_instances",
    kind: Kind::Gauge,
    unit: "instances",
    labels: RELEASE,
    help: "Instances in use",
    watch: "It stays near `[limits] concurrency`: the next requests will queue",
};
pub(crate) const EGRESS_CALLS: Family = Family {
    name: "fermion_egress_calls",
    kind: Kind::Counter,
    unit: "calls",
    labels: &["namespace", "app", "release", "upstream", "result"],
    help: "Calls of guests to upstreams, by the rule that grants them and by how they ended",
    watch: "`breaker` grows: the upstream fails, and calls to it are refused. `denied` grows under `none`: a guest calls \
            what it was not granted. `limit` grows: too many calls at once",
};
pub(crate) const EGRESS_DURATION: Family = Family {
    name: "fermion_egress_duration_seconds",
    kind: Kind::Histogram,
    unit: "seconds",
    labels: UPSTREAM,
    help: "Time of a call until the head of its answer or its failure, with connecting and a second attempt",
    watch: "It grows while the upstream says that it is quick: names or connections are slow",
};
pub(crate) const EGRESS_ATTEMPTS: Family = Family {
    name: "fermion_egress_attempts",
    kind: Kind::Counter,
    unit: "attempts",
    labels: &["namespace", "app", "release", "upstream", "connection"],
    help: "Requests that were sent to upstreams, on a new connection or on one that was used before",
    watch: "`new` grows as fast as `reused`: the upstream closes after each answer",
};
pub(crate) const EGRESS_RETRIES: Family = Family {
    name: "fermion_egress_retries",
    kind: Kind::Counter,
    unit: "calls",
    labels: UPSTREAM,
    help: "Calls that were made a second time, within the release's retry budget",
    watch: "It grows: the upstream refuses or drops connections",
};
pub(crate) const EGRESS_BREAKER_OPENS: Family = Family {
    name: "fermion_egress_breaker_opens",
    kind: Kind::Counter,
    unit: "openings",
    labels: UPSTREAM,
    help: "How often a breaker opened that was closed",
    watch: "It grows: the upstream failed seven times, or gave five answers of the 5xx class, in a row",
};
pub(crate) const EGRESS_BREAKERS_OPEN: Family = Family {
    name: "fermion_egress_breakers_open",
    kind: Kind::Gauge,
    unit: "breakers",
    labels: UPSTREAM,
    help: "Breakers that are open at the moment, or wait for a probe",
    watch: "It stays above 0: the upstream does not come back",
};
pub(crate) const INSTANCES_KEPT: Family = Family {
    name: "fermion_instances_kept",
    kind: Kind::Gauge,
    unit: "instances",
    labels: RELEASE,
    help: "Instances that outlive a request or wait for their first, in use or not",
    watch: "It stays high while nobody asks: `[instances] warm.min` or `reuse.idle` keeps memory that nothing uses",
};
pub(crate) const UNROUTED_REQUESTS: Family = Family {
    name: "fermion_unrouted_requests",
    kind: Kind::Counter,
    unit: "requests",
    labels: &["code"],
    help: "Requests that reached no app, by code",
    watch: "`NO_ROUTE` grows after a deploy: a route is missing. `BAD_REQUEST` or `REQUEST_TIMEOUT` grows: a broken or \
            hostile caller",
};
pub(crate) const DROPPED_LOG_LINES: Family = Family {
    name: "fermion_dropped_log_lines",
    kind: Kind::Counter,
    unit: "lines",
    labels: &["log"],
    help: "Lines that a log could not take in time",
    watch: "It grows: what reads the log is too slow, and the log has holes",
};
pub(crate) const MEMORY: Family = Family {
    name: "fermion_memory_bytes",
    kind: Kind::Gauge,
    unit: "bytes",
    labels: &["kind"],
    help: "Memory of the process that is in use",
    watch: "It nears what the machine or the container may use. Only on Linux",
};
pub(crate) const BUILD: Family = Family {
    name: "fermion_build",
    kind: Kind::Info,
    unit: "",
    labels: &["version", "commit"],
    help: "What is running",
    watch: "It differs between machines that should be the same",
};

pub(crate) const REFUSALS: Family = Family {
    name: "fermion_refusals",
    kind: Kind::Counter,
    unit: "packages and files",
    labels: &["door", "code"],
    help: "Packages and native code that were refused, by the door that refused them and the code",
    watch: "`door=\"trust\"` grows: releases were stopped because trust changed. `DIGEST_MISMATCH` or `SEAL_INVALID` \
            grows: a disk fails, or somebody changes files. `POLICY_OVERRIDDEN` grows: somebody passed by a policy, and \
            `fermion inspect --decisions` has the reason",
};
pub(crate) const COMPILATIONS: Family = Family {
    name: "fermion_compilations",
    kind: Kind::Counter,
    unit: "components",
    labels: &["outcome"],
    help: "How native code was come by, or not",
    watch: "`limit` grows: a component is made to explode the compiler, or is too large. `made` grows at each start: \
            the cache is lost, or too small",
};
pub(crate) const WAKES: Family = Family {
    name: "fermion_wakes",
    kind: Kind::Counter,
    unit: "releases",
    labels: &["outcome"],
    help: "How releases that slept came back when they were asked for, or not",
    watch: "It grows as fast as requests of an app: `--idle-after` is shorter than the app's pauses. `compiled` grows: \
            native code is lost or damaged. `lost` grows: look into the log",
};
pub(crate) const DORMANT: Family = Family {
    name: "fermion_apps",
    kind: Kind::Gauge,
    unit: "releases",
    labels: &["state"],
    help: "Releases by what they cost: `dormant` ones are verified and routed, and hold no code and no instances",
    watch: "Memory is short and few are dormant: a shorter `--idle-after` gives it back sooner",
};
pub(crate) const TRUST_EPOCH: Family = Family {
    name: "fermion_trust_epoch",
    kind: Kind::Gauge,
    unit: "",
    labels: &["root"],
    help: "Serial of the trust root by which everything that serves was judged; 0 where there is no document",
    watch: "It differs between machines, or does not follow an update: a revocation has not arrived there",
};
pub(crate) const CACHE_BYTES: Family = Family {
    name: "fermion_cache_bytes",
    kind: Kind::Gauge,
    unit: "bytes",
    labels: &["cache"],
    help: "What a cache on disk holds",
    watch: "It stays above the quota: what is pinned does not fit",
};
pub(crate) const QUARANTINED_FILES: Family = Family {
    name: "fermion_quarantined_files",
    kind: Kind::Gauge,
    unit: "files",
    labels: &["cache"],
    help: "Files that were refused and are kept aside, as many as the bound allows",
    watch: "It is not 0: look at them, then at the disk and at who may write there",
};

pub(crate) const THREAD_LAG: Family = Family {
    name: "fermion_thread_lag_seconds",
    kind: Kind::Gauge,
    unit: "seconds",
    labels: &["thread"],
    help: "How late a serving thread last came to what it had to do at a time",
    watch: "It stays above 5 ms: the thread has more to do than it can, and guests run in turns",
};
pub(crate) const THREAD_CONNECTIONS: Family = Family {
    name: "fermion_thread_connections",
    kind: Kind::Gauge,
    unit: "connections",
    labels: &["thread"],
    help: "Open connections of a serving thread",
    watch: "It nears 10,000: then idle ones are closed. Or one thread has many more than another",
};
pub(crate) const THREAD_WAITING: Family = Family {
    name: "fermion_thread_waiting",
    kind: Kind::Gauge,
    unit: "requests",
    labels: &["thread"],
    help: "Requests that wait for their turn on a serving thread",
    watch: "It stays above zero: several apps, or one beyond the thread's capacity, want the thread at once",
};
pub(crate) const THREAD_SHED: Family = Family {
    name: "fermion_thread_shed",
    kind: Kind::Counter,
    unit: "requests",
    labels: &["thread"],
    help: "Requests refused because their turn on a serving thread would have come too late",
    watch: "It grows: the machine is too small for all of its apps together",
};
pub(crate) const HEAVY_GUESTS: Family = Family {
    name: "fermion_heavy_guests",
    kind: Kind::Gauge,
    unit: "guests",
    labels: &[],
    help: "Guests that have used more than a slice of CPU and run behind the serving threads",
    watch: "It stays above the number of cores: these guests wait for each other",
};
pub(crate) const MOVED_GUESTS: Family = Family {
    name: "fermion_moved_guests",
    kind: Kind::Counter,
    unit: "guests",
    labels: &[],
    help: "Guests that have left a serving thread because they needed more than a slice of CPU",
    watch: "Its rate is near that of all requests: most guests compute for milliseconds",
};
pub(crate) const STORE_OPERATIONS: Family = Family {
    name: "fermion_keyvalue_operations",
    kind: Kind::Counter,
    unit: "operations",
    labels: &["namespace", "app", "store", "operation", "answer"],
    help: "Operations on key-value stores, by what was asked and what came of it",
    watch: "`answer=\"failed\"` grows: the disk fails or is full, and the log says so. `answer=\"refused\"` grows: the app \
            asks for too much, or its store is full",
};
pub(crate) const STORE_DURATION: Family = Family {
    name: "fermion_keyvalue_duration_seconds",
    kind: Kind::Histogram,
    unit: "seconds",
    labels: &["namespace", "app", "store"],
    help: "Time that operations on key-value stores took",
    watch: "It grows: the disk is slow, since a write waits for it. Writes that come at the same time share that wait",
};

/// The labels of families that have one series a release.
const RELEASE: &[&str] = &["namespace", "app", "release"];

/// The labels of families that have one series a rule.
const UPSTREAM: &[&str] = &["namespace", "app", "release", "upstream"];

/// Every family, in the order in which they are written.
pub const FAMILIES: [Family; 56] = [
    REQUESTS,
    REQUEST_DURATION,
    FAULTS,
    COLD_STARTS,
    WARM_STARTS,
    REQUEST_BYTES,
    RESPONSE_BYTES,
    GUEST_CPU,
    GUEST_MEMORY,
    INSTANCES,
    EGRESS_CALLS,
    EGRESS_DURATION,
    EGRESS_ATTEMPTS,
    EGRESS_RETRIES,
    EGRESS_BREAKER_OPENS,
    EGRESS_BREAKERS_OPEN,
    INSTANCES_KEPT,
    REFUSALS,
    COMPILATIONS,
    WAKES,
    DORMANT,
    TRUST_EPOCH,
    CACHE_BYTES,
    QUARANTINED_FILES,
    THREAD_LAG,
    THREAD_CONNECTIONS,
    THREAD_WAITING,
    THREAD_SHED,
    HEAVY_GUESTS,
    MOVED_GUESTS,
    STORE_OPERATIONS,
    STORE_DURATION,
    EXPORT_BUFFER_BYTES,
    EXPORT_BUFFER_BATCHES,
    EXPORT_BUFFER_ITEMS,
    EXPORT_SENT,
    EXPORT_DROPPED,
    EXPORT_FAILURES,
    TRACES,
    SLO_TARGET,
    SLO_WINDOW,
    SLO_EVENTS,
    SLO_BAD_EVENTS,
    SLO_BUDGET_LEFT,
    SLO_BURN_RATE,
    SLO_ALERT_FIRING,
    DEPLOYS,
    ROLLOUTS,
    ROLLOUTS_RUNNING,
    FRAMES,
    REGISTRY_REQUESTS,
    OVERFLOW,
    UNROUTED_REQUESTS,
    DROPPED_LOG_LINES,
    MEMORY,
    BUILD,
];
