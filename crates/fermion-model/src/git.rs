//! `GitSource`: a place in a Git repository that says which apps there are. What may stand in it ends up on the command
//! line of `git` and of `ssh`, so nothing passes that either could take for anything else than what it is.

mod parse;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::{GIT_ADDRESS_BYTES_MAX, GIT_PATH_BYTES_MAX, GIT_REFERENCE_BYTES_MAX};
use crate::{Namespace, SourceName};

/// A validated source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitSource {
    /// Unique in its namespace.
    pub name: SourceName,
    /// The tenant. Apps of other namespaces are not to be had from here.
    pub namespace: Namespace,
    /// Where the repository is.
    pub repository: Repository,
    /// Which commit counts.
    pub reference: GitReference,
    /// The folder or file in it; empty for all of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Seconds between two looks, before jitter.
    pub interval: u64,
    /// Whether an app goes out of service when its document is gone.
    pub prune: bool,
    /// Whether what was changed by other hands is changed back, or only said.
    pub self_heal: bool,
    /// Whether a branch may be taken to a commit that does not follow from the one before.
    pub follow_rewrites: bool,
    /// The file with the keys by which commits must be signed, in the platform's folder for such files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_signers: Option<FileName>,
    /// How the platform says who it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<GitCredentials>,
    /// What is written into the repository.
    #[serde(default)]
    pub write_back: WriteBack,
}

/// Which commit of a repository counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GitReference {
    /// The newest of a branch.
    Branch(RefName),
    /// What a tag stands for.
    Tag(RefName),
    /// This one: its whole id.
    Commit(String),
}

impl fmt::Display for GitReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Branch(RefName(name)) => write!(f, "branch {name}"),
            Self::Tag(RefName(name)) => write!(f, "tag {name}"),
            Self::Commit(id) => write!(f, "commit {id}"),
        }
    }
}

/// How the platform says who it is to a repository's server. Secrets are in files, never in the document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum GitCredentials {
    /// By SSH.
    Ssh {
        /// The file with the private key.
        key: FileName,
        /// The file with the server's key, as `known_hosts` has it.
        known_hosts: FileName,
    },
    /// By HTTPS.
    Token {
        /// The name that the server wants beside the token.
        username: String,
        /// The file with the token.
        token: FileName,
    },
}

/// What is written into the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteBack {
    /// A note under `refs/notes/fermion` on each commit: what became of it.
    #[serde(default)]
    pub notes: bool,
    /// A branch that takes an app's document back to what served, when a release of it went back.
    #[serde(default)]
    pub revert_branch: bool,
}

macro_rules! checked {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(pub(crate) String);

        impl $name {
            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                $check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

checked!(
    /// The address of a repository: `https://`, `ssh://`, `file://`, or an absolute path. Without a password.
    Repository,
    check_repository
);
checked!(
    /// The name of a branch or a tag, without `refs/heads/`.
    RefName,
    check_ref_name
);
checked!(
    /// The name of a file in the platform's folder for keys of repositories.
    FileName,
    check_file_name
);

impl Repository {
    /// Whether it is reached by SSH.
    pub fn is_ssh(&self) -> bool {
        self.0.starts_with("ssh://")
    }

    /// Whether it is reached by HTTPS.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }
}

fn check_repository(text: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/:@[]+,=%".contains(&b);
    if text.len() > GIT_ADDRESS_BYTES_MAX || !text.bytes().all(plain) {
        return Err(format!(
            "it is longer than {GIT_ADDRESS_BYTES_MAX} bytes, or holds what no plain address holds"
        ));
    }
    if text.starts_with('/') {
        return Ok(());
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(
            "it is neither an address with https://, ssh:// or file:// nor an absolute path".to_owned(),
        );
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    match scheme {
        "file" if authority.is_empty() && !path.is_empty() => return Ok(()),
        "https" if user.is_some() => {
            return Err("it holds a user or a password; name files under credentials".to_owned());
        }
        "https" => {}
        "ssh" => {
            let is_user = |user: &str| {
                user.starts_with(|c: char| c.is_ascii_alphanumeric())
                    && user
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
            };
            if !user.is_none_or(is_user) {
                return Err("its user is not a plain name; a password has no place here".to_owned());
            }
        }
        "file" => return Err("a file:// address has three slashes and an absolute path".to_owned()),
        _ => return Err(format!("{scheme}:// is not taken; there is https, ssh and file")),
    }
    let is_host = |host: &str| {
        host.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[')
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b))
    };
    if !is_host(host) || path.is_empty() {
        return Err("it has no host, or no path behind it".to_owned());
    }
    Ok(())
}

/// Stricter than Git (git-check-ref-format), which no name that people give a branch notices.
fn check_ref_name(text: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._/+".contains(&b);
    let segment =
        |s: &str| !s.is_empty() && !s.starts_with(['.', '-']) && !s.ends_with('.') && !s.ends_with(".lock");
    let is_name = text.len() <= GIT_REFERENCE_BYTES_MAX
        && text.bytes().all(plain)
        && !text.contains("..")
        && text.split('/').all(segment);
    is_name
        .then_some(())
        .ok_or_else(|| format!("{:?} is not the name of a branch or a tag", short(text)))
}

fn check_file_name(text: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let is_name = (1..=100).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with(['.', '-']);
    is_name.then_some(()).ok_or_else(|| {
        format!(
            "{:?} is not the name of a file in the folder git/keys of the data directory",
            short(text)
        )
    })
}

/// A path in a repository: relative, plain, and none that leads out of it.
fn check_path(text: &str) -> Result<String, String> {
    let segment = |s: &str| !s.is_empty() && !s.starts_with('-') && s != "." && s != ".." && s != ".git";
    let path = text.strip_suffix('/').unwrap_or(text);
    if path == "." {
        return Ok(String::new());
    }
    if path.len() > GIT_PATH_BYTES_MAX || path.contains('\\') || !path.split('/').all(segment) {
        return Err(format!("{:?} is not a path within a repository", short(text)));
    }
    Ok(path.to_owned())
}

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}
