//! `fermion trust`: the trust root document. A change is made, signed with the root keys that are at hand, and given to
//! a running platform or to the data directory; one that needs more signatures is left as a file for the others.

use std::path::Path;

use anyhow::{Context, Result, bail};
use fermion_api::Client;
use fermion_model::units::format_duration;
use fermion_package::keys::KeyFolder;
use fermion_package::trust::{KeyEntry, ROOT_LIFETIME_DEFAULT, RootDocument, SignedRoot, accept, change};
use fermion_package::{Error, Trust};
use fermion_telemetry::Clock as _;

use crate::cli::{ApplyTo, TrustAction, TrustAdd, TrustArgs};
use crate::commands::{admin, key};
use crate::data::DataDirectory;
use crate::output;
use crate::sink::WallClock;

/// Where a change that needs more signatures is left, in the folder of keys.
const DRAFT_FILE: &str = "root.draft.json";

/// Shows or changes who is trusted with what.
pub(crate) async fn run(arguments: TrustArgs, json: bool) -> Result<()> {
    let data = DataDirectory::open(&arguments.data.directory)?;
    match arguments.action {
        TrustAction::Show { file } => show(&data, file.as_deref(), json),
        TrustAction::Init { expires } => init(&data, expires, json),
        TrustAction::Add(addition) => add(&data, addition, json).await,
        TrustAction::Draft { expires } => draft(&data, expires),
        TrustAction::Sign { file, key } => sign(&data, &file, key.as_deref(), json),
        TrustAction::Apply { file, to } => apply(&data, &file, to, json).await,
    }
}

/// A change of the trust root on its way.
pub(crate) struct Change {
    folder: KeyFolder,
    current: Trust,
    to: Option<Client>,
}

impl Change {
    /// Looks at what is in force: on the platform, if one is named, or in the data directory.
    pub(crate) async fn begin(data: &DataDirectory, to: ApplyTo) -> Result<Self> {
        let folder = KeyFolder::new(&data.keys());
        let local = Trust::load(folder.path(), WallClock.now())?;
        let Some(address) = to.admin else {
            return Ok(Self {
                folder,
                current: local,
                to: None,
            });
        };
        let client = admin::client_at(address, to.token_file.as_deref(), data.path())?;
        let envelope = client.trust().await?.document;
        let current = match envelope {
            Some(envelope) => Trust::shown(&serde_json::to_vec(&envelope)?)?,
            None => local,
        };
        Ok(Self {
            folder,
            current,
            to: Some(client),
        })
    }

    pub(crate) fn current(&self) -> &Trust {
        &self.current
    }

    /// The next document, before the change.
    pub(crate) fn document(&self) -> Result<RootDocument> {
        Ok(change::next(
            &self.current,
            WallClock.now(),
            ROOT_LIFETIME_DEFAULT,
        )?)
    }

    /// Signs the document with what is at hand and gives it to whom it is for; gives its serial.
    pub(crate) async fn finish(self, document: RootDocument) -> Result<u64> {
        let mut root = SignedRoot::draft(&document)?;
        let signed = change::sign_with(&mut root, &self.folder, &self.current)?;
        let outcome = give(self.to.as_ref(), self.folder.path(), &root).await;
        match outcome {
            Err(error) if needs_signatures(&error) => {
                let file = self.folder.path().join(DRAFT_FILE);
                write(&file, &root.write())?;
                Err(error.context(format!(
                    "signed with {}; more root keys must sign {}: `fermion trust sign FILE` where they are, then \
                     `fermion trust apply FILE`",
                    if signed.is_empty() { "no key of this place".to_owned() } else { signed.join(", ") },
                    file.display()
                )))
            }
            other => other,
        }
    }
}

fn needs_signatures(error: &anyhow::Error) -> bool {
    let local = error.downcast_ref::<Error>();
    let remote = error.downcast_ref::<fermion_api::Error>();
    matches!(local, Some(Error::RootUntrusted { .. }))
        || remote.is_some_and(|error| error.code() == Some("SIG_UNTRUSTED"))
}

