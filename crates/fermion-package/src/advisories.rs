//! What is publicly known against the crates in a package: the package's own bill of materials, held against a copy of
//! the RustSec advisory database that lies in a folder. Never goes to a network; how old the copy is, is a fact too.

use std::collections::BTreeSet;
use std::path::Path;

use rustsec::advisory::Severity;
use rustsec::database::Query;
use rustsec::{Advisory, Database};
use serde_json::Value;
use wasmparser::{Parser, Payload};

use crate::limits::{ADVISORY_HITS_SHOWN_MAX, CRATE_LIST_BYTES_MAX, CRATES_MAX};
use crate::policy::{AdvisoryFacts, AdvisoryHit, DatabaseState};

/// The section that `cargo auditable` leaves.
const AUDITABLE: &str = ".dep-v0";
const DAY_SECONDS: u64 = 24 * 60 * 60;

/// Crates by name and version.
pub type CrateList = BTreeSet<(String, semver::Version)>;

/// The crates that a component names itself; none if it does not, or not legibly.
pub fn crates_of_component(wasm: &[u8]) -> Option<CrateList> {
    let section = Parser::new(0)
        .parse_all(wasm)
        .map_while(Result::ok)
        .find_map(|payload| match payload {
            Payload::CustomSection(section) if section.name() == AUDITABLE => Some(section.data()),
            _ => None,
        })?;
    // The reader knows core modules only: it gets one with nothing but the section.
    let section = wasm_encoder::CustomSection {
        name: AUDITABLE.into(),
        data: section.into(),
    };
    let mut module = wasm_encoder::Module::new();
    module.section(&section);
    let info = auditable_info::audit_info_from_slice(&module.finish(), CRATE_LIST_BYTES_MAX).ok()?;
    let crates = info.packages.into_iter().take(CRATES_MAX);
    Some(crates.map(|package| (package.name, package.version)).collect())
}

/// The crates of a CycloneDX document; none if it is not one, or is too large.
pub fn crates_of_sbom(bytes: &[u8]) -> Option<CrateList> {
    if bytes.len() > CRATE_LIST_BYTES_MAX {
        return None;
    }
    let document: Value = serde_json::from_slice(bytes).ok()?;
    let components = document.get("components")?.as_array()?;
    let one = |component: &Value| {
        let text = |key: &str| component.get(key).and_then(Value::as_str);
        // `excluded` is what takes part in the build and is not in its outcome.
        if !text("purl")?.starts_with("pkg:cargo/") || text("scope") == Some("excluded") {
            return None;
        }
        Some((text("name")?.to_owned(), text("version")?.parse().ok()?))
    };
    Some(components.iter().take(CRATES_MAX).filter_map(one).collect())
}

/// Holds crates against the database in a folder, at `now` (seconds since the Unix epoch).
pub fn facts(folder: &Path, crates: Option<&CrateList>, now: u64) -> AdvisoryFacts {
    let mut facts = AdvisoryFacts {
        crates_known: crates.is_some(),
        ..AdvisoryFacts::default()
    };
    if !folder.exists() {
        return facts;
    }
    let database = match Database::open(folder) {
        Ok(database) => database,
        Err(error) => {
            tracing::error!(%error, folder = %folder.display(), "the advisory database cannot be read");
            facts.database = DatabaseState::Unreadable;
            return facts;
        }
    };
    facts.database = DatabaseState::Present;
    let newest = database
        .iter()
        .filter_map(|advisory| day_of(advisory.date().as_str()))
        .max();
    facts.database_age_days = newest.map(|newest| (now / DAY_SECONDS).saturating_sub(newest));
    for (name, version) in crates.into_iter().flatten() {
        let (Ok(package), Ok(exact)) = (name.parse(), version.to_string().parse()) else {
            continue;
        };
        let query = Query::new()
            .collection(rustsec::Collection::Crates)
            .withdrawn(false)
            .package_name(package)
            .package_version(exact);
        for advisory in database.query(&query) {
            let severity = severity(advisory);
            *counter(&mut facts, severity) += 1;
            facts.hits.insert(AdvisoryHit {
                id: advisory.id().to_string(),
                package: name.clone(),
                version: version.to_string(),
                severity: severity.to_owned(),
            });
        }
    }
    // The worst are kept.
    let mut hits: Vec<AdvisoryHit> = std::mem::take(&mut facts.hits).into_iter().collect();
    hits.sort_by_key(|hit| SEVERITIES.iter().position(|severity| *severity == hit.severity));
    facts.hits = hits.into_iter().take(ADVISORY_HITS_SHOWN_MAX).collect();
    facts
}

