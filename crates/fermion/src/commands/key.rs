//! `fermion key`: the keys of this place. Private halves are never printed. Where there is a trust root document,
//! rotating and revoking make the next one.

use anyhow::{Context, Result, bail};
use fermion_package::keys::{KeyFile, KeyFolder};
use fermion_package::trust::{KeyEntry, Role, change};
use fermion_package::{PrivateKey, PublicKey, Trust, When};
use fermion_telemetry::Clock as _;

use crate::cli::{KeyAction, KeyArgs, KeyImport, KeyNew, KeyRevoke, KeyRotate};
use crate::commands::trust::Change;
use crate::data::DataDirectory;
use crate::output;
use crate::sink::WallClock;

/// Makes, lists, replaces, revokes, exports and imports keys.
pub(crate) async fn run(arguments: KeyArgs, json: bool) -> Result<()> {
    let data = DataDirectory::open(&arguments.data.directory)?;
    let folder = KeyFolder::new(&data.keys());
    match arguments.action {
        KeyAction::New(new) => make(&folder, &new, json),
        KeyAction::List => list(&folder, json),
        KeyAction::Export { name } => export(&folder, name.as_deref(), json),
        KeyAction::Import(import) => import_key(&folder, &import, json),
        KeyAction::Use { name } => {
            folder.set_signing(&name)?;
            if json {
                output::json(&serde_json::json!({ "signing": name }));
            } else {
                output::line(format!("packages made here are signed with {name} from now on"));
            }
            Ok(())
        }
        KeyAction::Rotate(rotation) => rotate(&data, &folder, rotation, json).await,
        KeyAction::Revoke(revocation) => revoke(&data, revocation, json).await,
    }
}

fn make(folder: &KeyFolder, new: &KeyNew, json: bool) -> Result<()> {
    let name = KeyFolder::name_of(new.name.as_deref(), new.role);
    let key = folder.load_or_create(&name)?;
    let id = key.public().id();
    let trust = Trust::load(folder.path(), WallClock.now())?;
    let is_known = trust.keys().iter().any(|key| key.entry.id == id);
    if json {
        output::json(&serde_json::json!({
            "id": id, "name": name, "folder": folder.path(), "trusted": is_known,
        }));
        return Ok(());
    }
    output::line(format!(
        "{id}\n  in {} ({name}.key stays there; {name}.pub may be shared)",
        folder.path().display()
    ));
    if !is_known {
        output::line(format!(
            "  the trust root does not list it yet: `fermion trust add {name} --role {}`",
            new.role
        ));
    }
    Ok(())
}

/// What a key counts for at the moment, in a word or a sentence.
fn standing(trust: &Trust, id: &fermion_model::Digest) -> (String, bool) {
    let Some(key) = trust.keys().iter().find(|key| key.entry.id == *id) else {
        return ("not trusted: the trust root does not list it".to_owned(), false);
    };
    let when = When::admission(WallClock.now());
    let roles = || {
        key.entry
            .roles
            .iter()
            .map(|role| (*role, key.standing(*role, None, when)))
    };
    // A pattern of names is no reason against the key as such.
    let refusal = roles().find_map(|(_, standing)| standing.err());
    match refusal.filter(|why| !why.contains(" may sign ")) {
        Some(why) => (why, false),
        None => (
            roles()
                .map(|(role, _)| role.to_string())
                .collect::<Vec<_>>()
                .join(", "),
            true,
        ),
    }
}

fn list(folder: &KeyFolder, json: bool) -> Result<()> {
    let trust = Trust::load(folder.path(), WallClock.now())?;
    let files = folder.list()?;
    let elsewhere = trust
        .keys()
        .iter()
        .filter(|key| files.iter().all(|file| file.public.id() != key.entry.id));
    let here = files
        .iter()
        .map(|file| (file.name.clone(), file.public.id(), Some(file)));
    let keys = here.chain(elsewhere.map(|key| (key.entry.name.clone(), key.entry.id, None)));
    let mut rows = Vec::new();
    let mut documents = Vec::new();
    for (name, id, file) in keys {
        let (says, counts) = standing(&trust, &id);
        let is_private = file.is_some_and(|file| file.is_private);
        let is_signing = is_private && file.is_some_and(|file| file.is_signing);
        documents.push(serde_json::json!({
            "name": name, "id": id, "private": is_private, "signing": is_signing, "trusted": counts, "standing": says,
        }));
        let here = match (is_signing, is_private) {
            (true, _) => "signs packages",
            (_, true) => "private",
            (_, false) => "public",
        };
        rows.push([name, id.short(), here.to_owned(), says]);
    }
    if json {
        let trusted: Vec<_> = documents
            .iter()
            .filter(|key| key["trusted"] == true)
            .map(|key| key["id"].clone())
            .collect();
        output::json(&serde_json::json!({ "trusted": trusted, "keys": documents, "epoch": trust.epoch() }));
    } else if rows.is_empty() {
        output::line("no key is trusted here yet: `fermion key new` makes one");
    } else {
        output::table(["NAME", "ID", "HERE", "COUNTS FOR"], &rows);
    }
    Ok(())
}

fn export(folder: &KeyFolder, name: Option<&str>, json: bool) -> Result<()> {
    let public = match name {
        None => PrivateKey::load_or_create(folder.path())?.public().clone(),
        Some(name) => find(folder, name)?.public,
    };
    let pem = public.to_pem();
    if json {
        output::json(&serde_json::json!({ "id": public.id(), "pem": pem }));
    } else {
        output::line(pem.trim_end());
    }
    Ok(())
}

