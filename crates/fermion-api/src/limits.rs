//! The bounds of the admin API, shared by client and server; each with its unit and reason.

use std::time::Duration;

/// Bytes of one JSON request or answer: a deploy with every route and config value it may have, or a list of a few
/// hundred releases.
pub const JSON_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of one blob: the largest component (JavaScript and Python engines included) with room.
pub const BLOB_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Bytes of one line of a followed log: a guest's line with its JSON dress, escaped at the worst.
pub const LOG_LINE_BYTES_MAX: usize = 256 * 1024;
/// How long the client waits for the connection: the peer is this machine.
pub const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long the client waits for an ordinary answer.
pub const ANSWER_WAIT_MAX: Duration = Duration::from_secs(30);
/// How long the server waits for a release to become ready before it answers that it does not know yet.
pub const DEPLOY_WAIT_MAX: Duration = Duration::from_secs(120);
/// How long the client waits for a deploy: the server's wait, the check of the package, and the way.
pub const DEPLOY_ANSWER_WAIT_MAX: Duration = Duration::from_secs(180);
/// How long the server pulls a package from a registry before it gives up: the largest one at half a MiB a second.
pub const PULL_WAIT_MAX: Duration = Duration::from_secs(180);
/// How long one blob may take: `BLOB_BYTES_MAX` at 2 MiB a second.
pub const BLOB_WAIT_MAX: Duration = Duration::from_secs(128);
/// Lines of the past that a log request can ask for.
pub const LOG_TAIL_MAX: usize = 1_000;
/// Traces that one answer lists.
pub const TRACES_MAX: usize = 500;
/// Routes of one app.
pub const ROUTES_MAX: usize = fermion_model::limits::ROUTES_MAX;
/// Tags that come with one deploy: the version and the signatures.
pub const REF_TAGS_MAX: usize = 32;
/// Config keys of one app.
pub const CONFIG_KEYS_MAX: usize = 256;
/// Bytes of all config keys and values of one app: they travel in every assignment.
pub const CONFIG_BYTES_MAX: usize = 64 * 1024;

const _: () = assert!(DEPLOY_WAIT_MAX.as_secs() < DEPLOY_ANSWER_WAIT_MAX.as_secs());
const _: () = assert!(CONFIG_BYTES_MAX < JSON_BYTES_MAX);
