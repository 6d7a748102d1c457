//! Many at once: good beside hostile, half-sent beside whole, and what is left of it all afterwards.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::support::{Ask, Connection, EDGES, Response, Serve};

const HOSTILE: [&str; 10] = [
    "/alloc",
    "/panic",
    "/trap",
    "/stack",
    "/never",
    "/abort-body",
    "/many-headers/5000",
    "/handles/10000",
    "/big-header/1048576",
    "/loop",
];

/// How much more memory the process may hold after many rounds of hostile requests than after one, KiB. Each of the forty
/// places that a round fills keeps a little over a MiB for the next guest, and not every round fills the same ones.
const GROWTH_KIB_MAX: u64 = 64 * 1024;

/// Sends all of them at the same moment.
fn at_once(address: std::net::SocketAddr, asks: &[Ask]) -> Vec<Option<Response>> {
    let barrier = Barrier::new(asks.len());
    std::thread::scope(|scope| {
        let sending: Vec<_> = asks
            .iter()
            .map(|ask| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    ask.try_send(address)
                })
            })
            .collect();
        sending.into_iter().map(|sent| sent.join().unwrap()).collect()
    })
}

#[test]
fn no_good_request_is_lost_among_hostile_ones() {
    for guest in EDGES {
        let serve = Serve::start(
            guest,
            &["--cpu-time", "100ms", "--wall-time", "5s", "--memory", "32MiB"],
        );
        let asks: Vec<Ask> = (0..100)
            .map(|index| match index % 4 {
                0 => Ask::get("/hello"),
                1 => Ask::post("/echo", format!("number {index}")).chunked(3),
                _ => Ask::get(HOSTILE[index / 2 % HOSTILE.len()]),
            })
            .collect();
        for (index, answer) in at_once(serve.address, &asks).into_iter().enumerate() {
            let answer = answer.unwrap_or_else(|| panic!("{guest} {:?}: no answer", asks[index]));
            let expected = match index % 4 {
                0 => "Hello, world!\n".to_owned(),
                1 => format!("number {index}"),
                _ => {
                    assert!(
                        answer.status >= 500 || !answer.whole,
                        "{guest} {index}: {answer:?}"
                    );
                    continue;
                }
            };
            if answer.status == 503 {
                assert_eq!(answer.code(), "OVERLOADED");
                assert!(answer.header("retry-after").is_some());
            } else {
                answer.expect(200, &expected);
            }
        }
        serve.stop();
    }
}

#[test]
fn memory_and_descriptors_come_back() {
    for guest in EDGES {
        let serve = Serve::start(
            guest,
            &["--cpu-time", "20ms", "--wall-time", "300ms", "--memory", "16MiB"],
        );
        let round = || {
            let asks: Vec<Ask> = (0..200)
                .map(|index| Ask::get(HOSTILE[index % HOSTILE.len()]))
                .collect();
            for some in asks.chunks(40) {
                at_once(serve.address, some);
            }
            // Through every thread, so that what the last connections left behind has been looked at.
            for _ in 0..8 {
                Ask::get("/hello")
                    .send(serve.address)
                    .expect(200, "Hello, world!\n");
            }
            (serve.process.memory_kib(), serve.process.descriptors())
        };
        let (memory, descriptors) = round();
        round();
        let (memory_after, descriptors_after) = round();
        assert!(
            memory_after < memory + GROWTH_KIB_MAX,
            "{guest}: {memory} KiB after one round, {memory_after} KiB after three"
        );
        // A connection or two may still be closing.
        assert!(
            descriptors_after <= descriptors + 20,
            "{guest}: {descriptors} descriptors, then {descriptors_after}"
        );
        serve.stop();
    }
}

#[test]
fn half_sent_requests_hold_nobody_up() {
    for guest in EDGES {
        let serve = Serve::start(guest, &[]);
        let half = [
            "GET /hello HTTP/1.1\r\nhost: x\r\nx-half: ",
            "POST /count HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nhalf",
            "POST /count HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n100\r\nhalf",
            "G",
        ];
        let open: Vec<Connection> = (0..200)
            .map(|index| {
                let mut connection = Connection::open(serve.address);
                connection.send(half[index % half.len()]);
                connection
            })
            .collect();
        let begun = Instant::now();
        for _ in 0..20 {
            Ask::get("/hello")
                .send(serve.address)
                .expect(200, "Hello, world!\n");
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        drop(open);
        serve.stop();
    }
}

#[test]
fn half_sent_bodies_do_not_use_up_what_others_need() {
    for guest in EDGES {
        let serve = Serve::start(guest, &[]);
        let open: Vec<Connection> = (0..200)
            .map(|_| {
                let mut connection = Connection::open(serve.address);
                connection.send("POST /count HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nhalf");
                connection
            })
            .collect();
        let answer = Ask::get("/hello").send(serve.address);
        answer.expect(200, "Hello, world!\n");
        drop(open);
    }
}

#[test]
fn beyond_its_concurrency_it_sheds_and_a_permit_lasts_as_long_as_the_body() {
    for guest in EDGES {
        let serve = Serve::start(guest, &["--concurrency", "2"]);
        // Too much for the buffers of two sockets: these wait for their readers.
        let mut readers: Vec<Connection> = (0..2).map(|_| Connection::open(serve.address)).collect();
        for reader in &mut readers {
            reader.send(Ask::get("/stream/400/65536").bytes());
            assert_eq!(reader.head().expect("a head").status, 200);
        }
        let shed = Ask::get("/hello").send(serve.address);
        assert_eq!((shed.status, &*shed.code()), (503, "OVERLOADED"), "{guest}");
        assert_eq!(shed.blame(), "platform");
        assert_eq!(shed.header("retry-after"), Some("1"));
        let mut first = readers.remove(0);
        let mut bytes = 0;
        while let Some(piece) = first.chunk().expect("the body is whole") {
            bytes += piece.len();
        }
        assert_eq!(bytes, 400 * 65536);
        Ask::get("/hello")
            .send(serve.address)
            .expect(200, "Hello, world!\n");
    }
}

#[test]
fn a_caller_who_leaves_gives_his_place_back() {
    for guest in EDGES {
        let serve = Serve::start(guest, &["--concurrency", "2", "--wall-time", "60s"]);
        for path in ["/hang", "/stream/400/65536", "/loop-after-body"] {
            let mut leaving: Vec<Connection> = (0..2).map(|_| Connection::open(serve.address)).collect();
            for connection in &mut leaving {
                connection.send(Ask::get(path).bytes());
            }
            drop(leaving);
            // It may take a moment to be noticed; a request waits that long by itself.
            let answer = Ask::get("/hello").send(serve.address);
            answer.expect(200, "Hello, world!\n");
        }
    }
}
