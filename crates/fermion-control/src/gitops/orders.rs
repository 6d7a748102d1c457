//! What people want of sources: hand them over, take them away, look at them, have them looked at.

use fermion_api::{GitSourceRequest, GitSourceView, GitSyncRequest};
use fermion_bus::{Expect, Op};
use fermion_model::git::GitSource;
use fermion_model::{Namespace, SourceName};

use super::stored::{GIT_SCHEMA, SOURCES, SourceDocument, StateDocument, source_key, state_key};
use crate::control::check_schema;
use crate::limits::{CONFLICT_TRIES_MAX, GIT_SOURCES_MAX, GIT_SYNC_WAIT_MAX};
use crate::{Control, Error};

impl Control {
    /// Takes a source, or another version of one; it is looked at by and by.
    pub async fn add_git_source(
        &self,
        namespace: &Namespace,
        request: GitSourceRequest,
        by: &str,
    ) -> Result<GitSourceView, Error> {
        let source = GitSource::parse(&request.document, &request.file)?;
        if source.namespace != *namespace {
            let what = format!(
                "the document is of namespace {}, not {namespace}",
                source.namespace
            );
            return Err(Error::Request { what });
        }
        for _ in 0..CONFLICT_TRIES_MAX {
            let before = self.read_source(namespace, &source.name).await?;
            if before.is_none() && self.bus().list(SOURCES).await?.len() >= GIT_SOURCES_MAX {
                let what = format!("there are {GIT_SOURCES_MAX} Git sources already; take one away first");
                return Err(Error::Request { what });
            }
            let document = SourceDocument {
                schema: GIT_SCHEMA,
                source: source.clone(),
                added_at: self.now(),
                added_by: by.to_owned(),
                // It is looked at now, not when its time has come.
                sync: before.as_ref().map_or(1, |(_, before)| before.sync + 1),
                retry: false,
            };
            let expect = Expect::unchanged(before.as_ref().map(|&(revision, _)| revision));
            let mut ops = vec![Op::put_json(
                source_key(namespace, &source.name),
                &document,
                expect,
            )?];
            ops.extend(self.begun_anew(before.map(|(_, before)| before), &source).await?);
            match self.bus().commit(ops).await {
                Ok(_) => return self.source_view(&document).await,
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Busy {
            what: "changes to this source",
        })
    }

    /// What is known of commits means nothing for another repository, reference or path.
    async fn begun_anew(
        &self,
        before: Option<SourceDocument>,
        source: &GitSource,
    ) -> Result<Option<Op>, Error> {
        let is_elsewhere = before.is_some_and(|before| {
            let before = before.source;
            before.repository != source.repository
                || before.reference != source.reference
                || before.path != source.path
        });
        if !is_elsewhere {
            return Ok(None);
        }
        let (revision, state) = self.read_git_state(&source.namespace, &source.name).await?;
        let fresh = StateDocument {
            synced: state.synced,
            events: state.events,
            ..StateDocument::new()
        };
        let key = state_key(&source.namespace, &source.name);
        Ok(Some(Op::put_json(key, &fresh, Expect::unchanged(revision))?))
    }

    /// Takes a source away. Its apps stay as they are, and belong to nobody.
    pub async fn remove_git_source(
        &self,
        namespace: &Namespace,
        name: &SourceName,
    ) -> Result<GitSourceView, Error> {
        let (revision, document) = self.source_there(namespace, name).await?;
        let view = self.source_view(&document).await?;
        let delete = |key, expect| Op::Delete { key, expect };
        // The source goes first: then nothing is written for it any more.
        let source = delete(source_key(namespace, name), Expect::Revision(revision));
        let state = delete(state_key(namespace, name), Expect::Any);
        self.bus().commit(vec![source, state]).await?;
        for (_, app) in self.read_git_apps(namespace).await?.into_values() {
            if app.source == *name {
                self.bus().delete(&app.key(), Expect::Any).await?;
            }
        }
        Ok(view)
    }

    /// One source.
    pub async fn git_source(&self, namespace: &Namespace, name: &SourceName) -> Result<GitSourceView, Error> {
        let (_, document) = self.source_there(namespace, name).await?;
        self.source_view(&document).await
    }

    /// The sources of a namespace, by name.
    pub async fn git_sources(&self, namespace: &Namespace) -> Result<Vec<GitSourceView>, Error> {
        let mut views = Vec::new();
        for entry in self.bus().list(&format!("{SOURCES}{namespace}/")).await? {
            let document: SourceDocument = entry.json()?;
            check_schema(&entry.key, document.schema, GIT_SCHEMA)?;
            views.push(self.source_view(&document).await?);
        }
        Ok(views)
    }

    /// Has a source looked at now, and waits until that look is over: until everything is in place, on its way by a
    /// rollout, or given up.
    pub async fn sync_git_source(
        &self,
        namespace: &Namespace,
        name: &SourceName,
        request: GitSyncRequest,
    ) -> Result<GitSourceView, Error> {
        let number = self.order_look(namespace, name, request).await?;
        let looked = async {
            loop {
                let seen = self.bus().revision();
                let (_, state) = self.read_git_state(namespace, name).await?;
                if state.synced >= number {
                    return Ok::<_, Error>(());
                }
                self.source_there(namespace, name).await?;
                let (own, source) = (state_key(namespace, name), source_key(namespace, name));
                self.changed(seen, &[&own, &source]).await?;
            }
        };
        // It goes on behind a caller that has waited for too long, who sees how far it is.
        tokio::time::timeout(GIT_SYNC_WAIT_MAX, looked)
            .await
            .unwrap_or(Ok(()))?;
        self.git_source(namespace, name).await
    }

    async fn order_look(
        &self,
        namespace: &Namespace,
        name: &SourceName,
        request: GitSyncRequest,
    ) -> Result<u64, Error> {
        for _ in 0..CONFLICT_TRIES_MAX {
            let (revision, mut document) = self.source_there(namespace, name).await?;
            document.sync += 1;
            document.retry = request.retry;
            let key = source_key(namespace, name);
            let expect = Expect::Revision(revision);
            match self.bus().put_json(&key, &document, expect).await {
                Ok(_) => return Ok(document.sync),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Busy {
            what: "changes to this source",
        })
    }

    async fn source_there(
        &self,
        namespace: &Namespace,
        name: &SourceName,
    ) -> Result<(u64, SourceDocument), Error> {
        let read = self.read_source(namespace, name).await?;
        read.ok_or_else(|| Error::NoSuchSource {
            namespace: namespace.clone(),
            source_name: name.clone(),
        })
    }
}
