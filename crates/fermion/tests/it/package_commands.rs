//! The commands that need no running platform: build, pack, inspect, verify, key, new, completion.

use std::fs;

use crate::platform::{Ran, Site};
use crate::support::process::guest_file;

/// A command on the site's data directory.
fn run(site: &Site, words: &[&str]) -> Ran {
    let data = site.data();
    Ran::new(words.iter().copied().chain(["--data", data.to_str().unwrap()]))
}

#[test]
fn a_package_is_packed_inspected_and_verified() {
    let site = Site::new();
    let project = site.simple("shop", "1.0.0", "p2-hello");
    let folder = project.to_str().unwrap();
    let built = run(&site, &["--json", "build", folder]).json();
    assert_eq!(
        built["bytes"],
        fs::metadata(project.join("app.wasm")).unwrap().len()
    );
    let packed = run(&site, &["--json", "pack", folder]).json();
    assert_eq!(packed["package"], "acme/shop:1.0.0");
    // The same folder is the same package, to the last byte.
    assert_eq!(
        run(&site, &["--json", "pack", folder]).json()["digest"],
        packed["digest"]
    );

    let key = run(&site, &["--json", "key", "list"]).json();
    assert_eq!(key["trusted"][0], packed["signer"]);
    let pem = run(&site, &["key", "export"]);
    assert!(
        pem.done().starts_with("-----BEGIN PUBLIC KEY-----\n"),
        "{}",
        pem.stdout
    );
    let verified = run(&site, &["--json", "verify", "acme/shop:1.0.0"]).json();
    assert_eq!(
        (&verified["verified"], &verified["signer"]),
        (&true.into(), &packed["signer"])
    );

    let inspected = run(&site, &["--json", "inspect", "acme/shop:1.0.0"]).json();
    assert_eq!(inspected["digest"], packed["digest"]);
    for part in ["exports", "imports", "sections"] {
        assert!(
            inspected[part].as_array().is_some_and(|list| !list.is_empty()),
            "{part}: {inspected}"
        );
    }
    let shown = run(&site, &["inspect", "acme/shop:1.0.0"]);
    for words in [
        "  digest   sha256:",
        "  signer   sha256:",
        "exports:\n  wasi:http/incoming-handler@0.2",
        "largest sections:",
    ] {
        assert!(shown.done().contains(words), "{words}: {}", shown.stdout);
    }
    let bare = run(
        &site,
        &["--json", "inspect", guest_file("p3-hello").to_str().unwrap()],
    )
    .json();
    assert!(
        bare["exports"][0]
            .as_str()
            .unwrap()
            .starts_with("wasi:http/handler@0.3"),
        "{bare}"
    );
}

#[test]
fn what_is_not_there_is_said_with_what_to_do() {
    let site = Site::new();
    let words = run(&site, &["inspect", "acme/none:1.0.0"]);
    assert_eq!(words.status, Some(1));
    assert!(
        words.stderr.contains("pack or deploy something first"),
        "{}",
        words.stderr
    );
    run(&site, &["key", "new"]).done();
    let words = run(&site, &["--json", "verify", "acme/none:1.0.0"]).refused("TAG_MISSING");
    assert!(words.contains("`fermion pack`"), "{words}");
    let words = run(&site, &["build", site.path().to_str().unwrap()]);
    assert!(
        words.stderr.contains("`fermion new` makes one"),
        "{}",
        words.stderr
    );
    let words = run(&site, &["--json", "status", "--admin", "127.0.0.1:1"]);
    assert!(
        words.stderr.contains("start `fermion up` here first"),
        "{}",
        words.stderr
    );
}

#[test]
fn a_line_that_cannot_be_understood_ends_with_2() {
    let usage = Ran::new(["--json", "frobnicate"]);
    assert_eq!(usage.status, Some(2));
    let line: serde_json::Value = serde_json::from_str(usage.stderr.trim()).expect("JSON was asked for");
    assert_eq!(line["code"], "USAGE");
    assert_eq!(Ran::new(["up", "--listen", "nowhere"]).status, Some(2));
    assert_eq!(Ran::new(["--version"]).status, Some(0));
}

#[test]
fn every_template_is_written_and_every_shell_completed() {
    let site = Site::new();
    for lang in ["rust", "js", "python"] {
        let project = site.path().join(format!("new-{lang}"));
        let made = Ran::new(["--json", "new", project.to_str().unwrap(), "--lang", lang]).json();
        for file in made["files"].as_array().expect("files are a list") {
            assert!(project.join(file.as_str().unwrap()).is_file(), "{file}");
        }
        let manifest = fs::read_to_string(project.join("fermion.toml")).unwrap();
        assert!(
            manifest.contains(&format!("new-{lang}")) && !manifest.contains("{{"),
            "{manifest}"
        );
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            Ran::new(["completion", shell]).done().contains("rollback"),
            "{shell}"
        );
    }
}
