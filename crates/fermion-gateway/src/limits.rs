//! Every bound of the front door, with its unit and reason. Bounds of one app (bodies, concurrency) come from its
//! package through [`crate::Dispatch::limits`] and are only enforced here.

use std::time::Duration;

const KIB: usize = 1024;

/// Header fields of one request: what common servers accept, and what keeps header maps small.
pub const HEADERS_MAX: usize = 100;
/// All header fields of one request together, bytes. Cookies and tokens fit; floods do not.
pub const HEADERS_BYTES_MAX: usize = 32 * KIB;
/// One header field, name and value, bytes: half of all, so that one field cannot crowd out the rest.
pub const HEADER_BYTES_MAX: usize = 16 * KIB;
/// The request target, bytes: what browsers and proxies agree on.
pub const URI_BYTES_MAX: usize = 8 * KIB;
/// Method, version and line ends around the target, bytes. No registered method is longer than 17.
pub const REQUEST_LINE_OVERHEAD_BYTES_MAX: usize = 128;
/// Everything before the body, bytes: what one connection may make the server buffer.
pub const HEAD_BYTES_MAX: usize = HEADERS_BYTES_MAX + URI_BYTES_MAX + REQUEST_LINE_OVERHEAD_BYTES_MAX;

/// Header fields of one answer: as many as a caller may send.
pub const ANSWER_HEADERS_MAX: usize = 100;
/// All header fields of one answer, bytes: clients and proxies refuse more.
pub const ANSWER_HEADERS_BYTES_MAX: usize = 32 * KIB;

/// Trailer section of a chunked request, bytes: trailers are checksums and statuses, not payload.
pub const TRAILERS_BYTES_MAX: usize = 16 * KIB;
/// Chunk-size line with its extensions, bytes: extensions are ignored, so they need no room.
pub const CHUNK_LINE_BYTES_MAX: usize = 256;

/// First allocation for a connection's reads, bytes: an ordinary head and a small body.
pub const READ_BUFFER_BYTES: usize = 8 * KIB;
/// What one read of a body asks for, bytes: few system calls for a large upload.
pub const BODY_READ_BYTES: usize = 64 * KIB;
/// Small pieces of an answer are gathered up to this before a write, bytes.
pub const WRITE_GATHER_BYTES: usize = 16 * KIB;
/// Larger pieces are written from where they lie instead of being copied, bytes.
pub const WRITE_COPY_BYTES_MAX: usize = 8 * KIB;
/// Buffers that grew past this are given back between requests, bytes.
pub const WRITE_BUFFER_KEPT_BYTES_MAX: usize = 64 * KIB;
/// Bytes of an unread request body that are read and thrown away so that the connection can be used again.
pub const DRAIN_BYTES_MAX: u64 = 256 * 1024;
/// How long a closing connection keeps reading, so that the caller can still read the answer before a reset.
pub const LINGER_MAX: Duration = Duration::from_secs(1);

/// Requests of one HTTP/2 connection at once.
pub const H2_STREAMS_MAX: u32 = 128;
/// Streams a peer may reset before they were answered, before the connection is closed (rapid reset).
pub const H2_RESETS_MAX: usize = 64;
/// Receive window of one HTTP/2 stream, bytes: one upload's memory.
pub const H2_STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// Receive window of one HTTP/2 connection, bytes: bounds the sum of its streams.
pub const H2_CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// Buffered answer bytes of one HTTP/2 stream.
pub const H2_SEND_BUFFER_BYTES: usize = 256 * KIB;
/// How often a quiet HTTP/2 peer with a request in flight is asked whether it still lives.
pub const H2_PING_EVERY: Duration = Duration::from_secs(30);
/// How long it may take to say so.
pub const H2_PING_WAIT_MAX: Duration = Duration::from_secs(20);

/// The kernel's queue of connections not yet accepted: a burst of clients that connect at once.
pub const LISTEN_BACKLOG: i32 = 1024;
/// Pause after the system refused to accept (out of file descriptors): long enough for some to close.
pub const ACCEPT_RETRY_WAIT: Duration = Duration::from_millis(50);
/// Connections accepted before others get the thread again.
pub const ACCEPT_BURST_MAX: usize = 64;
/// When there are too many connections, one in so many is closed at a time: rarely, and in bulk.
pub const EVICT_FRACTION: usize = 16;

