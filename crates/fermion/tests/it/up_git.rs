//! Git as the source of what runs, end to end with a real repository: apply, drift, heal, a bad document, a rewritten
//! history, a deleted file, what went back and stays back, signatures, and what is written into the repository.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use serde_json::Value;

use crate::platform::operations::{FOLDER, Repository, app, git, in_place, pack, shop, until, vanishes};
use crate::platform::{Site, Up};
use crate::support::Ask;

/// `p2-hello` answers every path; `p2-edge` traps on this one.
const TRAP: &str = "/shop/trap";

fn kinds(view: &Value) -> Vec<&str> {
    let events = view["events"].as_array().unwrap();
    events
        .iter()
        .map(|event| event["kind"].as_str().unwrap())
        .collect()
}

fn version(up: &Up) -> String {
    up.app("shop")["active"]["version"]
        .as_str()
        .unwrap_or("none")
        .to_owned()
}

#[test]
fn a_commit_is_applied_and_drift_is_healed() {
    let site = Site::new();
    let mut up = Up::start::<&Path>(&site, &[]);
    pack(&site, "shop", "1.0.0", "p2-hello");
    let repository = Repository::new(&site);
    repository.write("shop.yaml", &shop("1.0.0", ""));
    // What is not a document of ours, or is one by way of a link, is none.
    fs::create_dir_all(repository.work.join(FOLDER).join(".hidden")).unwrap();
    repository.write(".hidden/ci.yaml", "on: push\n");
    repository.write("README.md", "# Operations\n");
    std::os::unix::fs::symlink("/etc/passwd", repository.work.join(FOLDER).join("link.yaml")).unwrap();
    let first = repository.commit();
    repository.add(&site, &up, "  interval: 1s\n");
    let view = in_place(&up, &first);
    assert_eq!(view["apps"][0]["state"], "in-place", "{view:#}");
    assert_eq!(view["apps"][0]["file"], format!("{FOLDER}/shop.yaml"), "{view:#}");
    up.get("/shop/").expect(200, "Hello, world!\n");
    let by = up.app("shop")["active"]["created_by"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(by, format!("git:ops@{}", &first[..12]));

    // The next commit is found without being asked for, and waits for its package.
    repository.write("shop.yaml", &shop("1.0.1", ""));
    let second = repository.commit();
    let view = until(&up, |view| view["state"] == "trouble");
    assert!(
        view["why"]
            .as_str()
            .unwrap()
            .contains("does not have acme/shop:1.0.1 yet"),
        "{view:#}"
    );
    assert_eq!(version(&up), "1.0.0");
    pack(&site, "shop", "1.0.1", "p2-edge");
    in_place(&up, &second);
    assert_eq!(version(&up), "1.0.1");

    // By hand something else, and back by itself.
    let by_hand = site.simple("shop", "1.0.2", "p2-hello");
    up.run(&["deploy", by_hand.to_str().unwrap()]);
    let view = until(&up, |view| {
        kinds(view).contains(&"healed") && view["state"] == "in-place"
    });
    assert!(kinds(&view).contains(&"drift"), "{view:#}");
    assert_eq!(version(&up), "1.0.1");

    // Killed and started again, nothing is done twice.
    let latest = up.app("shop")["latest"].clone();
    up.kill();
    up = Up::start::<&Path>(&site, &[]);
    up.run(&["git", "sync", "ops"]).done();
    in_place(&up, &second);
    assert_eq!(up.app("shop")["latest"], latest);

    // Where it is only to be said, it is said field by field.
    repository.add(&site, &up, "  self_heal: false\n");
    up.run(&[
        "deploy",
        site.simple("shop", "1.0.3", "p2-hello").to_str().unwrap(),
    ])
    .done();
    let view = until(&up, |view| view["state"] == "drifted");
    let change = &view["apps"][0]["changes"][0];
    assert_eq!(change["field"], "package", "{view:#}");
    assert!(
        change["active"].as_str().unwrap().starts_with("acme/shop:1.0.3 "),
        "{view:#}"
    );
    assert_eq!(version(&up), "1.0.3");
    let removed = up.run(&["git", "remove", "ops"]).json();
    assert_eq!(removed["name"], "ops");
    up.run(&["git", "status", "ops"]).refused("NO_SUCH_SOURCE");
    vanishes(&site.data().join("git/mirrors/default/ops"));
    up.get("/shop/").expect(200, "Hello, world!\n");
    up.stop();
}

#[test]
fn a_bad_document_names_its_line_and_nothing_is_applied() {
    let site = Site::new();
    let up = Up::start::<&Path>(&site, &[]);
    for version in ["1.0.0", "1.0.1"] {
        pack(&site, "shop", version, "p2-hello");
        pack(&site, "basket", version, "p2-hello");
    }
    let repository = Repository::new(&site);
    repository.write("basket.yaml", &app("basket", "1.0.0", ""));
    repository.write("shop.yaml", &shop("1.0.0", ""));
    let good = repository.commit();
    repository.add(&site, &up, "");
    in_place(&up, &good);

    let long = "  routes: [{path: /shop/*}]\n  config:\n    currency: EUR\n";
    for (bad, place) in [
        (
            shop("1.0.1", "  rotues: []\n"),
            "shop.yaml:6:3: unknown key \"rotues\" in [spec]; did you mean \"routes\"?",
        ),
        (
            shop("1.0.1", long),
            "shop.yaml:7:3: spec.config: the app sets config \"currency\"",
        ),
        (
            shop("1.0.1", "  routes: [{path: /basket/*}]\n").replace("name: shop", "name: basket"),
            "already",
        ),
        (
            shop("1.0.1", "").replace("{name: shop}", "{name: shop, namespace: other}"),
            "shop.yaml:3:35: metadata.namespace",
        ),
        (
            shop("1.0.1", "").replace("  package: acme/shop:1.0.1\n", "  wave: 1\n"),
            "shop.yaml:4:1: spec.package",
        ),
    ] {
        // The other document of the commit is fine.
        repository.write("basket.yaml", &app("basket", "1.0.1", ""));
        repository.write("shop.yaml", &bad);
        let commit = repository.commit();
        let ran = up.run(&["git", "sync", "ops"]);
        assert_eq!(ran.status, Some(1), "{}", ran.stdout);
        let view = up.run(&["git", "status", "ops"]).json();
        assert_eq!(
            (&view["state"], &view["commit"]),
            (&"refused".into(), &commit.clone().into()),
            "{view:#}"
        );
        let why = view["why"].as_str().unwrap();
        assert!(why.starts_with(FOLDER) && why.contains(place), "{why}");
        let last = view["events"].as_array().unwrap().last().unwrap();
        assert_eq!(
            (&last["kind"], &last["commit"]),
            (&"refused".into(), &commit.into()),
            "{view:#}"
        );
        assert_eq!(view["applied"], good, "{view:#}");
        for name in ["shop", "basket"] {
            assert_eq!(up.app(name)["active"]["version"], "1.0.0");
            assert_eq!(up.app(name)["latest"], 1);
        }
    }
    // What was good before is kept up meanwhile.
    up.run(&[
        "deploy",
        site.simple("shop", "1.0.2", "p2-edge").to_str().unwrap(),
    ]);
    until(&up, |view| kinds(view).contains(&"healed"));
    assert_eq!(version(&up), "1.0.0");

    repository.write("shop.yaml", &shop("1.0.1", ""));
    let mended = repository.commit();
    up.run(&["git", "sync", "ops"]).done();
    in_place(&up, &mended);
    assert_eq!(version(&up), "1.0.1");
    up.stop();
}

#[test]
fn a_rewritten_history_is_followed_or_refused() {
    let site = Site::new();
    let up = Up::start::<&Path>(&site, &[]);
    for version in ["1.0.0", "1.0.1", "1.0.2"] {
        pack(&site, "shop", version, "p2-hello");
    }
    let repository = Repository::new(&site);
    repository.write("shop.yaml", &shop("1.0.0", ""));
    let first = repository.commit();
    repository.write("shop.yaml", &shop("1.0.1", ""));
    let second = repository.commit();
    repository.add(&site, &up, "");
    in_place(&up, &second);

    git(&repository.work, &["reset", "--quiet", "--hard", &first]);
    repository.push();
    let view = up.run(&["git", "sync", "ops"]).json();
    assert!(kinds(&view).contains(&"rewritten"), "{view:#}");
    in_place(&up, &first);
    assert_eq!(version(&up), "1.0.0");

    // Where it is not allowed, neither it nor what follows from it is taken, unless a person says so.
    repository.add(&site, &up, "  follow_rewrites: false\n");
    git(
        &repository.work,
        &["commit", "--quiet", "--amend", "--allow-empty", "-m", "Rewritten"],
    );
    repository.push();
    let ran = up.run(&["git", "sync", "ops"]);
    assert_eq!(ran.status, Some(1), "{}", ran.stdout);
    repository.write("shop.yaml", &shop("1.0.2", ""));
    let third = repository.commit();
    let ran = up.run(&["git", "sync", "ops"]);
    assert!(ran.stderr.contains("history was rewritten"), "{}", ran.stderr);
    assert_eq!(version(&up), "1.0.0");
    up.run(&["git", "sync", "ops", "--retry"]).done();
    in_place(&up, &third);
    assert_eq!(version(&up), "1.0.2");
    up.stop();
}

#[test]
fn a_deleted_document_takes_its_app_out_of_service_by_consent_only() {
    let site = Site::new();
    let up = Up::start::<&Path>(&site, &[]);
    pack(&site, "shop", "1.0.0", "p2-hello");
    pack(&site, "basket", "1.0.0", "p2-hello");
    let repository = Repository::new(&site);
    repository.write("basket.yaml", &app("basket", "1.0.0", ""));
    repository.write("shop.yaml", &shop("1.0.0", ""));
    repository.commit();
    repository.add(&site, &up, "");
    up.run(&["git", "sync", "ops"]).done();
    repository.remove("basket.yaml");
    let gone = repository.commit();
    up.run(&["git", "sync", "ops"]).done();
    let view = until(&up, |view| view["applied"] == gone);
    assert_eq!(view["apps"][0]["state"], "orphaned", "{view:#}");
    up.get("/basket/").expect(200, "Hello, world!\n");

    // No document at all is taken for a mistake, whatever is allowed.
    repository.add(&site, &up, "  prune: true\n");
    until(&up, |view| kinds(view).contains(&"pruned"));
    up.waits_for("basket", |app| app["serving"].is_null());
    assert_eq!(up.get("/basket/").status, 404);
    repository.remove("shop.yaml");
    repository.commit();
    let ran = up.run(&["git", "sync", "ops"]);
    assert!(
        ran.stderr.contains("there is no document at its path"),
        "{}",
        ran.stderr
    );
    up.get("/shop/").expect(200, "Hello, world!\n");

    // Nothing is lost of what went out of service.
    let back = up.run(&["rollback", "basket"]).json();
    assert_eq!(back["serving"], 1, "{back}");
    up.get("/basket/").expect(200, "Hello, world!\n");
    up.stop();
}

#[test]
fn what_went_back_stays_back_until_git_changes() {
    let site = Site::new();
    let up = Up::start::<&Path>(&site, &[]);
    let rollout =
        "  rollout: {strategy: canary, steps: [{weight: 50%, bake: 10m}], judge: {metrics: [errors]}}\n";
    pack(&site, "shop", "1.0.0", "p2-hello");
    pack(&site, "shop", "1.0.1", "p2-edge");
    pack(&site, "shop", "1.0.2", "p2-hello");
    let repository = Repository::new(&site);
    repository.write("shop.yaml", &shop("1.0.0", rollout));
    let good = repository.commit();
    repository.add(&site, &up, "  write_back: {notes: true, revert_branch: true}\n");
    in_place(&up, &good);

    repository.write("shop.yaml", &shop("1.0.1", rollout));
    let bad = repository.commit();
    let view = up.run(&["git", "sync", "ops"]).json();
    assert_eq!(
        (&view["state"], &view["apps"][0]["state"]),
        (&"progressing".into(), &"rolling".into()),
        "{view:#}"
    );
    let done = AtomicBool::new(false);
    let view = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Relaxed) {
                Ask::get(TRAP).send(up.gateway);
            }
        });
        let view = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until(&up, |view| view["state"] == "failed")
        }));
        done.store(true, Relaxed);
        view.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    assert_eq!(view["apps"][0]["state"], "held", "{view:#}");
    assert_eq!(view["applied"], good, "{view:#}");
    assert_eq!(version(&up), "1.0.0");

    // Neither another look nor a commit that says nothing new of the app tries it again.
    let latest = up.app("shop")["latest"].clone();
    assert_eq!(up.run(&["git", "sync", "ops"]).status, Some(1));
    repository.write("README.md", "# Operations\n");
    let other = repository.commit();
    let view = up.run(&["git", "sync", "ops"]).json();
    assert_eq!(
        (&view["state"], &view["applied"]),
        (&"held".into(), &other.into()),
        "{view:#}"
    );
    assert_eq!(up.app("shop")["latest"], latest);

    says_what_became_of_it(&repository, &good, &bad);

    // A new package is a new try.
    repository.write("shop.yaml", &shop("1.0.2", ""));
    let mended = repository.commit();
    up.run(&["git", "sync", "ops"]).done();
    in_place(&up, &mended);
    assert_eq!(version(&up), "1.0.2");
    up.stop();
}

