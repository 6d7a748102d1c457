//! Apps that nobody asks for: they give their memory back, stay routed, and return without compiling; and nothing that
//! may not run comes back that way.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use crate::platform::{Ran, Site, Up};
use crate::support::PATIENCE;

const NOTHING: [&str; 0] = [];
const HELLO: &str = "Hello, world!\n";
/// As soon as nobody asks.
const SOON: [&str; 1] = ["--idle-after=100ms"];
/// More than a start loads at once.
const MANY: usize = 70;
const LOADED_AT_START: usize = 64;

fn metric(up: &Up, name: &str) -> u64 {
    let answer = up.ask_admin("/metrics", Some(&up.token()));
    let samples = answer.text().lines().filter_map(|line| line.rsplit_once(' '));
    let found = samples.filter(|(found, _)| *found == name);
    found
        .map(|(_, value)| value.parse::<u64>().expect("a number"))
        .sum()
}

fn dormant(up: &Up) -> u64 {
    metric(up, r#"fermion_apps{state="dormant"}"#)
}

fn woke(up: &Up, outcome: &str) -> u64 {
    metric(up, &format!(r#"fermion_wakes_total{{outcome="{outcome}"}}"#))
}

fn compiled(up: &Up, outcome: &str) -> u64 {
    metric(
        up,
        &format!(r#"fermion_compilations_total{{outcome="{outcome}"}}"#),
    )
}

#[track_caller]
fn wait_until_dormant(up: &Up, count: u64) {
    let begun = Instant::now();
    while dormant(up) != count {
        assert!(begun.elapsed() < PATIENCE, "{} are dormant", dormant(up));
    }
}

/// The mappings of native code in the process, by inode: those that can be run.
fn mapped(up: &Up) -> Vec<String> {
    let maps = fs::read_to_string(format!("/proc/{}/maps", up.process.id())).unwrap();
    let code = maps
        .lines()
        .filter(|line| line.contains("memfd:fermion-native") && line.contains("r-xp"));
    let mut files: Vec<_> = code
        .map(|line| line.split_whitespace().nth(4).unwrap().to_owned())
        .collect();
    files.sort();
    files.dedup();
    files
}

fn native_files(site: &Site) -> Vec<PathBuf> {
    let entries = fs::read_dir(site.data().join("native")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_file()).collect()
}

#[test]
fn an_idle_app_gives_its_code_back_and_returns_without_compiling() {
    let site = Site::new();
    let [shop, tax] = ["shop", "tax"].map(|name| site.simple(name, "1.0.0", "p2-hello"));
    let other = site.simple("other", "1.0.0", "p3-hello");
    let up = Up::start_with(&site, &[&shop, &tax, &other], &SOON);
    wait_until_dormant(&up, 3);
    assert_eq!(mapped(&up), Vec::<String>::new());
    let status = up.run(&["status"]).json();
    assert!(
        status["apps"]
            .as_array()
            .unwrap()
            .iter()
            .all(|app| app["serving"] == 1),
        "a dormant app serves: {status}"
    );
    assert_eq!(compiled(&up, "made"), 2, "two apps have the same component");
    for round in 1..=2 {
        for path in ["/shop/", "/tax/", "/other/"] {
            up.get(path).expect(200, HELLO);
        }
        assert_eq!(woke(&up, "loaded"), 3 * round);
        wait_until_dormant(&up, 3);
    }
    assert_eq!(compiled(&up, "made"), 2);
    assert_eq!(woke(&up, "lost") + woke(&up, "compiled"), 0);
    let cold = r#"fermion_cold_starts_total{namespace="default",app="shop",release="r1"}"#;
    assert_eq!(metric(&up, cold), 2);
    up.stop();
}

#[test]
fn the_same_component_is_mapped_once_and_a_new_release_of_it_too() {
    let site = Site::new();
    let [shop, tax] = ["shop", "tax"].map(|name| site.simple(name, "1.0.0", "p2-hello"));
    let other = site.simple("other", "1.0.0", "p2-edge");
    let up = Up::start(&site, &[&shop, &tax, &other]);
    up.deploy(&site.simple("shop", "1.1.0", "p2-hello"));
    for path in ["/shop/", "/tax/"] {
        up.get(path).expect(200, HELLO);
    }
    up.get("/other/state").expect(200, "1\n");
    assert_eq!(mapped(&up).len(), 2);
    up.stop();
}

#[test]
fn a_start_loads_what_was_used_last_and_verifies_the_rest() {
    let site = Site::new();
    let projects: Vec<_> = (0..MANY)
        .map(|number| site.simple(&format!("app-{number}"), "1.0.0", "p2-hello"))
        .collect();
    Up::start(&site, &projects).kill();
    let up = Up::start(&site, &NOTHING);
    assert_eq!(up.ready["apps"].as_array().unwrap().len(), MANY);
    assert_eq!(dormant(&up), (MANY - LOADED_AT_START) as u64);
    for number in 0..MANY {
        up.get(&format!("/app-{number}/")).expect(200, HELLO);
    }
    assert_eq!(dormant(&up), 0);
    assert_eq!(woke(&up, "loaded"), (MANY - LOADED_AT_START) as u64);
    assert_eq!(compiled(&up, "made"), 0, "a restart compiles nothing");
    up.kill();

    // A damaged package is found at the start, also where nothing is loaded.
    let up = Up::start(&site, &NOTHING);
    let digest = up.app("app-7")["active"]["digest"].as_str().unwrap().to_owned();
    up.kill();
    let blob = site.data().join("store/blobs").join(digest.replace(':', "/"));
    fs::write(blob, b"{}").unwrap();
    let up = Up::start(&site, &NOTHING);
    assert_eq!(up.app("app-7")["problem"]["code"], "DIGEST_MISMATCH");
    up.get("/app-8/").expect(200, HELLO);
    up.stop();
}

#[test]
fn damaged_or_lost_native_code_of_a_dormant_app_is_compiled_again() {
    let site = Site::new();
    let shop = site.simple("shop", "1.0.0", "p2-hello");
    let up = Up::start_with(&site, &[&shop], &SOON);
    wait_until_dormant(&up, 1);
    let [file]: [PathBuf; 1] = native_files(&site).try_into().unwrap();
    let mut bytes = fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&file, bytes).unwrap();
    up.get("/shop/").expect(200, HELLO);
    assert_eq!((woke(&up, "compiled"), compiled(&up, "made")), (1, 2));
    let refused = r#"fermion_refusals_total{door="native",code="SEAL_INVALID"}"#;
    assert_eq!(metric(&up, refused), 1);
    wait_until_dormant(&up, 1);
    for file in native_files(&site) {
        fs::remove_file(file).unwrap();
    }
    up.get("/shop/").expect(200, HELLO);
    assert_eq!((woke(&up, "compiled"), compiled(&up, "made")), (2, 3));
    up.stop();
}

#[test]
fn a_dormant_app_whose_package_and_code_are_gone_falls_back() {
    let site = Site::new();
    let up = Up::start_with(&site, &[site.simple("shop", "1.0.0", "p2-edge")], &SOON);
    let second = up.deploy(&site.simple("shop", "1.1.0", "p2-hello"));
    wait_until_dormant(&up, 1);
    let digest = second["release"]["digest"].as_str().unwrap().replace(':', "/");
    fs::write(site.data().join("store/blobs").join(digest), b"{}").unwrap();
    for file in native_files(&site) {
        fs::remove_file(file).unwrap();
    }
    assert_eq!(up.get("/shop/state").status, 503);
    up.waits_for("shop", |app| app["serving"] == 1);
    up.get("/shop/state").expect(200, "1\n");
    assert_eq!(woke(&up, "lost"), 1);
    up.stop();
}

#[test]
fn what_is_revoked_while_it_sleeps_is_not_served() {
    let site = Site::new();
    let data = site.data();
    let target = ["--data", data.to_str().unwrap()];
    let run = |words: &[&str]| Ran::new(["--json"].iter().chain(words).chain(&target));
    run(&["trust", "init"]).done();
    run(&["key", "new", "--name", "second"]).done();
    run(&["trust", "add", "second"]).done();
    run(&["key", "use", "second"]).done();
    let up = Up::start_with(&site, &[site.simple("lost", "1.0.0", "p2-hello")], &SOON);
    run(&["key", "use", "dev"]).done();
    up.deploy(&site.simple("good", "1.0.0", "p2-hello"));
    wait_until_dormant(&up, 2);
    let admin = up.admin.to_string();
    run(&["key", "revoke", "second", "--reason", "stolen", "--admin", &admin]).done();
    assert_eq!(up.get("/lost/").status, 503);
    up.get("/good/").expect(200, HELLO);
    assert_eq!(woke(&up, "loaded"), 1);
    up.stop();
}
