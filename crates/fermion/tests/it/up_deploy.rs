//! Deploying to a running platform: what is new takes over, what is refused leaves no trace in what serves.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::platform::{Package, Ran, Site, Up};
use crate::support::Connection;

/// What `p2-hello` answers whatever the path, and `p2-edge` at `/state`.
const HELLO: &str = "Hello, world!\n";

#[test]
fn a_deploy_swaps_and_a_rollback_swaps_back() {
    let site = Site::new();
    let project = site.simple("shop", "1.0.0", "p2-hello");
    let up = Up::start(&site, &[&project]);
    assert_eq!(up.ready["apps"][0]["serving"], 1);
    up.get("/shop/state").expect(200, HELLO);

    site.simple("shop", "1.1.0", "p2-edge");
    let deployed = up.deploy(&project);
    assert_eq!(
        (
            &deployed["release"]["number"],
            &deployed["previous"],
            &deployed["created"]
        ),
        (&2.into(), &1.into(), &true.into())
    );
    let steps: Vec<&str> = deployed["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["name"].as_str().unwrap())
        .collect();
    assert_eq!(steps, ["verify", "compile", "link", "warm"]);
    up.get("/shop/state").expect(200, "1\n");

    // The same again is no new release.
    assert_eq!(up.deploy(&project)["created"], false);
    let releases = up.run(&["releases", "shop"]).json();
    let listed: Vec<_> = releases
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (r["number"].as_u64(), r["state"].as_str()))
        .collect();
    assert_eq!(listed, [(Some(2), Some("active")), (Some(1), Some("superseded"))]);

    assert_eq!(up.run(&["rollback", "shop"]).json()["serving"], 1);
    up.get("/shop/state").expect(200, HELLO);
    assert_eq!(up.run(&["rollback", "shop", "r2"]).json()["serving"], 2);
    up.get("/shop/state").expect(200, "1\n");
    let words = up.run(&["rollback", "shop", "r9"]).refused("NO_SUCH_RELEASE");
    assert!(words.contains("fermion releases shop"), "{words}");
    up.run(&["rollback", "nobody"]).refused("NO_SUCH_APP");
    up.stop();
}

#[test]
fn people_read_tables_and_times() {
    let site = Site::new();
    let project = site.simple("shop", "1.0.0", "p2-hello");
    let up = Up::start(&site, &[&project]);
    let status = up.shown(&["status"]);
    let row = status
        .done()
        .lines()
        .last()
        .unwrap()
        .split_whitespace()
        .collect::<Vec<_>>();
    assert_eq!(row, ["shop", "r1", "acme/shop:1.0.0", "serving"]);
    site.simple("shop", "1.0.1", "p2-hello");
    let deployed = up.shown(&["deploy", project.to_str().unwrap()]);
    assert!(
        deployed.done().starts_with("shop is now r2 (acme/shop:1.0.1)\n"),
        "{}",
        deployed.stdout
    );
    assert!(
        deployed.stdout.contains("`fermion rollback shop r1` goes back"),
        "{}",
        deployed.stdout
    );
    assert!(deployed.stdout.contains("  verify "), "{}", deployed.stdout);
    assert!(deployed.stdout.contains(" ms, link "), "{}", deployed.stdout);
    assert!(
        deployed.stderr.starts_with("shop: building acme/shop:1.0.1: cp "),
        "{}",
        deployed.stderr
    );
    let again = up.shown(&["deploy", project.to_str().unwrap()]);
    assert_eq!(again.done(), "shop already is r2 (acme/shop:1.0.1)\n");
    let releases = up.shown(&["releases", "shop"]);
    assert!(
        releases
            .done()
            .starts_with("RELEASE  STATE       PACKAGE          DIGEST"),
        "{}",
        releases.stdout
    );
    up.stop();
}

