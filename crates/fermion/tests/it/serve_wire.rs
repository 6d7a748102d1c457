//! What a caller may not do to the protocol: junk, ambiguity, excess. Each is refused or the connection closed, and no
//! request hidden inside another is ever answered.

use std::time::Duration;

use crate::support::{Ask, Connection, EDGES, Serve};

/// The request that a smuggler wants answered.
const HIDDEN: &str = "GET /status/299 HTTP/1.1\r\nhost: hidden\r\n\r\n";

/// A server that has not closed by then does not mean to.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Sends these bytes and gives everything that comes back until the connection ends.
fn exchange(serve: &Serve, bytes: &[u8]) -> String {
    let mut connection = Connection::open(serve.address);
    connection.send(bytes);
    let (answer, closed) = connection.all_within(SILENCE_MAX);
    let end = if closed {
        ""
    } else {
        " ... and the connection stays open"
    };
    format!("{}{end}", String::from_utf8_lossy(&answer))
}

fn post(fields: &str, rest: &str) -> String {
    format!("POST /count HTTP/1.1\r\nhost: x\r\n{fields}\r\n\r\n{rest}")
}

/// Fields that two servers could read differently.
const AMBIGUOUS_FIELDS: &[&str] = &[
    "content-length: 6\r\ntransfer-encoding: chunked",
    "transfer-encoding: chunked\r\ncontent-length: 6",
    "content-length: 0\r\ntransfer-encoding: chunked",
    "content-length: 3\r\ncontent-length: 5",
    "content-length: 3\r\ncontent-length: 3",
    "content-length: 3, 3",
    "content-length: -1",
    "content-length: +3",
    "content-length: 0x3",
    "content-length: 3 3",
    "content-length: 3;",
    "content-length:",
    "content-length: 18446744073709551616",
    "content-length : 3",
    "transfer-encoding: identity",
    "transfer-encoding: chunked, identity",
    "transfer-encoding: identity, chunked",
    "transfer-encoding: gzip, chunked",
    "transfer-encoding: xchunked",
    "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
    "transfer-encoding : chunked",
    "transfer-encoding:\x0bchunked",
    "transfer-encoding: \"chunked\"",
    "transfer-encoding: chunked;q=1",
    "transfer-encoding\r\n : chunked",
    " transfer-encoding: chunked",
    "x-folded: a\r\n b",
    "x-folded: a\r\n\tcontent-length: 3",
    "x-bare: a\rb",
    "x-bare: a\nb: c",
    "x-nul: a\0b",
    "no colon",
    ": no name",
    "bad name: x",
    "host: other",
];

/// Heads that are not quite HTTP/1.1, or not at all.
const MALFORMED_HEADS: &[&str] = &[
    "GET /hello HTTP/9.9\r\nhost: x\r\n\r\n",
    "GET /hello HTTP/1.2\r\nhost: x\r\n\r\n",
    "GET /hello HTTP/0.9\r\nhost: x\r\n\r\n",
    "GET /hello http/1.1\r\nhost: x\r\n\r\n",
    "GET /hello HTTP/1.1 \r\nhost: x\r\n\r\n",
    "GET /hello\r\n\r\n",
    "GET  /hello HTTP/1.1\r\nhost: x\r\n\r\n",
    "GET /a b HTTP/1.1\r\nhost: x\r\n\r\n",
    "GET /a\tb HTTP/1.1\r\nhost: x\r\n\r\n",
    " GET /hello HTTP/1.1\r\nhost: x\r\n\r\n",
    "G@T /hello HTTP/1.1\r\nhost: x\r\n\r\n",
    "GET hello HTTP/1.1\r\nhost: x\r\n\r\n",
    "GET /hello HTTP/1.1\r\n\r\n",
    "GET /hello HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
    "GET /hello HTTP/1.1\r\nhost: a b\r\n\r\n",
    "GET /hello HTTP/1.1\r\nhost: a/b\r\n\r\n",
    "GET http://user@x/ HTTP/1.1\r\nhost: x\r\n\r\n",
    "CONNECT x:80 HTTP/1.1\r\nhost: x:80\r\n\r\n",
    "GET /hello HTTP/1.1\nhost: x\n\n",
    "GET /hello HTTP/1.1\r\nhost: x\n\r\n",
    "POST /count HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03\r\n\r\n",
    "\0\0\0\0\0\0\0\0\r\n\r\n",
    "SSH-2.0-OpenSSH_9.9\r\n\r\n",
    "{\"json\": \"rpc\"}\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\nnot the preface",
    "\r\n\n",
];

