//! Who is trusted with what, changed while the platform runs: rotation, revocation, thresholds, roots that do not
//! follow, channels. What serves goes on through all of it unless its own key is revoked.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use fermion_package::channel::{self, ChannelDocument};
use fermion_package::store::Store;
use fermion_package::trust::{Moment, RootDocument, SignedRoot, accept};
use fermion_package::{KeyFolder, Trust};
use serde_json::Value;

use crate::platform::{Ran, Site, Up};

const NOTHING: [&str; 0] = [];
const HELLO: &str = "Hello, world!\n";

/// A command on the site's data directory, with `--json`.
fn run(site: &Site, words: &[&str]) -> Ran {
    let data = site.data();
    let target = ["--json", "--data", data.to_str().unwrap()];
    Ran::new(words.iter().copied().chain(target))
}

/// A site with a trust root of serial 1: `dev` signs packages, `root` roots.
pub(crate) fn rooted() -> Site {
    let site = Site::new();
    run(&site, &["key", "new"]).done();
    run(&site, &["key", "new", "--role", "channel"]).done();
    let made = run(&site, &["trust", "init"]).json();
    assert_eq!(made["epoch"], 1, "{made}");
    site
}

fn keys(site: &Site) -> KeyFolder {
    KeyFolder::new(&site.data().join("keys"))
}

fn now() -> SystemTime {
    SystemTime::now()
}

/// The next document, changed and signed by the root key of this place.
fn next(site: &Site, change: impl FnOnce(&mut RootDocument)) -> SignedRoot {
    let folder = keys(site);
    let trust = Trust::load(folder.path(), now()).unwrap();
    let mut document = trust.root().unwrap().document().clone();
    document.serial += 1;
    change(&mut document);
    let mut root = SignedRoot::draft(&document).unwrap();
    root.sign(&folder.load("root").unwrap()).unwrap();
    root
}

fn file(site: &Site, bytes: &[u8]) -> String {
    let file = site.path().join("next.json");
    fs::write(&file, bytes).unwrap();
    file.to_str().unwrap().to_owned()
}

fn epoch(up: &Up) -> Value {
    let answer = up.ask_admin("/api/v1/trust", Some(&up.token()));
    let view: Value = serde_json::from_str(answer.text()).unwrap();
    view["epoch"].clone()
}

#[test]
fn a_key_is_rotated_and_revoked_while_its_packages_serve() {
    let site = rooted();
    let project = site.simple("shop", "1.0.0", "p2-hello");
    let up = Up::start(&site, &[&project]);
    up.get("/shop/state").expect(200, HELLO);

    let rotated = up.run(&["key", "rotate", "--overlap", "1h"]).json();
    assert_eq!(
        (
            &rotated["old"],
            &rotated["new"],
            &rotated["epoch"],
            &rotated["signing"]
        ),
        (&"dev".into(), &"dev-2".into(), &2.into(), &true.into())
    );
    assert_eq!(epoch(&up), 2);
    site.simple("shop", "1.1.0", "p2-edge");
    up.deploy(&project);
    up.get("/shop/state").expect(200, "1\n");
    let verified = run(&site, &["verify", "acme/shop:1.1.0"]).json();
    assert_eq!(verified["signers"][0]["name"], "dev-2");
    // In the overlap the old key's packages are let in as before.
    assert_eq!(up.run(&["rollback", "shop", "r1"]).json()["serving"], 1);
    assert_eq!(up.run(&["rollback", "shop", "r2"]).json()["serving"], 2);

    let revoked = up
        .run(&["key", "revoke", "dev", "--reason", "left on a train"])
        .json();
    assert_eq!(revoked["epoch"], 3);
    up.get("/shop/state").expect(200, "1\n");
    for refused in [
        run(&site, &["verify", "acme/shop:1.0.0"]),
        up.run(&["rollback", "shop", "r1"]),
    ] {
        let words = refused.refused("SIG_UNTRUSTED");
        assert!(
            words.contains("was revoked at")
                && words.contains("left on a train")
                && words.contains("sign it with"),
            "{words}"
        );
    }
    up.get("/shop/state").expect(200, "1\n");
    up.stop();
    let up = Up::start(&site, &NOTHING);
    up.get("/shop/state").expect(200, "1\n");
    up.stop();
    run(&site, &["key", "rotate", "dev"]).refused("TRUST_INVALID");
}

