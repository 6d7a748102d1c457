//! HTTP as a guest sees it and as its caller does: the same over WASI 0.2 and 0.3, over HTTP/1.1 and HTTP/2.

use crate::support::{Ask, Connection, EDGES, Serve, h2};

fn lines_with<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.strip_prefix(start)).collect()
}

#[test]
fn methods_reach_the_guest_as_they_are() {
    for guest in EDGES {
        let serve = Serve::start(guest, &[]);
        for method in [
            "GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "M-SEARCH", "get", "X",
        ] {
            let answer = Ask::new(method, "/info").send(serve.address);
            assert_eq!(lines_with(answer.text(), "method "), [method], "{guest}");
        }
        let answer = h2::send(
            serve.address,
            vec![h2::request(serve.address, "PROPFIND", "/info", b"", None)],
        );
        let answer = answer[0].as_ref().expect("an answer");
        assert_eq!(lines_with(answer.text(), "method "), ["PROPFIND"], "{guest}");
    }
}

#[test]
fn paths_and_queries_reach_the_guest_as_they_are() {
    let targets = [
        "/info",
        "/info/",
        "/info?",
        "/info?a=1&b=2&a=3",
        "/info/a%20b%2Fc%00?q=%C3%A4%26",
        "/info//double/./../dots",
        "/info/;p=1,2/@:!$&'()*+",
        "/info?url=http://x/?y=1",
        "/info/%2e%2e/%2E",
    ];
    for guest in EDGES {
        let serve = Serve::start(guest, &[]);
        for target in targets {
            let answer = Ask::get(target).send(serve.address);
            assert_eq!(lines_with(answer.text(), "path "), [target], "{guest}");
            assert_eq!(lines_with(answer.text(), "scheme "), ["http"], "{guest}");
            assert_eq!(
                lines_with(answer.text(), "authority "),
                ["test.example"],
                "{guest}"
            );
        }
        let requests = targets.map(|target| h2::get(serve.address, target));
        for (target, answer) in targets.iter().zip(h2::send(serve.address, requests.into())) {
            let answer = answer.expect("an answer");
            assert_eq!(lines_with(answer.text(), "path "), [*target], "{guest} h2");
            let authority = serve.address.to_string();
            assert_eq!(lines_with(answer.text(), "authority "), [authority], "{guest} h2");
        }
    }
}

#[test]
fn request_headers_reach_the_guest_but_for_the_connections_own() {
    for guest in EDGES {
        let serve = Serve::start(guest, &[]);
        let answer = Ask::get("/info")
            .header("X-Mixed-Case", "Kept: as it is")
            .header("x-twice", "one")
            .header("x-twice", "two")
            .header("x-empty", "")
            .header("cookie", "a=1; b=2")
            .header("connection", "keep-alive, x-named")
            .header("keep-alive", "timeout=5")
            .header("proxy-connection", "keep-alive")
            .header("upgrade", "h2c")
            .header("http2-settings", "AAMAAABkAAQAAP__")
            .send(serve.address);
        let headers = lines_with(answer.text(), "header ");
        for expected in [
            "x-mixed-case: Kept: as it is",
            "x-twice: one",
            "x-twice: two",
            "x-empty: ",
            "cookie: a=1; b=2",
        ] {
            assert!(headers.contains(&expected), "{guest} {expected}: {headers:?}");
        }
        for name in [
            "connection",
            "keep-alive",
            "proxy-connection",
            "upgrade",
            "http2-settings",
            "transfer-encoding",
        ] {
            let found = headers
                .iter()
                .find(|header| header.starts_with(&format!("{name}:")));
            assert_eq!(found, None, "{guest}");
        }
    }
}

#[test]
fn response_headers_and_statuses_reach_the_caller() {
    for guest in EDGES {
        let serve = Serve::start(guest, &[]);
        let cookies = Ask::get("/two-cookies").send(serve.address);
        assert_eq!(cookies.headers("set-cookie"), ["a=1", "b=2"]);
        assert!(cookies.header("date").is_some());
        let many = Ask::get("/many-headers/90").send(serve.address);
        assert_eq!((many.status, many.header("x-h-89")), (200, Some("89")), "{guest}");
        let big = Ask::get("/big-header/30000").send(serve.address);
        assert_eq!(big.header("x-big").map(str::len), Some(30_000), "{guest}");
        for status in [200, 201, 206, 299, 301, 400, 404, 418, 451, 500, 503, 599] {
            let answer = Ask::get(&format!("/status/{status}")).send(serve.address);
            answer.expect(status, &format!("status {status}\n"));
            // An answer of the guest's own is never marked as the platform's.
            assert_eq!(answer.header("proxy-status"), None, "{guest} {status}");
        }
        for refused in ["0", "99", "1000", "65535"] {
            let answer = Ask::get(&format!("/status/{refused}")).send(serve.address);
            answer.expect(500, "status refused\n");
        }
        Ask::get("/no-such-path")
            .send(serve.address)
            .expect(404, "no such path\n");
    }
}