#[test]
fn an_ambiguous_head_is_refused_and_the_connection_with_it() {
    let serve = Serve::start("p2-edge", &[]);
    let mut wrong = Vec::new();
    let ambiguous = AMBIGUOUS_FIELDS.iter().map(|fields| post(fields, "0\r\n\r\n"));
    let malformed = MALFORMED_HEADS.iter().map(|head| (*head).to_owned());
    for head in ambiguous.chain(malformed).map(|head| head + HIDDEN) {
        let answer = exchange(&serve, head.as_bytes());
        let answers = answer.matches("HTTP/1.1 ").count();
        // What is not HTTP at all may be closed without a word.
        let is_refused = answer.is_empty()
            || (answers == 1 && answer.starts_with("HTTP/1.1 400 ") && !answer.ends_with("stays open"));
        if !is_refused || answer.contains("status 299") {
            wrong.push(format!("{head:?}\n-> {answer:?}"));
        }
    }
    assert_eq!(wrong, [""; 0]);
    serve.stop();
}

#[test]
fn a_refusal_names_its_reason() {
    let serve = Serve::start("p2-edge", &[]);
    let mut connection = Connection::open(serve.address);
    connection.send(post(
        "content-length: 3\r\ntransfer-encoding: chunked",
        "0\r\n\r\n",
    ));
    let answer = connection.response("POST");
    assert_eq!(
        (answer.status, &*answer.code(), &*answer.blame()),
        (400, "BAD_REQUEST", "client")
    );
    assert_eq!(answer.header("connection"), Some("close"));
}

