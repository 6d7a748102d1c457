//! The client of the admin API: one connection pool to one loopback address, the token on every request, every wait
//! and every answer bounded.

mod git;
mod logs;
mod transport;

use std::path::Path;
use std::time::Duration;

use fermion_model::{AppName, Digest, Namespace};
use http::{Method, StatusCode};
use serde::{Serialize, de::DeserializeOwned};

use crate::limits::{ANSWER_WAIT_MAX, BLOB_WAIT_MAX, DEPLOY_ANSWER_WAIT_MAX, PULL_WAIT_MAX};
use crate::{
    AcknowledgeRequest, AlertList, AlertView, AppList, AppView, CollectRequest, CollectResult, DecisionList,
    DecisionView, DeployRequest, DeployResult, Error, FreezeList, FreezeRequest, ObjectiveList, ReleaseList,
    ReleaseView, RollbackRequest, RolloutList, RolloutOrder, RolloutView, SilenceRequest, Status, TopView,
    TraceList, TraceView, TrustView, WhyView, paths,
};

pub use logs::LogLines;
use transport::{Call, Transport};

/// Talks to one `fermion up`. Clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    transport: Transport,
}

impl Client {
    /// `address` is `http://127.0.0.1:7070` or `127.0.0.1:7070`. Connects at the first request.
    /// Errors: `Address`, `NotLoopback`, `Token`.
    pub fn new(address: &str, token: &str) -> Result<Self, Error> {
        Ok(Self {
            transport: Transport::new(address, token)?,
        })
    }

    /// Whether anything answers there; needs no valid token.
    pub async fn health(&self) -> Result<(), Error> {
        self.transport.text(Call::get(paths::HEALTH)).await.map(drop)
    }

    /// The whole platform at a glance.
    pub async fn status(&self) -> Result<Status, Error> {
        self.get(paths::STATUS).await
    }

    /// Metrics as Prometheus text.
    pub async fn metrics(&self) -> Result<String, Error> {
        self.transport.text(Call::get(paths::METRICS)).await
    }

    /// The apps of one namespace.
    pub async fn apps(&self, namespace: &Namespace) -> Result<Vec<AppView>, Error> {
        self.get::<AppList>(&paths::apps(namespace))
            .await
            .map(|list| list.apps)
    }

    /// The releases of one app, newest first.
    pub async fn releases(&self, namespace: &Namespace, app: &AppName) -> Result<Vec<ReleaseView>, Error> {
        let path = paths::of_app(paths::RELEASES, namespace, app);
        self.get::<ReleaseList>(&path).await.map(|list| list.releases)
    }

    /// What the gate decided, newest first: of one app or of all, on one package or on all.
    pub async fn decisions(
        &self,
        of: Option<(&Namespace, &AppName)>,
        digest: Option<&Digest>,
    ) -> Result<Vec<DecisionView>, Error> {
        let of = of.map(|(namespace, app)| format!("namespace={namespace}&app={app}"));
        let digest = digest.map(|digest| format!("digest={digest}"));
        let query: Vec<String> = of.into_iter().chain(digest).collect();
        let path = format!("{}?{}", paths::DECISIONS, query.join("&"));
        self.get::<DecisionList>(&path).await.map(|list| list.decisions)
    }

    /// What an app promises, and how it stands.
    pub async fn objectives(&self, namespace: &Namespace, app: &AppName) -> Result<ObjectiveList, Error> {
        self.get(&paths::of_app(paths::OBJECTIVES, namespace, app)).await
    }

    /// What is wrong with an app.
    pub async fn why(&self, namespace: &Namespace, app: &AppName) -> Result<WhyView, Error> {
        self.get(&paths::of_app(paths::WHY, namespace, app)).await
    }

    /// How all apps are at this moment.
    pub async fn top(&self) -> Result<TopView, Error> {
        self.get(paths::TOP).await
    }

    /// Traces that are kept, newest first: of an app, or of a namespace.
    pub async fn traces(
        &self,
        namespace: &Namespace,
        app: Option<&AppName>,
        traces_max: usize,
    ) -> Result<TraceList, Error> {
        let app = app.map_or_else(String::new, |app| format!("&app={app}"));
        let path = format!("{}?namespace={namespace}&limit={traces_max}{app}", paths::TRACES);
        self.get(&path).await
    }

    /// One trace, by its id or how that begins: hexadecimal digits.
    pub async fn trace(&self, id: &str) -> Result<TraceView, Error> {
        self.get(&paths::trace(id)).await
    }

    /// Incidents, silences and receivers.
    pub async fn alerts(&self) -> Result<AlertList, Error> {
        self.get(paths::ALERTS).await
    }

    /// A draft of an incident's post-mortem, as Markdown.
    pub async fn post_mortem(&self, incident: &str) -> Result<String, Error> {
        self.transport
            .text(Call::get(&paths::post_mortem(incident)))
            .await
    }

    /// Takes an incident on.
    pub async fn acknowledge(&self, request: &AcknowledgeRequest) -> Result<AlertView, Error> {
        self.post(paths::ACKNOWLEDGE, request, ANSWER_WAIT_MAX).await
    }

    /// Keeps alerts from people for a time.
    pub async fn silence(&self, request: &SilenceRequest) -> Result<AlertList, Error> {
        self.post(paths::SILENCE, request, ANSWER_WAIT_MAX).await
    }

