//! Snapshots: initialisation that runs when the package is made, what of it is refused, and where hostile code ends.

use std::fs;
use std::path::PathBuf;

use crate::platform::{Package, Ran, Site, Up};

const READY: &str = "initialised 1 times, table ready: true, last prime 99991\n";
const NOT_READY: &str = "initialised 0 times, table ready: false, last prime 99991\n";

fn pack(site: &Site, folder: &str, options: &[&str]) -> Ran {
    let data = site.data();
    let words = ["--json", "pack", folder, "--data", data.to_str().unwrap()];
    Ran::new(words.iter().chain(options))
}

/// A project with a component of this initialisation; it imports two interfaces of the host.
fn hostile(site: &Site, body: &str) -> PathBuf {
    let text = format!(
        r#"(component
            (import "wasi:clocks/monotonic-clock@0.2.6" (instance $clock (export "now" (func (result u64)))))
            (core func $now (canon lower (func $clock "now")))
            (core module $main
                (import "" "now" (func $now (result i64)))
                (memory 1)
                (func (export "begin") {body}))
            (core instance $main (instantiate $main (with "" (instance (export "now" (func $now))))))
            (func (export "wizer-initialize") (canon lift (core func $main "begin")))
            (instance $handler)
            (export "wasi:http/incoming-handler@0.2.6" (instance $handler)))"#
    );
    let folder = site.path().join("hostile");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("app.wasm"), wat::parse_str(text).unwrap()).unwrap();
    let manifest = "[package]\nname = \"acme/hostile\"\nversion = \"1.0.0\"\ncomponent = \"app.wasm\"\n";
    fs::write(folder.join("fermion.toml"), manifest).unwrap();
    folder
}

#[test]
fn initialisation_runs_when_the_package_is_made_and_not_when_a_request_comes() {
    let site = Site::new();
    let frozen = site.project(Package {
        more: "snapshot = true\n",
        ..Package::new("frozen", "1.0.0", "p2-snapshot")
    });
    let plain = site.simple("plain", "1.0.0", "p2-snapshot");
    let up = Up::start(&site, &[&frozen, &plain]);
    for _ in 0..2 {
        assert_eq!(up.get("/frozen/").text(), READY);
        assert_eq!(up.get("/plain/").text(), NOT_READY);
    }
    let told = up.run(&["deploy", frozen.to_str().unwrap()]);
    told.done();
    assert_eq!(up.get("/frozen/").text(), READY);
}

#[test]
fn a_snapshot_says_what_it_is_and_is_the_same_each_time() {
    let site = Site::new();
    let folder = site.simple("shop", "1.0.0", "p2-snapshot");
    let folder = folder.to_str().unwrap();
    let plain = pack(&site, folder, &[]).json();
    let first = pack(&site, folder, &["--snapshot"]).json();
    assert_eq!(first["snapshot"]["component"], plain["component"]);
    assert_ne!(first["component"], plain["component"]);
    assert_eq!(
        pack(&site, folder, &["--snapshot"]).json()["digest"],
        first["digest"]
    );

    let data = site.data();
    let data = data.to_str().unwrap();
    let inspected = Ran::new(["--json", "inspect", "acme/shop:1.0.0", "--data", data]).json();
    assert_eq!(inspected["snapshot"]["component"], plain["component"]);
    let shown = Ran::new(["inspect", "acme/shop:1.0.0", "--data", data]);
    let line = format!("  snapshot of {}", plain["component"].as_str().unwrap());
    assert!(shown.done().contains(&line), "{}", shown.stdout);
    let built = Ran::new(["--json", "build", folder, "--snapshot", "--data", data]).json();
    let internal = &built["provenance"]["buildDefinition"]["internalParameters"];
    assert_eq!(
        internal["snapshot"]["component"], plain["component"],
        "{internal}"
    );
    Ran::new(["verify", "acme/shop:1.0.0", "--data", data]).done();
}

#[test]
fn what_cannot_be_frozen_is_refused_by_name() {
    let site = Site::new();
    let folder = hostile(&site, "(drop (call $now))");
    let words = pack(&site, folder.to_str().unwrap(), &["--snapshot"]).refused("SNAPSHOT_REFUSED");
    assert!(
        words.contains("wasi:clocks/monotonic-clock@0.2.6#now, which cannot be frozen"),
        "{words}"
    );
    let refused = pack(
        &site,
        folder.to_str().unwrap(),
        &["--snapshot", "--snapshot-allow", "clock"],
    );
    assert_eq!(refused.status, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("insecure-seed"), "{}", refused.stderr);
}

#[test]
fn an_initialisation_that_takes_all_it_can_is_ended() {
    let site = Site::new();
    for (body, why) in [
        ("(loop (br 0))", "instructions"),
        (
            "(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable",
            "128 MiB of memory",
        ),
    ] {
        let folder = hostile(&site, body);
        let words = pack(&site, folder.to_str().unwrap(), &["--snapshot"]).refused("SNAPSHOT_LIMIT");
        assert!(words.contains(why), "{words}");
    }
}
