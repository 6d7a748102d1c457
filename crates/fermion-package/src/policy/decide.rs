//! Asking a set of policies: pure functions from facts and a question to a decision that explains itself. Denies
//! whenever a policy cannot be evaluated, because Cedar itself would skip a `forbid` that fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::str::FromStr as _;

use cedar_policy::{
    AuthorizationError, Authorizer, Context, Decision as Answer, Effect as CedarEffect, Entities, Entity,
    EntityId, EntityTypeName, EntityUid, PolicyId, Request, RestrictedExpression,
};
use fermion_model::{AppName, Digest, Namespace};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::set::{Policies, schema};
use super::{PolicyFacts, SecretFacts};
use crate::limits::{SHOWN_FACT_CHARS_MAX, SHOWN_VALUES_MAX};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// A new release.
    Deploy,
    /// An earlier release, again.
    Activate,
}

impl Action {
    /// As policies name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Activate => "activate",
        }
    }
}

/// Who asks for what, where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Who asks.
    pub by: String,
    /// What for.
    pub action: Action,
    /// The tenant.
    pub namespace: Namespace,
    /// The app.
    pub app: AppName,
    /// Hosts that it is routed from; empty if from any.
    pub hosts: BTreeSet<String>,
    /// Paths that it is routed from.
    pub paths: BTreeSet<String>,
    /// The config keys it is given.
    pub config_keys: BTreeSet<String>,
}

/// Where an app would run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The node.
    pub node: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It may.
    Allow,
    /// It may not.
    Deny,
}

/// What a policy does when it applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Allows.
    Permit,
    /// Denies, whatever allows.
    Forbid,
}

/// A policy that decided, in its author's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deciding {
    /// Its name.
    pub id: String,
    /// The file it is in; none for what this program decides itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What it does.
    pub effect: Effect,
    /// Why: its `@reason`, with the facts that it shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What to do: its `@next`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// False if no emergency is reason enough to pass it by.
    pub overridable: bool,
}

/// A policy that could not be evaluated, which denies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failed {
    /// Its name.
    pub id: String,
    /// Why.
    pub why: String,
}

/// An answer that explains itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// The answer.
    pub verdict: Verdict,
    /// The code of a denial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Which policies decided, by name.
    pub policies: Vec<Deciding>,
    /// Which could not be evaluated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Failed>,
    /// The set that was asked.
    pub policy_hash: Digest,
}

/// The code of a denial by policy.
pub const POLICY_DENIED: &str = "POLICY_DENIED";
/// The code of a denial because of a secret.
pub const SECRET_FOUND: &str = "SECRET_FOUND";
/// The annotation value by which a policy refuses to be passed by.
const NEVER: &str = "never";

impl Policies {
    /// May this package run as this app? A secret in it denies a deploy whatever the policies say.
    pub fn decide(&self, facts: &PolicyFacts, question: &Question) -> Decision {
        let context = json!({
            "facts": facts, "hosts": question.hosts, "paths": question.paths, "config_keys": question.config_keys,
        });
        let ask = Ask {
            principal: uid("Operator", &question.by),
            action: question.action.as_str(),
            subject: Subject {
                namespace: question.namespace.as_str(),
                app: question.app.as_str(),
                package: &facts.name,
                version: &facts.version,
                digest: facts.digest,
            },
            node: None,
            context,
        };
        let mut decision = self.ask(&ask);
        if question.action == Action::Deploy && facts.secrets.blocking > 0 {
            decision.verdict = Verdict::Deny;
            decision.code = Some(SECRET_FOUND.to_owned());
            decision.policies.retain(|policy| policy.effect == Effect::Forbid);
            decision.policies.insert(0, secret(&facts.secrets));
        }
        decision
    }

    /// May this app run on this node?
    pub fn place(&self, subject: &Subject<'_>, place: &Place) -> Decision {
        self.ask(&Ask {
            principal: uid("Node", &place.node),
            action: "place",
            subject: subject.clone(),
            node: Some(place),
            context: json!({}),
        })
    }

