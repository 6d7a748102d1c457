//! Bodies both ways: framing, trailers, lengths, limits, breaks.

use fermion_model::Fault;

use crate::app::App;
use crate::harness::{Harness, quick};

#[test]
fn a_known_length_is_said_and_an_unknown_one_is_chunked() {
    let harness = Harness::start();
    let reply = harness.get("/hello");
    assert_eq!(
        (reply.status, reply.text(), reply.header("content-length")),
        (200, "hello\n", Some("6"))
    );
    let date = reply.header("date").unwrap();
    assert!(date.ends_with(" GMT") && !date.contains("1970"), "{date}");
    let record = harness.record();
    assert_eq!(
        (record.status, record.bytes_out, record.client_gone, record.fault),
        (200, 6, false, None)
    );
    assert_eq!(
        (
            record.cold,
            record.cpu.as_micros(),
            record.instantiate.as_micros()
        ),
        (true, 7, 5)
    );
    assert_eq!(
        (record.path.as_str(), record.served.unwrap().app.as_str()),
        ("/hello", "app")
    );
    assert!(record.first_byte <= record.total);
    let reply = harness.get("/chunks");
    assert_eq!(
        (reply.text(), reply.header("transfer-encoding")),
        ("one two three", Some("chunked"))
    );
}

#[test]
fn a_large_answer_arrives_whole() {
    let harness = Harness::start();
    let reply = harness.get("/large");
    assert_eq!(reply.body.len(), 5_000_000);
    assert!(
        reply
            .body
            .chunks(100_000)
            .enumerate()
            .all(|(i, part)| part.iter().all(|&b| usize::from(b - b'a') == i % 26))
    );
}

