//! What the gate decided, over HTTP.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use fermion_api::DecisionList;
use fermion_model::{AppName, Digest, Namespace};
use serde::Deserialize;

use super::answer::{Answer, json};
use super::{Api, parse_namespace};
use crate::Error;

/// Which decisions are asked for; all without any.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DecisionQuery {
    namespace: Option<String>,
    app: Option<String>,
    digest: Option<String>,
}

pub(super) async fn decisions(
    State(api): State<Api>,
    query: Result<Query<DecisionQuery>, QueryRejection>,
) -> Answer {
    let Query(query) = query.map_err(|error| Error::Request {
        what: error.body_text(),
    })?;
    let of = match (query.namespace, query.app) {
        (None, None) => None,
        (namespace, Some(app)) => {
            let namespace =
                namespace.map_or_else(|| Ok(Namespace::default()), |name| parse_namespace(&name))?;
            Some((namespace, app.parse::<AppName>().map_err(Error::from)?))
        }
        (Some(_), None) => {
            let what = "namespace= goes with app=".to_owned();
            return Err(Error::Request { what }.into());
        }
    };
    let digest = query.digest.map(|text| text.parse::<Digest>()).transpose();
    let digest = digest.map_err(|why| Error::Request {
        what: format!("digest=: {why}"),
    })?;
    json(&DecisionList {
        decisions: api.control.decisions(of, digest).await?,
    })
}