#[test]
fn apps_are_found_by_host_and_by_prefix() {
    let site = Site::new();
    let one = site.simple("one", "1.0.0", "p2-edge");
    let two = site.simple("two", "1.0.0", "p2-hello");
    fs::write(
        two.join("app.yaml"),
        "apiVersion: fermion.dev/v1\nkind: App\nmetadata:\n  name: second\nspec:\n  routes:\n    - path: /deep/*\n      methods: [GET]\n",
    )
    .unwrap();
    let up = Up::start(&site, &[&one, &two]);
    let by_host = |host: &str, path: &str| {
        let mut connection = Connection::open(up.gateway);
        connection.send(format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n"));
        connection.response("GET")
    };
    by_host("one.localhost", "/status/201").expect(201, "status 201\n");
    by_host("one.localhost:1234", "/hello").expect(200, HELLO);
    // The prefix is taken off, so that a component does not need to know its name.
    up.get("/one/hello").expect(200, HELLO);
    up.get("/deep/anything").expect(200, HELLO);
    assert_eq!(by_host("two.localhost", "/").code(), "NO_ROUTE");
    assert_eq!(up.get("/nobody").code(), "NO_ROUTE");
    assert_eq!(up.app("second")["serving"], 1);
    up.stop();
}

#[test]
fn what_cannot_serve_is_refused_and_the_old_release_stays() {
    let site = Site::new();
    let project = site.simple("shop", "1.0.0", "p2-hello");
    let up = Up::start(&site, &[&project]);
    let stays = || up.get("/shop/").expect(200, HELLO);

    site.simple("shop", "2.0.0", "p2-start-trap");
    up.deploy_refused(&project, "WARM_FAILED");
    stays();
    site.simple("shop", "2.0.1", "no-http");
    let words = up.deploy_refused(&project, "COMPONENT_INVALID");
    assert!(words.contains("wasi:http/incoming-handler@0.2"), "{words}");
    stays();
    fs::write(
        project.join("unknown.wasm"),
        wat::parse_str(UNKNOWN_IMPORT).unwrap(),
    )
    .unwrap();
    fs::write(project.join("source.txt"), "unknown.wasm").unwrap();
    let words = up.deploy_refused(&project, "POLICY_DENIED");
    assert!(words.contains("acme:own/thing@1.0.0"), "{words}");
    stays();
    let draft = UNKNOWN_IMPORT.replace("acme:own/thing@1.0.0", "wasi:keyvalue/store@0.2.0-draft3");
    fs::write(project.join("unknown.wasm"), wat::parse_str(draft).unwrap()).unwrap();
    let words = up.deploy_refused(&project, "POLICY_DENIED");
    let want = "wasi:keyvalue/store@0.2.0-draft3, which is not here; there are 0.2.0-draft, 0.2.0-draft2";
    assert!(words.contains(want), "{words}");
    stays();
    fs::write(project.join("source.txt"), "/nowhere").unwrap();
    let words = up.deploy_refused(&project, "BUILD_FAILED");
    assert!(
        words.contains("/nowhere"),
        "the end of the build's output is shown: {words}"
    );
    stays();
    site.project(Package {
        more: "[limits]\nmemroy = \"1MiB\"\n",
        ..Package::new("shop", "2.0.2", "p2-hello")
    });
    let words = up.deploy_refused(&project, "DOCUMENT_INVALID");
    assert!(
        words.contains("fermion.toml:9:1: ") && words.contains("did you mean \"memory\"?"),
        "{words}"
    );
    stays();

    let app = up.app("shop");
    assert_eq!(
        (&app["serving"], &app["active"]["number"]),
        (&1.into(), &1.into())
    );
    // The next good one takes over all the same.
    site.simple("shop", "3.0.0", "p2-edge");
    up.deploy(&project);
    up.get("/shop/state").expect(200, "1\n");
    up.stop();
}

/// Claims to be a handler and wants what no host has.
const UNKNOWN_IMPORT: &str = r#"(component
    (import "acme:own/thing@1.0.0" (instance))
    (instance $handler)
    (export "wasi:http/incoming-handler@0.2.3" (instance $handler)))"#;

