//! Every bound of telemetry, with its unit and reason.

use std::time::Duration;

/// Releases with series of their own: some hundred apps with their last few releases. More share one called `other`.
pub const RELEASES_MAX: usize = 1_000;
/// Shards of one release's counters: one a serving thread, on machines of up to so many cores.
pub const SHARDS_MAX: usize = 16;

/// What one release's counters take in one shard, bytes, whatever comes in: about 150 series. All releases of a machine with
/// 16 serving threads need less than 64 MiB; with two it is 8.
pub const RELEASE_SHARD_BYTES_MAX: usize = 4 * 1024;

/// Series of one frame and thread: a thousand apps, each with a release and its canary. The requests of more are only
/// counted.
pub const FRAME_SERIES_MAX: usize = 2_000;
/// Rows of one frame about calls to upstreams, one for each release and rule that was used: more than frames have room for
/// in any but a hostile platform, and the rest is in the metrics.
pub const FRAME_UPSTREAMS_MAX: usize = 2_000;

/// Requests of one thread that wait to be counted together: as many as fit into the processor's nearest cache beside what
/// counting needs, and no request waits longer for them than for another request.
pub const INTAKE_RECORDS: usize = 64;
/// So many wait while somebody else has the last ones counted: a few milliseconds of a busy thread, 1 MiB.
pub const INTAKE_RECORDS_MAX: usize = 2_048;

/// Lines of the access log that wait to be written: about 4 MiB, and 40 ms at 200,000 requests a second.
pub const ACCESS_LINES_MAX: usize = 8_192;
/// Guests' lines that wait to be echoed.
pub const ECHO_LINES_MAX: usize = 4_096;
/// How long lines of the access log gather unless they are [`WRITE_BATCH_LINES`]: nobody who reads a log notices, and a
/// writer that is woken fifty times a second takes nothing from those who serve.
pub const ACCESS_GATHER: Duration = Duration::from_millis(20);
/// So many waiting lines wake the writer: a few milliseconds of a busy thread, and no request waits longer for the writer than
/// for some others.
pub const WRITE_BATCH_LINES: usize = 512;
/// How far a writer steps back behind the threads that serve (nice value): beside some that are never idle it still gets a
/// quarter of a core, enough for half a million lines a second.
pub const WRITER_NICENESS: i32 = 5;
/// Written at once, bytes.
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

/// What the disk buffer of exports holds unless said, bytes: an hour of a busy node, a day of a quiet one.
pub const BUFFER_BYTES_DEFAULT: u64 = 1 << 30;
/// The least that it may be told to hold, bytes: a few segments of a few batches.
pub const BUFFER_BYTES_MIN: u64 = 16 << 20;
/// Segments that the buffer is divided into: what is dropped at once is one of them.
pub const BUFFER_SEGMENTS: u64 = 16;
/// The largest segment, bytes: more would be dropped at once than anybody likes to lose.
pub const SEGMENT_BYTES_MAX: u64 = 16 << 20;
/// The largest batch, bytes: what receivers of gRPC take unless told otherwise.
pub const BATCH_BYTES_MAX: usize = 4 << 20;
/// A batch that has reached this is closed, bytes: large enough that overhead is nothing, small enough to be sent at once.
pub const BATCH_BYTES_TARGET: usize = 512 * 1024;
/// Bytes of a file that says how far the buffer has been delivered, and of the one that takes its place.
pub const POSITION_BYTES_MAX: u64 = 8 * 1024;

/// Sampled requests on their way to the exporter: two seconds of all budgets of sampling.
pub const EXPORT_QUEUE_REQUESTS_MAX: usize = 2_048;
/// Guests' lines on their way to the exporter: a second of a node that talks.
pub const EXPORT_QUEUE_LINES_MAX: usize = 8_192;
/// Series of requests of one thread between two exports; what is over is counted under the app `other`.
pub const EXPORT_SERIES_MAX: usize = 4_000;
/// Traces kept in a second because the request failed.
pub const TRACES_ERROR_MAX: u32 = 100;
/// Because it was slow.
pub const TRACES_SLOW_MAX: u32 = 50;
/// Because a canary or its baseline served it.
pub const TRACES_CANARY_MAX: u32 = 100;
/// Because the caller's own trace is sampled.
pub const TRACES_CALLER_MAX: u32 = 100;
/// Because it belongs to the share that is kept of all.
pub const TRACES_SHARE_MAX: u32 = 100;
/// Traces that a node keeps in memory for people, bytes: what `fermion trace` may cost.
pub const TRACES_BYTES_MAX: usize = 16 << 20;
/// The same of one app, bytes: no app has more than a sixteenth of it.
pub const TRACES_APP_BYTES_MAX: usize = 1 << 20;
/// Traces of one app that are kept for one reason: what went wrong stays beside what is nothing special.
pub const TRACES_OF_REASON_MAX: usize = 100;
/// Apps with kept traces; the one that had none for the longest time goes first.
pub const TRACES_APPS_MAX: usize = 1_000;
/// Traces that are kept in a second of one app for one reason: more of a storm are alike.
pub const TRACES_KEPT_A_SECOND_MAX: u32 = 10;
/// Budgets that apps share by chance, so that there need not be one for each.
pub const TRACES_STRIPES: usize = 64;
/// Failed requests that are logged in a second.
pub const FAILED_LOGS_MAX: u32 = 200;
/// The longest path in a span or a log record, bytes; the rest is cut.
pub const EXPORT_PATH_BYTES_MAX: usize = 2_048;
/// The longest answer of a receiver that is read, bytes.
pub const RECEIVER_ANSWER_BYTES_MAX: usize = 64 * 1024;

const _: () = assert!(BUFFER_BYTES_MIN <= BUFFER_BYTES_DEFAULT);
const _: () = assert!(BATCH_BYTES_TARGET + REQUEST_LOG_BYTES_MAX < BATCH_BYTES_MAX);
const _: () = assert!(LINE_BYTES_MAX <= REQUEST_LOG_BYTES_MAX);
const _: () = assert!(REQUEST_LOG_BYTES_MAX <= RECENT_BYTES_MAX);
const _: () = assert!(TRACES_APP_BYTES_MAX <= TRACES_BYTES_MAX);
