//! Git sources, and what a deploy would change, over HTTP.

use axum::extract::{Path, Request, State};
use fermion_api::GitSourceList;
use fermion_model::{Namespace, SourceName};

use super::answer::{Answer, json};
use super::{Api, OPERATOR, parse_names, parse_namespace, read_json};
use crate::Error;

fn parse_source((namespace, source): &(String, String)) -> Result<(Namespace, SourceName), Error> {
    Ok((parse_namespace(namespace)?, source.parse::<SourceName>()?))
}

pub(super) async fn diff(
    State(api): State<Api>,
    Path(names): Path<(String, String)>,
    request: Request,
) -> Answer {
    let (namespace, app) = parse_names(&names)?;
    json(
        &api.control
            .diff(&namespace, &app, read_json(request).await?)
            .await?,
    )
}

pub(super) async fn list(State(api): State<Api>, Path(namespace): Path<String>) -> Answer {
    let sources = api.control.git_sources(&parse_namespace(&namespace)?).await?;
    json(&GitSourceList { sources })
}

pub(super) async fn add(State(api): State<Api>, Path(namespace): Path<String>, request: Request) -> Answer {
    let namespace = parse_namespace(&namespace)?;
    let request = read_json(request).await?;
    json(&api.control.add_git_source(&namespace, request, OPERATOR).await?)
}

pub(super) async fn show(State(api): State<Api>, Path(names): Path<(String, String)>) -> Answer {
    let (namespace, source) = parse_source(&names)?;
    json(&api.control.git_source(&namespace, &source).await?)
}

pub(super) async fn remove(State(api): State<Api>, Path(names): Path<(String, String)>) -> Answer {
    let (namespace, source) = parse_source(&names)?;
    json(&api.control.remove_git_source(&namespace, &source).await?)
}

pub(super) async fn sync(
    State(api): State<Api>,
    Path(names): Path<(String, String)>,
    request: Request,
) -> Answer {
    let (namespace, source) = parse_source(&names)?;
    let request = read_json(request).await?;
    json(&api.control.sync_git_source(&namespace, &source, request).await?)
}
