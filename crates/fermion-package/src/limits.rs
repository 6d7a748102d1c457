//! Every bound of this crate, with unit and reason.

use std::time::Duration;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The largest component, in bytes: one with a whole Python inside has about 40 MiB.
pub const WASM_BYTES_MAX: u64 = 64 * MIB;
/// The largest OCI manifest or index, in bytes: what registries accept.
pub const MANIFEST_BYTES_MAX: u64 = 4 * MIB;
/// The largest config blob, in bytes: names and lists of names.
pub const CONFIG_BYTES_MAX: u64 = MIB;
/// The largest payload or bundle of one signature, in bytes.
pub const SIGNATURE_BYTES_MAX: u64 = 256 * KIB;
/// The largest thing attached to a package that is no signature, in bytes: an SBOM of thousands of parts.
pub const ATTACHED_BYTES_MAX: u64 = 8 * MIB;
/// Signatures and other attachments of one package that are looked at: more only cost time.
pub const SIGNATURES_MAX: usize = 32;
/// Statements about where a package comes from that packing it again adds up to: each commit may make another one.
pub const PROVENANCES_MAX: usize = 8;
/// Imports and exports of one component, each: ten times what the largest toolchain makes.
pub const EXTERNS_MAX: usize = 1000;
/// The longest name of an import or export, in bytes.
pub const EXTERN_NAME_BYTES_MAX: usize = 512;
/// Sections that an inspection lists; the rest is summed up.
pub const SECTIONS_SHOWN_MAX: usize = 64;
/// Modules and components inside each other: toolchains make two or three levels.
pub const NESTING_MAX: usize = 32;
/// Sections of one component, nested ones included: composed ones have hundreds.
pub const SECTIONS_MAX: usize = 100_000;
/// The largest bill of materials or lock file, in bytes: one of a thousand crates has about half a megabyte.
pub const SBOM_BYTES_MAX: u64 = 4 * MIB;
/// The list of crates in a component, in bytes unpacked: compressed input may claim to be anything.
pub const AUDITABLE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Components of one bill of materials: ten times the crates of a large program.
pub const SBOM_COMPONENTS_MAX: usize = 10_000;
/// The longest name of a crate, in bytes: the registry's own bound is 64.
pub const CRATE_NAME_BYTES_MAX: usize = 128;
/// Functions of one module whose names and sizes are looked at.
pub const FUNCTIONS_MAX: usize = 1_000_000;
/// The longest name of a function that is shown, in characters: generic ones have thousands.
pub const NAME_CHARS_MAX: usize = 200;
/// Sections and crates, each, that a size report lists.
pub const SIZES_SHOWN_MAX: usize = 10;
/// Differences between two builds that are shown: the first few tell the cause.
pub const DIFFERENCES_SHOWN_MAX: usize = 20;
/// The most that a tool may say when it is asked for its version or state, in bytes.
pub const TOOL_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Files of a project that are copied to build it elsewhere: ten times a large one.
pub const COPY_FILES_MAX: usize = 100_000;
/// What they may have together, in bytes.
pub const COPY_BYTES_MAX: u64 = 1024 * MIB;
/// Folders above a project in which its workspace is looked for.
pub const WORKSPACE_LEVELS_MAX: usize = 8;
/// The largest key file, in bytes: a P-256 key in PEM has about 250.
pub const KEY_FILE_BYTES_MAX: u64 = 16 * KIB;
/// Public keys in one folder of trusted keys, or in one trust root.
pub const TRUSTED_KEYS_MAX: usize = 64;
/// The longest name of a key, in characters: it is a file name.
pub const KEY_NAME_CHARS_MAX: usize = 64;
/// The largest trust root document with its signatures, in bytes: every key with every pattern has less.
pub const TRUST_ROOT_BYTES_MAX: u64 = 2 * MIB;
/// Name patterns of one key, and of the names that need a channel.
pub const TRUST_PATTERNS_MAX: usize = 64;
/// How long a trust root lives unless said otherwise: a year, so that a forgotten one shows itself.
pub const ROOT_LIFETIME_DEFAULT: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// How long after a trust root's end what was let in before goes on, unless it says otherwise: long holidays.
pub const ROOT_GRACE_DEFAULT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Channels of one package that are looked at.
pub const CHANNELS_MAX: usize = 16;
/// The largest memory of channels, in bytes: tens of thousands of them.
pub const SEEN_BYTES_MAX: u64 = 8 * MIB;
/// The longest reason of a revocation, in characters: a sentence and a link.
pub const REASON_CHARS_MAX: usize = 500;
/// The largest file that holds a tag, in bytes: a digest and a line feed.
pub const TAG_FILE_BYTES_MAX: u64 = 256;
/// The longest tag, in characters (OCI distribution specification).
pub const TAG_CHARS_MAX: usize = 128;
/// References that come with one package: its version, its signature tags, and room.
pub const REFS_MAX: usize = 64;
/// Times that a temporary file is made anew because somebody cleaned it away before it was locked.
pub const TEMPORARY_TRIES_MAX: u32 = 16;
/// What one manifest may name: an image has at most 127 layers, an index a few platforms; each costs a look at the disk.
pub const MANIFEST_PARTS_MAX: usize = 4096;
/// The longest media type, in characters (RFC 6838, section 4.2: two names of at most 127).
pub const MEDIA_TYPE_CHARS_MAX: usize = 255;
/// Manifests that refer to one manifest: signatures, SBOMs, attestations, of many releases of scanners.
pub const REFERRERS_KEPT_MAX: usize = 1000;
/// The largest entry in a list of referrers, in bytes: all of them together are one answer.
pub const REFERRER_ANNOTATIONS_BYTES_MAX: u64 = 16 * KIB;
/// Blobs whose verification is remembered, about 200 bytes each.
pub const VERIFIED_BLOBS_MAX: usize = 32_768;
/// How long an unfinished upload is kept after its last byte.
pub const UPLOAD_IDLE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Files removed before pushes get their turn again: some milliseconds.
pub const SWEEP_BATCH: usize = 256;

