//! Instances that outlive a request, by the package's opt-in: how long they live, and what ends them earlier.

use std::time::Instant;

use crate::support::{Ask, Connection, EDGES, PATIENCE, Response, Serve};

/// Serial reuse on one thread, one request at a time: a request begins when the guest of the one before has ended, and
/// finds its instance, as long as there is one.
fn start(guest: &str, more: &[&str]) -> Serve {
    let mut arguments = vec!["--threads", "1", "--reuse-concurrency", "1", "--concurrency", "1"];
    arguments.extend_from_slice(more);
    Serve::start(guest, &arguments)
}

/// The answer of a guest. Where the one before takes longer to end than anybody waits in the queue, on a busy machine,
/// the request is turned away before it meets an instance, and is sent again.
fn served(serve: &Serve, ask: &Ask) -> Response {
    let begun = Instant::now();
    loop {
        let answer = ask.send(serve.address);
        if answer.status != 503 || begun.elapsed() > PATIENCE {
            return answer;
        }
    }
}

fn count(serve: &Serve) -> u32 {
    let answer = served(serve, &Ask::get("/state"));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.text().trim().parse().expect("a number")
}

#[test]
fn an_instance_serves_as_many_requests_as_were_allowed() {
    for guest in EDGES {
        let serve = start(guest, &["--reuse", "3"]);
        let mut connection = Connection::open(serve.address);
        for want in ["1\n", "2\n", "3\n", "1\n", "2\n", "3\n", "1\n"] {
            let answer = Ask::get("/state").send_on(&mut connection);
            answer.expect("an answer").expect(200, want);
        }
        serve.stop();
    }
}

#[test]
fn bodies_and_errors_leave_the_instance_as_it_was() {
    for guest in EDGES {
        let serve = start(
            guest,
            &["--reuse", "1000", "--wall-time", "10m", "--reuse-idle", "1h"],
        );
        assert_eq!(count(&serve), 1);
        let big = "x".repeat(300_000);
        served(&serve, &Ask::post("/echo", big.clone())).expect(200, &big);
        served(&serve, &Ask::post("/upper", "abc").chunked(2)).expect(200, "ABC");
        for ask in [
            Ask::post("/ignore", "abc"),
            Ask::get("/status/404"),
            Ask::get("/stream/20/70000"),
            Ask::get("/random"),
        ] {
            served(&serve, &ask);
        }
        let failed = served(&serve, &Ask::get("/err/timeout"));
        assert_eq!(failed.status, 502, "{guest}: {failed:?}");
        assert_eq!(count(&serve), 2, "{guest}: other paths do not count");
        serve.stop();
    }
}

#[test]
fn what_failed_is_thrown_away_and_nobody_else_notices() {
    for guest in EDGES {
        let limits = ["--cpu-time", "50ms", "--wall-time", "2s", "--memory", "16MiB"];
        let serve = start(guest, &[&["--reuse", "1000"], &limits[..]].concat());
        for path in [
            "/trap",
            "/panic",
            "/loop",
            "/alloc",
            "/stack",
            "/never",
            "/abort-body",
            "/loop-after-body",
        ] {
            assert_eq!(count(&serve), 1, "{guest} before {path}");
            assert_eq!(count(&serve), 2, "{guest} before {path}");
            let failed = Ask::get(path).try_send(serve.address);
            let ended = failed.is_none_or(|answer| answer.status >= 500 || !answer.whole);
            assert!(ended, "{guest} {path}");
        }
        assert_eq!(count(&serve), 1, "{guest}");
        serve.stop();
    }
}

#[test]
fn whoever_leaves_takes_the_instance_along() {
    for guest in EDGES {
        let serve = start(guest, &["--reuse", "1000"]);
        assert_eq!(count(&serve), 1);
        let mut leaving = Connection::open(serve.address);
        leaving.send(Ask::get("/hang-after-body").bytes());
        assert_eq!(leaving.head().expect("a head").status, 200);
        drop(leaving);
        assert_eq!(
            count(&serve),
            1,
            "{guest}: a guest in the middle of its work serves nobody else"
        );
        serve.stop();
    }
}

#[test]
fn the_first_request_finds_an_instance_that_was_warmed_up() {
    for guest in EDGES {
        let reused = start(guest, &["--reuse", "3", "--warmup", "/state"]);
        let counts: Vec<_> = (0..3).map(|_| count(&reused)).collect();
        assert_eq!(counts, [2, 3, 4], "{guest}: the warm-up is none of the three");
        reused.stop();
        let fresh = start(guest, &["--warmup", "/state?x=1"]);
        assert_eq!(count(&fresh), 2, "{guest}");
        fresh.stop();
    }
}

#[test]
fn what_reused_instances_write_goes_to_the_request_that_wrote_it() {
    for guest in EDGES {
        let serve = start(guest, &["--reuse", "1000"]);
        for text in ["first", "second"] {
            Ask::get(&format!("/log/{text}")).send(serve.address);
            let line = serve
                .process
                .stderr
                .wait_for(|line| line.contains(&format!("stdout {text}")));
            assert!(line.is_some(), "{guest}: {}", serve.process.stderr.text());
        }
        serve.stop();
    }
}
