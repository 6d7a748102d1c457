//! Packages that a trusted key has signed and that are wrong all the same, because a signature says who made a package
//! and not that it is reasonable: each is refused over HTTP by its code, in bounded memory, and what served serves on.

use std::fs;

use fermion_package::{PrivateKey, Store, sign};
use serde_json::{Value, json};

use crate::platform::{Ran, Site, Up};
use crate::support::Connection;

const HELLO: &str = "Hello, world!\n";
/// What the platform has with one small app, three times over.
const MEMORY_KIB_MAX: u64 = 400 * 1024;

/// A running platform with a good package, of which variants are made.
struct Forge {
    up: Up,
    store: Store,
    key: PrivateKey,
    good: String,
    manifest: Value,
    config: Value,
    site: Site,
}

impl Forge {
    fn new() -> Self {
        let site = Site::new();
        let project = site.simple("shop", "1.0.0", "p2-hello");
        let up = Up::start(&site, &[&project]);
        let root = site.data().join("store");
        let read = |digest: &Value| -> Value {
            let path = root
                .join("blobs")
                .join(digest.as_str().unwrap().replace(':', "/"));
            serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
        };
        let releases = up.run(&["releases", "shop"]).json();
        let good = releases[0]["digest"].clone();
        let manifest = read(&good);
        let config = read(&manifest["config"]["digest"]);
        Self {
            up,
            store: Store::open(&root).unwrap(),
            key: PrivateKey::load(&site.data().join("keys/dev.key")).unwrap(),
            good: good.as_str().unwrap().to_owned(),
            manifest,
            config,
            site,
        }
    }

    /// Stores these bytes as a package's manifest and signs them; gives the digest.
    fn signed(&self, manifest: &[u8]) -> String {
        let digest = self.store.put(manifest).unwrap();
        sign(&self.store, &"acme/shop".parse().unwrap(), &digest, &self.key).unwrap();
        digest.to_string()
    }

    /// The good manifest with another config.
    fn with_config(&self, config: &[u8]) -> String {
        let digest = self.store.put(config).unwrap();
        let mut manifest = self.manifest.clone();
        manifest["config"]["digest"] = json!(digest.to_string());
        manifest["config"]["size"] = json!(config.len());
        self.signed(manifest.to_string().as_bytes())
    }

    /// The answer of the admin API to a deploy of this digest.
    fn deploy(&self, digest: &str) -> (u16, Value) {
        let body = json!({ "digest": digest, "routes": [{ "path": "/shop/*" }] }).to_string();
        let mut connection = Connection::open(self.up.admin);
        connection.send(format!(
            "POST /api/v1/namespaces/default/apps/shop/releases HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.up.token(),
            body.len()
        ));
        let response = connection.response("POST");
        let status = response.status;
        (status, serde_json::from_slice(&response.body).unwrap())
    }

    #[track_caller]
    fn refused(&self, what: &str, digest: &str, code: &str) -> String {
        let (status, answer) = self.deploy(digest);
        assert_eq!(answer["code"], code, "{what}: {answer}");
        assert!((400..500).contains(&status), "{what}: {status} {answer}");
        self.up.get("/shop/").expect(200, HELLO);
        let memory_kib = self.up.process.memory_kib();
        assert!(memory_kib < MEMORY_KIB_MAX, "{what}: {memory_kib} KiB");
        answer.to_string()
    }
}

fn changed(value: &Value, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut value = value.clone();
    change(&mut value);
    value.to_string().into_bytes()
}

