//! Tokens of people and pipelines: which repositories they may read or write. Kept as hashes in a file that its owner
//! alone may read; a change of the file counts from the next request on, and a file that cannot be believed grants
//! nothing.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::access::Right;
use crate::limits::{PATTERNS_MAX, TOKEN_FILE_BYTES_MAX, TOKENS_MAX};
use crate::{Error, Result};

const SCHEMA: u32 = 1;
const PREFIX: &str = "fermion_";
const ID_BYTES: usize = 4;
const SECRET_BYTES: usize = 32;

/// The file as it is written.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    schema: u32,
    tokens: Vec<Grant>,
}

/// What one token grants.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Grant {
    id: String,
    /// The SHA-256 of the whole token, in hex digits. A token has 256 random bits: a slow hash would add nothing.
    hash: String,
    repositories: Vec<String>,
    pull: bool,
    push: bool,
    /// Seconds since the Unix epoch.
    created: u64,
}

impl Grant {
    const fn has(&self, right: Right) -> bool {
        match right {
            Right::Pull => self.pull,
            Right::Push => self.push,
        }
    }

    pub(crate) fn may(&self, right: Right, name: &str) -> bool {
        self.has(right) && self.repositories.iter().any(|pattern| fits(pattern, name))
    }

    pub(crate) fn may_everywhere(&self, right: Right) -> bool {
        self.has(right) && self.repositories.iter().any(|pattern| pattern == "*")
    }
}

/// A name, or the beginning of names before a `*`.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    }
}

/// A token to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// Repositories, by name or by a beginning and `*`.
    pub repositories: Vec<String>,
    /// May read.
    pub pull: bool,
    /// May write and delete.
    pub push: bool,
}

impl NewToken {
    fn check(&self) -> Result<()> {
        let refuse = |why: String| Err(Error::TokenInvalid { why });
        if !self.pull && !self.push {
            return refuse("it would grant nothing; say --pull, --push or both".to_owned());
        }
        if self.repositories.is_empty() || self.repositories.len() > PATTERNS_MAX {
            return refuse(format!("it needs 1 to {PATTERNS_MAX} repositories"));
        }
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-/".contains(&b);
        for pattern in &self.repositories {
            let name = pattern.strip_suffix('*').unwrap_or(pattern);
            if pattern.is_empty() || pattern.len() > 255 || !name.bytes().all(good) || name.contains("..") {
                return refuse(format!(
                    "{pattern:?} is neither a repository nor the beginning of one and '*'"
                ));
            }
            // `acme*` would also mean `acme-evil/x`.
            if pattern.ends_with('*') && !name.is_empty() && !name.ends_with('/') {
                return refuse(format!(
                    "{pattern:?}: write '{name}/*' for everything under {name}"
                ));
            }
        }
        Ok(())
    }
}

/// A token as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenView {
    /// Its public half.
    pub id: String,
    /// Repositories.
    pub repositories: Vec<String>,
    /// May read.
    pub pull: bool,
    /// May write and delete.
    pub push: bool,
    /// Seconds since the Unix epoch.
    pub created: u64,
}

impl From<&Grant> for TokenView {
    fn from(grant: &Grant) -> Self {
        Self {
            id: grant.id.clone(),
            repositories: grant.repositories.clone(),
            pull: grant.pull,
            push: grant.push,
            created: grant.created,
        }
    }
}

/// What a file is recognised by, without reading it.
type Stamp = (u64, u64, i64, i64);

/// What was read of a file, and of which.
#[derive(Debug, Default)]
struct Known {
    stamp: Option<Stamp>,
    grants: Vec<Arc<Grant>>,
}

/// The token file. It need not be there.
#[derive(Debug, Clone)]
pub struct TokenFile {
    path: PathBuf,
    known: Arc<Mutex<Known>>,
}

