//! A bare copy of what a source follows, from which documents are read straight out of Git's object store.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use fermion_model::document::DOCUMENT_BYTES_MAX;
use fermion_model::git::{FileName, GitCredentials, GitReference, GitSource};
use fermion_model::{Namespace, SourceName};

use super::program::{Call, Ended, run};
use super::render::Refusal;
use crate::Error;
use crate::limits::{
    GIT_DOCUMENTS_MAX, GIT_FETCH_WAIT_MAX, GIT_LIST_BYTES_MAX, GIT_STEP_WAIT_MAX, SECRET_FILE_BYTES_MAX,
};

/// What the newest commit that counts is called in the copy.
const HEAD: &str = "refs/fermion/head";

/// What Git says of a copy that a kill has left in the middle of something.
const DAMAGED: &[&str] = &[".lock': File exists", "is corrupt", "object file"];

/// One document of a commit, as it lies there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) path: String,
    pub(super) bytes: Vec<u8>,
}

/// One entry of a commit's tree.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) mode: String,
    pub(super) object: String,
    pub(super) bytes: u64,
    pub(super) path: String,
}

/// How a server is reached.
pub(super) struct Reach {
    pub(super) config: Vec<(String, String)>,
    pub(super) environment: Vec<(&'static str, String)>,
    pub(super) secrets: Vec<String>,
}

/// The copy of one source.
#[derive(Debug, Clone)]
pub(super) struct Mirror {
    pub(super) folder: PathBuf,
    keys: PathBuf,
}

pub(super) fn call<'c>(doing: &'static str, arguments: &[&'c str]) -> Call<'c> {
    Call {
        doing,
        arguments: arguments.to_vec(),
        input: Vec::new(),
        config: Vec::new(),
        environment: Vec::new(),
        secrets: Vec::new(),
        wait_max: GIT_STEP_WAIT_MAX,
        output_bytes_max: GIT_LIST_BYTES_MAX,
    }
}

impl Mirror {
    /// Below `root`, the folder for Git of the data directory.
    pub(super) fn new(root: &Path, namespace: &Namespace, name: &SourceName) -> Self {
        Self {
            folder: root.join("mirrors").join(namespace.as_str()).join(name.as_str()),
            keys: root.join("keys"),
        }
    }

    pub(super) async fn run(&self, call: Call<'_>) -> Result<Ended, Error> {
        run(&self.folder, call).await
    }

    /// Makes the copy if there is none. One that cannot be used can be removed at any time.
    async fn open(&self) -> Result<(), Error> {
        if self.folder.join("HEAD").is_file() {
            return Ok(());
        }
        let failed = |error: std::io::Error| Error::Git {
            doing: "make its copy of the repository",
            why: error.to_string(),
        };
        tokio::fs::create_dir_all(&self.folder).await.map_err(failed)?;
        let init = call(
            "make its copy of the repository",
            &["init", "--quiet", "--bare", "--template="],
        );
        self.run(init).await?.done().map(drop)
    }

    /// Brings the copy up to date; gives the id of the commit that counts. A copy that a kill has left damaged is made anew.
    pub(super) async fn fetch(&self, source: &GitSource) -> Result<String, Error> {
        match self.try_fetch(source).await {
            Err(Error::Git { why, .. }) if DAMAGED.iter().any(|words| why.contains(words)) => {
                tracing::warn!(folder = %self.folder.display(), why, "the copy of a repository is made anew");
                let removed = tokio::fs::remove_dir_all(&self.folder).await;
                removed.map_err(|error| Error::Git {
                    doing: "make its copy of the repository anew",
                    why: error.to_string(),
                })?;
                self.try_fetch(source).await
            }
            fetched => fetched,
        }
    }

    async fn try_fetch(&self, source: &GitSource) -> Result<String, Error> {
        self.open().await?;
        let there = match &source.reference {
            GitReference::Branch(name) => format!("refs/heads/{name}"),
            GitReference::Tag(name) => format!("refs/tags/{name}"),
            GitReference::Commit(id) => id.clone(),
        };
        let wanted = format!("+{there}:{HEAD}");
        let mut fetch = call(
            "fetch the repository",
            &[
                "fetch",
                "--quiet",
                "--no-tags",
                "--no-recurse-submodules",
                "--no-write-fetch-head",
                "--",
                source.repository.as_str(),
                &wanted,
            ],
        );
        self.reach(source)?.take_to(&mut fetch);
        self.run(fetch).await?.done()?;
        let peeled = format!("{HEAD}^{{commit}}");
        let parse = call("read the commit", &["rev-parse", "--verify", "--quiet", &peeled]);
        self.run(parse).await?.line()
    }

    /// Whether `newer` has `older` behind it.
    pub(super) async fn follows(&self, older: &str, newer: &str) -> Result<bool, Error> {
        let ask = call("compare commits", &["merge-base", "--is-ancestor", older, newer]);
        // A commit that is not there any more is behind nobody.
        Ok(self.run(ask).await?.status == Some(0))
    }

    /// Checks a commit's signature by the keys in this file; gives what is said of it.
    pub(super) async fn verify(
        &self,
        signers: &FileName,
        commit: &str,
    ) -> Result<Result<String, String>, Error> {
        let file = self.keys.join(signers.as_str());
        if !file.is_file() {
            let why = format!("there is no file {}", file.display());
            return Err(Error::Git {
                doing: "check signatures",
                why,
            });
        }
        let mut verify = call("check signatures", &["verify-commit", commit]);
        let file = file.display().to_string();
        verify.config = vec![("gpg.ssh.allowedSignersFile".to_owned(), file)];
        let ended = self.run(verify).await?;
        Ok(match (ended.status, ended.words) {
            (Some(0), words) => Ok(words),
            (_, words) if words.is_empty() => Err("it is not signed".to_owned()),
            (_, words) => Err(words),
        })
    }

    /// Every document of a commit below a path. Links, submodules and hidden files are no documents.
    pub(super) async fn files(&self, commit: &str, path: &str) -> Result<Result<Vec<File>, Refusal>, Error> {
        let is_document = |entry: &Entry| {
            let is_plain = matches!(entry.mode.as_str(), "100644" | "100755");
            let is_hidden = entry.path.split('/').any(|part| part.starts_with('.'));
            is_plain && !is_hidden && (entry.path.ends_with(".yaml") || entry.path.ends_with(".yml"))
        };
        let mut entries = self.tree(commit, path).await?;
        entries.retain(is_document);
        if entries.len() > GIT_DOCUMENTS_MAX {
            let why = format!(
                "there are {} documents, more than the {GIT_DOCUMENTS_MAX} of one source",
                entries.len()
            );
            return Ok(Err(Refusal::Commit(why)));
        }
        if let Some(large) = entries
            .iter()
            .find(|entry| entry.bytes > DOCUMENT_BYTES_MAX as u64)
        {
            let why = format!("{} is larger than {DOCUMENT_BYTES_MAX} bytes", large.path);
            return Ok(Err(Refusal::Commit(why)));
        }
        let mut read = call("read documents", &["cat-file", "--batch"]);
        let objects = entries.iter().map(|entry| format!("{}\n", entry.object));
        read.input = objects.collect::<String>().into_bytes();
        read.output_bytes_max = GIT_DOCUMENTS_MAX * (DOCUMENT_BYTES_MAX + 128);
        let output = self.run(read).await?.done()?;
        contents(entries, &output).map(Ok).ok_or_else(|| Error::Git {
            doing: "read documents",
            why: "its answer cannot be read".to_owned(),
        })
    }

    /// The files of a commit below a path, or the one that it names.
    pub(super) async fn tree(&self, commit: &str, path: &str) -> Result<Vec<Entry>, Error> {
        let mut arguments = vec!["ls-tree", "-r", "-l", "-z", "--full-tree", commit];
        if !path.is_empty() {
            arguments.extend(["--", path]);
        }
        let output = self.run(call("list documents", &arguments)).await?.done()?;
        let text = String::from_utf8_lossy(&output);
        Ok(text.split('\0').filter_map(entry).collect())
    }

    pub(super) fn reach(&self, source: &GitSource) -> Result<Reach, Error> {
        let mut reach = Reach {
            config: Vec::new(),
            environment: Vec::new(),
            secrets: Vec::new(),
        };
        match &source.credentials {
            None => {}
            Some(GitCredentials::Ssh { key, known_hosts }) => {
                let (key, hosts) = (self.secret_file(key)?, self.keys.join(known_hosts.as_str()));
                let command = format!(
                    "ssh -F /dev/null -o BatchMode=yes -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes -o \
                     GlobalKnownHostsFile=/dev/null -o ConnectTimeout=20 -o ClearAllForwardings=yes -o {} -i {}",
                    quoted(&format!("UserKnownHostsFile=\"{}\"", hosts.display())),
                    quoted(&key.display().to_string())
                );
                reach.environment.push(("GIT_SSH_COMMAND", command));
            }
            Some(GitCredentials::Token { username, token }) => {
                let file = self.secret_file(token)?;
                let token =
                    std::fs::read_to_string(&file).map_err(|error| unreadable(&file, &error.to_string()))?;
                let token = token.trim().to_owned();
                let basic = BASE64.encode(format!("{username}:{token}"));
                let header = format!("Authorization: Basic {basic}");
                reach.config.push(("http.extraHeader".to_owned(), header));
                reach.secrets = vec![token, basic];
            }
        }
        Ok(reach)
    }

    /// A file that nobody but its owner can read.
    fn secret_file(&self, name: &FileName) -> Result<PathBuf, Error> {
        let file = self.keys.join(name.as_str());
        let metadata = std::fs::metadata(&file).map_err(|error| unreadable(&file, &error.to_string()))?;
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(unreadable(&file, "others can read it too; `chmod 600` it"));
        }
        if metadata.len() > SECRET_FILE_BYTES_MAX {
            return Err(unreadable(&file, "it is too large for a key"));
        }
        Ok(file)
    }
}

impl Reach {
    pub(super) fn take_to(self, call: &mut Call<'_>) {
        call.config = self.config;
        call.environment.extend(self.environment);
        call.secrets = self.secrets;
        call.wait_max = GIT_FETCH_WAIT_MAX;
    }
}

fn unreadable(file: &Path, why: &str) -> Error {
    Error::Git {
        doing: "use its key",
        why: format!("{}: {why}", file.display()),
    }
}

/// For the shell that Git gives the command to.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// `MODE TYPE OBJECT SIZE<tab>PATH`; none of what is no file.
fn entry(line: &str) -> Option<Entry> {
    let (head, path) = line.split_once('\t')?;
    let mut parts = head.split_ascii_whitespace();
    let (mode, _kind, object, size) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    Some(Entry {
        mode: mode.to_owned(),
        object: object.to_owned(),
        bytes: size.parse().ok()?,
        path: path.to_owned(),
    })
}

/// Takes apart what `cat-file --batch` wrote: for each object `ID TYPE SIZE`, its bytes, and the end of a line.
fn contents(entries: Vec<Entry>, mut output: &[u8]) -> Option<Vec<File>> {
    let mut files = Vec::with_capacity(entries.len());
    for entry in entries {
        let end = output.iter().position(|&byte| byte == b'\n')?;
        let head = std::str::from_utf8(&output[..end]).ok()?;
        let size: usize = head.rsplit(' ').next()?.parse().ok()?;
        let bytes = output.get(end + 1..end + 1 + size)?;
        files.push(File {
            path: entry.path,
            bytes: bytes.to_vec(),
        });
        output = output.get(end + 2 + size..)?;
    }
    Some(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_and_contents_are_taken_apart() {
        let listed = entry("100644 blob abc      12\tenvironments/a b.yaml").unwrap();
        assert_eq!(
            (listed.bytes, listed.path.as_str()),
            (12, "environments/a b.yaml")
        );
        assert_eq!(entry("160000 commit abc       -\tvendored"), None);
        let again = || entry("100644 blob abc 3\tx").unwrap();
        let files = contents(vec![again(), again()], b"abc blob 3\na\nb\nabc blob 0\n\n").unwrap();
        assert_eq!(
            (files[0].bytes.as_slice(), files[1].bytes.len()),
            (b"a\nb".as_slice(), 0)
        );
        assert_eq!(contents(vec![again()], b"abc missing\n"), None);
    }

    fn source(spec: &str) -> GitSource {
        let head = "apiVersion: fermion.dev/v1\nkind: GitSource\nmetadata: {name: a}\nspec: ";
        GitSource::parse(&format!("{head}{spec}\n"), "f").unwrap()
    }

    fn mirror(folder: &Path) -> Mirror {
        Mirror::new(folder, &Namespace::default(), &"a".parse().unwrap())
    }

    #[tokio::test]
    async fn a_copy_that_was_left_locked_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let bare = folder.path().join("operations.git");
        std::fs::create_dir(&bare).unwrap();
        let at = async |arguments: &[&str], input: &str| {
            let mut call = call("prepare", arguments);
            call.input = input.as_bytes().to_vec();
            run(&bare, call).await.unwrap().line().unwrap()
        };
        at(&["init", "--quiet", "--bare", "--template="], "").await;
        let blob = at(&["hash-object", "-w", "--stdin"], "kind: App\n").await;
        let tree = at(&["mktree"], &format!("100644 blob {blob}\tshop.yaml\n")).await;
        let commit = at(&["commit-tree", &tree, "-m", "first"], "").await;
        at(&["update-ref", "refs/heads/main", &commit], "").await;
        at(&["tag", "-a", "-m", "one", "v1", &commit], "").await;

        let mirror = mirror(folder.path());
        let address = bare.display();
        for reference in [
            "branch: main".to_owned(),
            "tag: v1".to_owned(),
            format!("commit: '{commit}'"),
        ] {
            let source = source(&format!("{{repository: {address}, {reference}}}"));
            assert_eq!(mirror.fetch(&source).await.unwrap(), commit, "{reference}");
        }
        let lock = mirror.folder.join("refs/fermion/head.lock");
        std::fs::create_dir_all(lock.parent().unwrap()).unwrap();
        std::fs::write(&lock, "").unwrap();
        let next = at(&["commit-tree", &tree, "-p", &commit, "-m", "second"], "").await;
        at(&["update-ref", "refs/heads/main", &next], "").await;
        let source = source(&format!("{{repository: {address}}}"));
        assert_eq!(mirror.fetch(&source).await.unwrap(), next);
        assert!(mirror.follows(&commit, &next).await.unwrap());
        assert!(!mirror.follows(&next, &commit).await.unwrap());
        let files = mirror.files(&next, "").await.unwrap().unwrap();
        assert_eq!(
            (files.len(), files[0].bytes.as_slice()),
            (1, b"kind: App\n".as_slice())
        );
    }

    #[test]
    fn a_token_comes_from_a_file_of_its_own_and_is_in_no_message() {
        let folder = tempfile::tempdir().unwrap();
        let mirror = mirror(folder.path());
        let source = source("{repository: https://h/r, credentials: {token: {file: token}}}");
        let refused = |part: &str| {
            let error = mirror.reach(&source).err().expect("it is refused").to_string();
            assert!(error.contains(part), "{error}");
        };
        refused("No such file");
        let file = folder.path().join("keys/token");
        std::fs::create_dir_all(folder.path().join("keys")).unwrap();
        std::fs::write(&file, "hunter2\n").unwrap();
        let readable_by =
            |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        readable_by(0o644);
        refused("chmod 600");
        readable_by(0o600);
        let reach = mirror.reach(&source).unwrap();
        // `git:hunter2`
        let header = "Authorization: Basic Z2l0Omh1bnRlcjI=".to_owned();
        assert_eq!(reach.config, [("http.extraHeader".to_owned(), header)]);
        assert_eq!(reach.secrets, ["hunter2", "Z2l0Omh1bnRlcjI="]);
    }

    #[test]
    fn the_shell_gets_paths_whole() {
        assert_eq!(quoted("/a b/it's"), r"'/a b/it'\''s'");
    }
}
