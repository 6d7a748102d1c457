//! Everything the control plane can refuse or fail at. What a caller sees of each is decided in `problem`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use fermion_model::assignment::Problem as NodeProblem;
use fermion_model::{AppName, NameError, Namespace, ReleaseNumber, SourceName};

/// Why control did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The admin API would be reachable from elsewhere.
    #[error(
        "the admin API cannot listen on {address}: it has no TLS yet, so it listens on loopback only \
         (127.0.0.1 or [::1]); reach it from elsewhere through a tunnel"
    )]
    NotLoopback {
        /// What was asked for.
        address: SocketAddr,
    },
    /// The address is taken or not ours.
    #[error("the admin API cannot listen on {address}: {source}; choose another address with --admin")]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The token file cannot be read or made.
    #[error("cannot {doing} the admin token {}: {source}", path.display())]
    TokenFile {
        /// The operation.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The token file is not one to trust.
    #[error("the admin token {} {what}", path.display())]
    TokenUnfit {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        what: &'static str,
    },
    /// A namespace or app name that breaks its rule.
    #[error("{0}")]
    Name(#[from] NameError),
    /// The request's JSON, a digest, or a parameter is wrong.
    #[error("{what}")]
    Request {
        /// What, where, and what is expected.
        what: String,
    },
    /// No `application/json`.
    #[error("the request's content-type is not application/json")]
    ContentType,
    /// The body is larger than it may be.
    #[error("the request body is larger than {bytes_max} bytes")]
    BodyTooLarge {
        /// The bound.
        bytes_max: u64,
    },
    /// The body came too slowly or not whole.
    #[error("the request body did not arrive: {why}")]
    BodyLost {
        /// How.
        why: &'static str,
    },
    /// No token or a wrong one.
    #[error(
        "the admin API needs the token in admin.token of the data directory, as `Authorization: Bearer TOKEN`"
    )]
    Unauthenticated {
        /// True if there was one.
        given: bool,
    },
    /// The `Host` header is not this machine: a web page resolved its own name to loopback.
    #[error("the admin API answers to localhost, 127.0.0.1 and [::1] only, not to the host of this request")]
    Host,
    /// No such path.
    #[error("there is nothing at this path; the admin API begins at /api/v1")]
    NoSuchPath,
    /// The path is there and the method is not.
    #[error("this path does not take this method")]
    NoSuchMethod,
    /// The blob is not in the store.
    #[error("the store does not have this blob")]
    NoSuchBlob,
    /// No such app.
    #[error("there is no app {app} in namespace {namespace}; `fermion status` lists them")]
    NoSuchApp {
        /// The tenant.
        namespace: Namespace,
        /// The app.
        app: AppName,
    },
    /// No such release, or none to go back to.
    #[error("{app} has no release {what}; `fermion releases {app}` lists them")]
    NoSuchRelease {
        /// The app.
        app: AppName,
        /// `r7`, or which one was looked for.
        what: String,
    },
    /// A route that cannot be served.
    #[error("the route {path:?} {why}")]
    Route {
        /// Its path, shortened.
        path: String,
        /// The rule.
        why: String,
    },
    /// Two apps want the same requests.
    #[error("the route {route} of {app} is already taken by {other}; change one of them")]
    RouteCollision {
        /// `host/path` and methods.
        route: String,
        /// `namespace/app` of the one deployed.
        app: String,
        /// `namespace/app` of the one that has it.
        other: String,
    },
    /// Config and package do not fit.
    #[error("{what}")]
    Config {
        /// Which keys.
        what: String,
    },
    /// The policies, or a secret in the package, say no.
    #[error("{}{}", decision.explanation(), override_text(decision))]
    Denied {
        /// By whom and why.
        decision: Box<fermion_package::policy::Decision>,
    },
    /// The program `git` failed, or the repository's server.
    #[error("git cannot {doing}: {why}")]
    Git {
        /// The operation.
        doing: &'static str,
        /// Why, without secrets.
        why: String,
    },
    /// A document is not what it should be.
    #[error("{0}")]
    Document(#[from] fermion_model::document::DocumentError),
    /// No such source.
    #[error("there is no Git source {source_name} in namespace {namespace}; `fermion git list` lists them")]
    NoSuchSource {
        /// The tenant.
        namespace: Namespace,
        /// The source.
        source_name: SourceName,
    },
    /// No incident of that name is open.
    #[error("no incident {id:?} is open; `fermion alerts` lists those that are")]
    NoSuchIncident {
        /// What was asked for.
        id: String,
    },
    /// `alerts.toml` or a file that it names cannot be used.
    #[error("{what}")]
    Receivers {
        /// Which file, where in it, and why.
        what: String,
    },
    /// The app's active release is not the one the caller saw.
    #[error("the active release of {app} is {}, not {expected}; look again and decide anew", number_text(*active))]
    ReleaseChanged {
        /// The app.
        app: AppName,
        /// What the caller expected.
        expected: ReleaseNumber,
        /// What it is.
        active: Option<ReleaseNumber>,
    },
    /// Another deploy or rollback took over before this one was ready.
    #[error("{number} of {app} was replaced by {} before it served", number_text(*active))]
    Superseded {
        /// The app.
        app: AppName,
        /// The release asked for.
        number: ReleaseNumber,
        /// What is active now.
        active: Option<ReleaseNumber>,
    },
    /// The release could not be made ready.
    #[error("{number} of {app} failed: {} ({})", problem.message, serving_text(*serving))]
    ReleaseFailed {
        /// The app.
        app: AppName,
        /// The release.
        number: ReleaseNumber,
        /// The node's words.
        problem: NodeProblem,
        /// What the app went back to.
        serving: Option<ReleaseNumber>,
    },
    /// The node did not report in time; the intent stands.
    #[error(
        "{number} of {app} is stored, and is not ready after {} s; it goes on: see `fermion status`", waited.as_secs()
    )]
    NotYetReady {
        /// The app.
        app: AppName,
        /// The release.
        number: ReleaseNumber,
        /// The bound.
        waited: Duration,
    },
    /// The node did not say in time that it judges by the new trust root; the root stands.
    #[error(
        "trust root {epoch} is stored and in force for everything new, but the node has not said within {} s that what \
         runs follows it; see `trust_epoch` in `fermion status --json`", waited.as_secs()
    )]
    TrustNotJudged {
        /// The root's serial.
        epoch: u64,
        /// The bound.
        waited: Duration,
    },
    /// No trace is kept whose id begins so.
    #[error("no trace is kept whose id begins with {id:?}; `fermion trace` lists those that are")]
    NoSuchTrace {
        /// What was asked for.
        id: String,
    },
    /// Several are.
    #[error("{count} traces have an id that begins with {id:?}; give more of it")]
    AmbiguousTrace {
        /// What was asked for.
        id: String,
        /// How many.
        count: usize,
    },
    /// The app has never had a rollout.
    #[error("{app} has no rollout; `spec.rollout` of app.yaml asks for one, and the next deploy begins it")]
    NoRollout {
        /// The app.
        app: AppName,
    },
    /// The rollout is not where this can be done.
    #[error("the rollout of {app} is {phase}: {why}")]
    RolloutNot {
        /// The app.
        app: AppName,
        /// Where it stands.
        phase: String,
        /// Why that is in the way, and what to do.
        why: String,
    },
    /// A rollout is under way whose document is damaged or of a later version.
    #[error(
        "the rollout of {app} that is under way cannot be read, so nothing can follow it; `fermion deploy --now` takes \
         over at once and ends it"
    )]
    RolloutUnreadable {
        /// The app.
        app: AppName,
    },
    /// Nothing goes forward now.
    #[error(
        "{} freezes {app} until {}: {} (by {}); wait, or take over all the same with `fermion deploy --now`",
        freeze.id, time_text(freeze.until), freeze.reason, freeze.by
    )]
    Frozen {
        /// The app.
        app: AppName,
        /// What holds it.
        freeze: Box<fermion_api::FreezeView>,
    },
    /// No such freeze.
    #[error("there is no freeze {id:?}; `fermion freeze list` lists them")]
    NoSuchFreeze {
        /// What was asked for.
        id: String,
    },
    /// The package was rolled out before and taken back.
    #[error(
        "{app} was rolled out with this package as {release} and went back: {why}; change the package, or deploy it with \
         --retry"
    )]
    Quarantined {
        /// The app.
        app: AppName,
        /// As which release.
        release: ReleaseNumber,
        /// Why it went back.
        why: String,
    },
    /// Randomness could not be had.
    #[error("the system has no randomness: {0}")]
    Random(#[from] std::io::Error),
    /// The package is refused, or the store failed.
    #[error("{0}")]
    Package(#[from] fermion_package::Error),
    /// A registry did not hand over a package in time.
    #[error("{reference} did not arrive within {} s; what has arrived is kept, so try again", waited.as_secs())]
    PullTimeout {
        /// From where.
        reference: String,
        /// The bound.
        waited: Duration,
    },
    /// The registry has another package there than the caller saw.
    #[error("{reference} is {found} now, not {digest}; look again and decide anew")]
    SourceMoved {
        /// From where.
        reference: String,
        /// What the caller wants.
        digest: fermion_model::Digest,
        /// What is there.
        found: fermion_model::Digest,
    },
    /// The app's releases no longer fit into its part of the assignment.
    #[error("the app's assignment has no room for this release; shorten its routes and config")]
    AssignmentFull,
    /// Too much at once.
    #[error("too many {what} at once; try again shortly")]
    Busy {
        /// Of what.
        what: &'static str,
    },
    /// The bus failed.
    #[error("{0}")]
    Bus(#[from] fermion_bus::Error),
    /// A stored document is not what this version reads.
    #[error(
        "the document {key} has schema {found}, this fermion knows {known}; use the fermion that wrote it"
    )]
    Schema {
        /// The key.
        key: String,
        /// What it says.
        found: u32,
        /// What this build knows.
        known: u32,
    },
    /// The app's own documents are damaged or of a later version.
    #[error("the stored state of {app} cannot be read")]
    Unreadable {
        /// `namespace/app`.
        app: String,
    },
    /// A blocking step died: a bug, or the process is stopping.
    #[error("the step {doing:?} was stopped")]
    Stopped {
        /// The step.
        doing: &'static str,
    },
}

fn override_text(decision: &fermion_package::policy::Decision) -> &'static str {
    if decision.is_overridable() {
        ". In an emergency `--override-policy REASON` passes it by, on record"
    } else {
        ""
    }
}

/// Seconds since the Unix epoch as people read them.
pub(crate) fn time_text(seconds: u64) -> String {
    fermion_telemetry::rfc3339(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

fn number_text(number: Option<ReleaseNumber>) -> String {
    number.map_or_else(|| "none".to_owned(), |number| number.to_string())
}

fn serving_text(number: Option<ReleaseNumber>) -> String {
    match number {
        Some(number) => format!("{number} keeps serving"),
        None => "no earlier release is there to serve".to_owned(),
    }
}
