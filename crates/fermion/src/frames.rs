//! Sends what this node's requests were like to the control plane, once a second, also when there were none: an empty
//! frame says that the node is there and had nothing to do, which no frame does not.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fermion_bus::Bus;
use fermion_model::frame::{FRAME_SCHEMA, Frame, frame_subject};
use fermion_telemetry::limits::{FRAME_SERIES_MAX, FRAME_UPSTREAMS_MAX};
use fermion_telemetry::{Clock as _, Frames};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::health::Health;
use crate::sink::WallClock;

/// How often: what a rollout that goes wrong may cost before anybody hears of it.
const FRAME_EVERY: Duration = Duration::from_secs(1);

/// Sends frames of one life of one node.
pub(crate) struct FrameSender {
    bus: Bus,
    requests: Arc<Frames>,
    node: String,
    incarnation: u64,
    sequence: u64,
    from: u64,
    health: Health,
}

impl FrameSender {
    pub(crate) fn new(bus: Bus, requests: Arc<Frames>, node: &str, incarnation: u64, health: Health) -> Self {
        Self {
            bus,
            requests,
            node: node.to_owned(),
            incarnation,
            sequence: 0,
            from: milliseconds_now(),
            health,
        }
    }

    /// Sends until `shutdown`, and once more then.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let mut tick = interval(FRAME_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut began, mut elapsed) = (None, Duration::ZERO);
        while let Some(now) = shutdown.run_until_cancelled(tick.tick()).await {
            elapsed = now.saturating_duration_since(*began.get_or_insert(now));
            self.send(elapsed);
        }
        self.send(elapsed);
    }

    /// `elapsed` is the time since the first frame, which no clock can set back.
    fn send(&mut self, elapsed: Duration) {
        let taken = self.requests.take(elapsed);
        // A clock that was set back gives an interval without length instead of a negative one.
        let until = milliseconds_now();
        let frame = Frame {
            schema: FRAME_SCHEMA,
            node: self.node.clone(),
            region: String::new(),
            incarnation: self.incarnation,
            sequence: self.sequence,
            from: self.from.min(until),
            until,
            series: taken.series,
            unlisted: taken.unlisted,
            upstreams: self.health.telemetry().take_upstreams(FRAME_UPSTREAMS_MAX),
            instances: self.health.telemetry().instances(FRAME_SERIES_MAX),
            health: Some(self.health.read(elapsed)),
        };
        self.sequence += 1;
        self.from = until;
        match serde_json::to_vec(&frame) {
            Ok(bytes) => self.bus.send(&frame_subject(&self.node), bytes),
            Err(error) => tracing::error!(%error, "a frame of requests cannot be written"),
        }
    }
}

fn milliseconds_now() -> u64 {
    let since = WallClock.now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
