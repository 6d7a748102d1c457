//! What is wrong with an app now: from everything that is known of it to causes, the gravest first. Each has one plain
//! sentence with figures, what speaks for it, and what to do next. Pure: who gathers the signals is elsewhere.
//!
//! A symptom that a cause explains is no finding of its own: requests that fail because an upstream is down are not said
//! to be the component's failures as well.

mod causes;
mod platform;
#[cfg(test)]
mod tests;
mod words;

use fermion_model::frame::FrameSeries;
use fermion_model::health::{FrameUpstream, NodeHealth};

pub use words::summary;

/// A release that was made active within so many seconds may be what changed.
pub const LATELY: u64 = 3_600;
/// Seconds without a frame after which nothing is known of a node.
pub const SILENT: u64 = 30;

/// Everything that is known.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Signals {
    /// `namespace/app`.
    pub app: String,
    /// Seconds since the Unix epoch.
    pub now: u64,
    /// Seconds that `traffic` and `upstreams` are of.
    pub window: u64,
    /// How many seconds ago the node was heard of last; none if it never was.
    pub heard: Option<u64>,
    /// Requests in the window, a share for each release.
    pub traffic: Vec<FrameSeries>,
    /// Calls to upstreams in the window, a row for each release and upstream.
    pub upstreams: Vec<FrameUpstream>,
    /// How promises stand.
    pub promises: Vec<Promise>,
    /// The release that should serve.
    pub active: Option<u32>,
    /// The release that does.
    pub serving: Option<u32>,
    /// A release that was wanted and could not be made ready.
    pub unready: Option<Unready>,
    /// The last deploy that was refused, if nothing has been deployed since.
    pub refused: Option<Refused>,
    /// What was changed last.
    pub changed: Option<Changed>,
    /// The newest rollout.
    pub rollout: Option<Rollout>,
    /// How the node itself is.
    pub health: NodeHealth,
    /// Until when packages are let in by the trust root; none if for ever.
    pub trust: Option<Trust>,
}

/// One promise.
#[derive(Debug, Clone, PartialEq)]
pub struct Promise {
    /// Its name.
    pub name: String,
    /// Whether it is about how long answers take.
    pub is_latency: bool,
    /// How fast the last five minutes use up its budget; none without data.
    pub burn: Option<f64>,
    /// The share of the budget that is left.
    pub left: Option<f64>,
    /// What the burn calls for, the gravest last: `notify`, `ticket`, `page`.
    pub actions: Vec<String>,
}

/// A release that could not be made ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unready {
    /// The release.
    pub release: u32,
    /// Why, as a code.
    pub code: String,
    /// Why, in words.
    pub message: String,
}

/// A deploy that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// When, in seconds since the Unix epoch.
    pub at: u64,
    /// By whom it was wanted.
    pub by: String,
    /// From where the package was to come, if from a registry.
    pub source: Option<String>,
    /// Why, as a code.
    pub code: String,
    /// Why, in words.
    pub message: String,
}

/// Who last changed what should run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// When, in seconds since the Unix epoch.
    pub at: u64,
    /// Who.
    pub by: String,
    /// `deploy`, `rollback`, `return`, `rollout`.
    pub kind: String,
}

/// A rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// The release that is rolled out.
    pub canary: u32,
    /// Where it stands: `baking`, `paused: marginal`, `rolled-back: sequential`, ...
    pub phase: String,
    /// The same in words.
    pub why: String,
    /// When it was over, in seconds since the Unix epoch.
    pub ended_at: Option<u64>,
}

/// How long the trust root counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trust {
    /// Seconds since the Unix epoch.
    pub expires_at: u64,
    /// For how many seconds after that what was let in before may still be loaded.
    pub grace: u64,
}