#[test]
fn two_of_three_must_sign() {
    let site = rooted();
    for name in ["anna", "ben"] {
        run(&site, &["key", "new", "--name", name]).done();
        run(&site, &["trust", "add", name, "--role", "package"]).done();
    }
    let root = next(&site, |document| document.thresholds.package = 2);
    run(&site, &["trust", "apply", &file(&site, &root.write())]).done();
    let project = site.simple("shop", "1.0.0", "p2-hello");
    let up = Up::start(&site, &NOTHING);
    let words = up.deploy_refused(&project, "SIG_UNTRUSTED");
    assert!(
        words.contains("2 different package keys must sign and 1 did (dev)")
            && words.contains("fermion sign"),
        "{words}"
    );
    assert!(up.run(&["status"]).json()["apps"].as_array().unwrap().is_empty());
    run(&site, &["sign", "acme/shop:1.0.0"]).done();
    up.deploy_refused(&project, "SIG_UNTRUSTED");
    run(&site, &["sign", "acme/shop:1.0.0", "--key", "ben"]).done();
    up.deploy(&project);
    up.get("/shop/").expect(200, HELLO);
    let shown = run(&site, &["verify", "acme/shop:1.0.0"]).json();
    assert_eq!(
        (&shown["threshold"], shown["signers"].as_array().unwrap().len()),
        (&2.into(), 2)
    );
    up.stop();
}

#[test]
fn a_key_signs_only_what_it_may_and_when_it_may() {
    let site = rooted();
    let project = site.simple("shop", "1.0.0", "p2-hello");
    let up = Up::start(&site, &NOTHING);
    let cases: [(&str, &[&str], &str); 4] = [
        (
            "early",
            &["--from", "2090-01-01T00:00:00Z"],
            "valid only from 2090-01-01T00:00:00Z",
        ),
        (
            "late",
            &["--until", "2020-01-01T00:00:00Z"],
            "was valid until 2020-01-01T00:00:00Z",
        ),
        (
            "elsewhere",
            &["--names", "other/*"],
            "may sign other/*, not acme/shop",
        ),
        (
            "origin",
            &["--role", "provenance"],
            "has the role provenance, not package",
        ),
    ];
    for (name, options, want) in cases {
        run(&site, &["key", "new", "--name", name]).done();
        let words = [&["trust", "add", name][..], options].concat();
        up.run(&words).done();
        run(&site, &["key", "use", name]).done();
        let words = up.deploy_refused(&project, "SIG_UNTRUSTED");
        assert!(words.contains(want), "{name}: {words}");
    }
    run(&site, &["key", "new", "--name", "unknown"]).done();
    run(&site, &["key", "use", "unknown"]).done();
    site.simple("shop", "1.0.1", "p2-hello");
    let words = up.deploy_refused(&project, "SIG_UNTRUSTED");
    assert!(words.contains("no trusted key made its signatures"), "{words}");
    run(&site, &["key", "use", "dev"]).done();
    up.deploy(&project);
    up.get("/shop/").expect(200, HELLO);
    up.stop();
}

