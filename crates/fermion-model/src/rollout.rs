//! How traffic moves from one release of an app to the next: what `spec.rollout` of `app.yaml` says, and how a gateway
//! shares requests between two releases meanwhile.

mod metric;
mod mirror;

use serde::{Deserialize, Serialize};

use crate::gate::Gate;
use crate::limits::{BAKE_MAX, CONDITIONS_MAX, GATES_MAX, STEPS_MAX};

pub use metric::{Goal, Keep, MetricKind, MetricSpec};
pub use mirror::{Compared, Copies, MirrorSpec};

/// All traffic, in the unit of weights: a hundredth of a percent.
pub const WEIGHT_ALL: u16 = 10_000;

/// Seconds that a step lasts where nothing else is said.
const BAKE_DEFAULT: u64 = 120;
/// Seconds that the old release stays ready after the new one has all traffic.
const POST_BAKE_DEFAULT: u64 = 600;
/// Seconds between the steps of a rolling update.
const ROLLING_BAKE_DEFAULT: u64 = 20;
/// Seconds after which an experiment ends, if nobody has won: two weeks, so that each day of a week counts twice.
const EXPERIMENT_DEFAULT: u64 = 14 * 24 * 3_600;
/// The score from which a step passes.
const PASS_DEFAULT: u8 = 80;
/// The score from which a step is neither good nor bad.
const MARGINAL_DEFAULT: u8 = 50;

/// How a new release takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// A growing share of traffic, judged at each step against the old release.
    Canary,
    /// All traffic at once, and back at once; the old release stays ready for a grace time.
    BlueGreen,
    /// Equal shares one after the other, watched but not scored.
    Rolling,
    /// No traffic: requests are copied to it, and its answers are compared with those that callers get.
    Shadow,
    /// A share of callers until one release does better by what is counted, or the time is up.
    Ab,
}

/// One step: how much traffic, for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutStep {
    /// The new release's share of traffic, in hundredths of a percent.
    pub weight: u16,
    /// Seconds for which it is watched before it is judged.
    pub bake: u64,
}

/// What a step is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JudgedMetric {
    /// The share of requests that fail by another's fault than the client's.
    Errors,
    /// The median time to the end of the answer.
    LatencyP50,
    /// The time within which 99 of 100 requests end.
    LatencyP99,
    /// The share of requests that waited for an instance for longer than is lost in the network.
    ColdStarts,
    /// Guest CPU time a request.
    Cpu,
    /// The most memory that one instance had.
    Memory,
}

impl JudgedMetric {
    /// Every metric with the name that `app.yaml` has for it.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Errors, "errors"),
        (Self::LatencyP50, "latency_p50"),
        (Self::LatencyP99, "latency_p99"),
        (Self::ColdStarts, "cold_starts"),
        (Self::Cpu, "cpu"),
        (Self::Memory, "memory"),
    ];

    /// The name that `app.yaml` has for it.
    pub fn name(self) -> &'static str {
        let named = Self::ALL.iter().find(|(metric, _)| *metric == self);
        named.map_or("", |(_, name)| name)
    }
}

/// How strictly a step is judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgeSpec {
    /// The score from which it passes, of 100.
    pub pass: u8,
    /// The score from which a person is asked; below it the release goes back.
    pub marginal: u8,
    /// What counts.
    pub metrics: Vec<JudgedMetric>,
}

impl Default for JudgeSpec {
    fn default() -> Self {
        Self {
            pass: PASS_DEFAULT,
            marginal: MARGINAL_DEFAULT,
            metrics: vec![
                JudgedMetric::Errors,
                JudgedMetric::LatencyP50,
                JudgedMetric::LatencyP99,
                JudgedMetric::ColdStarts,
                JudgedMetric::Cpu,
            ],
        }
    }
}

/// By what a caller is known again, so that a growing share takes nobody back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sticky {
    /// A cookie that the gateway issues and signs.
    #[default]
    Cookie,
    /// A request header with a user's name; callers without it get a cookie.
    Header(String),
}

/// Where a condition looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Field {
    /// A request header.
    Header,
    /// A cookie.
    Cookie,
    /// A parameter of the query.
    Query,
    /// The country of the address that the connection comes from.
    Country,
}

/// One thing that is asked of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// Where to look.
    pub field: Field,
    /// The header's, cookie's or parameter's name; a header's in lower case. Empty of a country.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Countries, by two capital letters each (ISO 3166-1): one of them it must be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub countries: Vec<String>,
    /// The value it must have; any if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// What `spec.rollout` says, with every default filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutSpec {
    /// How the new release takes over.
    pub strategy: Strategy,
    /// Copies before the first step; instead of steps where it is a shadow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<MirrorSpec>,
    /// What an experiment counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<MetricSpec>,
    /// Steps of growing weight, at least one; none of a shadow.
    pub steps: Vec<RolloutStep>,
    /// Seconds after the last step during which the old release stays ready.
    pub post_bake: u64,
    /// How strictly a step is judged.
    pub judge: JudgeSpec,
    /// By what callers are known again.
    #[serde(default)]
    pub sticky: Sticky,
    /// Requests that fulfil any of these go to the new release whatever its weight, once it has any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub testers: Vec<Condition>,
    /// Only requests that fulfil all of these are shared out; the others stay with the old release until the last step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audience: Vec<Condition>,
    /// What has to be so before it goes forward.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<Gate>,
}

