//! From the text of a `GitSource` document to a `GitSource`: every rule of every key.

use std::time::Duration;

use super::{FileName, GitCredentials, GitReference, GitSource, RefName, Repository, WriteBack, check_path};
use crate::document::{DocumentError, Head, Section, read_head, yaml};
use crate::limits::{GIT_INTERVAL_DEFAULT, GIT_INTERVAL_MAX, GIT_INTERVAL_MIN};
use crate::units::{format_duration, parse_duration};

const SPEC: &[&str] = &[
    "repository",
    "branch",
    "tag",
    "commit",
    "path",
    "interval",
    "prune",
    "self_heal",
    "follow_rewrites",
    "verify",
    "credentials",
    "write_back",
];
/// The branch that counts unless the document names something.
const BRANCH_DEFAULT: &str = "main";
/// The name beside a token that most servers take.
const USERNAME_DEFAULT: &str = "git";

impl GitSource {
    /// Parses and validates; `file` names the text in refusals.
    pub fn parse(text: &str, file: &str) -> Result<Self, DocumentError> {
        let Head {
            name,
            namespace,
            mut root,
        } = read_head(yaml::read(text, file)?, file, "GitSource", None)?;
        let next = "write spec: {repository: https://git.example.com/operations.git}";
        let mut spec = root
            .section("spec", SPEC)?
            .ok_or_else(|| root.missing("spec", next))?;
        let next = "write an address such as https://git.example.com/operations.git, ssh://git@host/path or /srv/repository";
        let repository = spec
            .parsed::<Repository>("repository", next)?
            .ok_or_else(|| spec.missing("repository", next))?;
        let source = Self {
            name,
            namespace,
            reference: reference(&mut spec)?,
            path: spec
                .converted("path", "write a path such as environments/production", check_path)?
                .map(|placed| placed.value)
                .unwrap_or_default(),
            interval: interval(&mut spec)?,
            prune: spec.boolean("prune")?.unwrap_or(false),
            self_heal: spec.boolean("self_heal")?.unwrap_or(true),
            follow_rewrites: spec.boolean("follow_rewrites")?.unwrap_or(true),
            allowed_signers: allowed_signers(&mut spec)?,
            credentials: credentials(&mut spec, &repository.value)?,
            write_back: write_back(&mut spec)?,
            repository: repository.value,
        };
        if source.repository.is_ssh() && source.credentials.is_none() {
            let next = "write credentials: {ssh: {key: id_ed25519, known_hosts: known_hosts}}";
            return Err(spec.missing("credentials", next));
        }
        Ok(source)
    }
}

fn reference(spec: &mut Section<'_>) -> Result<GitReference, DocumentError> {
    let next = "write a name such as main";
    let branch = spec.parsed::<RefName>("branch", next)?;
    let tag = spec.parsed::<RefName>("tag", next)?;
    let next = "write the whole id of a commit, in quotes";
    let commit = spec.converted("commit", next, |text| {
        let is_id =
            matches!(text.len(), 40 | 64) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        is_id
            .then(|| text.to_owned())
            .ok_or_else(|| "it is not the id of a commit".to_owned())
    })?;
    match (branch, tag, commit) {
        (None, None, None) => Ok(GitReference::Branch(RefName(BRANCH_DEFAULT.to_owned()))),
        (Some(branch), None, None) => Ok(GitReference::Branch(branch.value)),
        (None, Some(tag), None) => Ok(GitReference::Tag(tag.value)),
        (None, None, Some(commit)) => Ok(GitReference::Commit(commit.value)),
        (branch, tag, commit) => {
            let places = [
                branch.map(|placed| placed.at),
                tag.map(|placed| placed.at),
                commit.map(|placed| placed.at),
            ];
            let at = places
                .into_iter()
                .flatten()
                .last()
                .unwrap_or(crate::document::START);
            Err(spec.refuse(
                at,
                "spec names more than one of branch, tag and commit",
                "write one of them",
            ))
        }
    }
}

fn interval(spec: &mut Section<'_>) -> Result<u64, DocumentError> {
    let next = "write a time such as 2m";
    let range = GIT_INTERVAL_MIN..=GIT_INTERVAL_MAX;
    let read = spec.converted("interval", next, |text| {
        let time: Duration = parse_duration(text).map_err(|error| error.to_string())?;
        range.contains(&time).then_some(time).ok_or_else(|| {
            let (min, max) = (
                format_duration(GIT_INTERVAL_MIN),
                format_duration(GIT_INTERVAL_MAX),
            );
            format!("{text:?} is not from {min} to {max}")
        })
    })?;
    Ok(read.map_or(GIT_INTERVAL_DEFAULT, |placed| placed.value).as_secs())
}

fn file_name(section: &mut Section<'_>, key: &str) -> Result<FileName, DocumentError> {
    let next = "write the name of a file in the folder git/keys of the data directory";
    section
        .parsed::<FileName>(key, next)?
        .map(|placed| placed.value)
        .ok_or_else(|| section.missing(key, next))
}

fn allowed_signers(spec: &mut Section<'_>) -> Result<Option<FileName>, DocumentError> {
    let verify = spec.section("verify", &["allowed_signers"])?;
    verify
        .map(|mut verify| file_name(&mut verify, "allowed_signers"))
        .transpose()
}

fn credentials(
    spec: &mut Section<'_>,
    repository: &Repository,
) -> Result<Option<GitCredentials>, DocumentError> {
    let Some(entry) = spec.take("credentials") else {
        return Ok(None);
    };
    let (at, full) = (entry.node.at, spec.full("credentials"));
    let mut section = spec.open_below("credentials", entry.node, &["ssh", "token"])?;
    let ssh = section.section("ssh", &["key", "known_hosts"])?;
    let token = section.section("token", &["file", "username"])?;
    let next = "an https:// repository takes {token: {file: NAME}}, an ssh:// one {ssh: {key: NAME, known_hosts: NAME}}";
    match (ssh, token) {
        (Some(mut ssh), None) if repository.is_ssh() => Ok(Some(GitCredentials::Ssh {
            key: file_name(&mut ssh, "key")?,
            known_hosts: file_name(&mut ssh, "known_hosts")?,
        })),
        (None, Some(mut token)) if repository.is_https() => {
            let next = "write a name such as git";
            let username = token.converted("username", next, |text| {
                let is_name = text.len() <= 100 && !text.contains(':') && text.is_ascii();
                is_name
                    .then(|| text.to_owned())
                    .ok_or_else(|| "it is not a plain name".to_owned())
            })?;
            Ok(Some(GitCredentials::Token {
                username: username.map_or_else(|| USERNAME_DEFAULT.to_owned(), |placed| placed.value),
                token: file_name(&mut token, "file")?,
            }))
        }
        _ => Err(spec.refuse(at, format!("{full} does not fit the repository's address"), next)),
    }
}

fn write_back(spec: &mut Section<'_>) -> Result<WriteBack, DocumentError> {
    let Some(mut section) = spec.section("write_back", &["notes", "revert_branch"])? else {
        return Ok(WriteBack::default());
    };
    Ok(WriteBack {
        notes: section.boolean("notes")?.unwrap_or(false),
        revert_branch: section.boolean("revert_branch")?.unwrap_or(false),
    })
}