#[test]
fn a_root_that_does_not_follow_changes_nothing() {
    let site = rooted();
    let project = site.simple("shop", "1.0.0", "p2-hello");
    let up = Up::start(&site, &[&project]);
    let first = fs::read(site.data().join("keys/root.json")).unwrap();
    let good = next(&site, |_| {}).write();
    let mut stranger = SignedRoot::read(&good).unwrap().document().clone();
    stranger.grace_seconds = 5;
    let mut stranger = SignedRoot::draft(&stranger).unwrap();
    stranger.sign(&keys(&site).load("dev").unwrap()).unwrap();
    let past = next(&site, |document| {
        document.expires = "2020-01-01T00:00:00Z".parse().unwrap()
    });
    let other = next(&site, |document| {
        document.serial = 1;
        document.grace_seconds = 7;
    });
    let offers: [(&[u8], &str); 6] = [
        (&stranger.write(), "SIG_UNTRUSTED"),
        (&past.write(), "STALE"),
        (&other.write(), "ROLLBACK"),
        (&good[..good.len() / 2], "TRUST_INVALID"),
        (b"{}", "TRUST_INVALID"),
        (&first[..0], "TRUST_INVALID"),
    ];
    for (bytes, code) in offers {
        // Over the API, to the data directory, and as a file that lies there.
        let file = file(&site, bytes);
        up.run(&["trust", "apply", &file]).refused(code);
        run(&site, &["trust", "apply", &file]).refused(code);
        fs::copy(&file, site.data().join("keys/root.json")).unwrap();
        let line = up
            .process
            .stderr
            .wait_for(|line| line.contains("the last good one stays in force") && line.contains(code));
        assert!(line.is_some(), "{code}: {}", up.process.stderr.text());
        assert_eq!(epoch(&up), 1, "{code}");
        up.get("/shop/").expect(200, HELLO);
    }
    up.stop();
    // A bad file is no reason not to start either; a good one is taken up.
    let up = Up::start(&site, &NOTHING);
    up.get("/shop/").expect(200, HELLO);
    fs::write(site.data().join("keys/root.json"), &good).unwrap();
    assert!(
        up.process
            .stderr
            .wait_for(|line| line.contains("trust changed"))
            .is_some()
    );
    assert_eq!(epoch(&up), 2);
    up.run(&["trust", "apply", &file(&site, &first)])
        .refused("ROLLBACK");
    up.get("/shop/").expect(200, HELLO);
    up.stop();
}

#[test]
fn the_first_root_is_taken_only_at_the_machine() {
    let elsewhere = rooted();
    let first = elsewhere.data().join("keys/root.json");
    let site = Site::new();
    let up = Up::start(&site, &NOTHING);
    let words = up
        .run(&["trust", "apply", first.to_str().unwrap()])
        .refused("TRUST_INVALID");
    assert!(words.contains("fermion trust apply"), "{words}");
    assert_eq!(epoch(&up), 0);
    run(&site, &["trust", "apply", first.to_str().unwrap()]).done();
    assert!(
        up.process
            .stderr
            .wait_for(|line| line.contains("trust changed"))
            .is_some()
    );
    assert_eq!(epoch(&up), 1);
    let project = site.simple("shop", "1.0.0", "p2-hello");
    up.deploy_refused(&project, "SIG_UNTRUSTED");
    up.stop();
    run(&site, &["key", "revoke", "nobody", "--reason", "x"]).refused("TRUST_INVALID");
    let bare = Site::new();
    run(&bare, &["key", "new"]).done();
    let words = run(&bare, &["key", "revoke", "dev", "--reason", "x"]).refused("TRUST_INVALID");
    assert!(words.contains("fermion trust init"), "{words}");
}

/// Puts a root into the data directory as it was accepted when it was still young.
pub(crate) fn accepted_long_ago(site: &Site, expires: Moment, grace_seconds: u64) {
    let root = next(site, |document| {
        document.expires = expires;
        document.grace_seconds = grace_seconds;
    });
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    accept(keys(site).path(), &root.write(), then).unwrap();
}

