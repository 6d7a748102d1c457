//! A registry on a port of its own, and a client that says exactly what it sends.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use fermion_package::{ContentDigest, Quotas, Store};
use fermion_registry::{Access, Anonymous, Listen, Registry, TokenFile};
use sha2::Digest as _;
use tokio_util::sync::CancellationToken;

pub(crate) const ADMIN: &str = "the-admin-token";
pub(crate) const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A running registry; stopped when dropped.
pub(crate) struct Server {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) tokens: TokenFile,
    address: SocketAddr,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.headers.contains_key(name)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The code of a refusal in the form of the specification.
    #[track_caller]
    pub(crate) fn code(&self) -> String {
        let code = &self.json()["errors"][0]["code"];
        code.as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(Quotas::default(), Anonymous::Nothing)
    }

    pub(crate) fn start_with(quotas: Quotas, anonymous: Anonymous) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_with(&folder.path().join("store"), quotas).unwrap();
        let tokens = TokenFile::new(&folder.path().join("registry.tokens"));
        let access = Access::new(Arc::new(|secret| secret == ADMIN), tokens.clone(), anonymous);
        // Long after everything here is written, so that what has been verified is remembered.
        let later = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
        let drawn = std::sync::atomic::AtomicU64::new(1);
        let random = move |bytes: &mut [u8]| {
            let next = drawn.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            bytes.fill(0);
            bytes[..8].copy_from_slice(&next.to_le_bytes());
            Ok(())
        };
        let registry = Registry::new(store.clone(), access, Arc::new(move || later), Arc::new(random));
        let stop = CancellationToken::new();
        let (ready, address) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::spawn({
            let stop = stop.clone();
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    let listen = Listen {
                        address: "127.0.0.1:0".parse().unwrap(),
                        is_plain_http_wanted: false,
                    };
                    let bound = registry.bind(listen).await.unwrap();
                    ready.send(bound.local_addr()).unwrap();
                    bound.run(stop).await;
                });
            }
        });
        let address = address.recv().unwrap();
        Self {
            folder,
            store,
            tokens,
            address,
            stop,
            thread: Some(thread),
        }
    }

    /// One request with exactly these fields besides host, length and end of connection.
    pub(crate) fn raw(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
        if !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH") {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        for (name, value) in fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        // It may refuse before it has read everything, and then the rest finds nobody.
        let sent = stream.write_all(body);
        let mut bytes = Vec::new();
        let read = stream.read_to_end(&mut bytes);
        assert!(!bytes.is_empty(), "no answer: {sent:?} {read:?}");
        parse(&bytes)
    }

    /// The same as the admin.
    pub(crate) fn ask(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &[u8]) -> Answer {
        let bearer = format!("Bearer {ADMIN}");
        let fields: Vec<_> = fields
            .iter()
            .copied()
            .chain([("authorization", bearer.as_str())])
            .collect();
        self.raw(method, path, &fields, body)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    pub(crate) fn put(&self, path: &str, media: &str, body: &[u8]) -> Answer {
        self.ask("PUT", path, &[("content-type", media)], body)
    }

    /// Pushes a blob in one request; gives its digest.
    #[track_caller]
    pub(crate) fn push_blob(&self, name: &str, body: &[u8]) -> String {
        let digest = sha256(body);
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        self.ask("POST", &path, &[], body).expect(201);
        digest
    }

    /// Pushes an image of one layer under a tag; gives its bytes.
    #[track_caller]
    pub(crate) fn push_image(&self, name: &str, tag: &str, layer: &[u8]) -> Vec<u8> {
        let manifest = self.image(name, layer, "");
        self.put(&format!("/v2/{name}/manifests/{tag}"), IMAGE, &manifest)
            .expect(201);
        manifest
    }

    /// An image's manifest whose blobs have been pushed, with `more` among its keys.
    #[track_caller]
    pub(crate) fn image(&self, name: &str, layer: &[u8], more: &str) -> Vec<u8> {
        let config = self.push_blob(name, b"{}");
        let digest = self.push_blob(name, layer);
        let size = layer.len();
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{IMAGE}",{more}"config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{config}","size":2}},"layers":[{{"mediaType":"text/plain","digest":"{digest}","size":{size}}}]}}"#
        )
        .into_bytes()
    }

    pub(crate) fn path_of(&self, digest: &str) -> std::path::PathBuf {
        let digest: ContentDigest = digest.parse().unwrap();
        let folder = self.store.root().join("blobs").join(digest.algorithm());
        folder.join(digest.hex())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        drop(self.thread.take().unwrap().join());
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(sha2::Sha256::digest(bytes)))
}

pub(crate) fn sha512(bytes: &[u8]) -> String {
    format!("sha512:{}", hex::encode(sha2::Sha512::digest(bytes)))
}

fn parse(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: HashMap<_, _> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    assert!(
        !headers.contains_key("transfer-encoding"),
        "every answer has a length: {head}"
    );
    Answer {
        status,
        headers,
        body: bytes[end + 4..].to_vec(),
    }
}
