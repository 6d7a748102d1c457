//! Trust that changes while packages run: what is revoked stops at once, what is rotated goes on, and no request of
//! anybody else notices.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::Value;

use crate::platform::remotes::{KINDS, Place, Remote};
use crate::platform::{Ran, Site, Up};

const NOTHING: [&str; 0] = [];
const HELLO: &str = "Hello, world!\n";

/// A command on the site's data directory.
fn run(site: &Site, words: &[&str]) -> Ran {
    let data = site.data();
    let target = ["--data", data.to_str().unwrap()];
    Ran::new(["--json"].iter().chain(words).chain(&target))
}

/// A site with a trust root and two keys that sign packages: `dev` and `second`.
fn site() -> Site {
    let site = Site::new();
    run(&site, &["trust", "init"]).done();
    run(&site, &["key", "new", "--name", "second"]).done();
    run(&site, &["trust", "add", "second"]).done();
    site
}

/// Ends the load also when an assertion fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// What the node's status says of the trust by which it judged.
fn epoch(up: &Up) -> u64 {
    up.run(&["status"]).json()["node"]["trust_epoch"]
        .as_u64()
        .unwrap()
}

fn metric(up: &Up, line: &str) -> bool {
    let text = String::from_utf8(up.ask_admin("/metrics", Some(&up.token())).body).unwrap();
    text.lines().any(|found| found == line)
}

/// Three apps: one by `dev`; one whose last good release is by `dev` and whose current one by `second`; one by `second`.
fn three(site: &Site, up: &Up) {
    let mixed = site.simple("mixed", "1.0.0", "p2-hello");
    up.deploy(&mixed);
    run(site, &["key", "use", "second"]).done();
    site.simple("mixed", "1.1.0", "p2-edge");
    up.deploy(&mixed);
    up.deploy(&site.simple("lost", "1.0.0", "p2-edge"));
    run(site, &["key", "use", "dev"]).done();
    up.get("/mixed/state").expect(200, "1\n");
    up.get("/lost/state").expect(200, "1\n");
}

#[test]
fn rotation_and_revocation_under_load_stop_what_is_revoked_and_nothing_else() {
    let site = site();
    // An app whose package came from a registry, signed by a friend.
    let friend = Place::new();
    let remote = Remote::start(KINDS[0], &friend.site);
    friend.push(&remote, "pulled", "1.0.0", "p2-hello");
    fs::copy(
        friend.site.data().join("keys/dev.pub"),
        site.data().join("keys/friend.pub"),
    )
    .unwrap();
    run(&site, &["trust", "add", "friend"]).done();
    let up = Up::start(&site, &[site.simple("good", "1.0.0", "p2-hello")]);
    let nowhere = site.path().join("pulled");
    fs::create_dir(&nowhere).unwrap();
    let from = remote.at("acme/pulled:1.0.0");
    up.run(&["deploy", nowhere.to_str().unwrap(), "--from", &from])
        .done();
    three(&site, &up);
    let admin = up.admin.to_string();
    let (is_over, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            while !is_over.load(Ordering::Acquire) {
                up.get("/good/").expect(200, HELLO);
                up.get("/pulled/").expect(200, HELLO);
                asked.fetch_add(1, Ordering::Relaxed);
            }
        });
        let over = Over(&is_over);
        // From here on the registry is gone.
        remote.kill();
        // A new key takes the place of `dev`, whose packages run on.
        run(
            &site,
            &["key", "rotate", "dev", "--overlap", "0s", "--admin", &admin],
        )
        .done();
        let before = epoch(&up);
        run(
            &site,
            &["key", "revoke", "second", "--reason", "stolen", "--admin", &admin],
        )
        .done();
        // The command has returned, so nothing of that key is served any more, and nothing was left out in between.
        let lost = up.get("/lost/state");
        assert_eq!((lost.status, lost.code().as_str()), (503, "NOT_READY"));
        let mixed = up.get("/mixed/state");
        assert!(mixed.status == 503 || mixed.body == HELLO.as_bytes(), "{mixed:?}");
        assert_eq!(epoch(&up), before + 1);
        // What a package of the old key is worth now: it was let in while the key counted.
        assert_eq!(up.app("good")["problem"], Value::Null);
        drop(over);
        load.join().expect("no request of the app that is trusted fails");
    });
    assert!(asked.load(Ordering::Relaxed) > 0);
    stopped_and_kept_out(&up);
    up.kill();
    the_same_after_a_restart(&site);
}

