//! Addresses of content by either algorithm that registries register: SHA-256, which packages use, and SHA-512, which
//! others may. Refuses every other algorithm and every other spelling.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::str::FromStr;

use fermion_model::Digest;
use sha2::Digest as _;

use crate::Error;

/// Bytes that are hashed at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// The address of a blob or a manifest. Displays as `sha256:` and 64, or `sha512:` and 128 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ContentDigest {
    /// SHA-256.
    Sha256(Digest),
    /// SHA-512.
    Sha512([u8; 64]),
}

impl ContentDigest {
    /// The address of `bytes` by the algorithm of `self`.
    #[must_use]
    pub fn of_same_kind(&self, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::like(self);
        hasher.update(bytes);
        hasher.finish()
    }

    /// `sha256` or `sha512`.
    pub const fn algorithm(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "sha256",
            Self::Sha512(_) => "sha512",
        }
    }

    /// The hex digits without the algorithm.
    pub fn hex(&self) -> String {
        match self {
            Self::Sha256(digest) => digest.hex(),
            Self::Sha512(bytes) => hex::encode(bytes),
        }
    }

    /// The SHA-256 address, if it is one.
    pub const fn sha256(&self) -> Option<&Digest> {
        match self {
            Self::Sha256(digest) => Some(digest),
            Self::Sha512(_) => None,
        }
    }

    /// As one file name: `sha256-HEX`. The same text is the tag under which clients keep referrers where a registry
    /// does not, cut to a tag's length as the distribution specification says.
    pub(crate) fn file_name(&self) -> String {
        format!("{}-{}", self.algorithm(), self.hex())
    }

    /// The digest whose file has this name.
    pub(crate) fn from_file_name(name: &str) -> Option<Self> {
        name.replacen('-', ":", 1).parse().ok()
    }
}

impl From<Digest> for ContentDigest {
    fn from(digest: Digest) -> Self {
        Self::Sha256(digest)
    }
}

impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm(), self.hex())
    }
}

impl fmt::Debug for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ContentDigest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = || Error::DigestInvalid {
            text: text.chars().take(80).collect(),
        };
        let Some(digits) = text.strip_prefix("sha512:") else {
            return text.parse().map(Self::Sha256).map_err(|_| refuse());
        };
        let mut bytes = [0; 64];
        if digits.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(refuse());
        }
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| refuse())?;
        Ok(Self::Sha512(bytes))
    }
}

impl serde::Serialize for ContentDigest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for ContentDigest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Hashes content by the algorithm that an address asks for.
pub(super) enum Hasher {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
}

impl Hasher {
    pub(super) fn like(digest: &ContentDigest) -> Self {
        match digest {
            ContentDigest::Sha256(_) => Self::Sha256(sha2::Sha256::new()),
            ContentDigest::Sha512(_) => Self::Sha512(sha2::Sha512::new()),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    pub(super) fn finish(self) -> ContentDigest {
        match self {
            Self::Sha256(hasher) => ContentDigest::Sha256(Digest::from_bytes(hasher.finalize().into())),
            Self::Sha512(hasher) => ContentDigest::Sha512(hasher.finalize().into()),
        }
    }
}

/// The address of what is left to read of `file`, by the algorithm of `like`; read in pieces.
pub(super) fn hash_file(file: &mut File, like: &ContentDigest) -> std::io::Result<ContentDigest> {
    let mut hasher = Hasher::like(like);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = file.read(&mut piece)?;
        if length == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&piece[..length]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_algorithms_round_trip_and_nothing_else_is_taken() {
        let sha256 = format!("sha256:{}", "ab".repeat(32));
        let sha512 = format!("sha512:{}", "cd".repeat(64));
        for text in [&sha256, &sha512] {
            let digest: ContentDigest = text.parse().unwrap();
            assert_eq!(digest.to_string(), *text);
            assert_eq!(ContentDigest::from_file_name(&digest.file_name()), Some(digest));
        }
        for bad in [
            "",
            "sha512:",
            "sha512:ab",
            &sha512.to_uppercase(),
            &sha512.replace("cd", "CD"),
            &format!("{sha512}00"),
            &sha256.replace("sha256", "sha384"),
            &sha256.replace("sha256", "sha512"),
            "sha512:../../etc/passwd",
        ] {
            assert_eq!(
                bad.parse::<ContentDigest>().unwrap_err().code(),
                "DIGEST_INVALID",
                "{bad}"
            );
        }
    }
}
