//! Calling out: nothing unless granted, the same errors for both WASI versions, and every wait bounded.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::support::upstream::Upstream;
use crate::support::{Ask, Connection, EDGES, Serve, encode};

/// Far more than any timeout asked for here, far less than the platform's own.
const IN_TIME: Duration = Duration::from_secs(8);

/// Asks each path and expects each answer; tells of all that differ at once.
fn check(serve: &Serve, guest: &str, cases: &[(String, u16, &str)]) {
    let mut wrong = Vec::new();
    for (path, status, body) in cases {
        let answer = Ask::get(path).send(serve.address);
        if (answer.status, answer.text()) != (*status, *body) {
            wrong.push(format!(
                "{guest} {path}: {} {:?}, not {status} {body:?}",
                answer.status,
                answer.text()
            ));
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn upstreams_are_called_and_answer() {
    for guest in EDGES {
        let upstream = Upstream::start();
        let [flag, grant] = upstream.grant();
        let serve = Serve::start(guest, &[&flag, &grant]);
        check(
            &serve,
            guest,
            &[
                (upstream.via("/fetch", "/status/200"), 200, "200 status\n"),
                (upstream.via("/fetch", "/status/404"), 200, "404 status\n"),
                (upstream.via("/fetch", "/status/503"), 200, "503 status\n"),
                // A redirect is the guest's to follow.
                (upstream.via("/fetch", "/redirect"), 200, "302 "),
                (upstream.via("/fetch", "/trailers"), 200, "200 up\nx-up: 7\n"),
                (
                    upstream.via("/fetch-length/10/10", "/echo"),
                    200,
                    "200 abcdefghij",
                ),
                (
                    upstream.via("/fanout/4", "/bytes/8"),
                    200,
                    "200 8192\n200 8192\n200 8192\n200 8192\n",
                ),
            ],
        );
        let seen = Ask::get(&upstream.via("/fetch?method=PROPFIND&header=x-own:1", "/request?q=%20"))
            .send(serve.address);
        let authority = upstream.address.to_string();
        assert!(
            seen.text().starts_with("200 PROPFIND /request?q=%20\n"),
            "{guest}: {seen:?}"
        );
        let lines: Vec<String> = seen.text().lines().map(str::to_ascii_lowercase).collect();
        assert!(
            lines.contains(&format!("host: {authority}")),
            "{guest}: {lines:?}"
        );
        assert!(lines.contains(&"x-own: 1".to_owned()), "{guest}: {lines:?}");
        let trailers = Ask::get(&upstream.via("/fetch-trailers", "/request")).send(serve.address);
        assert!(
            trailers
                .text()
                .to_ascii_lowercase()
                .contains("body body\n\nx-sum: 42\n"),
            "{guest}: {trailers:?}"
        );
        serve.stop();
    }
}

#[test]
fn bodies_stream_through_a_guest() {
    for guest in EDGES {
        let upstream = Upstream::start();
        let [flag, grant] = upstream.grant();
        let serve = Serve::start(guest, &[&flag, &grant]);
        let body: Vec<u8> = (0..200_000_u32).map(|n| b'a' + (n % 26) as u8).collect();
        for size in [1000, 65536, 200_000] {
            let ask = Ask::post(&upstream.via("/fetch-post", "/echo"), body.clone()).chunked(size);
            let answer = ask.send(serve.address);
            assert!(
                answer.body.strip_prefix(b"200 ") == Some(&body),
                "{guest}: {} bytes",
                answer.body.len()
            );
        }
        let proxied = Ask::get(&upstream.via("/proxy", "/bytes/1000")).send(serve.address);
        assert_eq!((proxied.whole, proxied.body.len()), (true, 1_024_000), "{guest}");
        let trailers = Ask::get(&upstream.via("/proxy", "/trailers"))
            .header("te", "trailers")
            .send(serve.address);
        assert_eq!(
            (trailers.text(), trailers.trailer("x-up")),
            ("up\n", Some("7")),
            "{guest}"
        );
        let head = Ask::get(&upstream.via("/proxy", "/echo")).send(serve.address);
        assert_eq!(head.header("x-upstream"), Some("yes"), "{guest}");
    }
}

#[test]
fn nothing_is_called_without_a_grant() {
    for guest in EDGES {
        let upstream = Upstream::start();
        // Another port, another scheme, another name: none of them means this upstream.
        let port = upstream.address.port();
        let other = format!("127.0.0.1:{}", if port == 1 { 2 } else { port - 1 });
        let secure = format!("https://127.0.0.1:{port}");
        for options in [
            vec![],
            vec!["--allow-http", "127.0.0.1"],
            vec!["--allow-http", &other],
            vec!["--allow-http", &secure],
            vec!["--allow-http", "example.com"],
        ] {
            let serve = Serve::start(guest, &options);
            let denied = Ask::get(&upstream.via("/fetch", "/status/200")).send(serve.address);
            denied.expect(502, "http-request-denied\n");
            let line = serve
                .process
                .stderr
                .wait_for(|line| line.contains("EGRESS_DENIED"));
            assert!(
                line.is_some_and(|line| line.contains("127.0.0.1")),
                "{}",
                serve.process.stderr.text()
            );
        }
    }
}

#[test]
fn special_addresses_are_denied_even_to_who_may_call_anyone() {
    for guest in EDGES {
        let serve = Serve::start(guest, &["--allow-http", "*"]);
        let cases = [
            "http://169.254.169.254/latest/meta-data/",
            "http://169.254.169.254./",
            "http://[::ffff:169.254.169.254]/",
            "http://[::ffff:a9fe:a9fe]/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://[fd00:ec2::254]/",
            "http://100.100.100.200/",
            "http://[fe80::1]/",
            "http://0.0.0.0/",
            "http://224.0.0.1/",
            "http://2852039166/",
            "http://0xa9fea9fe/",
            "http://0xA9.0xFE.0xA9.0xFE/",
            "http://0251.0376.0251.0376/",
            "http://169.254.43518/",
        ];
        for url in cases {
            let begun = Instant::now();
            let answer = Ask::get(&format!("/fetch?url={}", encode(url))).send(serve.address);
            assert_eq!(answer.status, 502, "{guest} {url}: {answer:?}");
            let name = answer.text().replace("-i-p-", "-ip-");
            assert_eq!(name, "destination-ip-prohibited\n", "{guest} {url}");
            assert!(begun.elapsed() < IN_TIME, "{guest} {url}: {:?}", begun.elapsed());
        }
        assert!(
            serve
                .process
                .stderr
                .wait_for(|line| line.contains("EGRESS_DENIED"))
                .is_some()
        );
    }
}

#[test]
fn failing_upstreams_have_names() {
    for guest in EDGES {
        let upstream = Upstream::start();
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let serve = Serve::start(guest, &["--allow-http", "*"]);
        let to = |url: &str| format!("/fetch?url={}", encode(url));
        check(
            &serve,
            guest,
            &[
                (to(&format!("http://{closed}/")), 502, "connection-refused\n"),
                (to("http://no-such-name.invalid/"), 502, "dns-error\n"),
                (upstream.via("/fetch", "/junk"), 502, "http-protocol-error\n"),
                (upstream.via("/fetch", "/cut"), 502, "http-response-incomplete\n"),
                (
                    upstream.via("/fetch", "/cut-chunked"),
                    502,
                    "http-response-incomplete\n",
                ),
            ],
        );
        // What breaks off on one side breaks off on the other.
        for path in ["/cut", "/cut-chunked"] {
            let cut = Ask::get(&upstream.via("/proxy", path)).send(serve.address);
            assert!(!cut.whole || cut.status >= 500, "{guest} {path}: {cut:?}");
        }
    }
}

#[test]
fn a_guest_may_ask_for_shorter_waits() {
    for guest in EDGES {
        let upstream = Upstream::start();
        let [flag, grant] = upstream.grant();
        let serve = Serve::start(guest, &[&flag, &grant]);
        let begun = Instant::now();
        check(
            &serve,
            guest,
            &[
                (
                    upstream.via(
                        "/fetch-options?connect_ms=5000&first_byte_ms=5000&between_ms=5000",
                        "/status/200",
                    ),
                    200,
                    "200 status\n",
                ),
                (
                    upstream.via("/fetch-options?first_byte_ms=100", "/silent"),
                    502,
                    "connection-read-timeout\n",
                ),
                (
                    upstream.via("/fetch-options?between_ms=100", "/stall"),
                    502,
                    "connection-read-timeout\n",
                ),
            ],
        );
        assert!(begun.elapsed() < IN_TIME, "{guest}: {:?}", begun.elapsed());
    }
}

#[test]
fn the_wall_time_ends_a_wait_for_an_upstream() {
    for guest in EDGES {
        let upstream = Upstream::start();
        let [flag, grant] = upstream.grant();
        let serve = Serve::start(guest, &[&flag, &grant, "--wall-time", "300ms"]);
        let answer = Ask::get(&upstream.via("/fetch", "/silent")).send(serve.address);
        assert_eq!(
            (answer.status, &*answer.code()),
            (504, "GUEST_TIMEOUT"),
            "{guest}"
        );
    }
}

#[test]
fn malformed_requests_are_refused_by_name() {
    for guest in EDGES {
        let upstream = Upstream::start();
        let serve = Serve::start(guest, &["--allow-http", "*"]);
        // WASI 0.3 checks an authority sooner, and tells what was wrong with a body where the request was sent from.
        let (authority, short_body) = match guest {
            "p2-edge" => ("http-request-uri-invalid\n", "http-request-body-size\n"),
            _ => ("set-authority\n", "http-protocol-error\n"),
        };
        let bad = |kind: &str| upstream.via(&format!("/fetch-bad?kind={kind}"), "/request");
        check(
            &serve,
            guest,
            &[
                (bad("method"), 502, "set-method\n"),
                (bad("scheme"), 502, "set-scheme\n"),
                (bad("scheme-unknown"), 502, "http-protocol-error\n"),
                (bad("authority"), 502, "set-authority\n"),
                (bad("authority-port"), 502, authority),
                (bad("path"), 502, "set-path\n"),
                (bad("path-line"), 502, "set-path\n"),
                (bad("header"), 502, "header invalid-syntax\n"),
                (bad("header-line"), 502, "header invalid-syntax\n"),
                (bad("header-forbidden"), 502, "header forbidden\n"),
                (bad("header-host"), 502, "header forbidden\n"),
                (upstream.via("/fetch-length/10/5", "/echo"), 502, short_body),
                (
                    upstream.via("/fetch-length/5/10", "/echo"),
                    502,
                    "http-request-body-size\n",
                ),
            ],
        );
    }
}

#[test]
fn the_number_of_calls_is_bounded() {
    for guest in EDGES {
        let upstream = Upstream::start();
        let [flag, grant] = upstream.grant();
        let serve = Serve::start(guest, &[&flag, &grant]);
        let answer = Ask::get(&upstream.via("/fanout/40", "/status/200")).send(serve.address);
        let count = |start: &str| {
            answer
                .text()
                .lines()
                .filter(|line| line.starts_with(start))
                .count()
        };
        assert_eq!(
            (count("200 "), count("error connection-limit-reached")),
            (32, 8),
            "{guest}: {answer:?}"
        );
    }
}

#[test]
fn the_trace_goes_on_to_upstreams() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let traceparent = |text: &str| {
        let lines = text.lines().map(str::to_ascii_lowercase);
        let all: Vec<String> = lines
            .filter_map(|line| line.strip_prefix("traceparent: ").map(str::to_owned))
            .collect();
        assert_eq!(all.len(), 1, "{text}");
        all.into_iter().next().unwrap()
    };
    for guest in EDGES {
        let upstream = Upstream::start();
        let [flag, grant] = upstream.grant();
        let serve = Serve::start(guest, &[&flag, &grant]);
        let path = upstream.via("/fetch", "/request");
        let valid = format!("00-{TRACE}-b7ad6b7169203331-01");
        let answer = Ask::get(&path).header("traceparent", &valid).send(serve.address);
        let seen = traceparent(answer.text());
        assert!(
            seen.starts_with(&format!("00-{TRACE}-")) && seen.ends_with("-01"),
            "{guest}: {seen}"
        );
        assert_ne!(seen, valid, "{guest}: the span is not the caller's own");
        let answer = Ask::get(&path).send(serve.address);
        assert_eq!(traceparent(answer.text()).len(), 55, "{guest}");
        // The guest's own choice stands.
        let own = format!("00-{}-{}-00", "1".repeat(32), "2".repeat(16));
        let chosen = upstream.via(&format!("/fetch?header=traceparent:{own}"), "/request");
        assert_eq!(
            traceparent(Ask::get(&chosen).send(serve.address).text()),
            own,
            "{guest}"
        );
    }
}

#[test]
fn a_caller_that_leaves_ends_its_upstream_call() {
    let upstream = Upstream::start();
    let [flag, grant] = upstream.grant();
    let serve = Serve::start(
        "p2-edge",
        &[&flag, &grant, "--concurrency", "1", "--wall-time", "1m"],
    );
    let mut leaving = Connection::open(serve.address);
    leaving.send(Ask::get(&upstream.via("/fetch", "/hold")).bytes());
    upstream.wait_held(1);
    drop(leaving);
    Ask::get("/hello")
        .send(serve.address)
        .expect(200, "Hello, world!\n");
    upstream.release();
}
