//! Opens the export of telemetry where the command line asks for one, and says who sends.

use std::sync::Arc;

use anyhow::{Context, Result};
use fermion_telemetry::{Export, ExportConfig, Exporter, Identity, LogHub, Receiver};
use tokio_util::sync::CancellationToken;

use crate::cli::ExportArgs;
use crate::data::DataDirectory;
use crate::sink::WallClock;
use crate::wiring::LOCAL_NODE;

/// The export with what feeds it; nothing where no receiver is given.
pub(crate) struct Exporting(Option<Exporter>);

/// Opens the buffer; the first half is for whoever has the requests.
pub(crate) fn open(arguments: &ExportArgs, data: &DataDirectory) -> Result<(Option<Arc<Export>>, Exporting)> {
    let Some(url) = &arguments.otlp else {
        return Ok((None, Exporting(None)));
    };
    let headers = arguments.otlp_header.iter().map(|header| {
        let value = match header.value.strip_prefix('@') {
            Some(file) => std::fs::read_to_string(file)
                .map(|text| text.trim_end().to_owned())
                .with_context(|| format!("cannot read the value of the header {}", header.name))?,
            None => header.value.clone(),
        };
        anyhow::Ok((header.name.clone(), value))
    });
    let config = ExportConfig {
        receiver: Receiver::parse(url, &headers.collect::<Result<Vec<_>>>()?)?,
        identity: Identity {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: LOCAL_NODE.to_owned(),
            host: host(),
            instance: instance()?,
        },
        buffer: data.telemetry(),
        buffer_bytes_max: arguments.telemetry_buffer,
        every: arguments.telemetry_interval,
        traces: arguments.traces(),
    };
    let (export, exporter) = Exporter::open(config, Arc::new(WallClock))?;
    Ok((Some(export), Exporting(Some(exporter))))
}

impl Exporting {
    /// Exports what requests and guests say until `stop`.
    pub(crate) async fn run(self, logs: &LogHub, stop: CancellationToken) -> Result<()> {
        match self.0 {
            Some(exporter) => Ok(exporter.run(logs.follow_to_export(), stop).await?),
            None => Ok(()),
        }
    }
}

/// The machine's name, where the system says it.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// A random UUID (RFC 9562, version 4): who this process is.
fn instance() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let number = u128::from_be_bytes(bytes);
    let text = format!("{number:032x}");
    let parts = [
        &text[..8],
        &text[8..12],
        &text[12..16],
        &text[16..20],
        &text[20..],
    ];
    Ok(parts.join("-"))
}
