//! What can go wrong while a component is compiled, loaded or linked. What goes wrong in a request is a
//! `fermion_model::fault::Failure` and is made in `classify.rs`.

use std::path::PathBuf;

/// Errors of this crate. `code()` gives the stable name of those that a user meets.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The engine could not be made at all.
    #[error("the WebAssembly engine cannot start on this machine: {0:#}")]
    Engine(#[source] wasmtime::Error),
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// `read`, `write`, `create`.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The bytes are not a component that this engine accepts.
    #[error("COMPONENT_INVALID: {0}")]
    ComponentInvalid(String),
    /// The component exports no HTTP handler.
    #[error(
        "NO_HTTP_HANDLER: the component exports {exports}, but neither wasi:http/incoming-handler@0.2 nor \
         wasi:http/handler@0.3; build it for the wasi:http/proxy (0.2) or wasi:http/service (0.3) world"
    )]
    NoHttpHandler {
        /// What it exports instead.
        exports: String,
    },
    /// An import that the host does not provide, or not in the version asked for.
    #[error("IMPORT_UNKNOWN: {0}")]
    ImportUnknown(String),
    /// The compiler passed one of its limits.
    #[error("COMPILE_LIMIT: {0}")]
    CompileLimit(String),
    /// The compiling child failed for another reason.
    #[error("COMPILE_FAILED: {0}")]
    CompileFailed(String),
    /// A component whose initialisation cannot be frozen.
    #[error("SNAPSHOT_REFUSED: {0}")]
    SnapshotRefused(String),
    /// An initialisation that uses more than it may.
    #[error("SNAPSHOT_LIMIT: {0}")]
    SnapshotLimit(String),
    /// A file of native code that is not what this node sealed for this component and this engine.
    #[error(
        "SEAL_INVALID: the cached native code for {digest} is not loaded: {why}; it is kept aside in `quarantine`, \
         and the component is compiled again"
    )]
    SealInvalid {
        /// The component's digest.
        digest: String,
        /// What is wrong with the file.
        why: String,
    },
    /// The operator's certificates for upstreams cannot be used.
    #[error("EGRESS_CA_INVALID: cannot trust the authorities in {}: {reason}; it must hold PEM certificates", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A preopened directory could not be opened.
    #[error("cannot grant the directory {}: {reason}", path.display())]
    Directory {
        /// Which one.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

impl Error {
    /// The stable code, upper case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Engine(_) => "ENGINE_UNAVAILABLE",
            Self::Thread(_) | Self::File { .. } => "IO",
            Self::ComponentInvalid(_) => "COMPONENT_INVALID",
            Self::NoHttpHandler { .. } => "NO_HTTP_HANDLER",
            Self::ImportUnknown(_) => "IMPORT_UNKNOWN",
            Self::CompileLimit(_) => "COMPILE_LIMIT",
            Self::CompileFailed(_) => "COMPILE_FAILED",
            Self::SnapshotRefused(_) => "SNAPSHOT_REFUSED",
            Self::SnapshotLimit(_) => "SNAPSHOT_LIMIT",
            Self::SealInvalid { .. } => "SEAL_INVALID",
            Self::Authorities { .. } => "EGRESS_CA_INVALID",
            Self::Directory { .. } => "DIRECTORY",
        }
    }

    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::File {
            action,
            path: path.into(),
            source,
        }
    }
}
