//! The gate of a running platform: what is denied is denied by name and on record, what serves serves on, and broken
//! policies let nothing in.

use std::fs;
use std::path::{Path, PathBuf};

use fermion_package::canonical::{Descriptor, json};
use fermion_package::{PrivateKey, Store, sign};
use serde_json::Value;

use crate::platform::{Package, Ran, Site, Up};
use crate::support::Connection;

const NOTHING: [&str; 0] = [];
const HELLO: &str = "Hello, world!\n";

/// Writes a file of policies into the folder that the platform reads.
fn policy(site: &Site, name: &str, text: &str) -> PathBuf {
    let folder = site.data().join("policy");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join(name);
    fs::write(&file, text).unwrap();
    file
}

fn local(site: &Site, words: &[&str]) -> Ran {
    let data = site.data();
    let data = ["--data", data.to_str().unwrap()];
    Ran::new(["--json"].iter().chain(words).chain(&data))
}

/// `verdict release policies` of an app's decisions, newest first.
fn decisions(up: &Up, what: &str) -> Vec<String> {
    let list = up.run(&["inspect", "--decisions", what]).json();
    let one = |decision: &Value| {
        let names: Vec<_> = decision["policies"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap())
            .collect();
        format!(
            "{} {} {} {}",
            decision["action"].as_str().unwrap(),
            decision["verdict"].as_str().unwrap(),
            decision["release"],
            names.join(" ")
        )
    };
    list.as_array().unwrap().iter().map(one).collect()
}

#[test]
fn an_undeclared_import_is_denied_by_name_and_passed_by_only_with_a_reason() {
    let site = Site::new();
    let project = site.simple("shop", "1.0.0", "p2-hello");
    let up = Up::start(&site, &[&project]);
    site.simple("shop", "1.1.0", "p2-config");
    let words = up.deploy_refused(&project, "POLICY_DENIED");
    assert!(
        words.contains("wasi:config/store@0.2.0-rc.1")
            && words.contains("undeclared-import")
            && words.contains("[capabilities]"),
        "{words}"
    );
    up.get("/shop/").expect(200, HELLO);
    assert_eq!(
        decisions(&up, "shop"),
        ["deploy deny null undeclared-import", "deploy allow 1 admit"]
    );
    let folder = project.to_str().unwrap();
    for reason in ["", "  ", "two\nlines"] {
        up.run(&["deploy", folder, "--override-policy", reason])
            .refused("REQUEST_INVALID");
    }
    let reason = "INC-7: the shop is down";
    let release = up.run(&["deploy", folder, "--override-policy", reason]).json()["release"].clone();
    assert_eq!(release["policy_override"], reason, "{release}");
    assert_eq!(up.app("shop")["active"]["policy_override"], reason);
    assert!(up.shown(&["releases", "shop"]).done().contains(reason));
    assert_eq!(decisions(&up, "shop")[0], "deploy override 2 undeclared-import");
    // A rollback to it is denied for the same reason, and leaves things as they are.
    up.run(&["rollback", "shop", "r1"]).done();
    up.run(&["rollback", "shop", "r2"]).refused("POLICY_DENIED");
    up.get("/shop/").expect(200, HELLO);
    assert_eq!(decisions(&up, "shop")[0], "activate deny null undeclared-import");

    let list = up.run(&["inspect", "--decisions", "shop"]).json();
    let first = list.as_array().unwrap().last().unwrap();
    let check = local(&site, &["policy", "check"]).json();
    assert_eq!(
        (&first["by"], &first["policy_hash"], &first["facts"]["name"]),
        (&"up".into(), &check["policy_hash"], &"acme/shop".into())
    );
    let by_package = decisions(&up, "acme/shop:1.0.0");
    assert_eq!(by_package, ["activate allow 1 admit", "deploy allow 1 admit"]);
    let by_digest = decisions(&up, &format!("acme/shop@{}", first["digest"].as_str().unwrap()));
    assert_eq!(by_digest, by_package);
    up.stop();
    // The record outlives the process.
    let up = Up::start(&site, &NOTHING);
    assert_eq!(decisions(&up, "shop").len(), 5);
    assert!(up.shown(&["inspect", "--decisions"]).done().contains(reason));
    up.stop();
}

