//! Bodies both ways: whole however they are cut, as they are made, with their trailers, and never taking more memory than
//! their buffers.

use crate::support::{Ask, Connection, EDGES, Serve, h2};

/// How much more memory a stream may take than its buffers, however long it is, KiB.
const STREAM_MEMORY_KIB_MAX: u64 = 48 * 1024;

#[test]
fn uploads_arrive_whole_however_they_are_cut() {
    for guest in EDGES {
        let serve = Serve::start(guest, &[]);
        let body: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
        let sum = Ask::post("/count", body.clone()).send(serve.address);
        assert!(sum.text().starts_with("bytes 300000 fnv1a "), "{guest}: {sum:?}");
        for chunk in [1000, 4096, 65536, 300_000] {
            let again = Ask::post("/count", body.clone())
                .chunked(chunk)
                .send(serve.address);
            assert_eq!(again.text(), sum.text(), "{guest} {chunk}");
        }
        for path in ["/echo", "/echo-direct"] {
            let echo = Ask::post(path, body.clone()).chunked(7777).send(serve.address);
            assert!(
                echo.whole && echo.body == body,
                "{guest} {path}: {} bytes",
                echo.body.len()
            );
            let echo = Ask::post(path, body.clone()).send(serve.address);
            assert!(
                echo.whole && echo.body == body,
                "{guest} {path}: {} bytes",
                echo.body.len()
            );
            let empty = Ask::post(path, "").send(serve.address);
            empty.expect(200, "");
        }
        Ask::post("/upper", "shout")
            .chunked(1)
            .send(serve.address)
            .expect(200, "SHOUT");
        Ask::post("/ignore", body.clone())
            .send(serve.address)
            .expect(200, "ignored\n");
        Ask::post("/early", body.clone())
            .send(serve.address)
            .expect(200, "early\n");
        Ask::post("/early", "").send(serve.address).expect(200, "empty\n");
        let request = h2::request(serve.address, "POST", "/echo", &body, None);
        let answer = h2::send(serve.address, vec![request])
            .remove(0)
            .expect("an answer");
        assert!(
            answer.whole && answer.body == body,
            "{guest}: {} bytes",
            answer.body.len()
        );
    }
}

#[test]
fn a_conversation_flows_both_ways_at_once() {
    for guest in EDGES {
        let serve = Serve::start(guest, &[]);
        for path in ["/echo", "/upper"] {
            let mut connection = Connection::open(serve.address);
            connection.send(format!(
                "POST {path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
            ));
            for word in ["ONE", "TWO", "THREE"] {
                // The next word goes out only when the last one is back.
                connection.send(format!("{:x}\r\n{word}\r\n", word.len()));
                if word == "ONE" {
                    assert_eq!(connection.head().expect("a head").status, 200, "{guest} {path}");
                }
                assert_eq!(
                    connection.chunk(),
                    Some(Some(word.as_bytes().to_vec())),
                    "{guest} {path}"
                );
            }
            connection.send("0\r\n\r\n");
            assert_eq!(connection.chunk(), Some(None), "{guest} {path}");
        }
    }
}

#[test]
fn a_body_that_breaks_off_is_an_error_to_the_guest() {
    for guest in EDGES {
        let serve = Serve::start(guest, &[]);
        for body in [
            "content-length: 100\r\n\r\nhalf",
            "transfer-encoding: chunked\r\n\r\n100\r\nhalf",
        ] {
            let mut connection = Connection::open(serve.address);
            connection.send(format!("POST /count HTTP/1.1\r\nhost: x\r\n{body}"));
            connection.finish();
            if let Some(answer) = connection.try_response("POST") {
                assert_eq!(answer.status, 400, "{guest}: {answer:?}");
            }
        }
        Ask::get("/hello")
            .send(serve.address)
            .expect(200, "Hello, world!\n");
    }
}

