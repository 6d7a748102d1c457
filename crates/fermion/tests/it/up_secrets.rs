//! Secrets that were left in a component or in config: found before there is a package, and again before anything runs.

use std::fs;
use std::path::Path;

use crate::platform::{Package, Site, Up};
use crate::support::process::guest_file;

const HELLO: &str = "Hello, world!\n";

/// Put together here, so that this file holds none.
fn key() -> String {
    format!("{}{}", "AKIA", "QRSTUV2345WXYZ67")
}

/// `p2-hello` with the key in the middle of a message that its data segment holds.
fn leaking(site: &Site, project: &Path) {
    let mut wasm = fs::read(guest_file("p2-hello")).unwrap();
    let message = b"the header is an acceptable one";
    let at = wasm.windows(message.len()).position(|window| window == message);
    let at = at.expect("the guest says so when its header is refused");
    wasm[at + 6..at + 26].copy_from_slice(key().as_bytes());
    let file = site.path().join("leaking.wasm");
    fs::write(&file, wasm).unwrap();
    fs::write(project.join("source.txt"), file.to_str().unwrap()).unwrap();
}

#[test]
fn a_key_in_a_data_segment_is_refused_and_never_shown() {
    let site = Site::new();
    let project = site.simple("shop", "1.0.0", "p2-hello");
    let up = Up::start(&site, &[&project]);
    site.simple("shop", "1.1.0", "p2-hello");
    leaking(&site, &project);
    let folder = project.to_str().unwrap();
    for words in [
        &["deploy", folder][..],
        &["deploy", folder, "--override-policy", "now"],
        &["pack", folder],
    ] {
        let ran = if words[0] == "pack" {
            let data = site.data();
            crate::platform::Ran::new(
                ["--json"]
                    .iter()
                    .chain(words)
                    .chain(&["--data", data.to_str().unwrap()]),
            )
        } else {
            up.run(words)
        };
        let words = ran.refused("SECRET_FOUND");
        assert!(
            words.contains("aws-access-key in data segments at byte"),
            "{words}"
        );
        assert!(!format!("{}{}", ran.stdout, ran.stderr).contains(&key()[4..]));
    }
    up.get("/shop/").expect(200, HELLO);

    // What is known to be none is allowed by its hash, for a time.
    let data = site.data();
    let listed = crate::platform::Ran::new([
        "--json",
        "policy",
        "secrets",
        site.path().join("leaking.wasm").to_str().unwrap(),
        "--data",
        data.to_str().unwrap(),
    ]);
    let found = listed.json()["findings"][0]["found"].clone();
    assert!(!listed.stdout.contains(&key()[4..]), "{}", listed.stdout);
    let allow = |until: &str| {
        fs::create_dir_all(data.join("policy")).unwrap();
        let list = serde_json::json!({ "allow": [{
            "rule": found["rule"], "sha256": found["fingerprint"], "until": until, "reason": "made up for a test",
        }]});
        fs::write(data.join("policy/secrets-allow.json"), list.to_string()).unwrap();
    };
    allow("2020-01-01");
    up.deploy_refused(&project, "SECRET_FOUND");
    allow("2999-01-01");
    assert_eq!(up.deploy(&project)["serving"], 2);
    fs::write(data.join("policy/secrets-allow.json"), "{}").unwrap();
    up.deploy_refused(&project, "POLICY_INVALID");
    up.stop();
}

#[test]
fn a_key_in_a_config_value_is_refused_by_the_platform_itself() {
    let site = Site::new();
    let project = site.project(Package {
        more: "[capabilities]\nconfig = [\"currency\"]\n",
        ..Package::new("shop", "1.0.0", "p2-config")
    });
    let app = |value: &str| {
        let text = format!(
            "apiVersion: fermion.dev/v1\nkind: App\nmetadata: {{name: shop}}\n\
             spec: {{config: {{currency: {value}}}, routes: [{{path: /*}}]}}\n"
        );
        fs::write(project.join("app.yaml"), text).unwrap();
    };
    app("EUR");
    let up = Up::start(&site, &[&project]);
    up.get("/currency").expect(200, "EUR\n");
    app(&key());
    let words = up.deploy_refused(&project, "SECRET_FOUND");
    assert!(
        words.contains("aws-access-key in config currency at byte 0"),
        "{words}"
    );
    let record = up.run(&["inspect", "--decisions", "shop"]);
    assert_eq!(record.json()[0]["code"], "SECRET_FOUND");
    assert!(!record.stdout.contains(&key()[4..]) && !up.process.stderr.text().contains(&key()[4..]));
    let folder = project.to_str().unwrap();
    up.run(&["deploy", folder, "--override-policy", "INC-7"])
        .refused("SECRET_FOUND");
    up.get("/currency").expect(200, "EUR\n");
    up.stop();
}

/// Every component that this repository builds, interpreters included: none is taken for a secret.
#[test]
fn nothing_that_is_built_here_is_taken_for_a_secret() {
    let folder = guest_file("p2-hello").parent().unwrap().to_owned();
    let site = Site::new();
    let mut scanned = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "wasm") {
            continue;
        }
        let listed = crate::platform::Ran::new([
            "--json",
            "policy",
            "secrets",
            file.to_str().unwrap(),
            "--data",
            site.data().to_str().unwrap(),
        ])
        .json();
        let blocking: Vec<_> = listed["findings"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|finding| finding["found"]["weight"] == "blocking")
            .collect();
        assert!(blocking.is_empty(), "{}: {blocking:?}", file.display());
        scanned += 1;
    }
    assert!(scanned >= 5, "{scanned}");
}