#[test]
fn a_policy_that_cannot_be_evaluated_denies() {
    let site = Site::new();
    let project = site.simple("shop", "1.0.0", "p2-hello");
    let up = Up::start(&site, &[&project]);
    policy(
        &site,
        "own.cedar",
        "@id(\"overflowing\")\nforbid (principal, action == Action::\"deploy\", resource)\n\
         when { context.facts.wasm_bytes * 9223372036854775807 < 0 };\n",
    );
    site.simple("shop", "1.1.0", "p2-edge");
    let words = up.deploy_refused(&project, "POLICY_DENIED");
    assert!(
        words.contains("overflowing") && words.contains("mend the policy"),
        "{words}"
    );
    up.get("/shop/state").expect(200, HELLO);
    assert_eq!(decisions(&up, "shop")[0], "deploy deny null overflowing");
    up.stop();
}

#[test]
fn policies_change_while_the_platform_runs_and_broken_ones_change_nothing() {
    let site = Site::new();
    let project = site.simple("shop", "1.0.0", "p2-hello");
    let up = Up::start(&site, &[&project]);
    let file = policy(
        &site,
        "freeze.cedar",
        "@id(\"freeze\") @reason(\"the shop is frozen until Monday\") @next(\"wait\") @override(\"never\")\n\
         forbid (principal, action, resource in Repository::\"acme/shop\");\n",
    );
    site.simple("shop", "1.1.0", "p2-edge");
    let words = up.deploy_refused(&project, "POLICY_DENIED");
    assert!(
        words.contains("frozen until Monday; wait") && !words.contains("--override-policy"),
        "{words}"
    );
    // Nobody passes by a policy that says so.
    up.run(&["deploy", project.to_str().unwrap(), "--override-policy", "please"])
        .refused("POLICY_DENIED");
    // Half a file: what was sound stays in force.
    fs::write(&file, "@id(\"freeze\")\nforbid (principal, action").unwrap();
    up.deploy_refused(&project, "POLICY_DENIED");
    let log = up
        .process
        .stderr
        .wait_for(|line| line.contains("policies refused"));
    assert!(
        log.is_some_and(|line| line.contains("freeze.cedar:2")),
        "{}",
        up.process.stderr.text()
    );
    fs::remove_file(&file).unwrap();
    assert_eq!(up.deploy(&project)["serving"], 2);
    up.get("/shop/state").expect(200, "1\n");
    up.stop();
}

#[test]
fn a_platform_that_starts_with_broken_policies_serves_and_admits_nothing() {
    let site = Site::new();
    let project = site.simple("shop", "1.0.0", "p2-hello");
    Up::start(&site, &[&project]).stop();
    let file = policy(
        &site,
        "own.cedar",
        "// mine\n@id(\"a\")\nforbid (principal, action, resourc);\n",
    );
    let up = Up::start(&site, &NOTHING);
    up.get("/shop/").expect(200, HELLO);
    site.simple("shop", "1.1.0", "p2-edge");
    let words = up.deploy_refused(&project, "POLICY_INVALID");
    assert!(
        words.contains("own.cedar:3") && words.contains("fermion policy check"),
        "{words}"
    );
    up.run(&["deploy", project.to_str().unwrap(), "--override-policy", "now"])
        .refused("POLICY_INVALID");
    up.get("/shop/state").expect(200, HELLO);
    local(&site, &["policy", "check"]).refused("POLICY_INVALID");
    // Mended, it takes effect without a restart.
    fs::write(
        &file,
        "@id(\"a\") forbid (principal, action, resource in Namespace::\"bank\");",
    )
    .unwrap();
    local(&site, &["policy", "check"]).done();
    assert_eq!(up.deploy(&project)["serving"], 2);
    up.stop();
}

