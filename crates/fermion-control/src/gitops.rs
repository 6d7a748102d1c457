//! Git as the source of what runs: a source's repository is fetched now and then, its documents are read and checked
//! whole, and apps are deployed until they are as the newest commit says. What is to be done is decided by the planner
//! (`fermion_planner::git`); an app is brought in by the same deploy that a person asks for. Only this part knows Git.
//! Refuses to do: check anything out, run anything that a repository brings along, write to a branch that it follows.

mod controller;
mod difference;
mod execute;
mod look;
mod mirror;
mod orders;
mod program;
mod render;
mod stored;
mod view;
mod write_back;

use fermion_model::SourceName;

/// Who deployed what Git says: `git:shop@1a2b3c4d5e6f`.
fn by(source: &SourceName, commit: &str) -> String {
    format!("git:{source}@{}", short(commit))
}

/// As much of a commit's id as people compare.
fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}
