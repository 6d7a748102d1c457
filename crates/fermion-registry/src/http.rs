//! The distribution API over HTTP (OCI distribution specification 1.1): what a path means, who may ask it, which handler
//! answers. Names have slashes in them, so paths are taken apart from their end.

mod blobs;
mod body;
mod lists;
mod manifests;
mod range;
mod refusal;
mod target;
mod uploads;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::response::Response;
use axum::routing::any;
use fermion_api::listener::names_this_machine;
use fermion_model::PackageName;
use fermion_package::Repository;
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};

use crate::access::Caller;
use crate::{Error, Registry};
use refusal::Refusal;
use target::Target;

type Answer = Result<Response, Refusal>;

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

impl Registry {
    /// The distribution API under `/v2/`. Whoever mounts it beside other paths checks the `Host` field.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/v2", any(handle))
            .route("/v2/", any(handle))
            .route("/v2/{*rest}", any(handle))
            .with_state(self.clone())
    }

    /// The same for a listener that only this machine reaches: a page in a browser can reach it under a name of its own
    /// making, but not change the `Host` that the browser sends.
    pub(crate) fn loopback_router(&self) -> Router {
        self.router().layer(axum::middleware::from_fn(check_host))
    }
}

async fn check_host(request: Request, next: axum::middleware::Next) -> Answer {
    if !names_this_machine(request.headers()) {
        return Err(Refusal::host());
    }
    Ok(next.run(request).await)
}

/// One request, after it is known who asks for what, and that they may.
struct Asked {
    registry: Registry,
    repository: Repository,
    caller: Caller,
    method: Method,
    headers: HeaderMap,
    query: Vec<(String, String)>,
}

impl Asked {
    fn name(&self) -> &PackageName {
        self.repository.name()
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let mut values = self.query.iter().filter(|(key, _)| key == name);
        values.next().map(|(_, value)| value.as_str())
    }

    fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    /// Does what may block elsewhere.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(Repository) -> fermion_package::Result<T> + Send + 'static,
    ) -> Result<T, Refusal> {
        let repository = self.repository.clone();
        tokio::task::spawn_blocking(move || work(repository))
            .await
            .map_err(|_| Refusal::stopped())?
            .map_err(Refusal::from)
    }
}

async fn handle(State(registry): State<Registry>, request: Request) -> Response {
    let (method, count) = (request.method().clone(), registry.count.clone());
    let mut response = match answer(registry, request).await {
        Ok(response) => response,
        Err(refusal) => refusal.answer(method == Method::HEAD),
    };
    if let Some(count) = count {
        count(&method, response.status().as_u16());
    }
    let headers = response.headers_mut();
    headers.insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    headers.insert(
        http::header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

async fn answer(registry: Registry, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let access = &registry.shared.access;
    let caller = access
        .caller(&parts.headers)
        .map_err(|_| Refusal::unauthenticated())?;
    let Some((name, target)) = target::parse(parts.uri.path()) else {
        return version(&registry, &caller, &parts);
    };
    let right = target.right(&parts.method);
    if !access.may(&caller, right, &name) {
        return Err(match caller {
            Caller::Nobody => Refusal::unauthenticated(),
            _ => Refusal::denied(),
        });
    }
    let name: PackageName = name.parse().map_err(fermion_package::Error::from)?;
    let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
    let Query(query) = query.map_err(|_| Refusal::unsupported("the query cannot be read"))?;
    let asked = Asked {
        repository: registry.shared.store.repository(&name),
        registry,
        caller,
        method: parts.method,
        headers: parts.headers,
        query,
    };
    dispatch(asked, target, body).await
}

/// `/v2/` itself, where clients learn whether they must say who they are; and every path that means nothing.
fn version(registry: &Registry, caller: &Caller, parts: &Parts) -> Answer {
    let access = &registry.shared.access;
    if matches!(caller, Caller::Nobody) && !access.admits_nobody() {
        return Err(Refusal::unauthenticated());
    }
    if !matches!(parts.uri.path(), "/v2" | "/v2/") {
        return Err(Refusal::no_such_path());
    }
    if parts.method != Method::GET && parts.method != Method::HEAD {
        return Err(Refusal::no_such_method());
    }
    let mut response = json(b"{}".to_vec(), "application/json");
    if matches!(caller, Caller::Nobody) {
        // What nobody may do, somebody may: clients that can say who they are learn here how.
        let headers = response.headers_mut();
        headers.insert(http::header::WWW_AUTHENTICATE, refusal::CHALLENGE);
    }
    Ok(response)
}

async fn dispatch(asked: Asked, target: Target, body: Body) -> Answer {
    let method = asked.method.clone();
    match (target, method) {
        (Target::Blob(digest), Method::GET | Method::HEAD) => blobs::get(&asked, &digest).await,
        (Target::Blob(digest), Method::DELETE) => blobs::delete(&asked, &digest).await,
        (Target::Uploads, Method::POST) => uploads::begin(&asked, body).await,
        (Target::Upload(id), Method::GET) => uploads::status(&asked, &id).await,
        (Target::Upload(id), Method::PATCH) => uploads::append(&asked, &id, body).await,
        (Target::Upload(id), Method::PUT) => uploads::finish(&asked, &id, body).await,
        (Target::Upload(id), Method::DELETE) => uploads::cancel(&asked, &id).await,
        (Target::Manifest(reference), Method::GET | Method::HEAD) => manifests::get(&asked, &reference).await,
        (Target::Manifest(reference), Method::PUT) => manifests::put(&asked, &reference, body).await,
        (Target::Manifest(reference), Method::DELETE) => manifests::delete(&asked, &reference).await,
        (Target::Tags, Method::GET | Method::HEAD) => lists::tags(&asked).await,
        (Target::Referrers(digest), Method::GET | Method::HEAD) => lists::referrers(&asked, &digest).await,
        _ => Err(Refusal::no_such_method()),
    }
}

fn text(value: impl std::fmt::Display) -> HeaderValue {
    HeaderValue::try_from(value.to_string()).expect("digests, names and numbers are visible ASCII")
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    response
}

fn json(bytes: Vec<u8>, media: &'static str) -> Response {
    let length = text(bytes.len());
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(CONTENT_LENGTH, length);
    response
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Package(error) => Self::from(error),
            error => Self::internal(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Right;

    #[test]
    fn deleting_and_the_state_of_uploads_need_the_right_to_push() {
        for (method, path, right) in [
            (Method::GET, "/v2/a/blobs/x", Right::Pull),
            (Method::DELETE, "/v2/a/blobs/x", Right::Push),
            (Method::GET, "/v2/a/blobs/uploads/x", Right::Push),
            (Method::HEAD, "/v2/a/tags/list", Right::Pull),
            (Method::PUT, "/v2/a/manifests/x", Right::Push),
        ] {
            let (_, target) = target::parse(path).unwrap();
            assert_eq!(target.right(&method), right, "{method} {path}");
        }
    }
}
