//! Freezes, over HTTP.

use axum::extract::{Path, Request, State};

use super::answer::{Answer, json};
use super::{Api, OPERATOR, read_json};

pub(super) async fn list(State(api): State<Api>) -> Answer {
    json(&api.control.freezes().await?)
}

pub(super) async fn add(State(api): State<Api>, request: Request) -> Answer {
    json(&api.control.freeze(read_json(request).await?, OPERATOR).await?)
}

pub(super) async fn remove(State(api): State<Api>, Path(id): Path<String>) -> Answer {
    json(&api.control.thaw(&id).await?)
}
