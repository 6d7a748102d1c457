//! The trust root document as it is written down: canonical JSON in a DSSE envelope. Reads strictly: an unknown key, an
//! id that is not its key's, a threshold that nobody could meet, a key that could both sign packages and vouch for
//! their origin are refused, because whoever wrote them meant something that would not happen.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use fermion_model::{Digest, PackageName};
use serde::{Deserialize, Serialize};

use crate::limits::{REASON_CHARS_MAX, TRUST_PATTERNS_MAX, TRUSTED_KEYS_MAX};
use crate::{PublicKey, canonical};

/// The format that this version reads and writes.
pub const ROOT_SCHEMA: u32 = 1;
/// What the envelope says its payload is.
pub const ROOT_TYPE: &str = "application/vnd.fermion.trust-root.v1+json";

/// What a key may sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Trust root documents.
    Root,
    /// Packages.
    Package,
    /// Statements about where a package comes from.
    Provenance,
    /// Channel documents.
    Channel,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Root, Self::Package, Self::Provenance, Self::Channel];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Package => "package",
            Self::Provenance => "provenance",
            Self::Channel => "channel",
        }
    }
}

impl Role {
    /// What a holder of the role does to add a signature.
    pub(super) const fn how_to_sign(self) -> &'static str {
        match self {
            Self::Root => "run `fermion trust sign`",
            Self::Package => "run `fermion sign`",
            Self::Provenance => "attest it, too",
            Self::Channel => "run `fermion channel publish --key NAME` for the same package",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is no role: root, package, provenance, channel"))
    }
}

/// A time in whole seconds, written as `2026-11-21T04:00:00Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(i64);

impl Moment {
    /// Without the part of a second.
    pub fn of(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        Self(since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX)))
    }

    /// Seconds since the Unix epoch; 0 before it.
    pub fn unix_seconds(self) -> u64 {
        u64::try_from(self.0).unwrap_or(0)
    }

    /// This much later.
    #[must_use]
    pub fn plus(self, time: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(time.as_secs()).unwrap_or(i64::MAX)),
        )
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.0) {
            Ok(time) => write!(f, "{time}"),
            Err(_) => write!(f, "the end of time"),
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time: jiff::Timestamp = text
            .parse()
            .map_err(|_| format!("{text:?} is no time such as 2026-11-21T04:00:00Z"))?;
        Ok(Self(time.as_second()))
    }
}

