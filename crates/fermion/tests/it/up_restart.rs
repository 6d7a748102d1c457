//! What was deployed is there again after `kill -9`: from disk, verified, without building anything.

use std::fs;

use crate::platform::{Site, Up};

const NOTHING: [&str; 0] = [];

#[test]
fn releases_survive_a_kill_and_serve_again_without_a_build() {
    let site = Site::new();
    let project = site.simple("shop", "1.0.0", "p2-hello");
    let other = site.simple("other", "1.0.0", "p3-hello");
    let up = Up::start(&site, &[&project, &other]);
    site.simple("shop", "1.1.0", "p2-edge");
    up.deploy(&project);
    assert_eq!(site.builds("shop"), 2);
    let before = up.run(&["releases", "shop"]).json();
    up.kill();

    // Not even the projects are needed any more.
    fs::remove_file(project.join("fermion.toml")).unwrap();
    fs::remove_dir_all(&other).unwrap();
    let up = Up::start(&site, &NOTHING);
    up.get("/shop/state").expect(200, "1\n");
    up.get("/other/").expect(200, "Hello, world!\n");
    assert_eq!(site.builds("shop"), 2, "a restart builds nothing");
    assert_eq!(up.run(&["releases", "shop"]).json(), before);
    assert_eq!(steps(&up), ["verify", "compile (cached)", "link", "warm"]);
    assert_eq!(up.run(&["rollback", "shop"]).json()["serving"], 1);
    up.kill();

    // Native code is a cache: without it, the same wasm is compiled again.
    fs::remove_dir_all(site.data().join("native")).unwrap();
    let up = Up::start(&site, &NOTHING);
    up.get("/shop/state").expect(200, "Hello, world!\n");
    up.get("/other/").expect(200, "Hello, world!\n");
    assert_eq!(steps(&up), ["verify", "compile", "link", "warm"]);
    assert_eq!(
        up.app("shop")["active"]["number"],
        1,
        "the rollback is remembered"
    );
    up.stop();
    // An orderly end keeps as much.
    let up = Up::start(&site, &NOTHING);
    up.get("/shop/state").expect(200, "Hello, world!\n");
    up.stop();
}

fn steps(up: &Up) -> Vec<String> {
    let app = up.app("shop");
    let steps = app["steps"].as_array().expect("steps are a list");
    steps
        .iter()
        .map(|step| step["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn an_empty_platform_starts_and_takes_a_deploy() {
    let site = Site::new();
    let up = Up::start(&site, &NOTHING);
    assert_eq!(up.ready["apps"].as_array().unwrap().len(), 0);
    let project = site.simple("shop", "1.0.0", "p2-hello");
    assert_eq!(up.deploy(&project)["serving"], 1);
    up.get("/shop/").expect(200, "Hello, world!\n");
    up.stop();
}
