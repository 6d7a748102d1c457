//! Upstreams as they are: slow, dropping, bursting, behind TLS. Few connections for many calls, a breaker between them
//! and the guest, and no second attempt that could do harm.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::support::secure::Secure;
use crate::support::upstream::Upstream;
use crate::support::{Ask, Connection, EDGES, PATIENCE, Serve, encode};

fn serve(guest: &str, upstream: &Upstream, more: &[&str]) -> Serve {
    let [flag, grant] = upstream.grant();
    let mut options = vec!["--threads", "1", &*flag, &*grant];
    options.extend(more);
    Serve::start(guest, &options)
}

/// What a guest that calls a path of an upstream says.
fn call(serve: &Serve, upstream: &Upstream, path: &str) -> (u16, String) {
    let answer = Ask::get(&upstream.via("/fetch", path)).send(serve.address);
    (answer.status, answer.text().to_owned())
}

fn unavailable() -> (u16, String) {
    (502, "destination-unavailable\n".to_owned())
}

fn good() -> (u16, String) {
    (200, "200 status\n".to_owned())
}

/// Calls until the upstream is called again; true time passes, as long as the first penalty.
#[track_caller]
fn recovers(serve: &Serve, upstream: &Upstream) {
    let deadline = Instant::now() + PATIENCE;
    while call(serve, upstream, "/status/200") != good() {
        assert!(Instant::now() < deadline, "the breaker does not close");
    }
}

#[test]
fn ten_thousand_calls_use_a_handful_of_connections() {
    for guest in EDGES {
        let upstream = Upstream::start();
        let serve = serve(guest, &upstream, &[]);
        let mut connection = Connection::open(serve.address);
        let ask = Ask::get(&upstream.via("/fanout/8", "/status/200"));
        for _ in 0..1_250 {
            let answer = ask.send_on(&mut connection).expect("an answer");
            assert_eq!(answer.text(), "200 7\n".repeat(8), "{guest}");
        }
        assert_eq!(upstream.requests(), 10_000, "{guest}");
        let connections = upstream.connections();
        assert!(connections <= 16, "{guest}: {connections} connections");
        serve.stop();
    }
}

