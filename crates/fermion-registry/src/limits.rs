//! The bounds of the registry's server, each with its unit and reason. Those of the store are in
//! `fermion_package::limits`.

use std::time::Duration;

const KIB: usize = 1024;

/// The largest blob, in bytes: images of operating systems have layers of some hundred MiB; components are smaller.
pub const BLOB_BYTES_MAX: u64 = 10 * 1024 * 1024 * 1024;
/// Requests that carry a body at once: they share one disk, and each holds a thread while it lasts.
pub const UPLOADS_MAX: usize = 64;
/// How long a request with a body waits for its turn before it is told to come back.
pub const UPLOAD_TURN_MAX: Duration = Duration::from_secs(10);
/// How long the next bytes of a body may take.
pub const BODY_IDLE_MAX: Duration = Duration::from_secs(30);
/// How long one body may take as a whole: the largest blob at some MiB/s. What has arrived by then can be resumed.
pub const BODY_TIME_MAX: Duration = Duration::from_secs(60 * 60);
/// Pieces of a body between the connection and the disk, some tens of KiB each.
pub const PIECES_MAX: usize = 4;
/// Manifests being read or written at once: each holds up to 4 MiB several times over.
pub const MANIFESTS_MAX: usize = 16;
/// Content up to this length is read in one go with opening it; longer content goes out in pieces of this length.
pub const PIECE_BYTES: usize = 128 * KIB;
/// Bytes of a refused body that are read all the same, so that its sender gets to the answer: several manifests or one
/// usual piece of an upload.
pub const DISCARDED_BYTES_MAX: usize = 32 * 1024 * KIB;
/// How long that may take.
pub const DISCARD_TIME_MAX: Duration = Duration::from_secs(5);
/// Tags in one answer; more are behind its `Link`.
pub const TAGS_PAGE_MAX: usize = 1000;
/// Referrers in one answer: as many of the largest as fit into what clients read.
pub const REFERRERS_PAGE_MAX: usize = 200;
/// Tags that one manifest may be given in one request.
pub const TAGS_PUT_MAX: usize = 16;
/// Tokens in the file: people and pipelines.
pub const TOKENS_MAX: usize = 1000;
/// Patterns of one token.
pub const PATTERNS_MAX: usize = 64;
/// The largest token file, in bytes.
pub const TOKEN_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// The longest `authorization` field that is looked at, in bytes.
pub const AUTHORIZATION_BYTES_MAX: usize = KIB;
/// Connections of a registry that runs alone.
pub const CONNECTIONS_MAX: usize = 512;
/// How long a request's head may take, and a connection may idle.
pub const HEAD_WAIT_MAX: Duration = Duration::from_secs(30);
/// Bytes that are read from a connection at a time, and so of one request's head.
pub const HEAD_BYTES_MAX: usize = 64 * KIB;
/// How long open requests may take after the stop.
pub const DRAIN_MAX: Duration = Duration::from_secs(10);
/// How long to leave the listener alone after it failed to accept: out of file descriptors, mostly.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const _: () = assert!(MANIFESTS_MAX < UPLOADS_MAX && UPLOADS_MAX < CONNECTIONS_MAX);
