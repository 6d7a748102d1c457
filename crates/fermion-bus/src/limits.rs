//! The bounds of the bus, each with its unit and reason.

use std::time::Duration;

/// Bytes of one key: three names of one DNS label each, a number, and room.
pub const KEY_BYTES_MAX: usize = 512;
/// Bytes of one value: a replicated bus carries a value in one message, and 1 MiB is the usual ceiling of a message
/// with its headers.
pub const VALUE_BYTES_MAX: usize = 768 * 1024;
/// Operations in one atomic commit: a deploy needs three; more would be a batch job.
pub const COMMIT_OPS_MAX: usize = 64;
/// Documents that one listing returns: beyond it the caller is told to narrow the prefix, not given a part.
pub const LIST_ENTRIES_MAX: usize = 10_000;
/// Commits that may wait for the single writer at once.
pub const COMMITS_WAITING_MAX: usize = 256;
/// How long a commit waits for the single writer before it is refused: a hundred slow disk flushes.
pub const COMMIT_WAIT_MAX: Duration = Duration::from_secs(10);
/// Change records one watch step reads before it yields the blocking thread.
pub const WATCH_SCAN_MAX: usize = 4_096;
/// Bytes of values that one step of catching up reads before it gives what it has: a few thousand documents.
pub const CHANGES_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of page cache: the documents of one node fit, and the default of the engine (1 GiB) is not for us.
pub const CACHE_BYTES: usize = 8 * 1024 * 1024;
/// Messages that a listener may be behind before it misses the oldest: a minute of one frame a second and node, for a
/// dozen nodes.
pub const MESSAGES_WAITING_MAX: usize = 1_024;

const _: () = assert!(KEY_BYTES_MAX < VALUE_BYTES_MAX);
const _: () = assert!(VALUE_BYTES_MAX < 1024 * 1024);
const _: () = assert!(VALUE_BYTES_MAX < CHANGES_BYTES_MAX);
