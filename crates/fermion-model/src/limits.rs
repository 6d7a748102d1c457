//! The ceilings a package runs under: defaults, hard maxima and their reasons. Values only; each is enforced by the
//! crate that owns the resource.

use std::time::Duration;

const MIB: u64 = 1024 * 1024;

/// Linear memory of one instance unless the package asks otherwise, in bytes. Fits a JavaScript engine.
pub const MEMORY_BYTES_DEFAULT: u64 = 128 * MIB;
/// The most memory a package may ask for: wasm32's address space.
pub const MEMORY_BYTES_MAX: u64 = 4096 * MIB;
/// Guest CPU time per request by default: generous for a handler, short for a loop.
pub const CPU_TIME_DEFAULT: Duration = Duration::from_secs(1);
/// From the request's head to the last byte of the answer, by default.
pub const WALL_TIME_DEFAULT: Duration = Duration::from_secs(10);
/// The longest wall time a package may ask for: a streamed answer of an hour.
pub const WALL_TIME_MAX: Duration = Duration::from_secs(3600);
/// Request bodies are streamed; the limit bounds what one request may make a guest read, in bytes.
pub const REQUEST_BODY_BYTES_DEFAULT: u64 = 8 * MIB;
/// Response bodies are streamed with backpressure and cost no memory; the limit stops a guest that never ends, in bytes.
pub const RESPONSE_BODY_BYTES_DEFAULT: u64 = 1024 * MIB;
/// Requests of one app on one node at once, by default.
pub const CONCURRENCY_DEFAULT: u32 = 128;
/// The most that may be asked for: what the instance pool of one node can hold.
pub const CONCURRENCY_MAX: u32 = 1000;

/// The least memory a package may ask for: one page.
pub const MEMORY_BYTES_MIN: u64 = 64 * 1024;
/// The most guest CPU time a package may ask for: a guest has one thread, so no more than its wall time.
pub const CPU_TIME_MAX: Duration = WALL_TIME_MAX;
/// The largest body a package may ask to stream, in bytes: 1 TiB, far below what a counter of 64 bits can hold.
pub const BODY_BYTES_MAX: u64 = 1024 * 1024 * MIB;
/// The most requests one instance may serve before it is made anew: leaks in a guest stay bounded.
pub const REUSE_REQUESTS_MAX: u32 = 1_000_000;
/// Requests that one reused instance of WASI 0.3 serves at once unless the package says otherwise: enough to overlap the
/// waiting of a handler that calls others, few enough that a trap takes few with it.
pub const REUSE_CONCURRENCY_DEFAULT: u32 = 16;
/// The most that may be asked for: all of them end when one of them traps.
pub const REUSE_CONCURRENCY_MAX: u32 = 128;
/// How long a kept instance waits for its next request by default: it holds memory while it waits.
pub const IDLE_DEFAULT: Duration = Duration::from_secs(30);
/// The longest a package may have an unused instance kept.
pub const IDLE_MAX: Duration = Duration::from_secs(3600);
/// The longest path of a warm-up request, in bytes.
pub const WARMUP_BYTES_MAX: usize = 1024;
/// Instances that may wait ready unless the package says otherwise: they cost memory while they idle.
pub const WARM_MAX_DEFAULT: u32 = 16;
/// Entries in one list of a package's capabilities: a list that a reviewer can still read.
pub const CAPABILITIES_MAX: usize = 256;
/// The longest name of a config key, a secret or a store, in bytes.
pub const KEY_BYTES_MAX: usize = 128;
/// Globs that one package may watch.
pub const WATCH_GLOBS_MAX: usize = 64;
/// Variables of the caller's environment that one build may ask for.
pub const ENVIRONMENT_MAX: usize = 32;
/// Routes of one app: a table that a person still understands.
pub const ROUTES_MAX: usize = 64;
/// Steps of one rollout: more are not looked at one by one.
pub const STEPS_MAX: usize = 32;
/// The longest that one step of a rollout may be watched: an experiment of a month.
pub const BAKE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// Methods whose requests a rollout copies: there are nine, and a few of one's own.
pub const COPY_METHODS_MAX: usize = 16;
/// Differences between the answers of two releases that are kept for people to look at.
pub const COPY_EXAMPLES_MAX: usize = 8;
/// Bytes of the path of one of them: enough to know which it is.
pub const COPY_PATH_BYTES_MAX: usize = 256;
/// Countries of one condition; there are some 250.
pub const CONDITION_COUNTRIES_MAX: usize = 64;
/// Conditions of one rollout's testers, or of its audience: each costs every request a look.
pub const CONDITIONS_MAX: usize = 16;
/// Readers of one mail: a team, or its list.
pub const MAIL_READERS_MAX: usize = 16;
/// Bytes of a mailbox with its name: what a line of a mail's head holds.
pub const MAILBOX_BYTES_MAX: usize = 320;
/// Gates of one rollout: each is looked at once a second while it is closed.
pub const GATES_MAX: usize = 8;
/// Objectives of one app: each is kept for a month, and more are not looked at.
pub const OBJECTIVES_MAX: usize = 8;
/// The longest name of an objective, in bytes: it is a column of a table.
pub const OBJECTIVE_NAME_BYTES_MAX: usize = 40;
/// The shortest window of an objective: below it, the windows that alerts look at mean nothing.
pub const OBJECTIVE_WINDOW_MIN: Duration = Duration::from_secs(24 * 3600);
/// The longest window of an objective: what is kept.
pub const OBJECTIVE_WINDOW_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// The least that may be promised, in millionths: half.
pub const TARGET_PPM_MIN: u32 = 500_000;
/// The most that may be promised, in millionths: five minutes a year.
pub const TARGET_PPM_MAX: u32 = 999_990;
/// Receivers of alerts: each has a queue of its own.
pub const RECEIVERS_MAX: usize = 16;
/// Rules for which alert goes to whom.
pub const ROUTE_RULES_MAX: usize = 64;
/// Arguments of a receiver that is a program.
pub const COMMAND_ARGUMENTS_MAX: usize = 32;
/// The last wave of a commit: as many steps as a rollout may have, and room for gaps in their numbers.
pub const WAVE_MAX: u32 = 1_000;
/// How often a Git repository is looked at unless its source says otherwise: what Argo CD does.
pub const GIT_INTERVAL_DEFAULT: Duration = Duration::from_secs(120);
/// How often one may be looked at: what a server nearby bears.
pub const GIT_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// How seldom: longer, and nobody knows any more that it is looked at.
pub const GIT_INTERVAL_MAX: Duration = Duration::from_secs(24 * 3600);
/// The longest address of a repository, in bytes.
pub const GIT_ADDRESS_BYTES_MAX: usize = 1024;
/// The longest name of a branch or tag, in bytes: file systems that Git runs on take no longer one.
pub const GIT_REFERENCE_BYTES_MAX: usize = 200;
/// The longest path in a repository, in bytes.
pub const GIT_PATH_BYTES_MAX: usize = 512;
/// The longest config value, in bytes: a setting, not a file.
pub const CONFIG_VALUE_BYTES_MAX: usize = 16 * 1024;

