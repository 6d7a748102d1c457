//! What the platform knows of its requests: metrics, the access log and the guests' own output, all made from records
//! and bytes that others hand in. Measures nothing itself, keeps no clock of its own, never blocks a request, and puts
//! no unbounded id into a label.

mod access_log;
pub mod buffer;
mod clock;
mod control_metrics;
mod doors;
mod error;
mod exposition;
mod format;
mod frames;
mod guest_log;
mod histogram;
mod intake;
mod keyvalue_metrics;
pub mod limits;
mod line_sink;
mod log_hub;
mod metrics;
mod objectives;
pub mod otlp;
mod process;
pub mod prometheus;
mod recorder;
pub mod reference;
mod release_metrics;
mod serving;
mod signal;
mod timestamp;
mod traces;
mod upstreams;

pub use access_log::AccessLog;
pub use clock::Clock;
pub use control_metrics::{ControlMetrics, Deployed, Heard, Order};
pub use doors::{CacheReading, Compilation, Door, Doors, Wake};
pub use error::Error;
pub use format::Format;
pub use frames::{Frames, Taken};
pub use guest_log::GuestLog;
pub use intake::{Counters, Intake};
pub use keyvalue_metrics::{KeyValueMetrics, StoreMetrics, StoreOperation, StoreResult};
pub use line_sink::Destination;
pub use log_hub::{Echo, Follower, Level, LogHub, LogLine, Stream};
pub use metrics::{BuildInfo, Telemetry, Trace};
pub use objectives::{BURN_WINDOWS, ObjectiveReading, Standing};
pub use otlp::{
    Export, ExportConfig, ExportReading, Exporter, Identity, Reason, Receiver, TraceConfig, TraceReading,
};
pub use release_metrics::InstanceReading;
pub use serving::{HeavyReading, Serving, ThreadReading};
pub use signal::{DropReason, Signal};
pub use timestamp::rfc3339;
pub use traces::{KeptTrace, Traces};
pub use upstreams::{CallResult, UpstreamMetrics};