    fn ask(&self, ask: &Ask<'_>) -> Decision {
        let (request, entities) = match ask.request().and_then(|request| Ok((request, ask.entities()?))) {
            Ok(asked) => asked,
            // Facts that do not fit the schema: a bug, or facts written by hand. No policy has said yes.
            Err(why) => return self.unanswerable(why),
        };
        let response = Authorizer::new().is_authorized(&request, self.set(), &entities);
        let failed: Vec<Failed> = response
            .diagnostics()
            .errors()
            .map(|AuthorizationError::PolicyEvaluationError(error)| Failed {
                id: error.policy_id().to_string(),
                why: error.inner().to_string(),
            })
            .collect();
        let mut policies: Vec<Deciding> = response
            .diagnostics()
            .reason()
            .map(|id| self.deciding(id, &ask.context))
            .collect();
        policies.sort_by(|a, b| a.id.cmp(&b.id));
        let verdict = match response.decision() {
            Answer::Allow if failed.is_empty() => Verdict::Allow,
            Answer::Allow | Answer::Deny => Verdict::Deny,
        };
        if verdict == Verdict::Deny {
            policies.retain(|policy| policy.effect == Effect::Forbid);
        }
        Decision {
            verdict,
            code: (verdict == Verdict::Deny).then(|| POLICY_DENIED.to_owned()),
            policies,
            failed,
            policy_hash: self.hash(),
        }
    }

    fn unanswerable(&self, why: String) -> Decision {
        Decision {
            verdict: Verdict::Deny,
            code: Some(POLICY_DENIED.to_owned()),
            policies: Vec::new(),
            failed: vec![Failed {
                id: "facts".to_owned(),
                why,
            }],
            policy_hash: self.hash(),
        }
    }

    fn deciding(&self, id: &PolicyId, context: &Value) -> Deciding {
        let annotation = |key: &str| self.set().annotation(id, key).map(str::to_owned);
        let effect = match self.set().policy(id).map(|policy| policy.effect()) {
            Some(CedarEffect::Permit) => Effect::Permit,
            Some(CedarEffect::Forbid) | None => Effect::Forbid,
        };
        let shown = annotation("show").and_then(|path| show(context, &path));
        let reason = match (annotation("reason"), shown) {
            (Some(reason), Some(shown)) => Some(format!("{reason}: {shown}")),
            (reason, shown) => reason.or(shown),
        };
        Deciding {
            id: id.to_string(),
            file: self.file_of(id).map(str::to_owned),
            effect,
            reason,
            next: annotation("next"),
            overridable: annotation("override").as_deref() != Some(NEVER),
        }
    }
}

impl Decision {
    /// True if a person may pass by everything that denies.
    pub fn is_overridable(&self) -> bool {
        self.verdict == Verdict::Deny
            && self.failed.iter().all(|failed| failed.id != "facts")
            && self.policies.iter().all(|policy| policy.overridable)
    }

    /// Why and what next, in a sentence or a few.
    pub fn explanation(&self) -> String {
        let mut parts = Vec::new();
        for failed in &self.failed {
            parts.push(format!(
                "policy {} could not be evaluated ({}), which denies; mend the policy",
                failed.id, failed.why
            ));
        }
        for policy in &self.policies {
            let mut text = format!("policy {}", policy.id);
            if let Some(reason) = &policy.reason {
                let _infallible = write!(text, ": {reason}");
            }
            if let Some(next) = &policy.next {
                let _infallible = write!(text, "; {next}");
            }
            parts.push(text);
        }
        if parts.is_empty() {
            parts.push("no policy permits it; a `permit` is missing in the policy folder".to_owned());
        }
        parts.join(". ")
    }
}

