//! Signals: an orderly end waits for requests in flight, and no build outlives the command that began it.

use std::fs;
use std::path::Path;
use std::time::Instant;

use rustix::process::{Pid, Signal, test_kill_process};

use crate::platform::{Site, Up};
use crate::support::{Connection, PATIENCE, Process};

const NOTHING: [&str; 0] = [];

#[test]
fn a_request_in_flight_is_finished_before_the_platform_ends() {
    let site = Site::new();
    let mut up = Up::start(&site, &[site.simple("shop", "1.0.0", "p2-edge")]);
    let mut connection = Connection::open(up.gateway);
    connection
        .send("POST /shop/echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n6\r\nbefore\r\n");
    assert_eq!(connection.head().expect("an answer begins").status, 200);
    assert_eq!(connection.chunk(), Some(Some(b"before".to_vec())));
    up.process.signal(Signal::INT);
    // Once new connections are refused, the drain has begun.
    let deadline = Instant::now() + PATIENCE;
    while Connection::try_open(up.gateway).is_ok() {
        assert!(Instant::now() < deadline, "it goes on accepting");
    }
    connection.send("5\r\nafter\r\n0\r\n\r\n");
    assert_eq!(connection.chunk(), Some(Some(b"after".to_vec())));
    assert_eq!(connection.chunk(), Some(None));
    assert_eq!(up.process.wait().code(), Some(0), "{}", up.process.stderr.text());
}

/// A project whose build says who it is and then never ends.
fn endless(site: &Site) -> std::path::PathBuf {
    let project = site.simple("slow", "1.0.0", "p2-hello");
    let manifest = fs::read_to_string(project.join("fermion.toml")).unwrap();
    let endless = manifest.replace("cp $(cat source.txt) app.wasm", "echo pid $$; sleep 100000");
    fs::write(project.join("fermion.toml"), endless).unwrap();
    project
}

/// Waits for the build of an endless project, ends the command by a signal, and expects that the build has ended.
fn ends_with_its_build(mut process: Process) {
    let said = process.stderr.wait_for(|line| line.contains("slow | pid "));
    let said = said.unwrap_or_else(|| panic!("{}", process.stderr.text()));
    let pid = said
        .rsplit(' ')
        .next()
        .and_then(|pid| pid.parse().ok())
        .and_then(Pid::from_raw);
    let build = pid.expect("the build says its pid");
    test_kill_process(build).expect("the build runs");
    process.signal(Signal::INT);
    process.wait();
    assert!(test_kill_process(build).is_err(), "the build has ended");
}

#[test]
fn an_interrupted_command_ends_its_build() {
    let site = Site::new();
    let project = endless(&site);
    let data = site.data();
    let (project, data): (&Path, &Path) = (&project, &data);
    for command in ["build", "pack"] {
        let words = [
            command,
            project.to_str().unwrap(),
            "--data",
            data.to_str().unwrap(),
        ];
        ends_with_its_build(Process::start(words));
    }
    let mut words = Up::arguments(data.to_str().unwrap());
    words.push(project.to_str().unwrap().to_owned());
    ends_with_its_build(Process::start(words));

    let up = Up::start(&site, &NOTHING);
    let admin = up.admin.to_string();
    let words = [
        "deploy",
        project.to_str().unwrap(),
        "--data",
        data.to_str().unwrap(),
        "--admin",
        &admin,
    ];
    ends_with_its_build(Process::start(words));
    up.stop();
}
