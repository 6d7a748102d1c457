//! The route table, alone and behind the server.

use std::sync::Arc;

use fermion_gateway::{Lookup, RouteTable};
use fermion_model::release::Route;
use http::Method;

use crate::app::App;
use crate::harness::{Harness, any, whole};

fn route(host: &str, path: &str, methods: &[&str]) -> Route {
    let methods = methods.iter().map(ToString::to_string).collect();
    Route {
        host: (!host.is_empty()).then(|| host.to_owned()),
        path: path.to_owned(),
        methods,
        strip_prefix: false,
    }
}

fn table(routes: Vec<(&str, Route)>) -> Result<RouteTable<App>, String> {
    let routes = routes
        .into_iter()
        .map(|(app, route)| whole(route, &Arc::new(App::named(app))))
        .collect();
    RouteTable::build(routes).map_err(|error| error.to_string())
}

fn find(table: &RouteTable<App>, request: &str) -> String {
    let mut words = request.split(' ');
    let (method, host, path) = (
        words.next().unwrap(),
        words.next().unwrap(),
        words.next().unwrap(),
    );
    match table.lookup(Some(host), path, &Method::from_bytes(method.as_bytes()).unwrap()) {
        Lookup::Found(found) => found.target.served.app.clone(),
        Lookup::MethodNotAllowed(allow) => format!("405 {}", allow.join(",")),
        Lookup::None => "404".to_owned(),
    }
}

#[test]
fn the_most_specific_route_that_takes_the_method_wins() {
    let table = table(vec![
        ("all", route("", "/*", &["GET"])),
        ("a", route("", "/a/*", &[])),
        ("deep", route("", "/a/b/c/*", &[])),
        ("exact", route("", "/a/b", &["GET"])),
        ("shop", route("Shop.Example.com", "/*", &[])),
        ("shop-post", route("shop.example.com", "/*", &["POST"])),
        ("six", route("[::1]", "/six", &[])),
    ])
    .unwrap();
    for (request, app) in [
        ("GET x /", "all"),
        ("GET x /ab", "all"),
        ("GET x //a", "all"),
        ("GET x /%61/x", "all"),
        ("GET x /a", "a"),
        ("GET x /a/", "a"),
        ("GET x /a/x", "a"),
        ("GET x /a/../b", "a"),
        ("GET x /a/%2e%2e/b", "a"),
        ("GET x /a/b", "exact"),
        ("POST x /a/b", "a"),
        ("GET x /a/b/", "a"),
        ("GET x /a/b/c", "deep"),
        ("GET x /a/b/c/d/e/f/g", "deep"),
        ("GET x /a/b/cc", "a"),
        ("GET shop.example.com /a", "shop"),
        ("GET SHOP.example.com:8080 /a", "shop"),
        ("GET shop.example.com. /a", "shop"),
        ("POST shop.example.com /a", "shop-post"),
        ("GET [::1]:80 /six", "six"),
        ("POST x /", "405 GET"),
        ("POST x *", "404"),
    ] {
        assert_eq!(find(&table, request), app, "{request}");
    }
}

#[test]
fn two_apps_cannot_want_the_same() {
    let error = table(vec![
        ("one", route("h", "/a/*", &["GET", "POST"])),
        ("two", route("H", "/a/*", &["post"])),
    ])
    .unwrap_err();
    assert!(
        error.contains("default/one and default/two") && error.contains("POST"),
        "{error}"
    );
    assert!(table(vec![("one", route("", "/a", &[])), ("one", route("", "/a", &[]))]).is_ok());
    assert!(
        table(vec![
            ("one", route("", "/a", &[])),
            ("two", route("", "/a", &["GET"]))
        ])
        .is_ok()
    );
}

#[test]
fn routes_that_could_never_match_are_refused() {
    for (host, path, method) in [
        ("", "a", "GET"),
        ("", "", "GET"),
        ("", "/a*", "GET"),
        ("", "/*/a", "GET"),
        ("", "/a b", "GET"),
        ("", "/a?b", "GET"),
        ("a:80", "/", "GET"),
        ("*.a", "/", "GET"),
        ("a/b", "/", "GET"),
        ("a", "/", "G T"),
        ("a", "/", ""),
    ] {
        let error = table(vec![("one", route(host, path, &[method]))]).unwrap_err();
        assert!(error.contains("default/one"), "{host}{path}: {error}");
    }
}

#[test]
fn a_swapped_table_serves_the_next_request_of_an_open_connection() {
    let harness = Harness::start();
    let mut client = harness.connect().send("GET /x HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(client.reply().text().starts_with("app GET /x\n"));
    let mut stripped = any("/next/*");
    stripped.strip_prefix = true;
    let posts = Route {
        methods: vec!["POST".to_owned()],
        ..any("/post")
    };
    let target = Arc::new(App::named("next"));
    let table = RouteTable::build(vec![whole(stripped, &target), whole(posts, &target)]).unwrap();
    harness.routes.store(Arc::new(table));
    client.write(b"GET /next/x?q HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(client.reply().text().starts_with("next GET /x?q\n"));
    client.write(b"GET /x HTTP/1.1\r\nhost: x\r\n\r\n");
    let reply = client.reply();
    assert_eq!((reply.status, reply.code().as_str()), (404, "NO_ROUTE"));
    let reply = client.send("GET /post HTTP/1.1\r\nhost: x\r\n\r\n").reply();
    assert_eq!(
        (reply.code().as_str(), reply.header("allow")),
        ("METHOD_NOT_ALLOWED", Some("POST"))
    );
}

#[test]
fn the_trace_is_continued_for_the_guest_and_is_the_request_id() {
    let harness = Harness::start();
    let id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let reply = harness.ask(&format!(
        "GET /x HTTP/1.1\r\nhost: x\r\ntraceparent: 00-{id}-00f067aa0ba902b7-01\r\ntracestate: a=b\r\n\r\n"
    ));
    assert!(
        reply.text().contains(&format!("traceparent: 00-{id}-"))
            && !reply.text().contains("00f067aa0ba902b7")
    );
    assert!(reply.text().contains("tracestate: a=b"));
    let record = harness.record();
    assert_eq!(record.trace_id[..2], [0x4b, 0xf9]);
    let parent = 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes();
    assert_eq!((record.parent_id, record.is_sampled), (Some(parent), true));
    let reply = harness.ask("GET /fail HTTP/1.1\r\nhost: x\r\ntraceparent: nonsense\r\n\r\n");
    let id: String = harness
        .record()
        .trace_id
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert!(reply.text().contains(&id));
}