const _: () = assert!(TARGET_PPM_MIN < TARGET_PPM_MAX && TARGET_PPM_MAX < 1_000_000);
const _: () = assert!(WARM_MAX_DEFAULT <= CONCURRENCY_MAX);
const _: () = assert!(REUSE_CONCURRENCY_DEFAULT <= REUSE_CONCURRENCY_MAX);
const _: () = assert!(MEMORY_BYTES_MIN <= MEMORY_BYTES_DEFAULT);
const _: () = assert!(MEMORY_BYTES_DEFAULT <= MEMORY_BYTES_MAX);
const _: () = assert!(CONCURRENCY_DEFAULT <= CONCURRENCY_MAX);

/// What one package may use. All ceilings are per request, except `memory_bytes` (per instance) and `concurrency`
/// (per app and node).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of one instance, bytes.
    pub memory_bytes: u64,
    /// Guest CPU time.
    pub cpu_time: Duration,
    /// Request head to the end of the answer.
    pub wall_time: Duration,
    /// Request body, bytes.
    pub request_body_bytes: u64,
    /// Response body, bytes.
    pub response_body_bytes: u64,
    /// Requests running at once.
    pub concurrency: u32,
    /// Fewer than `concurrency` run at once where more would slow each other down.
    pub adaptive_concurrency: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: MEMORY_BYTES_DEFAULT,
            cpu_time: CPU_TIME_DEFAULT,
            wall_time: WALL_TIME_DEFAULT,
            request_body_bytes: REQUEST_BODY_BYTES_DEFAULT,
            response_body_bytes: RESPONSE_BODY_BYTES_DEFAULT,
            concurrency: CONCURRENCY_DEFAULT,
            adaptive_concurrency: false,
        }
    }
}
