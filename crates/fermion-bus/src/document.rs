//! What is on the bus: keys, values, revisions, and the operations that change them.

use serde::{Serialize, de::DeserializeOwned};

use crate::Error;
use crate::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// One document without its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The bus-wide sequence number of its last change.
    pub revision: u64,
    /// The value.
    pub bytes: Vec<u8>,
}

/// One document with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The bus-wide sequence number of its last change.
    pub revision: u64,
    /// The value.
    pub bytes: Vec<u8>,
}

impl Entry {
    /// The value as the type that the key promises.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        decode(&self.key, &self.bytes)
    }
}

/// What a watcher sees, in the order of revisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The document exists with this value now.
    Put(Entry),
    /// The document is gone.
    Delete {
        /// The key.
        key: String,
        /// The revision of the deletion.
        revision: u64,
    },
    /// Every document that existed when the watch began has been given. Comes once.
    Current,
}

impl Event {
    /// The key of the document; none for `Current`.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Put(entry) => Some(&entry.key),
            Self::Delete { key, .. } => Some(key),
            Self::Current => None,
        }
    }
}

/// What has changed since a revision: each document once, with its newest state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// In the order of revisions; `Put` and `Delete` only.
    pub events: Vec<Event>,
    /// Everything up to here has been looked at.
    pub through: u64,
    /// False if there is more: ask again from `through`.
    pub is_all: bool,
}

/// What must be true of a document for a change to go ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Nothing: the last writer wins.
    Any,
    /// It does not exist.
    Absent,
    /// It exists at exactly this revision.
    Revision(u64),
}

impl Expect {
    /// The expectation that nothing has changed since a read that gave this.
    pub fn unchanged(read: Option<u64>) -> Self {
        read.map_or(Self::Absent, Self::Revision)
    }

    pub(crate) fn holds(self, actual: Option<u64>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => actual.is_none(),
            Self::Revision(revision) => actual == Some(revision),
        }
    }
}

/// One operation of an atomic commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Creates or replaces a document.
    Put {
        /// The key.
        key: String,
        /// The new value.
        bytes: Vec<u8>,
        /// What must be true before.
        expect: Expect,
    },
    /// Removes a document; removing what does not exist is no error under `Expect::Any`.
    Delete {
        /// The key.
        key: String,
        /// What must be true before.
        expect: Expect,
    },
}

impl Op {
    /// A put of `value` as JSON.
    pub fn put_json<T: Serialize>(key: impl Into<String>, value: &T, expect: Expect) -> Result<Self, Error> {
        let key = key.into();
        let bytes = serde_json::to_vec(value).map_err(|source| Error::Encode {
            key: key.clone(),
            source,
        })?;
        Ok(Self::Put { key, bytes, expect })
    }

    /// The key that the operation changes.
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key, .. } => key,
        }
    }

    pub(crate) fn expect(&self) -> Expect {
        match self {
            Self::Put { expect, .. } | Self::Delete { expect, .. } => *expect,
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        check_key(self.key())?;
        match self {
            Self::Put { key, bytes, .. } if bytes.len() > VALUE_BYTES_MAX => Err(Error::ValueTooLarge {
                key: key.clone(),
                bytes: bytes.len(),
            }),
            _ => Ok(()),
        }
    }
}

pub(crate) fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|source| Error::Decode {
        key: key.to_owned(),
        source,
    })
}

/// Keys are what both a file path and a message subject can carry, so that every implementation takes every key.
pub(crate) fn check_key(key: &str) -> Result<(), Error> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'=');
    let segment =
        |s: &str| !s.is_empty() && s.bytes().all(allowed) && !s.starts_with('.') && !s.ends_with('.');
    if key.len() > KEY_BYTES_MAX || !key.split('/').all(segment) {
        return Err(Error::Key {
            key: key.chars().take(80).collect(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_plain_segments() {
        for good in ["a", "apps/default/hello", "releases/a/b/12", "a.b/c_d=e-F"] {
            assert!(check_key(good).is_ok(), "{good}");
        }
        let long = "a".repeat(KEY_BYTES_MAX + 1);
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "a b",
            "a/../b",
            ".a",
            "a.",
            "ä",
            "a*",
            "a>",
            long.as_str(),
        ] {
            assert!(check_key(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn expectations() {
        assert!(Expect::Any.holds(None) && Expect::Any.holds(Some(3)));
        assert!(Expect::Absent.holds(None) && !Expect::Absent.holds(Some(3)));
        assert!(Expect::Revision(3).holds(Some(3)) && !Expect::Revision(3).holds(Some(4)));
        assert!(!Expect::Revision(3).holds(None));
        assert_eq!(Expect::unchanged(None), Expect::Absent);
        assert_eq!(Expect::unchanged(Some(7)), Expect::Revision(7));
    }
}