fn find(folder: &KeyFolder, name: &str) -> Result<KeyFile> {
    let keys = folder.list()?;
    let names: Vec<_> = keys.iter().map(|key| key.name.clone()).collect();
    keys.into_iter()
        .find(|key| key.name == name)
        .with_context(|| format!("there is no key {name:?} here, only: {}", names.join(", ")))
}

fn import_key(folder: &KeyFolder, import: &KeyImport, json: bool) -> Result<()> {
    let name = KeyFolder::name_of(Some(&import.name), import.role);
    let text = std::fs::read_to_string(&import.file)
        .with_context(|| format!("cannot read {}", import.file.display()))?;
    let id = if text.contains("PRIVATE KEY") {
        let key = PrivateKey::load(&import.file)?;
        folder.import(&name, &key)?;
        key.public().id()
    } else {
        let key = PublicKey::from_pem(&text, &import.file)?;
        folder.import_public(&name, &key)?;
        key.id()
    };
    let is_explicit = Trust::load(folder.path(), WallClock.now())?.root().is_some();
    if json {
        output::json(&serde_json::json!({ "id": id, "name": name, "trusted": !is_explicit }));
    } else if is_explicit {
        output::line(format!(
            "{id}\n  is here as {name}; to trust it: `fermion trust add {name} --role {}`",
            import.role
        ));
    } else {
        output::line(format!("{id}\n  is trusted here as {name}"));
    }
    Ok(())
}

/// `dev`, `dev-2`, `dev-3`: the next that is free.
fn successor(folder: &KeyFolder, trust: &Trust, name: &str) -> Result<String> {
    let (stem, role) = match name.rsplit_once('.') {
        Some((stem, role)) if role.parse::<Role>().is_ok() => (stem.to_owned(), role.parse().ok()),
        _ => (name.to_owned(), name.parse::<Role>().ok()),
    };
    let stem = match stem.rsplit_once('-') {
        Some((base, number)) if number.parse::<u32>().is_ok() => base.to_owned(),
        _ => stem,
    };
    let taken: Vec<String> = folder
        .list()?
        .into_iter()
        .map(|key| key.name)
        .chain(trust.keys().iter().map(|key| key.entry.name.clone()))
        .collect();
    (2..1000)
        .map(|number| KeyFolder::name_of(Some(&format!("{stem}-{number}")), role.unwrap_or(Role::Package)))
        .find(|name| !taken.contains(name))
        .with_context(|| format!("{name} has had too many successors; give a new key another name"))
}

async fn rotate(data: &DataDirectory, folder: &KeyFolder, rotation: KeyRotate, json: bool) -> Result<()> {
    let KeyRotate { name, overlap, admin } = rotation;
    let name = match name {
        Some(name) => name,
        None => folder.signing()?,
    };
    let change = Change::begin(data, admin).await?;
    let new_name = successor(folder, change.current(), &name)?;
    // Whether it can be replaced is known before a key is made.
    let mut document = change.document()?;
    let Some(old) = document.key_mut(&name).cloned() else {
        bail!("the trust root has no key {name:?}; `fermion key list` shows those it has");
    };
    let new = folder.load_or_create(&new_name)?;
    change::rotate(
        &mut document,
        &name,
        (&new_name, new.public()),
        WallClock.now(),
        overlap,
    )?;
    let until = document.key_mut(&name).and_then(|old| old.not_after);
    let applied = change.finish(document).await?;
    let takes_over = old.roles.contains(&Role::Package) && folder.signing()? == name;
    if takes_over {
        folder.set_signing(&new_name)?;
    }
    if json {
        output::json(&serde_json::json!({
            "old": name, "new": new_name, "id": new.public().id(), "until": until, "signing": takes_over,
            "epoch": applied,
        }));
    } else {
        output::line(format!(
            "{new_name} takes the place of {name}, which counts until {} (trust root {applied})",
            until.map_or_else(|| "for ever".to_owned(), |until| until.to_string())
        ));
        if takes_over {
            output::line(format!(
                "  packages made here are signed with {new_name} from now on"
            ));
        }
    }
    Ok(())
}

async fn revoke(data: &DataDirectory, revocation: KeyRevoke, json: bool) -> Result<()> {
    let KeyRevoke { name, reason, admin } = revocation;
    let change = Change::begin(data, admin).await?;
    let mut document = change.document()?;
    change::revoke(&mut document, &name, &reason, WallClock.now())?;
    let id = document.key_mut(&name).map(|key| key.id);
    let applied = change.finish(document).await?;
    if json {
        output::json(&serde_json::json!({ "revoked": name, "id": id, "epoch": applied }));
    } else {
        output::line(format!(
            "{name} counts for nothing any more (trust root {applied}); packages that only it signed stop: build them again, \
             or sign them with `fermion sign`"
        ));
        let folder = KeyFolder::new(&data.keys());
        if folder.signing()? == name {
            output::line(format!(
                "  it is the key that signs packages here: `fermion key new --name NAME`, `fermion trust add NAME`, \
                 then `fermion key use NAME`, or next time rotate {name} first"
            ));
        }
    }
    Ok(())
}

/// An entry of the trust root for a key that is here, or in a file.
pub(crate) fn entry(folder: &KeyFolder, what: &str) -> Result<KeyEntry> {
    let path = std::path::Path::new(what);
    if path.is_file() {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {what}"))?;
        let key = PublicKey::from_pem(&text, path)?;
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        return Ok(KeyEntry::new(&name.unwrap_or_default(), &key, []));
    }
    let key = find(folder, what)?;
    Ok(KeyEntry::new(&key.name, &key.public, [key.role]))
}