/// A package whose config says less than its component imports, signed by the trusted key.
fn lying(site: &Site, digest: &str) -> String {
    let data = site.data();
    let store = Store::open(&data.join("store")).unwrap();
    let read = |digest: &str| -> Value {
        serde_json::from_slice(&store.read(&digest.parse().unwrap(), 1 << 20).unwrap()).unwrap()
    };
    let mut image = read(digest);
    let mut config = read(image["config"]["digest"].as_str().unwrap());
    config["component"]["imports"].as_array_mut().unwrap().pop();
    let bytes = json(&config);
    store.put(&bytes).unwrap();
    let kind = image["config"]["mediaType"].as_str().unwrap().to_owned();
    image["config"] = serde_json::to_value(Descriptor::of(&kind, &bytes)).unwrap();
    let changed = store.put(&json(&image)).unwrap();
    let key = PrivateKey::load(Path::new(&data.join("keys/dev.key"))).unwrap();
    sign(&store, &"acme/shop".parse().unwrap(), &changed, &key).unwrap();
    changed.to_string()
}

#[test]
fn a_config_that_hides_an_import_is_refused_although_it_is_signed() {
    let site = Site::new();
    let project = site.simple("shop", "1.0.0", "p2-hello");
    let up = Up::start(&site, &[&project]);
    let digest = up.app("shop")["active"]["digest"].as_str().unwrap().to_owned();
    let body =
        serde_json::json!({ "digest": lying(&site, &digest), "routes": [{ "path": "/*" }] }).to_string();
    let mut connection = Connection::open(up.admin);
    connection.send(format!(
        "POST /api/v1/namespaces/default/apps/shop/releases HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        up.token(),
        body.len()
    ));
    let answer = connection.response("POST");
    assert_eq!(answer.status, 422);
    let problem: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(problem["code"], "IMPORTS_MISMATCH", "{problem}");
    up.get("/shop/").expect(200, HELLO);
    up.stop();
}

#[test]
fn policies_are_tried_before_they_hold() {
    let site = Site::new();
    let project = site.project(Package {
        more: "[telemetry]\nowner = \"team-shop\"\n",
        ..Package::new("shop", "1.0.0", "p2-hello")
    });
    local(&site, &["pack", project.to_str().unwrap()]).done();
    let explained = local(&site, &["policy", "explain", "acme/shop:1.0.0"]).json();
    assert_eq!(explained["decision"]["verdict"], "allow", "{explained}");
    assert_eq!(explained["facts"]["telemetry"]["owner"], "team-shop");
    policy(
        &site,
        "own.cedar",
        "@id(\"runbook\") @reason(\"nobody knows what to do when it fails\") @next(\"add [telemetry] runbook\")\n\
         forbid (principal, action == Action::\"deploy\", resource) unless { context.facts.telemetry has runbook };\n",
    );
    let explained = local(&site, &["policy", "explain", "acme/shop:1.0.0"]).json();
    assert_eq!(explained["decision"]["verdict"], "deny");
    assert!(
        explained["explanation"]
            .as_str()
            .unwrap()
            .contains("add [telemetry] runbook"),
        "{explained}"
    );
    // The printed facts can be asked about again.
    let facts = site.path().join("facts.json");
    fs::write(&facts, explained["facts"].to_string()).unwrap();
    let again = local(&site, &["policy", "explain", "--facts", facts.to_str().unwrap()]).json();
    assert_eq!(again["decision"], explained["decision"]);
    fs::write(&facts, "{\"schema\": 1}").unwrap();
    local(&site, &["policy", "explain", "--facts", facts.to_str().unwrap()]).refused("FACTS_INVALID");

    local(&site, &["policy", "test"]).done();
    fs::create_dir_all(site.data().join("policy/tests")).unwrap();
    policy(
        &site,
        "tests/own.json",
        r#"{"cases": [
            {"name": "no runbook", "facts": {"telemetry": {"runbook": null}}, "expect": {"verdict": "deny"}},
            {"name": "with one", "expect": {"verdict": "deny"}}]}"#,
    );
    let failed = Ran::new(["policy", "test", "--data", site.data().to_str().unwrap()]);
    assert_eq!(failed.status, Some(1));
    assert!(
        failed.stdout.contains("ok      own: no runbook") && failed.stdout.contains("FAILED  own: with one"),
        "{}",
        failed.stdout
    );
}
