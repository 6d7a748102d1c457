//! The record of what the gate decided: one document a decision, written in the same commit as the release it admits,
//! and by itself if it admits none. Facts and the policies' digest are kept with it, so that it can be retraced.

use fermion_api::DecisionView;
use fermion_bus::{Expect, Op};
use fermion_model::{AppName, Digest, Namespace, ReleaseNumber};
use fermion_package::policy::{Action, Decision, PolicyFacts, Verdict};
use serde::{Deserialize, Serialize};

use crate::control::check_schema;
use crate::limits::{CONFLICT_TRIES_MAX, DECISIONS_BYTES_MAX, DECISIONS_KEPT_MAX, DECISIONS_PRUNED_MAX};
use crate::{Control, Error};

/// The schema of `DecisionDocument` that this build writes and understands.
const DECISION_SCHEMA: u32 = 1;
const DECISIONS: &str = "decisions/";

fn prefix(namespace: &Namespace, app: &AppName) -> String {
    format!("{DECISIONS}{namespace}/{app}/")
}

/// One decision on the bus, at `decisions/NAMESPACE/APP/N`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DecisionDocument {
    schema: u32,
    number: u64,
    at: u64,
    by: String,
    action: Action,
    namespace: Namespace,
    app: AppName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    release: Option<ReleaseNumber>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    override_reason: Option<String>,
    decision: Decision,
    facts: PolicyFacts,
}

/// A decision that has been made and not yet recorded.
#[derive(Debug, Clone)]
pub(crate) struct Decided {
    pub(crate) at: u64,
    pub(crate) by: String,
    pub(crate) action: Action,
    pub(crate) namespace: Namespace,
    pub(crate) app: AppName,
    /// Why it goes on although it was denied.
    pub(crate) override_reason: Option<String>,
    pub(crate) decision: Decision,
    pub(crate) facts: PolicyFacts,
}

impl Decided {
    fn document(&self, number: u64, release: Option<ReleaseNumber>) -> DecisionDocument {
        let Self {
            at,
            by,
            action,
            namespace,
            app,
            override_reason,
            decision,
            facts,
        } = self.clone();
        DecisionDocument {
            schema: DECISION_SCHEMA,
            number,
            at,
            by,
            action,
            namespace,
            app,
            release,
            override_reason,
            decision,
            facts,
        }
    }

    /// `allow`, `deny` or `override`.
    pub(crate) fn outcome(&self) -> &'static str {
        outcome(&self.decision, self.override_reason.as_deref())
    }
}

fn outcome(decision: &Decision, override_reason: Option<&str>) -> &'static str {
    match (decision.verdict, override_reason) {
        (Verdict::Allow, _) => "allow",
        (Verdict::Deny, Some(_)) => "override",
        (Verdict::Deny, None) => "deny",
    }
}

impl DecisionDocument {
    fn view(self) -> DecisionView {
        let explanation = match self.decision.verdict {
            Verdict::Allow => "allowed".to_owned(),
            Verdict::Deny => self.decision.explanation(),
        };
        let failed = self.decision.failed.iter().map(|failed| &failed.id);
        let decided = self.decision.policies.iter().map(|policy| &policy.id);
        DecisionView {
            verdict: outcome(&self.decision, self.override_reason.as_deref()).to_owned(),
            policies: failed.chain(decided).cloned().collect(),
            number: self.number,
            at: self.at,
            by: self.by,
            action: self.action.as_str().to_owned(),
            namespace: self.namespace,
            app: self.app,
            package: self.facts.name.clone(),
            version: self.facts.version.clone(),
            digest: self.facts.digest,
            release: self.release,
            code: self.decision.code,
            explanation,
            override_reason: self.override_reason,
            policy_hash: self.decision.policy_hash,
            facts: serde_json::to_value(&self.facts).unwrap_or_default(),
        }
    }
}

impl Control {
    /// What must be committed to record a decision: the document, and the end of the oldest.
    pub(crate) async fn decision_ops(
        &self,
        decided: &Decided,
        release: Option<ReleaseNumber>,
    ) -> Result<Vec<Op>, Error> {
        let prefix = prefix(&decided.namespace, &decided.app);
        let entries = self.bus().list(&prefix).await?;
        let number = |key: &str| key.strip_prefix(&prefix)?.parse::<u64>().ok();
        let mut kept: Vec<u64> = entries.iter().filter_map(|entry| number(&entry.key)).collect();
        kept.sort_unstable();
        let next = kept.last().map_or(1, |last| last.saturating_add(1));
        let document = decided.document(next, release);
        let mut ops = vec![Op::put_json(
            format!("{prefix}{next}"),
            &document,
            Expect::Absent,
        )?];
        let surplus = (kept.len() + 1).saturating_sub(DECISIONS_KEPT_MAX);
        for old in kept.iter().take(surplus.min(DECISIONS_PRUNED_MAX)) {
            ops.push(Op::Delete {
                key: format!("{prefix}{old}"),
                expect: Expect::Any,
            });
        }
        Ok(ops)
    }

    /// Records a decision that no release comes of.
    pub(crate) async fn record_denial(&self, decided: &Decided) -> Result<(), Error> {
        let _intent = self.shared.intent.lock().await;
        for _ in 0..CONFLICT_TRIES_MAX {
            let ops = self.decision_ops(decided, None).await?;
            match self.bus().commit(ops).await {
                Err(error) if error.is_conflict() => {}
                committed => return Ok(committed.map(drop)?),
            }
        }
        Err(Error::Busy {
            what: "changes to this app",
        })
    }

    /// Decisions, newest first: of one app or of all, on one package or on all. As many as fit into one answer.
    pub async fn decisions(
        &self,
        of: Option<(Namespace, AppName)>,
        digest: Option<Digest>,
    ) -> Result<Vec<DecisionView>, Error> {
        let prefix = of.map_or_else(
            || DECISIONS.to_owned(),
            |(namespace, app)| prefix(&namespace, &app),
        );
        let mut documents: Vec<(usize, DecisionDocument)> = Vec::new();
        for entry in self.bus().list(&prefix).await? {
            let document: DecisionDocument = entry.json()?;
            check_schema(&entry.key, document.schema, DECISION_SCHEMA)?;
            if digest.is_none_or(|digest| document.facts.digest == digest) {
                documents.push((entry.bytes.len(), document));
            }
        }
        documents.sort_by_key(|(_, document)| std::cmp::Reverse((document.at, document.number)));
        let mut bytes = 0;
        let fitting = documents.into_iter().take_while(|(length, _)| {
            bytes += length;
            bytes <= DECISIONS_BYTES_MAX
        });
        Ok(fitting.map(|(_, document)| document.view()).collect())
    }
}