impl TokenFile {
    /// The file at `path`.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            known: Arc::default(),
        }
    }

    /// What this secret grants, if it is a token of the file as it is now.
    pub(crate) fn grant(&self, secret: &str) -> Option<Arc<Grant>> {
        let id = secret.strip_prefix(PREFIX)?.split('_').next()?;
        let grant = self.grants().into_iter().find(|grant| grant.id == id)?;
        let hash = hash(secret);
        bool::from(grant.hash.as_bytes().ct_eq(hash.as_bytes())).then_some(grant)
    }

    fn grants(&self) -> Vec<Arc<Grant>> {
        let stamp = std::fs::symlink_metadata(&self.path).ok().map(|metadata| {
            (
                metadata.ino(),
                metadata.len(),
                metadata.ctime(),
                metadata.ctime_nsec(),
            )
        });
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.stamp != stamp {
            let grants = match self.read() {
                Ok(document) => document.tokens.into_iter().map(Arc::new).collect(),
                Err(error) => {
                    tracing::warn!(%error, "no token is valid");
                    Vec::new()
                }
            };
            *known = Known { stamp, grants };
        }
        known.grants.clone()
    }

    fn failed(&self, operation: &'static str) -> impl FnOnce(std::io::Error) -> Error {
        let path = self.path.clone();
        move |source| Error::TokenFile {
            operation,
            path,
            source,
        }
    }

    fn read(&self) -> Result<Document> {
        let unfit = |why: String| Error::TokenFileUnfit {
            path: self.path.clone(),
            why,
        };
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Document::default()),
            Err(error) => return Err(self.failed("read")(error)),
        };
        let mode = file
            .metadata()
            .map_err(self.failed("look at"))?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            return Err(unfit(
                "may be read or written by others: run chmod 600 on it".to_owned(),
            ));
        }
        let mut text = String::new();
        file.take(TOKEN_FILE_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(self.failed("read"))?;
        let document: Document = serde_json::from_str(&text).map_err(|why| {
            unfit(format!(
                "is damaged ({why}): mend it, or remove it and make the tokens anew"
            ))
        })?;
        if document.schema != SCHEMA {
            return Err(unfit(format!(
                "has schema {}, this version knows {SCHEMA}",
                document.schema
            )));
        }
        Ok(document)
    }

    /// The tokens there are.
    pub fn list(&self) -> Result<Vec<TokenView>> {
        Ok(self.read()?.tokens.iter().map(TokenView::from).collect())
    }

    /// Makes a token; gives its text, which is nowhere else afterwards.
    pub fn create(
        &self,
        new: &NewToken,
        now: SystemTime,
        random: impl Fn(&mut [u8]) -> std::io::Result<()>,
    ) -> Result<(TokenView, String)> {
        new.check()?;
        let mut bytes = [0; ID_BYTES + SECRET_BYTES];
        random(&mut bytes).map_err(Error::Random)?;
        let (id, secret) = bytes.split_at(ID_BYTES);
        let id = hex::encode(id);
        let text = format!("{PREFIX}{id}_{}", hex::encode(secret));
        let grant = Grant {
            hash: hash(&text),
            id,
            repositories: new.repositories.clone(),
            pull: new.pull,
            push: new.push,
            created: now
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs(),
        };
        let view = TokenView::from(&grant);
        self.change(move |tokens| {
            if tokens.len() >= TOKENS_MAX {
                let why = format!("there are {TOKENS_MAX} already; revoke some");
                return Err(Error::TokenInvalid { why });
            }
            tokens.push(grant);
            Ok(())
        })?;
        Ok((view, text))
    }

    /// Takes a token's rights away, from the next request on.
    pub fn revoke(&self, id: &str) -> Result<()> {
        self.change(|tokens| {
            let before = tokens.len();
            tokens.retain(|grant| grant.id != id);
            if tokens.len() == before {
                return Err(Error::TokenUnknown {
                    id: id.chars().take(80).collect(),
                });
            }
            Ok(())
        })
    }

    /// Written beside its place and renamed there; one writer at a time.
    fn change(&self, change: impl FnOnce(&mut Vec<Grant>) -> Result<()>) -> Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let lock = File::open(folder).map_err(self.failed("lock"))?;
        lock.lock().map_err(self.failed("lock"))?;
        let mut document = self.read()?;
        change(&mut document.tokens)?;
        document.schema = SCHEMA;
        let text =
            serde_json::to_vec_pretty(&document).expect("tokens are texts and numbers, which JSON can write");
        let unfinished = self.path.with_extension("tokens.new");
        let write = || {
            match std::fs::remove_file(&unfinished) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&unfinished)?;
            file.write_all(&text)?;
            file.sync_all()?;
            std::fs::rename(&unfinished, &self.path)?;
            lock.sync_all()
        };
        write().map_err(self.failed("write"))
    }
}

fn hash(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(bytes: &mut [u8]) -> std::io::Result<()> {
        bytes.fill(7);
        Ok(())
    }

    fn new(pattern: &str) -> NewToken {
        NewToken {
            repositories: vec![pattern.to_owned()],
            pull: true,
            push: false,
        }
    }

    #[test]
    fn a_token_grants_what_it_says_until_it_is_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::new(&folder.path().join("registry.tokens"));
        let (view, text) = file
            .create(&new("acme/*"), SystemTime::UNIX_EPOCH, fixed)
            .unwrap();
        let grant = file.grant(&text).unwrap();
        assert!(grant.may(Right::Pull, "acme/x/y"));
        assert!(!grant.may(Right::Push, "acme/x") && !grant.may(Right::Pull, "acme-evil/x"));
        assert!(!grant.may(Right::Pull, "acme") && !grant.may_everywhere(Right::Pull));
        for wrong in ["", "fermion_", &text[..text.len() - 1], &format!("{text}0")] {
            assert!(file.grant(wrong).is_none(), "{wrong}");
        }
        let content = std::fs::read_to_string(&file.path).unwrap();
        assert!(!content.contains(&text));
        assert_eq!(
            std::fs::metadata(&file.path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(file.list().unwrap(), std::slice::from_ref(&view));
        file.revoke(&view.id).unwrap();
        assert!(file.grant(&text).is_none());
        assert_eq!(file.revoke(&view.id).unwrap_err().code(), "TOKEN_UNKNOWN");
    }

    #[test]
    fn a_file_that_others_can_write_or_that_is_damaged_grants_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::new(&folder.path().join("registry.tokens"));
        let (_, text) = file.create(&new("*"), SystemTime::UNIX_EPOCH, fixed).unwrap();
        std::fs::set_permissions(&file.path, std::fs::Permissions::from_mode(0o660)).unwrap();
        assert!(file.grant(&text).is_none());
        std::fs::set_permissions(&file.path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(file.grant(&text).is_some());
        std::fs::write(&file.path, "{").unwrap();
        assert!(file.grant(&text).is_none());
        assert_eq!(file.list().unwrap_err().code(), "TOKEN_FILE");
    }

    #[test]
    fn patterns_that_mean_more_than_they_seem_are_refused() {
        for bad in ["", "acme*", "*/x", "../*", "ACME/x", "a b", "a/*/b"] {
            assert_eq!(new(bad).check().unwrap_err().code(), "TOKEN_INVALID", "{bad}");
        }
        for good in ["*", "acme/*", "acme/hello", "a/b/*"] {
            new(good).check().unwrap();
        }
    }
}