/// The repository has notes on both commits, and a branch on which the app is as it was.
#[track_caller]
fn says_what_became_of_it(repository: &Repository, good: &str, bad: &str) {
    let notes = |commit: &str| {
        git(
            &repository.bare,
            &["notes", "--ref", "refs/notes/fermion", "show", commit],
        )
    };
    assert_eq!(notes(good), "fermion default/ops: in place");
    assert!(
        notes(bad).starts_with("fermion default/ops: failed: shop: "),
        "{}",
        notes(bad)
    );
    let branch = format!("fermion/revert-shop-{}", &bad[..12]);
    let reverted = git(
        &repository.bare,
        &["show", &format!("{branch}:{FOLDER}/shop.yaml")],
    );
    assert!(reverted.contains("acme/shop:1.0.0"), "{reverted}");
}

#[test]
fn what_a_person_takes_back_is_not_brought_again() {
    let site = Site::new();
    let up = Up::start::<&Path>(&site, &[]);
    pack(&site, "shop", "1.0.0", "p2-hello");
    pack(&site, "shop", "1.0.1", "p2-hello");
    let repository = Repository::new(&site);
    repository.write("shop.yaml", &shop("1.0.0", ""));
    let first = repository.commit();
    repository.add(&site, &up, "");
    in_place(&up, &first);
    repository.write("shop.yaml", &shop("1.0.1", ""));
    let second = repository.commit();
    up.run(&["git", "sync", "ops"]).done();
    in_place(&up, &second);
    up.run(&["rollback", "shop", "r1"]).done();
    let view = until(&up, |view| view["apps"][0]["state"] == "held");
    assert!(
        view["apps"][0]["why"]
            .as_str()
            .unwrap()
            .contains("rolled it back to r1"),
        "{view:#}"
    );
    assert_eq!(version(&up), "1.0.0");
    up.run(&["git", "sync", "ops", "--retry"]).done();
    in_place(&up, &second);
    assert_eq!(version(&up), "1.0.1");
    up.stop();
}

