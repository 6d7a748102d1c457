//! Every bound of the sandbox that a package does not choose itself, with its unit and its reason.

use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// How often the epoch moves: the longest a looping guest holds a serving thread before it must yield, and the unit in
/// which CPU time is noticed. A millisecond keeps neighbours quick; the ticker sleeps while no guest runs.
pub const EPOCH_TICK: Duration = Duration::from_millis(1);
/// CPU time after which a guest is heavy and leaves the serving thread: a slice.
pub const HEAVY_CPU: Duration = EPOCH_TICK;
/// How far the threads of heavy guests step back (nice value): a serving thread that wakes up goes before them, and beside
/// one that is never idle they still get two fifths of a core.
pub const HEAVY_NICENESS: i32 = 2;
/// Guests after which a program that was heavy counts as half forgiven, about.
pub const HEAVY_MEMORY: u32 = 8;
/// Ticks without a running guest after which the ticker sleeps until one starts.
pub const EPOCH_IDLE_TICKS: u32 = 1_000;

/// Instances alive at once in one engine: more requests than this wait or are shed. Address space, not memory:
/// 1,000 slots of 4 GiB and guards are 4 TiB of the 128 TiB a process may map.
pub const POOL_INSTANCES: u32 = 1_000;
/// Core modules inside components alive at once: toolchains split a component into three to five.
pub const POOL_CORE_INSTANCES: u32 = 8 * POOL_INSTANCES;
/// Core modules in one component: generous for composed components, bounded against hostile ones.
pub const CORE_INSTANCES_PER_COMPONENT_MAX: u32 = 100;
/// Linear memories in one component.
pub const MEMORIES_PER_COMPONENT_MAX: u32 = 20;
/// Tables in one component.
pub const TABLES_PER_COMPONENT_MAX: u32 = 100;
/// Tables alive at once.
pub const POOL_TABLES: u32 = 8 * POOL_INSTANCES;
/// Elements in one table: the largest language runtimes need about 15,000.
pub const TABLE_ELEMENTS_MAX: usize = 20_000;
/// Host bookkeeping for one core instance or one component, in bytes; a Python component needs about 400 KiB.
pub const INSTANCE_BYTES_MAX: usize = 2 * MIB;
/// Linear memory kept resident in a free slot and reset by copying, in bytes. Pays only with the pagemap scan.
pub const MEMORY_KEEP_RESIDENT_BYTES: usize = MIB;
/// Table memory kept resident in a free slot, in bytes.
pub const TABLE_KEEP_RESIDENT_BYTES: usize = 64 * KIB;
/// Fiber stack kept resident, in bytes.
pub const STACK_KEEP_RESIDENT_BYTES: usize = 64 * KIB;
/// Address space that the pool reserves for one linear memory, in bytes: all of wasm32, so that no access is checked.
pub const MEMORY_RESERVATION_BYTES: usize = 4096 * MIB;

/// Instances kept beyond a request in one process, waiting or at work: less than half of one engine's, so that fresh
/// ones always find room.
pub const KEPT_INSTANCES_MAX: u64 = POOL_INSTANCES as u64 * 2 / 5;
/// Linear memory that they may have, in bytes.
pub const KEPT_BYTES_MAX: u64 = 8192 * MIB as u64;
/// Linear memory that those of one release may have, in bytes: one release never takes all.
pub const KEPT_BYTES_PER_RELEASE_MAX: u64 = 2048 * MIB as u64;
/// Entries that a guest may leave in its resource table and be used again: streams that a runtime opens once.
pub const RESOURCES_KEPT_MAX: usize = 64;
/// The same where several requests are in an instance at once, each with what it needs now.
pub const RESOURCES_SHARED_MAX: usize = 2 * KIB;
/// Places of a release's used instances: one a serving thread, and more threads than machines have cores.
pub const POOL_SHELVES: usize = 64;
/// Worn-out instances that wait to be dropped off the requests' path; one more is dropped at once.
pub const BURIED_INSTANCES_MAX: usize = 64;
/// The keeper looks again no sooner: what a steady load may cost is bounded by it.
pub const REFILL_INTERVAL: Duration = Duration::from_millis(10);
/// After an instance could not be made ahead.
pub const REFILL_RETRY_AFTER: Duration = Duration::from_secs(1);
/// Over which the rate is measured that sizes a warm pool.
pub const RATE_WINDOW: Duration = Duration::from_secs(1);
/// The keeper wakes at least so often, if only to find nothing.
pub const KEEPER_SLEEP_MAX: Duration = Duration::from_secs(3600);
/// Releases for which instances are made ahead at once: their warm-ups may wait for others.
pub const FILLING_MAX: usize = 8;

