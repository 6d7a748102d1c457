//! The admin API over HTTP: routes, and what each handler reads from its request. Decisions are elsewhere.

mod answer;
mod blobs;
mod decisions;
mod freezes;
mod git;
mod guard;
mod logs;
mod objectives;
mod server;
mod traces;
mod trust;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, head, post};
use fermion_api::limits::JSON_BYTES_MAX;
use fermion_api::{
    AppList, DeployRequest, DeployResult, ReleaseList, RollbackRequest, RolloutList, RolloutOrder, paths,
};
use fermion_model::{AppName, Namespace};
use fermion_telemetry::{Deployed, Format, Order};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body as _;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::limits::BODY_WAIT_MAX;
use crate::{Control, Error};
use answer::{Answer, json};

pub use server::Bound;

/// Whoever has the token; there is one.
const OPERATOR: &str = "operator";

/// What handlers share.
#[derive(Clone)]
struct Api {
    control: Control,
    /// Ends followed logs.
    shutdown: CancellationToken,
}

impl Api {
    /// Counts what came of an order, and says so.
    fn counted(&self, order: Order, result: Result<DeployResult, Error>) -> Answer {
        let outcome = match &result {
            Ok(_) => Deployed::Done,
            Err(error) if crate::problem(error).status < 500 => Deployed::Refused,
            Err(_) => Deployed::Failed,
        };
        let telemetry = &self.control.shared.parts.telemetry;
        telemetry.control().deployed(order, outcome);
        json(&result?)
    }
}

impl Control {
    /// The admin API. Every path but the health check needs the token; every request needs a `Host` of this machine.
    /// Followed logs end when `shutdown` is cancelled.
    pub fn router(&self, shutdown: CancellationToken) -> Router {
        let api = Api {
            control: self.clone(),
            shutdown,
        };
        let guarded = Router::new()
            .route(paths::METRICS, get(metrics))
            .route(paths::STATUS, get(status))
            .route(paths::APPS, get(apps))
            .route(paths::RELEASES, get(releases).post(deploy))
            .route(paths::ROLLBACK, post(rollback))
            .route(paths::ROLLOUT, get(rollout).post(order_rollout))
            .route(paths::ROLLOUTS, get(rollouts))
            .route(paths::OBJECTIVES, get(objectives::objectives))
            .route(paths::WHY, get(objectives::why))
            .route(paths::ALERTS, get(objectives::alerts))
            .route(paths::ACKNOWLEDGE, post(objectives::acknowledge))
            .route(paths::POST_MORTEM, get(objectives::post_mortem))
            .route(paths::SILENCE, post(objectives::silence))
            .route(paths::FREEZES, get(freezes::list).post(freezes::add))
            .route(paths::FREEZE, axum::routing::delete(freezes::remove))
            .route(paths::TOP, get(objectives::top))
            .route(paths::TRACES, get(traces::list))
            .route(paths::TRACE, get(traces::show))
            .route(paths::DECISIONS, get(decisions::decisions))
            .route(paths::DIFF, post(git::diff))
            .route(paths::GIT_SOURCES, get(git::list).post(git::add))
            .route(paths::GIT_SOURCE, get(git::show).delete(git::remove))
            .route(paths::GIT_SYNC, post(git::sync))
            .route(paths::LOGS, get(logs::logs))
            .route(paths::COLLECT, post(collect))
            .route(paths::TRUST, get(trust::show).put(trust::apply))
            .route(paths::BLOB, head(blobs::has).put(blobs::put))
            .fallback(no_such_path)
            .method_not_allowed_fallback(no_such_method)
            .layer(from_fn_with_state(api.clone(), guard::authenticate));
        Router::new()
            .route(paths::HEALTH, get(health))
            .merge(guarded)
            .layer(from_fn(guard::check_host))
            .with_state(api)
    }
}

async fn health() -> &'static str {
    "ok\n"
}

async fn no_such_path() -> Answer {
    Err(Error::NoSuchPath.into())
}

async fn no_such_method() -> Answer {
    Err(Error::NoSuchMethod.into())
}

