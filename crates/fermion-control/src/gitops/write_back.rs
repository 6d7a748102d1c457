//! What is written into the repository, where the source asks for it: a note on each commit that says what became of it,
//! and a branch that takes an app's document back when its release went back. Neither is ever forced, and the branch that
//! is followed is never touched.

use fermion_model::git::GitSource;

use super::look::Watcher;
use super::mirror::{Mirror, call};
use super::short;
use super::stored::{GitAppDocument, StateDocument};
use crate::Error;

const NOTES: &str = "refs/notes/fermion";
/// The file in which a tree is put together, in the folder of the copy.
const INDEX: &str = "fermion-index";

impl Watcher {
    /// Writes what is to be said of commits. Gives whether anything came of it that is to be stored.
    pub(super) async fn say(&mut self, source: &GitSource, state: &mut StateDocument) -> bool {
        let unsaid = std::mem::take(&mut self.unsaid);
        if !source.write_back.notes {
            return false;
        }
        let mut is_news = false;
        for (commit, outcome) in unsaid {
            let text = format!("fermion {}/{}: {outcome}", self.namespace, self.name);
            if let Err(error) = self.mirror.annotate(source, &commit, &text).await {
                let what = format!("the note could not be written: {error}");
                state.note(self.event("write-back", Some(&commit), None, what));
                is_news = true;
            }
        }
        is_news
    }

    /// Offers a branch in which the document is again what served before.
    pub(super) async fn offer_revert(
        &self,
        document: &GitAppDocument,
        state: &mut StateDocument,
    ) -> Result<(), Error> {
        let Some((_, source)) = self.control.read_source(&self.namespace, &self.name).await? else {
            return Ok(());
        };
        let (Some(before), Some(head)) = (&document.before, &state.seen) else {
            return Ok(());
        };
        if !source.source.write_back.revert_branch {
            return Ok(());
        }
        let branch = format!(
            "fermion/revert-{}-{}",
            document.app,
            short(&document.record.commit)
        );
        let reverted = self
            .mirror
            .revert(&source.source, document, before, head, &branch)
            .await;
        let what = match reverted {
            Ok(()) => format!("the branch {branch} takes {} back", document.file),
            Err(error) => format!("the branch {branch} could not be written: {error}"),
        };
        state.note(self.event("write-back", Some(head), Some(document.app.as_str()), what));
        Ok(())
    }
}

impl Mirror {
    async fn annotate(&self, source: &GitSource, commit: &str, text: &str) -> Result<(), Error> {
        let there = format!("+{NOTES}:{NOTES}");
        let mut fetch = call(
            "fetch notes",
            &[
                "fetch",
                "--quiet",
                "--no-tags",
                "--no-write-fetch-head",
                "--",
                source.repository.as_str(),
                &there,
            ],
        );
        self.reach(source)?.take_to(&mut fetch);
        // There may be none yet.
        drop(self.run(fetch).await?);
        let mut add = call(
            "write a note",
            &["notes", "--ref", NOTES, "add", "--force", "--file", "-", commit],
        );
        add.input = format!("{text}\n").into_bytes();
        self.run(add).await?.done()?;
        let pushed = format!("{NOTES}:{NOTES}");
        self.push(source, "push a note", &pushed).await
    }

    /// A commit on top of `head` in which the document's file is as it was in `before`, on a branch of its own.
    async fn revert(
        &self,
        source: &GitSource,
        document: &GitAppDocument,
        before: &str,
        head: &str,
        branch: &str,
    ) -> Result<(), Error> {
        let doing = "put a commit together";
        let file = &document.file;
        let entries = self.tree(before, file).await?;
        let old = entries.into_iter().find(|entry| entry.path == *file);
        let old = old.ok_or_else(|| Error::Git {
            doing,
            why: format!("{file} was not there before"),
        })?;
        let index = || vec![("GIT_INDEX_FILE", self.folder.join(INDEX).display().to_string())];
        let mut read = call(doing, &["read-tree", head]);
        read.environment = index();
        self.run(read).await?.done()?;
        let mut update = call(doing, &["update-index", "-z", "--index-info"]);
        update.environment = index();
        update.input = format!("{} {}\t{file}\0", old.mode, old.object).into_bytes();
        self.run(update).await?.done()?;
        let mut write = call(doing, &["write-tree"]);
        write.environment = index();
        let tree = self.run(write).await?.line()?;
        let mut commit = call(doing, &["commit-tree", "-p", head, "-F", "-", &tree]);
        let why = document.record.held.as_deref().unwrap_or_default();
        let text = format!(
            "Take {} back to what served before {}\n\n{why}\n",
            document.app,
            short(&document.record.commit)
        );
        commit.input = text.into_bytes();
        let commit = self.run(commit).await?.line()?;
        let pushed = format!("{commit}:refs/heads/{branch}");
        self.push(source, "push a branch", &pushed).await
    }

    async fn push(&self, source: &GitSource, doing: &'static str, what: &str) -> Result<(), Error> {
        let mut push = call(
            doing,
            &[
                "push",
                "--quiet",
                "--no-verify",
                "--recurse-submodules=no",
                "--",
                source.repository.as_str(),
                what,
            ],
        );
        self.reach(source)?.take_to(&mut push);
        self.run(push).await?.done().map(drop)
    }
}
