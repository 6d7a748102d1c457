//! OTLP over gRPC: one call a batch. What lies in the buffer is the encoded request already, so it is passed on as bytes.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use http::uri::PathAndQuery;
use prost::Message;
use tonic::client::Grpc as Client;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Extensions, Request, Status};

use super::deliver::{DELIVER_MAX, Deliver, Outcome, rejected};
use super::receiver::Receiver;
use crate::buffer::Batch;
use crate::limits::RECEIVER_ANSWER_BYTES_MAX;
use crate::{Error, Signal};

/// A receiver and the channel to it, which connects when it is used.
pub(crate) struct Grpc {
    client: Client<Channel>,
    metadata: MetadataMap,
}

impl Grpc {
    /// Must be called within a runtime.
    pub(crate) fn new(receiver: &Receiver) -> Result<Self, Error> {
        let scheme = if receiver.is_secure { "https" } else { "http" };
        let refuse = |error: tonic::transport::Error| Error::Receiver {
            given: receiver.authority(),
            why: error.to_string(),
        };
        let address = format!("{scheme}://{}", receiver.authority());
        let mut endpoint = Endpoint::from_shared(address).map_err(refuse)?;
        if receiver.is_secure {
            let tls = ClientTlsConfig::new().with_webpki_roots();
            endpoint = endpoint.tls_config(tls).map_err(refuse)?;
        }
        let channel = endpoint
            .timeout(DELIVER_MAX)
            .connect_timeout(DELIVER_MAX)
            .connect_lazy();
        Ok(Self {
            client: Client::new(channel).max_decoding_message_size(RECEIVER_ANSWER_BYTES_MAX),
            metadata: MetadataMap::from_headers(receiver.headers.clone()),
        })
    }

    async fn call(&mut self, batch: &Batch) -> Result<Bytes, Status> {
        let ready = self.client.ready().await;
        ready.map_err(|error| Status::unavailable(error.to_string()))?;
        let request = Request::from_parts(self.metadata.clone(), Extensions::new(), batch.payload.clone());
        let path = PathAndQuery::from_static(path(batch.signal));
        Ok(self.client.unary(request, path, AsIs).await?.into_inner())
    }
}

fn path(signal: Signal) -> &'static str {
    match signal {
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    }
}

impl Deliver for Grpc {
    async fn deliver(&mut self, batch: &Batch) -> Outcome {
        match tokio::time::timeout(DELIVER_MAX, self.call(batch)).await {
            Ok(Ok(answer)) => Outcome::Taken {
                rejected: rejected(&answer),
            },
            Ok(Err(status)) => judge(&status),
            Err(_) => Outcome::failed("it takes too long"),
        }
    }
}

/// As over HTTP: final is what speaks of the batch.
fn judge(status: &Status) -> Outcome {
    let after = retry_delay(status.details());
    let why = format!("it answers {:?}: {}", status.code(), status.message());
    match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unknown
        | Code::Unauthenticated
        | Code::PermissionDenied
        | Code::Unimplemented => Outcome::Later { after, why },
        // It means both "too much at once" and "too large"; the receiver says when it is the first.
        Code::ResourceExhausted if after.is_some() => Outcome::Later { after, why },
        _ => Outcome::Refused { why },
    }
}

/// `google.rpc.Status` as far as it matters here: messages of any kind.
#[derive(Clone, PartialEq, Message)]
struct Details {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

fn retry_delay(details: &[u8]) -> Option<Duration> {
    let details = Details::decode(details).ok()?.details;
    let info = details
        .iter()
        .find(|any| any.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(info.value.as_slice()).ok()?.retry_delay?;
    let (seconds, nanos) = (
        u64::try_from(delay.seconds).ok()?,
        u32::try_from(delay.nanos).ok()?,
    );
    Some(Duration::new(seconds, nanos.min(999_999_999)))
}

/// Messages that are bytes already.
struct AsIs;

impl Codec for AsIs {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for AsIs {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for AsIs {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = bytes.remaining();
        Ok(Some(bytes.copy_to_bytes(length)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_that_is_busy_says_for_how_long() {
        let info = RetryInfo {
            retry_delay: Some(Delay {
                seconds: 3,
                nanos: 500_000_000,
            }),
        };
        let any = Any {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
            value: info.encode_to_vec(),
        };
        let details = Details { details: vec![any] }.encode_to_vec();
        let busy = Status::with_details(Code::ResourceExhausted, "busy", details.into());
        let Outcome::Later { after, .. } = judge(&busy) else {
            panic!("it is to be asked again")
        };
        assert_eq!(after, Some(Duration::from_millis(3_500)));
        let too_large = Status::new(Code::ResourceExhausted, "too large");
        assert!(matches!(judge(&too_large), Outcome::Refused { .. }));
        assert!(matches!(
            judge(&Status::invalid_argument("no")),
            Outcome::Refused { .. }
        ));
        assert!(matches!(
            judge(&Status::unavailable("no")),
            Outcome::Later { after: None, .. }
        ));
    }
}
