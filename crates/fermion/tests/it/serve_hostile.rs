//! Components that misbehave: each gets its name, in time, and nobody beside it notices.

use std::time::{Duration, Instant};

use crate::support::{Ask, Connection, EDGES, Serve, h2};

/// Much longer than any limit set here, much shorter than for ever.
const IN_TIME: Duration = Duration::from_secs(60);

/// What every hostile guest is held to, on one thread: who stands beside it stands behind it.
/// Time enough to take all of the memory on a machine whose pages are slow to come, and to use up the CPU time on one
/// that others keep busy: guests that need long step back behind them.
const TIGHT: [&str; 8] = [
    "--threads",
    "1",
    "--cpu-time",
    "500ms",
    "--wall-time",
    "10s",
    "--memory",
    "16MiB",
];

/// Path, status and code.
const FAILURES: [(&str, u16, &str); 13] = [
    ("/loop", 504, "GUEST_CPU_LIMIT"),
    ("/hang", 504, "GUEST_TIMEOUT"),
    ("/alloc", 502, "GUEST_MEMORY_LIMIT"),
    ("/alloc/100", 502, "GUEST_MEMORY_LIMIT"),
    ("/panic", 502, "GUEST_TRAP"),
    ("/trap", 502, "GUEST_TRAP"),
    ("/stack", 502, "GUEST_STACK_LIMIT"),
    ("/many-headers/101", 502, "GUEST_RESPONSE_INVALID"),
    ("/handles/10000", 502, "GUEST_RESOURCE_LIMIT"),
    ("/hostcall/100/100000", 502, "GUEST_RESOURCE_LIMIT"),
    ("/content-length/5/10", 502, "GUEST_RESPONSE_INVALID"),
    ("/content-length/10/5", 502, "GUEST_RESPONSE_INVALID"),
    ("/err/internal", 502, "GUEST_ERROR"),
];

/// What WASI 0.2 and 0.3 tell apart. Where a header map grows past its limit, 0.3 has an error for it, and what comes next
/// is the guest's doing: here a panic, or another try without end. 0.2 has none, so the platform ends the guest. And a
/// 0.3 guest may wait for what never comes, where one of 0.2 has to return.
const DIFFERENT: [(&str, [(u16, &str); 2]); 4] = [
    ("/never", [(502, "GUEST_NO_RESPONSE"), (504, "GUEST_TIMEOUT")]),
    (
        "/many-headers/5000",
        [(502, "GUEST_RESPONSE_INVALID"), (502, "GUEST_TRAP")],
    ),
    (
        "/big-header/1048576",
        [(502, "GUEST_RESPONSE_INVALID"), (502, "GUEST_TRAP")],
    ),
    (
        "/hostcall",
        [(502, "GUEST_RESPONSE_INVALID"), (504, "GUEST_CPU_LIMIT")],
    ),
];

fn failures(guest: &str) -> Vec<(&'static str, u16, &'static str)> {
    let which = usize::from(guest == "p3-edge");
    let different = DIFFERENT.map(|(path, by_guest)| (path, by_guest[which].0, by_guest[which].1));
    FAILURES.into_iter().chain(different).collect()
}

#[test]
fn every_failure_has_its_name_in_time_and_nobody_beside_it_notices() {
    for guest in EDGES {
        let serve = Serve::start(guest, &TIGHT);
        let mut beside = Connection::open(serve.address);
        let mut wrong = Vec::new();
        for (path, status, code) in failures(guest) {
            let begun = Instant::now();
            let mut hostile = Connection::open(serve.address);
            hostile.send(Ask::get(path).bytes());
            let hello = Ask::get("/hello").send_on(&mut beside).expect("an answer");
            hello.expect(200, "Hello, world!\n");
            let answer = hostile.response("GET");
            assert!(begun.elapsed() < IN_TIME, "{guest} {path}: {:?}", begun.elapsed());
            assert!(
                !format!("{answer:?}{}", answer.text()).contains("7f3a"),
                "{answer:?}"
            );
            // A guest that had to make room in mid-body is found out behind its head: then the body breaks off.
            if path.starts_with("/content-length/") && answer.status == 200 && !answer.whole {
                continue;
            }
            if answer.status < 500 || (answer.status, &*answer.code()) != (status, code) {
                wrong.push(format!("{guest} {path}: {} {}", answer.status, answer.text()));
                continue;
            }
            assert_eq!(answer.blame(), "guest", "{path}");
        }
        assert_eq!(wrong, [""; 0]);
        serve.stop();
    }
}

