//! What `push`, `pull` and `copy` share: the client of registries, references as people write them, and how a transfer
//! is shown: a bar on a terminal, lines elsewhere, nothing but the result with `--json`.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::{Result, bail};
use fermion_model::remote::Registry;
use fermion_model::{PackageName, RemoteReference};
use fermion_package::remote::{Client, ClientConfig, Event, Plaintext, Progress, Pushed};

use crate::cli::{RegistryArgs, RemoteArgs};
use crate::output;

/// Cells of the bar.
const BAR_CELLS: u64 = 24;

/// The client for one command.
pub(crate) fn client(arguments: &RemoteArgs, doing: &'static str, json: bool) -> Result<Client> {
    let plaintext = match arguments.insecure {
        true => Plaintext::Everywhere,
        false => Plaintext::Loopback,
    };
    let progress = if json { Progress::default() } else { shown(doing) };
    Ok(Client::new(config(&arguments.registries, plaintext, progress))?)
}

/// The client of a running platform.
pub(crate) fn platform_client(arguments: &RegistryArgs, insecure: Vec<Registry>) -> Result<Client> {
    Ok(Client::new(config(
        arguments,
        Plaintext::With(insecure),
        Progress::default(),
    ))?)
}

fn config(arguments: &RegistryArgs, plaintext: Plaintext, progress: Progress) -> ClientConfig {
    let folder = arguments.docker_config.clone();
    let folder = folder.or_else(|| std::env::home_dir().map(|home| home.join(".docker")));
    ClientConfig {
        docker_config: folder.map(|folder: PathBuf| folder.join("config.json")),
        plaintext,
        token_realms: arguments.token_realm.clone(),
        progress,
        ..ClientConfig::default()
    }
}

/// Where a package is to go: `HOST`, `HOST/REPOSITORY`, with a tag or a digest if one is written.
pub(crate) fn target(text: &str, name: &PackageName) -> Result<RemoteReference> {
    if text.contains('/') {
        return Ok(text.parse()?);
    }
    Ok(RemoteReference::of(text.parse::<Registry>()?, name))
}

/// Splits `HOST/NAME:TAG` into the registry's part and the local package.
pub(crate) fn split(package: &str) -> Result<(RemoteReference, String)> {
    if !RemoteReference::names_a_registry(package) {
        bail!("{package:?} names no registry: say --to REGISTRY, or put the registry in front of the name");
    }
    let remote: RemoteReference = package.parse()?;
    let local = package
        .split_once('/')
        .map_or(package, |(_, rest)| rest)
        .to_owned();
    Ok((remote, local))
}

/// Says what is in a registry now.
pub(crate) fn show_pushed(pushed: &Pushed, what: &str, json: bool) {
    let package = format!("{}:{}", pushed.name, pushed.version);
    if json {
        output::json(&serde_json::json!({
            "package": package, "digest": pushed.digest, "at": pushed.at, "blobs": pushed.blobs, "bytes": pushed.bytes,
            "referrers": pushed.referrers,
        }));
        return;
    }
    output::line(format!(
        "{what} {package} to {}\n  digest {}\n  {} KiB in {} blobs, {} attached",
        pushed.at,
        pushed.digest,
        pushed.bytes.div_ceil(1024),
        pushed.blobs,
        pushed.referrers,
    ));
}

#[derive(Default)]
struct Counted {
    blobs: usize,
    blobs_done: usize,
    bytes: u64,
    bytes_moved: u64,
    bytes_skipped: u64,
}

impl Counted {
    fn take(&mut self, event: &Event) {
        match event {
            Event::Planned { blobs, bytes } => (self.blobs, self.bytes) = (*blobs, *bytes),
            Event::Moved { bytes, .. } => self.bytes_moved += bytes,
            Event::Arrived { bytes, was_there, .. } => {
                self.blobs_done += 1;
                self.bytes_skipped += if *was_there { *bytes } else { 0 };
            }
            Event::Retry { .. } => {}
        }
    }

    fn bar(&self, doing: &str) -> String {
        let done = (self.bytes_moved + self.bytes_skipped).min(self.bytes);
        let cells = done
            .saturating_mul(BAR_CELLS)
            .checked_div(self.bytes)
            .unwrap_or(0);
        let filled: String = (0..BAR_CELLS)
            .map(|cell| if cell < cells { '#' } else { '.' })
            .collect();
        let (done, all) = (done.div_ceil(1024), self.bytes.div_ceil(1024));
        format!(
            "{doing} [{filled}] {done}/{all} KiB, {}/{} blobs",
            self.blobs_done.min(self.blobs),
            self.blobs
        )
    }
}

/// Shows a transfer on standard error.
fn shown(doing: &'static str) -> Progress {
    let counted = Mutex::new(Counted::default());
    let terminal = std::io::stderr().is_terminal();
    Progress::new(move |event| {
        let Ok(mut counted) = counted.lock() else { return };
        counted.take(&event);
        if terminal {
            // Back to the line's begin, and the rest of it cleared.
            let end = if counted.blobs > 0 && counted.blobs_done >= counted.blobs {
                "\n"
            } else {
                ""
            };
            let mut out = std::io::stderr().lock();
            drop(write!(out, "\r\x1b[K{}{end}", counted.bar(doing)));
            drop(out.flush());
            return;
        }
        match event {
            Event::Planned { blobs, bytes } => {
                output::note(format!("{doing} {blobs} blobs, {} KiB", bytes.div_ceil(1024)));
            }
            Event::Arrived {
                digest,
                bytes,
                was_there,
            } => {
                let how = if was_there { ", was there" } else { "" };
                output::note(format!("  {} {} KiB{how}", digest.short(), bytes.div_ceil(1024)));
            }
            Event::Retry { why, pause } => {
                output::note(format!("  {why}; again in {} ms", pause.as_millis()));
            }
            Event::Moved { .. } => {}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_filled_in_from_the_package() {
        let name: PackageName = "acme/hello".parse().unwrap();
        let cases = [
            ("localhost:5000", "localhost:5000/acme/hello"),
            ("r.example.com", "r.example.com/acme/hello"),
            ("r.example.com/mirror/x", "r.example.com/mirror/x"),
            ("r.example.com/mirror/x:prod", "r.example.com/mirror/x:prod"),
        ];
        for (text, want) in cases {
            assert_eq!(target(text, &name).unwrap().to_string(), want);
        }
        let (remote, local) = split("localhost:5000/acme/hello:1.0.0").unwrap();
        assert_eq!(
            (remote.to_string().as_str(), local.as_str()),
            ("localhost:5000/acme/hello:1.0.0", "acme/hello:1.0.0")
        );
        assert!(split("acme/hello:1.0.0").is_err());
    }

    #[test]
    fn the_bar_never_overflows() {
        let digest = fermion_model::Digest::from_bytes([0; 32]);
        let mut counted = Counted::default();
        assert_eq!(
            counted.bar("pushing"),
            "pushing [........................] 0/0 KiB, 0/0 blobs"
        );
        counted.take(&Event::Planned {
            blobs: 2,
            bytes: 2048,
        });
        counted.take(&Event::Moved { digest, bytes: 1024 });
        assert_eq!(
            counted.bar("pushing"),
            "pushing [############............] 1/2 KiB, 0/2 blobs"
        );
        counted.take(&Event::Moved { digest, bytes: 9999 });
        counted.take(&Event::Arrived {
            digest,
            bytes: 1,
            was_there: true,
        });
        assert_eq!(
            counted.bar("pushing"),
            "pushing [########################] 2/2 KiB, 1/2 blobs"
        );
    }
}
