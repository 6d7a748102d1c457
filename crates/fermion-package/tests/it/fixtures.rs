//! Components, manifests, keys and stores that the tests are made of.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use fermion_model::Digest;
use fermion_model::manifest::Manifest;
use fermion_package::{Packed, PrivateKey, Store, Trust, When, publish};
use p256::pkcs8::{EncodePrivateKey, LineEnding};
use tempfile::TempDir;

/// A component that imports `imports`, serves WASI 0.2 HTTP, and holds `data`.
pub(crate) fn component(imports: &[&str], data: &str) -> Vec<u8> {
    exporting(imports, "wasi:http/incoming-handler@0.2.3", data)
}

/// As `component`, with another export.
pub(crate) fn exporting(imports: &[&str], export: &str, data: &str) -> Vec<u8> {
    let imports: String = imports
        .iter()
        .map(|name| format!("(import \"{name}\" (instance))\n"))
        .collect();
    let text = format!(
        r#"(component {imports}
            (core module (memory 1) (data (i32.const 0) "{data}"))
            (instance $handler)
            (export "{export}" (instance $handler)))"#
    );
    wat::parse_str(text).unwrap()
}

pub(crate) fn manifest(name: &str) -> Manifest {
    let text = format!(
        r#"
[package]
name = "{name}"
version = "1.2.3"
component = "hello.wasm"
[limits]
memory = "64MiB"
cpu_time = "50ms"
[capabilities]
config = ["currency"]
http = ["https://tax.example.com"]
secrets = ["tax-api-token"]
[telemetry]
owner = "team-checkout"
"#
    );
    Manifest::parse(&text, "fermion.toml").unwrap()
}

/// The same key for the same number, so that golden files hold signatures.
pub(crate) fn pem(number: u8) -> String {
    let key = p256::SecretKey::from_slice(&[number; 32]).unwrap();
    key.to_pkcs8_pem(LineEnding::LF).unwrap().to_string()
}

pub(crate) fn key(number: u8) -> PrivateKey {
    PrivateKey::from_pem(&pem(number), Path::new("fixture")).unwrap()
}

/// New packages, on the day this was written.
pub(crate) fn now() -> When {
    When::admission(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_219_200))
}

pub(crate) fn trust(number: u8) -> Trust {
    Trust::of([key(number).public().clone()])
}

/// A store with one published package, `acme/hello:1.2.3`, signed by key 1.
pub(crate) struct World {
    _folder: TempDir,
    pub(crate) store: Store,
    pub(crate) packed: Packed,
}

pub(crate) fn world() -> World {
    world_with("hello")
}

/// The same with other data in the component.
pub(crate) fn world_with(data: &str) -> World {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    let wasm = component(&["wasi:io/streams@0.2.3", "wasi:cli/stdout@0.2.3"], data);
    let packed = publish(&manifest("acme/hello"), &wasm, &store, &key(1)).unwrap();
    World {
        _folder: folder,
        store,
        packed,
    }
}

impl World {
    pub(crate) fn digest(&self) -> &Digest {
        &self.packed.digest
    }

    /// The code with which the package is refused; `OK` if it is not.
    pub(crate) fn code(&self) -> &'static str {
        self.code_of(self.digest())
    }

    pub(crate) fn code_of(&self, digest: &Digest) -> &'static str {
        fermion_package::load(&self.store, digest, &trust(1), now())
            .map_or_else(|error| error.code(), |_| "OK")
    }

    pub(crate) fn tag(&self, tag: &str) -> Digest {
        self.store.tag(&self.packed.reference.name, tag).unwrap().unwrap()
    }

    pub(crate) fn set_tag(&self, tag: &str, digest: &Digest) {
        self.store
            .set_tag(&self.packed.reference.name, tag, digest)
            .unwrap();
    }

    pub(crate) fn text(&self, digest: &Digest) -> String {
        String::from_utf8(self.store.read(digest, 1 << 20).unwrap()).unwrap()
    }

    /// Replaces a blob's file by what `change` makes of it, calls `check`, and puts everything back.
    pub(crate) fn damaged(&self, digest: &Digest, change: impl Fn(&mut Vec<u8>), check: impl Fn()) {
        let path = self.store.path(digest);
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        change(&mut bad);
        fs::write(&path, bad).unwrap();
        check();
        fs::write(&path, good).unwrap();
        fs::remove_file(self.quarantined(digest)).ok();
        assert_eq!(self.code(), "OK");
    }

    pub(crate) fn quarantined(&self, digest: &Digest) -> PathBuf {
        self.store.root().join("quarantine").join(digest.hex())
    }
}
