//! One flipped byte in anything that is stored: refused by its code, and the last good release serves. What already
//! runs is not touched by what happens to files.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::platform::{Site, Up, copy};

const NOTHING: [&str; 0] = [];
const HELLO: &str = "Hello, world!\n";

/// Where the parts of a package lie.
struct Parts {
    store: PathBuf,
    name: String,
    manifest: String,
}

impl Parts {
    fn of(data: &Path, name: &str, release: &Value) -> Self {
        Self {
            store: data.join("store"),
            name: name.to_owned(),
            manifest: release["digest"]
                .as_str()
                .expect("a release has a digest")
                .to_owned(),
        }
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.store.join("blobs").join(digest.replace(':', "/"))
    }

    fn read(&self, digest: &str) -> Value {
        serde_json::from_slice(&fs::read(self.blob(digest)).expect("the blob is there"))
            .expect("the blob is JSON")
    }

    fn tag(&self, suffix: &str) -> String {
        let tag = format!("{}{suffix}", self.manifest.replace(':', "-"));
        let file = self
            .store
            .join("repositories/acme")
            .join(&self.name)
            .join("_tags")
            .join(tag);
        fs::read_to_string(file)
            .expect("the tag is there")
            .trim()
            .to_owned()
    }

    /// The file of a part by its name.
    fn file(&self, part: &str) -> PathBuf {
        let digest = |value: &Value| {
            value["digest"]
                .as_str()
                .expect("a descriptor has a digest")
                .to_owned()
        };
        let layer = |manifest: &str| digest(&self.read(manifest)["layers"][0]);
        let bundle = || digest(&self.read(&self.tag(""))["manifests"][0]);
        self.blob(&match part {
            "manifest" => self.manifest.clone(),
            "config" => digest(&self.read(&self.manifest)["config"]),
            "wasm" => layer(&self.manifest),
            "signature manifest" => self.tag(".sig"),
            "signature payload" => layer(&self.tag(".sig")),
            "signature index" => self.tag(""),
            "bundle manifest" => bundle(),
            "bundle" => layer(&bundle()),
            _ => panic!("no part is called {part}"),
        })
    }
}

