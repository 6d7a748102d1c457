//! From what is measured to OTLP messages, split into batches of a size that receivers take.

pub(crate) mod logs;
pub(crate) mod metrics;
pub(crate) mod spans;

use std::time::{SystemTime, UNIX_EPOCH};

use fermion_model::ReleaseNumber;
use fermion_model::record::Served;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use crate::Signal;
use crate::buffer::Batch;
use crate::limits::BATCH_BYTES_TARGET;

/// The semantic conventions that names and attributes follow.
pub(crate) const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.37.0";

/// Who sends.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The binary's version.
    pub version: String,
    /// The node's name.
    pub node: String,
    /// The machine's name; empty if it is not known.
    pub host: String,
    /// Unique to this process.
    pub instance: String,
}

/// The app that something is about; the platform itself without one.
pub(crate) type Owner = Option<(String, String)>;

pub(crate) fn owner(served: &Served) -> Owner {
    Some((served.namespace.clone(), served.app.clone()))
}

impl Identity {
    /// An app is a service in its namespace; the platform is one called `fermion`.
    pub(crate) fn resource(&self, owner: &Owner) -> Resource {
        let mut attributes = match owner {
            Some((namespace, app)) => vec![text("service.name", app), text("service.namespace", namespace)],
            None => vec![
                text("service.name", "fermion"),
                text("service.version", &self.version),
            ],
        };
        attributes.push(text("service.instance.id", &self.instance));
        if !self.host.is_empty() {
            attributes.push(text("host.name", &self.host));
        }
        attributes.push(text("fermion.node", &self.node));
        attributes.push(text("fermion.version", &self.version));
        Resource {
            attributes,
            ..Resource::default()
        }
    }

    pub(crate) fn scope(&self) -> InstrumentationScope {
        InstrumentationScope {
            name: "fermion".to_owned(),
            version: self.version.clone(),
            ..InstrumentationScope::default()
        }
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

pub(crate) fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

pub(crate) fn whole(key: &str, value: u64) -> KeyValue {
    attribute(key, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)))
}

pub(crate) fn truth(key: &str, value: bool) -> KeyValue {
    attribute(key, Value::BoolValue(value))
}

pub(crate) fn real(key: &str, value: f64) -> KeyValue {
    attribute(key, Value::DoubleValue(value))
}

/// `r7`, as everywhere else.
pub(crate) fn release(served: &Served) -> KeyValue {
    text("fermion.release", &ReleaseNumber(served.release).to_string())
}

/// Nanoseconds since the Unix epoch.
pub(crate) fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Entries by owner, which become one batch.
pub(crate) type Grouped<E> = Vec<(Owner, Vec<E>)>;

/// Divides entries, sorted by owner, so that no batch gets much larger than its target.
pub(crate) fn divide<E: Message>(mut entries: Vec<(Owner, E)>) -> Vec<Grouped<E>> {
    entries.sort_by(|left, right| left.0.cmp(&right.0));
    let mut batches = Vec::new();
    let mut batch: Grouped<E> = Vec::new();
    let mut bytes = 0;
    for (owner, entry) in entries {
        let more = entry.encoded_len();
        if bytes > 0 && bytes + more > BATCH_BYTES_TARGET {
            batches.push(std::mem::take(&mut batch));
            bytes = 0;
        }
        bytes += more;
        match batch.last_mut() {
            Some((known, entries)) if *known == owner => entries.push(entry),
            _ => batch.push((owner, vec![entry])),
        }
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

/// An encoded request.
pub(crate) fn batch(signal: Signal, items: usize, request: &impl Message) -> Batch {
    Batch {
        signal,
        items: u32::try_from(items).unwrap_or(u32::MAX),
        payload: request.encode_to_vec().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_stay_near_their_target_and_lose_nothing() {
        let entry = |n: usize| {
            (
                Some(("shop".to_owned(), format!("a{}", n % 3))),
                text("k", &"x".repeat(10_000)),
            )
        };
        let batches = divide((0..300).map(entry).collect());
        let sizes: Vec<usize> = batches
            .iter()
            .map(|batch| {
                batch
                    .iter()
                    .flat_map(|(_, entries)| entries)
                    .map(Message::encoded_len)
                    .sum()
            })
            .collect();
        assert!(
            sizes.len() > 1 && sizes.iter().all(|bytes| *bytes <= BATCH_BYTES_TARGET),
            "{sizes:?}"
        );
        let count: usize = batches.iter().flatten().map(|(_, entries)| entries.len()).sum();
        assert_eq!(count, 300);
        assert!(divide(Vec::<(Owner, KeyValue)>::new()).is_empty());
    }
}