#[test]
fn an_informational_status_is_not_an_answer() {
    for guest in EDGES {
        let serve = Serve::start(guest, &[]);
        for status in [100, 101, 103] {
            let answer = Ask::get(&format!("/status/{status}")).send(serve.address);
            // Either the host refuses to set it, or the platform refuses to pass it on.
            let text = answer.text();
            assert!(
                text == "status refused\n" || text.contains("GUEST_RESPONSE_INVALID"),
                "{guest} {status}: {answer:?}"
            );
        }
    }
}

#[test]
fn forbidden_and_malformed_headers_are_refused_to_the_guest() {
    for guest in EDGES {
        let serve = Serve::start(guest, &[]);
        let answer = Ask::get("/bad-headers").send(serve.address);
        let expected = "connection: refused forbidden\n\
            keep-alive: refused forbidden\n\
            proxy-connection: refused forbidden\n\
            proxy-authenticate: refused forbidden\n\
            transfer-encoding: refused forbidden\n\
            upgrade: refused forbidden\n\
            host: refused forbidden\n\
            http2-settings: refused forbidden\n\
            CONNECTION: refused forbidden\n\
            empty name: refused invalid-syntax\n\
            space in name: refused invalid-syntax\n\
            line in name: refused invalid-syntax\n\
            colon in name: refused invalid-syntax\n\
            line in value: refused invalid-syntax\n\
            nul in value: refused invalid-syntax\n\
            bytes in value: accepted\n\
            plain: accepted\n\
            request headers: refused immutable\n";
        answer.expect(200, expected);
    }
}

#[test]
fn answers_without_a_body_have_none() {
    for guest in EDGES {
        let serve = Serve::start(guest, &[]);
        let mut connection = Connection::open(serve.address);
        for (method, path, status) in [
            ("HEAD", "/hello", 200),
            ("HEAD", "/stream/100/65536", 200),
            ("HEAD", "/status/404", 404),
            ("GET", "/no-body", 204),
            ("GET", "/status/204", 204),
            ("GET", "/status/304", 304),
        ] {
            let answer = Ask::new(method, path).send_on(&mut connection);
            let answer = answer.unwrap_or_else(|| panic!("{guest} {method} {path}: no answer"));
            answer.expect(status, "");
            if status == 204 {
                assert_eq!(answer.header("content-length"), None);
                assert_eq!(answer.header("transfer-encoding"), None);
            }
        }
        // The connection is still in step.
        let hello = Ask::get("/hello").send_on(&mut connection);
        hello.expect("an answer").expect(200, "Hello, world!\n");
        let requests = [("HEAD", "/hello"), ("GET", "/no-body"), ("GET", "/status/304")]
            .map(|(method, path)| h2::request(serve.address, method, path, b"", None));
        for answer in h2::send(serve.address, requests.into()) {
            let answer = answer.expect("an answer");
            assert_eq!((answer.text(), answer.whole), ("", true), "{guest}");
        }
    }
}

#[test]
fn a_connection_is_used_again_and_closed_when_asked() {
    for guest in EDGES {
        let serve = Serve::start(guest, &[]);
        let mut connection = Connection::open(serve.address);
        for _ in 0..20 {
            let answer = Ask::get("/hello").send_on(&mut connection).expect("an answer");
            answer.expect(200, "Hello, world!\n");
            assert_eq!(answer.header("connection"), None);
        }
        let last = Ask::get("/hello")
            .header("connection", "close")
            .send_on(&mut connection);
        assert_eq!(last.expect("an answer").header("connection"), Some("close"));
        assert_eq!(connection.rest(), b"", "{guest}");
        let many = (0..100).map(|_| h2::get(serve.address, "/hello")).collect();
        for answer in h2::send(serve.address, many) {
            assert_eq!(answer.expect("an answer").text(), "Hello, world!\n");
        }
    }
}