#[test]
fn a_project_that_cannot_start_does_not_keep_the_others_from_it() {
    let site = Site::new();
    let good = site.simple("good", "1.0.0", "p2-hello");
    let bad = site.simple("bad", "1.0.0", "p2-start-trap");
    let up = Up::start(&site, &[&bad, &good]);
    assert!(
        up.process.stderr.text().contains("WARM_FAILED"),
        "{}",
        up.process.stderr.text()
    );
    up.get("/good/").expect(200, HELLO);
    assert_eq!(up.get("/bad/").code(), "NO_ROUTE");
    up.stop();

    let alone = Site::new();
    let bad = alone.simple("bad", "1.0.0", "p2-start-trap");
    let mut arguments = Up::arguments(alone.data().to_str().unwrap());
    arguments.push(bad.to_str().unwrap().to_owned());
    let ran = Ran::new(arguments);
    assert_eq!(ran.status, Some(1));
    assert!(
        ran.stderr.contains("nothing to serve: 1 of 1 projects"),
        "{}",
        ran.stderr
    );
}

#[test]
fn the_admin_api_wants_its_token_for_everything() {
    let site = Site::new();
    let up = Up::start(&site, &[site.simple("shop", "1.0.0", "p2-hello")]);
    for path in [
        "/metrics",
        "/api/v1/status",
        "/api/v1/namespaces/default/apps",
        "/nothing",
    ] {
        for token in [None, Some("fm_wrong"), Some("")] {
            let answer = up.ask_admin(path, token);
            assert_eq!(answer.status, 401, "{path} {token:?}");
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
            let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(problem["code"], "UNAUTHENTICATED");
        }
    }
    let token = up.token();
    assert_eq!(up.ask_admin("/metrics", Some(&token)).status, 200);
    for file in ["admin.token", "keys/dev.key", "keys/node.key"] {
        let mode = fs::metadata(site.data().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let said = format!(
        "{}{}{}",
        up.ready,
        up.process.stdout.text(),
        up.process.stderr.text()
    );
    assert!(!said.contains(&token), "the token is not printed");

    fs::write(
        site.path().join("wrong.token"),
        "fm_00000000000000000000000000000000",
    )
    .unwrap();
    let wrong = site.path().join("wrong.token");
    up.run(&["status", "--token-file", wrong.to_str().unwrap()])
        .refused("UNAUTHENTICATED");
    up.stop();
}

#[test]
fn what_would_not_run_well_does_not_start() {
    let site = Site::new();
    let up = Up::start(&site, &[site.simple("shop", "1.0.0", "p2-hello")]);
    let data = site.data();
    let words = Ran::new(Up::arguments(data.to_str().unwrap())).refused("DATA_IN_USE");
    assert!(
        words.contains("another fermion runs on this data directory"),
        "{words}"
    );

    let other = site.path().join("other");
    let start = |listen: &str, admin: &str| {
        Ran::new([
            "--json",
            "up",
            "--data",
            other.to_str().unwrap(),
            "--listen",
            listen,
            "--admin",
            admin,
        ])
    };
    let words = start("127.0.0.1:0", "0.0.0.0:0").refused("LISTEN_REFUSED");
    assert!(words.contains("loopback only"), "{words}");
    let words = start(&up.gateway.to_string(), "127.0.0.1:0").refused("LISTEN_REFUSED");
    assert!(words.contains("stop it or choose another port"), "{words}");
    let words = start("127.0.0.1:0", &up.admin.to_string()).refused("LISTEN_REFUSED");
    assert!(words.contains("--admin"), "{words}");
    let admin = up.admin.to_string();
    up.stop();

    let project = site.path().join("shop");
    let deploy = [
        "--json",
        "deploy",
        project.to_str().unwrap(),
        "--admin",
        &admin,
        "--data",
        data.to_str().unwrap(),
    ];
    let words = Ran::new(deploy).refused("ADMIN_UNREACHABLE");
    assert!(words.contains("`fermion up` must be running"), "{words}");
    assert_eq!(site.builds("shop"), 1, "nothing is built when nothing runs");
    assert_eq!(Ran::new(["--json", "frobnicate"]).status, Some(2));
}
