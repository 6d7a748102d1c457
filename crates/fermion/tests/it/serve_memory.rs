//! What all guests may hold together: who finds no room is told so at once, and nobody else notices.

use std::process::Command;
use std::sync::mpsc;

use crate::platform::{Package, Site, Up};
use crate::support::process::{Process, cache, guest_file};
use crate::support::upstream::Upstream;
use crate::support::{Ask, EDGES, Response, Serve};
use crate::up_telemetry::Metrics;

/// One release alone may hold half of it: three instances with ten MiB in hand and not a fourth.
const GUEST_MEMORY: [&str; 2] = ["--guest-memory", "64MiB"];
const FITTING: usize = 3;

fn shed(answer: &Response) {
    assert_eq!(
        (answer.status, &*answer.code()),
        (503, "OVERLOADED"),
        "{answer:?}"
    );
    assert_eq!(answer.blame(), "platform");
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[test]
fn an_app_that_holds_its_share_is_shed_and_another_finds_room() {
    for guest in EDGES {
        let upstream = Upstream::start();
        let site = Site::new();
        let granted = format!("[capabilities]\nhttp = [\"http://{}\"]\n", upstream.address);
        let noisy = site.project(Package {
            more: &granted,
            ..Package::new("noisy", "1.0.0", guest)
        });
        let up = Up::start_with(
            &site,
            &[&noisy, &site.simple("quiet", "1.0.0", guest)],
            &GUEST_MEMORY,
        );
        let hold = format!("/noisy{}", upstream.via("/fetch?mib=10", "/hold"));
        std::thread::scope(|scope| {
            let holding: Vec<_> = (0..FITTING)
                .map(|_| scope.spawn(|| Ask::get(&hold).send(up.gateway)))
                .collect();
            upstream.wait_held(FITTING);
            shed(&up.get(&hold));
            shed(&up.get("/noisy/alloc/10"));
            up.get("/noisy/hello").expect(200, "Hello, world!\n");
            assert_eq!(
                up.get("/quiet/alloc/10").status,
                200,
                "{guest}: another app has room"
            );
            let full = Metrics::of(&up);
            let (held, max) = (
                full.sum("fermion_guest_memory_bytes", &[]),
                full.sum("fermion_guest_memory_max_bytes", &[]),
            );
            assert!(held >= 24e6 && held * 2.0 <= max, "{guest}: {held} of {max}");
            upstream.release();
            for held in holding {
                held.join().unwrap().expect(200, "200 held\n");
            }
        });
        let empty = Metrics::when(&up, |metrics| {
            metrics.sum("fermion_guest_memory_bytes", &[]) < 0.5
        });
        let faults = empty.sum("fermion_faults_total", &["app=\"quiet\""]);
        assert!(faults < 0.5, "{guest}: {faults} faults of the quiet app");
        up.get(&hold).expect(200, "200 held\n");
        up.stop();
    }
}

#[test]
fn an_instance_that_would_take_too_much_is_ended_before_it_does() {
    for guest in EDGES {
        let serve = Serve::start(guest, &[&GUEST_MEMORY[..], &["--memory", "1GiB"]].concat());
        shed(&Ask::get("/alloc/48").send(serve.address));
        shed(&Ask::get("/alloc").send(serve.address));
        assert_eq!(Ask::get("/alloc/16").send(serve.address).status, 200, "{guest}");
        serve.stop();
    }
}

#[test]
fn an_instance_that_grew_is_kept_only_within_what_kept_ones_may_hold() {
    for guest in EDGES {
        for (guest_memory, kept) in [("64MiB", "1\n"), ("1GiB", "2\n")] {
            let options = ["--threads", "1", "--reuse", "1000", "--reuse-concurrency", "1"];
            let memory = ["--concurrency", "1", "--guest-memory", guest_memory];
            let serve = Serve::start(guest, &[&options[..], &memory].concat());
            Ask::get("/state").send(serve.address).expect(200, "1\n");
            assert_eq!(Ask::get("/alloc/20").send(serve.address).status, 200);
            Ask::get("/state").send(serve.address).expect(200, kept);
            serve.stop();
        }
    }
}

/// A process with few addresses has no room for a pool. What is mapped for each instance then takes four GiB of them.
#[test]
fn where_addresses_are_few_instances_are_mapped_one_by_one_and_what_has_no_room_is_shed() {
    const ASKED: usize = 16;
    for guest in EDGES {
        let upstream = Upstream::start();
        let [flag, grant] = upstream.grant();
        let mut command = Command::new("sh");
        command
            .args(["-c", "ulimit -v 16777216 && exec \"$@\"", "sh"])
            .args([env!("CARGO_BIN_EXE_fermion"), "--json", "serve"])
            .arg(guest_file(guest))
            .args(["--listen", "127.0.0.1:0", "--threads", "2", &flag, &grant])
            .env("FERMION_CACHE", cache());
        let process = Process::of(command);
        let ready = process.stdout.wait_for(|line| line.contains("\"serving\""));
        let ready = ready.unwrap_or_else(|| panic!("{}", process.stderr.text()));
        let ready: serde_json::Value = serde_json::from_str(&ready).unwrap();
        assert_eq!(ready["allocation"], "on-demand", "{ready}");
        let address = ready["address"].as_str().unwrap().parse().unwrap();
        let hold = upstream.via("/fetch", "/hold");
        let (told, hears) = mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..ASKED {
                let (told, hold) = (told.clone(), &hold);
                scope.spawn(move || told.send(Ask::get(hold).send(address)));
            }
            // Nobody is answered by the upstream yet: who is answered was refused.
            shed(&hears.recv().unwrap());
            upstream.wait_held(1);
            upstream.release();
            for answer in hears.iter().take(ASKED - 1) {
                if answer.status == 503 {
                    shed(&answer);
                } else {
                    answer.expect(200, "200 held\n");
                }
            }
        });
        Ask::get("/hello").send(address).expect(200, "Hello, world!\n");
        process.stop();
    }
}
