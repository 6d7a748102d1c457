//! Secrets that were left in a package: a component's bytes, the memory it starts with, and texts that go with it. Says
//! by which rule and where, and never what: a finding holds no part of a match. Time is linear in what is scanned, and
//! memory a small multiple of it.

mod allow;
mod decode;
mod image;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use fermion_model::Digest;
use serde::{Deserialize, Serialize};

pub use allow::{ALLOW_FILE, AllowList};

use crate::canonical::digest;
use crate::limits::{SECRET_FINDINGS_MAX, SECRET_FINDINGS_SHOWN_MAX};
use crate::{Error, Result};

/// Where a rule found something; never what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// The rule.
    pub rule: String,
    /// The section, the config key, or the document.
    pub place: String,
    /// Bytes from the start of the component, or of the text.
    pub offset: u64,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {} at byte {}", self.rule, self.place, self.offset)
    }
}

/// What a finding means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// It has the form of a credential of a known kind.
    Blocking,
    /// A name that promises a secret, and a value.
    Warning,
}

/// A finding with what an allow-list needs to name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Found {
    /// What it means.
    pub weight: Weight,
    /// Where.
    #[serde(flatten)]
    pub finding: Finding,
    /// The SHA-256 of what matched. Shown only to who asks for it in order to allow it.
    pub fingerprint: Digest,
}

/// What a scan found, each place once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    found: BTreeSet<Found>,
    /// Credentials and doubts so far: each kind has its own ceiling, so that neither can hide the other.
    blocking: usize,
    warnings: usize,
    /// True if there were more credentials than are kept: what was not kept may be on no list.
    overflowed: bool,
}

/// The rule that only warns.
pub const GENERIC: &str = "generic-secret";
/// The rule of a scan that gave up counting.
const OVERFLOW: &str = "too-many-findings";

impl Scan {
    /// Looks through a component: every byte of it, the memory images of its modules, and what is in them as base64 or
    /// UTF-16.
    pub fn component(&mut self, wasm: &[u8]) {
        let places = image::Places::of(wasm);
        self.bytes(wasm, &|at| (places.name(at), at));
        for image in places.images(wasm) {
            self.bytes(&image.bytes, &|at| image.origin(at));
        }
    }

    /// Looks through a text: a config value, a document. `place` names it.
    pub fn text(&mut self, place: &str, text: &[u8]) {
        self.bytes(text, &|at| (place.to_owned(), at));
    }

    /// `place` says for a byte where it comes from.
    fn bytes(&mut self, bytes: &[u8], place: &dyn Fn(usize) -> (String, usize)) {
        self.plain(bytes, Weight::Warning, "", place);
        for decoded in decode::base64(bytes) {
            self.plain(&decoded.bytes, Weight::Blocking, " (base64)", &|at| {
                place(decoded.origin(at))
            });
        }
        for decoded in decode::utf16(bytes) {
            self.plain(&decoded.bytes, Weight::Blocking, " (UTF-16)", &|at| {
                place(decoded.origin(at))
            });
        }
    }

    /// Looks for what has at least the weight `least`.
    fn plain(&mut self, bytes: &[u8], least: Weight, how: &str, place: &dyn Fn(usize) -> (String, usize)) {
        let mut add = |weight, rule: &str, range: std::ops::Range<usize>| {
            let (name, offset) = place(range.start);
            let finding = Finding {
                rule: rule.to_owned(),
                place: format!("{name}{how}"),
                offset: offset as u64,
            };
            let found = Found {
                weight,
                finding,
                fingerprint: digest(&bytes[range]),
            };
            let count = match weight {
                Weight::Blocking => &mut self.blocking,
                Weight::Warning => &mut self.warnings,
            };
            if *count >= SECRET_FINDINGS_MAX {
                self.overflowed |= weight == Weight::Blocking && !self.found.contains(&found);
                return false;
            }
            *count += usize::from(self.found.insert(found));
            true
        };
        rules::tokens(bytes, &mut |rule, range| add(Weight::Blocking, rule, range));
        if least == Weight::Warning {
            rules::generic(bytes, &mut |rule, range| add(Weight::Warning, rule, range));
        }
    }

    /// Everything that was found.
    pub fn found(&self) -> impl Iterator<Item = &Found> {
        self.found.iter()
    }

    /// Counts, with what the list allows at `now` (seconds since the Unix epoch) taken out.
    pub fn facts(&self, allow: &AllowList, now: u64) -> crate::policy::SecretFacts {
        let mut facts = crate::policy::SecretFacts::default();
        for found in &self.found {
            if allow.allows(&found.finding.rule, &found.fingerprint, now) {
                facts.allowed += 1;
                continue;
            }
            match found.weight {
                Weight::Blocking => facts.blocking += 1,
                Weight::Warning => facts.warnings += 1,
            }
            facts.rules.insert(found.finding.rule.clone());
            if facts.findings.len() < SECRET_FINDINGS_SHOWN_MAX {
                facts.findings.insert(found.finding.clone());
            }
        }
        if self.overflowed {
            facts.blocking += 1;
            facts.rules.insert(OVERFLOW.to_owned());
        }
        facts
    }

    /// Refuses what blocks and is not allowed.
    ///
    /// # Errors
    /// `SECRET_FOUND` with rules and places.
    pub fn check(&self, allow: &AllowList, now: u64) -> Result<()> {
        let blocks = |found: &&Found| {
            found.weight == Weight::Blocking && !allow.allows(&found.finding.rule, &found.fingerprint, now)
        };
        let found = self.found.iter().filter(blocks);
        let overflow = self.overflowed.then(|| Finding {
            rule: OVERFLOW.to_owned(),
            place: "the whole".to_owned(),
            offset: 0,
        });
        let findings: Vec<Finding> = found.map(|found| found.finding.clone()).chain(overflow).collect();
        if findings.is_empty() {
            Ok(())
        } else {
            Err(Error::SecretFound { findings })
        }
    }
}
