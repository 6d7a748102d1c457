//! One instance a request: nothing that one request leaves behind is seen by another, and requests overlap.

use crate::support::upstream::Upstream;
use crate::support::{Ask, Connection, EDGES, Serve, h2};

const REQUESTS: usize = 50;

#[test]
fn every_request_finds_a_fresh_instance() {
    for guest in EDGES {
        let serve = Serve::start(guest, &[]);
        let mut connection = Connection::open(serve.address);
        for _ in 0..REQUESTS {
            let answer = Ask::get("/state").send_on(&mut connection);
            answer.expect("an answer").expect(200, "1\n");
        }
        std::thread::scope(|scope| {
            for _ in 0..REQUESTS {
                scope.spawn(|| Ask::get("/state").send(serve.address).expect(200, "1\n"));
            }
        });
        let requests = (0..REQUESTS).map(|_| h2::get(serve.address, "/state")).collect();
        for answer in h2::send(serve.address, requests) {
            assert_eq!(answer.expect("an answer").text(), "1\n");
        }
        serve.stop();
    }
}

#[test]
fn requests_overlap_on_one_thread() {
    for guest in EDGES {
        let upstream = Upstream::start();
        let [flag, grant] = upstream.grant();
        let serve = Serve::start(guest, &["--threads", "1", &flag, &grant]);
        let path = upstream.via("/fetch", "/hold");
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| Ask::get(&path).send(serve.address).expect(200, "200 held\n"));
            }
            // Each waits in the middle of its work; all sixteen are there before one may go on.
            upstream.wait_held(16);
            upstream.release();
        });
        serve.stop();
    }
}

#[test]
fn one_guest_calls_several_upstreams_at_once() {
    for guest in EDGES {
        let upstream = Upstream::start();
        let [flag, grant] = upstream.grant();
        let serve = Serve::start(guest, &[&flag, &grant]);
        let path = upstream.via("/fanout/5", "/hold");
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| Ask::get(&path).send(serve.address));
            upstream.wait_held(5);
            upstream.release();
            asking.join().unwrap().expect(200, &"200 5\n".repeat(5));
        });
        assert_eq!(upstream.most_held(), 5);
    }
}

#[test]
fn a_wasi_0_3_guest_goes_on_after_its_answer() {
    let serve = Serve::start("p3-edge", &[]);
    Ask::get("/after/20")
        .send(serve.address)
        .expect(200, "answered\n");
    let done = serve
        .process
        .stderr
        .wait_for(|line| line.contains("after 20: done"));
    assert!(done.is_some(), "{}", serve.process.stderr.text());
    serve.stop();
}