    /// Freezes that are in force or to come.
    pub async fn freezes(&self) -> Result<FreezeList, Error> {
        self.get(paths::FREEZES).await
    }

    /// Orders a freeze.
    pub async fn freeze(&self, request: &FreezeRequest) -> Result<FreezeList, Error> {
        self.post(paths::FREEZES, request, ANSWER_WAIT_MAX).await
    }

    /// Ends one.
    pub async fn thaw(&self, id: &str) -> Result<FreezeList, Error> {
        let path = paths::freeze(id);
        let call = Call {
            method: &Method::DELETE,
            ..Call::get(&path)
        };
        self.transport.json(call, transport::empty()).await
    }

    /// Makes a release and waits until it serves.
    pub async fn deploy(
        &self,
        namespace: &Namespace,
        app: &AppName,
        request: &DeployRequest,
    ) -> Result<DeployResult, Error> {
        let pull = request.source.as_ref().map_or(Duration::ZERO, |_| PULL_WAIT_MAX);
        let path = paths::of_app(paths::RELEASES, namespace, app);
        self.post(&path, request, DEPLOY_ANSWER_WAIT_MAX + pull).await
    }

    /// Goes back to an earlier release and waits until it serves.
    pub async fn rollback(
        &self,
        namespace: &Namespace,
        app: &AppName,
        request: &RollbackRequest,
    ) -> Result<DeployResult, Error> {
        let path = paths::of_app(paths::ROLLBACK, namespace, app);
        self.post(&path, request, DEPLOY_ANSWER_WAIT_MAX).await
    }

    /// The newest rollout of an app.
    pub async fn rollout(&self, namespace: &Namespace, app: &AppName) -> Result<RolloutView, Error> {
        self.get(&paths::of_app(paths::ROLLOUT, namespace, app)).await
    }

    /// The rollouts of an app, newest first.
    pub async fn rollouts(&self, namespace: &Namespace, app: &AppName) -> Result<Vec<RolloutView>, Error> {
        let path = paths::of_app(paths::ROLLOUTS, namespace, app);
        self.get::<RolloutList>(&path).await.map(|list| list.rollouts)
    }

    /// Decides a rollout that is under way. It is done with the controller's next look, about a second later.
    pub async fn order_rollout(
        &self,
        namespace: &Namespace,
        app: &AppName,
        order: &RolloutOrder,
    ) -> Result<RolloutView, Error> {
        let path = paths::of_app(paths::ROLLOUT, namespace, app);
        self.post(&path, order, ANSWER_WAIT_MAX).await
    }

    /// Removes from the store what nothing needs, or says what that would be.
    pub async fn collect(&self, request: &CollectRequest) -> Result<CollectResult, Error> {
        self.post(paths::COLLECT, request, DEPLOY_ANSWER_WAIT_MAX).await
    }

    /// Who is trusted with what.
    pub async fn trust(&self) -> Result<TrustView, Error> {
        self.get(paths::TRUST).await
    }

    /// Puts a signed trust root document in force: a DSSE envelope.
    pub async fn set_trust(&self, envelope: &serde_json::Value) -> Result<TrustView, Error> {
        self.send_json(&Method::PUT, paths::TRUST, envelope, ANSWER_WAIT_MAX)
            .await
    }

    /// Whether the store has the blob.
    pub async fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        let path = paths::blob(digest);
        let call = Call {
            method: &Method::HEAD,
            path: &path,
            wait_max: ANSWER_WAIT_MAX,
        };
        let response = self.transport.send(call, transport::empty()).await?;
        match response.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.transport.refusal(call, response).await),
        }
    }

    /// Streams a file into the store. The server checks the digest: `DIGEST_MISMATCH` if the file is something else.
    pub async fn put_blob(&self, digest: &Digest, file: &Path) -> Result<(), Error> {
        let (body, bytes) = transport::file(file).await?;
        let path = paths::blob(digest);
        let call = Call {
            method: &Method::PUT,
            path: &path,
            wait_max: BLOB_WAIT_MAX,
        };
        self.transport.upload(call, bytes, body).await.map(drop)
    }

    /// What the app's components wrote: the last `tail` lines, then, if `follow`, each new one until dropped.
    pub async fn logs(
        &self,
        namespace: &Namespace,
        app: &AppName,
        tail: usize,
        follow: bool,
    ) -> Result<LogLines, Error> {
        let path = format!(
            "{}?follow={follow}&tail={tail}",
            paths::of_app(paths::LOGS, namespace, app)
        );
        let call = Call::get(&path);
        let response = self.transport.send(call, transport::empty()).await?;
        if response.status() != StatusCode::OK {
            return Err(self.transport.refusal(call, response).await);
        }
        Ok(LogLines::new(
            self.transport.address().to_owned(),
            response.into_body(),
        ))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.transport.json(Call::get(path), transport::empty()).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        request: &impl Serialize,
        wait_max: Duration,
    ) -> Result<T, Error> {
        self.send_json(&Method::POST, path, request, wait_max).await
    }

    async fn send_json<T: DeserializeOwned>(
        &self,
        method: &Method,
        path: &str,
        request: &impl Serialize,
        wait_max: Duration,
    ) -> Result<T, Error> {
        let body = serde_json::to_vec(request).map_err(|error| Error::Request {
            doing: format!("{method} {path}"),
            what: error.to_string(),
        })?;
        let call = Call {
            method,
            path,
            wait_max,
        };
        self.transport.json(call, transport::full(body)).await
    }
}
