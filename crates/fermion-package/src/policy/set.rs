//! A set of policies: read from a folder, parsed, checked against the schema, and named by a digest. Refuses the whole
//! set for one mistake in it, with file and line, so that nobody runs under half of what was written.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::LazyLock;

use cedar_policy::{Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};
use fermion_model::Digest;
use miette::Diagnostic;

use crate::canonical::digest;
use crate::limits::{POLICIES_MAX, POLICY_FILE_BYTES_MAX, POLICY_FILES_MAX};
use crate::{Error, Result};

/// The policy of whoever has written none.
pub const DEFAULT: &str = include_str!("default.cedar");
/// What policies may speak of.
pub const SCHEMA: &str = include_str!("admission.cedarschema");
/// The file that takes the place of [`DEFAULT`].
pub const DEFAULT_FILE: &str = "default.cedar";
/// How policy files end.
const EXTENSION: &str = "cedar";

static PARSED_SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let (schema, _warnings) =
        Schema::from_cedarschema_str(SCHEMA).expect("the schema that this crate carries is valid");
    schema
});

/// The schema, parsed.
pub(super) fn schema() -> &'static Schema {
    &PARSED_SCHEMA
}

/// Texts of policies by file name.
pub type Sources = BTreeMap<String, String>;

/// A set of policies that hangs together.
#[derive(Debug, Clone)]
pub struct Policies {
    set: PolicySet,
    files: BTreeMap<PolicyId, String>,
    hash: Digest,
}

impl Policies {
    /// The default policy alone.
    pub fn builtin() -> Self {
        Self::parse(Path::new(""), &with_default(Sources::new())).expect("the default policy is valid")
    }

    /// Parses and validates; `folder` is only named in refusals.
    ///
    /// # Errors
    /// `POLICY_INVALID` with file and line.
    pub fn parse(folder: &Path, sources: &Sources) -> Result<Self> {
        let mut set = PolicySet::new();
        let mut files = BTreeMap::new();
        for (name, text) in sources {
            let file = File {
                path: folder.join(name),
                text,
            };
            let parsed = PolicySet::from_str(text).map_err(|why| file.refuse(&why))?;
            if parsed.num_of_templates() > 0 {
                return Err(
                    file.refuse_at(None, "it has a template; write policies without slots".to_owned())
                );
            }
            for policy in parsed.policies() {
                let policy = file.named(policy)?;
                let id = policy.id().clone();
                if let Some(other) = files.insert(id.clone(), name.clone()) {
                    let why = format!("the policy {id} is there already, in {other}; each @id is used once");
                    return Err(file.refuse_at(None, why));
                }
                set.add(policy)
                    .map_err(|why| file.refuse_at(None, why.to_string()))?;
            }
        }
        if files.len() > POLICIES_MAX {
            let why = format!("{} policies, the ceiling is {POLICIES_MAX}", files.len());
            return Err(Error::PolicyInvalid {
                path: folder.to_owned(),
                line: None,
                why,
            });
        }
        let policies = Self {
            set,
            files,
            hash: hash(sources),
        };
        policies.validate(folder, sources)?;
        Ok(policies)
    }

    fn validate(&self, folder: &Path, sources: &Sources) -> Result<()> {
        let result = Validator::new(schema().clone()).validate(&self.set, ValidationMode::Strict);
        let Some(error) = result.validation_errors().next() else {
            return Ok(());
        };
        let name = self.files.get(error.policy_id()).cloned().unwrap_or_default();
        let file = File {
            path: folder.join(&name),
            text: sources.get(&name).map_or("", String::as_str),
        };
        Err(file.refuse(error))
    }

    /// Names the set: the digest of its files' names and texts.
    pub fn hash(&self) -> Digest {
        self.hash
    }

    /// How many policies there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// True if there is none, so that everything is denied.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Every policy's name with the file it is in.
    pub fn names(&self) -> impl Iterator<Item = (String, &str)> {
        self.files
            .iter()
            .map(|(id, file)| (id.to_string(), file.as_str()))
    }

    pub(super) fn set(&self) -> &PolicySet {
        &self.set
    }

    pub(super) fn file_of(&self, id: &PolicyId) -> Option<&str> {
        self.files.get(id).map(String::as_str)
    }
}

