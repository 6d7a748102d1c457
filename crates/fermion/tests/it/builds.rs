//! Builds that can be repeated, what is stripped, bills of materials and sizes, through the real binary and, for the
//! examples, the real compiler.

use std::fs;
use std::path::{Path, PathBuf};

use crate::platform::{Package, Ran, Site, Up, copy};
use crate::support::process::guest_file;

/// Appends a custom section `time` with nine digits of the clock to the component.
const STAMP: &str = r"printf '\\000\\016\\004time%s' $(date +%N) >> app.wasm";

fn run(site: &Site, words: &[&str]) -> Ran {
    let data = site.data();
    Ran::new(words.iter().copied().chain(["--data", data.to_str().unwrap()]))
}

/// A copy of an example's sources, without what an earlier build has left there.
fn example(site: &Site, name: &str) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples")
        .join(name);
    let folder = site.path().join(name);
    copy(&from.join("src"), &folder.join("src"));
    for file in ["Cargo.toml", "Cargo.lock", "fermion.toml"] {
        fs::copy(from.join(file), folder.join(file)).unwrap();
    }
    folder
}

/// A project whose build copies a guest and does more.
fn project(site: &Site, more_of_command: &str, more_of_build: &str) -> PathBuf {
    let folder = site.path().join("shop");
    fs::create_dir_all(&folder).unwrap();
    let guest = guest_file("p2-hello");
    let manifest = format!(
        "[package]\nname = \"acme/shop\"\nversion = \"1.0.0\"\ncomponent = \"app.wasm\"\n[build]\ncommand = \"cp {} \
         app.wasm && {more_of_command}\"\n{more_of_build}\n",
        guest.display()
    );
    fs::write(folder.join("fermion.toml"), manifest).unwrap();
    folder
}

#[test]
fn each_rust_example_is_the_same_component_wherever_it_is_built() {
    let site = Site::new();
    for name in ["hello", "json-transform", "fetch-upstream"] {
        let folder = example(&site, name);
        let built = run(&site, &["--json", "build", "--verify", folder.to_str().unwrap()]).json();
        let packed = run(&site, &["--json", "pack", folder.to_str().unwrap()]).json();
        assert_eq!(built["reproducible"]["component"], packed["component"], "{name}");
        let varied = built["reproducible"]["varied"].as_array().unwrap();
        for changed in ["folder", "home", "user-name", "jobs"] {
            assert!(
                varied.iter().any(|varied| varied == changed),
                "{changed}: {varied:?}"
            );
        }
        let crates = built["sizes"]["crates"].as_array().unwrap();
        assert!(
            crates.iter().any(|found| found["name"] == "core"),
            "{name}: {crates:?}"
        );
        assert_eq!(built["sbom"]["source"], "lockfile");
        assert_eq!(built["sbom"], packed["sbom"]);
        let wasm = fs::read(
            folder
                .join("target/wasm32-wasip2/release")
                .join(format!("{}.wasm", name.replace('-', "_"))),
        );
        let wasm = wasm.unwrap();
        let here = site.path().to_str().unwrap().as_bytes();
        assert!(
            !wasm.windows(here.len()).any(|part| part == here),
            "{name} holds the path of its folder"
        );
    }
}

