//! Options of the export of telemetry: where to, with which headers, and how much of it.

use std::fmt;
use std::time::Duration;

use clap::Args;
use fermion_model::units;
use fermion_telemetry::TraceConfig;
use fermion_telemetry::limits::BUFFER_BYTES_MIN;

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Send metrics, traces and logs to this collector: http:// or https:// for OTLP over HTTP, grpc:// or grpcs:// for
    /// OTLP over gRPC.
    #[arg(long, value_name = "URL")]
    pub(crate) otlp: Option<String>,
    /// A header for the collector; @FILE stands for the text of a file. May be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = header, requires = "otlp")]
    pub(crate) otlp_header: Vec<Header>,
    /// How much telemetry may wait on disk for a collector that is away; the oldest goes first.
    #[arg(long, default_value = "1GiB", value_name = "SIZE", value_parser = buffer_bytes)]
    pub(crate) telemetry_buffer: u64,
    /// How often metrics are sent.
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = interval)]
    pub(crate) telemetry_interval: Duration,
    /// Traces of requests that take longer are kept.
    #[arg(long, default_value = "250ms", value_name = "TIME", value_parser = units::parse_duration)]
    pub(crate) trace_slow: Duration,
    /// Share of the traces of all other requests that is kept, from 0 to 1.
    #[arg(long, default_value = "0.01", value_name = "SHARE", value_parser = share)]
    pub(crate) trace_share: f64,
}

impl ExportArgs {
    /// Which traces are kept.
    pub(crate) fn traces(&self) -> TraceConfig {
        TraceConfig {
            slow: self.trace_slow,
            share: self.trace_share,
        }
    }
}

/// A header whose value is shown nowhere.
#[derive(Clone)]
pub(crate) struct Header {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=...", self.name)
    }
}

/// Says nothing of what was given, which may be a secret.
fn header(text: &str) -> Result<Header, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok(Header {
            name: name.to_owned(),
            value: value.to_owned(),
        }),
        _ => Err("a header is NAME=VALUE".to_owned()),
    }
}

fn buffer_bytes(text: &str) -> Result<u64, String> {
    let bytes = units::parse_bytes(text).map_err(|error| error.to_string())?;
    if bytes < BUFFER_BYTES_MIN {
        return Err(format!(
            "it is at least {}",
            units::format_bytes(BUFFER_BYTES_MIN)
        ));
    }
    Ok(bytes)
}

fn interval(text: &str) -> Result<Duration, String> {
    let time = units::parse_duration(text).map_err(|error| error.to_string())?;
    if time < Duration::from_secs(1) {
        return Err("it is at least 1s".to_owned());
    }
    Ok(time)
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    if !(0.0..=1.0).contains(&share) {
        return Err("a share is a number from 0 to 1, such as 0.01".to_owned());
    }
    Ok(share)
}
