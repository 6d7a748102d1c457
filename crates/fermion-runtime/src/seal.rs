//! Native code at rest. Loading native code is as good as running it, so it is loaded only when it carries this node's
//! seal: an HMAC-SHA256 over the component's digest, the engine's code key and every byte of the code.

use std::io::Write;
use std::path::{Path, PathBuf};

use fermion_model::Digest;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::error::Error;
use crate::limits;

/// Begins every sealed file; the digit is the format's version.
const MAGIC: &[u8; 16] = b"fermion-native-1";
/// Magic and MAC.
const HEADER_BYTES: usize = 16 + 32;

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
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey(..)")
    }
}

/// Native code that this process compiled or whose seal it has checked. The only thing that can be loaded.
pub(crate) struct NativeCode(Vec<u8>);

impl NativeCode {
    /// Takes code straight from the compiling child.
    pub(crate) fn fresh(code: Vec<u8>) -> Self {
        Self(code)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.get(self.offset()..).unwrap_or_default()
    }

    fn offset(&self) -> usize {
        if self.0.starts_with(MAGIC) {
            HEADER_BYTES
        } else {
            0
        }
    }
}

/// Where the code of a component lies in a cache directory.
pub(crate) fn path(directory: &Path, digest: &Digest, code_key: u64) -> PathBuf {
    directory.join(format!("{}-{code_key:016x}.native", digest.hex()))
}

/// Writes sealed code so that a crash leaves either the whole file or none.
pub(crate) fn write(
    key: &SealKey,
    path: &Path,
    digest: &Digest,
    code_key: u64,
    code: &[u8],
) -> Result<(), Error> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".native-")
            .tempfile_in(directory)?;
        file.write_all(MAGIC)?;
        file.write_all(&key.mac(digest, code_key, code).finalize().into_bytes())?;
        file.write_all(code)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        std::fs::File::open(directory)?.sync_all()
    };
    write().map_err(|source| Error::file("write", path, source))
}

/// Reads sealed code. `None` if there is none; an error if the seal is wrong.
pub(crate) fn read(
    key: &SealKey,
    path: &Path,
    digest: &Digest,
    code_key: u64,
) -> Result<Option<NativeCode>, Error> {
    let invalid = || Error::SealInvalid {
        digest: digest.to_string(),
    };
    let length = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::file("read", path, source)),
    };
    if length > limits::NATIVE_BYTES_MAX {
        return Err(invalid());
    }
    let bytes = std::fs::read(path).map_err(|source| Error::file("read", path, source))?;
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(invalid)?;
    let (seal, code) = rest.split_at_checked(32).ok_or_else(invalid)?;
    key.mac(digest, code_key, code)
        .verify_slice(seal)
        .map_err(|_| invalid())?;
    Ok(Some(NativeCode(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_only_what_this_node_sealed_for_this_component_and_engine() {
        let directory = tempfile::tempdir().unwrap();
        let (key, digest) = (SealKey::from_bytes([7; 32]), Digest::from_bytes([1; 32]));
        let file = path(directory.path(), &digest, 9);
        assert!(read(&key, &file, &digest, 9).unwrap().is_none());
        write(&key, &file, &digest, 9, b"code").unwrap();
        assert_eq!(read(&key, &file, &digest, 9).unwrap().unwrap().bytes(), b"code");
        assert!(
            read(&SealKey::from_bytes([8; 32]), &file, &digest, 9).is_err(),
            "another key"
        );
        assert!(
            read(&key, &file, &Digest::from_bytes([2; 32]), 9).is_err(),
            "another component"
        );
        assert!(read(&key, &file, &digest, 8).is_err(), "another engine");
        let good = std::fs::read(&file).unwrap();
        for position in 0..good.len() {
            let mut bad = good.clone();
            bad[position] ^= 1;
            std::fs::write(&file, &bad).unwrap();
            assert!(read(&key, &file, &digest, 9).is_err(), "byte {position}");
        }
        std::fs::write(&file, &good[..20]).unwrap();
        assert!(read(&key, &file, &digest, 9).is_err(), "cut short");
    }
}
