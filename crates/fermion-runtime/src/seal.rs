//! Native code at rest. Loading native code is as good as running it, so it is loaded only when it carries this node's
//! seal: an HMAC-SHA256 over the component's digest, the engine's code key and every byte of the code. The code key
//! stands for the engine's version, its settings and the processor's features.
//!
//! Code is read whole, its seal is checked on what was read, and that copy is loaded. The file itself is never mapped:
//! what is mapped from a file can change after the check, also a private mapping, as long as its pages have not been
//! touched. What is mapped instead is a copy in memory that the kernel seals against every change: `native.rs`.

mod cache;

use fermion_model::Digest;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

pub use cache::CacheUsage;
pub(crate) use cache::NativeCache;

/// Begins every sealed file; the digit is the format's version.
const MAGIC: &[u8; 16] = b"fermion-native-1";
const SEAL_BYTES: usize = 32;
/// Magic and seal.
const HEADER_BYTES: usize = MAGIC.len() + SEAL_BYTES;

/// The node's own key; never leaves the machine.
#[derive(Clone)]
pub struct SealKey([u8; 32]);

impl SealKey {
    /// Wraps 32 random bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    fn mac(&self, digest: &Digest, code_key: u64, code: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("any length is a key");
        mac.update(MAGIC);
        mac.update(digest.as_bytes());
        mac.update(&code_key.to_be_bytes());
        mac.update(code);
        mac
    }

    /// What stands before the code in its file.
    fn header(&self, digest: &Digest, code_key: u64, code: &[u8]) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        let (magic, seal) = header.split_at_mut(MAGIC.len());
        magic.copy_from_slice(MAGIC);
        seal.copy_from_slice(&self.mac(digest, code_key, code).finalize().into_bytes());
        header
    }

    /// The code in a file's bytes; none if the seal is not this key's for this component and engine.
    fn open(&self, digest: &Digest, code_key: u64, bytes: Vec<u8>) -> Option<NativeCode> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (seal, code) = rest.split_at_checked(SEAL_BYTES)?;
        self.mac(digest, code_key, code).verify_slice(seal).ok()?;
        Some(NativeCode {
            bytes,
            begin: HEADER_BYTES,
        })
    }
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey(..)")
    }
}

/// Native code that this process compiled or whose seal it has checked. The only thing that can be loaded.
pub(crate) struct NativeCode {
    bytes: Vec<u8>,
    begin: usize,
}

impl NativeCode {
    /// Takes code straight from the compiling child.
    pub(crate) fn fresh(code: Vec<u8>) -> Self {
        Self {
            bytes: code,
            begin: 0,
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.begin..).unwrap_or_default()
    }
}