/// Worst first.
const SEVERITIES: [&str; 6] = ["critical", "high", "unscored", "medium", "low", "informational"];

fn severity(advisory: &Advisory) -> &'static str {
    if advisory.metadata.informational.is_some() {
        return "informational";
    }
    match advisory.severity() {
        Some(Severity::Critical) => "critical",
        Some(Severity::High) => "high",
        Some(Severity::Medium) => "medium",
        Some(Severity::Low | Severity::None) => "low",
        None => "unscored",
    }
}

fn counter<'a>(facts: &'a mut AdvisoryFacts, severity: &str) -> &'a mut u64 {
    match severity {
        "critical" => &mut facts.critical,
        "high" => &mut facts.high,
        "medium" => &mut facts.medium,
        "low" => &mut facts.low,
        "informational" => &mut facts.informational,
        _ => &mut facts.unscored,
    }
}

/// Days since the Unix epoch of `2026-11-21`.
fn day_of(text: &str) -> Option<u64> {
    let date: jiff::civil::Date = text.parse().ok()?;
    let start = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    u64::try_from(start.timestamp().as_second())
        .ok()
        .map(|seconds| seconds / DAY_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_219_200;

    fn database(folder: &Path) {
        let write = |id: &str, package: &str, more: &str| {
            let place = folder.join("crates").join(package);
            std::fs::create_dir_all(&place).unwrap();
            let text = format!(
                "```toml\n[advisory]\nid = \"{id}\"\npackage = \"{package}\"\ndate = \"2026-11-11\"\n{more}\n\
                 [versions]\npatched = [\">= 1.2.0\"]\n```\n\n# A title\n\nWords.\n"
            );
            std::fs::write(place.join(format!("{id}.md")), text).unwrap();
        };
        write(
            "RUSTSEC-2026-0001",
            "leaky",
            "cvss = \"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H\"",
        );
        write("RUSTSEC-2026-0002", "leaky", "");
        write("RUSTSEC-2026-0003", "tired", "informational = \"unmaintained\"");
        write("RUSTSEC-2026-0004", "gone", "withdrawn = \"2026-11-12\"");
    }

    fn list(crates: &[(&str, &str)]) -> CrateList {
        crates
            .iter()
            .map(|(name, version)| ((*name).to_owned(), version.parse().unwrap()))
            .collect()
    }

    #[test]
    fn crates_are_held_against_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let missing = facts(&folder.path().join("none"), None, NOW);
        assert_eq!(
            (missing.database, missing.crates_known),
            (DatabaseState::Missing, false)
        );
        assert_eq!(
            facts(folder.path(), None, NOW).database,
            DatabaseState::Unreadable
        );
        database(folder.path());
        let found = facts(
            folder.path(),
            Some(&list(&[
                ("leaky", "1.1.9"),
                ("tired", "1.0.0"),
                ("gone", "1.0.0"),
                ("other", "1.0.0"),
            ])),
            NOW,
        );
        assert_eq!(
            (found.critical, found.unscored, found.informational, found.high),
            (1, 1, 1, 0)
        );
        assert_eq!((found.database_age_days, found.crates_known), (Some(10), true));
        assert_eq!(found.hits.len(), 3);
        let patched = facts(folder.path(), Some(&list(&[("leaky", "1.2.0")])), NOW);
        assert_eq!((patched.critical, patched.hits.len()), (0, 0));
        std::fs::write(folder.path().join("crates/leaky/RUSTSEC-2026-0001.md"), "nothing").unwrap();
        assert_eq!(
            facts(folder.path(), None, NOW).database,
            DatabaseState::Unreadable
        );
    }

    #[test]
    fn lists_of_crates_are_read_from_sbom_and_component() {
        let sbom = br#"{"bomFormat": "CycloneDX", "components": [
            {"name": "leaky", "version": "1.1.9", "purl": "pkg:cargo/leaky@1.1.9"},
            {"name": "builder", "version": "1.0.0", "purl": "pkg:cargo/builder@1.0.0", "scope": "excluded"},
            {"name": "left-pad", "version": "1.0.0", "purl": "pkg:npm/left-pad@1.0.0"}]}"#;
        assert_eq!(crates_of_sbom(sbom), Some(list(&[("leaky", "1.1.9")])));
        assert_eq!(crates_of_sbom(b"{}"), None);
        assert_eq!(crates_of_component(b"\0asm"), None);
        let damaged = wat::parse_str("(component (core module (@custom \".dep-v0\" \"not zlib\")))").unwrap();
        assert_eq!(crates_of_component(&damaged), None);
    }
}