#[test]
fn commits_are_signed_where_that_is_asked_for() {
    let site = Site::new();
    let up = Up::start::<&Path>(&site, &[]);
    pack(&site, "shop", "1.0.0", "p2-hello");
    let repository = Repository::new(&site);
    let keys = site.data().join("git/keys");
    fs::create_dir_all(&keys).unwrap();
    let key = |name: &str| {
        let key = site.path().join(name);
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f", key.to_str().unwrap()])
            .status();
        assert!(made.unwrap().success());
        key
    };
    let (ours, theirs) = (key("ours"), key("theirs"));
    let public = fs::read_to_string(ours.with_extension("pub")).unwrap();
    fs::write(keys.join("signers"), format!("ada@example.com {public}")).unwrap();
    repository.write("shop.yaml", &shop("1.0.0", ""));
    git(&repository.work, &["config", "gpg.format", "ssh"]);
    let unsigned = repository.commit();
    repository.add(&site, &up, "  verify: {allowed_signers: signers}\n");
    let view = until(&up, |view| view["state"] == "refused");
    assert_eq!(view["commit"], unsigned, "{view:#}");
    assert!(
        view["why"]
            .as_str()
            .unwrap()
            .contains("not signed by a key of signers"),
        "{view:#}"
    );

    let signed_by = |key: &Path| {
        git(
            &repository.work,
            &["config", "user.signingkey", key.to_str().unwrap()],
        );
        git(
            &repository.work,
            &["commit", "--quiet", "--allow-empty", "-S", "-m", "Signed"],
        );
        repository.push()
    };
    signed_by(&theirs);
    assert_eq!(up.run(&["git", "sync", "ops"]).status, Some(1));
    let status = up.run(&["status"]).json();
    assert_eq!(status["apps"].as_array().unwrap().len(), 0, "{status}");
    let signed = signed_by(&ours);
    up.run(&["git", "sync", "ops"]).done();
    let view = in_place(&up, &signed);
    let events = view["events"].as_array().unwrap();
    assert!(
        events
            .iter()
            .any(|event| event["what"].as_str().unwrap().contains("ada@example.com")),
        "{view:#}"
    );
    up.stop();
}

