//! Where request records go: metrics always, the access log when it is on.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Result;
use fermion_gateway::{Bound, Record};
use fermion_model::RequestRecord;
use fermion_model::frame::Arm;
use fermion_runtime::Engines;
use fermion_telemetry::{
    AccessLog, BuildInfo, Clock, Destination, Export, Frames, HeavyReading, Telemetry, ThreadReading, Trace,
    Traces,
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
    access: AccessLog,
    /// None where nobody collects frames.
    frames: Option<Arc<Frames>>,
    /// None where nothing is exported.
    export: Option<Arc<Export>>,
    /// False where nobody wants to know of requests.
    is_on: bool,
    /// None where nobody asks for traces.
    traces: Option<Traces>,
}

impl Sink {
    /// `access_log` is `off`, `stdout`, `stderr` or a file.
    pub(crate) fn open(access_log: &str) -> Result<Self> {
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
        let access = AccessLog::open(&destination, Arc::new(WallClock))?;
        telemetry.watch_dropped_lines("access", access.dropped_reader());
        Ok(Self {
            telemetry,
            access,
            frames: None,
            export: None,
            is_on: true,
            traces: None,
        })
    }

    /// Forgets every request at once.
    pub(crate) fn without_requests(self) -> Self {
        Self { is_on: false, ..self }
    }

    /// Gathers frames of requests too.
    pub(crate) fn with_frames(mut self, frames: Arc<Frames>) -> Self {
        let counted = Arc::clone(&frames);
        self.telemetry
            .watch_overflow("frames", move || counted.unlisted());
        self.frames = Some(frames);
        self
    }

    /// Keeps traces of requests too.
    pub(crate) fn with_traces(mut self, traces: Traces) -> Self {
        self.traces = Some(traces);
        self
    }

    /// Exports requests too, where there is a receiver.
    pub(crate) fn with_export(mut self, export: Option<Arc<Export>>) -> Self {
        if let Some(export) = &export {
            let counted = Arc::clone(export);
            self.telemetry
                .watch_overflow("otlp", move || counted.overflowed());
            let export = Arc::clone(export);
            self.telemetry.watch_export(move || export.reading());
        }
        self.export = export;
        self
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

    /// Writes out what is still queued.
    pub(crate) fn close(self) {
        self.access.close();
    }
}

impl Record for Sink {
    fn record(&self, record: RequestRecord) {
        if !self.is_on {
            return;
        }
        // What is counted of an app is what its callers met.
        if record.arm != Arm::Mirror {
            let exported = self.export.as_ref().map(|export| export.observe(&record));
            // Where no trace goes anywhere, the id leads to the logs.
            self.telemetry.observe(&record, exported.unwrap_or(Trace::Found));
        }
        if let Some(frames) = &self.frames {
            frames.observe(&record);
        }
        if let Some(traces) = self.traces.as_ref().filter(|_| record.arm != Arm::Mirror) {
            traces.observe(&record);
        }
        self.access.write(record);
    }

    fn wants_path(&self) -> bool {
        self.is_on && (self.access.is_on() || self.export.is_some() || self.traces.is_some())
    }
}
