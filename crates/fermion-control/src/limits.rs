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
/// The old release's requests before its 95th percentile is taken as known. It need not be exact: it only says which
/// requests of both arms are compared.
pub const ROLLOUT_FROZEN_MIN: u64 = 500;
/// The new release's requests before it is asked whether it is slow: its first ones touch its code and memory for the
/// first time.
pub const ROLLOUT_AWAKE_MIN: u64 = 200;
/// Failures and slow requests of one arm that one look weighs one by one; more at once prove nothing more.
pub const ROLLOUT_EVENTS_A_LOOK_MAX: usize = 100_000;
/// How long a rollout waits for telemetry before it looks without: three of these are silence.
pub const ROLLOUT_SILENCE: Duration = Duration::from_secs(5);
/// Ended rollouts kept per app.
pub const ROLLOUTS_KEPT_MAX: usize = 20;
/// Packages that were taken back and are remembered per app.
pub const QUARANTINED_MAX: usize = 20;
/// Characters that are shown of what a gate answered.
pub const GATE_REASON_CHARACTERS_MAX: usize = 200;
/// Questions of gates that are under way at once; the others wait for the next look.
pub const GATE_QUESTIONS_MAX: usize = 16;
/// Seconds until a gate that said no is asked again.
pub const GATE_ASKED_EVERY: u64 = 10;
/// Seconds for which a gate's yes counts, while another gate is still closed.
pub const GATE_YES_KEEPS: u64 = 60;
/// Freezes that are in force or to come: a year's calendar, for some teams.
pub const FREEZES_MAX: usize = 256;
/// How far ahead a freeze may end.
pub const FREEZE_AHEAD_MAX: Duration = Duration::from_secs(400 * 24 * 3600);
/// Apps of which frames are added up between two looks.
pub const ROLLOUT_SERIES_MAX: usize = 10_000;
/// How long open requests may take after the stop.
pub const DRAIN_MAX: Duration = Duration::from_secs(5);
/// How long to leave the listener alone after it failed to accept: out of file descriptors, mostly.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often objectives are evaluated, and what has come is written: what a crash may cost of them.
pub const EVALUATE_EVERY: Duration = Duration::from_secs(10);
/// How often an objective's sums are written whole; what comes between is written alone.
pub const TALLY_WRITE_EVERY: Duration = Duration::from_secs(600);
/// Whole documents written at once: all that there may be have their turn in the time between two of one.
pub const WHOLES_AT_ONCE_MAX: usize = 150;
/// How long nodes may be silent before nothing is known of their apps: thirty frames.
pub const FRAME_MISSED_MAX: Duration = Duration::from_secs(30);
/// Frames that are taken in after the stop: what nodes sent while they stopped.
pub const FRAMES_LEFT_MAX: usize = 1_024;
/// Nodes whose frames are told apart by their numbers.
pub const NODES_MAX: usize = 64;
/// Lives of one node whose frames are told apart: the one that runs, and the one whose last frames may be late.
pub const INCARNATIONS_MAX: usize = 2;
/// Objectives that are kept on the whole platform: eight of each of a thousand apps, each with some 100 KiB.
pub const TALLIES_MAX: usize = 8_000;
/// Objectives of one app that are kept, those of earlier releases among them.
pub const OBJECTIVES_KEPT_MAX: usize = 2 * fermion_model::limits::OBJECTIVES_MAX;
/// Releases of one app whose part in its objectives is known: those that had requests last.
pub const RELEASES_BLAMED_MAX: usize = 4;
/// The share of what went wrong from which it is one release's matter.
pub const BLAMED_SHARE_MIN: f64 = 0.9;
/// Incidents kept of one app, beyond those that are open.
pub const INCIDENTS_KEPT_MAX: usize = 32;
/// Messages of one incident whose time is kept, for its post-mortem.
pub const TOLD_KEPT_MAX: usize = 64;
/// How long before an incident deploys and rollouts belong to its story.
pub const POST_MORTEM_BEFORE: Duration = Duration::from_secs(24 * 3600);
/// Traces that a post-mortem names.
pub const POST_MORTEM_TRACES_MAX: usize = 10;
/// Incidents that one answer lists.
pub const ALERTS_SHOWN_MAX: usize = 500;
/// Silences at once.
pub const SILENCES_MAX: usize = 256;
/// The longest reason of a silence, in bytes.
pub const SILENCE_REASON_BYTES_MAX: usize = 200;
/// How long an incident may be taken on, and alerts be silenced, at once: whoever needs longer says so again.
pub const ACKNOWLEDGED_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Messages that may wait for one receiver; the oldest go first.
pub const OUTBOX_MAX: usize = 256;
/// Bytes of one message that waits, with room.
pub const OUTBOX_BYTES_MAX: usize = 16 * 1024;
/// How long a message is tried to be delivered: a day later it is history.
pub const DELIVERY_AGE_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long one attempt to deliver may take.
pub const SEND_WAIT_MAX: Duration = Duration::from_secs(10);
/// The pause after the first attempt that failed.
pub const SEND_BACKOFF_MIN: Duration = Duration::from_secs(1);
/// The longest pause between attempts.
pub const SEND_BACKOFF_MAX: Duration = Duration::from_secs(300);
/// How long an Alertmanager is told to keep an alert that is not over: longer than an incident lasts.
pub const ALERTMANAGER_KEEPS: Duration = Duration::from_secs(7 * 24 * 3600);
/// Bytes of a file with a secret: of a receiver, of a repository's server.
pub const SECRET_FILE_BYTES_MAX: u64 = 16 * 1024;
/// Git sources of the whole platform: each has a task and a copy of its repository.
pub const GIT_SOURCES_MAX: usize = 64;
/// Repositories that are fetched at once: they share one disk and one line.
pub const GIT_FETCHES_MAX: usize = 4;
/// Documents of one source: as many apps as one team looks after, and more.
pub const GIT_DOCUMENTS_MAX: usize = 256;
/// Bytes of the copy of one repository: one of documents has a few MiB, one of programs fits too.
pub const GIT_REPOSITORY_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// How often the copy's size is looked at while Git is at work: a fast line brings 64 MiB in that time.
pub const GIT_SIZE_EVERY: Duration = Duration::from_millis(500);
/// How long a fetch or a push may take: a first fetch of the largest repository over a slow line.
pub const GIT_FETCH_WAIT_MAX: Duration = Duration::from_secs(300);
/// How long any other step may take: it reads from disk.
pub const GIT_STEP_WAIT_MAX: Duration = Duration::from_secs(60);
/// Bytes of a list of a commit's files: some 40,000 of them.
pub const GIT_LIST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of what Git says that are kept.
pub const GIT_WORDS_BYTES_MAX: u64 = 8 * 1024;
/// Events kept of one source.
pub const GIT_EVENTS_MAX: usize = 64;
/// Passes of one look: each wave takes one, and its end another.
pub const GIT_PASSES_MAX: usize = 64;
/// How long a look that a person asked for is waited for; it goes on behind that.
pub const GIT_SYNC_WAIT_MAX: Duration = Duration::from_secs(150);
/// How soon after a failure of the platform itself a source is looked at again.
pub const GIT_PAUSE: Duration = Duration::from_secs(5);
/// A stretch of time of which the requests of apps are added up, to say what is wrong now.
pub const WHY_SLOT: Duration = Duration::from_secs(30);
/// Such stretches that are remembered: five minutes, the shortest window of a page.
pub const WHY_SLOTS: usize = 10;
/// Apps that are remembered in one of them.
pub const WHY_APPS_MAX: usize = 2_000;
/// Releases, and upstreams of releases, that are remembered of an app in one of them.
pub const WHY_ROWS_MAX: usize = 32;
/// What `fermion top` shows requests of: long enough for a rate, short enough to see a change.
pub const TOP_WINDOW: Duration = Duration::from_secs(10);
/// Frames that are remembered for it: one a second of a node, and some that came together.
pub const TOP_FRAMES_MAX: usize = 16;
/// Apps whose last refused deploy is remembered.
pub const REFUSALS_KEPT_MAX: usize = 1_000;
/// Bytes of a message that says why something was refused.
pub const WHY_MESSAGE_BYTES_MAX: usize = 500;

const _: () = assert!(
    WHOLES_AT_ONCE_MAX as u64 * (TALLY_WRITE_EVERY.as_secs() / EVALUATE_EVERY.as_secs())
        >= TALLIES_MAX as u64
);
const _: () = assert!(GIT_SYNC_WAIT_MAX.as_secs() < fermion_api::limits::DEPLOY_ANSWER_WAIT_MAX.as_secs());
const _: () = assert!(FOLLOWERS_MAX + DEPLOYS_MAX + UPLOADS_MAX < CONNECTIONS_MAX);
const _: () = assert!(DECISIONS_BYTES_MAX < fermion_api::limits::JSON_BYTES_MAX);
const _: () = assert!(RELEASES_KEPT_MAX > GOOD_RELEASES_MAX);
