//! A stranger's verifier reads what is signed here: npm's `@sigstore/verify`, installed by `scripts/setup.sh test`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::platform::{Ran, Site};
use crate::support::process::root;

fn run(site: &Site, words: &[&str]) -> Ran {
    let data = site.data();
    Ran::new(words.iter().copied().chain(["--data", data.to_str().unwrap()]))
}

fn blob(site: &Site, digest: &Value) -> PathBuf {
    let path = digest.as_str().unwrap().replace(':', "/");
    site.data().join("store/blobs").join(path)
}

fn document(site: &Site, digest: &Value) -> Value {
    serde_json::from_slice(&fs::read(blob(site, digest)).unwrap()).unwrap()
}

/// The bundles that are attached to a package, by their predicate.
fn bundles(site: &Site, package: &Value) -> Vec<(String, PathBuf)> {
    let tag = package["digest"].as_str().unwrap().replace(':', "-");
    let file = site.data().join("store/repositories/acme/shop/_tags").join(tag);
    let index = document(site, &fs::read_to_string(file).unwrap().trim().into());
    let entries = index["manifests"].as_array().unwrap().iter();
    entries
        .map(|entry| document(site, &entry["digest"]))
        .filter_map(|manifest| {
            let predicate = manifest["annotations"]["dev.sigstore.bundle.predicateType"].as_str()?;
            Some((predicate.to_owned(), blob(site, &manifest["layers"][0]["digest"])))
        })
        .collect()
}

/// What the other verifier says: whether it accepts, and its words.
fn verify(pem: &Path, bundle: &Path, digest: &str) -> (bool, String) {
    let script = root().join("target/sigstore/verify.mjs");
    assert!(
        script.is_file(),
        "@sigstore/verify is not installed: run `scripts/setup.sh test`"
    );
    let ran = Command::new("node")
        .arg(script)
        .args([pem, bundle])
        .arg(digest)
        .stdin(Stdio::null())
        .output()
        .expect("node 20 is there");
    let words = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    (ran.status.success(), words)
}

fn public_key(site: &Site, name: &str) -> PathBuf {
    let file = site.path().join(format!("{name}.pem"));
    fs::write(&file, run(site, &["key", "export", name]).done()).unwrap();
    file
}

#[test]
fn a_strangers_verifier_accepts_what_is_signed_and_refuses_the_rest() {
    let site = Site::new();
    let project = site.simple("shop", "1.0.0", "p2-hello");
    let packed = run(&site, &["--json", "pack", project.to_str().unwrap()]).json();
    run(&site, &["key", "new", "--name", "stranger"]).done();
    let (dev, stranger) = (public_key(&site, "dev"), public_key(&site, "stranger"));
    let digest = packed["digest"].as_str().unwrap().trim_start_matches("sha256:");
    let found = bundles(&site, &packed);
    let signature = found
        .iter()
        .find(|(predicate, _)| predicate == "https://sigstore.dev/cosign/sign/v1");
    let (_, bundle) = signature.expect("a package has a signature bundle");

    assert_eq!(verify(&dev, bundle, digest), (true, "verified\n".to_owned()));
    let (accepted, words) = verify(&stranger, bundle, digest);
    assert!(
        !accepted && words.contains("signature verification failed"),
        "{words}"
    );
    let (accepted, words) = verify(&dev, bundle, &"0".repeat(64));
    assert!(!accepted && words.contains("SUBJECT"), "{words}");

    // One changed byte of the statement, and one of the signature.
    let text = fs::read_to_string(bundle).unwrap();
    let mut sound: Value = serde_json::from_str(&text).unwrap();
    for part in ["/dsseEnvelope/payload", "/dsseEnvelope/signatures/0/sig"] {
        let mut bad = sound.clone();
        let value = bad.pointer_mut(part).unwrap();
        let mut bytes = value.as_str().unwrap().to_owned().into_bytes();
        let at = bytes.len() / 2;
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        *value = String::from_utf8(bytes).unwrap().into();
        let file = site.path().join("bad.json");
        fs::write(&file, bad.to_string()).unwrap();
        let (accepted, words) = verify(&dev, &file, digest);
        assert!(!accepted, "{part}: {words}");
    }
    // Where it comes from is vouched for by another key, and holds for that one alone.
    let provenance = public_key(&site, "provenance");
    let vouched = found
        .iter()
        .find(|(predicate, _)| predicate == "https://slsa.dev/provenance/v1");
    let (_, vouched) = vouched.expect("a package carries its provenance");
    assert!(verify(&provenance, vouched, digest).0);
    assert!(!verify(&dev, vouched, digest).0 && !verify(&provenance, bundle, digest).0);
    // A second signer's bundle holds for that signer alone.
    run(&site, &["sign", "acme/shop:1.0.0", "--key", "stranger"]).done();
    let accepting = |pem: &Path| {
        bundles(&site, &packed)
            .iter()
            .filter(|(predicate, bundle)| predicate.contains("cosign/sign") && verify(pem, bundle, digest).0)
            .count()
    };
    assert_eq!((accepting(&dev), accepting(&stranger)), (1, 1));
    sound["mediaType"] = "application/json".into();
    let file = site.path().join("kind.json");
    fs::write(&file, sound.to_string()).unwrap();
    assert!(!verify(&dev, &file, digest).0);
}