#[test]
fn a_path_in_the_component_is_found_by_building_elsewhere() {
    let site = Site::new();
    let folder = example(&site, "hello");
    let source = folder.join("src/lib.rs");
    let text = fs::read_to_string(&source).unwrap();
    let path = r#"concat!("Hello from ", env!("CARGO_MANIFEST_DIR")).as_bytes()"#;
    let changed = text.replace(r#"b"Hello, world!\n""#, path);
    assert_ne!(text, changed, "the example has its greeting");
    fs::write(&source, changed).unwrap();
    let words = run(&site, &["--json", "build", "--verify", folder.to_str().unwrap()])
        .refused("BUILD_NOT_REPRODUCIBLE");
    assert!(
        words.contains("data") && words.contains("differs from byte"),
        "{words}"
    );
    assert!(words.contains("the folder of the sources is in it"), "{words}");
}

#[test]
fn a_difference_counts_when_it_reaches_the_package() {
    let site = Site::new();
    let folder = project(&site, STAMP, "strip = false");
    let folder = folder.to_str().unwrap();
    let words = run(&site, &["--json", "build", "--verify", folder]).refused("BUILD_NOT_REPRODUCIBLE");
    assert!(
        words.contains("custom time, 14 bytes: differs from byte"),
        "{words}"
    );
    assert!(words.contains("clock"), "{words}");
    project(&site, STAMP, "");
    let built = run(&site, &["--json", "build", "--verify", folder]).json();
    let stripped = built["reproducible"]["stripped"].as_array().unwrap();
    assert_eq!(
        (stripped.len(), &stripped[0]["section"]),
        (1, &"custom time".into())
    );
    let pack = || run(&site, &["--json", "pack", folder]).json()["digest"].clone();
    assert_eq!(pack(), pack());
}

#[test]
fn a_build_that_needs_what_is_not_copied_or_has_no_command_is_named() {
    let site = Site::new();
    let folder = project(&site, "test -d .git", "");
    fs::create_dir(folder.join(".git")).unwrap();
    let words =
        run(&site, &["--json", "build", "--verify", folder.to_str().unwrap()]).refused("BUILD_FAILED");
    assert!(
        words.contains("in a copy of") && words.contains("not in the folder itself"),
        "{words}"
    );
    let ready = site.ready("ready", Package::new("ready", "1.0.0", "p2-hello"));
    let ran = run(&site, &["build", "--verify", ready.to_str().unwrap()]);
    assert_eq!(ran.status, Some(1));
    assert!(ran.stderr.contains("nothing to repeat"), "{}", ran.stderr);
}

#[test]
fn a_build_sees_named_variables_only() {
    let site = Site::new();
    let folder = project(&site, "env > env.txt", "environment = [\"SHOP_URL\"]");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_fermion"));
    command.args(["build", folder.to_str().unwrap()]);
    command.envs([
        ("SHOP_URL", "wanted"),
        ("SHOP_TOKEN", "unwanted"),
        ("RUSTFLAGS", "-Cunwanted"),
    ]);
    Ran::of(command.output().unwrap()).done();
    let seen = fs::read_to_string(folder.join("env.txt")).unwrap();
    assert!(
        seen.contains("SHOP_URL=wanted\n") && seen.contains("SOURCE_DATE_EPOCH=315532800\n"),
        "{seen}"
    );
    assert!(!seen.contains("unwanted"), "{seen}");
}

#[test]
fn a_stripped_component_serves_and_a_whole_one_too() {
    let site = Site::new();
    let folder = project(&site, STAMP, "");
    let up = Up::start(&site, &[&folder]);
    assert_eq!(up.get("/shop/").status, 200);
    let sections = |site: &Site| {
        let sizes = run(site, &["--json", "inspect", "--sizes", "acme/shop:1.0.0"]).json();
        let sections = sizes["sections"].as_array().unwrap().clone();
        sections
            .iter()
            .map(|section| section["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let names = sections(&site);
    assert!(
        names.contains(&"code".to_owned()) && !names.iter().any(|name| name.starts_with("custom")),
        "{names:?}"
    );
    project(&site, STAMP, "strip = false");
    up.deploy(&folder);
    assert_eq!(up.get("/shop/").status, 200);
    assert!(sections(&site).contains(&"custom time".to_owned()));
    up.stop();
}

#[test]
fn a_package_carries_what_it_is_made_of_and_how_it_came_to_be() {
    let site = Site::new();
    let folder = project(&site, "true", "sbom = \"own.json\"");
    let sbom = r#"{"bomFormat":"CycloneDX","components":[{}],"specVersion":"1.5"}"#;
    fs::write(folder.join("own.json"), sbom).unwrap();
    let folder = folder.to_str().unwrap();
    let packed = run(&site, &["--json", "pack", folder]).json();
    let verified = run(&site, &["--json", "verify", "acme/shop:1.0.0"]).json();
    assert_eq!(verified["sbom"], packed["sbom"]["digest"]);
    assert_eq!(verified["provenance"].as_array().unwrap().len(), 1, "{verified}");
    assert_eq!(verified["ignored"].as_array().unwrap().len(), 0, "{verified}");
    // The key of provenance vouches for no package.
    assert_eq!(verified["signers"].as_array().unwrap().len(), 1, "{verified}");
    assert_eq!(verified["signers"][0]["id"], packed["signer"]);
    // Packing again adds nothing, and another bill of materials is another package.
    assert_eq!(
        run(&site, &["--json", "pack", folder]).json()["digest"],
        packed["digest"]
    );
    assert_eq!(
        run(&site, &["--json", "verify", "acme/shop:1.0.0"]).json(),
        verified
    );
    fs::write(Path::new(folder).join("own.json"), sbom.replace("{}", "{},{}")).unwrap();
    assert_ne!(
        run(&site, &["--json", "pack", folder]).json()["digest"],
        packed["digest"]
    );
    // They go along when it is deployed.
    let up = Up::start(&site, &[folder]);
    assert_eq!(up.get("/shop/").status, 200);
    up.stop();
}

#[test]
fn a_bill_of_materials_may_be_given() {
    let site = Site::new();
    let folder = project(&site, "true", "sbom = \"own.json\"");
    let folder_text = folder.to_str().unwrap();
    let document = |components: &str| {
        format!("{{\"bomFormat\": \"CycloneDX\", \"specVersion\": \"1.5\", \"components\": {components}}}")
    };
    fs::write(folder.join("own.json"), document("[{}, {}]")).unwrap();
    let built = run(&site, &["--json", "build", folder_text]).json();
    assert_eq!(
        (&built["sbom"]["source"], &built["sbom"]["components"]),
        (&"given".into(), &2.into())
    );
    let other = site.path().join("other.json");
    fs::write(&other, document("[{}]")).unwrap();
    let option = ["--sbom", other.to_str().unwrap()];
    let built = run(&site, &[&["--json", "pack", folder_text], &option[..]].concat()).json();
    assert_eq!(built["sbom"]["components"], 1);
    fs::write(&other, "{}").unwrap();
    let words = run(&site, &[&["--json", "pack", folder_text], &option[..]].concat()).refused("SBOM_INVALID");
    assert!(words.contains("bomFormat"), "{words}");
}