#[test]
fn connections_are_reused_and_requests_may_be_pipelined() {
    let harness = Harness::start();
    let mut client = harness.connect();
    for _ in 0..3 {
        client.write(b"GET /chunks HTTP/1.1\r\nhost: x\r\n\r\nPOST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabcHEAD /hello HTTP/1.1\r\nhost: x\r\n\r\nGET /204 HTTP/1.1\r\nhost: x\r\n\r\n");
        assert_eq!(client.reply().text(), "one two three");
        assert_eq!(client.reply().text(), "abc");
        assert_eq!(client.reply_to("HEAD").header("content-length"), Some("6"));
        assert_eq!(client.reply().status, 204);
    }
    let reply = client
        .send("GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .reply();
    assert_eq!(reply.header("connection"), Some("close"));
}

#[test]
fn http_10_gets_a_length_or_a_close() {
    let harness = Harness::start();
    let mut client = harness.connect().send("GET /chunks HTTP/1.0\r\n\r\n");
    let reply = client.reply();
    assert_eq!(
        (reply.text(), reply.header("transfer-encoding")),
        ("one two three", None)
    );
    assert_eq!(reply.header("connection"), Some("close"));
    let mut client = harness
        .connect()
        .send("GET /hello HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
    assert_eq!(client.reply().header("connection"), Some("keep-alive"));
    assert_eq!(
        client.send("GET /hello HTTP/1.0\r\n\r\n").reply().text(),
        "hello\n"
    );
}

#[test]
fn trailers_go_out_unannounced_to_those_who_take_them() {
    let harness = Harness::start();
    for path in ["/trailers", "/late-trailers", "/only-trailers"] {
        let mut client = harness.connect();
        client.write(format!("GET {path} HTTP/1.1\r\nhost: x\r\nte: trailers\r\n\r\n").as_bytes());
        let reply = client.reply();
        assert_eq!(reply.trailers, [("x-sum".to_owned(), "42".to_owned())], "{path}");
        assert!(!reply.truncated);
        let reply = client
            .send(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"))
            .reply();
        assert_eq!(
            (reply.status, reply.trailers.len(), reply.truncated),
            (200, 0, false),
            "{path}"
        );
    }
}

#[test]
fn request_bodies_and_trailers_reach_the_guest() {
    let harness = Harness::start();
    let chunked = "POST /read HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nx-t: 1\r\n\r\n";
    assert_eq!(harness.ask(chunked).text(), "5 bytes, 1 trailers");
    assert_eq!(harness.record().bytes_in, 5);
    assert_eq!(
        harness
            .ask("POST /read HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nabcd")
            .text(),
        "4 bytes, 0 trailers"
    );
}

#[test]
fn a_caller_that_waits_is_told_to_go_on_when_the_body_is_wanted() {
    let harness = Harness::start();
    let head = "host: x\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n";
    let mut client = harness.connect().send(&format!("POST /read HTTP/1.1\r\n{head}"));
    assert_eq!(client.reply().status, 100);
    assert_eq!(client.send("abc").reply().text(), "3 bytes, 0 trailers");
    let mut client = harness
        .connect()
        .send(&format!("POST /ignore HTTP/1.1\r\n{head}"));
    let reply = client.reply();
    assert_eq!(
        (reply.text(), reply.header("connection")),
        ("ignored", Some("close"))
    );
    assert!(client.is_closed());
}

#[test]
fn an_unread_body_is_drained_or_the_connection_closed() {
    let mut app = App::named("app");
    app.limits.request_body_bytes = 10_000_000;
    let harness = Harness::with(app, quick());
    let mut client = harness
        .connect()
        .send("POST /ignore HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc");
    assert_eq!(client.reply().text(), "ignored");
    assert_eq!(
        client
            .send("GET /hello HTTP/1.1\r\nhost: x\r\n\r\n")
            .reply()
            .text(),
        "hello\n"
    );
    for head in [
        "content-length: 3",
        "content-length: 9999999",
        "transfer-encoding: chunked",
    ] {
        let mut client = harness
            .connect()
            .send(&format!("POST /ignore HTTP/1.1\r\nhost: x\r\n{head}\r\n\r\n"));
        assert_eq!(client.reply().text(), "ignored", "{head}");
        assert!(client.is_closed(), "{head}");
    }
}

#[test]
fn a_body_over_its_limit_is_refused_before_or_while_it_is_read() {
    let harness = Harness::start();
    let mut client = harness
        .connect()
        .send("POST /read HTTP/1.1\r\nhost: x\r\ncontent-length: 1001\r\n\r\n");
    let reply = client.reply();
    assert_eq!((reply.status, reply.code().as_str()), (413, "BODY_TOO_LARGE"));
    assert_eq!(reply.header("connection"), Some("close"));
    let chunk = format!("3e8\r\n{}\r\n1\r\nx\r\n0\r\n\r\n", "x".repeat(1000));
    let reply = harness.ask(&format!(
        "POST /read HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{chunk}"
    ));
    assert_eq!((reply.status, reply.code().as_str()), (413, "BODY_TOO_LARGE"));
    for _ in 0..2 {
        assert_eq!(harness.record().fault, Some(Fault::BodyTooLarge));
    }
    let fits = format!("3e8\r\n{}\r\n0\r\n\r\n", "x".repeat(1000));
    let reply = harness.ask(&format!(
        "POST /read HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{fits}"
    ));
    assert_eq!(reply.text(), "1000 bytes, 0 trailers");
}

#[test]
fn a_body_that_stops_coming_or_is_malformed_is_refused() {
    let harness = Harness::with(App::named("app"), quick());
    let slow = harness.ask("POST /read HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc");
    assert_eq!((slow.status, slow.code().as_str()), (408, "REQUEST_TIMEOUT"));
    let bad = harness.ask("POST /read HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n");
    assert_eq!((bad.status, bad.code().as_str()), (400, "BAD_REQUEST"));
    let cut = harness
        .connect()
        .send("POST /read HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc");
    cut.half_close();
    assert_eq!({ cut }.reply().code(), "BAD_REQUEST");
}

#[test]
fn an_answer_that_fails_never_looks_finished() {
    let harness = Harness::start();
    let reply = harness.get("/cut");
    assert_eq!(
        (reply.status, reply.text(), reply.truncated),
        (200, "first", true)
    );
    let record = harness.record();
    assert_eq!(
        (record.status, record.fault, record.client_gone),
        (200, Some(Fault::GuestTrap), false)
    );
    assert_eq!(record.detail, "secret detail");
    let reply = harness.get("/short");
    assert_eq!((reply.text(), reply.truncated), ("12345", true));
    assert_eq!(harness.record().fault, Some(Fault::GuestResponseInvalid));
    let reply = harness.get("/long");
    assert!(reply.truncated);
    assert_eq!(harness.record().fault, Some(Fault::GuestResponseInvalid));
    let reply = harness.get("/too-large");
    assert!(reply.truncated && reply.body.len() <= 10_000_000);
    assert_eq!(harness.record().fault, Some(Fault::GuestResponseInvalid));
}

#[test]
fn an_answer_that_fails_before_its_head_is_a_problem() {
    let harness = Harness::start();
    for (path, status, code) in [
        ("/cut-at-once", 502, "GUEST_TRAP"),
        ("/fail", 504, "GUEST_CPU_LIMIT"),
        ("/many-headers", 502, "GUEST_RESPONSE_INVALID"),
        ("/wide-header", 502, "GUEST_RESPONSE_INVALID"),
        ("/two-lengths", 502, "GUEST_RESPONSE_INVALID"),
        ("/103", 502, "GUEST_RESPONSE_INVALID"),
    ] {
        let mut client = harness.connect();
        client.write(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes());
        let reply = client.reply();
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{path}");
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        let record = harness.record();
        assert_eq!((record.status, record.fault.unwrap().code()), (status, code));
        // The connection is none the worse for it.
        assert_eq!(
            client
                .send("GET /hello HTTP/1.1\r\nhost: x\r\n\r\n")
                .reply()
                .text(),
            "hello\n"
        );
        harness.record();
    }
    let reply = harness
        .connect()
        .send("HEAD /fail HTTP/1.1\r\nhost: x\r\n\r\n")
        .reply_to("HEAD");
    assert_eq!(reply.status, 504);
    assert!(reply.header("proxy-status").unwrap().contains("GUEST_CPU_LIMIT"));
}

#[test]
fn heads_without_bodies_and_the_guests_own_failures_pass() {
    let harness = Harness::start();
    let mut client = harness.connect().send("HEAD /head HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(client.reply_to("HEAD").header("content-length"), Some("1234"));
    assert!(!harness.record().client_gone);
    client.write(b"GET /304 HTTP/1.1\r\nhost: x\r\n\r\nGET /500 HTTP/1.1\r\nhost: x\r\n\r\nGET /hop HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(client.reply().status, 304);
    let reply = client.reply();
    assert_eq!(
        (
            reply.status,
            reply.header("proxy-status"),
            reply.header("content-length")
        ),
        (500, None, Some("0"))
    );
    let reply = client.reply();
    assert_eq!(
        (
            reply.text(),
            reply.header("connection"),
            reply.header("keep-alive")
        ),
        ("hop", None, None)
    );
}

#[test]
fn a_caller_that_leaves_is_noticed_while_waiting_and_while_reading() {
    let harness = Harness::start();
    let client = harness.connect().send("GET /never HTTP/1.1\r\nhost: x\r\n\r\n");
    harness.wait_for_arrivals(1);
    drop(client);
    let record = harness.record();
    assert_eq!((record.status, record.client_gone), (0, true));
    let client = harness.connect().send("GET /half HTTP/1.1\r\nhost: x\r\n\r\n");
    harness.wait_for_arrivals(1);
    drop(client);
    let record = harness.record();
    assert_eq!((record.status, record.client_gone), (200, true));
}

#[test]
fn a_panic_costs_one_connection_and_is_the_platforms() {
    let harness = Harness::start();
    assert_eq!(harness.get("/panic").status, 0);
    let record = harness.record();
    assert_eq!((record.fault, record.client_gone), (Some(Fault::Internal), false));
    assert_eq!(harness.get("/hello").text(), "hello\n");
}