impl RolloutSpec {
    /// Whether it asks from which country a caller is.
    pub fn asks_country(&self) -> bool {
        let mut conditions = self.testers.iter().chain(&self.audience);
        conditions.any(|condition| condition.field == Field::Country)
    }

    /// Whether it could have been read from `app.yaml`: for one that comes by another road. Says what is wrong.
    pub fn validate(&self) -> Result<(), String> {
        let steps = &self.steps;
        let is_shadow = self.strategy == Strategy::Shadow;
        if steps.is_empty() != is_shadow || steps.len() > STEPS_MAX {
            return Err(format!(
                "rollout.steps: from 1 to {STEPS_MAX} of them, none of a shadow"
            ));
        }
        if is_shadow && self.mirror.is_none() {
            return Err("rollout.mirror: a shadow is nothing else".to_owned());
        }
        if (self.strategy == Strategy::Ab) != self.metric.is_some() {
            return Err("rollout.metric: an experiment has one, and nothing else has".to_owned());
        }
        let bakes = 1..=BAKE_MAX.as_secs();
        let is_sound =
            |step: &RolloutStep| (1..=WEIGHT_ALL).contains(&step.weight) && bakes.contains(&step.bake);
        if !steps.iter().all(is_sound) || !steps.is_sorted_by(|one, other| one.weight < other.weight) {
            return Err(format!(
                "rollout.steps: weights from 1 to {WEIGHT_ALL} that grow, and bakes from 1 to {} seconds",
                bakes.end()
            ));
        }
        if !bakes.contains(&self.post_bake) {
            return Err(format!("rollout.post_bake: from 1 to {} seconds", bakes.end()));
        }
        let JudgeSpec {
            pass,
            marginal,
            metrics,
        } = &self.judge;
        if !(1..=100).contains(pass)
            || marginal > pass
            || metrics.is_empty()
            || metrics.len() > JudgedMetric::ALL.len()
        {
            return Err("rollout.judge: 1 <= pass <= 100, marginal <= pass, and metrics".to_owned());
        }
        if self.testers.len() > CONDITIONS_MAX || self.audience.len() > CONDITIONS_MAX {
            return Err(format!(
                "rollout.testers, audience: at most {CONDITIONS_MAX} conditions"
            ));
        }
        if self.gates.len() > GATES_MAX {
            return Err(format!("rollout.gates: at most {GATES_MAX}"));
        }
        match self.gates.iter().find(|gate| !gate.is_sound()) {
            Some(_) => Err("rollout.gates: a window needs a place and times that there are".to_owned()),
            None => Ok(()),
        }
    }

    /// A strategy with its defaults.
    pub fn of(strategy: Strategy) -> Self {
        let steps = match strategy {
            Strategy::Canary => vec![(500, BAKE_DEFAULT), (2_500, 300), (5_000, 300)],
            Strategy::BlueGreen => vec![(WEIGHT_ALL, BAKE_DEFAULT)],
            Strategy::Rolling => [2_500, 5_000, 7_500, WEIGHT_ALL]
                .map(|weight| (weight, ROLLING_BAKE_DEFAULT))
                .to_vec(),
            Strategy::Shadow => Vec::new(),
            Strategy::Ab => vec![(WEIGHT_ALL / 2, EXPERIMENT_DEFAULT)],
        };
        let step = |(weight, bake)| RolloutStep { weight, bake };
        Self {
            strategy,
            metric: None,
            mirror: (strategy == Strategy::Shadow).then(MirrorSpec::default),
            steps: steps.into_iter().map(step).collect(),
            post_bake: POST_BAKE_DEFAULT,
            judge: JudgeSpec::default(),
            sticky: Sticky::default(),
            testers: Vec::new(),
            audience: Vec::new(),
            gates: Vec::new(),
        }
    }
}

/// How a node shares an app's requests between the release that serves everybody and the one that is rolled out. A node
/// refuses one of an older epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// Which rollout.
    pub rollout: u64,
    /// Which life of which controller says so.
    pub epoch: u64,
    /// The new release's share of traffic, in hundredths of a percent.
    pub weight: u16,
    /// Mixed into the key of every caller, and known to nobody outside: who is in the share cannot be computed from a
    /// key. It is also what cookies are signed with. 32 hexadecimal digits.
    pub salt: String,
    /// By what callers are known again.
    #[serde(default)]
    pub sticky: Sticky,
    /// See [`RolloutSpec::testers`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub testers: Vec<Condition>,
    /// See [`RolloutSpec::audience`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audience: Vec<Condition>,
    /// What is copied to the new release of the requests that the old one answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<Copies>,
    /// What is counted of the answers to callers who are shared out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<MetricSpec>,
}
