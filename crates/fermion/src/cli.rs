//! The command line as data. What a command does is in `commands`; here is only what can be said.

mod egress;
mod export;
mod freeze;
mod git;
mod instances;
mod judge;
mod native;
mod objectives;
mod people;
mod policy;
mod reach;
mod registries;
mod registry;
mod rollout;
mod snapshot;
mod trust;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use fermion_model::release::ReleaseNumber;
use fermion_model::remote::Registry;
use fermion_model::units;

pub(crate) use egress::EgressArgs;
pub(crate) use export::ExportArgs;
pub(crate) use freeze::{FreezeAction, FreezeArgs};
pub(crate) use git::{DiffArgs, GitAction, GitArgs};
pub(crate) use instances::InstanceArgs;
pub(crate) use judge::{JudgeArgs, JudgeTest};
pub(crate) use native::NativeArgs;
pub(crate) use objectives::{AlertsAction, AlertsArgs, DashboardArgs, DashboardName, SloArgs};
pub(crate) use people::{TopArgs, TraceArgs};
pub(crate) use policy::{PolicyAction, PolicyArgs, PolicyExplain};
pub(crate) use reach::ReachArgs;
pub(crate) use registries::{CopyArgs, PullArgs, PushArgs, RegistryArgs, RemoteArgs};
pub(crate) use registry::{
    AnonymousRight, QuotaArgs, RegistryAction, RegistryServe, RegistryServerArgs, TokenAction,
};
pub(crate) use rollout::{PlanArgs, RolloutAction, RolloutArgs};
pub(crate) use snapshot::SnapshotArgs;
pub(crate) use trust::{
    ApplyTo, ChannelAction, ChannelArgs, ChannelPublish, KeyAction, KeyArgs, KeyImport, KeyNew, KeyRevoke,
    KeyRotate, SignArgs, TrustAction, TrustAdd, TrustArgs,
};

/// Self-hosted edge functions: signed WebAssembly packages, verified, sandboxed and served.
#[derive(Debug, Parser)]
#[command(
    name = "fermion",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    /// Print results as JSON, errors too.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve one bare component: no manifest, no state but a compile cache.
    Serve(Box<ServeArgs>),
    /// Run the whole platform in one process: gateway, control plane, node, store.
    Up(Box<UpArgs>),
    /// Start a new project from a template.
    New(NewArgs),
    /// Run a project's build command and check the component.
    Build(BuildArgs),
    /// Build a project and make a signed package of it.
    Pack(PackArgs),
    /// Show what is in a package or a component.
    Inspect(InspectArgs),
    /// Check a package: digests, layout, signature, imports.
    Verify(PackageArgs),
    /// Add a signature to a package of this place.
    Sign(SignArgs),
    /// Make, list, replace and revoke keys.
    Key(Box<KeyArgs>),
    /// Show or change who is trusted with what.
    Trust(Box<TrustArgs>),
    /// Say which package a name stands for at the moment.
    Channel(ChannelArgs),
    /// Run the registry alone, or manage its tokens.
    Registry(Box<RegistryServerArgs>),
    /// Bring a package with its signatures from the local store to a registry.
    Push(PushArgs),
    /// Bring a package with its signatures from a registry into the local store, and verify it.
    Pull(PullArgs),
    /// Copy a package with its signatures from one registry to another, byte for byte.
    Copy(CopyArgs),
    /// Check, test and explain the policies that admit packages.
    Policy(PolicyArgs),
    /// Build, pack and sign a project and make it the running platform's new release.
    Deploy(DeployArgs),
    /// Say, field by field, what a deploy would change.
    Diff(DiffArgs),
    /// Follow Git repositories that say which apps there are.
    Git(GitArgs),
    /// Show what runs where.
    Status(AdminArgs),
    /// Remove from the running platform's store what neither a tag nor a release needs.
    Gc(GcArgs),
    /// List an app's releases.
    Releases(AppArgs),
    /// Route an app to an earlier release.
    Rollback(RollbackArgs),
    /// Say what a deploy of a folder would do to traffic, step by step.
    Plan(PlanArgs),
    /// Show, follow and list rollouts.
    Rollout(RolloutArgs),
    /// Let a paused rollout go on to its next step.
    Promote(AppArgs),
    /// Keep a rollout where it is.
    Pause(AppArgs),
    /// Let a paused rollout go on with its step.
    Resume(AppArgs),
    /// Take a rollout back: all traffic to the old release, at once.
    Abort(AppArgs),
    /// Let no release go forward for a time; list and end such times.
    Freeze(FreezeArgs),
    /// Show what an app's components wrote.
    Logs(LogsArgs),
    /// Show how all apps are, anew each second.
    Top(TopArgs),
    /// Say what is wrong with an app now, in plain words, and what to do.
    Why(AppArgs),
    /// List the traces that are kept, or show what one request was made of.
    Trace(TraceArgs),
    /// Show what apps promise, and how much of their error budgets is left.
    Slo(SloArgs),
    /// Show what burns; take incidents on, and silence alerts.
    Alerts(AlertsArgs),
    /// Print rules for a Prometheus that alert by the same windows and factors as `fermion alerts`.
    Rules,
    /// Print a dashboard for Grafana.
    Dashboard(DashboardArgs),
    /// Try the canary judge on figures of your own.
    Judge(JudgeArgs),
    /// Print a completion script for a shell.
    Completion {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The component: a .wasm file that exports wasi:http/incoming-handler@0.2 or wasi:http/handler@0.3.
    pub(crate) file: PathBuf,
    /// Where to listen. Port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub(crate) listen: SocketAddr,
    /// Serving threads; as many as there are cores unless set.
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Give the component an environment variable. May be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = key_value)]
    pub(crate) env: Vec<(String, String)>,
    /// Give the component a wasi:config value. May be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) config: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) reach: ReachArgs,
    /// Show the component a directory, read-only; HOST::GUEST names it, a trailing ':rw' lets it write. May be repeated.
    #[arg(long, value_name = "HOST[::GUEST][:rw]", value_parser = reach::directory)]
    pub(crate) dir: Vec<fermion_runtime::Directory>,
    #[command(flatten)]
    pub(crate) egress: EgressArgs,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) instances: InstanceArgs,
    /// Where the JSON access log goes: off, stdout, stderr or a file.
    #[arg(long, default_value = "off", value_name = "WHERE")]
    pub(crate) access_log: String,
    /// Where compiled code is kept.
    #[arg(long, value_name = "DIR", env = "FERMION_CACHE")]
    pub(crate) cache: Option<PathBuf>,
    /// How long requests in flight may take after the signal to stop.
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = units::parse_duration)]
    pub(crate) drain: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct LimitArgs {
    /// Linear memory of one instance.
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes)]
    pub(crate) memory: Option<u64>,
    /// Guest CPU time of one request.
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration)]
    pub(crate) cpu_time: Option<Duration>,
    /// Time from a request's head to the end of its answer.
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration)]
    pub(crate) wall_time: Option<Duration>,
    /// Requests running at once; more wait in a bounded queue.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(fermion_model::limits::CONCURRENCY_MAX)))]
    pub(crate) concurrency: Option<u32>,
    /// Lets fewer run at once while more would slow each other down.
    #[arg(long)]
    pub(crate) adaptive_concurrency: bool,
    /// The largest request body.
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes)]
    pub(crate) request_body: Option<u64>,
    /// The largest response body.
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes)]
    pub(crate) response_body: Option<u64>,
}