const _: () = assert!(RESOURCES_SHARED_MAX < RESOURCES_MAX);

/// The guest's own call stack, in bytes: enough for interpreters, and exhausted within a millisecond by a runaway
/// recursion.
pub const GUEST_STACK_BYTES: usize = 512 * KIB;
/// The fiber that holds the guest's stack and the host calls made from it, in bytes of address space.
pub const FIBER_STACK_BYTES: usize = 2 * MIB;
const _: () = assert!(GUEST_STACK_BYTES * 2 <= FIBER_STACK_BYTES);

/// Bytes that one host call may copy out of a guest.
pub const HOSTCALL_BYTES_MAX: usize = 4 * MIB;
/// Component-model handles one instance may hold. Two are needed for each timer; a thousand timers must fit.
pub const HANDLES_MAX: usize = 4 * KIB;
/// Entries of the host's resource table for one instance.
pub const RESOURCES_MAX: usize = 4 * KIB;
/// Accounted bytes (names, values, map entries) of one `fields` resource.
pub const FIELDS_BYTES_MAX: usize = 32 * KIB;
/// Header fields in a guest's answer; more is GUEST_RESPONSE_INVALID.
pub const RESPONSE_HEADERS_MAX: usize = 100;
/// Bytes of header names and values in a guest's answer.
pub const RESPONSE_HEADER_BYTES_MAX: usize = 32 * KIB;
/// Random bytes one call may ask for.
pub const RANDOM_BYTES_MAX: u64 = 64 * 1024;
/// The finest step of a guest's clocks. Differences of a cache's timing are a thousandth of it, and what a handler may
/// want to measure takes longer.
pub const CLOCK_RESOLUTION: Duration = Duration::from_micros(100);
/// One key of a key-value store, in bytes.
pub const KEYVALUE_KEY_BYTES_MAX: usize = KIB;
/// One value of a key-value store, in bytes.
pub const KEYVALUE_VALUE_BYTES_MAX: usize = MIB;
/// Keys that one call may read, set or delete.
pub const KEYVALUE_BATCH_KEYS_MAX: usize = 256;
/// Bytes of values that one call may give back: as many as one may take in.
pub const KEYVALUE_ANSWER_BYTES_MAX: usize = HOSTCALL_BYTES_MAX;
/// Keys in one page of a list: 1 MiB if each is as long as it may be.
pub const KEYVALUE_PAGE_KEYS_MAX: usize = KIB;
const _: () = assert!(KEYVALUE_VALUE_BYTES_MAX <= KEYVALUE_ANSWER_BYTES_MAX);
/// Addresses that one instance keeps as those of the hosts it may reach by socket.
pub const SOCKET_ADDRESSES_MAX: usize = 256;
/// One write of a guest to a body, in bytes.
pub const BODY_CHUNK_BYTES_MAX: usize = 64 * KIB;
/// Chunks of a response body that wait for a slow client before the guest blocks.
pub const BODY_CHUNKS_BUFFERED: usize = 4;
/// Body bytes gathered before the head is sent, so that short answers leave in one piece.
pub const PREFETCH_BYTES_MAX: usize = 64 * KIB;

/// Outgoing requests one incoming request may make.
pub const SUBREQUESTS_MAX: u32 = 32;
/// Calls to upstreams and stores that are listed with a request, a span each; more are only counted.
pub const CALLS_LISTED_MAX: usize = 64;
/// Connecting to an upstream, unless the guest asks for less.
pub const EGRESS_CONNECT_MAX: Duration = Duration::from_secs(10);
/// Waiting for an upstream's answer, unless the guest asks for less. The wall time of the request ends it earlier.
pub const EGRESS_FIRST_BYTE_MAX: Duration = Duration::from_secs(60);
/// Waiting between two pieces of an upstream's body, unless the guest asks for less.
pub const EGRESS_BETWEEN_BYTES_MAX: Duration = Duration::from_secs(60);

