//! From the files of a commit to what it asks for. Every document is read and everything that a deploy would check is
//! checked before any of them is applied; the first that does not pass is the commit's refusal, with its place.

use std::collections::BTreeMap;

use fermion_model::app::{App, PackageChoice};
use fermion_model::document::{DocumentError, refuse_field};
use fermion_model::git::GitSource;
use fermion_model::{Digest, Namespace};
use fermion_package::Error as PackageError;
use fermion_planner::git::Wanted;

use super::mirror::File;
use super::stored::{GitAppDocument, WantedApp};
use crate::claims::{Claims, route_text};
use crate::intent::{Rehearsal, Subject};
use crate::{Control, Error};

/// Why a commit is not taken.
#[derive(Debug)]
pub(super) enum Refusal {
    /// A document is wrong.
    Document(DocumentError),
    /// The commit as a whole is.
    Commit(String),
    /// Something passes: it is tried again.
    Later(String),
}

impl From<DocumentError> for Refusal {
    fn from(error: DocumentError) -> Self {
        Self::Document(error)
    }
}

/// What a commit says of one app.
#[derive(Debug, Clone)]
pub(super) struct RenderedApp {
    pub(super) app: App,
    pub(super) file: String,
    pub(super) wanted: WantedApp,
}

/// The documents of a commit, all of them valid.
#[derive(Debug, Clone)]
pub(super) struct Rendered {
    pub(super) commit: String,
    pub(super) apps: BTreeMap<String, RenderedApp>,
}

impl Rendered {
    /// As the planner takes it.
    pub(super) fn wanted(&self) -> BTreeMap<String, Wanted> {
        let wanted = |(name, rendered): (&String, &RenderedApp)| {
            let wanted = Wanted {
                print: rendered.wanted.print(),
                wave: rendered.app.wave,
            };
            (name.clone(), wanted)
        };
        self.apps.iter().map(wanted).collect()
    }
}

/// A document that has been read.
struct Read {
    app: App,
    file: String,
    text: String,
}

impl Read {
    fn refuse(&self, field: &str, why: impl std::fmt::Display, next: &str) -> Refusal {
        refuse_field(&self.text, &self.file, field, why, next).into()
    }
}

impl Control {
    /// What the files of a commit ask for. `known` is what was done for the apps of the namespace.
    pub(super) async fn render(
        &self,
        source: &GitSource,
        commit: &str,
        files: Vec<File>,
        known: &BTreeMap<String, (u64, GitAppDocument)>,
    ) -> Result<Rendered, Refusal> {
        let documents = read(&source.namespace, files)?;
        self.check_places(source, &documents, known).await?;
        let by = super::by(&source.name, commit);
        let mut apps = BTreeMap::new();
        for document in documents {
            let before = known.get(document.app.name.as_str());
            let before = before
                .map(|(_, before)| &before.wanted)
                .filter(|_| before.is_some_and(|(_, before)| before.source == source.name));
            let wanted = self.resolve(&document, before).await?;
            let rehearsal = Rehearsal {
                namespace: &source.namespace,
                app: &document.app.name,
                by: &by,
                digest: wanted.digest,
                routes: &wanted.routes,
                config: &wanted.config,
            };
            // What runs as it is asked for has passed all that, perhaps under other policies.
            if before != Some(&wanted) {
                let rehearsed = self.rehearse(rehearsal).await;
                rehearsed.map_err(|(subject, error)| refusal(&document, subject, error))?;
            }
            let Read { app, file, .. } = document;
            apps.insert(app.name.to_string(), RenderedApp { app, file, wanted });
        }
        let commit = commit.to_owned();
        Ok(Rendered { commit, apps })
    }

    /// Each app belongs to one source, and no two have the same route.
    async fn check_places(
        &self,
        source: &GitSource,
        documents: &[Read],
        known: &BTreeMap<String, (u64, GitAppDocument)>,
    ) -> Result<(), Refusal> {
        let state = self.read_state().await.map_err(later)?;
        let name = |document: &Read| format!("{}/{}", source.namespace, document.app.name);
        let mut claims = Claims::default();
        for (other, app) in &state.apps {
            let is_of_commit = documents.iter().any(|document| name(document) == *other);
            let active = app.document.active.and_then(|number| app.releases.get(&number));
            if let Some(release) = active.filter(|_| !is_of_commit) {
                claims.add(other, &release.routes);
            }
        }
        for document in documents {
            let owner = known
                .get(document.app.name.as_str())
                .map(|(_, known)| &known.source);
            if let Some(owner) = owner.filter(|owner| **owner != source.name) {
                let why = format!("{} belongs to the Git source {owner}", document.app.name);
                return Err(document.refuse("metadata.name", why, "take it out there first"));
            }
            let name = name(document);
            if let Some((route, other)) = claims.collision(&name, &document.app.routes) {
                let why = format!("the route {} is already taken by {other}", route_text(route));
                return Err(document.refuse("spec.routes", why, "change one of them"));
            }
            claims.add(&name, &document.app.routes);
        }
        Ok(())
    }

