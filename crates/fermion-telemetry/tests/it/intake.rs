//! What came in is counted together, and nobody who reads notices.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fermion_model::Fault;
use fermion_telemetry::limits::INTAKE_RECORDS;
use fermion_telemetry::{
    AccessLog, Counters, Destination, ExportConfig, Exporter, Format, Frames, Identity, Intake, Receiver,
    TraceConfig, Traces,
};

use crate::{clock, record, served, telemetry};

fn requests(text: &str) -> u64 {
    let series = "fermion_requests_total{";
    let counts = text.lines().filter(|line| line.starts_with(series));
    counts
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

fn counted_at_once(count: usize) {
    let folder = tempfile::tempdir().unwrap();
    let address: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let config = ExportConfig {
        receiver: Receiver::parse(&format!("http://{address}"), &[]).unwrap(),
        identity: Identity {
            version: "1".to_owned(),
            node: "n".to_owned(),
            host: "h".to_owned(),
            instance: "i".to_owned(),
        },
        buffer: folder.path().to_owned(),
        buffer_bytes_max: 1 << 24,
        every: Duration::from_secs(3600),
        traces: TraceConfig::default(),
    };
    let (export, _exporter) = Exporter::open(config, clock()).unwrap();
    let (telemetry, frames) = (telemetry(), Arc::new(Frames::default()));
    let traces = Traces::new(&TraceConfig::default());
    let counters = Counters {
        frames: Some(frames.clone()),
        export: Some(export),
        traces: Some(traces.clone()),
    };
    // A minute between two, so that no budget is spent.
    let minutes = std::sync::atomic::AtomicU32::new(0);
    let clock = move || -> SystemTime {
        let minute = minutes.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        UNIX_EPOCH + minute * Duration::from_secs(60)
    };
    let log = AccessLog::open(&Destination::Off).unwrap();
    let intake = Intake::new(telemetry.clone(), counters, log, Arc::new(clock));
    let served = served("tax", 7);
    let fail = || {
        let mut trapped = record(Some(&served));
        (trapped.status, trapped.fault) = (502, Some(Fault::GuestTrap));
        intake.add(trapped);
    };
    (0..count).for_each(|_| fail());
    // Whoever is first has them counted for all.
    let first = traces.recent(None, None, usize::MAX);
    assert_eq!(first.len(), count);
    let newest = UNIX_EPOCH + Duration::from_secs(60) * u32::try_from(count - 1).unwrap();
    assert_eq!(
        first[0].end, newest,
        "as of when it ended, not of when it was counted"
    );
    assert_eq!(frames.take(Duration::ZERO).series[0].requests, count as u64);
    assert_eq!(requests(&telemetry.render(Format::OpenMetrics)), count as u64);
    fail();
    assert_eq!(frames.take(Duration::ZERO).series[0].requests, 1);
    fail();
    assert_eq!(requests(&telemetry.render(Format::OpenMetrics)), count as u64 + 2);
    assert_eq!(traces.find("ab").iter().flatten().count(), count + 2);
}

#[test]
fn whoever_reads_sees_every_request_that_is_over() {
    for count in [1, INTAKE_RECORDS - 1, INTAKE_RECORDS, INTAKE_RECORDS + 1] {
        counted_at_once(count);
    }
}

/// One request alone is in the log soon, though nobody reads a metric and no other request follows.
#[cfg(unix)]
#[test]
fn a_single_request_is_logged_while_nothing_else_happens() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("access.pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let opened = pipe.clone();
    let (say, said) = std::sync::mpsc::sync_channel::<String>(0);
    let reader = std::thread::spawn(move || {
        let file = std::fs::File::open(opened).unwrap();
        for line in BufReader::new(file).lines() {
            say.send(line.unwrap()).unwrap();
        }
    });
    let intake = crate::intake(AccessLog::open(&Destination::File(pipe)).unwrap());
    for release in 1..=50 {
        intake.add(record(Some(&served("tax", release))));
        let line = said.recv().unwrap();
        assert!(line.contains(&format!(r#""release":"r{release}""#)), "{line}");
    }
    intake.close();
    reader.join().unwrap();
}

#[test]
fn threads_that_come_in_together_lose_nothing() {
    const THREADS: usize = 8;
    const EACH: usize = 10 * INTAKE_RECORDS + 7;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let telemetry = telemetry();
    let log = AccessLog::open(&Destination::File(file.clone())).unwrap();
    let dropped = log.dropped_reader();
    let intake = Intake::new(telemetry.clone(), Counters::default(), log, clock());
    let served = served("tax", 7);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| (0..EACH).for_each(|_| intake.add(record(Some(&served)))));
        }
        scope.spawn(|| {
            let mut before = 0;
            while before < (THREADS * EACH) as u64 {
                let now = requests(&telemetry.render(Format::Text));
                assert!(now >= before, "{now} after {before}");
                before = now;
            }
        });
    });
    intake.close();
    let lines = std::fs::read_to_string(&file).unwrap().lines().count() as u64;
    assert_eq!(lines + dropped(), (THREADS * EACH) as u64);
}