async fn metrics(State(api): State<Api>, headers: HeaderMap) -> Answer {
    let accepted = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let format = Format::of(&accepted.collect::<Vec<_>>().join(","));
    let telemetry = api.control.shared.parts.telemetry.clone();
    // Thousands of series are written: not on the reactor.
    let written = tokio::task::spawn_blocking(move || telemetry.render(format)).await;
    let text = written.map_err(|_| Error::Stopped {
        doing: "write metrics",
    })?;
    let mut response = Response::new(text.into());
    let media = HeaderValue::from_static(format.content_type());
    response.headers_mut().insert(CONTENT_TYPE, media);
    Ok(response)
}

async fn status(State(api): State<Api>) -> Answer {
    json(&api.control.status().await?)
}

async fn collect(State(api): State<Api>, request: Request) -> Answer {
    json(&api.control.collect(read_json(request).await?).await?)
}

async fn apps(State(api): State<Api>, Path(namespace): Path<String>) -> Answer {
    json(&AppList {
        apps: api.control.apps(&parse_namespace(&namespace)?).await?,
    })
}

async fn releases(State(api): State<Api>, Path(names): Path<(String, String)>) -> Answer {
    let (namespace, app) = parse_names(&names)?;
    json(&ReleaseList {
        releases: api.control.releases(&namespace, &app).await?,
    })
}

async fn deploy(State(api): State<Api>, Path(names): Path<(String, String)>, request: Request) -> Answer {
    let (namespace, app) = parse_names(&names)?;
    let request: DeployRequest = read_json(request).await?;
    let deployed = api.control.deploy(&namespace, &app, request, OPERATOR).await;
    api.counted(Order::Deploy, deployed)
}

async fn rollback(State(api): State<Api>, Path(names): Path<(String, String)>, request: Request) -> Answer {
    let (namespace, app) = parse_names(&names)?;
    let request: RollbackRequest = read_json(request).await?;
    let rolled_back = api.control.rollback(&namespace, &app, request, OPERATOR).await;
    api.counted(Order::Rollback, rolled_back)
}

async fn rollout(State(api): State<Api>, Path(names): Path<(String, String)>) -> Answer {
    let (namespace, app) = parse_names(&names)?;
    json(&api.control.rollout(&namespace, &app).await?)
}

async fn rollouts(State(api): State<Api>, Path(names): Path<(String, String)>) -> Answer {
    let (namespace, app) = parse_names(&names)?;
    json(&RolloutList {
        rollouts: api.control.rollouts(&namespace, &app).await?,
    })
}

async fn order_rollout(
    State(api): State<Api>,
    Path(names): Path<(String, String)>,
    request: Request,
) -> Answer {
    let (namespace, app) = parse_names(&names)?;
    let order: RolloutOrder = read_json(request).await?;
    json(
        &api.control
            .order_rollout(&namespace, &app, order, OPERATOR)
            .await?,
    )
}

fn parse_namespace(text: &str) -> Result<Namespace, Error> {
    Ok(text.parse::<Namespace>()?)
}

fn parse_names((namespace, app): &(String, String)) -> Result<(Namespace, AppName), Error> {
    Ok((parse_namespace(namespace)?, app.parse::<AppName>()?))
}

/// A JSON body of bounded size that arrives in time. The media type is asked for because no web page can send it
/// unasked.
async fn read_json<T: DeserializeOwned>(request: Request) -> Result<T, Error> {
    let media = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let media = media
        .and_then(|media| media.split(|&byte| byte == b';').next())
        .map(<[u8]>::trim_ascii);
    if !media.is_some_and(|media| media.eq_ignore_ascii_case(b"application/json")) {
        return Err(Error::ContentType);
    }
    let too_large = || Error::BodyTooLarge {
        bytes_max: JSON_BYTES_MAX as u64,
    };
    if request.body().size_hint().lower() > JSON_BYTES_MAX as u64 {
        return Err(too_large());
    }
    let body = Limited::new(request.into_body(), JSON_BYTES_MAX).collect();
    let body = tokio::time::timeout(BODY_WAIT_MAX, body)
        .await
        .map_err(|_| Error::BodyLost { why: "too slow" })?;
    let body = body.map_err(|error| {
        if error.is::<LengthLimitError>() {
            Error::BodyTooLarge {
                bytes_max: JSON_BYTES_MAX as u64,
            }
        } else {
            Error::BodyLost {
                why: "the connection ended before it",
            }
        }
    })?;
    serde_json::from_slice(&body.to_bytes()).map_err(|error| Error::Request {
        what: format!("the request body is not what is expected: {error}"),
    })
}
