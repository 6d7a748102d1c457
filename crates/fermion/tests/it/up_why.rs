//! `fermion why` on a running platform with a fault planted in it: the fault is named first, with what to do next.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant, SystemTime};

use fermion_package::trust::Moment;
use serde_json::Value;

use crate::platform::{Package, Site, Up};
use crate::support::upstream::Upstream;
use crate::support::{Connection, PATIENCE};
use crate::up_trust::{accepted_long_ago, rooted};

const NOTHING: [&str; 0] = [];
/// More than an accident, fewer than anything is said of how long they take.
const FEW: usize = 8;

/// Asks until the answer is so: frames go once a second.
#[track_caller]
fn when(up: &Up, app: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let view = up.run(&["why", app]).json();
        if is_so(&view) {
            return view;
        }
        assert!(Instant::now() < deadline, "{view:#}");
    }
}

/// Waits until this cause stands first, and gives its finding.
#[track_caller]
fn first(up: &Up, app: &str, cause: &str, grade: &str) -> Value {
    let view = when(up, app, |view| view["findings"][0]["cause"] == cause);
    let finding = view["findings"][0].clone();
    assert_eq!(finding["grade"], grade, "{view:#}");
    assert!(!finding["next"].as_array().unwrap().is_empty(), "{view:#}");
    finding
}

fn sentence(finding: &Value) -> &str {
    finding["sentence"].as_str().unwrap()
}

#[test]
fn a_bad_release_is_named_and_an_app_that_is_well_is_told_so() {
    let site = Site::new();
    let project = site.simple("shop", "1.0.0", "p2-hello");
    let up = Up::start(&site, &[&project]);
    // On a machine that others keep busy some starts are slow: among more and more requests they are an accident.
    let view = when(&up, "shop", |view| {
        for _ in 0..FEW {
            up.get("/shop/trap").expect(200, "Hello, world!\n");
        }
        let summary = view["summary"].as_str().unwrap();
        view["findings"] == Value::Array(Vec::new()) && summary.contains("none failed")
    });
    assert!(
        view["summary"].as_str().unwrap().starts_with("r1 serves; "),
        "{view:#}"
    );
    let shown = up.shown(&["why", "shop"]);
    assert!(
        shown
            .done()
            .starts_with("default/shop: nothing is wrong\n  r1 serves; "),
        "{}",
        shown.stdout
    );

    let busy = |top: &Value| top["apps"][0]["requests"].as_u64().unwrap() > 0;
    let deadline = Instant::now() + PATIENCE;
    let top = loop {
        up.get("/shop/").expect(200, "Hello, world!\n");
        let top = up.run(&["top"]).json();
        if busy(&top) {
            break top;
        }
        assert!(Instant::now() < deadline, "{top:#}");
    };
    let app = &top["apps"][0];
    assert_eq!(
        (&app["app"], &app["serving"]),
        (&"shop".into(), &1.into()),
        "{top:#}"
    );
    assert_eq!(
        (&app["failures"], &top["telemetry"]),
        (&0.into(), &true.into()),
        "{top:#}"
    );
    assert!(app["p99_ms"].as_f64().is_some(), "{top:#}");
    let shown = up.shown(&["top"]);
    assert!(
        shown.done().starts_with("1 apps, ") && shown.stdout.contains("default/shop  r1"),
        "{}",
        shown.stdout
    );

    site.simple("shop", "1.1.0", "p2-edge");
    up.deploy(&project);
    for _ in 0..200 {
        assert_eq!(up.get("/shop/trap").code(), "GUEST_TRAP");
    }
    let finding = first(&up, "shop", "BAD_RELEASE", "failing");
    assert!(sentence(&finding).starts_with("r2 is bad: "), "{finding:#}");
    let evidence = finding["evidence"].to_string();
    assert!(
        evidence.contains("GUEST_TRAP") && evidence.contains("changed lately: deploy of r2"),
        "{evidence}"
    );
    assert_eq!(finding["next"][0], "go back: `fermion rollback shop`");
    let shown = up.shown(&["why", "shop"]);
    assert!(
        shown.done().contains("1. BAD_RELEASE [failing]\n   r2 is bad: "),
        "{}",
        shown.stdout
    );
    up.stop();
}

