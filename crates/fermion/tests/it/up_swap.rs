//! Swapping releases under load: no request is lost, none is answered by half of each.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use crate::platform::{Site, Up};
use crate::support::{Ask, Connection};

const DEPLOYS: usize = 50;
/// What `p2-hello` and `p2-edge` answer at `/shop/state`.
const BODIES: [&str; 2] = ["Hello, world!\n", "1\n"];

/// Asks until told to stop, on one connection or on a new one each time. Gives how often each body came.
fn load(gateway: SocketAddr, keep_alive: bool, done: &AtomicBool, asked: &AtomicUsize) -> [usize; 2] {
    let ask = Ask::get("/shop/state");
    let mut counts = [0; 2];
    let mut connection = Connection::open(gateway);
    while !done.load(Relaxed) {
        if !keep_alive {
            connection = Connection::open(gateway);
        }
        let answer = ask
            .send_on(&mut connection)
            .expect("no connection is closed without an answer");
        assert!(answer.status == 200 && answer.whole, "{answer:?}");
        let which = BODIES.iter().position(|body| *body == answer.text());
        counts[which.unwrap_or_else(|| panic!("{answer:?}"))] += 1;
        asked.fetch_add(1, Relaxed);
    }
    counts
}

#[test]
fn fifty_deploys_in_a_row_lose_no_request() {
    let site = Site::new();
    let project = site.simple("shop", "1.0.0", "p2-hello");
    let up = Up::start(&site, &[&project]);
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let totals = std::thread::scope(|scope| {
        let start = |keep_alive| {
            let (done, asked) = (&done, &asked);
            scope.spawn(move || load(up.gateway, keep_alive, done, asked))
        };
        let loads = [true, true, true, false, false].map(start);
        let deployed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for number in 1..=DEPLOYS {
                let before = asked.load(Relaxed);
                let guest = ["p2-hello", "p2-edge"][number % 2];
                site.simple("shop", &format!("1.0.{number}"), guest);
                assert_eq!(up.deploy(&project)["serving"], number + 1);
                up.get("/shop/state").expect(200, BODIES[number % 2]);
                assert!(asked.load(Relaxed) > before, "the load goes on during a deploy");
            }
        }));
        done.store(true, Relaxed);
        let totals = loads.map(|load| load.join().expect("no request is lost"));
        deployed.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        totals
    });
    for total in totals {
        assert!(
            total.iter().all(|count| *count > 0),
            "every connection met both releases: {totals:?}"
        );
    }
    up.stop();
}

#[test]
fn a_request_in_flight_ends_on_the_release_it_began_on() {
    let site = Site::new();
    let project = site.simple("shop", "1.0.0", "p2-edge");
    let up = Up::start(&site, &[&project]);
    let mut connection = Connection::open(up.gateway);
    connection
        .send("POST /shop/echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n6\r\nbefore\r\n");
    assert_eq!(connection.head().expect("an answer begins").status, 200);
    assert_eq!(connection.chunk(), Some(Some(b"before".to_vec())));

    site.simple("shop", "1.0.1", "p2-hello");
    up.deploy(&project);
    up.get("/shop/echo").expect(200, BODIES[0]);

    connection.send("5\r\nafter\r\n0\r\n\r\n");
    assert_eq!(connection.chunk(), Some(Some(b"after".to_vec())));
    assert_eq!(connection.chunk(), Some(None));
    up.stop();
}
