//! Kept traces, over HTTP.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use fermion_api::limits::TRACES_MAX;
use fermion_model::AppName;
use serde::Deserialize;

use super::answer::{Answer, json};
use super::{Api, parse_namespace};
use crate::Error;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TraceQuery {
    /// Of which namespace; of all, and of what reached no app, when absent.
    namespace: Option<String>,
    /// Of which app.
    app: Option<String>,
    /// At most so many.
    limit: Option<usize>,
}

pub(super) async fn list(State(api): State<Api>, query: Result<Query<TraceQuery>, QueryRejection>) -> Answer {
    let Query(query) = query.map_err(|error| Error::Request {
        what: error.body_text(),
    })?;
    let namespace = query.namespace.as_deref().map(parse_namespace).transpose()?;
    let app = query.app.as_deref().map(str::parse::<AppName>).transpose();
    let app = app.map_err(Error::from)?;
    let limit = query.limit.unwrap_or(TRACES_MAX).min(TRACES_MAX);
    json(&api.control.traces(namespace.as_ref(), app.as_ref(), limit))
}

pub(super) async fn show(State(api): State<Api>, Path(id): Path<String>) -> Answer {
    json(&api.control.trace(&id)?)
}