/// The longest build: a first build of a large component with all its dependencies on a slow machine.
pub const BUILD_TIME_MAX: Duration = Duration::from_secs(30 * 60);
/// How long output is still read after the build command itself has ended: daemons it started may hold the pipe.
pub const BUILD_OUTPUT_WAIT_MAX: Duration = Duration::from_secs(2);
/// The longest line of build output that is passed on in one piece, in bytes.
pub const BUILD_LINE_BYTES_MAX: usize = 16 * 1024;
/// Lines of build output between the reader and the caller.
pub const BUILD_LINES_QUEUE: usize = 256;
/// Lines of build output that a failure repeats.
pub const BUILD_LINES_KEPT: usize = 20;
/// Files that are looked at, at most, to say where a missing component may lie instead.
pub const BUILD_SEARCH_ENTRIES_MAX: usize = 20_000;
/// Component files that are named, at most, when the right one is missing.
pub const BUILD_FOUND_MAX: usize = 10;

/// Referring artifacts of one package that are carried between registries.
pub const REFERRERS_MAX: usize = SIGNATURES_MAX;
/// Bytes of everything that is attached to one package, together.
pub const ATTACHMENTS_BYTES_MAX: u64 = 64 * MIB;
/// Pages of one list of referrers that are followed.
pub const REFERRER_PAGES_MAX: usize = 8;
/// Blobs on their way at once: enough to hide a registry's latency, few enough to be a polite guest.
pub const TRANSFERS_MAX: usize = 4;
/// Pieces of a blob between the connection and the disk, a few tens of KiB each.
pub const TRANSFER_PIECES_MAX: usize = 8;
/// Bytes from which a blob that is being pulled is kept when the process dies: smaller ones are quicker fetched again.
pub const RESUMED_BYTES_MIN: u64 = MIB;
/// Redirects that one download follows: registries hand blobs to a storage, which may have another name.
pub const REDIRECTS_MAX: usize = 5;
/// Times that one step is tried again.
pub const RETRIES_MAX: u32 = 4;
/// The first pause before trying again; each further one is twice as long.
pub const RETRY_PAUSE_MIN: Duration = Duration::from_millis(200);
/// The longest pause, also where the registry asks for a longer one.
pub const RETRY_PAUSE_MAX: Duration = Duration::from_secs(10);
/// Bytes of a registry's error answer that are read.
pub const REFUSAL_BYTES_MAX: u64 = 16 * KIB;
/// Bytes of a token service's answer.
pub const TOKEN_ANSWER_BYTES_MAX: u64 = 64 * KIB;
/// Bytes of one token.
pub const TOKEN_BYTES_MAX: usize = 32 * 1024;
/// The largest docker config, in bytes.
pub const DOCKER_CONFIG_BYTES_MAX: u64 = MIB;
/// Bytes that a credential helper may answer.
pub const CREDENTIAL_ANSWER_BYTES_MAX: u64 = 64 * KIB;
/// How long a credential helper may take: it may ask a remote service.
pub const CREDENTIAL_WAIT_MAX: Duration = Duration::from_secs(30);
/// How long a registry may take to accept a connection, TLS included.
pub const REMOTE_CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long a registry may say nothing while something is expected of it.
pub const REMOTE_IDLE_MAX: Duration = Duration::from_secs(30);
/// How long one exchange may take beside the time that its bytes need.
pub const REMOTE_EXCHANGE_MAX: Duration = Duration::from_secs(60);
/// The slowest transfer that is waited for, in bytes a second.
pub const REMOTE_RATE_MIN: u64 = 64 * KIB;
/// Bytes from which an upload is sent in a request of its own, so that it can be continued.
pub const UPLOAD_WHOLE_BYTES_MAX: u64 = MIB;

