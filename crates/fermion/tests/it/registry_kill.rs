//! The registry under `kill -9`, in a loop, while packages are pushed and garbage is collected: what was acknowledged is
//! there and whole after the next start, what is there is whole, and the start repairs by itself.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::Signal;
use serde_json::Value;
use sha2::Digest as _;

use crate::support::Process;

const ROUNDS: usize = 6;
const PUSHERS: usize = 3;
/// Pushes that are acknowledged before the kill, more from round to round.
const PUSHES: usize = 7;

struct Registry {
    process: Process,
    address: SocketAddr,
    token: String,
}

impl Registry {
    fn start(data: &Path) -> Self {
        let data_text = data.to_str().unwrap();
        let process = Process::start([
            "--json",
            "registry",
            "--listen",
            "127.0.0.1:0",
            "--collect-every",
            "20ms",
            "--grace",
            "30s",
            "--data",
            data_text,
        ]);
        let line = process
            .stdout
            .wait_for(|line| line.contains(r#""event":"registry""#));
        let line = line.unwrap_or_else(|| panic!("not ready\n{}", process.stderr.text()));
        let ready: Value = serde_json::from_str(&line).unwrap();
        Self {
            process,
            address: ready["address"].as_str().unwrap().parse().unwrap(),
            token: std::fs::read_to_string(data.join("admin.token"))
                .unwrap()
                .trim()
                .to_owned(),
        }
    }

    fn kill(mut self) {
        self.process.signal(Signal::KILL);
        self.process.wait();
    }
}

/// Status and body; none if the registry died meanwhile.
fn ask(address: SocketAddr, token: &str, method: &str, path: &str, body: &[u8]) -> Option<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(address).ok()?;
    let media = "application/vnd.oci.image.manifest.v1+json";
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: {media}\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?.to_lowercase();
    let length: usize = head
        .split("content-length: ")
        .nth(1)?
        .split("\r\n")
        .next()?
        .parse()
        .ok()?;
    let body = answer[end + 4..].to_vec();
    if body.len() != length {
        return None;
    }
    Some((head.split(' ').nth(1)?.parse().ok()?, body))
}

fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&sha2::Sha256::digest(bytes)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Pushes one image of 40 KiB; true once it is acknowledged.
fn push(address: SocketAddr, token: &str, name: &str, tag: &str) -> Option<()> {
    let layer = tag.repeat(40 * 1024 / tag.len());
    let mut parts = Vec::new();
    for (media, content) in [
        ("application/vnd.oci.empty.v1+json", "{}"),
        ("text/plain", layer.as_str()),
    ] {
        let digest = sha256(content.as_bytes());
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        let (status, _) = ask(address, token, "POST", &path, content.as_bytes())?;
        assert_eq!(status, 201);
        parts.push(serde_json::json!({ "mediaType": media, "digest": digest, "size": content.len() }));
    }
    let manifest =
        serde_json::json!({ "schemaVersion": 2, "config": parts[0], "layers": [parts[1]] }).to_string();
    let path = format!("/v2/{name}/manifests/{tag}");
    let (status, _) = ask(address, token, "PUT", &path, manifest.as_bytes())?;
    assert_eq!(status, 201);
    Some(())
}

/// Everything that is tagged can be pulled and is what its digest says.
fn check(registry: &Registry, acknowledged: &BTreeMap<String, Vec<String>>) {
    let get = |path: String| ask(registry.address, &registry.token, "GET", &path, b"").expect("it answers");
    for (name, acknowledged) in acknowledged {
        let (status, list) = get(format!("/v2/{name}/tags/list"));
        assert_eq!(status, 200);
        let list: Value = serde_json::from_slice(&list).unwrap();
        let tags: Vec<_> = list["tags"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tag| tag.as_str().unwrap())
            .collect();
        for tag in acknowledged {
            assert!(
                tags.contains(&tag.as_str()),
                "{name}:{tag} was acknowledged and is lost"
            );
        }
        for tag in tags {
            let (status, manifest) = get(format!("/v2/{name}/manifests/{tag}"));
            assert_eq!(status, 200, "{name}:{tag}");
            let manifest: Value = serde_json::from_slice(&manifest).unwrap();
            for part in [&manifest["config"], &manifest["layers"][0]] {
                let digest = part["digest"].as_str().unwrap();
                let (status, content) = get(format!("/v2/{name}/blobs/{digest}"));
                assert_eq!((status, sha256(&content).as_str()), (200, digest), "{name}:{tag}");
            }
        }
    }
}

#[test]
fn kills_amid_pushes_and_collections_lose_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut acknowledged: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for round in 0..ROUNDS {
        let registry = Registry::start(&data);
        check(&registry, &acknowledged);
        let (address, token) = (registry.address, registry.token.clone());
        let count = AtomicUsize::new(0);
        let enough = PUSHES + round * 2;
        let pushed = std::thread::scope(|scope| {
            let pushers: Vec<_> = (0..PUSHERS)
                .map(|pusher| {
                    let (token, count) = (&token, &count);
                    scope.spawn(move || {
                        let name = format!("acme/p{pusher}");
                        let mut tags = Vec::new();
                        for number in 0.. {
                            let tag = format!("r{round}-{number}");
                            if push(address, token, &name, &tag).is_none() {
                                break;
                            }
                            tags.push(tag);
                            count.fetch_add(1, Ordering::SeqCst);
                        }
                        (name, tags)
                    })
                })
                .collect();
            while count.load(Ordering::SeqCst) < enough && pushers.iter().any(|pusher| !pusher.is_finished())
            {
                std::thread::yield_now();
            }
            registry.kill();
            pushers
                .into_iter()
                .map(|pusher| pusher.join().unwrap())
                .collect::<Vec<_>>()
        });
        for (name, tags) in pushed {
            acknowledged.entry(name).or_default().extend(tags);
        }
    }
    let registry = Registry::start(&data);
    check(&registry, &acknowledged);
    let left = std::fs::read_dir(data.join("store/tmp")).unwrap().count();
    assert!(left <= 1, "{left} files were left by crashes");
    registry.process.stop();
}
