//! The bounds of the control plane, each with its unit and reason. Those of the wire are in `fermion_api::limits`.

use std::time::Duration;

/// Connections to the admin API at once: a few people and their followed logs, and who pushes and pulls packages.
pub const CONNECTIONS_MAX: usize = 256;
/// How long a request's head may take, and a connection may idle.
pub const HEAD_WAIT_MAX: Duration = Duration::from_secs(10);
/// Bytes of one request's head.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long a JSON body may take as a whole: it comes from this machine.
pub const BODY_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long a blob's next bytes may take.
pub const BLOB_IDLE_MAX: Duration = Duration::from_secs(20);
/// Blobs arriving at once: they share one disk.
pub const UPLOADS_MAX: usize = 4;
/// Pieces of a blob between the connection and the disk, a few tens of KiB each.
pub const UPLOAD_PIECES_MAX: usize = 8;
/// Packages pulled from registries at once: they share one disk.
pub const PULLS_MAX: usize = 4;
/// Deploys and rollbacks at once, most of them waiting for the node.
pub const DEPLOYS_MAX: usize = 16;
/// Packages checked at once: each holds a whole component in memory.
pub const CHECKS_MAX: usize = 2;
/// How long a deploy waits for its turn to be checked: a few large packages before it.
pub const CHECK_WAIT_MAX: Duration = Duration::from_secs(30);
/// Logs followed at once; fewer than connections, so that followers cannot lock operators out.
pub const FOLLOWERS_MAX: usize = 32;
/// How often a followed log without lines says so, to notice that nobody reads.
pub const FOLLOW_BEAT: Duration = Duration::from_secs(15);
/// How often the reconciler runs without being woken.
pub const RECONCILE_EVERY: Duration = Duration::from_secs(5);
/// How often a change is tried again because a document changed underneath: other writers are few and quick.
pub const CONFLICT_TRIES_MAX: usize = 16;
/// Apps whose part of an assignment one commit changes, beside the assignment itself.
pub const ASSIGNED_AT_ONCE_MAX: usize = fermion_bus::limits::COMMIT_OPS_MAX - 1;
/// Releases kept per app; older ones go, except those still in use.
pub const RELEASES_KEPT_MAX: usize = 100;
/// Decisions of the gate kept per app, each with its facts: a few KiB, and more than anybody reads.
pub const DECISIONS_KEPT_MAX: usize = 50;
/// Old decisions that one decision removes; more than it adds, so that a backlog shrinks.
pub const DECISIONS_PRUNED_MAX: usize = 4;
/// Bytes of one list of decisions; the newest that fit are given.
pub const DECISIONS_BYTES_MAX: usize = 3 * 1024 * 1024;
/// The longest reason of an override, in bytes: a sentence and the number of an incident.
pub const OVERRIDE_REASON_BYTES_MAX: usize = 500;
/// Good releases remembered per app: the one that serves, and what to fall back to.
pub const GOOD_RELEASES_MAX: usize = 2;
/// How long a new trust root waits for the node to judge by it what runs: from memory, so a moment as a rule.
pub const TRUST_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long what nothing needs is left in the store: longer than any push or deploy takes.
pub const COLLECT_GRACE: Duration = Duration::from_secs(60 * 60);
/// Transitions kept of one rollout; the first and the newest stay.
pub const ROLLOUT_EVENTS_MAX: usize = 64;
/// Verdicts kept of one rollout: one for each step there may be.
pub const ROLLOUT_VERDICTS_MAX: usize = fermion_model::limits::STEPS_MAX;
/// Stretches of time into which a step's requests are divided for the judge: thrice what it needs to tell anything, and
/// few enough that a document of them is written each second.
pub const ROLLOUT_WINDOWS_MAX: usize = 24;
/// Samples of request durations that the judge gets of an arm.
pub const ROLLOUT_SAMPLES_MAX: u64 = 2_000;
/// Looks over which it is asked whether both releases fail.
pub const ROLLOUT_RECENT_FRAMES: usize = 10;
/// The old release's requests before its 95th percentile is taken as known: then it is within a seventh of its share.
pub const ROLLOUT_FROZEN_MIN: u64 = 1_000;
/// How long a rollout waits for telemetry before it looks without: three of these are silence.
pub const ROLLOUT_SILENCE: Duration = Duration::from_secs(5);
/// Ended rollouts kept per app.
pub const ROLLOUTS_KEPT_MAX: usize = 20;
/// Packages that were taken back and are remembered per app.
pub const QUARANTINED_MAX: usize = 20;
/// Apps of which frames are added up between two looks.
pub const ROLLOUT_SERIES_MAX: usize = 10_000;
/// How long open requests may take after the stop.
pub const DRAIN_MAX: Duration = Duration::from_secs(5);
/// How long to leave the listener alone after it failed to accept: out of file descriptors, mostly.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const _: () = assert!(FOLLOWERS_MAX + DEPLOYS_MAX + UPLOADS_MAX < CONNECTIONS_MAX);
const _: () = assert!(DECISIONS_BYTES_MAX < fermion_api::limits::JSON_BYTES_MAX);
const _: () = assert!(RELEASES_KEPT_MAX > GOOD_RELEASES_MAX);
