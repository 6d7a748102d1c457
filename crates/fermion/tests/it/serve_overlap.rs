//! Several requests at once in one instance of WASI 0.3, by the package's opt-in: that they overlap, how many, and what
//! they have to do with each other's failures.

use crate::support::upstream::Upstream;
use crate::support::{Ask, Connection, Serve};

/// Everything on one thread: there, requests find the same instance.
fn start(concurrency: &str, more: &[&str]) -> Serve {
    let mut arguments = vec![
        "--threads",
        "1",
        "--reuse",
        "1000",
        "--reuse-concurrency",
        concurrency,
        // However slow the machine.
        "--wall-time",
        "10m",
    ];
    arguments.extend_from_slice(more);
    Serve::start("p3-edge", &arguments)
}

/// How many requests for `/state` the instance has seen that answers.
fn count(serve: &Serve) -> u32 {
    let answer = Ask::get("/state").send(serve.address);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.text().trim().parse().expect("a number")
}

/// `requests` in the middle of their work, until `meanwhile` is over.
fn held(serve: &Serve, upstream: &Upstream, requests: usize, meanwhile: impl FnOnce()) -> Vec<(u16, String)> {
    let path = upstream.via("/fetch", "/hold");
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..requests)
            .map(|_| scope.spawn(|| Ask::get(&path).send(serve.address)))
            .collect();
        upstream.wait_held(requests);
        meanwhile();
        upstream.release();
        let answers = asking.into_iter().map(|asking| asking.join().unwrap());
        answers
            .map(|answer| (answer.status, answer.text().to_owned()))
            .collect()
    })
}

/// How many of `requests` that are in the middle of their work a trap beside them ends.
fn ended_by_a_trap(concurrency: &str, requests: usize) -> usize {
    let upstream = Upstream::start();
    let [flag, grant] = upstream.grant();
    let serve = start(concurrency, &[&flag, &grant]);
    assert_eq!(count(&serve), 1);
    let answers = held(&serve, &upstream, requests, || {
        let trap = Ask::get("/trap").send(serve.address);
        assert_eq!((trap.status, &*trap.code()), (502, "GUEST_TRAP"));
    });
    let (ended, whole): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(status, _)| *status == 502);
    for answer in whole {
        assert_eq!(answer, (200, "200 held\n".to_owned()));
    }
    Ask::get("/hello")
        .send(serve.address)
        .expect(200, "Hello, world!\n");
    serve.stop();
    ended.len()
}

/// Which instance a request finds depends on what the others do at the moment: one that a tick interrupts there sends
/// it on. So no number is exact, and the bounds hold always.
#[test]
fn requests_that_wait_are_in_one_instance_and_a_trap_answers_all_of_them() {
    assert!(ended_by_a_trap("16", 8) > 0);
}

#[test]
fn no_more_than_were_allowed_are_in_one_instance() {
    assert!(ended_by_a_trap("2", 6) <= 1, "one beside the one that traps");
}

#[test]
fn whoever_comes_while_a_guest_loops_is_served_elsewhere() {
    let serve = start("16", &["--cpu-time", "500ms"]);
    assert_eq!(count(&serve), 1);
    let mut looping = Connection::open(serve.address);
    looping.send(Ask::get("/loop").bytes());
    for _ in 0..20 {
        Ask::get("/hello")
            .send(serve.address)
            .expect(200, "Hello, world!\n");
    }
    let head = looping.head().expect("an answer");
    assert_eq!(head.status, 504, "the loop ends by its own limit");
    serve.stop();
}

#[test]
fn whoever_leaves_in_the_middle_retires_the_instance() {
    let serve = start("16", &[]);
    assert_eq!(count(&serve), 1);
    let mut leaving = Connection::open(serve.address);
    leaving.send(Ask::get("/hang-after-body").bytes());
    assert_eq!(leaving.head().expect("a head").status, 200);
    drop(leaving);
    // It may take a moment to be noticed; until then the instance serves.
    let until_new = (0..1000).find(|_| count(&serve) == 1);
    assert!(until_new.is_some(), "the instance still serves");
    serve.stop();
}

#[test]
fn bodies_of_requests_in_one_instance_do_not_mix() {
    let serve = start("16", &[]);
    std::thread::scope(|scope| {
        for index in 0..8 {
            let serve = &serve;
            scope.spawn(move || {
                for round in 0..2 {
                    let body = format!("{index} {round} ").repeat(10_000);
                    Ask::post("/echo", body.clone())
                        .chunked(3)
                        .send(serve.address)
                        .expect(200, &body);
                }
            });
        }
    });
    serve.stop();
}
