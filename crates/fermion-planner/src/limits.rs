//! Every bound of the planner, with its unit and reason.

use std::time::Duration;

/// Bytes of a document for the judge. As parsed values it is some sixteen times as large, which a laptop still has.
pub const JUDGE_DOCUMENT_BYTES_MAX: u64 = 16 << 20;
/// Metrics of one judgement: far more than anyone watches, and a score of more says nothing.
pub const METRICS_MAX: usize = 1_000;
/// Samples of one arm of one metric. More do not make a verdict surer, they make it slower.
pub const SAMPLES_MAX: usize = 100_000;
/// Events of one sequential test in a document.
pub const EVENTS_MAX: usize = 200_000;
/// Arms of one sample-ratio check.
pub const ARMS_MAX: usize = 100;
/// Batches of one sample-ratio check.
pub const BATCHES_MAX: usize = 100_000;
/// Characters of a metric's or a group's name.
pub const NAME_CHARACTERS_MAX: usize = 200;

/// Samples an arm needs before the judge compares it: with fewer, every pair of samples that does not overlap looks like
/// a difference at 98 %.
pub const SAMPLES_MIN: usize = 8;
/// Share of metrics without data, in percent, from which the score is 0. (Kayenta)
pub const NODATA_PERCENT_MAX: f64 = 50.0;
/// Half-width of the band around zero in which a shift is no finding, as a share of the shift's estimate. (Kayenta)
pub const TOLERANCE: f64 = 0.25;
/// How sure the interval of a shift is. (Kayenta)
pub const CONFIDENCE: f64 = 0.98;
/// The score from which a release passes.
pub const PASS_SCORE: f64 = 80.0;
/// The score from which a release is neither good nor bad.
pub const MARGINAL_SCORE: f64 = 50.0;
/// Interquartile ranges beyond the quartiles at which an outlier begins. (Kayenta)
pub const OUTLIER_FACTOR: f64 = 3.0;

/// How far ahead of this machine's clock a frame of telemetry may be: what clocks that are kept in step differ by at most.
pub const FRAME_FUTURE_MAX: Duration = Duration::from_secs(60);
/// Frames of one source that are remembered beyond a gap: an hour of one every ten seconds, and some.
pub const FRAMES_AHEAD_MAX: usize = 512;
/// Lives of nodes whose frames are remembered at once.
pub const SOURCES_MAX: usize = 10_000;

/// Evaluations in a row with a clear short window after which an alert is over.
pub const ALERT_CLEAR_COUNT: u32 = 2;
/// Evaluations in a row without data after which that is an alert of its own.
pub const ALERT_NO_DATA_COUNT: u32 = 3;
/// How soon after its end a relapse still belongs to an incident.
pub const ALERT_REOPEN: Duration = Duration::from_secs(600);
/// How long beyond the bake of a step a canary's minor alerts may be held back.
pub const ALERT_ROLLOUT_GRACE: Duration = Duration::from_secs(300);
/// Conditions that are watched at once: 1,000 apps with a few objectives, regions and severities each.
pub const ALERTS_MAX: usize = 50_000;

/// All traffic, in the unit of weights: a hundredth of a percent.
pub const WEIGHT_MAX: u16 = 10_000;
/// Seconds without progress after which a rollout goes back: to validate, to make ready, to shift, to judge.
pub const PROGRESS_MAX: u64 = 600;
/// Seconds between two looks at a rollout beyond which the time in between was not watched. It then does not count, for
/// nothing: neither as baked nor as delayed. A clock that was set on looks the same, and is treated so.
pub const WATCH_GAP_MAX: u64 = 60;
/// Looks in a row without telemetry after which nothing is known any more.
pub const MISSED_MAX: u32 = 3;
/// Seconds that a rollout waits for a person when the judge cannot say, before it goes back.
pub const DOUBT_MAX: u64 = 3_600;
/// Seconds between weight 0 and the end of the canary's instances: requests that have begun end in them.
pub const DRAIN: u64 = 30;
/// Within which a sticky key's failures are one.
pub const THINNING: Duration = Duration::from_secs(10);
/// Sticky keys that are remembered for that: some 5 MiB.
pub const THINNING_KEYS_MAX: usize = 65_536;

/// The most that is added to the time between two looks at a Git repository, in seconds. (Argo CD)
pub const GIT_JITTER_MAX: u64 = 60;
/// Seconds after the first try before the second: to change an app back, or to deploy what could not be. (Argo CD)
pub const GIT_BACKOFF_MIN: u64 = 2;
/// By how much each pause is longer than the one before.
pub const GIT_BACKOFF_FACTOR: u64 = 3;
/// The longest pause, in seconds.
pub const GIT_BACKOFF_MAX: u64 = 300;