/// Puts a document in force: through the platform's API, or in the data directory, where a running one notices.
async fn give(to: Option<&Client>, folder: &Path, root: &SignedRoot) -> Result<u64> {
    let bytes = root.write();
    match to {
        Some(client) => Ok(client.set_trust(&serde_json::from_slice(&bytes)?).await?.epoch),
        None => Ok(accept(folder, &bytes, WallClock.now())?.epoch()),
    }
}

fn init(data: &DataDirectory, expires: std::time::Duration, json: bool) -> Result<()> {
    let folder = KeyFolder::new(&data.keys());
    let current = Trust::load(folder.path(), WallClock.now())?;
    if current.root().is_some() {
        bail!(
            "there is a trust root of serial {} already: `fermion trust show`",
            current.epoch()
        );
    }
    // A platform without a key yet would trust nobody.
    fermion_package::PrivateKey::load_or_create(folder.path())?;
    let document = change::first(&folder, WallClock.now(), expires)?;
    let mut root = SignedRoot::draft(&document)?;
    change::sign_with(&mut root, &folder, &current)?;
    let trust = accept(folder.path(), &root.write(), WallClock.now())?;
    if json {
        output::json(&serde_json::json!({ "epoch": trust.epoch(), "keys": document.keys }));
    } else {
        output::line(format!(
            "trust root {} is in force, until {}\n  {}/root.key signs the next ones: keep a copy elsewhere, and best the \
             key itself",
            trust.epoch(),
            document.expires,
            folder.path().display()
        ));
        table(&document);
    }
    Ok(())
}

async fn add(data: &DataDirectory, addition: TrustAdd, json: bool) -> Result<()> {
    let TrustAdd {
        key: what,
        name,
        roles,
        names,
        from,
        until,
        to,
    } = addition;
    let change = Change::begin(data, to).await?;
    let mut document = change.document()?;
    let entry = key::entry(&KeyFolder::new(&data.keys()), &what)?;
    let roles = if roles.is_empty() {
        entry.roles.clone()
    } else {
        roles.into_iter().collect()
    };
    let entry = KeyEntry {
        name: name.unwrap_or(entry.name.clone()),
        roles,
        names,
        not_before: from,
        not_after: until,
        ..entry
    };
    let (id, name) = (entry.id, entry.name.clone());
    change::add(&mut document, entry)?;
    let epoch = change.finish(document).await?;
    if json {
        output::json(&serde_json::json!({ "added": name, "id": id, "epoch": epoch }));
    } else {
        output::line(format!("{name} ({}) is trusted (trust root {epoch})", id.short()));
    }
    Ok(())
}

/// Prints the next document, to be edited, signed and applied.
fn draft(data: &DataDirectory, expires: std::time::Duration) -> Result<()> {
    let now = WallClock.now();
    let current = Trust::load(&data.keys(), now)?;
    output::json(&change::next(&current, now, expires)?);
    Ok(())
}

/// Signs a draft, or adds a signature to one that others have signed.
fn sign(data: &DataDirectory, file: &Path, name: Option<&str>, json: bool) -> Result<()> {
    let folder = KeyFolder::new(&data.keys());
    let bytes = read(file)?;
    let mut root = match SignedRoot::read(&bytes) {
        Ok(root) => root,
        Err(as_signed) => {
            let document = RootDocument::read(&bytes).map_err(|as_draft| {
                if bytes.windows(9).any(|piece| piece == b"\"payload\"") {
                    anyhow::Error::from(as_signed)
                } else {
                    Error::TrustInvalid {
                        what: file.display().to_string(),
                        why: as_draft,
                    }
                    .into()
                }
            })?;
            SignedRoot::draft(&document)?
        }
    };
    let signed = match name {
        Some(name) => {
            root.sign(&folder.load(name)?)?;
            vec![name.to_owned()]
        }
        None => change::sign_with(&mut root, &folder, &Trust::load(folder.path(), WallClock.now())?)?,
    };
    if signed.is_empty() {
        bail!(
            "no root key of this document is in {}; `fermion key list` shows what is, --key chooses one",
            folder.path().display()
        );
    }
    write(file, &root.write())?;
    if json {
        output::json(
            &serde_json::json!({ "file": file, "serial": root.document().serial, "signed": signed }),
        );
    } else {
        output::line(format!("{} is signed with {}", file.display(), signed.join(", ")));
    }
    Ok(())
}