/// Connections to one upstream that a serving thread makes at once for one release, as browsers do.
pub const EGRESS_CONNECTIONS_FEW: usize = 6;
/// How long a call waits for one of those to become free before it makes another: longer than a quick upstream takes,
/// and not noticed beside a slow one.
pub const EGRESS_GROW_AFTER: Duration = Duration::from_millis(10);
/// Connections to one upstream of one release on one serving thread: as many as it runs requests by default, so that
/// streams which stay open do not hold others back.
pub const EGRESS_CONNECTIONS_MAX: usize = 128;
/// Calls that wait for a connection to one upstream; more fail at once.
pub const EGRESS_WAITING_MAX: usize = 256;
/// Calls at once on one HTTP/2 connection: fewer than the hundred that servers commonly allow.
pub const EGRESS_STREAMS_MAX: usize = 64;
/// What an upstream may send on one HTTP/2 stream before the guest reads, in bytes.
pub const EGRESS_STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// The same for the whole connection: all streams together, so that one that is not read stops no other.
pub const EGRESS_CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
const _: () = assert!(
    EGRESS_STREAM_WINDOW_BYTES as usize * EGRESS_STREAMS_MAX <= EGRESS_CONNECTION_WINDOW_BYTES as usize
);
/// How often an HTTP/2 connection is asked whether it lives, and how long it may take to say so.
pub const EGRESS_PING_EVERY: Duration = Duration::from_secs(20);
/// See [`EGRESS_PING_EVERY`].
pub const EGRESS_PING_MAX: Duration = Duration::from_secs(10);
/// How long an idle connection is kept: shorter than the minute that most servers keep theirs.
pub const EGRESS_IDLE_MAX: Duration = Duration::from_secs(30);
/// How often idle connections are looked at, and how long those beyond the first few are kept.
pub const EGRESS_SWEEP_EVERY: Duration = Duration::from_secs(5);
/// How long a connection may take to be ready for the next call after an answer.
pub const EGRESS_READY_WAIT_MAX: Duration = Duration::from_secs(5);
/// Upstreams one release knows at once: more than a manifest names; only `*` can reach it.
pub const EGRESS_UPSTREAMS_MAX: usize = 256;
/// Addresses of one name that are looked at.
pub const EGRESS_ADDRESSES_MAX: usize = 16;
/// How long one address is tried alone before the next is tried beside it (RFC 8305 says 250 ms).
pub const EGRESS_NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);
/// Waiting for one answer of a resolver.
pub const DNS_TIMEOUT: Duration = Duration::from_secs(2);
/// Further attempts after one that failed.
pub const DNS_RETRIES: usize = 1;
/// Answers that one serving thread keeps; a few hundred bytes each.
pub const DNS_CACHE_NAMES_MAX: u64 = 1_024;
/// The longest an answer is kept, whatever it says: a move is noticed in minutes.
pub const DNS_TTL_MAX: Duration = Duration::from_secs(300);
/// The shortest that "there is no such name" is kept, so that a guest cannot pass a flood on to a resolver.
pub const DNS_NEGATIVE_TTL_MIN: Duration = Duration::from_secs(1);
/// The longest that "there is no such name" is kept.
pub const DNS_NEGATIVE_TTL_MAX: Duration = Duration::from_secs(10);

/// A component larger than this is refused before it is compiled, in bytes.
pub const COMPONENT_BYTES_MAX: u64 = 64 * MIB as u64;
/// Wall time of one compilation.
pub const COMPILE_TIME_MAX: Duration = Duration::from_secs(120);
/// CPU time of one compilation, all threads together, in seconds (the unit of the operating system's limit).
pub const COMPILE_CPU_SECONDS_MAX: u64 = 240;
/// Address space of the compiling child, in bytes.
pub const COMPILE_MEMORY_BYTES_MAX: u64 = 4096 * MIB as u64;
/// Native code that a compilation may produce, in bytes.
pub const NATIVE_BYTES_MAX: u64 = 512 * MIB as u64;
/// Descriptors that the compiling child may have open: its three, and what its engine needs before the jail closes.
pub const COMPILE_FILES_MAX: u64 = 16;
/// How far the compiling child steps back behind those who serve (nice value).
pub const COMPILE_NICENESS: i32 = 10;
/// Compilations at once: one that is made to take its whole time leaves a place for others.
pub const COMPILATIONS_MAX: usize = 2;

/// Instructions of a component's initialisation for a snapshot: some seconds, and the same on every machine.
pub const SNAPSHOT_INSTRUCTIONS_MAX: u64 = 5_000_000_000;
/// Address space reserved behind a memory of a component that is initialised, in bytes: it grows in steps of that.
pub const SNAPSHOT_GROWTH_BYTES: u64 = 16 * MIB as u64;

/// Native code kept on disk beyond what is pinned, in bytes, unless configured: about a thousand small components.
pub const NATIVE_CACHE_BYTES_MAX: u64 = 2048 * MIB as u64;
/// Refused files of native code that are kept aside to be looked at.
pub const NATIVE_QUARANTINE_FILES_MAX: usize = 16;
/// Their bytes.
pub const NATIVE_QUARANTINE_BYTES_MAX: u64 = 256 * MIB as u64;