/// Changes one bit in the middle of a file.
fn flip(file: &Path) {
    let mut bytes = fs::read(file).expect("the file is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).expect("the file can be written");
}

/// A data directory in which r2 serves and r1 is the one before it; gives what is known of r2.
fn prepared(site: &Site) -> (PathBuf, Value) {
    let project = site.simple("shop", "1.0.0", "p2-hello");
    let up = Up::start(site, &[&project]);
    site.simple("shop", "1.1.0", "p2-edge");
    let second = up.deploy(&project)["release"].clone();
    up.stop();
    (project, second)
}

#[test]
fn a_flipped_byte_is_refused_and_the_last_good_release_serves() {
    let site = Site::new();
    let (project, second) = prepared(&site);
    let parts = [
        "wasm",
        "config",
        "manifest",
        "signature manifest",
        "signature payload",
        "signature index",
        "bundle manifest",
        "bundle",
    ];
    for part in parts {
        let data = site.path().join(part.replace(' ', "-"));
        copy(&site.data(), &data);
        let file = Parts::of(&data, "shop", &second).file(part);
        let up = Up::on(&data, &NOTHING, &[]);
        up.get("/shop/state").expect(200, "1\n");
        flip(&file);
        // What runs, runs on.
        up.get("/shop/state").expect(200, "1\n");
        up.kill();

        let up = Up::on(&data, &NOTHING, &[]);
        up.get("/shop/state").expect(200, HELLO);
        let app = up.app("shop");
        assert_eq!(
            (&app["serving"], &app["problem"]["code"]),
            (&1.into(), &"DIGEST_MISMATCH".into()),
            "{part}: {app}"
        );
        up.run(&["rollback", "shop", "r2"]).refused("DIGEST_MISMATCH");
        up.get("/shop/state").expect(200, HELLO);
        // Deploying the package again puts the blob right.
        let result = up.deploy(&project);
        assert_eq!(result["serving"], result["release"]["number"], "{part}: {result}");
        up.get("/shop/state").expect(200, "1\n");
        up.stop();
    }
}

#[test]
fn native_code_that_was_touched_is_never_loaded() {
    let site = Site::new();
    let project = site.simple("shop", "1.0.0", "p2-edge");
    Up::start(&site, &[&project]).stop();
    let native: Vec<PathBuf> = fs::read_dir(site.data().join("native"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    let [file] = native.as_slice() else {
        panic!("one file of native code: {native:?}")
    };
    let sound = fs::read(file).unwrap();
    for at in [0, sound.len() / 2, sound.len() - 1] {
        let mut touched = sound.clone();
        touched[at] ^= 1;
        fs::write(file, &touched).unwrap();
        let up = Up::start(&site, &NOTHING);
        assert!(
            up.process.stderr.text().contains("SEAL_INVALID"),
            "{}",
            up.process.stderr.text()
        );
        up.get("/shop/state").expect(200, "1\n");
        assert_eq!(up.app("shop")["steps"][1]["name"], "compile", "byte {at}");
        up.stop();
        assert_ne!(fs::read(file).unwrap(), touched, "the file is made anew");
    }
    // A file cut short, and one sealed by another node's key.
    fs::write(file, &sound[..sound.len() / 2]).unwrap();
    let up = Up::start(&site, &NOTHING);
    assert!(
        up.process.stderr.text().contains("SEAL_INVALID"),
        "{}",
        up.process.stderr.text()
    );
    up.get("/shop/state").expect(200, "1\n");
    up.stop();
    fs::remove_file(site.data().join("keys/node.key")).unwrap();
    let up = Up::start(&site, &NOTHING);
    assert!(
        up.process.stderr.text().contains("SEAL_INVALID"),
        "{}",
        up.process.stderr.text()
    );
    up.get("/shop/state").expect(200, "1\n");
    up.stop();
}

#[test]
fn a_package_of_a_signer_who_is_not_trusted_does_not_run() {
    let site = Site::new();
    prepared(&site);
    let keys = site.data().join("keys");
    fs::rename(keys.join("dev.pub"), site.path().join("old.pub")).unwrap();
    fs::remove_file(keys.join("dev.key")).unwrap();

    let up = Up::start(&site, &NOTHING);
    let app = up.app("shop");
    assert_eq!(
        (&app["serving"], &app["problem"]["code"]),
        (&Value::Null, &"SIG_UNTRUSTED".into()),
        "{app}"
    );
    assert_eq!(up.get("/shop/").code(), "NOT_READY");
    up.stop();

    // The old signer is trusted again: no new signature is needed.
    fs::rename(site.path().join("old.pub"), keys.join("old.pub")).unwrap();
    let up = Up::start(&site, &NOTHING);
    up.get("/shop/state").expect(200, "1\n");
    assert_eq!(up.app("shop")["problem"], Value::Null);
    up.stop();
}

#[test]
fn verify_says_what_is_wrong() {
    let site = Site::new();
    let (_, second) = prepared(&site);
    let data = site.data();
    let verify = || {
        crate::platform::Ran::new([
            "--json",
            "verify",
            "acme/shop:1.1.0",
            "--data",
            data.to_str().unwrap(),
        ])
    };
    assert_eq!(verify().json()["verified"], true);
    let file = Parts::of(&data, "shop", &second).file("wasm");
    flip(&file);
    let words = verify().refused("DIGEST_MISMATCH");
    assert!(words.contains("deploy the package again"), "{words}");
    assert!(!file.exists(), "a damaged blob is taken aside");
    let words = verify().refused("DIGEST_MISMATCH");
    assert!(words.contains("quarantine"), "{words}");
}