    /// A document's package as a digest. A name that has been resolved once stays what it was.
    async fn resolve(&self, document: &Read, before: Option<&WantedApp>) -> Result<WantedApp, Refusal> {
        let next = "write a package such as acme/hello:1.2.3";
        let choice = document.app.package.as_ref().ok_or_else(|| {
            document.refuse(
                "spec.package",
                "a document in Git says which package it means",
                next,
            )
        })?;
        let package = choice.to_string();
        let digest = match before.filter(|before| before.package == package) {
            Some(before) => before.digest,
            None => self.digest_of(document, choice).await?,
        };
        let App {
            routes,
            config,
            objectives,
            rollout,
            ..
        } = document.app.clone();
        Ok(WantedApp {
            package,
            digest,
            routes,
            config,
            objectives,
            rollout,
        })
    }

    async fn digest_of(&self, document: &Read, choice: &PackageChoice) -> Result<Digest, Refusal> {
        let missing = || {
            let file = &document.file;
            Refusal::Later(format!(
                "{file}: the store does not have {choice} yet; `fermion push` brings it there"
            ))
        };
        let store = self.shared.parts.store.clone();
        match choice {
            PackageChoice::Digest(_, digest) => {
                let digest = *digest;
                let there = tokio::task::spawn_blocking(move || store.has(&digest)).await;
                there.unwrap_or(false).then_some(digest).ok_or_else(missing)
            }
            PackageChoice::Version(reference) => {
                let reference = reference.clone();
                let resolved = tokio::task::spawn_blocking(move || store.resolve(&reference)).await;
                match resolved {
                    Ok(Ok(digest)) => Ok(digest),
                    Ok(Err(PackageError::TagMissing(_))) => Err(missing()),
                    Ok(Err(error)) => Err(refusal(document, Subject::Package, error.into())),
                    Err(_) => Err(later(Error::Stopped {
                        doing: "look a package up",
                    })),
                }
            }
            PackageChoice::Remote(reference) => {
                let source = reference.to_string();
                let obtained = self.obtain(None, Some(&source)).await;
                obtained
                    .map(|(digest, _)| digest)
                    .map_err(|error| refusal(document, Subject::Package, error))
            }
        }
    }
}

fn read(namespace: &Namespace, files: Vec<File>) -> Result<Vec<Read>, Refusal> {
    let mut documents: Vec<Read> = Vec::new();
    for File { path, bytes } in files {
        let text = String::from_utf8(bytes).map_err(|error| {
            let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
                .iter()
                .filter(|&&byte| byte == b'\n')
                .count();
            DocumentError {
                file: path.clone(),
                line: line + 1,
                column: 1,
                what: "not UTF-8".to_owned(),
                next: "write it in UTF-8".to_owned(),
            }
        })?;
        let app = App::parse_within(&text, &path, namespace)?;
        let document = Read {
            app,
            file: path,
            text,
        };
        if let Some(other) = documents.iter().find(|other| other.app.name == document.app.name) {
            let why = format!("{} is described in {} already", document.app.name, other.file);
            return Err(document.refuse("metadata.name", why, "keep one of them"));
        }
        documents.push(document);
    }
    Ok(documents)
}

fn later(error: Error) -> Refusal {
    Refusal::Later(error.to_string())
}

/// Whether an error passes by itself. Routes of a commit do not collide with each other, so one that does at a deploy
/// collides with what an app of the same commit is about to give up.
pub(super) fn passes(error: &Error) -> bool {
    matches!(
        error,
        Error::Busy { .. }
            | Error::Bus(_)
            | Error::Stopped { .. }
            | Error::Random(_)
            | Error::PullTimeout { .. }
            | Error::RolloutNot { .. }
            | Error::Frozen { .. }
            | Error::ReleaseChanged { .. }
            | Error::RouteCollision { .. }
            | Error::Package(PackageError::Io { .. } | PackageError::Registry { .. })
    )
}

fn refusal(document: &Read, subject: Subject, error: Error) -> Refusal {
    if passes(&error) {
        return Refusal::Later(format!("{}: {error}", document.file));
    }
    let (field, next) = match subject {
        Subject::Package => ("spec.package", "name another package, or mend this one"),
        Subject::Routes => ("spec.routes", "change it"),
        Subject::Config => (
            "spec.config",
            "give the keys that the package asks for, and no others",
        ),
    };
    document.refuse(field, error, next)
}
