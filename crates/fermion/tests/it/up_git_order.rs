//! Apps of one commit come in waves, and what was applied is kept up while the repository is away.

use std::path::Path;

use crate::platform::operations::{Repository, app, in_place, pack, shop, until};
use crate::platform::{Site, Up};

#[test]
fn waves_come_one_after_the_other_and_end_at_what_fails() {
    let site = Site::new();
    let up = Up::start::<&Path>(&site, &[]);
    for version in ["1.0.0", "1.0.1", "1.0.2"] {
        // It cannot be instantiated.
        let guest = if version == "1.0.1" {
            "p2-start-trap"
        } else {
            "p2-hello"
        };
        pack(&site, "basket", version, guest);
        pack(&site, "shop", version, "p2-hello");
    }
    let repository = Repository::new(&site);
    let write = |basket: &str, version: &str| {
        repository.write("basket.yaml", &app("basket", basket, "  wave: 1\n"));
        repository.write("shop.yaml", &shop(version, "  wave: 2\n"));
        repository.commit()
    };
    let first = write("1.0.0", "1.0.0");
    repository.add(&site, &up, "");
    let view = in_place(&up, &first);
    let events = view["events"].as_array().unwrap();
    let applied: Vec<_> = events
        .iter()
        .filter(|event| event["kind"] == "applied")
        .map(|event| event["app"].as_str().unwrap())
        .collect();
    assert_eq!(applied, ["basket", "shop"], "{view:#}");

    let bad = write("1.0.1", "1.0.1");
    let ran = up.run(&["git", "sync", "ops"]);
    assert!(
        ran.stderr.contains("basket: r2 of basket failed"),
        "{}",
        ran.stderr
    );
    let view = up.run(&["git", "status", "ops"]).json();
    let states = [&view["apps"][0]["state"], &view["apps"][1]["state"]];
    assert_eq!(states, ["held", "waiting"], "{view:#}");
    assert_eq!(
        (&view["commit"], &view["applied"]),
        (&bad.into(), &first.into()),
        "{view:#}"
    );
    for name in ["basket", "shop"] {
        assert_eq!(up.app(name)["active"]["version"], "1.0.0");
    }

    let mended = write("1.0.2", "1.0.1");
    up.run(&["git", "sync", "ops"]).done();
    in_place(&up, &mended);
    assert_eq!(up.app("shop")["active"]["version"], "1.0.1");
    another_source_does_not_get_them(&site, &up);
    up.stop();
}

/// An app belongs to one source.
#[track_caller]
fn another_source_does_not_get_them(site: &Site, up: &Up) {
    let file = site.path().join("source.yaml");
    let document = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, document.replace("{name: ops}", "{name: other}")).unwrap();
    up.run(&["git", "add", file.to_str().unwrap()]).done();
    let ran = up.run(&["git", "sync", "other"]);
    assert!(
        ran.stderr
            .contains("basket.yaml:3:18: metadata.name: basket belongs to the Git source ops"),
        "{}",
        ran.stderr
    );
}

#[test]
fn what_was_applied_is_kept_up_without_its_repository() {
    let site = Site::new();
    let mut up = Up::start::<&Path>(&site, &[]);
    pack(&site, "shop", "1.0.0", "p2-hello");
    let repository = Repository::new(&site);
    repository.write("shop.yaml", &shop("1.0.0", ""));
    let commit = repository.commit();
    repository.add(&site, &up, "");
    in_place(&up, &commit);

    let away = site.path().join("away.git");
    std::fs::rename(&repository.bare, &away).unwrap();
    std::fs::remove_dir_all(site.data().join("git/mirrors")).unwrap();
    up.kill();
    up = Up::start::<&Path>(&site, &[]);
    let ran = up.run(&["git", "sync", "ops"]);
    assert!(
        ran.stderr.contains("git cannot fetch the repository"),
        "{}",
        ran.stderr
    );
    up.run(&[
        "deploy",
        site.simple("shop", "1.0.1", "p2-edge").to_str().unwrap(),
    ]);
    until(&up, |view| {
        let events = view["events"].as_array().unwrap();
        events.iter().any(|event| event["kind"] == "healed")
    });
    up.waits_for("shop", |app| app["active"]["version"] == "1.0.0");

    std::fs::rename(&away, &repository.bare).unwrap();
    up.run(&["git", "sync", "ops"]).done();
    in_place(&up, &commit);
    up.stop();
}