#[test]
fn a_malformed_chunk_ends_the_request_and_the_connection() {
    let bodies = [
        "zz\r\nabc\r\n0\r\n\r\n",
        "-1\r\nabc\r\n0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "\r\nabc\r\n0\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        "10000000000000000\r\nabc\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\r\nbad trailer\r\n\r\n",
        "3\r\nabc\r\n0\r\nx: a\n\r\n",
    ];
    let mut wrong = Vec::new();
    for guest in EDGES {
        let serve = Serve::start(guest, &[]);
        for body in bodies {
            let request = post("transfer-encoding: chunked", &format!("{body}{HIDDEN}"));
            let answer = exchange(&serve, request.as_bytes());
            if !answer.starts_with("HTTP/1.1 400 ") || answer.matches("HTTP/1.1 ").count() != 1 {
                wrong.push(format!("{guest} {body:?} -> {answer:?}"));
            }
            // A guest that does not read it answers as it likes; what follows is not taken for a request.
            let request = request.replace("/count", "/hello");
            let answer = exchange(&serve, request.as_bytes());
            if answer.matches("HTTP/1.1 ").count() != 1 || answer.ends_with("stays open") {
                wrong.push(format!("{guest} unread {body:?} -> {answer:?}"));
            }
        }
        serve.stop();
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn what_is_unusual_but_valid_is_served() {
    let served = [
        (
            "\r\nGET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
            "Hello, world!\n",
        ),
        ("GET /hello HTTP/1.0\r\n\r\n", "Hello, world!\n"),
        (
            "GET http://x/hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
            "Hello, world!\n",
        ),
        (
            "POST /count HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: Chunked\r\n\r\n\
             003;name=value\r\nabc\r\n0\r\nx-t: 1\r\n\r\n",
            "bytes 3 fnv1a e71fa2190541574b\n",
        ),
    ];
    let serve = Serve::start("p2-edge", &[]);
    for (request, body) in served {
        let answer = exchange(&serve, request.as_bytes());
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.contains(body),
            "{request:?} -> {answer:?}"
        );
    }
}

#[test]
fn each_excess_has_its_code() {
    let many = |count: usize| {
        (0..count)
            .map(|index| format!("x-{index}: v\r\n"))
            .collect::<String>()
    };
    let cases = [
        (
            format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "u".repeat(9000)),
            414,
            "URI_TOO_LONG",
        ),
        (format!("GET /{}", "u".repeat(20_000)), 414, "URI_TOO_LONG"),
        (
            format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", many(101)),
            431,
            "HEADERS_TOO_LARGE",
        ),
        (
            format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", many(5000)),
            431,
            "HEADERS_TOO_LARGE",
        ),
        (
            format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "v".repeat(20_000)),
            431,
            "HEADERS_TOO_LARGE",
        ),
        (
            format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}", "v".repeat(1 << 20)),
            431,
            "HEADERS_TOO_LARGE",
        ),
        (post("content-length: 2000000", "abc"), 413, "BODY_TOO_LARGE"),
        (
            post(
                "transfer-encoding: chunked",
                &format!("186a00\r\n{}", "v".repeat(1_600_000)),
            ),
            413,
            "BODY_TOO_LARGE",
        ),
    ];
    for guest in EDGES {
        let serve = Serve::start(guest, &["--request-body", "1MiB"]);
        for (request, status, code) in &cases {
            let mut connection = Connection::open(serve.address);
            connection.send(request);
            let start = &request[..request.len().min(60)];
            let answer = connection.try_response("GET");
            let answer = answer.unwrap_or_else(|| panic!("{guest} {start:?}: no answer"));
            assert_eq!(
                (answer.status, &*answer.code()),
                (*status, *code),
                "{guest} {start:?}"
            );
            assert_eq!(answer.blame(), "client");
        }
        let within = Ask::post("/count", vec![b'x'; 1 << 20]).send(serve.address);
        assert!(within.text().starts_with("bytes 1048576 "), "{within:?}");
        serve.stop();
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    for guest in EDGES {
        let serve = Serve::start(guest, &[]);
        let mut connection = Connection::open(serve.address);
        let requests = [
            Ask::get("/sleep/30"),
            Ask::post("/echo", "one"),
            Ask::get("/status/404"),
            Ask::post("/upper", "two").chunked(2),
            Ask::post("/ignore", "three"),
            Ask::new("HEAD", "/hello"),
            Ask::get("/hello"),
        ];
        let bytes: Vec<u8> = requests.iter().flat_map(Ask::bytes).collect();
        connection.send(bytes);
        let expected = [
            ("GET", 200, "slept 30\n"),
            ("POST", 200, "one"),
            ("GET", 404, "status 404\n"),
            ("POST", 200, "TWO"),
            ("POST", 200, "ignored\n"),
            ("HEAD", 200, ""),
            ("GET", 200, "Hello, world!\n"),
        ];
        for (method, status, body) in expected {
            connection.response(method).expect(status, body);
        }
        serve.stop();
    }
}

#[test]
fn a_body_is_asked_for_before_it_is_sent() {
    let head = |path: &str| {
        format!("POST {path} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
    };
    for guest in EDGES {
        let serve = Serve::start(guest, &["--request-body", "1KiB"]);
        let mut connection = Connection::open(serve.address);
        connection.send(head("/echo"));
        assert_eq!(connection.head().expect("an interim answer").status, 100);
        connection.send("hello");
        connection.response("POST").expect(200, "hello");
        // A guest that does not want it is not sent it.
        connection.send(head("/hello"));
        connection.response("POST").expect(200, "Hello, world!\n");
        let mut connection = Connection::open(serve.address);
        connection.send(head("/echo").replace("length: 5", "length: 5000"));
        assert_eq!(connection.head().expect("an answer").status, 413);
        serve.stop();
    }
}