impl Command {
    /// Whether it answers requests until it is stopped.
    pub(crate) fn serves(&self) -> bool {
        matches!(self, Self::Serve(_) | Self::Up(_))
    }
}

impl LimitArgs {
    pub(crate) fn limits(&self) -> fermion_model::Limits {
        let default = fermion_model::Limits::default();
        fermion_model::Limits {
            memory_bytes: self.memory.unwrap_or(default.memory_bytes),
            cpu_time: self.cpu_time.unwrap_or(default.cpu_time),
            wall_time: self.wall_time.unwrap_or(default.wall_time),
            request_body_bytes: self.request_body.unwrap_or(default.request_body_bytes),
            response_body_bytes: self.response_body.unwrap_or(default.response_body_bytes),
            concurrency: self.concurrency.unwrap_or(default.concurrency),
            adaptive_concurrency: self.adaptive_concurrency,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Projects to build, pack and deploy; without any, what ran last serves again.
    pub(crate) folders: Vec<PathBuf>,
    /// Where the gateway listens.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub(crate) listen: SocketAddr,
    /// Where the admin API listens; loopback only.
    #[arg(long, default_value = "127.0.0.1:7070", value_name = "ADDRESS")]
    pub(crate) admin: SocketAddr,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// Speak plain HTTP to this registry when a package is pulled from it; this machine's need no word. May be repeated.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) insecure_registry: Vec<Registry>,
    #[command(flatten)]
    pub(crate) registries: RegistryArgs,
    /// Rebuild and swap when a project's files change.
    #[arg(long)]
    pub(crate) watch: bool,
    /// Serving threads; as many as there are cores unless set.
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Where the JSON access log goes: off, stdout, stderr or a file.
    #[arg(long, default_value = "off", value_name = "WHERE")]
    pub(crate) access_log: String,
    /// Which country callers are in, for rollouts that ask: a file in MaxMind's format.
    #[arg(long, value_name = "FILE")]
    pub(crate) geoip: Option<PathBuf>,
    /// Whether requests are measured. Off is for measurements of what that costs: there are no metrics of requests then, no
    /// objectives, nothing that rollouts could be judged by, and no logs of requests.
    #[arg(long, default_value = "on", value_name = "WHETHER", conflicts_with = "otlp")]
    pub(crate) telemetry: Switch,
    /// How long requests in flight may take after the signal to stop.
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = units::parse_duration)]
    pub(crate) drain: Duration,
    #[command(flatten)]
    pub(crate) egress: EgressArgs,
    #[command(flatten)]
    pub(crate) native: NativeArgs,
    #[command(flatten)]
    pub(crate) export: ExportArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

#[derive(Debug, Args, Clone)]
pub(crate) struct DataArgs {
    /// Where packages, keys, state and compiled code live.
    #[arg(
        long = "data",
        global = true,
        default_value = ".fermion",
        value_name = "DIR",
        env = "FERMION_DATA"
    )]
    pub(crate) directory: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// The project's name, which is also its folder.
    pub(crate) name: String,
    /// The language to start in.
    #[arg(long, value_enum, default_value = "rust")]
    pub(crate) lang: Language,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    Rust,
    #[value(alias = "javascript")]
    Js,
    Python,
}