#[test]
fn one_http2_connection_carries_many_calls() {
    for guest in EDGES {
        for (protocols, version, most) in [
            (&["h2", "http/1.1"][..], "HTTP/2.0", 2),
            (&["http/1.1"], "HTTP/1.1", 32),
        ] {
            let upstream = Secure::start(protocols);
            let url = format!("https://localhost:{}/hello", upstream.address.port());
            let grant = format!("https://localhost:{}", upstream.address.port());
            let authority = Secure::authority();
            let options = [
                "--threads",
                "1",
                "--allow-http",
                &grant,
                "--egress-ca",
                &authority,
            ];
            let serve = Serve::start(guest, &options);
            let answer = Ask::get(&format!("/fetch?url={}", encode(&url))).send(serve.address);
            answer.expect(200, &format!("200 {version} /hello\n"));
            for _ in 0..3 {
                let answer = Ask::get(&format!("/fanout/32?url={}", encode(&url))).send(serve.address);
                assert_eq!(answer.text(), "200 16\n".repeat(32), "{guest} {version}");
            }
            assert!(
                upstream.accepted() <= most,
                "{guest} {version}: {}",
                upstream.accepted()
            );
            serve.stop();
        }
    }
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused() {
    for guest in EDGES {
        let upstream = Secure::start(&["h2"]);
        let port = upstream.address.port();
        let to = |url: &str| format!("/fetch?url={}", encode(url));
        let serve = Serve::start(guest, &["--allow-http", "*"]);
        let answer = Ask::get(&to(&format!("https://localhost:{port}/"))).send(serve.address);
        answer.expect(502, "tls-certificate-error\n");
        // Vouched for, but under another name.
        let authority = Secure::authority();
        let serve = Serve::start(guest, &["--allow-http", "*", "--egress-ca", &authority]);
        let answer = Ask::get(&to(&format!("https://[::ffff:127.0.0.1]:{port}/"))).send(serve.address);
        answer.expect(502, "tls-certificate-error\n");
        let plain = Upstream::start();
        let answer = Ask::get(&to(&format!("https://{}/", plain.address))).send(serve.address);
        answer.expect(502, "tls-protocol-error\n");
    }
}

#[test]
fn a_burst_of_5xx_opens_the_breaker_and_a_probe_closes_it() {
    for guest in EDGES {
        let upstream = Upstream::start();
        let serve = serve(guest, &upstream, &[]);
        for _ in 0..5 {
            assert_eq!(
                call(&serve, &upstream, "/status/503"),
                (200, "503 status\n".to_owned()),
                "{guest}"
            );
        }
        assert_eq!(call(&serve, &upstream, "/status/200"), unavailable(), "{guest}");
        assert_eq!(upstream.requests(), 5, "{guest}");
        recovers(&serve, &upstream);
        assert_eq!(upstream.requests(), 6, "{guest}: a probe and no other");
        assert_eq!(call(&serve, &upstream, "/status/200"), good(), "{guest}");
        // What another release calls is its own affair.
        let other = self::serve(guest, &upstream, &[]);
        assert_eq!(call(&other, &upstream, "/status/200"), good(), "{guest}");
    }
}

#[test]
fn an_upstream_that_drops_connections_is_left_alone_for_a_while() {
    for guest in EDGES {
        let upstream = Upstream::start();
        let serve = serve(guest, &upstream, &[]);
        upstream.set_down(true);
        for _ in 0..7 {
            let said = call(&serve, &upstream, "/status/200");
            assert_eq!(said, (502, "connection-terminated\n".to_owned()), "{guest}");
        }
        // A GET without a body is tried twice, but the breaker's seven count calls.
        let tried = upstream.requests();
        assert_eq!(tried, 14, "{guest}");
        assert_eq!(call(&serve, &upstream, "/status/200"), unavailable(), "{guest}");
        assert_eq!(upstream.requests(), tried, "{guest}");
        upstream.set_down(false);
        recovers(&serve, &upstream);
    }
}

#[test]
fn what_may_do_harm_is_sent_once() {
    for guest in EDGES {
        let upstream = Upstream::start();
        let serve = serve(guest, &upstream, &[]);
        upstream.set_down(true);
        let ask = Ask::post(&upstream.via("/fetch-post", "/echo"), b"an order".to_vec());
        ask.send(serve.address).expect(502, "connection-terminated\n");
        let method = upstream.via("/fetch?method=PATCH", "/echo");
        Ask::get(&method)
            .send(serve.address)
            .expect(502, "connection-terminated\n");
        assert_eq!(upstream.requests(), 2, "{guest}");
    }
}

#[test]
fn connections_to_one_upstream_are_bounded() {
    for guest in EDGES {
        let upstream = Upstream::start();
        let serve = serve(guest, &upstream, &[]);
        let holding: Vec<Connection> = (0..4)
            .map(|_| {
                let mut connection = Connection::open(serve.address);
                connection.send(Ask::get(&upstream.via("/fanout/32", "/hold")).bytes());
                connection
            })
            .collect();
        upstream.wait_held(128);
        let one_more = upstream.via("/fetch-options?connect_ms=100", "/status/200");
        Ask::get(&one_more)
            .send(serve.address)
            .expect(502, "connection-limit-reached\n");
        assert_eq!(upstream.connections(), 128, "{guest}");
        upstream.release();
        for mut connection in holding {
            assert_eq!(connection.response("GET").text(), "200 5\n".repeat(32), "{guest}");
        }
        assert_eq!(call(&serve, &upstream, "/status/200"), good(), "{guest}");
        assert_eq!(upstream.connections(), 128, "{guest}: one that was there is used");
    }
}

#[test]
fn half_answers_and_silence_count_as_failures() {
    for guest in EDGES {
        let upstream = Upstream::start();
        let serve = serve(guest, &upstream, &[]);
        for path in ["/cut", "/cut-chunked", "/cut", "/junk"] {
            assert_eq!(call(&serve, &upstream, path).0, 502, "{guest} {path}");
        }
        for _ in 0..3 {
            let silent = upstream.via("/fetch-options?first_byte_ms=50", "/silent");
            let answer = Ask::get(&silent).send(serve.address);
            answer.expect(502, "connection-read-timeout\n");
        }
        assert_eq!(call(&serve, &upstream, "/status/200"), unavailable(), "{guest}");
    }
}

#[test]
fn a_refusing_upstream_opens_the_breaker() {
    for guest in EDGES {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let serve = Serve::start(guest, &["--allow-http", "*"]);
        let path = format!("/fetch?url={}", encode(&format!("http://{closed}/")));
        for _ in 0..7 {
            Ask::get(&path)
                .send(serve.address)
                .expect(502, "connection-refused\n");
        }
        Ask::get(&path)
            .send(serve.address)
            .expect(502, "destination-unavailable\n");
        // Another upstream is not concerned.
        let upstream = Upstream::start();
        assert_eq!(call(&serve, &upstream, "/status/200"), good(), "{guest}");
    }
}

/// A listener whose queue is full: what connects to it hears nothing.
fn deaf() -> (TcpListener, Vec<TcpStream>, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        waiting.push(stream);
    }
    (listener, waiting, address)
}