const _: () =
    assert!(ATTACHED_BYTES_MAX <= ATTACHMENTS_BYTES_MAX && TOKEN_BYTES_MAX as u64 <= TOKEN_ANSWER_BYTES_MAX);
/// The largest document of facts, in bytes: it is kept with each decision, and one stored value has at most 768 KiB.
pub const FACTS_BYTES_MAX: usize = 256 * 1024;
/// Findings of one scan for secrets: who has this many has a different problem.
pub const SECRET_FINDINGS_MAX: usize = 256;
/// Findings that are kept with the facts and named in a refusal.
pub const SECRET_FINDINGS_SHOWN_MAX: usize = 16;
/// Entries of a list of allowed findings.
pub const ALLOWED_SECRETS_MAX: usize = 256;
/// The largest list of a package's crates, in bytes: two thousand crates with their sources.
pub const CRATE_LIST_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Crates of one package that are held against the advisories.
pub const CRATES_MAX: usize = 10_000;
/// Advisories that are kept with the facts, the worst first.
pub const ADVISORY_HITS_SHOWN_MAX: usize = 64;
/// Cases in one file of policy tests.
pub const CASES_MAX: usize = 1000;
/// Policy files in one folder.
pub const POLICY_FILES_MAX: usize = 64;
/// The largest policy file, in bytes: a few hundred policies with their comments.
pub const POLICY_FILE_BYTES_MAX: u64 = 256 * KIB;
/// Policies of one set: a decision evaluates each of them.
pub const POLICIES_MAX: usize = 512;
/// Values of a fact that an explanation quotes.
pub const SHOWN_VALUES_MAX: usize = 5;
/// Characters of a fact that an explanation quotes.
pub const SHOWN_FACT_CHARS_MAX: usize = 400;

const _: () = assert!(CONFIG_BYTES_MAX < MANIFEST_BYTES_MAX && MANIFEST_BYTES_MAX < WASM_BYTES_MAX);
const _: () = assert!(BUILD_LINE_BYTES_MAX > 0 && BUILD_LINES_KEPT < BUILD_LINES_QUEUE);