/// Reads every `*.cedar` of a folder, and adds the default policy unless the folder has its own. A folder that is not
/// there has none.
pub fn read_folder(folder: &Path) -> Result<Sources> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(with_default(Sources::new()));
        }
        Err(error) => return Err(Error::io("list", folder)(error)),
    };
    let mut sources = Sources::new();
    for entry in entries {
        let path = entry.map_err(Error::io("list", folder))?.path();
        if path.extension().is_none_or(|extension| extension != EXTENSION) {
            continue;
        }
        // One that is passed over could be the one that forbids.
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            let why = "its name is not UTF-8".to_owned();
            return Err(Error::PolicyInvalid {
                path,
                line: None,
                why,
            });
        };
        if name.starts_with('.') {
            continue;
        }
        if sources.len() >= POLICY_FILES_MAX {
            let why = format!("more than {POLICY_FILES_MAX} policy files in its folder");
            return Err(Error::PolicyInvalid {
                path,
                line: None,
                why,
            });
        }
        sources.insert(name.to_owned(), read_file(&path)?);
    }
    Ok(with_default(sources))
}

/// Reads one policy file, of bounded size and in UTF-8.
pub fn read_file(path: &Path) -> Result<String> {
    let refuse = |why: String| Error::PolicyInvalid {
        path: path.to_owned(),
        line: None,
        why,
    };
    let mut bytes = Vec::new();
    let read = fs::metadata(path).and_then(|metadata| {
        if !metadata.is_file() {
            // A pipe would hold up every decision.
            return Err(std::io::Error::other("it is not a file"));
        }
        let file = fs::File::open(path)?;
        file.take(POLICY_FILE_BYTES_MAX + 1).read_to_end(&mut bytes)
    });
    read.map_err(|why| refuse(format!("it cannot be read: {why}")))?;
    if bytes.len() as u64 > POLICY_FILE_BYTES_MAX {
        return Err(refuse(format!("it has more than {POLICY_FILE_BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| refuse("it is not UTF-8".to_owned()))
}

fn with_default(mut sources: Sources) -> Sources {
    sources
        .entry(DEFAULT_FILE.to_owned())
        .or_insert_with(|| DEFAULT.to_owned());
    sources
}

/// Lengths come first, so that no two sets of files give the same bytes.
pub(super) fn hash(sources: &Sources) -> Digest {
    let mut bytes = Vec::new();
    for part in sources.iter().flat_map(|(name, text)| [name, text]) {
        bytes.extend((part.len() as u64).to_le_bytes());
        bytes.extend(part.as_bytes());
    }
    digest(&bytes)
}

/// A file, for refusals.
struct File<'a> {
    path: PathBuf,
    text: &'a str,
}

impl File<'_> {
    /// The same policy under the name that its author gave it.
    fn named(&self, policy: &Policy) -> Result<Policy> {
        let start = policy.to_cedar().unwrap_or_default();
        let begin: String = start
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .take(60)
            .collect();
        let Some(id) = policy.annotation("id") else {
            return Err(self.refuse_at(
                None,
                format!("the policy `{begin}` has no name; write @id(\"...\") above it"),
            ));
        };
        let is_name = !id.is_empty()
            && id.len() <= 64
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/'));
        if !is_name {
            let why = format!("@id({id:?}) is no name; use up to 64 letters, digits, '-', '_', '.', '/'");
            return Err(self.refuse_at(None, why));
        }
        Ok(policy.new_id(PolicyId::new(id)))
    }

    /// A refusal with the line that the diagnostic points at.
    fn refuse(&self, error: &(impl Diagnostic + std::fmt::Display)) -> Error {
        let at = error
            .labels()
            .and_then(|mut labels| labels.next())
            .map(|label| label.offset());
        let mut why = error.to_string();
        if let Some(help) = error.help() {
            why = format!("{why} ({help})");
        }
        self.refuse_at(at, why)
    }

    fn refuse_at(&self, offset: Option<usize>, why: String) -> Error {
        let line = offset.map(|offset| {
            let before = self.text.as_bytes().iter().take(offset);
            before.filter(|&&byte| byte == b'\n').count() + 1
        });
        Error::PolicyInvalid {
            path: self.path.clone(),
            line,
            why,
        }
    }
}
