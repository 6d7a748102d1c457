//! The gate on the road of an intent: facts and policies give a decision; a denial ends the road and is recorded, unless
//! somebody takes it on themselves with a reason where that is possible.

use std::collections::BTreeMap;
use std::sync::Arc;

use fermion_model::release::Route;
use fermion_model::{AppName, Namespace};
use fermion_package::policy::{
    Action, Decision, Evidence, Gate, POLICY_DENIED, Place, PolicyFacts, Question, SECRET_FOUND, Subject,
    Verdict,
};

use crate::decisions::Decided;
use crate::limits::OVERRIDE_REASON_BYTES_MAX;
use crate::{Control, Error};

/// Who asks for what.
pub(super) struct Applicant<'a> {
    pub(super) namespace: &'a Namespace,
    pub(super) app: &'a AppName,
    pub(super) by: &'a str,
    pub(super) action: Action,
    pub(super) routes: &'a [Route],
    pub(super) config: &'a BTreeMap<String, String>,
}

impl Applicant<'_> {
    fn question(&self) -> Question {
        Question {
            by: self.by.to_owned(),
            action: self.action,
            namespace: self.namespace.clone(),
            app: self.app.clone(),
            hosts: self
                .routes
                .iter()
                .filter_map(|route| route.host.clone())
                .collect(),
            paths: self.routes.iter().map(|route| route.path.clone()).collect(),
            config_keys: self.config.keys().cloned().collect(),
        }
    }
}

impl Control {
    /// Asks the policies. What comes back may go on, and must be recorded together with what it admits.
    pub(super) async fn admit(
        &self,
        applicant: Applicant<'_>,
        mut evidence: Evidence,
        override_reason: Option<String>,
    ) -> Result<Decided, Error> {
        let override_reason = override_reason
            .map(|reason| checked_reason(&reason))
            .transpose()?;
        let (gate, question, node, now) = (
            Arc::clone(&self.shared.parts.gate),
            applicant.question(),
            self.config().node.clone(),
            self.now(),
        );
        let config = applicant.config.clone();
        let decide = move || {
            for (key, value) in &config {
                evidence.scan.text(&format!("config {key}"), value.as_bytes());
            }
            let facts = gate.weigh(evidence, now)?;
            decide(&gate, &facts, &question, node).map(|decision| (decision, facts))
        };
        let decided = tokio::task::spawn_blocking(decide).await;
        let (decision, facts) = decided.map_err(|_| Error::Stopped {
            doing: "ask the policies",
        })??;
        let passes_by = decision.verdict == Verdict::Deny && decision.is_overridable();
        let decided = Decided {
            at: now,
            by: applicant.by.to_owned(),
            action: applicant.action,
            namespace: applicant.namespace.clone(),
            app: applicant.app.clone(),
            override_reason: override_reason.filter(|_| passes_by),
            decision,
            facts,
        };
        let Decided { decision, facts, .. } = &decided;
        let (namespace, app, outcome) = (applicant.namespace, applicant.app, decided.outcome());
        match outcome {
            "allow" => {
                tracing::debug!(%namespace, %app, digest = %facts.digest, policy_hash = %decision.policy_hash, "admitted");
            }
            _ => tracing::warn!(
                %namespace, %app, digest = %facts.digest, policy_hash = %decision.policy_hash, outcome, by = decided.by,
                reason = decided.override_reason, explanation = decision.explanation(), "policies deny"
            ),
        }
        let code = match (outcome, decision.code.as_deref()) {
            ("override", _) => Some("POLICY_OVERRIDDEN"),
            ("deny", Some(SECRET_FOUND)) => Some(SECRET_FOUND),
            ("deny", _) => Some(POLICY_DENIED),
            _ => None,
        };
        if let Some(code) = code {
            (self.shared.parts.count)(code);
        }
        if outcome == "deny" {
            self.record_denial(&decided).await?;
            return Err(Error::Denied {
                decision: Box::new(decided.decision),
            });
        }
        Ok(decided)
    }
}

/// Admission, and then whether there is a node that may run it.
fn decide(
    gate: &Gate,
    facts: &PolicyFacts,
    question: &Question,
    node: String,
) -> Result<Decision, fermion_package::Error> {
    let policies = gate.policies()?;
    let admission = policies.decide(facts, question);
    if admission.verdict == Verdict::Deny {
        return Ok(admission);
    }
    let subject = Subject {
        namespace: question.namespace.as_str(),
        app: question.app.as_str(),
        package: &facts.name,
        version: &facts.version,
        digest: facts.digest,
    };
    let place = Place {
        node,
        labels: Default::default(),
    };
    let placement = policies.place(&subject, &place);
    Ok(if placement.verdict == Verdict::Deny {
        placement
    } else {
        admission
    })
}

fn checked_reason(reason: &str) -> Result<String, Error> {
    let reason = reason.trim();
    if reason.is_empty() || reason.len() > OVERRIDE_REASON_BYTES_MAX || reason.chars().any(char::is_control) {
        let what =
            format!("override_policy must say why, in 1 to {OVERRIDE_REASON_BYTES_MAX} bytes on one line");
        return Err(Error::Request { what });
    }
    Ok(reason.to_owned())
}
