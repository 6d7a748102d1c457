//! Why a package was refused, under codes that never change their meaning, and what else can fail in this crate.

use std::path::{Path, PathBuf};

use fermion_model::{Digest, NameError};

use crate::store::ContentDigest;

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What failed, where and why. `code` gives the stable name.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Bytes that are not what their address says.
    #[error("{what} {digest} holds other bytes: {found}; deploy the package again to replace it")]
    DigestMismatch {
        /// Which part of the package, or `blob`.
        what: &'static str,
        /// What the content should hash to.
        digest: ContentDigest,
        /// What was found instead.
        found: String,
    },
    /// A trusted key signed another package, and that signature is attached to this one.
    #[error("the signature attached to {digest} is for {subject}; sign this package itself")]
    SigSubjectMismatch {
        /// The package.
        digest: Digest,
        /// What the signature is for.
        subject: String,
    },
    /// Signed, but not by enough keys that count here.
    #[error("{digest} is signed, but not by those who are trusted with it: {why}")]
    SigUntrusted {
        /// The package.
        digest: Digest,
        /// Which keys do not count and why, and what to do.
        why: String,
    },
    /// A trust root document that the keys in force have not agreed to.
    #[error("the trust root of serial {serial} is refused, the one in force stays: {why}")]
    RootUntrusted {
        /// Its serial.
        serial: u64,
        /// Which signatures are missing.
        why: String,
    },
    /// Something that has been replaced already, or claims a number that is taken.
    #[error("{what} is refused: serial {held} has been seen here, and only a higher one replaces it")]
    Rollback {
        /// What, and which serial it has.
        what: String,
        /// The serial seen.
        held: u64,
    },
    /// A channel document that the trusted keys have not signed.
    #[error("{what} is not signed by those who are trusted with it: {why}")]
    ChannelUntrusted {
        /// Which.
        what: String,
        /// Which keys do not count and why, and what to do.
        why: String,
    },
    /// A package that may be let in only through a channel, and no channel names it.
    #[error("{name} is not let in: {why}")]
    ChannelMismatch {
        /// The package's name.
        name: fermion_model::PackageName,
        /// What its channels say, and what to do.
        why: String,
    },
    /// Too old to let anything new in.
    #[error("{what} expired at {expired}; {next}")]
    Stale {
        /// What.
        what: String,
        /// When.
        expired: String,
        /// What to do.
        next: String,
    },
    /// A trust root or channel document that is none.
    #[error("{what}: {why}")]
    TrustInvalid {
        /// Which.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// No signature at all; attestations of other kinds are not signatures.
    #[error("{digest} has no signature; pack it again, which signs it")]
    SigMissing {
        /// The package.
        digest: Digest,
    },
    /// Not the artifact layout that this version reads.
    #[error("{what} is not laid out as a package: {why}")]
    UnsupportedLayout {
        /// Which part.
        what: &'static str,
        /// What is different.
        why: String,
    },
    /// The config's list is not what the component itself says.
    #[error("the package lists {listed:?} as its {kind}, the component has {found:?}; pack it again")]
    ImportsMismatch {
        /// `imports`, `exports`, `target`.
        kind: &'static str,
        /// What the config says.
        listed: Vec<String>,
        /// What the component says.
        found: Vec<String>,
    },
    /// Larger than its descriptor or its ceiling.
    #[error("{what} has more than the {bytes_max} bytes it may have")]
    SizeExceeded {
        /// Which part.
        what: String,
        /// The bound that was passed, bytes.
        bytes_max: u64,
    },
    /// A name that could leave its place.
    #[error("{0}")]
    NameInvalid(#[from] NameError),
    /// A tag that could leave its place.
    #[error(
        "NAME_INVALID: tag {0:?} must be 1 to 128 letters, digits, '_', '.', '-' and begin with none of the last two"
    )]
    TagInvalid(String),
    /// A place in a registry that names no package.
    #[error(
        "NAME_INVALID: reference {reference:?} has neither a tag nor a digest; write NAME:TAG or NAME@sha256:..."
    )]
    ReferenceIncomplete {
        /// As it was written.
        reference: String,
    },
    /// The component wants what nobody grants.
    #[error("the component imports {interface}, which is not here; {why}")]
    PolicyDenied {
        /// The import as it stands in the component.
        interface: String,
        /// What there is instead.
        why: String,
    },
    /// Something in the package has the form of a credential.
    #[error(
        "{}; take it out and hand it over as a secret, revoke what was real; `fermion policy secrets` tells how to allow what is none",
        places(.findings)
    )]
    SecretFound {
        /// By which rule and where.
        findings: Vec<crate::secrets::Finding>,
    },
    /// The operators' policies are not sound.
    #[error("{}{}: {why}; `fermion policy check` tries it", path.display(), line.map_or(String::new(), |line| format!(":{line}")))]
    PolicyInvalid {
        /// The file, or the folder.
        path: PathBuf,
        /// Counted from 1, if it is known.
        line: Option<usize>,
        /// What is wrong.
        why: String,
    },
    /// A document of facts that is none.
    #[error("not a document of facts: {why}")]
    FactsInvalid {
        /// What is wrong, and where.
        why: String,
    },
    /// Not a component that can be served.
    #[error("not a component that can be served: {0}")]
    ComponentInvalid(String),
    /// The store does not have it.
    #[error("{0} is not in the store; deploy the package again to put it there")]
    BlobMissing(ContentDigest),
    /// No such reference.
    #[error(
        "{0} is not in the store; `fermion pack` puts it there, `fermion releases APP` lists what was deployed"
    )]
    TagMissing(String),
    /// A reference whose file is damaged.
    #[error("{path} does not hold a digest; deploy the package again")]
    TagDamaged {
        /// The file.
        path: PathBuf,
    },
    /// Not an address of content, or one by an algorithm that is not kept here.
    #[error("{text:?} is not a digest: expected sha256: and 64, or sha512: and 128 lower-case hex digits")]
    DigestInvalid {
        /// What was given, shortened.
        text: String,
    },
    /// A manifest that a registry does not keep.
    #[error("the manifest is refused: {why}")]
    ManifestInvalid {
        /// What is wrong with it.
        why: String,
    },
    /// A manifest that refers to what its repository does not have.
    #[error("the manifest refers to {digest}, which {repository} does not have; push that first")]
    ManifestBlobUnknown {
        /// What is missing.
        digest: ContentDigest,
        /// The repository.
        repository: String,
    },
    /// No such upload: never begun, finished, cancelled, or too long ago.
    #[error("there is no such upload; begin a new one")]
    UploadUnknown,
    /// Another request writes to the same upload.
    #[error("another request writes to this upload; wait until it has ended")]
    UploadBusy,
    /// More than the operator allows.
    #[error(
        "{what} would pass the limit of {limit}; delete what is not needed, or ask the operator for more"
    )]
    QuotaExceeded {
        /// What would grow.
        what: String,
        /// How far it may: a number with its unit.
        limit: String,
    },
    /// A key that cannot be used.
    #[error("key {path}: {why}")]
    KeyInvalid {
        /// The file, or where the key came from.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// The build command ended badly.
    #[error("the build command {command:?} {how}{}", indented(.lines))]
    BuildFailed {
        /// The command as written.
        command: String,
        /// `ended with exit status 1`, `was stopped`, ...
        how: String,
        /// The end of its output.
        lines: Vec<String>,
    },
    /// The build went well and the component is elsewhere.
    #[error("the build left no component at {path}{}", named(.found))]
    ComponentMissing {
        /// Where the manifest says it is.
        path: PathBuf,
        /// Component files that are there.
        found: Vec<PathBuf>,
    },
    /// The same sources gave another component.
    #[error("the second build gave another component{}", indented(.differences))]
    BuildNotReproducible {
        /// Each section that differs, in words.
        differences: Vec<String>,
    },
    /// A bill of materials that cannot be attached.
    #[error("the bill of materials of {place} cannot be used: {why}")]
    SbomInvalid {
        /// Where it was read.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// A registry, or what is needed to speak to it, did not do its part.
    #[error("cannot {doing} at {registry}: {why}")]
    Registry {
        /// What kind of failure.
        fault: RegistryFault,
        /// `registry.example.com:5000`.
        registry: String,
        /// The operation and its object, in words.
        doing: String,
        /// What happened, and what to do.
        why: String,
    },
    /// A file could not be read or written.
    #[error("cannot {operation} {path}: {source}")]
    Io {
        /// The operation in words.
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
}

/// How dealing with a registry failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistryFault {
    /// No connection, or one that broke, as often as it was tried.
    Unreachable,
    /// Too slow.
    Timeout,
    /// It says itself that it cannot at the moment.
    Unavailable,
    /// It wants other credentials.
    Unauthorized,
    /// It does not have it.
    Missing,
    /// It says no.
    Refused,
    /// Its answer is none that the distribution specification knows.
    Answer,
    /// It sends credentials to a host that nobody listed.
    Realm,
    /// It sends us to where we do not go.
    Redirect,
    /// It sent other bytes than their address says.
    OtherBytes,
    /// It sent, or announced, more than there may be.
    TooLarge,
    /// Its tag is a version, and the package is of another one.
    OtherVersion,
    /// The credentials for it cannot be read.
    Credentials,
}

impl RegistryFault {
    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unreachable => "REGISTRY_UNREACHABLE",
            Self::Timeout => "REGISTRY_TIMEOUT",
            Self::Unavailable => "REGISTRY_UNAVAILABLE",
            Self::Unauthorized => "REGISTRY_UNAUTHORIZED",
            Self::Missing => "REMOTE_MISSING",
            Self::Refused => "REGISTRY_REFUSED",
            Self::Answer => "REGISTRY_ANSWER_INVALID",
            Self::Realm => "TOKEN_REALM_REFUSED",
            Self::Redirect => "REDIRECT_REFUSED",
            Self::OtherBytes => "DIGEST_MISMATCH",
            Self::TooLarge => "SIZE_EXCEEDED",
            Self::OtherVersion => "VERSION_MISMATCH",
            Self::Credentials => "CREDENTIALS_UNUSABLE",
        }
    }

    /// True if the same step may go well a moment later.
    pub(crate) const fn passes(self) -> bool {
        matches!(self, Self::Unreachable | Self::Timeout | Self::Unavailable)
    }
}

