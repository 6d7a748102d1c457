//! Foreign tools on our packages, and ours on what they made: Debian's skopeo, and the oras library of PyPI.

use std::fs;
use std::path::{Path, PathBuf};

use crate::platform::remotes::{KINDS, Place, Remote, foreign};

/// The interpreter with the oras library, which `scripts/setup.sh test` makes.
fn python() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/oras/bin/python")
}

fn skopeo(words: &[&str]) -> String {
    foreign(Path::new("skopeo"), words)
}

#[test]
fn skopeo_copies_out_and_in_without_changing_a_digest() {
    for kind in KINDS {
        let here = Place::new();
        let remote = Remote::start(kind, &here.site);
        let digest = here.push(&remote, "shop", "1.0.0", "p2-hello");
        let layout = format!("oci:{}:shop", here.site.path().join("layout").display());
        let copy = |from: &str, to: &str| {
            let plain = ["--src-tls-verify=false", "--dest-tls-verify=false"];
            skopeo(&[&["copy", "--insecure-policy"], &plain[..], &[from, to]].concat());
        };
        copy(&format!("docker://{}", remote.at("acme/shop:1.0.0")), &layout);
        copy(&layout, &format!("docker://{}", remote.at("came/back:1.0.0")));
        let hex = digest.strip_prefix("sha256:").unwrap();
        let signature = format!("sha256-{hex}.sig");
        let from = format!("docker://{}", remote.at(&format!("acme/shop:{signature}")));
        copy(
            &from,
            &format!("docker://{}", remote.at(&format!("came/back:{signature}"))),
        );

        for repository in ["acme/shop", "came/back"] {
            let reference = format!("docker://{}", remote.at(&format!("{repository}:1.0.0")));
            let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &reference]);
            assert_eq!(digest_of(raw.as_bytes()), digest, "{repository}");
        }
        // One of the two forms of signature is enough.
        let friend = Place::trusting(&here);
        let pulled = friend.run(&["pull", &remote.at("came/back:1.0.0")]).json();
        assert_eq!(
            (&pulled["digest"], &pulled["verified"]),
            (&digest.into(), &true.into())
        );
    }
}

fn digest_of(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    let hash = sha2::Sha256::digest(bytes);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

const PULL: &str = r#"
import sys, oras.client
client = oras.client.OrasClient(insecure=True)
for path in client.pull(target=sys.argv[1], outdir=sys.argv[2], allowed_media_type=[]):
    print(path)
"#;

/// Takes a package apart with the library and puts it together elsewhere, byte for byte.
const CARRY: &str = r#"
import os, sys, oras.client, oras.container
source, target, folder = sys.argv[1:]
client = oras.client.OrasClient(insecure=True)
remote = client if hasattr(client, "do_request") else client.remote
source, target = oras.container.Container(source), oras.container.Container(target)
answer = remote.do_request(f"http://{source.manifest_url()}", "GET", headers={"Accept": "application/vnd.oci.image.manifest.v1+json"})
manifest = answer.json()
for blob in manifest["layers"] + [manifest["config"]]:
    path = os.path.join(folder, blob["digest"].replace(":", "-"))
    remote.download_blob(source, blob["digest"], path)
    remote.upload_blob(path, target, blob).raise_for_status()
kind = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}
remote.do_request(f"http://{target.manifest_url()}", "PUT", headers=kind, data=answer.content).raise_for_status()
"#;

const PUSH: &str = r#"
import sys, oras.client
target, config, component = sys.argv[1:]
client = oras.client.OrasClient(insecure=True)
client.push(target=target, manifest_config=config + ":application/vnd.wasm.config.v0+json",
            files=[component + ":application/wasm"], disable_path_validation=True).raise_for_status()
"#;

#[test]
fn oras_pulls_carries_and_pushes_our_packages() {
    for kind in KINDS {
        let here = Place::new();
        let remote = Remote::start(kind, &here.site);
        let digest = here.push(&remote, "shop", "1.0.0", "p2-hello");
        let inspected = here.run(&["inspect", "acme/shop:1.0.0"]).json();
        let folder = |name: &str| {
            let folder = here.site.path().join(name);
            fs::create_dir(&folder).unwrap();
            folder.to_str().unwrap().to_owned()
        };
        let python = |script: &str, words: &[&str]| foreign(&python(), &[&["-c", script], words].concat());

        let out = folder("out");
        python(PULL, &[&remote.at("acme/shop:1.0.0"), &out]);
        let files: Vec<_> = fs::read_dir(&out)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert_eq!(files.len(), 1, "{files:?}");
        assert_eq!(
            digest_of(&fs::read(&files[0]).unwrap()),
            inspected["wasm"].as_str().unwrap()
        );

        python(
            CARRY,
            &[
                &remote.at("acme/shop:1.0.0"),
                &remote.at("by/oras:1.0.0"),
                &folder("carried"),
            ],
        );
        let hex = digest.strip_prefix("sha256:").unwrap();
        let signature = |repository: &str| remote.at(&format!("{repository}:sha256-{hex}.sig"));
        python(
            CARRY,
            &[
                &signature("acme/shop"),
                &signature("by/oras"),
                &folder("signatures"),
            ],
        );
        let friend = Place::trusting(&here);
        let pulled = friend.run(&["pull", &remote.at("by/oras:1.0.0")]).json();
        assert_eq!(
            (&pulled["digest"], &pulled["verified"]),
            (&digest.clone().into(), &true.into())
        );

        made_by_oras(&here, &friend, &remote, &files[0], &digest);
    }
}

/// Put together by oras itself a package is another manifest, which nobody has signed, of the same parts.
fn made_by_oras(here: &Place, friend: &Place, remote: &Remote, component: &Path, digest: &str) {
    let config = here.site.path().join("config.json");
    let blobs = here.site.data().join("store/blobs/sha256");
    let inspected = here.run(&["inspect", "acme/shop:1.0.0"]).json();
    let hex = inspected["config"]
        .as_str()
        .unwrap()
        .strip_prefix("sha256:")
        .unwrap();
    fs::copy(blobs.join(hex), &config).unwrap();
    foreign(
        &python(),
        &[
            "-c",
            PUSH,
            &remote.at("made/by-oras:1.0.0"),
            config.to_str().unwrap(),
            component.to_str().unwrap(),
        ],
    );
    friend
        .run(&["pull", &remote.at("made/by-oras:1.0.0")])
        .refused("SIG_MISSING");
    let pulled = friend
        .run(&["pull", &remote.at("made/by-oras:1.0.0"), "--unverified"])
        .json();
    assert_ne!(pulled["digest"], digest);
    let pinned = format!("acme/shop@{}", pulled["digest"].as_str().unwrap());
    assert_eq!(
        friend.run(&["inspect", &pinned]).json()["wasm"],
        inspected["wasm"]
    );
}
