//! Bytes from callers that mean no good, or know no better.

use std::time::Duration;

use fermion_gateway::ServerLimits;

use crate::app::App;
use crate::harness::{Harness, quick};

#[test]
fn every_malformed_head_is_refused_with_its_code_and_recorded() {
    let harness = Harness::start();
    let long = "x".repeat(9000);
    let many: String = (0..101).map(|i| format!("a{i}: b\r\n")).collect();
    for (status, code, bytes) in [
        (400, "BAD_REQUEST", "\u{16}\u{3}\u{1}junk\r\n\r\n".to_owned()),
        (400, "BAD_REQUEST", "GET / HTTP/9.9\r\nhost: x\r\n\r\n".to_owned()),
        (400, "BAD_REQUEST", "GET / HTTP/1.1\r\n\r\n".to_owned()),
        (400, "BAD_REQUEST", "GET / HTTP/1.1\r\nhost: a b\r\n\r\n".to_owned()),
        (400, "BAD_REQUEST", "GET / HTTP/1.1\r\nhost:\r\n\r\n".to_owned()),
        (400, "BAD_REQUEST", "GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n".to_owned()),
        (400, "BAD_REQUEST", "GET * HTTP/1.1\r\nhost: x\r\n\r\n".to_owned()),
        (400, "BAD_REQUEST", "CONNECT x:443 HTTP/1.1\r\nhost: x:443\r\n\r\n".to_owned()),
        (400, "BAD_REQUEST", "GET x:80 HTTP/1.1\r\nhost: x\r\n\r\n".to_owned()),
        (400, "BAD_REQUEST", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_owned()),
        (400, "BAD_REQUEST", "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n".to_owned()),
        (400, "BAD_REQUEST", "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n".to_owned()),
        (400, "BAD_REQUEST", "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n".to_owned()),
        (400, "BAD_REQUEST", "GET / HTTP/1.1\nhost: x\n\n".to_owned()),
        (414, "URI_TOO_LONG", format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n")),
        (414, "URI_TOO_LONG", format!("GET /{long}{long}{long}{long}{long}{long}")),
        (431, "HEADERS_TOO_LARGE", format!("GET / HTTP/1.1\r\nhost: x\r\na: {long}{long}\r\n\r\n")),
        (431, "HEADERS_TOO_LARGE", format!("GET / HTTP/1.1\r\nhost: x\r\n{many}\r\n")),
        (431, "HEADERS_TOO_LARGE", format!("GET / HTTP/1.1\r\nhost: x\r\na: {}", "v".repeat(100_000))),
    ] {
        let mut client = harness.connect().send(&bytes);
        let reply = client.reply();
        let shown = &bytes[..bytes.len().min(60)];
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{shown:?}");
        assert_eq!(reply.header("connection").unwrap_or("close"), "close", "{shown:?}");
        let record = harness.record();
        assert_eq!((record.status, record.fault.unwrap().code()), (status, code), "{shown:?}");
    }
    assert_eq!(harness.get("/hello").text(), "hello\n");
}

#[test]
fn unusual_but_valid_requests_are_served() {
    let harness = Harness::start();
    for (bytes, expect) in [
        ("\r\n\r\nGET /a HTTP/1.1\r\nhost: x\r\n\r\n", "app GET /a\n"),
        (
            "GET http://shop.example:81/a?q HTTP/1.1\r\nhost: other\r\n\r\n",
            "app GET /a?q\nhost: shop.example:81\n",
        ),
        (
            "GET http://shop.example HTTP/1.1\r\nhost: x\r\n\r\n",
            "app GET /\n",
        ),
        (
            "BREW /pot HTTP/1.1\r\nhost: [::1]:80\r\n\r\n",
            "app BREW /pot\nhost: [::1]:80\n",
        ),
        ("OPTIONS /a HTTP/1.1\r\nhost: x\r\n\r\n", "app OPTIONS /a\n"),
    ] {
        let reply = harness.ask(bytes);
        assert!(reply.text().starts_with(expect), "{bytes:?}: {:?}", reply.text());
    }
    assert_eq!(harness.ask("OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n").status, 204);
    let reply = harness.ask("GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nkeep-alive: 1\r\nte: trailers\r\n\r\n");
    let text = reply.text();
    assert_eq!(reply.status, 200);
    assert!(
        !text.contains("upgrade") && !text.contains("keep-alive") && text.contains("te: trailers"),
        "{text}"
    );
}

#[test]
fn half_sent_requests_end_in_time_and_hold_up_nobody() {
    let harness = Harness::with(App::named("app"), quick());
    let mut silent: Vec<_> = (0..50).map(|_| harness.connect()).collect();
    let mut partial: Vec<_> = (0..250)
        .map(|_| harness.connect().send("GET / HTTP/1.1\r\nhost: x\r\nx: y"))
        .collect();
    assert_eq!(harness.get("/hello").text(), "hello\n");
    for client in &mut partial {
        let reply = client.reply();
        assert_eq!((reply.status, reply.code().as_str()), (408, "REQUEST_TIMEOUT"));
    }
    assert!(silent.iter_mut().all(|client| client.is_closed()));
}

#[test]
fn a_head_sent_byte_by_byte_is_served() {
    let harness = Harness::start();
    let mut client = harness.connect();
    client.stream.set_nodelay(true).unwrap();
    for byte in b"GET /a HTTP/1.1\r\nhost: x\r\nx-long-name: value\r\n\r\n" {
        client.write(&[*byte]);
    }
    assert!(client.reply().text().starts_with("app GET /a\n"));
}

#[test]
fn idle_connections_are_closed_in_time() {
    let harness = Harness::with(App::named("app"), quick());
    let mut client = harness.connect().send("GET /hello HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(client.reply().text(), "hello\n");
    assert!(client.is_closed());
}

#[test]
fn too_many_connections_push_out_the_oldest_idle_ones() {
    let limits = ServerLimits {
        connections_max: 20,
        heads_pending_max: 10,
        ..ServerLimits::default()
    };
    let harness = Harness::with(App::named("app"), limits);
    let partial: Vec<_> = (0..100).map(|_| harness.connect().send("GET / HT")).collect();
    for _ in 0..100 {
        assert_eq!(harness.get("/hello").text(), "hello\n");
    }
    drop(partial);
}

#[test]
fn a_caller_that_does_not_read_is_cut_off() {
    let mut app = App::named("app");
    app.limits.response_body_bytes = u64::MAX;
    let harness = Harness::with(app, quick());
    let client = harness.connect();
    // More than the socket buffers of both sides hold.
    let mut client = client;
    for _ in 0..8 {
        client.write(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n");
    }
    let gone = std::iter::repeat_with(|| harness.record())
        .take(8)
        .find(|record| record.client_gone);
    assert!(gone.is_some_and(|record| record.total >= Duration::from_millis(300)));
}
