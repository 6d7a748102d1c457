//! What can fail in this crate outside a request. What a request is told is in `http::refusal`.

use std::net::SocketAddr;
use std::path::PathBuf;

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What failed, where and why.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store refused or failed.
    #[error(transparent)]
    Package(#[from] fermion_package::Error),
    /// The token file cannot be read or written.
    #[error("cannot {operation} the tokens in {path}: {source}")]
    TokenFile {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The token file is not one that may be believed.
    #[error("{path} {why}")]
    TokenFileUnfit {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// A token that cannot be made.
    #[error("the token cannot be made: {why}")]
    TokenInvalid {
        /// What is wrong.
        why: String,
    },
    /// No such token.
    #[error("there is no token {id}; `fermion registry token list` shows those there are")]
    TokenUnknown {
        /// What was asked for.
        id: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// Passwords would cross the network unencrypted.
    #[error(
        "{address} is not loopback, and the registry speaks plain HTTP: put a TLS proxy before a loopback address, or say \
         --plain-http if the network is trusted"
    )]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// No randomness.
    #[error("the system gives no random numbers: {0}")]
    Random(#[source] std::io::Error),
}

impl Error {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Package(error) => error.code(),
            Self::TokenFile { .. } | Self::TokenFileUnfit { .. } => "TOKEN_FILE",
            Self::TokenInvalid { .. } => "TOKEN_INVALID",
            Self::TokenUnknown { .. } => "TOKEN_UNKNOWN",
            Self::Listen { .. } | Self::NotLoopback { .. } => "LISTEN_REFUSED",
            Self::Random(_) => "IO",
        }
    }
}