#[test]
fn trailers_pass_both_ways() {
    for guest in EDGES {
        let serve = Serve::start(guest, &[]);
        let sent = Ask::post("/req-trailers", "body")
            .trailer("x-check", "abc")
            .send(serve.address);
        sent.expect(200, "x-check: abc\n");
        let none = Ask::post("/req-trailers", "body").chunked(2).send(serve.address);
        none.expect(200, "none\n");
        Ask::post("/req-trailers", "body")
            .send(serve.address)
            .expect(200, "none\n");

        let asked = Ask::get("/trailers").header("te", "trailers").send(serve.address);
        asked.expect(200, "body\n");
        assert_eq!(asked.trailer("x-sum"), Some("42"), "{guest}: {asked:?}");
        let not_asked = Ask::get("/trailers").send(serve.address);
        not_asked.expect(200, "body\n");
        assert_eq!(not_asked.trailer("x-sum"), None, "{guest}");
        for path in ["/echo", "/echo-direct", "/upper"] {
            let echo = Ask::post(path, "BODY")
                .header("te", "trailers")
                .trailer("x-check", "abc");
            let echo = echo.send(serve.address);
            echo.expect(200, "BODY");
            assert_eq!(echo.trailer("x-check"), Some("abc"), "{guest} {path}: {echo:?}");
        }

        let requests = vec![
            h2::get(serve.address, "/trailers"),
            h2::request(
                serve.address,
                "POST",
                "/req-trailers",
                b"body",
                Some(("x-check", "abc")),
            ),
            h2::request(serve.address, "POST", "/echo", b"body", Some(("x-check", "abc"))),
        ];
        let answers = h2::send(serve.address, requests);
        let [down, up, echo] = &answers[..] else {
            panic!("three answers")
        };
        let (down, up, echo) = (
            down.as_ref().unwrap(),
            up.as_ref().unwrap(),
            echo.as_ref().unwrap(),
        );
        assert_eq!(down.text(), "body\n");
        assert_eq!(down.trailers.as_ref().unwrap()["x-sum"], "42", "{guest}");
        assert_eq!(up.text(), "x-check: abc\n", "{guest}");
        assert_eq!(echo.trailers.as_ref().unwrap()["x-check"], "abc", "{guest}");
    }
}

#[test]
fn pieces_arrive_as_they_are_made() {
    for guest in EDGES {
        let serve = Serve::start(guest, &[]);
        let mut connection = Connection::open(serve.address);
        connection.send(Ask::get("/drip/3/30").bytes());
        assert_eq!(
            connection.head().expect("a head").header("transfer-encoding"),
            Some("chunked")
        );
        let mut pieces = Vec::new();
        while let Some(piece) = connection.chunk().expect("the body is whole") {
            pieces.push(String::from_utf8(piece).unwrap());
        }
        assert_eq!(pieces, ["drip 0\n", "drip 1\n", "drip 2\n"], "{guest}");
    }
}

#[test]
fn long_streams_take_little_memory_and_wait_for_slow_readers() {
    for guest in EDGES {
        let serve = Serve::start(
            guest,
            &[
                "--threads",
                "1",
                "--cpu-time",
                "1m",
                "--wall-time",
                "2m",
                "--request-body",
                "1GiB",
            ],
        );
        Ask::get("/stream/16/65536").send(serve.address);
        let before = serve.process.memory_kib();
        let mut slow = Connection::open(serve.address);
        slow.send(Ask::get("/stream/600/65536").bytes());
        assert_eq!(slow.head().expect("a head").status, 200);
        // It does not read on. A whole stream passes beside it meanwhile, so the slow one's guest has had its time.
        let down = Ask::get("/stream/200/65536").send(serve.address);
        assert_eq!((down.whole, down.body.len()), (true, 200 * 65536), "{guest}");
        let up = Ask::post("/count", vec![b'u'; 32 << 20])
            .chunked(60_000)
            .send(serve.address);
        assert!(up.text().starts_with("bytes 33554432 "), "{guest}: {up:?}");
        let after = serve.process.memory_kib();
        assert!(
            after < before + STREAM_MEMORY_KIB_MAX,
            "{guest}: {before} KiB before, {after} KiB with a stream that waits"
        );
        let mut bytes = 0;
        while let Some(piece) = slow.chunk().expect("the body is whole") {
            bytes += piece.len();
        }
        assert_eq!(bytes, 600 * 65536, "{guest}");
        serve.stop();
    }
}

#[test]
fn what_a_guest_promises_it_must_keep() {
    for guest in EDGES {
        let serve = Serve::start(guest, &[]);
        let kept = Ask::get("/content-length/10/10").send(serve.address);
        kept.expect(200, "abcdefghij");
        assert_eq!(kept.header("content-length"), Some("10"));
        for path in ["/content-length/200000/100000", "/content-length/100000/200000"] {
            let broken = Ask::get(path).send(serve.address);
            assert!(
                !broken.whole || broken.status == 502,
                "{guest} {path}: {} {}",
                broken.status,
                broken.body.len()
            );
            let answer = h2::send(serve.address, vec![h2::get(serve.address, path)]).remove(0);
            assert!(
                answer.is_none_or(|answer| !answer.whole || answer.status == 502),
                "{guest} {path}"
            );
        }
    }
}
