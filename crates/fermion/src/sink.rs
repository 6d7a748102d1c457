//! Where request records go: metrics always, the access log when it is on.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Result;
use fermion_gateway::{Bound, Record};
use fermion_model::RequestRecord;
use fermion_runtime::Engines;
use fermion_telemetry::{
    AccessLog, BuildInfo, Clock, Counters, Destination, HeavyReading, Intake, Telemetry, ThreadReading,
};

/// The process's wall clock: its one home.
pub(crate) struct WallClock;

impl Clock for WallClock {
    #[expect(clippy::disallowed_methods, reason = "the wall clock's one home")]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// The wall clock in whole seconds since the Unix epoch.
pub(crate) fn seconds_now() -> u64 {
    let since = WallClock.now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Metrics and access log of one process.
pub(crate) struct Sink {
    pub(crate) telemetry: Arc<Telemetry>,
    intake: Intake,
    /// False where nobody wants to know of requests.
    is_on: bool,
}

impl Sink {
    /// `access_log` is `off`, `stdout`, `stderr` or a file. Where nobody `wants` requests, each is forgotten at once.
    pub(crate) fn open(access_log: &str, wants: Option<Counters>) -> Result<Self> {
        let destination = match access_log {
            "off" => Destination::Off,
            "stdout" => Destination::Stdout,
            "stderr" => Destination::Stderr,
            file => Destination::File(PathBuf::from(file)),
        };
        let build = BuildInfo {
            version: env!("CARGO_PKG_VERSION"),
            commit: option_env!("FERMION_COMMIT").unwrap_or(""),
        };
        let telemetry = Arc::new(Telemetry::new(build));
        let access = AccessLog::open(&destination)?;
        telemetry.watch_dropped_lines("access", access.dropped_reader());
        let is_on = wants.is_some();
        let counters = wants.unwrap_or_default();
        if let Some(frames) = counters.frames.clone() {
            telemetry.watch_overflow("frames", move || frames.unlisted());
        }
        if let Some(export) = &counters.export {
            let counted = Arc::clone(export);
            telemetry.watch_overflow("otlp", move || counted.overflowed());
            let export = Arc::clone(export);
            telemetry.watch_export(move || export.reading());
        }
        let intake = Intake::new(telemetry.clone(), counters, access, Arc::new(WallClock));
        Ok(Self {
            telemetry,
            intake,
            is_on,
        })
    }

    /// Reads the serving threads and the heavy guests at each scrape.
    pub(crate) fn watch(&self, gateway: &Bound, engines: &Arc<Engines>) {
        let serving = self.telemetry.serving();
        let threads = gateway.readings();
        serving.watch_threads(move || {
            let readings = threads().into_iter().map(|thread| ThreadReading {
                lag: thread.lag,
                connections: thread.connections,
                waiting: thread.waiting,
                shed: thread.shed,
            });
            readings.collect()
        });
        let engines = Arc::clone(engines);
        serving.watch_heavy(move || {
            let heavy = engines.heavy();
            HeavyReading {
                now: heavy.now,
                moved: heavy.moved,
            }
        });
    }

    /// Counts what waits and writes out what is queued.
    pub(crate) fn close(self) {
        self.intake.close();
    }
}

impl Record for Sink {
    fn record(&self, record: RequestRecord) {
        if self.is_on {
            self.intake.add(record);
        }
    }

    fn wants_path(&self) -> bool {
        self.is_on && self.intake.wants_path()
    }
}
