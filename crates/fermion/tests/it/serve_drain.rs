//! Stopping: what is in flight is finished, nothing new begins, and a second signal means it.

use std::net::TcpStream;
use std::time::Instant;

use rustix::process::Signal;

use crate::support::upstream::Upstream;
use crate::support::{Ask, Connection, EDGES, PATIENCE, Serve};

#[test]
fn what_is_in_flight_is_finished_and_nothing_new_is_accepted() {
    for guest in EDGES {
        let upstream = Upstream::start();
        let [flag, grant] = upstream.grant();
        let mut serve = Serve::start(guest, &[&flag, &grant]);
        let path = upstream.via("/fetch", "/hold");
        let mut idle = Connection::open(serve.address);
        let hello = Ask::get("/hello").send_on(&mut idle);
        hello.expect("an answer").expect(200, "Hello, world!\n");
        std::thread::scope(|scope| {
            let slow: Vec<_> = (0..10)
                .map(|_| scope.spawn(|| Ask::get(&path).send(serve.address)))
                .collect();
            upstream.wait_held(10);
            serve.process.signal(Signal::TERM);
            assert_eq!(idle.rest(), b"", "an idle connection is closed");
            let begun = Instant::now();
            while TcpStream::connect(serve.address).is_ok() {
                assert!(begun.elapsed() < PATIENCE, "{guest}: it still accepts");
                std::thread::yield_now();
            }
            upstream.release();
            for asking in slow {
                let answer = asking.join().unwrap();
                answer.expect(200, "200 held\n");
                assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
            }
        });
        assert_eq!(serve.process.wait().code(), Some(0), "{guest}");
    }
}

#[test]
fn an_interrupt_drains_too_and_bodies_are_finished() {
    for guest in EDGES {
        let mut serve = Serve::start(guest, &[]);
        let mut connection = Connection::open(serve.address);
        connection.send("POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n");
        assert_eq!(connection.head().expect("a head").status, 200);
        assert_eq!(connection.chunk(), Some(Some(b"one".to_vec())));
        serve.process.signal(Signal::INT);
        connection.send("3\r\ntwo\r\n0\r\n\r\n");
        assert_eq!(connection.chunk(), Some(Some(b"two".to_vec())), "{guest}");
        assert_eq!(connection.chunk(), Some(None), "{guest}");
        assert_eq!(serve.process.wait().code(), Some(0), "{guest}");
    }
}

#[test]
fn a_second_signal_quits_at_once() {
    let upstream = Upstream::start();
    let [flag, grant] = upstream.grant();
    let mut serve = Serve::start(
        "p2-edge",
        &["--wall-time", "10m", "--drain", "10m", &flag, &grant],
    );
    let mut connection = Connection::open(serve.address);
    connection.send(Ask::get(&upstream.via("/fetch", "/hold")).bytes());
    upstream.wait_held(1);
    let mut idle = Connection::open(serve.address);
    Ask::get("/hello").send_on(&mut idle).expect("an answer");
    serve.process.signal(Signal::TERM);
    // The drain has begun when it closes what is idle.
    assert_eq!(idle.rest(), b"");
    assert_eq!(serve.process.insist(Signal::TERM).code(), Some(1));
    assert!(connection.try_response("GET").is_none());
}

#[test]
fn what_does_not_finish_is_cut_when_the_drain_is_over() {
    let mut serve = Serve::start("p2-edge", &["--wall-time", "10m", "--drain", "200ms"]);
    let mut connection = Connection::open(serve.address);
    connection.send(Ask::get("/hang-after-body").bytes());
    assert_eq!(connection.head().expect("a head").status, 200);
    serve.process.signal(Signal::TERM);
    assert_eq!(serve.process.wait().code(), Some(0));
    assert!(
        connection.rest().ends_with(b"the first half\n\r\n"),
        "no last chunk"
    );
    assert!(
        serve.process.stderr.text().contains("1 connections"),
        "{}",
        serve.process.stderr.text()
    );
}
