//! One line a request.

use std::io::{BufRead, BufReader};

use fermion_model::Fault;
use fermion_telemetry::{AccessLog, Destination};

use crate::{intake, record, served};

#[test]
fn a_line_says_everything_and_escapes_what_callers_chose() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let log = AccessLog::open(&Destination::File(file.clone())).unwrap();
    assert!(log.is_on());
    let log = intake(log);
    log.add(record(Some(&served("tax", 7))));
    let mut refused = record(None);
    refused.path = "/\"\n\u{1b}[31m".to_owned();
    (refused.status, refused.fault, refused.detail) = (404, Some(Fault::NoRoute), "why".to_owned());
    log.add(refused);
    log.close();
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let id = "ab".repeat(16);
    assert_eq!(
        lines[0],
        format!(
            "{{\"time\":\"2026-11-21T00:00:00.000000Z\",\"namespace\":\"shop\",\"app\":\"tax\",\"release\":\"r7\",\
             \"method\":\"GET\",\"path\":\"/tax\",\"status\":200,\"client_gone\":false,\"cold\":true,\"queue_us\":0,\
             \"instantiate_us\":8,\"first_byte_us\":60,\"total_us\":70,\"cpu_us\":250000,\"memory_bytes\":1048576,\"bytes_in\":3,\
             \"bytes_out\":5,\"request_id\":\"{id}\",\"trace_id\":\"{id}\",\"span_id\":\"cdcdcdcdcdcdcdcd\"}}"
        )
    );
    assert!(lines[1].contains(r#""path":"/\"\n\u001b[31m""#), "{}", lines[1]);
    assert!(lines[1].contains(r#""fault":"NO_ROUTE","blame":"client","detail":"why""#));
    assert_eq!(lines.len(), 2);
}

#[test]
fn off_costs_nothing_and_a_bad_file_is_named() {
    let off = AccessLog::open(&Destination::Off).unwrap();
    assert!(!off.is_on());
    let dropped = off.dropped_reader();
    let off = intake(off);
    off.add(record(None));
    off.close();
    assert_eq!(dropped(), 0);
    let missing = Destination::File("/nowhere/at/all.log".into());
    let error = AccessLog::open(&missing).unwrap_err().to_string();
    assert!(error.contains("/nowhere/at/all.log"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_counted_and_ends_nothing() {
    let log = AccessLog::open(&Destination::File("/dev/full".into())).unwrap();
    let dropped = log.dropped_reader();
    let log = intake(log);
    for _ in 0..10 {
        log.add(record(None));
    }
    log.close();
    assert_eq!(dropped(), 10);
}

/// A reader that does not read holds nobody up: what waits is bounded, what has no place is counted, and all else arrives.
#[cfg(unix)]
#[test]
fn a_slow_destination_loses_what_it_says_and_nothing_else() {
    const LINES: u64 = 30_000;
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("access.pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let (go, may_go) = std::sync::mpsc::sync_channel::<()>(1);
    let opened = pipe.clone();
    let reader = std::thread::spawn(move || {
        let file = std::fs::File::open(opened).unwrap();
        may_go.recv().unwrap();
        let lines = BufReader::new(file).lines().map(Result::unwrap);
        lines.filter(|line| line.ends_with("\"}")).count() as u64
    });
    let log = AccessLog::open(&Destination::File(pipe)).unwrap();
    let dropped = log.dropped_reader();
    let log = intake(log);
    for _ in 0..LINES {
        log.add(record(Some(&served("tax", 7))));
    }
    let before = dropped();
    assert!(before > 0, "thirty thousand lines have no place in eight");
    go.send(()).unwrap();
    log.close();
    assert_eq!((reader.join().unwrap(), dropped()), (LINES - before, before));
}