fn secret(secrets: &SecretFacts) -> Deciding {
    let places: Vec<String> = secrets
        .findings
        .iter()
        .filter(|finding| finding.rule != crate::secrets::GENERIC)
        .take(SHOWN_VALUES_MAX)
        .map(ToString::to_string)
        .collect();
    Deciding {
        id: "secret-found".to_owned(),
        file: None,
        effect: Effect::Forbid,
        reason: Some(format!("{} in it look like secrets: {}", secrets.blocking, places.join(", "))),
        next: Some("take them out and give the app a secret instead, revoke what was real; `fermion policy secrets` \
             tells how to allow what is none".to_owned()),
        overridable: false,
    }
}

/// What is to run.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// The tenant.
    pub namespace: &'a str,
    /// The app.
    pub app: &'a str,
    /// The package's name.
    pub package: &'a str,
    /// Its version.
    pub version: &'a str,
    /// Its identity.
    pub digest: Digest,
}

struct Ask<'a> {
    principal: EntityUid,
    action: &'static str,
    subject: Subject<'a>,
    node: Option<&'a Place>,
    context: Value,
}

fn uid(kind: &str, id: &str) -> EntityUid {
    let kind = EntityTypeName::from_str(kind).expect("the schema's types have valid names");
    EntityUid::from_type_name_and_id(kind, EntityId::new(id))
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

impl Ask<'_> {
    fn release(&self) -> EntityUid {
        let Subject {
            namespace,
            app,
            digest,
            ..
        } = &self.subject;
        uid("Release", &format!("{namespace}/{app}@{digest}"))
    }

    fn request(&self) -> Result<Request, String> {
        let action = uid("Action", self.action);
        let context = Context::from_json_value(self.context.clone(), Some((schema(), &action)))
            .map_err(|why| why.to_string())?;
        Request::new(
            self.principal.clone(),
            action,
            self.release(),
            context,
            Some(schema()),
        )
        .map_err(|why| why.to_string())
    }

    fn entities(&self) -> Result<Entities, String> {
        let Subject {
            namespace,
            app,
            package,
            version,
            digest,
        } = &self.subject;
        let (tenant, repository) = (uid("Namespace", namespace), uid("Repository", package));
        let digest = digest.to_string();
        let attributes = [
            ("namespace", *namespace),
            ("app", *app),
            ("package", *package),
            ("version", *version),
            ("digest", digest.as_str()),
        ];
        let attributes = attributes
            .map(|(name, value)| (name.to_owned(), text(value)))
            .into();
        let parents = [tenant.clone(), repository.clone()].into();
        let mut entities = vec![
            Entity::new(self.release(), attributes, parents).map_err(|why| why.to_string())?,
            Entity::new_no_attrs(tenant, [].into()),
            Entity::new_no_attrs(repository, [].into()),
        ];
        entities.push(match self.node {
            None => Entity::new_no_attrs(self.principal.clone(), [].into()),
            Some(place) => {
                let tags = place
                    .labels
                    .iter()
                    .map(|(name, value)| (name.clone(), text(value)));
                let name = [("name".to_owned(), text(&place.node))];
                Entity::new_with_tags(self.principal.clone(), name, [], tags)
                    .map_err(|why| why.to_string())?
            }
        });
        Entities::from_entities(entities, Some(schema())).map_err(|why| why.to_string())
    }
}

/// The fact at a dotted path, briefly.
fn show(context: &Value, path: &str) -> Option<String> {
    let value = path.split('.').try_fold(context, |value, part| value.get(part))?;
    let one = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let fields = fields
                .values()
                .map(|field| field.as_str().map_or_else(|| field.to_string(), str::to_owned));
            fields.collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    };
    let text = match value {
        Value::Array(values) => {
            let mut shown: Vec<String> = values.iter().take(SHOWN_VALUES_MAX).map(one).collect();
            if values.len() > SHOWN_VALUES_MAX {
                shown.push(format!("and {} more", values.len() - SHOWN_VALUES_MAX));
            }
            shown.join(", ")
        }
        value => one(value),
    };
    Some(
        text.chars()
            .filter(|c| !c.is_control())
            .take(SHOWN_FACT_CHARS_MAX)
            .collect(),
    )
}