#[test]
fn a_manifest_of_another_layout_is_refused() {
    let forge = Forge::new();
    type Change = fn(&mut Value);
    let layouts: [(&str, Change); 12] = [
        ("two layers", |m| {
            let layer = m["layers"][0].clone();
            m["layers"].as_array_mut().unwrap().push(layer);
        }),
        ("a thousand layers", |m| {
            let layer = m["layers"][0].clone();
            m["layers"] = Value::Array(vec![layer; 1000]);
        }),
        ("no layer", |m| m["layers"] = json!([])),
        ("a tar layer", |m| {
            m["layers"][0]["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+gzip");
        }),
        ("an unknown config type", |m| {
            m["config"]["mediaType"] = json!("application/vnd.fermyon.spin.application.v1+config");
        }),
        ("an index", |m| {
            m["mediaType"] = json!("application/vnd.oci.image.index.v1+json");
        }),
        ("another schema", |m| m["schemaVersion"] = json!(1)),
        ("an attachment", |m| m["subject"] = m["config"].clone()),
        ("an artifact", |m| m["artifactType"] = json!("text/plain")),
        ("a digest that is none", |m| {
            m["layers"][0]["digest"] = json!("sha256:../../etc/passwd");
        }),
        ("a negative size", |m| m["layers"][0]["size"] = json!(-1)),
        ("a list", |m| *m = json!([])),
    ];
    for (what, change) in layouts {
        let digest = forge.signed(&changed(&forge.manifest, change));
        forge.refused(what, &digest, "UNSUPPORTED_LAYOUT");
    }
    for (what, bytes) in [
        ("nothing", Vec::new()),
        (
            "half a document",
            forge.manifest.to_string().into_bytes()[..90].to_vec(),
        ),
        ("brackets without end", vec![b'['; 1 << 20]),
        ("not text", vec![0xff; 64]),
    ] {
        let digest = forge.signed(&bytes);
        forge.refused(what, &digest, "UNSUPPORTED_LAYOUT");
    }
    let digest = forge.store.put(&vec![b' '; 5 << 20]).unwrap();
    forge.refused("a manifest of 5 MiB", &digest.to_string(), "SIZE_EXCEEDED");
    forge.up.stop();
}

#[test]
fn sizes_that_lie_are_refused() {
    let forge = Forge::new();
    let size = forge.manifest["layers"][0]["size"].as_u64().unwrap();
    for (what, size, code) in [
        ("a layer longer than its descriptor", size - 1, "SIZE_EXCEEDED"),
        ("a layer of no length", 0, "SIZE_EXCEEDED"),
        (
            "a layer shorter than its descriptor",
            size + 1,
            "UNSUPPORTED_LAYOUT",
        ),
        ("a layer without bound", u64::MAX, "SIZE_EXCEEDED"),
    ] {
        let digest = forge.signed(&changed(&forge.manifest, |m| {
            m["layers"][0]["size"] = json!(size)
        }));
        forge.refused(what, &digest, code);
    }
    let digest = forge.signed(&changed(&forge.manifest, |m| {
        m["config"]["size"] = json!(1u64 << 40)
    }));
    forge.refused("a config without bound", &digest, "SIZE_EXCEEDED");
    forge.up.stop();
}

