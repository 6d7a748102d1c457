//! What is looked for in a package once it is verified, before the operators' lists are held against it: its measured
//! facts, what looks like a secret, which crates it is made of, and what trusted builders say of it. Made once a
//! package, off the reactor.

use std::path::Path;

use serde_json::Value;

use super::{PolicyFacts, ProvenanceFacts};
use crate::advisories::{self, CrateList, crates_of_component, crates_of_sbom};
use crate::secrets::{AllowList, Scan};
use crate::{Result, Store, Trust, VerifiedPackage, When, attestations};

const DAY_SECONDS: u64 = 24 * 60 * 60;
/// The longest builder or source that is kept, in characters: both are URIs that others wrote.
const URI_CHARS_MAX: usize = 512;

/// Everything that was found in one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Measured.
    pub facts: PolicyFacts,
    /// What looks like a secret; a deploy adds the config values.
    pub scan: Scan,
    /// What it is made of, if it says so.
    pub crates: Option<CrateList>,
    /// When it was built, in seconds since the Unix epoch, if a trusted builder says so.
    pub built_at: Option<u64>,
}

impl Evidence {
    /// Measured facts, and nothing found.
    pub fn of(facts: PolicyFacts) -> Self {
        Self {
            facts,
            scan: Scan::default(),
            crates: None,
            built_at: None,
        }
    }

    /// Looks through a verified package and what is attached to it.
    ///
    /// # Errors
    /// `SIZE_EXCEEDED` if its facts are too large to keep, and the store's own.
    pub fn gather(store: &Store, package: &VerifiedPackage, trust: &Trust, when: When) -> Result<Self> {
        let mut evidence = Self::of(PolicyFacts::of(package)?);
        evidence.scan.component(&package.wasm);
        let contract = (&evidence.facts.capabilities, &evidence.facts.telemetry);
        let contract = serde_json::to_vec(&contract).unwrap_or_default();
        evidence.scan.text("the contract", &contract);
        let attached = attestations(store, &package.name, &package.digest, trust, when)?;
        evidence.crates = match &attached.sbom {
            Some(sbom) => crates_of_sbom(&sbom.bytes),
            None => crates_of_component(&package.wasm),
        };
        evidence.facts.sbom = attached.sbom.is_some() || evidence.crates.is_some();
        if let Some(provenance) = attached.provenance.first() {
            let text = |pointer: &str| text(&provenance.predicate, pointer);
            evidence.facts.provenance = ProvenanceFacts {
                verified: true,
                builder: text("/runDetails/builder/id"),
                source: text("/buildDefinition/resolvedDependencies/0/uri"),
            };
            let finished = text("/runDetails/metadata/finishedOn");
            evidence.built_at = finished
                .and_then(|time| time.parse::<jiff::Timestamp>().ok())
                .and_then(|time| u64::try_from(time.as_second()).ok());
        }
        Ok(evidence)
    }

    /// The facts under an operator's lists, at `now` (seconds since the Unix epoch). Blocks.
    ///
    /// # Errors
    /// `POLICY_INVALID` for a list of allowed findings that is none, and `SIZE_EXCEEDED`.
    pub fn weigh(self, policy_folder: &Path, advisories_folder: &Path, now: u64) -> Result<PolicyFacts> {
        let Self {
            mut facts,
            scan,
            crates,
            built_at,
        } = self;
        facts.secrets = scan.facts(&AllowList::read(policy_folder)?, now);
        facts.advisories = advisories::facts(advisories_folder, crates.as_ref(), now);
        facts.build_age_days = built_at.map(|built_at| now.saturating_sub(built_at) / DAY_SECONDS);
        facts.check_size()?;
        Ok(facts)
    }
}

fn text(document: &Value, pointer: &str) -> Option<String> {
    let text = document.pointer(pointer)?.as_str()?;
    Some(
        text.chars()
            .filter(|c| !c.is_control())
            .take(URI_CHARS_MAX)
            .collect(),
    )
}