/// Requests of one app that may wait for a permit. A full queue at 1 ms a request is a quarter of a second.
pub const QUEUE_MAX_DEFAULT: u32 = 256;
/// How long one may wait: callers give up soon after.
pub const QUEUE_WAIT_MAX_DEFAULT: Duration = Duration::from_secs(1);
/// Silence of a request body while others wait for its permit: short enough that they get it within their own wait.
pub const BODY_IDLE_CONTENDED_MAX: Duration = Duration::from_millis(400);
/// How far a serving thread may be behind before guests run in turns: below it a 503 is quick anyway.
pub const LAG_MAX: Duration = Duration::from_millis(5);
/// How often it is measured: a wake-up of a few microseconds.
pub const LAG_PROBE_EVERY: Duration = Duration::from_millis(50);
/// Probes for which guests run in turns after a thread last went from one app to another: 10 s, so that an app that is
/// asked now and then is not met by a flood unprepared.
pub const MIXED_PROBES: u32 = 200;
/// How long a request may wait for its turn, with its permit: as long as for the permit.
pub const TURN_WAIT_MAX: Duration = QUEUE_WAIT_MAX_DEFAULT;
/// Connections on their way from the thread that accepted them to one with fewer.
pub const HAND_OVER_MAX: usize = 256;
/// A connection goes to another thread if this one has at least so many more, or an eighth more.
pub const HAND_OVER_FROM: usize = 2;
/// What `retry-after` says with 503, seconds.
pub const RETRY_AFTER_SECONDS: &str = "1";

/// How long a caller keeps the cookie by which a rollout knows them again, seconds: as long as the longest step or
/// experiment.
pub const SHARE_COOKIE_SECONDS: u64 = fermion_model::limits::BAKE_MAX.as_secs();
/// Cookies of that name in one request whose signature is checked: one is ours, another may be left from elsewhere in
/// the domain.
pub const SHARE_COOKIES_CHECKED_MAX: usize = 4;

/// Bytes of the file of countries: those of all countries have some 10 MB, and what has cities too is not needed.
pub const COUNTRIES_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Callers whom one experiment counts on one node, some 4 MiB: twenty times as many tell releases apart that differ by a
/// hundredth part.
pub const METRIC_CALLERS_MAX: usize = 262_144;
/// What an experiment's metric may be at most, either way: sums of squares of more lose their last digits.
pub const METRIC_VALUE_MAX: f64 = 1e12;
/// Copies at once are the package's concurrency by this, and at least one: a tenth, so that they take nothing that is
/// missed.
pub const COPIES_CONCURRENCY_DIVISOR: u32 = 10;
/// Bytes of a request's body that are copied for a release that is tried; a larger one is not copied at all. With a
/// tenth of the concurrency, a megabyte or so an app.
pub const COPY_BODY_BYTES_MAX: usize = 64 * KIB;

/// Finishing what is in flight at shutdown: below the 30 s after which supervisors kill.
pub const DRAIN_TIME_MAX: Duration = Duration::from_secs(25);

const _: () = assert!(HEADER_BYTES_MAX <= HEADERS_BYTES_MAX);
const _: () = assert!(
    HEAD_BYTES_MAX <= u16::MAX as usize,
    "header positions are kept in 16 bits"
);
const _: () = assert!(BODY_IDLE_CONTENDED_MAX.as_millis() * 2 < QUEUE_WAIT_MAX_DEFAULT.as_millis());
const _: () = assert!(WRITE_COPY_BYTES_MAX <= WRITE_GATHER_BYTES);
const _: () = assert!(H2_STREAM_WINDOW_BYTES <= H2_CONNECTION_WINDOW_BYTES);
const _: () = assert!(EVICT_FRACTION > 0);

/// Bounds in time and number that tests make small and operators may change. Numbers are for one serving thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLimits {
    /// From a head's first byte to its last; also the wait for a new connection's first byte.
    pub head_time_max: Duration,
    /// A connection between two requests.
    pub idle_time_max: Duration,
    /// Between two reads of a request body.
    pub body_idle_max: Duration,
    /// A write that makes no progress because the caller does not read.
    pub write_stall_max: Duration,
    /// Open connections. Beyond it idle ones are closed, the longest idle first; if all are busy, new ones.
    pub connections_max: usize,
    /// Connections that have not yet sent a whole head. Beyond it the oldest of them are closed.
    pub heads_pending_max: usize,
    /// How often the bounds in time are checked: their resolution.
    pub sweep_every: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            head_time_max: Duration::from_secs(10),
            idle_time_max: Duration::from_secs(75),
            body_idle_max: Duration::from_secs(20),
            write_stall_max: Duration::from_secs(30),
            connections_max: 10_000,
            heads_pending_max: 1_000,
            sweep_every: Duration::from_millis(500),
        }
    }
}
