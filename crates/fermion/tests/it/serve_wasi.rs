//! What ordinary toolchains import beyond HTTP: logging, key-value stores, sockets, clocks. Linked for everyone, empty
//! until a flag grants it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

use crate::support::{Ask, EDGES, Response, Serve};

fn get(serve: &Serve, path: &str) -> Response {
    Ask::get(path).send(serve.address)
}

#[track_caller]
fn gives(serve: &Serve, path: &str, want: &str) {
    get(serve, path).expect(200, &format!("{want}\n"));
}

/// Expects that the guest was refused, with these words in the error.
#[track_caller]
fn refused(serve: &Serve, path: &str, words: &str) {
    let answer = get(serve, path);
    assert_eq!(answer.status, 502, "{path}: {answer:?}");
    assert!(answer.text().contains(words), "{path}: {answer:?}");
}

#[test]
fn a_message_has_its_level_and_context() {
    let serve = Serve::start("p2-logging", &[]);
    get(&serve, "/warn/cart/low").expect(200, "");
    for text in ["low", "plain low"] {
        let line = serve.process.stderr.wait_for(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            line["stream"] == "log" && line["line"] == text
        });
        let line: serde_json::Value = serde_json::from_str(&line.expect("it is said")).unwrap();
        assert_eq!(
            (&line["level"], &line["context"]),
            (&"warn".into(), &"cart".into())
        );
    }
    serve.stop();
}

#[test]
fn a_store_is_there_only_if_it_is_granted() {
    let serve = Serve::start("p2-keyvalue", &["--keyvalue", "rates"]);
    gives(&serve, "/rates/get/a", "none");
    for path in [
        "/other/get/a",
        "/other/draft/get/a",
        "/../rates/get/a",
        "/RATES/get/a",
    ] {
        refused(&serve, path, "NoSuchStore");
    }
}

#[test]
fn stores_keep_what_requests_leave() {
    let serve = Serve::start("p2-keyvalue", &["--keyvalue", "rates"]);
    gives(&serve, "/rates/set/a/1", "set");
    gives(&serve, "/rates/get/a", "1");
    gives(&serve, "/rates/draft/get/a", "1");
    gives(&serve, "/rates/exists/a", "true");
    gives(&serve, "/rates/increment/n/5", "5");
    gives(&serve, "/rates/increment/n/-7", "-2");
    gives(&serve, "/rates/draft/increment/n/2", "0");
    gives(&serve, "/rates/get/n", "0");
    gives(&serve, "/rates/get-many/a/b/n", "a=1 b=none n=0");
    gives(&serve, "/rates/draft/get-many/a/b/n", "a=1 none n=0");
    gives(&serve, "/rates/delete/a", "deleted");
    gives(&serve, "/rates/delete/a", "deleted");
    gives(&serve, "/rates/exists/a", "false");
    gives(&serve, "/rates/delete-many/n/x", "deleted");
    gives(&serve, "/rates/list", "0 None None");
}

#[test]
fn a_swap_notices_every_write_in_between() {
    let serve = Serve::start("p2-keyvalue", &["--keyvalue", "rates"]);
    gives(&serve, "/rates/swap/a/1", "swapped none");
    gives(&serve, "/rates/swap/a/2", "swapped 1");
    gives(&serve, "/rates/swap/a/3/2", "lost 2 to 2, then swapped");
    gives(&serve, "/rates/swap/new/2/1", "lost none to 1, then swapped");
    gives(&serve, "/rates/get-many/a/new", "a=3 new=2");
}

#[test]
fn lists_come_in_pages() {
    let serve = Serve::start("p2-keyvalue", &["--keyvalue", "rates"]);
    for prefix in ["a", "b", "c", "d", "e"] {
        gives(&serve, &format!("/rates/set-many/{prefix}/256/1"), "set");
    }
    gives(&serve, "/rates/list", "1024 Some(\"a00000\") Some(\"d00255\")");
    gives(&serve, "/rates/list/d00255", "256 Some(\"e00000\") None");
    gives(&serve, "/rates/list/zzz", "0 None None");
    gives(&serve, "/rates/draft/list", "1024 Some(\"a00000\") Some(1024)");
    gives(&serve, "/rates/draft/list/1024", "256 Some(\"e00000\") None");
}