async fn apply(data: &DataDirectory, file: &Path, to: ApplyTo, json: bool) -> Result<()> {
    let root = SignedRoot::read(&read(file)?)?;
    let change = Change::begin_anyway(data, to)?;
    let epoch = give(change.to.as_ref(), change.folder.path(), &root).await?;
    if json {
        output::json(&serde_json::json!({ "epoch": epoch }));
    } else {
        output::line(format!("trust root {epoch} is in force"));
        table(root.document());
    }
    Ok(())
}

impl Change {
    /// Without looking at what is in force: it may be damaged, or not there yet.
    fn begin_anyway(data: &DataDirectory, to: ApplyTo) -> Result<Self> {
        let client = to
            .admin
            .map(|address| admin::client_at(address, to.token_file.as_deref(), data.path()))
            .transpose()?;
        Ok(Self {
            folder: KeyFolder::new(&data.keys()),
            current: Trust::default(),
            to: client,
        })
    }
}

fn show(data: &DataDirectory, file: Option<&Path>, json: bool) -> Result<()> {
    let document = match file {
        Some(file) => {
            let bytes = read(file)?;
            match SignedRoot::read(&bytes) {
                Ok(root) => Some(root.document().clone()),
                Err(error) => Some(RootDocument::read(&bytes).map_err(|_| error)?),
            }
        }
        None => Trust::load(&data.keys(), WallClock.now())?
            .root()
            .map(|root| root.document().clone()),
    };
    match document {
        None if json => output::json(&serde_json::json!({ "epoch": 0, "document": null })),
        None => output::line(
            "no trust root document: every *.pub in the folder of keys is trusted (`fermion key list`).\n\
             `fermion trust init` makes one, with roles, windows, thresholds and revocation",
        ),
        Some(document) if json => {
            output::json(&serde_json::json!({ "epoch": document.serial, "document": document }));
        }
        Some(document) => {
            output::line(format!(
                "trust root {}, until {}; what runs goes on {} longer",
                document.serial,
                document.expires,
                format_duration(std::time::Duration::from_secs(document.grace_seconds))
            ));
            table(&document);
        }
    }
    Ok(())
}

fn table(document: &RootDocument) {
    let list = |items: Vec<String>, none: &str| {
        if items.is_empty() {
            none.to_owned()
        } else {
            items.join(" ")
        }
    };
    let row = |key: &KeyEntry| {
        let window = match (key.not_before, key.not_after) {
            (None, None) => "always".to_owned(),
            (Some(from), None) => format!("from {from}"),
            (None, Some(until)) => format!("until {until}"),
            (Some(from), Some(until)) => format!("{from} to {until}"),
        };
        [
            key.name.clone(),
            key.id.short(),
            list(key.roles.iter().map(ToString::to_string).collect(), "none"),
            list(key.names.iter().map(ToString::to_string).collect(), "*"),
            key.revoked.as_ref().map_or(window, |revoked| {
                format!("revoked {}: {}", revoked.at, revoked.reason)
            }),
        ]
    };
    let rows: Vec<_> = document.keys.iter().map(row).collect();
    output::table(["NAME", "ID", "ROLES", "PACKAGES", "VALID"], &rows);
    let thresholds = document.thresholds;
    output::line(format!(
        "signatures needed: root {}, package {}, provenance {}, channel {}",
        thresholds.root, thresholds.package, thresholds.provenance, thresholds.channel
    ));
    if !document.channels.is_empty() {
        let names = document.channels.iter().map(ToString::to_string).collect();
        output::line(format!("only through a channel: {}", list(names, "")));
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(file, bytes).with_context(|| format!("cannot write {}", file.display()))
}
