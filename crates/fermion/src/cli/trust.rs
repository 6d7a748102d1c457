//! What can be said about keys, the trust root, signatures and channels.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use fermion_model::units;
use fermion_package::trust::{Moment, NamePattern, Role};

use super::DataArgs;

/// Days, the unit of keys and documents; the shorter units of other times work too.
fn lifetime(text: &str) -> Result<Duration, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
    match days {
        Some(days) => Ok(Duration::from_secs(u64::from(days) * 24 * 60 * 60)),
        None => units::parse_duration(text).map_err(|why| format!("{why}; or days, as 30d")),
    }
}

/// Where a change of the trust root goes.
#[derive(Debug, Args, Clone)]
pub(crate) struct ApplyTo {
    /// Give it to this platform's admin API. Without it, it goes into the data directory, where a running platform
    /// takes it up within a second.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) admin: Option<SocketAddr>,
    /// The file with the admin token; the data directory's own unless set.
    #[arg(long, value_name = "FILE", env = "FERMION_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    pub(crate) action: KeyAction,
    #[command(flatten)]
    pub(crate) data: DataArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyAction {
    /// Make a key, unless it is there; without options, the development key.
    New(KeyNew),
    /// List the keys of this place, what they count for, and which one signs packages.
    List,
    /// Print a public key as PEM, as cosign reads it.
    Export {
        /// The key; the one that signs packages unless said.
        name: Option<String>,
    },
    /// Keep a key that was made elsewhere: a public one in PEM, or a private one in PKCS#8 PEM.
    Import(KeyImport),
    /// Put a new key in the place of one, and let the old one count a while longer.
    Rotate(KeyRotate),
    /// Take every right from a key, for ever and at once, also where it has signed before.
    Revoke(KeyRevoke),
    /// Choose the key that signs packages made here.
    Use {
        /// A private key of this place.
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct KeyNew {
    /// What to call it.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// What it is for: package, provenance, channel or root.
    #[arg(long, default_value = "package")]
    pub(crate) role: Role,
}

#[derive(Debug, Args)]
pub(crate) struct KeyImport {
    /// The PEM file.
    pub(crate) file: PathBuf,
    /// What to call it.
    #[arg(long)]
    pub(crate) name: String,
    /// What it is for: package, provenance, channel or root.
    #[arg(long, default_value = "package")]
    pub(crate) role: Role,
}

#[derive(Debug, Args)]
pub(crate) struct KeyRotate {
    /// The key to replace; the one that signs packages unless said.
    pub(crate) name: Option<String>,
    /// How much longer the old key counts.
    #[arg(long, default_value = "30d", value_name = "TIME", value_parser = lifetime)]
    pub(crate) overlap: Duration,
    #[command(flatten)]
    pub(crate) admin: ApplyTo,
}

#[derive(Debug, Args)]
pub(crate) struct KeyRevoke {
    /// The key.
    pub(crate) name: String,
    /// Why: everybody whose package is refused reads it.
    #[arg(long)]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) admin: ApplyTo,
}

#[derive(Debug, Args)]
pub(crate) struct TrustArgs {
    #[command(subcommand)]
    pub(crate) action: TrustAction,
    #[command(flatten)]
    pub(crate) data: DataArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TrustAction {
    /// Show who is trusted with what.
    Show {
        /// A trust root document; the one in force here unless said.
        file: Option<PathBuf>,
    },
    /// Make the first trust root document of this place, of the keys that are trusted now.
    Init {
        /// How long it lives; every change renews it.
        #[arg(long, default_value = "365d", value_name = "TIME", value_parser = lifetime)]
        expires: Duration,
    },
    /// Trust a key with something.
    Add(TrustAdd),
    /// Print the next document as JSON, to be edited, signed and applied.
    Draft {
        /// How long it lives.
        #[arg(long, default_value = "365d", value_name = "TIME", value_parser = lifetime)]
        expires: Duration,
    },
    /// Sign a document with the root keys of this place, beside those who have signed it already.
    Sign {
        /// The document, as `draft` printed it or as `sign` left it.
        file: PathBuf,
        /// The key; every root key of this place unless said.
        #[arg(long, value_name = "NAME")]
        key: Option<String>,
    },
    /// Put a signed document in force.
    Apply {
        /// The document.
        file: PathBuf,
        #[command(flatten)]
        to: ApplyTo,
    },
}

#[derive(Debug, Args)]
pub(crate) struct TrustAdd {
    /// A key of this place by its name, or a PEM file.
    pub(crate) key: String,
    /// What the document calls it; the key's or the file's name unless said.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// What it may sign: package, provenance, channel, root. May be repeated.
    #[arg(long = "role", value_name = "ROLE")]
    pub(crate) roles: Vec<Role>,
    /// Which packages: acme/hello, acme/* or *. May be repeated; all unless said.
    #[arg(long = "names", value_name = "PATTERN")]
    pub(crate) names: Vec<NamePattern>,
    /// From when on it counts, as 2026-11-21T04:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<Moment>,
    /// Until when it counts.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<Moment>,
    #[command(flatten)]
    pub(crate) to: ApplyTo,
}

#[derive(Debug, Args)]
pub(crate) struct SignArgs {
    /// A package: acme/hello:1.2.3 or acme/hello@sha256:...
    pub(crate) package: String,
    /// The key; the one that signs packages unless said.
    #[arg(long, value_name = "NAME")]
    pub(crate) key: Option<String>,
    #[command(flatten)]
    pub(crate) data: DataArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ChannelArgs {
    #[command(subcommand)]
    pub(crate) action: ChannelAction,
    #[command(flatten)]
    pub(crate) data: DataArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ChannelAction {
    /// Say which package a name stands for in a channel, signed and for a time.
    Publish(ChannelPublish),
    /// Show what a channel says, and whether it holds.
    Show {
        /// The package's name.
        name: fermion_model::PackageName,
        /// The channel.
        #[arg(long, default_value = "stable")]
        channel: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ChannelPublish {
    /// A package: acme/hello:1.2.3 or acme/hello@sha256:...
    pub(crate) package: String,
    /// The channel.
    #[arg(long, default_value = "stable")]
    pub(crate) channel: String,
    /// How long it lives: after this nothing new is let in by it.
    #[arg(long, default_value = "30d", value_name = "TIME", value_parser = lifetime)]
    pub(crate) expires: Duration,
    /// Its serial; one more than the last unless said.
    #[arg(long)]
    pub(crate) serial: Option<u64>,
    /// The key; the channel key of this place, made on first use, unless said.
    #[arg(long, value_name = "NAME")]
    pub(crate) key: Option<String>,
}