#[test]
fn what_a_guest_may_store_is_bounded() {
    let serve = Serve::start("p2-keyvalue", &["--keyvalue", "rates", "--memory", "256MiB"]);
    gives(&serve, "/rates/size/1024/1048576", "set");
    refused(&serve, "/rates/size/1025/1", "a key has 1 to 1024 bytes");
    refused(&serve, "/rates/size/0/1", "a key has 1 to 1024 bytes");
    refused(
        &serve,
        "/rates/size/1/1048577",
        "a value has at most 1048576 bytes",
    );
    refused(&serve, "/rates/set-many/x/257/1", "a batch has at most 256 keys");
    gives(&serve, "/rates/set/word/one", "set");
    refused(&serve, "/rates/increment/word/1", "is not a whole number");
    gives(
        &serve,
        "/rates/increment/most/9223372036854775807",
        "9223372036854775807",
    );
    refused(
        &serve,
        "/rates/increment/most/1",
        "no number that a counter holds",
    );
    gives(&serve, "/rates/increment/low/-1", "-1");
    refused(
        &serve,
        "/rates/draft/increment/low/0",
        "no number that a counter holds",
    );
    // Three MiB a write fill the store's 256 MiB; then one more is refused, and what is there can be read and removed.
    let mut writes = 0;
    let full = loop {
        let answer = get(&serve, &format!("/rates/set-many/w{writes:03}-/3/1000000"));
        if answer.status != 200 {
            break answer;
        }
        writes += 1;
        assert!(writes < 100, "the store is never full");
    };
    assert!(
        writes > 80 && full.text().contains("the store is full"),
        "{writes} {full:?}"
    );
    gives(&serve, "/rates/get/w000-00000", "1000000 bytes");
    let keys: Vec<_> = (0..5).map(|index| format!("/w00{index}-00000")).collect();
    refused(
        &serve,
        &format!("/rates/get-many{}", keys.concat()),
        "ask for fewer at once",
    );
    gives(
        &serve,
        "/rates/delete-many/w000-00000/w000-00001/w000-00002",
        "deleted",
    );
    gives(&serve, "/rates/set-many/again/2/1000000", "set");
}

/// A server that answers a line with `pong`, for as many connections as come.
fn ponging() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            // A caller that is gone does not want it.
            drop(stream.write_all(b"pong"));
        }
    });
    port
}

#[test]
fn sockets_lead_where_they_are_granted_and_nowhere_else() {
    let (granted, other) = (ponging(), ponging());
    let nothing = Serve::start("p2-sockets", &[]);
    refused(
        &nothing,
        &format!("/tcp4/127/0/0/1/{granted}"),
        "create access-denied",
    );
    refused(&nothing, "/lookup/localhost", "lookup access-denied");
    refused(&nothing, "/lookup/127.0.0.1", "lookup access-denied");

    let literal = format!("tcp://127.0.0.1:{granted}");
    let serve = Serve::start("p2-sockets", &["--allow-socket", &literal]);
    get(&serve, &format!("/tcp4/127/0/0/1/{granted}")).expect(200, "pong");
    get(&serve, &format!("/tcp/127.0.0.1/{granted}")).expect(200, "pong");
    refused(
        &serve,
        &format!("/tcp4/127/0/0/1/{other}"),
        "connect access-denied",
    );
    refused(
        &serve,
        &format!("/tcp4/127/0/0/2/{granted}"),
        "connect access-denied",
    );
    refused(&serve, "/lookup/localhost", "lookup access-denied");
    refused(&serve, "/lookup/example.com", "lookup access-denied");
    refused(&serve, "/listen", "access-denied");

    let named = format!("tcp://localhost:{granted}");
    let serve = Serve::start("p2-sockets", &["--allow-socket", &named]);
    get(&serve, &format!("/tcp/localhost/{granted}")).expect(200, "pong");
    refused(
        &serve,
        &format!("/tcp/localhost/{other}"),
        "connect access-denied",
    );
    // An address is not the name that was granted, even if the name stands for it.
    refused(
        &serve,
        &format!("/tcp4/127/0/0/1/{granted}"),
        "connect access-denied",
    );
    refused(&serve, "/lookup/127.0.0.1", "lookup access-denied");

    let datagrams = format!("udp://127.0.0.1:{granted}");
    let serve = Serve::start("p2-sockets", &["--allow-socket", &datagrams]);
    refused(
        &serve,
        &format!("/tcp4/127/0/0/1/{granted}"),
        "create access-denied",
    );
}

#[test]
fn clocks_tick_in_steps_of_a_hundred_microseconds() {
    for guest in EDGES {
        let serve = Serve::start(guest, &[]);
        for _ in 0..10 {
            let clock = get(&serve, "/clock");
            let monotonic = clock
                .text()
                .lines()
                .find_map(|line| line.strip_prefix("monotonic "));
            let nanoseconds: u64 = monotonic.expect("a monotonic clock").parse().unwrap();
            assert_eq!(nanoseconds % 100_000, 0, "{guest}");
        }
    }
}