#[test]
fn connecting_ends_when_the_guest_says() {
    for guest in EDGES {
        let (_listener, _waiting, address) = deaf();
        let serve = Serve::start(guest, &["--allow-http", &address.to_string()]);
        let url = encode(&format!("http://{address}/"));
        let answer = Ask::get(&format!("/fetch-options?connect_ms=100&url={url}")).send(serve.address);
        answer.expect(502, "connection-timeout\n");
    }
}

#[test]
fn a_connection_that_the_upstream_closed_is_not_used_again() {
    for guest in EDGES {
        let upstream = Upstream::start();
        let serve = serve(guest, &upstream, &[]);
        // It closes after each answer without having said so.
        for _ in 0..20 {
            let said = call(&serve, &upstream, "/once");
            assert_eq!(said, (200, "200 once\n".to_owned()), "{guest}");
        }
    }
}

#[test]
fn events_go_through_as_they_come() {
    for guest in EDGES {
        let upstream = Upstream::start();
        let serve = serve(guest, &upstream, &[]);
        let mut connection = Connection::open(serve.address);
        connection.send(Ask::get(&upstream.via("/proxy", "/events")).bytes());
        let head = connection.head().expect("a head");
        assert_eq!(head.status, 200, "{guest}: {head:?}");
        let first = connection.chunk().flatten().expect("an event");
        assert_eq!(first, b"data: one\n\n", "{guest}");
        upstream.release();
        let second = connection.chunk().flatten().expect("an event");
        assert_eq!(second, b"data: two\n\n", "{guest}");
    }
}

#[test]
fn a_slow_reader_holds_the_upstream_back() {
    for guest in EDGES {
        let upstream = Upstream::start();
        let serve = serve(guest, &upstream, &["--wall-time", "1m"]);
        assert_eq!(call(&serve, &upstream, "/status/200"), good(), "{guest}");
        let before = serve.process.memory_kib();
        let mut connection = Connection::open(serve.address);
        connection.send(Ask::get(&upstream.via("/proxy", "/endless")).bytes());
        assert_eq!(connection.head().expect("a head").status, 200, "{guest}");
        let written = upstream.held_back();
        assert!(written < 32 * 1024 * 1024, "{guest}: {written} bytes");
        let grown = serve.process.memory_kib().saturating_sub(before);
        assert!(grown < 16 * 1024, "{guest}: {grown} KiB");
    }
}

#[test]
fn an_upstream_that_does_not_read_holds_the_caller_back() {
    for guest in EDGES {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let grant = address.to_string();
        let limits = ["--wall-time", "1m", "--request-body", "1GiB"];
        let options = [&["--threads", "1", "--allow-http", &grant][..], &limits].concat();
        let serve = Serve::start(guest, &options);
        Ask::get("/hello")
            .send(serve.address)
            .expect(200, "Hello, world!\n");
        let before = serve.process.memory_kib();
        let connection = Connection::open(serve.address);
        let mut writer = connection.writer();
        writer.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        let path = format!("/fetch-post?url={}", encode(&format!("http://{address}/")));
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: test.example\r\ntransfer-encoding: chunked\r\n\r\n");
        writer.write_all(head.as_bytes()).unwrap();
        // It is connected to, and says and reads nothing.
        let (_unread, _) = listener.accept().unwrap();
        let chunk = [b"10000\r\n", &*vec![b'u'; 64 * 1024], b"\r\n"].concat();
        let mut written = 0;
        while writer.write_all(&chunk).is_ok() {
            written += chunk.len();
        }
        assert!(written < 48 * 1024 * 1024, "{guest}: {written} bytes");
        let grown = serve.process.memory_kib().saturating_sub(before);
        assert!(grown < 16 * 1024, "{guest}: {grown} KiB");
    }
}