#[test]
fn limits_slow_upstreams_and_slow_starts_are_told_apart() {
    let site = Site::new();
    let upstream = Upstream::start();
    let reach = format!("[capabilities]\nhttp = [\"http://{}\"]\n", upstream.address);
    let of = |name, guest, more| {
        site.project(Package {
            more,
            ..Package::new(name, "1.0.0", guest)
        })
    };
    let projects = [
        of("busy", "p2-edge", "[limits]\ncpu_time = \"50ms\"\n"),
        of("large", "p2-edge", "[limits]\nmemory = \"16MiB\"\n"),
        of("caller", "p2-edge", &reach),
        of("broken", "p2-edge", &reach),
        of("cold", "p2-slow-start", ""),
    ];
    let up = Up::start(&site, &projects);
    for _ in 0..FEW {
        assert_eq!(up.get("/busy/loop").code(), "GUEST_CPU_LIMIT");
        assert_eq!(up.get("/large/alloc/100").code(), "GUEST_MEMORY_LIMIT");
        up.get("/cold/").expect(200, "started\n");
    }
    let late = upstream.via("/caller/fetch-options?first_byte_ms=50", "/silent");
    for _ in 0..FEW {
        assert_eq!(up.get(&late).status, 502);
    }
    let broken = upstream.via("/broken/proxy", "/status/500");
    for _ in 0..FEW {
        assert!(up.get(&broken).status >= 500);
    }
    let finding = first(&up, "busy", "CPU_LIMIT", "failing");
    // Not all of them need have been heard of yet.
    assert!(
        sentence(&finding).contains("requests (100 %) used up their CPU time"),
        "{finding:#}"
    );
    let finding = first(&up, "large", "MEMORY_LIMIT", "failing");
    assert!(sentence(&finding).contains("GUEST_MEMORY_LIMIT"), "{finding:#}");
    let finding = first(&up, "caller", "UPSTREAM_SLOW", "failing");
    assert!(
        sentence(&finding).contains(&upstream.address.to_string()),
        "{finding:#}"
    );
    let finding = first(&up, "broken", "UPSTREAM_FAILS", "failing");
    assert!(
        finding["evidence"].to_string().contains("server error"),
        "{finding:#}"
    );
    let finding = first(&up, "cold", "COLD_STARTS", "slow");
    assert!(
        sentence(&finding).contains("waited for a new instance"),
        "{finding:#}"
    );
    up.stop();
}

/// Deploys over the API without what the command line checks first; gives the status.
fn deploy_bare(up: &Up, app: &str, body: &Value) -> u16 {
    let body = body.to_string();
    let mut connection = Connection::open(up.admin);
    connection.send(format!(
        "POST /api/v1/namespaces/default/apps/{app}/releases HTTP/1.1\r\nhost: localhost\r\n\
         authorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        up.token(),
        body.len()
    ));
    connection.response("POST").status
}

#[test]
fn a_missing_value_and_a_registry_that_is_down_are_named() {
    let site = Site::new();
    let project = site.project(Package {
        more: "[capabilities]\nconfig = [\"api-token\"]\n",
        ..Package::new("shop", "1.0.0", "p2-config")
    });
    let app =
        "apiVersion: fermion.dev/v1\nkind: App\nmetadata: {name: shop}\nspec:\n  config: {api-token: t}\n";
    fs::write(project.join("app.yaml"), app).unwrap();
    let other = site.simple("other", "1.0.0", "p2-hello");
    let up = Up::start(&site, &[&project, &other]);
    let release = up.run(&["releases", "shop"]).json()[0].clone();
    let bare = serde_json::json!({ "digest": release["digest"], "routes": [{ "path": "/shop/*" }] });
    assert_eq!(deploy_bare(&up, "shop", &bare), 422);
    let finding = first(&up, "shop", "CONFIG_MISSING", "risk");
    assert!(sentence(&finding).contains("\"api-token\""), "{finding:#}");
    assert_eq!(deploy_bare(&up, "new", &bare), 422);
    first(&up, "new", "CONFIG_MISSING", "failing");

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let source = format!("{closed}/acme/other:1.1.0");
    let from = ["deploy", other.to_str().unwrap(), "--from", &source];
    up.run(&from).refused("REGISTRY_UNREACHABLE");
    let finding = first(&up, "other", "REGISTRY_DOWN", "risk");
    assert!(sentence(&finding).contains(&source), "{finding:#}");
    // What is deployed next answers it.
    site.simple("other", "1.1.0", "p2-edge");
    up.deploy(&other);
    when(&up, "other", |view| view["findings"] == Value::Array(Vec::new()));
    up.run(&["why", "nobody"]).refused("NO_SUCH_APP");
    up.stop();
}

#[test]
fn an_expired_trust_root_is_named() {
    let site = rooted();
    let project = site.simple("shop", "1.0.0", "p2-hello");
    Up::start(&site, &[&project]).stop();
    let day = Duration::from_secs(24 * 60 * 60);
    accepted_long_ago(&site, Moment::of(SystemTime::now() - day), 10 * day.as_secs());
    let up = Up::start(&site, &NOTHING);
    let finding = first(&up, "shop", "TRUST_EXPIRED", "risk");
    assert!(sentence(&finding).contains("expired"), "{finding:#}");
    up.stop();
    // After the grace nothing may run, and that is why.
    accepted_long_ago(&site, Moment::of(SystemTime::now() - day), 1);
    let up = Up::start(&site, &NOTHING);
    first(&up, "shop", "TRUST_EXPIRED", "failing");
    up.stop();
}

#[test]
fn telemetry_that_no_collector_takes_is_named() {
    let site = Site::new();
    let project = site.simple("shop", "1.0.0", "p2-hello");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{closed}");
    let options = ["--otlp", &url, "--telemetry-interval", "1s"];
    let up = Up::start_with(&site, &[&project], &options);
    up.get("/shop/").expect(200, "Hello, world!\n");
    let finding = first(&up, "shop", "TELEMETRY_BACKLOG", "risk");
    assert!(
        sentence(&finding).contains("wait for the telemetry collector"),
        "{finding:#}"
    );
    up.stop();
}
