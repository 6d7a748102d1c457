//! Telemetry from outside: records and bytes in, text and lines out.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod access_log;
mod buffer;
mod export;
mod guest_log;
mod intake;
mod metrics;
mod reference;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fermion_model::frame::Arm;
use fermion_model::record::{RequestRecord, Served};
use fermion_telemetry::{AccessLog, BuildInfo, Clock, Counters, Intake, Telemetry};

/// 2026-11-21T00:00:00Z, always.
fn clock() -> Arc<dyn Clock> {
    Arc::new(|| -> SystemTime { UNIX_EPOCH + Duration::from_secs(1_795_219_200) })
}

fn telemetry() -> Arc<Telemetry> {
    Arc::new(Telemetry::new(BuildInfo {
        version: "1",
        commit: "",
    }))
}

/// Requests that come in here are only counted and logged.
fn intake(log: AccessLog) -> Intake {
    Intake::new(telemetry(), Counters::default(), log, clock())
}

fn served(app: &str, release: u32) -> Arc<Served> {
    Arc::new(Served {
        namespace: "shop".to_owned(),
        app: app.to_owned(),
        release,
    })
}

fn record(served: Option<&Arc<Served>>) -> RequestRecord {
    RequestRecord {
        served: served.cloned(),
        trace_id: [0xab; 16],
        span_id: [0xcd; 8],
        parent_id: None,
        is_sampled: false,
        method: http::Method::GET,
        path: "/tax".to_owned(),
        status: 200,
        fault: None,
        detail: String::new(),
        client_gone: false,
        cold: true,
        queue: Duration::ZERO,
        instantiate: Duration::from_micros(8),
        first_byte: Duration::from_micros(60),
        total: Duration::from_micros(70),
        cpu: Duration::from_millis(250),
        memory_bytes: 1 << 20,
        bytes_in: 3,
        bytes_out: 5,
        calls: Default::default(),
        arm: Arm::Stable,
        caller: 0,
        copied: None,
        metric: None,
    }
}