#[test]
fn failures_have_the_same_names_over_http_2() {
    for guest in EDGES {
        // All at once on one thread: with more time to wait than all of them together may use of it.
        let serve = Serve::start(
            guest,
            &[
                "--threads",
                "1",
                "--cpu-time",
                "500ms",
                "--wall-time",
                "10s",
                "--memory",
                "16MiB",
            ],
        );
        let failures = failures(guest);
        let requests = failures.iter().map(|(path, ..)| h2::get(serve.address, path));
        let answers = h2::send(serve.address, requests.collect());
        for ((path, status, code), answer) in failures.into_iter().zip(answers) {
            let answer = answer.unwrap_or_else(|| panic!("{guest} {path}: no answer"));
            let details = format!("details=\"{code}\"");
            let proxy_status = answer
                .headers
                .get("proxy-status")
                .map(|value| value.to_str().unwrap());
            let is_named =
                answer.status == status && proxy_status.is_some_and(|value| value.ends_with(&details));
            // A guest that had to make room for the others in mid-body is found out behind its head: then the body
            // breaks off.
            let is_torn = path.starts_with("/content-length/") && answer.status == 200 && !answer.whole;
            assert!(is_named || is_torn, "{guest} {path}: {answer:?}");
        }
    }
}

#[test]
fn a_failure_in_mid_body_breaks_the_connection_and_never_ends_it_well() {
    let paths = [
        "/abort-body",
        "/loop-after-body",
        "/hang-after-body",
        "/trailers-error",
    ];
    for guest in EDGES {
        let serve = Serve::start(guest, &TIGHT);
        for path in paths {
            let begun = Instant::now();
            for ask in [Ask::get(path), Ask::get(path).header("te", "trailers")] {
                let answer = ask.send(serve.address);
                assert_eq!(answer.status, 200, "{guest} {path}: {answer:?}");
                assert!(!answer.whole, "{guest} {path}: {answer:?}");
                let sent = if path == "/trailers-error" {
                    "body\n"
                } else {
                    "the first half\n"
                };
                assert_eq!(answer.text(), sent, "{guest} {path}");
                assert!(!format!("{answer:?}").contains("7f3a"));
            }
            assert!(begun.elapsed() < IN_TIME);
        }
        let answers = h2::send(
            serve.address,
            paths.map(|path| h2::get(serve.address, path)).into(),
        );
        for (path, answer) in paths.iter().zip(answers) {
            let answer = answer.unwrap_or_else(|| panic!("{guest} {path}: no head"));
            assert_eq!(
                (answer.status, answer.whole),
                (200, false),
                "{guest} {path}: {answer:?}"
            );
        }
        Ask::get("/hello")
            .send(serve.address)
            .expect(200, "Hello, world!\n");
        serve.stop();
    }
}

#[test]
fn an_http_1_0_caller_sees_a_broken_body_as_a_reset() {
    for guest in EDGES {
        let serve = Serve::start(guest, &TIGHT);
        let mut stream = std::net::TcpStream::connect(serve.address).unwrap();
        std::io::Write::write_all(&mut stream, b"GET /abort-body HTTP/1.0\r\n\r\n").unwrap();
        let read = std::io::Read::read_to_end(&mut stream, &mut Vec::new());
        // Nothing but the end of the connection marks the end of the body: a clean one would make it look whole.
        assert!(read.is_err(), "{guest}");
    }
}

#[test]
fn a_body_over_its_limit_is_cut_and_not_ended() {
    for guest in EDGES {
        let serve = Serve::start(guest, &["--response-body", "1MiB"]);
        let answer = Ask::get("/stream/64/65536").send(serve.address);
        assert_eq!((answer.status, answer.whole), (200, false), "{guest}");
        assert!(answer.body.len() <= 1 << 20);
        Ask::get("/stream/16/65536").send(serve.address);
    }
}

#[test]
fn a_request_may_grow_to_its_limit_and_not_past_it() {
    for guest in EDGES {
        let serve = Serve::start(guest, &["--memory", "64MiB"]);
        let within = Ask::get("/alloc/40").send(serve.address);
        within.expect(200, "allocated 40 MiB, 10240 pages\n");
        assert_eq!(
            Ask::get("/alloc/70").send(serve.address).code(),
            "GUEST_MEMORY_LIMIT"
        );
        let handles = Ask::get("/handles/1500").send(serve.address);
        handles.expect(200, "handles 1500\n");
    }
}