#[test]
fn an_expired_root_lets_nothing_new_in_and_what_runs_runs_on() {
    let site = rooted();
    let project = site.simple("shop", "1.0.0", "p2-hello");
    Up::start(&site, &[&project]).stop();
    let day = Duration::from_secs(24 * 60 * 60);
    let yesterday = Moment::of(now() - day);
    accepted_long_ago(&site, yesterday, 10 * day.as_secs());
    let up = Up::start(&site, &NOTHING);
    up.get("/shop/").expect(200, HELLO);
    site.simple("shop", "1.1.0", "p2-edge");
    let words = up.deploy_refused(&project, "STALE");
    assert!(
        words.contains("expired at") && words.contains("fermion trust draft"),
        "{words}"
    );
    up.get("/shop/").expect(200, HELLO);
    up.stop();
    // After the grace nothing is loaded any more, and a new document mends it.
    accepted_long_ago(&site, yesterday, 1);
    let up = Up::start(&site, &NOTHING);
    assert_eq!(up.app("shop")["problem"]["code"], "STALE");
    up.stop();
    run(&site, &["trust", "add", "dev"]).done();
    let up = Up::start(&site, &NOTHING);
    up.get("/shop/").expect(200, HELLO);
    up.deploy(&project);
    up.stop();
}

fn tag(data: &Path, tag: &str) -> String {
    let file = data.join("store/repositories/acme/shop/_tags").join(tag);
    fs::read_to_string(file).unwrap()
}

#[test]
fn a_name_goes_only_through_its_channel_and_never_back() {
    let site = rooted();
    let root = next(&site, |document| {
        document.channels = vec!["acme/*".parse().unwrap()]
    });
    run(&site, &["trust", "apply", &file(&site, &root.write())]).done();
    let project = site.simple("shop", "1.0.0", "p2-hello");
    let up = Up::start(&site, &NOTHING);
    let words = up.deploy_refused(&project, "CHANNEL_MISMATCH");
    assert!(words.contains("fermion channel publish"), "{words}");
    let published = run(&site, &["channel", "publish", "acme/shop:1.0.0"]).json();
    assert_eq!(
        (&published["serial"], &published["signers"][0]["name"]),
        (&1.into(), &"channel".into())
    );
    let old = tag(&site.data(), "channel-stable");
    up.deploy(&project);
    up.get("/shop/state").expect(200, HELLO);

    site.simple("shop", "1.1.0", "p2-edge");
    let words = up.deploy_refused(&project, "CHANNEL_MISMATCH");
    assert!(words.contains("stable names 1.0.0"), "{words}");
    run(&site, &["channel", "publish", "acme/shop:1.1.0"]).done();
    up.deploy(&project);
    up.get("/shop/state").expect(200, "1\n");

    // Whoever can write to the registry puts the old document back: the old package is not let in again.
    fs::write(
        site.data()
            .join("store/repositories/acme/shop/_tags/channel-stable"),
        old,
    )
    .unwrap();
    site.simple("shop", "1.0.0", "p2-hello");
    let words = up.deploy_refused(&project, "ROLLBACK");
    assert!(words.contains("serial 2 has been seen"), "{words}");
    run(&site, &["channel", "show", "acme/shop"]).refused("ROLLBACK");
    up.get("/shop/state").expect(200, "1\n");

    // An expired one lets nothing new in; what runs runs on, also after a restart.
    let store = Store::open(&site.data().join("store")).unwrap();
    let digest = run(&site, &["inspect", "acme/shop:1.0.0"]).json()["digest"].clone();
    let expired = ChannelDocument {
        schema: 1,
        name: "acme/shop".parse().unwrap(),
        channel: "stable".to_owned(),
        digest: digest.as_str().unwrap().parse().unwrap(),
        version: "1.0.0".parse().unwrap(),
        serial: 3,
        expires: "2020-01-01T00:00:00Z".parse().unwrap(),
    };
    channel::publish(&store, &expired, &keys(&site).load("channel").unwrap()).unwrap();
    let words = up.deploy_refused(&project, "STALE");
    assert!(words.contains("fermion channel publish"), "{words}");
    up.stop();
    let up = Up::start(&site, &NOTHING);
    up.get("/shop/state").expect(200, "1\n");
    up.stop();
}