fn stopped_and_kept_out(up: &Up) {
    // The last good release of the other signer takes over.
    up.waits_for("mixed", |app| app["serving"] == 1);
    up.get("/mixed/state").expect(200, HELLO);
    for name in ["mixed", "lost"] {
        let problem = up.app(name)["problem"].clone();
        assert_eq!(problem["code"], "SIG_UNTRUSTED", "{problem}");
        let words = problem["message"].as_str().unwrap();
        assert!(words.contains("revoked") && words.contains("stolen"), "{words}");
    }
    let said = up.process.stderr.text();
    assert!(said.contains("release stopped"), "{said}");
    assert!(metric(
        up,
        r#"fermion_refusals_total{door="trust",code="SIG_UNTRUSTED"} 2"#
    ));
    assert!(metric(
        up,
        &format!(r#"fermion_trust_epoch{{root="packages"}} {}"#, epoch(up))
    ));
    // Neither a rollback nor a deploy brings it back.
    up.run(&["rollback", "mixed", "r2"]).refused("SIG_UNTRUSTED");
    up.get("/mixed/state").expect(200, HELLO);
}

/// Offline, from disk.
fn the_same_after_a_restart(site: &Site) {
    let up = Up::start(site, &NOTHING);
    up.get("/good/").expect(200, HELLO);
    up.get("/pulled/").expect(200, HELLO);
    up.get("/mixed/state").expect(200, HELLO);
    assert_eq!(up.get("/lost/state").code(), "NOT_READY");
    // The key that took over signs what comes next.
    site.simple("good", "1.1.0", "p2-edge");
    up.deploy(&site.path().join("good"));
    up.get("/good/state").expect(200, "1\n");
    up.stop();
}

#[test]
fn a_root_put_into_the_folder_is_noticed_and_a_bad_one_changes_nothing() {
    let site = site();
    let up = Up::start(&site, &[site.simple("good", "1.0.0", "p2-hello")]);
    three(&site, &up);
    let before = epoch(&up);
    let root = site.data().join("keys/root.json");
    let sound = fs::read(&root).unwrap();
    fs::write(&root, &sound[..sound.len() / 2]).unwrap();
    assert!(
        up.process
            .stderr
            .wait_for(|line| line.contains("the last good one stays in force"))
            .is_some()
    );
    assert_eq!(epoch(&up), before);
    up.get("/lost/state").expect(200, "1\n");
    fs::write(&root, &sound).unwrap();
    // A revocation on the machine itself: the platform takes it up by itself.
    run(&site, &["key", "revoke", "second", "--reason", "stolen"]).done();
    up.waits_for("lost", |app| app["serving"] == Value::Null);
    assert_eq!(up.get("/lost/state").code(), "NOT_READY");
    up.get("/good/").expect(200, HELLO);
    // A replay of the root before it does not bring the key back.
    fs::write(&root, &sound).unwrap();
    assert!(
        up.process
            .stderr
            .wait_for(|line| line.contains("ROLLBACK"))
            .is_some()
    );
    assert_eq!(up.get("/lost/state").code(), "NOT_READY");
    up.stop();
}

#[test]
fn a_refused_deploy_leaves_no_name_behind() {
    let site = site();
    let up = Up::start(&site, &NOTHING);
    run(&site, &["key", "new", "--name", "stranger"]).done();
    let elsewhere = Site::new();
    let project = elsewhere.simple("shop", "1.0.0", "p2-hello");
    run(&elsewhere, &["key", "new"]).done();
    // Signed by a key that nobody trusts here: packed elsewhere, deployed with this platform's token.
    let (admin, data) = (up.admin.to_string(), elsewhere.data());
    let token = site.data().join("admin.token");
    let words = [
        "--json",
        "deploy",
        project.to_str().unwrap(),
        "--admin",
        &admin,
        "--data",
        data.to_str().unwrap(),
        "--token-file",
        token.to_str().unwrap(),
    ];
    Ran::new(words).refused("SIG_UNTRUSTED");
    run(&site, &["inspect", "acme/shop:1.0.0"]).refused("TAG_MISSING");
    assert!(metric(
        &up,
        r#"fermion_refusals_total{door="deploy",code="SIG_UNTRUSTED"} 1"#
    ));
    up.stop();
}

/// The platform looks at its files only now and then, and an operator does not wait for that.
#[test]
fn the_first_root_is_followed_at_once() {
    let site = Site::new();
    let up = Up::start(&site, &[site.simple("shop", "1.0.0", "p2-hello")]);
    let admin = up.admin.to_string();
    run(&site, &["trust", "init"]).done();
    run(
        &site,
        &["key", "rotate", "dev", "--overlap", "30d", "--admin", &admin],
    )
    .done();
    up.get("/shop/").expect(200, "Hello, world!\n");
    up.stop();
}
