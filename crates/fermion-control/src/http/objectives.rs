//! Objectives and alerts, over HTTP.

use axum::extract::{Path, Request, State};

use http::StatusCode;

use super::answer::{Answer, answer, json};
use super::{Api, OPERATOR, parse_names, read_json};

pub(super) async fn objectives(State(api): State<Api>, Path(names): Path<(String, String)>) -> Answer {
    let (namespace, app) = parse_names(&names)?;
    json(&api.control.objectives(&namespace, &app).await?)
}

pub(super) async fn why(State(api): State<Api>, Path(names): Path<(String, String)>) -> Answer {
    let (namespace, app) = parse_names(&names)?;
    json(&api.control.why(&namespace, &app).await?)
}

pub(super) async fn alerts(State(api): State<Api>) -> Answer {
    json(&api.control.alerts().await?)
}

pub(super) async fn acknowledge(State(api): State<Api>, request: Request) -> Answer {
    json(
        &api.control
            .acknowledge(read_json(request).await?, OPERATOR)
            .await?,
    )
}

pub(super) async fn silence(State(api): State<Api>, request: Request) -> Answer {
    json(&api.control.silence(read_json(request).await?, OPERATOR).await?)
}

pub(super) async fn post_mortem(State(api): State<Api>, Path(id): Path<String>) -> Answer {
    let text = api.control.post_mortem(&id).await?;
    Ok(answer(
        StatusCode::OK,
        "text/markdown; charset=utf-8",
        text.into(),
    ))
}

pub(super) async fn top(State(api): State<Api>) -> Answer {
    json(&api.control.top().await?)
}
