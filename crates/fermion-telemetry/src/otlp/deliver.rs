//! What a receiver may say to a batch, whichever way it went there.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;

use crate::buffer::Batch;

/// How long one attempt may take.
pub(super) const DELIVER_MAX: Duration = Duration::from_secs(10);

/// What became of one attempt.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The receiver has it, but for so many items.
    Taken {
        /// Items that it refused.
        rejected: u64,
    },
    /// Not now: the receiver is away, busy, or does not let us in.
    Later {
        /// When it wants to be asked again, if it said so.
        after: Option<Duration>,
        /// For the log.
        why: String,
    },
    /// Never: the batch itself is refused.
    Refused {
        /// For the log.
        why: String,
    },
}

impl Outcome {
    /// An attempt that came to nothing.
    pub(super) fn failed(why: impl std::fmt::Display) -> Self {
        Self::Later {
            after: None,
            why: why.to_string(),
        }
    }
}

/// A way to the receiver.
pub(crate) trait Deliver: Send {
    /// Tries once.
    fn deliver(&mut self, batch: &Batch) -> impl Future<Output = Outcome> + Send;
}

/// How many items the receiver refused of a batch that it took. The answers of all three signals are encoded alike.
pub(super) fn rejected(answer: &[u8]) -> u64 {
    let Ok(answer) = ExportTraceServiceResponse::decode(answer) else {
        return 0;
    };
    let Some(partial) = answer.partial_success else {
        return 0;
    };
    if !partial.error_message.is_empty() {
        tracing::warn!(
            says = partial.error_message,
            "the receiver of telemetry has something to say"
        );
    }
    u64::try_from(partial.rejected_spans).unwrap_or(0)
}
