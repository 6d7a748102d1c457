//! The client's part for Git sources and for what a deploy would change.

use fermion_model::{AppName, Namespace, SourceName};
use http::Method;

use super::Client;
use super::transport::{self, Call};
use crate::limits::{ANSWER_WAIT_MAX, DEPLOY_ANSWER_WAIT_MAX};
use crate::{
    DiffRequest, DiffResult, Error, GitSourceList, GitSourceRequest, GitSourceView, GitSyncRequest, paths,
};

impl Client {
    /// What a deploy would change.
    pub async fn diff(
        &self,
        namespace: &Namespace,
        app: &AppName,
        request: &DiffRequest,
    ) -> Result<DiffResult, Error> {
        let path = paths::of_app(paths::DIFF, namespace, app);
        self.post(&path, request, ANSWER_WAIT_MAX).await
    }

    /// The Git sources of one namespace.
    pub async fn git_sources(&self, namespace: &Namespace) -> Result<Vec<GitSourceView>, Error> {
        let list = self.get::<GitSourceList>(&paths::git_sources(namespace)).await?;
        Ok(list.sources)
    }

    /// Hands a Git source over.
    pub async fn add_git_source(
        &self,
        namespace: &Namespace,
        request: &GitSourceRequest,
    ) -> Result<GitSourceView, Error> {
        self.post(&paths::git_sources(namespace), request, ANSWER_WAIT_MAX)
            .await
    }

    /// One Git source.
    pub async fn git_source(
        &self,
        namespace: &Namespace,
        source: &SourceName,
    ) -> Result<GitSourceView, Error> {
        self.get(&paths::of_source(paths::GIT_SOURCE, namespace, source))
            .await
    }

    /// Takes a Git source away; its apps stay.
    pub async fn remove_git_source(
        &self,
        namespace: &Namespace,
        source: &SourceName,
    ) -> Result<GitSourceView, Error> {
        let path = paths::of_source(paths::GIT_SOURCE, namespace, source);
        let call = Call {
            method: &Method::DELETE,
            path: &path,
            wait_max: ANSWER_WAIT_MAX,
        };
        self.transport.json(call, transport::empty()).await
    }

    /// Has a Git source looked at now, and waits for what comes of it.
    pub async fn sync_git_source(
        &self,
        namespace: &Namespace,
        source: &SourceName,
        request: &GitSyncRequest,
    ) -> Result<GitSourceView, Error> {
        let path = paths::of_source(paths::GIT_SYNC, namespace, source);
        self.post(&path, request, DEPLOY_ANSWER_WAIT_MAX).await
    }
}