impl Serialize for Moment {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Which package names: `acme/hello`, everything under `acme/*`, or `*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamePattern(String);

impl NamePattern {
    /// Whether `name` is one of them.
    pub fn covers(&self, name: &PackageName) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => name.as_str().starts_with(prefix),
            None => name.as_str() == self.0,
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for NamePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.strip_suffix("/*").unwrap_or(text);
        if text != "*" {
            name.parse::<PackageName>().map_err(|_| {
                format!("{text:?} is neither a package name, nor one with /* behind it, nor *")
            })?;
        }
        Ok(Self(text.to_owned()))
    }
}

impl Serialize for NamePattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for NamePattern {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Who is trusted with what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RootDocument {
    /// The format.
    pub schema: u32,
    /// Counts up with every change.
    pub serial: u64,
    /// After this, nothing new is let in until there is a new document.
    pub expires: Moment,
    /// For how long after that packages that were let in go on: seconds.
    pub grace_seconds: u64,
    /// The keys, also those that are revoked.
    pub keys: Vec<KeyEntry>,
    /// How many different keys must have signed.
    #[serde(default)]
    pub thresholds: Thresholds,
    /// Packages that are let in only if a channel names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<NamePattern>,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct KeyEntry {
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub id: Digest,
    /// What people call it.
    pub name: String,
    /// The public key.
    pub pem: String,
    /// What it may sign.
    pub roles: BTreeSet<Role>,
    /// From when on; always, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Moment>,
    /// Until when; for ever, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Moment>,
    /// Which packages; all, if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<NamePattern>,
    /// Set once it must not count any more, whenever it signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Revocation>,
}

/// When and why a key was revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// When.
    pub at: Moment,
    /// Why.
    pub reason: String,
}

/// How many different keys must have signed, by what is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Thresholds {
    /// A trust root document.
    pub root: u32,
    /// A package.
    pub package: u32,
    /// A provenance statement.
    pub provenance: u32,
    /// A channel document.
    pub channel: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            root: 1,
            package: 1,
            provenance: 1,
            channel: 1,
        }
    }
}

impl Thresholds {
    /// The one of a role.
    pub const fn of(&self, role: Role) -> u32 {
        match role {
            Role::Root => self.root,
            Role::Package => self.package,
            Role::Provenance => self.provenance,
            Role::Channel => self.channel,
        }
    }
}

impl KeyEntry {
    /// An entry of a key without windows.
    pub fn new(name: &str, key: &PublicKey, roles: impl IntoIterator<Item = Role>) -> Self {
        Self {
            id: key.id(),
            name: name.to_owned(),
            pem: key.to_pem(),
            roles: roles.into_iter().collect(),
            not_before: None,
            not_after: None,
            names: Vec::new(),
            revoked: None,
        }
    }

    /// The key itself, checked against its id.
    pub(super) fn key(&self) -> Result<PublicKey, String> {
        let key = PublicKey::from_pem(&self.pem, Path::new(&self.name)).map_err(|why| why.to_string())?;
        if key.id() != self.id {
            return Err(format!(
                "key {:?} has the id {}, not {}",
                self.name,
                key.id(),
                self.id
            ));
        }
        Ok(key)
    }

    fn check(&self) -> Result<(), String> {
        let Self { name, roles, .. } = self;
        crate::keys::check_key_name(name)?;
        if roles.is_empty() {
            return Err(format!("key {name:?} has no role"));
        }
        if roles.contains(&Role::Package) && roles.contains(&Role::Provenance) {
            return Err(format!(
                "key {name:?} may sign packages and say where they come from; these must be different keys"
            ));
        }
        if let (Some(from), Some(until)) = (self.not_before, self.not_after)
            && from >= until
        {
            return Err(format!(
                "key {name:?} is valid from {from} until {until}, which is never"
            ));
        }
        if self.names.len() > TRUST_PATTERNS_MAX {
            return Err(format!(
                "key {name:?} has more than {TRUST_PATTERNS_MAX} name patterns"
            ));
        }
        if self
            .revoked
            .as_ref()
            .is_some_and(|revoked| revoked.reason.contains(char::is_control))
        {
            return Err(format!(
                "the reason why {name:?} is revoked must be one line of plain text"
            ));
        }
        if let Some(revoked) = &self.revoked
            && revoked.reason.chars().count() > REASON_CHARS_MAX
        {
            return Err(format!(
                "the reason why {name:?} is revoked has more than {REASON_CHARS_MAX} characters"
            ));
        }
        Ok(())
    }
}

impl RootDocument {
    /// Reads a document's own bytes. The refusal says what is wrong.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let document: Self = serde_json::from_slice(bytes).map_err(|why| why.to_string())?;
        document.check()?;
        Ok(document)
    }

    /// Its canonical bytes.
    pub fn write(&self) -> Vec<u8> {
        canonical::json(self)
    }

    /// The key of this name.
    pub fn key_mut(&mut self, name: &str) -> Option<&mut KeyEntry> {
        self.keys.iter_mut().find(|key| key.name == name)
    }

    fn check(&self) -> Result<(), String> {
        if self.schema != ROOT_SCHEMA {
            return Err(format!(
                "schema {}, this version reads {ROOT_SCHEMA}",
                self.schema
            ));
        }
        if self.serial == 0 {
            return Err("serial 0 stands for the absence of a document; begin with 1".to_owned());
        }
        if self.keys.len() > TRUSTED_KEYS_MAX || self.channels.len() > TRUST_PATTERNS_MAX {
            return Err(format!(
                "more than {TRUSTED_KEYS_MAX} keys or {TRUST_PATTERNS_MAX} channel patterns"
            ));
        }
        let (mut ids, mut names) = (BTreeSet::new(), BTreeSet::new());
        for entry in &self.keys {
            entry.check()?;
            entry.key()?;
            if !ids.insert(entry.id) || !names.insert(&entry.name) {
                return Err(format!("key {:?} is listed twice, by name or by id", entry.name));
            }
        }
        for role in Role::ALL {
            let threshold = self.thresholds.of(role);
            let holders = self.keys.iter().filter(|key| key.roles.contains(&role));
            // Only root keys must be able to act: whoever loses their only package key must be able to revoke it.
            let able = holders
                .filter(|key| role != Role::Root || key.revoked.is_none())
                .count();
            if threshold == 0 || (able < threshold as usize && (able > 0 || role == Role::Root)) {
                return Err(format!("{threshold} {role} keys must sign, and {able} may"));
            }
        }
        Ok(())
    }
}
