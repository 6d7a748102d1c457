//! Tests of policies, written beside them: facts that differ from those of an ordinary package in what is named, and
//! the verdict that is expected.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Action, Decision, Place, Policies, PolicyFacts, Question, Subject, Verdict};
use crate::limits::CASES_MAX;
use crate::{Error, Result};

/// A small signed package that the default policy admits: what a case does not name is as here.
const BASELINE: &[u8] = include_bytes!("baseline.json");
/// The default policy's own tests.
pub const DEFAULT_CASES: &str = include_str!("default-tests.json");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default = "deploy")]
    action: Action,
    #[serde(default = "operator")]
    by: String,
    #[serde(default = "namespace")]
    namespace: String,
    #[serde(default = "app")]
    app: String,
    #[serde(default)]
    hosts: BTreeSet<String>,
    #[serde(default)]
    paths: BTreeSet<String>,
    #[serde(default)]
    config_keys: BTreeSet<String>,
    #[serde(default)]
    facts: Value,
    /// Asks about placement on this node instead.
    node: Option<Node>,
    expect: Expected,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Node {
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    verdict: Verdict,
    /// The policies that must have decided, if it matters which.
    policies: Option<BTreeSet<String>>,
}

fn deploy() -> Action {
    Action::Deploy
}

fn operator() -> String {
    "operator".to_owned()
}

fn namespace() -> String {
    "default".to_owned()
}

fn app() -> String {
    "app".to_owned()
}

/// How one case went.
#[derive(Debug, Clone, Serialize)]
pub struct CaseResult {
    /// Its name.
    pub name: String,
    /// Whether the policies said what was expected.
    pub passed: bool,
    /// What they said instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}

/// Asks the policies about every case of a document.
///
/// # Errors
/// `FACTS_INVALID` for a document that is none, with its place.
pub fn run_cases(policies: &Policies, text: &str) -> Result<Vec<CaseResult>> {
    let refuse = |why: String| Error::FactsInvalid { why };
    let document: Document = serde_json::from_str(text).map_err(|why| refuse(why.to_string()))?;
    if document.cases.len() > CASES_MAX {
        return Err(refuse(format!("more than {CASES_MAX} cases")));
    }
    let run = |case: &Case| {
        let decision = ask(policies, case).map_err(|error| match error {
            Error::FactsInvalid { why } => refuse(format!("case {:?}: {why}", case.name)),
            other => other,
        })?;
        Ok(judge(case, &decision))
    };
    document.cases.iter().map(run).collect()
}

fn ask(policies: &Policies, case: &Case) -> Result<Decision> {
    let facts = overlaid(&case.facts)?;
    if let Some(Node { name, labels }) = &case.node {
        let subject = Subject {
            namespace: &case.namespace,
            app: &case.app,
            package: &facts.name,
            version: &facts.version,
            digest: facts.digest,
        };
        let place = Place {
            node: name.clone(),
            labels: labels.clone(),
        };
        return Ok(policies.place(&subject, &place));
    }
    let question = Question {
        by: case.by.clone(),
        action: case.action,
        namespace: case.namespace.parse()?,
        app: case.app.parse()?,
        hosts: case.hosts.clone(),
        paths: case.paths.clone(),
        config_keys: case.config_keys.clone(),
    };
    Ok(policies.decide(&facts, &question))
}

/// The ordinary package with these differences. What follows from others is computed, unless it is named too.
fn overlaid(changes: &Value) -> Result<PolicyFacts> {
    let mut document: Value =
        serde_json::from_slice(BASELINE).map_err(|why| Error::FactsInvalid { why: why.to_string() })?;
    if !changes.is_null() {
        merge(&mut document, changes);
    }
    let mut facts = PolicyFacts::parse(&serde_json::to_vec(&document).unwrap_or_default())?;
    let named = facts.clone();
    facts.derive();
    if changes.get("egress").is_some() {
        facts.egress = named.egress;
    }
    if changes.get("undeclared_imports").is_some() {
        facts.undeclared_imports = named.undeclared_imports;
    }
    Ok(facts)
}

fn merge(base: &mut Value, changes: &Value) {
    match (base, changes) {
        (Value::Object(base), Value::Object(changes)) => {
            for (key, change) in changes {
                merge(base.entry(key.clone()).or_insert(Value::Null), change);
            }
        }
        (base, change) => *base = change.clone(),
    }
}

fn judge(case: &Case, decision: &Decision) -> CaseResult {
    let failed = decision.failed.iter().map(|failed| failed.id.clone());
    let decided: BTreeSet<String> = failed
        .chain(decision.policies.iter().map(|policy| policy.id.clone()))
        .collect();
    let by_whom = case.expect.policies.as_ref();
    let passed =
        decision.verdict == case.expect.verdict && by_whom.is_none_or(|expected| *expected == decided);
    let found = || {
        let verdict = if decision.verdict == Verdict::Allow {
            "allow"
        } else {
            "deny"
        };
        let names: Vec<String> = decided.iter().cloned().collect();
        format!("{verdict} by [{}]: {}", names.join(", "), decision.explanation())
    };
    CaseResult {
        name: case.name.clone(),
        passed,
        found: (!passed).then(found),
    }
}