impl Error {
    /// The stable code: upper case, for machines and for whoever searches the documentation.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::DigestMismatch { .. } => "DIGEST_MISMATCH",
            Self::SigSubjectMismatch { .. } => "SIG_SUBJECT_MISMATCH",
            Self::SigUntrusted { .. } | Self::RootUntrusted { .. } | Self::ChannelUntrusted { .. } => {
                "SIG_UNTRUSTED"
            }
            Self::ChannelMismatch { .. } => "CHANNEL_MISMATCH",
            Self::Rollback { .. } => "ROLLBACK",
            Self::Stale { .. } => "STALE",
            Self::TrustInvalid { .. } => "TRUST_INVALID",
            Self::SigMissing { .. } => "SIG_MISSING",
            Self::UnsupportedLayout { .. } => "UNSUPPORTED_LAYOUT",
            Self::ImportsMismatch { .. } => "IMPORTS_MISMATCH",
            Self::SizeExceeded { .. } => "SIZE_EXCEEDED",
            Self::NameInvalid(_) | Self::TagInvalid(_) | Self::ReferenceIncomplete { .. } => "NAME_INVALID",
            Self::PolicyDenied { .. } => "POLICY_DENIED",
            Self::SecretFound { .. } => "SECRET_FOUND",
            Self::PolicyInvalid { .. } => "POLICY_INVALID",
            Self::FactsInvalid { .. } => "FACTS_INVALID",
            Self::ComponentInvalid(_) => "COMPONENT_INVALID",
            Self::BlobMissing(_) => "BLOB_MISSING",
            Self::TagMissing(_) => "TAG_MISSING",
            Self::TagDamaged { .. } => "TAG_DAMAGED",
            Self::DigestInvalid { .. } => "DIGEST_INVALID",
            Self::ManifestInvalid { .. } => "MANIFEST_INVALID",
            Self::ManifestBlobUnknown { .. } => "MANIFEST_BLOB_UNKNOWN",
            Self::UploadUnknown => "UPLOAD_UNKNOWN",
            Self::UploadBusy => "UPLOAD_BUSY",
            Self::QuotaExceeded { .. } => "QUOTA_EXCEEDED",
            Self::KeyInvalid { .. } => "KEY_INVALID",
            Self::BuildFailed { .. } => "BUILD_FAILED",
            Self::ComponentMissing { .. } => "COMPONENT_MISSING",
            Self::BuildNotReproducible { .. } => "BUILD_NOT_REPRODUCIBLE",
            Self::SbomInvalid { .. } => "SBOM_INVALID",
            Self::Registry { fault, .. } => fault.code(),
            Self::Io { .. } => "STORE_IO",
        }
    }

    /// Wraps the system's reason with what was tried.
    pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io {
            operation,
            path: path.to_owned(),
            source,
        }
    }

    /// A document of trust that does not hold.
    pub(crate) fn trust(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::TrustInvalid {
            what: what.into(),
            why: why.into(),
        }
    }

    /// A part of a package that is laid out otherwise.
    pub(crate) fn layout(what: &'static str, why: impl Into<String>) -> Self {
        Self::UnsupportedLayout {
            what,
            why: why.into(),
        }
    }
}

fn indented(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n  {line}")).collect()
}

fn places(findings: &[crate::secrets::Finding]) -> String {
    let shown = findings
        .iter()
        .take(crate::limits::SHOWN_VALUES_MAX)
        .map(ToString::to_string);
    let more = findings.len().saturating_sub(crate::limits::SHOWN_VALUES_MAX);
    let more = (more > 0).then(|| format!("and {more} more"));
    shown.chain(more).collect::<Vec<_>>().join(", ")
}

fn named(paths: &[PathBuf]) -> String {
    if paths.is_empty() {
        return ", nor any other .wasm file in its folder; check [package] component and [build] command"
            .to_owned();
    }
    let list: String = paths
        .iter()
        .map(|path| format!("\n  {}", path.display()))
        .collect();
    format!("; set [package] component to one of these:{list}")
}