#[test]
fn a_channel_may_need_two_who_agree() {
    let site = rooted();
    run(&site, &["key", "new", "--name", "second", "--role", "channel"]).done();
    run(&site, &["trust", "add", "second.channel"]).done();
    let root = next(&site, |document| document.thresholds.channel = 2);
    run(&site, &["trust", "apply", &file(&site, &root.write())]).done();
    let project = site.simple("shop", "1.0.0", "p2-hello");
    run(&site, &["pack", project.to_str().unwrap()]).done();
    let publish = ["channel", "publish", "acme/shop:1.0.0"];
    let words = run(&site, &publish).refused("SIG_UNTRUSTED");
    assert!(
        words.contains("2 different channel keys must sign and 1 did (channel)"),
        "{words}"
    );
    let both = run(&site, &[&publish[..], &["--key", "second.channel"]].concat()).json();
    assert_eq!(
        (&both["serial"], both["signers"].as_array().unwrap().len()),
        (&1.into(), 2)
    );
}

#[test]
fn a_package_carries_what_is_in_it_and_where_it_comes_from() {
    let site = rooted();
    let project = site.simple("shop", "1.0.0", "p2-hello");
    let bom = r#"{"bomFormat":"CycloneDX","specVersion":"1.5","components":[{"type":"library","name":"a","version":"1"}]}"#;
    let bom_file = site.path().join("bom.json");
    fs::write(&bom_file, bom).unwrap();
    let words = [
        "pack",
        project.to_str().unwrap(),
        "--sbom",
        bom_file.to_str().unwrap(),
    ];
    let packed = run(&site, &words).json();
    let show = || run(&site, &["verify", "acme/shop:1.0.0"]).json();
    let shown = show();
    assert_eq!(shown["sbom"], packed["sbom"]["digest"], "{shown}");
    // The root does not know the key that vouches, which was made just now.
    assert_eq!(shown["provenance"].as_array().unwrap().len(), 0, "{shown}");
    assert_eq!(shown["ignored"].as_array().unwrap().len(), 1, "{shown}");
    run(&site, &["trust", "add", "provenance"]).done();
    let shown = show();
    assert_eq!(shown["provenance"][0][0]["name"], "provenance", "{shown}");
    run(&site, &["key", "revoke", "provenance", "--reason", "lost"]).done();
    let shown = show();
    assert_eq!(
        (&shown["provenance"], &shown["verified"]),
        (&Value::Array(Vec::new()), &true.into()),
        "{shown}"
    );
    // Another list in its place is not the package's own.
    let other = bom.replace("\"a\"", "\"b\"");
    fs::write(&bom_file, other).unwrap();
    let again = run(&site, &words).json();
    assert_ne!(again["digest"], packed["digest"]);
}

#[test]
fn a_package_that_counts_is_never_replaced_by_an_older_one() {
    let site = Site::new();
    let counted = |version: &str, guest: &str, serial: u32| {
        let folder = site.simple("shop", version, guest);
        let file = folder.join("fermion.toml");
        let line = format!("[package]\nserial = {serial}\n");
        fs::write(
            &file,
            fs::read_to_string(&file).unwrap().replace("[package]\n", &line),
        )
        .unwrap();
        folder
    };
    let project = counted("1.0.0", "p2-hello", 7);
    let up = Up::start(&site, &[&project]);
    counted("1.1.0", "p2-edge", 8);
    up.deploy(&project);
    // The old package again, as genuine as ever; one that forks the count; one that does not count.
    counted("1.0.0", "p2-hello", 7);
    let words = up.deploy_refused(&project, "ROLLBACK");
    assert!(
        words.contains("serial 7") && words.contains("serial 8 has been seen"),
        "{words}"
    );
    counted("1.2.0", "p2-hello", 8);
    up.deploy_refused(&project, "ROLLBACK");
    site.simple("shop", "1.2.0", "p2-hello");
    up.deploy_refused(&project, "ROLLBACK");
    up.get("/shop/state").expect(200, "1\n");
    // The same again is no older one, and an operator can go back to what was let in.
    counted("1.1.0", "p2-edge", 8);
    assert_eq!(up.deploy(&project)["created"], false);
    assert_eq!(up.run(&["rollback", "shop", "r1"]).json()["serving"], 1);
    up.get("/shop/state").expect(200, HELLO);
    up.stop();
}
