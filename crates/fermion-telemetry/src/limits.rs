//! Every bound of telemetry, with its unit and reason.

/// Releases with series of their own: some hundred apps with their last few releases. More share one called `other`.
pub const RELEASES_MAX: usize = 1_000;
/// Shards of one release's counters: one a serving thread, on machines of up to so many cores.
pub const SHARDS_MAX: usize = 16;

/// Series of one frame and thread: a thousand apps, each with a release and its canary. The requests of more are only
/// counted.
pub const FRAME_SERIES_MAX: usize = 2_000;

/// Access-log records waiting to be written: about 4 MiB, and 40 ms at 200,000 requests a second.
pub const ACCESS_QUEUE_RECORDS_MAX: usize = 8_192;
/// Guest lines waiting to be echoed.
pub const ECHO_QUEUE_LINES_MAX: usize = 4_096;
/// Written at once when lines come faster than the destination takes them, bytes.
pub const WRITE_BATCH_BYTES: usize = 64 * 1024;

/// One line of a guest, bytes; a longer one is cut into several.
pub const LINE_BYTES_MAX: usize = 8 * 1024;
/// Key-value stores with counters of their own: as many series as a scraper still likes.
pub const STORES_MAX: usize = 1_000;
/// The longest context of a message, in bytes: a name, not a text.
pub const CONTEXT_BYTES_MAX: usize = 256;
/// What one request may log, bytes: a stack trace or two, not a dump.
pub const REQUEST_LOG_BYTES_MAX: usize = 64 * 1024;
/// Lines kept of one app for those who ask later.
pub const RECENT_LINES_MAX: usize = 1_000;
/// The same, bytes: what one app's logs can cost in memory.
pub const RECENT_BYTES_MAX: usize = 1024 * 1024;
/// Apps whose lines are kept.
pub const LOG_APPS_MAX: usize = 1_000;
/// Lines on their way to one follower; a slower one loses lines.
pub const FOLLOWER_LINES_MAX: usize = 1_024;
/// Followers at once.
pub const FOLLOWERS_MAX: usize = 256;

const _: () = assert!(LINE_BYTES_MAX <= REQUEST_LOG_BYTES_MAX);
const _: () = assert!(REQUEST_LOG_BYTES_MAX <= RECENT_BYTES_MAX);