#[test]
fn a_difference_is_shown_before_it_is_made() {
    let site = Site::new();
    let project = site.simple("shop", "1.0.0", "p2-hello");
    let up = Up::start(&site, &[&project]);
    let folder = project.to_str().unwrap();
    let none = up.run(&["diff", folder]).json();
    assert_eq!(
        (&none[0]["active"], &none[0]["changes"]),
        (&1.into(), &Value::Array(Vec::new())),
        "{none}"
    );

    let file = site.path().join("shop.yaml");
    let more = "  routes: [{path: /shop/*, methods: [GET]}]\n  rollout: {strategy: blue-green}\n";
    fs::write(&file, shop("1.0.1", more)).unwrap();
    let words = up.shown(&["diff", file.to_str().unwrap()]).done().to_owned();
    for line in [
        "default/shop: against r1",
        "~ package: acme/shop:1.0.0 (sha256:",
        "-> acme/shop:1.0.1",
        "- routes[0].host: shop.localhost",
        "~ routes[0].path: /* -> /shop/*",
        "+ routes[0].methods[0]: GET",
        "- routes[1].path: /shop/*",
        "+ rollout.strategy: blue-green",
    ] {
        assert!(words.contains(line), "{line}\n{words}");
    }
    fs::write(&file, shop("1.0.1", "").replace("name: shop", "name: basket")).unwrap();
    let new = up.run(&["diff", file.to_str().unwrap()]).json();
    assert!(new[0]["active"].is_null(), "{new}");
    assert_eq!(new[0]["changes"][0]["field"], "package", "{new}");
    up.stop();
}