#[test]
fn a_config_that_is_not_its_components_is_refused() {
    let forge = Forge::new();
    type Change = fn(&mut Value);
    let configs: [(&str, &str, Change); 13] = [
        ("an import left out", "IMPORTS_MISMATCH", |c| {
            c["component"]["imports"].as_array_mut().unwrap().pop();
        }),
        ("an import too many", "IMPORTS_MISMATCH", |c| {
            let imports = c["component"]["imports"].as_array_mut().unwrap();
            imports.push(json!("wasi:sockets/tcp@0.2.3"));
        }),
        ("another export", "IMPORTS_MISMATCH", |c| {
            c["component"]["exports"] = json!(["wasi:cli/run@0.2.3"]);
        }),
        ("another target", "IMPORTS_MISMATCH", |c| {
            c["component"]["target"] = json!("wasi:http/proxy@0.3.0");
        }),
        ("another layer", "UNSUPPORTED_LAYOUT", |c| {
            c["layerDigests"] = json!([format!("sha256:{}", "0".repeat(64))]);
        }),
        ("a foreign config", "UNSUPPORTED_LAYOUT", |c| {
            c.as_object_mut().unwrap().remove("x-fermion");
        }),
        ("a contract to come", "UNSUPPORTED_LAYOUT", |c| {
            c["x-fermion"]["schema"] = json!(2)
        }),
        ("an unknown key", "UNSUPPORTED_LAYOUT", |c| {
            c["x-fermion"]["privileged"] = json!(true)
        }),
        ("a name that climbs", "UNSUPPORTED_LAYOUT", |c| {
            c["x-fermion"]["name"] = json!("../../etc/shop")
        }),
        ("a name in capitals", "UNSUPPORTED_LAYOUT", |c| {
            c["x-fermion"]["name"] = json!("Acme/Shop")
        }),
        ("a version that is none", "UNSUPPORTED_LAYOUT", |c| {
            c["x-fermion"]["version"] = json!("latest")
        }),
        ("more memory than there is", "UNSUPPORTED_LAYOUT", |c| {
            c["x-fermion"]["limits"]["memoryBytes"] = json!(1u64 << 50);
        }),
        ("an origin that is none", "UNSUPPORTED_LAYOUT", |c| {
            c["x-fermion"]["capabilities"] = json!([{ "kind": "http", "name": "*" }]);
        }),
    ];
    for (what, code, change) in configs {
        let digest = forge.with_config(&changed(&forge.config, change));
        forge.refused(what, &digest, code);
    }
    let digest = forge.with_config(&[b"{\"architecture\":".as_slice(), &vec![b'['; 100_000]].concat());
    forge.refused("brackets without end", &digest, "UNSUPPORTED_LAYOUT");
    forge.up.stop();
}

#[test]
fn a_signature_counts_for_one_package_only() {
    let forge = Forge::new();
    let name = "acme/shop".parse().unwrap();
    // Another package, with the good one's signatures attached to it.
    let other = forge.store.put(&changed(&forge.manifest, |m| {
        m["annotations"]["org.opencontainers.image.version"] = json!("6.6.6");
    }));
    let other = other.unwrap();
    forge.refused("no signature", &other.to_string(), "SIG_MISSING");
    let tag = |digest: &str| digest.replace(':', "-");
    for suffix in [".sig", ""] {
        let signature = forge
            .store
            .tag(&name, &(tag(&forge.good) + suffix))
            .unwrap()
            .unwrap();
        forge
            .store
            .set_tag(&name, &(tag(&other.to_string()) + suffix), &signature)
            .unwrap();
        forge.refused("another's signature", &other.to_string(), "SIG_SUBJECT_MISMATCH");
    }
    // A stranger's signature.
    let strange = forge
        .store
        .put(&changed(&forge.manifest, |m| m["annotations"] = json!({})));
    let strange = strange.unwrap();
    let stranger = PrivateKey::load_or_create(&forge.site.path().join("stranger")).unwrap();
    sign(&forge.store, &name, &strange, &stranger).unwrap();
    forge.refused("a stranger's signature", &strange.to_string(), "SIG_UNTRUSTED");
    forge.up.stop();
}

#[test]
fn names_that_leave_their_place_are_refused_everywhere() {
    let forge = Forge::new();
    for path in [
        "/api/v1/namespaces/..%2F..%2Fetc/apps",
        "/api/v1/namespaces/default/apps/..%2F..%2Fkeys/releases",
        "/api/v1/namespaces/default/apps/%00/releases",
        "/api/v1/namespaces/DEFAULT/apps",
    ] {
        let response = forge.up.ask_admin(path, Some(&forge.up.token()));
        let answer: Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(
            (response.status, &answer["code"]),
            (400, &json!("NAME_INVALID")),
            "{path}: {answer}"
        );
    }
    for reference in [
        "../etc/passwd:1.0.0",
        "acme/../shop:1.0.0",
        "acme/shop:../../x",
        "/acme/shop:1.0.0",
        "acme/shop@sha256:../../x",
        "../shop@sha256:0000000000000000000000000000000000000000000000000000000000000000",
    ] {
        let data = forge.site.data();
        let verify = Ran::new(["--json", "verify", reference, "--data", data.to_str().unwrap()]);
        verify.refused("NAME_INVALID");
    }
    forge.up.get("/shop/").expect(200, HELLO);
    forge.up.stop();
}
