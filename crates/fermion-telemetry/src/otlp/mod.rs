//! Export by OTLP: what leaves the node for a collector. Requests hand over their records and never wait; what is worth
//! sending is encoded behind them, put into the disk buffer, and sent from there by one sender. Without a receiver none of
//! this exists.

mod deliver;
mod encode;
mod export;
mod exposition;
mod grpc;
mod http;
mod meters;
mod receiver;
mod sampler;
mod sender;

pub use encode::Identity;
pub use export::{Export, ExportConfig, Exporter};
pub use exposition::ExportReading;
pub(crate) use exposition::Exports;
pub use receiver::Receiver;
pub(crate) use sampler::{Budget, Sampler, second};
pub use sampler::{Reason, TraceConfig, TraceReading};
