//! What the client can fail at. Messages name the address and what to do next, and never the token.

use std::path::PathBuf;

use crate::Problem;

/// Why the client has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is not `http://HOST:PORT`.
    #[error("{address:?} is not an admin address: expected http://127.0.0.1:7070")]
    Address {
        /// What was given.
        address: String,
    },
    /// The address is elsewhere; the token would cross a network in the clear.
    #[error(
        "{address} is not on this machine: the admin API is plain HTTP for now, and the token is not sent over a \
         network; use a tunnel to a loopback address"
    )]
    NotLoopback {
        /// What was given.
        address: String,
    },
    /// The token is not printable ASCII: not a token of ours.
    #[error(
        "the admin token has characters that no token has; it is the content of admin.token in the data directory"
    )]
    Token,
    /// Nobody listens.
    #[error(
        "cannot connect to the admin API at {address}: {source}; `fermion up` must be running (see --admin)"
    )]
    Connect {
        /// The address.
        address: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The connection broke, or the answer is not HTTP.
    #[error("the admin API at {address} did not answer to {doing}: {source}")]
    Exchange {
        /// The address.
        address: String,
        /// The request.
        doing: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer in time.
    #[error("the admin API at {address} did not answer to {doing} within {} s", wait_max.as_secs())]
    Timeout {
        /// The address.
        address: String,
        /// The request.
        doing: String,
        /// The bound.
        wait_max: std::time::Duration,
    },
    /// The server refused.
    #[error("{}: {}", problem.code, problem.detail)]
    Refused {
        /// Its words.
        problem: Box<Problem>,
    },
    /// The server answered with something else than this client understands.
    #[error(
        "the answer of {address} to {doing} is not what this fermion expects ({what}); are both the same version?"
    )]
    Answer {
        /// The address.
        address: String,
        /// The request.
        doing: String,
        /// What is wrong with it.
        what: String,
    },
    /// A request that cannot be written as JSON or HTTP: a mistake of ours.
    #[error("cannot write the request to {doing}: {what}")]
    Request {
        /// The request.
        doing: String,
        /// Why.
        what: String,
    },
    /// The file to upload cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// The server's stable code, if it refused.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { problem } => Some(&problem.code),
            _ => None,
        }
    }
}
