//! Findings that are none: a list by rule and by the hash of what matched, each entry until a day. It belongs to whoever
//! runs the gate and lies with the policies; a package cannot bring its own.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use fermion_model::Digest;
use serde::Deserialize;

use crate::limits::{ALLOWED_SECRETS_MAX, POLICY_FILE_BYTES_MAX};
use crate::{Error, Result};

/// The list's name in the policy folder.
pub const ALLOW_FILE: &str = "secrets-allow.json";

/// What is known to be no secret.
#[derive(Debug, Clone, Default)]
pub struct AllowList {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    rule: String,
    fingerprint: Digest,
    /// Seconds since the Unix epoch.
    until: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    allow: Vec<Line>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    rule: String,
    sha256: String,
    /// `2027-01-31`: the first day on which it no longer holds.
    until: String,
    /// Why it is none; for people.
    reason: String,
}

impl AllowList {
    /// Reads the list of a policy folder; one that is not there allows nothing.
    ///
    /// # Errors
    /// `POLICY_INVALID` for a list that is none: half a list must not pass for the whole.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(ALLOW_FILE);
        let mut text = String::new();
        match fs::File::open(&path) {
            Ok(file) => file.take(POLICY_FILE_BYTES_MAX + 1).read_to_string(&mut text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => Err(error),
        }
        .map_err(Error::io("read", &path))?;
        Self::parse(&text).map_err(|(line, why)| Error::PolicyInvalid { path, line, why })
    }

    fn parse(text: &str) -> Result<Self, (Option<usize>, String)> {
        if text.len() as u64 > POLICY_FILE_BYTES_MAX {
            return Err((None, format!("it has more than {POLICY_FILE_BYTES_MAX} bytes")));
        }
        let document: Document =
            serde_json::from_str(text).map_err(|why| (Some(why.line()), why.to_string()))?;
        if document.allow.len() > ALLOWED_SECRETS_MAX {
            return Err((None, format!("it has more than {ALLOWED_SECRETS_MAX} entries")));
        }
        let entry = |line: Line| {
            if line.reason.trim().is_empty() {
                return Err((None, format!("an entry for {} gives no reason", line.rule)));
            }
            let text = line.sha256.strip_prefix("sha256:").unwrap_or(&line.sha256);
            let fingerprint = format!("sha256:{text}")
                .parse::<Digest>()
                .map_err(|why| (None, why.to_string()))?;
            let day: jiff::civil::Date = line.until.parse().map_err(|_| {
                let why = format!("until is {:?}, not a day such as 2027-01-31", line.until);
                (None, why)
            })?;
            let until = day
                .to_zoned(jiff::tz::TimeZone::UTC)
                .map_err(|why| (None, why.to_string()))?;
            Ok(Entry {
                rule: line.rule,
                fingerprint,
                until: u64::try_from(until.timestamp().as_second()).unwrap_or(0),
            })
        };
        let entries = document.allow.into_iter().map(entry).collect::<Result<_, _>>()?;
        Ok(Self { entries })
    }

    /// True if this match of this rule is allowed at `now`.
    pub fn allows(&self, rule: &str, fingerprint: &Digest, now: u64) -> bool {
        let holds =
            |entry: &Entry| entry.rule == rule && entry.fingerprint == *fingerprint && now < entry.until;
        self.entries.iter().any(holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_holds_for_its_rule_its_match_and_its_time() {
        let (hash, other) = ("ab".repeat(32), "cd".repeat(32));
        let text = format!(
            r#"{{"allow": [{{"rule": "jwt", "sha256": "{hash}", "until": "2026-12-01", "reason": "a test vector"}}]}}"#
        );
        let list = AllowList::parse(&text).unwrap();
        let of = |hex: &str| format!("sha256:{hex}").parse::<Digest>().unwrap();
        let midnight = 1_796_083_200;
        assert!(list.allows("jwt", &of(&hash), midnight - 1));
        assert!(!list.allows("jwt", &of(&hash), midnight));
        assert!(!list.allows("private-key", &of(&hash), 0));
        assert!(!list.allows("jwt", &of(&other), 0));
        for (from, to) in [
            ("reason", "why"),
            ("a test vector", " "),
            ("2026-12-01", "soon"),
            (&hash[..4], "zz"),
        ] {
            assert!(AllowList::parse(&text.replacen(from, to, 1)).is_err(), "{to}");
        }
    }
}
