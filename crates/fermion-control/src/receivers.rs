//! Who is told of alerts and rollouts. Messages lie on the bus from the moment at which what makes them is stored until
//! their receiver has taken them: nothing is lost with the process, and a message that is sent twice has the same key.
//! Refuses to do: deciding what is told, holding a secret anywhere but in memory, showing one.

mod ask;
mod format;
mod mail;
mod message;
mod outbox;
mod send;
#[cfg(test)]
mod tests;

pub(crate) use ask::Word;
pub(crate) use message::{Message, RolloutNotice};

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fermion_model::receivers::{Address, ReceiversFile, Road, read_url};

use crate::Error;
use crate::limits::{SECRET_FILE_BYTES_MAX, SEND_BACKOFF_MAX, SEND_BACKOFF_MIN, SEND_WAIT_MAX};

/// What must not be shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// A receiver with everything that is needed to reach it. Addresses may be secrets, too.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Webhook {
        url: Secret,
        secret: Option<Secret>,
    },
    Slack {
        url: Secret,
    },
    PagerDuty {
        url: Secret,
        routing_key: Secret,
    },
    Alertmanager {
        url: Secret,
    },
    Email(mail::Line),
    Command {
        program: PathBuf,
        arguments: Vec<String>,
    },
}

/// How patient the sender is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How long one attempt may take.
    pub attempt_max: Duration,
    /// The pause after the first attempt that failed; each further one is twice as long.
    pub backoff_min: Duration,
    /// The longest pause.
    pub backoff_max: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempt_max: SEND_WAIT_MAX,
            backoff_min: SEND_BACKOFF_MIN,
            backoff_max: SEND_BACKOFF_MAX,
        }
    }
}

/// Every receiver, and which alerts it gets.
#[derive(Debug, Clone, Default)]
pub struct Receivers {
    targets: BTreeMap<String, Target>,
    /// The rules; the addresses are with the targets.
    rules: ReceiversFile,
    patience: Patience,
}

impl Receivers {
    /// Reads `alerts.toml` in a folder, and the files it names, which are looked for beside it. Without the file nobody
    /// is told anything. Blocks.
    ///
    /// # Errors
    /// `Receivers`: the file, or one that it names, cannot be read, is not sound, or may be read by others.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(fermion_model::receivers::RECEIVERS_FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(refuse(&path, &error)),
        };
        let shown = path.display().to_string();
        let mut rules = ReceiversFile::parse(&text, &shown).map_err(|error| Error::Receivers {
            what: error.to_string(),
        })?;
        let mut targets = BTreeMap::new();
        for (name, road) in std::mem::take(&mut rules.receivers) {
            targets.insert(name, target(&road, folder)?);
        }
        Ok(Self {
            targets,
            rules,
            patience: Patience::default(),
        })
    }

    /// The same with another patience.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }
}

fn target(road: &Road, folder: &Path) -> Result<Target, Error> {
    Ok(match road {
        Road::Webhook { url, secret_file } => Target::Webhook {
            url: address(url, folder)?,
            secret: secret_file
                .as_ref()
                .map(|file| secret(&folder.join(file)))
                .transpose()?,
        },
        Road::Slack { url } => Target::Slack {
            url: address(url, folder)?,
        },
        Road::PagerDuty {
            url,
            routing_key_file,
        } => Target::PagerDuty {
            url: address(url, folder)?,
            routing_key: secret(&folder.join(routing_key_file))?,
        },
        Road::Alertmanager { url } => {
            let Secret(root) = address(url, folder)?;
            Target::Alertmanager {
                url: Secret(format!("{}/api/v2/alerts", root.trim_end_matches('/'))),
            }
        }
        Road::Email(mail) => Target::Email(mail::line(mail, folder)?),
        Road::Command { program, arguments } => Target::Command {
            program: folder.join(program),
            arguments: arguments.clone(),
        },
    })
}

fn address(address: &Address, folder: &Path) -> Result<Secret, Error> {
    match address {
        Address::Plain(url) => Ok(Secret(url.clone())),
        Address::File(file) => {
            let path = folder.join(file);
            let Secret(url) = secret(&path)?;
            read_url(&url).map(Secret).map_err(|why| refuse(&path, &why))
        }
    }
}

/// The first line of a file that nobody else may read.
fn secret(path: &Path) -> Result<Secret, Error> {
    let failed = |error: &dyn fmt::Display| refuse(path, error);
    let file = std::fs::File::open(path).map_err(|error| failed(&error))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = file
            .metadata()
            .map_err(|error| failed(&error))?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            return Err(failed(&"others may read it; make it mode 0600"));
        }
    }
    let mut text = String::new();
    let mut bounded = file.take(SECRET_FILE_BYTES_MAX);
    bounded
        .read_to_string(&mut text)
        .map_err(|error| failed(&error))?;
    let text = text.trim();
    if text.is_empty() || text.chars().any(|letter| letter.is_control() || letter == ' ') {
        return Err(failed(&"it does not hold one word on one line"));
    }
    Ok(Secret(text.to_owned()))
}

fn refuse(path: &Path, why: &dyn fmt::Display) -> Error {
    Error::Receivers {
        what: format!("{}: {why}", path.display()),
    }
}