/// Why something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// A release fails where the one before it did not.
    BadRelease,
    /// The component fails, as it did before.
    GuestFails,
    /// It uses up its CPU time.
    CpuLimit,
    /// It needs more memory than it may have.
    MemoryLimit,
    /// It does not answer in its wall time.
    TimeLimit,
    /// What it calls fails.
    UpstreamFails,
    /// What it calls is slow.
    UpstreamSlow,
    /// The certificate of what it calls is not accepted.
    UpstreamCertificate,
    /// Requests wait for new instances.
    ColdStarts,
    /// More is asked for than may run at once.
    Overloaded,
    /// The component itself is slow.
    GuestSlow,
    /// The platform fails.
    PlatformFails,
    /// Nothing serves.
    NotServing,
    /// A deploy was refused.
    DeployRefused,
    /// A value that the package asks for is missing: a secret, as a rule.
    ConfigMissing,
    /// A registry does not answer.
    RegistryDown,
    /// The trust root is over.
    TrustExpired,
    /// It soon is.
    TrustExpires,
    /// A rollout waits for somebody, or went back.
    RolloutStopped,
    /// The node is short of memory.
    NodeMemory,
    /// The node says nothing.
    NodeSilent,
    /// Telemetry waits for a collector that does not take it.
    TelemetryBacklog,
    /// Error budget is spent for a reason that none of these is.
    BudgetBurns,
}

impl Cause {
    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::BadRelease => "BAD_RELEASE",
            Self::GuestFails => "GUEST_FAILS",
            Self::CpuLimit => "CPU_LIMIT",
            Self::MemoryLimit => "MEMORY_LIMIT",
            Self::TimeLimit => "TIME_LIMIT",
            Self::UpstreamFails => "UPSTREAM_FAILS",
            Self::UpstreamSlow => "UPSTREAM_SLOW",
            Self::UpstreamCertificate => "UPSTREAM_CERTIFICATE",
            Self::ColdStarts => "COLD_STARTS",
            Self::Overloaded => "OVERLOADED",
            Self::GuestSlow => "GUEST_SLOW",
            Self::PlatformFails => "PLATFORM_FAILS",
            Self::NotServing => "NOT_SERVING",
            Self::DeployRefused => "DEPLOY_REFUSED",
            Self::ConfigMissing => "CONFIG_MISSING",
            Self::RegistryDown => "REGISTRY_DOWN",
            Self::TrustExpired => "TRUST_EXPIRED",
            Self::TrustExpires => "TRUST_EXPIRES",
            Self::RolloutStopped => "ROLLOUT_STOPPED",
            Self::NodeMemory => "NODE_MEMORY",
            Self::NodeSilent => "NODE_SILENT",
            Self::TelemetryBacklog => "TELEMETRY_BACKLOG",
            Self::BudgetBurns => "BUDGET_BURNS",
        }
    }
}

/// Whom it hurts, the gravest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// Nobody yet.
    Risk,
    /// Callers wait longer than they should.
    Slow,
    /// Callers get failures, or nothing.
    Failing,
}

impl Grade {
    /// The lower-case word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Risk => "risk",
            Self::Slow => "slow",
            Self::Failing => "failing",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Why.
    pub cause: Cause,
    /// Whom it hurts.
    pub grade: Grade,
    /// How much of what it could hurt it does, from 0 to 1: what is graver stands first.
    pub weight: f64,
    /// In one plain sentence, with figures.
    pub sentence: String,
    /// What speaks for it.
    pub evidence: Vec<String>,
    /// What to do next.
    pub next: Vec<String>,
}

impl Finding {
    fn new(cause: Cause, grade: Grade, weight: f64, sentence: impl Into<String>) -> Self {
        Self {
            cause,
            grade,
            weight,
            sentence: sentence.into(),
            evidence: Vec::new(),
            next: Vec::new(),
        }
    }

    fn because(mut self, evidence: impl Into<String>) -> Self {
        self.evidence.push(evidence.into());
        self
    }

    fn then(mut self, next: impl Into<String>) -> Self {
        self.next.push(next.into());
        self
    }
}

/// What is wrong, the gravest first; empty if nothing is.
pub fn diagnose(signals: &Signals) -> Vec<Finding> {
    let mut findings = causes::of_requests(signals);
    findings.extend(platform::of_platform(signals));
    if findings.is_empty() {
        findings.extend(platform::of_promises(signals));
    }
    findings.sort_by(|one, other| {
        let by_grade = other.grade.cmp(&one.grade);
        by_grade
            .then(other.weight.total_cmp(&one.weight))
            .then(one.cause.cmp(&other.cause))
    });
    findings
}