#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// The project's folder.
    #[arg(default_value = ".")]
    pub(crate) folder: PathBuf,
    /// A CycloneDX file that says what the component is made of, in place of what is found.
    #[arg(long, value_name = "FILE")]
    pub(crate) sbom: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) snapshot: SnapshotArgs,
    /// Build a second time in another folder, with another home, user and number of jobs, and compare.
    #[arg(long)]
    pub(crate) verify: bool,
    #[command(flatten)]
    pub(crate) data: DataArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PackArgs {
    /// The project's folder.
    #[arg(default_value = ".")]
    pub(crate) folder: PathBuf,
    /// A CycloneDX file that says what the component is made of, in place of what is found.
    #[arg(long, value_name = "FILE")]
    pub(crate) sbom: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) snapshot: SnapshotArgs,
    #[command(flatten)]
    pub(crate) data: DataArgs,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A package (acme/hello:1.2.3 or acme/hello@sha256:...) or a .wasm file; with --decisions, an app too.
    #[arg(required_unless_present = "decisions")]
    pub(crate) what: Option<String>,
    /// Show only where its bytes go: the largest sections, and the largest crates where functions have names.
    #[arg(long)]
    pub(crate) sizes: bool,
    /// Show what the gate of the running platform decided: on an app, on a package, or everything.
    #[arg(long)]
    pub(crate) decisions: bool,
    /// The app's namespace, with --decisions.
    #[arg(long, short, default_value = "default")]
    pub(crate) namespace: fermion_model::Namespace,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PackageArgs {
    /// A package: acme/hello:1.2.3 or acme/hello@sha256:...
    pub(crate) package: String,
    #[command(flatten)]
    pub(crate) data: DataArgs,
}

#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// Only say what would be removed.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

#[derive(Debug, Args, Clone)]
pub(crate) struct AdminArgs {
    /// The platform's admin API.
    #[arg(
        long,
        default_value = "127.0.0.1:7070",
        value_name = "ADDRESS",
        env = "FERMION_ADMIN"
    )]
    pub(crate) admin: SocketAddr,
    /// The file with the admin token; the data directory's own unless set.
    #[arg(long, value_name = "FILE", env = "FERMION_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) data: DataArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DeployArgs {
    /// The project's folder.
    #[arg(default_value = ".")]
    pub(crate) folder: PathBuf,
    /// Build nothing: the platform pulls this package, such as registry.example.com/acme/hello:1.2.3, itself. Routes and
    /// config are those of the folder's app.yaml, if there is one.
    #[arg(long, value_name = "REMOTE")]
    pub(crate) from: Option<String>,
    /// Go on although policies deny it, in an emergency; the reason is kept on record and shown with the release.
    #[arg(long, value_name = "REASON")]
    pub(crate) override_policy: Option<String>,
    /// Take over at once, whatever spec.rollout and freezes say.
    #[arg(long)]
    pub(crate) now: bool,
    /// Deploy a package again that was rolled out before and went back.
    #[arg(long)]
    pub(crate) retry: bool,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

#[derive(Debug, Args)]
pub(crate) struct AppArgs {
    /// The app's name.
    pub(crate) app: fermion_model::AppName,
    /// The app's namespace.
    #[arg(long, short, default_value = "default")]
    pub(crate) namespace: fermion_model::Namespace,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    #[command(flatten)]
    pub(crate) app: AppArgs,
    /// The release to go back to; the one before the active one unless said.
    pub(crate) to: Option<ReleaseNumber>,
    /// Go on although policies deny it, in an emergency; the reason is kept on record.
    #[arg(long, value_name = "REASON")]
    pub(crate) override_policy: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    #[command(flatten)]
    pub(crate) app: AppArgs,
    /// How many lines of the past to show.
    #[arg(long, short = 'l', default_value_t = 100, value_name = "N")]
    pub(crate) lines: usize,
    /// Go on printing as lines come.
    #[arg(long, short)]
    pub(crate) follow: bool,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not NAME=VALUE")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
