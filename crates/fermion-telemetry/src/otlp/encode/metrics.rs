//! Metrics, as deltas between two exports.

use std::time::SystemTime;

use fermion_model::Fault;
use fermion_model::record::Served;
use fermion_model::sketch::{self, Sketch};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, exemplar, number_data_point,
};

use super::{Identity, Owner, SCHEMA_URL, batch, divide, nanos, owner, release, text, truth};
use crate::Signal;
use crate::buffer::Batch;
use crate::otlp::meters::{Example, Kind, Measured, Taken};

/// From when to when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Interval {
    pub(crate) from: SystemTime,
    pub(crate) until: SystemTime,
}

/// A metric without its points.
struct About {
    name: &'static str,
    unit: &'static str,
    description: &'static str,
}

const DURATION: About = About {
    name: "http.server.request.duration",
    unit: "s",
    description: "From the request's head to the end of the answer",
};
const COLD_STARTS: About = About {
    name: "faas.coldstarts",
    unit: "{coldstart}",
    description: "Instances made while a request waited",
};
const INIT_DURATION: About = About {
    name: "faas.init_duration",
    unit: "s",
    description: "Making an instance while a request waited",
};
const INVOKE_DURATION: About = About {
    name: "faas.invoke_duration",
    unit: "s",
    description: "From the guest's start to the end of its answer",
};
const CPU_USAGE: About = About {
    name: "faas.cpu_usage",
    unit: "s",
    description: "CPU time of the guest",
};
const QUEUE_DURATION: About = About {
    name: "fermion.request.queue_duration",
    unit: "s",
    description: "Waiting for a permit and a turn",
};
const FIRST_BYTE: About = About {
    name: "fermion.request.first_byte",
    unit: "s",
    description: "From the request's head to the answer's head",
};
const REJECTIONS: About = About {
    name: "fermion.request.rejections",
    unit: "{request}",
    description: "Answers that the platform gave or cut in a guest's stead, by code",
};

/// What one export sends.
pub(crate) fn batches(identity: &Identity, interval: Interval, taken: Taken) -> Vec<Batch> {
    let mut metrics: Vec<(Owner, Metric)> = Vec::new();
    for (served, measured) in &taken.releases {
        let of_release = of_release(interval, served, measured);
        metrics.extend(of_release.into_iter().map(|metric| (owner(served), metric)));
    }
    let unrouted: Vec<_> = taken
        .unrouted
        .iter()
        .map(|(fault, count)| number(interval, vec![code(*fault)], *count))
        .collect();
    if !unrouted.is_empty() {
        metrics.push((None, sum(&REJECTIONS, unrouted)));
    }
    divide(metrics)
        .into_iter()
        .map(|grouped| {
            let points = grouped.iter().flat_map(|(_, metrics)| metrics).map(points).sum();
            let resource_metrics = grouped
                .into_iter()
                .map(|(owner, metrics)| ResourceMetrics {
                    resource: Some(identity.resource(&owner)),
                    scope_metrics: vec![ScopeMetrics {
                        scope: Some(identity.scope()),
                        metrics,
                        schema_url: SCHEMA_URL.to_owned(),
                    }],
                    schema_url: SCHEMA_URL.to_owned(),
                })
                .collect();
            batch(
                Signal::Metrics,
                points,
                &ExportMetricsServiceRequest { resource_metrics },
            )
        })
        .collect()
}

fn of_release(interval: Interval, served: &Served, measured: &Measured) -> Vec<Metric> {
    let phases = &measured.phases;
    let mut kinds: Vec<_> = measured.kinds.iter().collect();
    kinds.sort_by_key(|(kind, _)| **kind);
    let durations = kinds.iter().map(|(kind, requests)| {
        let point = histogram_point(interval, kind_attributes(served, **kind), &requests.duration);
        ExponentialHistogramDataPoint {
            exemplars: requests.example.iter().map(exemplar).collect(),
            ..point
        }
    });
    let mut metrics = vec![histogram(&DURATION, durations.collect())];
    let each = [
        (&QUEUE_DURATION, &phases.queue),
        (&FIRST_BYTE, &phases.first_byte),
        (&INIT_DURATION, &phases.init),
        (&INVOKE_DURATION, &phases.invoke),
        (&CPU_USAGE, &phases.cpu),
    ];
    for (about, sketch) in each.into_iter().filter(|(_, sketch)| sketch.count() > 0) {
        let mut attributes = vec![release(served)];
        if about.name.starts_with("faas.") {
            attributes.push(text("faas.trigger", "http"));
        }
        metrics.push(histogram(
            about,
            vec![histogram_point(interval, attributes, sketch)],
        ));
    }
    let cold = phases.init.count();
    if cold > 0 {
        let attributes = vec![release(served), text("faas.trigger", "http")];
        metrics.push(sum(&COLD_STARTS, vec![number(interval, attributes, cold)]));
    }
    let faults = Fault::ALL
        .iter()
        .zip(phases.faults)
        .filter(|(_, count)| *count > 0);
    let rejections: Vec<_> = faults
        .map(|(fault, count)| number(interval, vec![release(served), code(*fault)], count))
        .collect();
    if !rejections.is_empty() {
        metrics.push(sum(&REJECTIONS, rejections));
    }
    metrics
}

fn kind_attributes(served: &Served, kind: Kind) -> Vec<KeyValue> {
    vec![
        text("http.request.method", kind.method()),
        text("url.scheme", "http"),
        release(served),
        text("fermion.status_class", kind.class()),
        text("fermion.blame", kind.blame()),
        truth("faas.coldstart", kind.is_cold),
    ]
}

fn code(fault: Fault) -> KeyValue {
    text("fermion.fault", fault.code())
}

fn points(metric: &Metric) -> usize {
    match &metric.data {
        Some(Data::Sum(sum)) => sum.data_points.len(),
        Some(Data::ExponentialHistogram(histogram)) => histogram.data_points.len(),
        _ => 0,
    }
}

fn metric(about: &About, data: Data) -> Metric {
    Metric {
        name: about.name.to_owned(),
        unit: about.unit.to_owned(),
        description: about.description.to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

fn sum(about: &About, data_points: Vec<NumberDataPoint>) -> Metric {
    let sum = Sum {
        data_points,
        aggregation_temporality: AggregationTemporality::Delta.into(),
        is_monotonic: true,
    };
    metric(about, Data::Sum(sum))
}

fn histogram(about: &About, data_points: Vec<ExponentialHistogramDataPoint>) -> Metric {
    let histogram = ExponentialHistogram {
        data_points,
        aggregation_temporality: AggregationTemporality::Delta.into(),
    };
    metric(about, Data::ExponentialHistogram(histogram))
}

fn number(interval: Interval, attributes: Vec<KeyValue>, value: u64) -> NumberDataPoint {
    NumberDataPoint {
        attributes,
        start_time_unix_nano: nanos(interval.from),
        time_unix_nano: nanos(interval.until),
        value: Some(number_data_point::Value::AsInt(
            i64::try_from(value).unwrap_or(i64::MAX),
        )),
        ..NumberDataPoint::default()
    }
}

/// The sketch's buckets are those of the message: index `i` holds the values in `(2^(i/32), 2^((i+1)/32)]` in both.
fn histogram_point(
    interval: Interval,
    attributes: Vec<KeyValue>,
    sketch: &Sketch,
) -> ExponentialHistogramDataPoint {
    let filled = || sketch.buckets.iter().filter(|(_, times)| **times > 0);
    let ends = filled().next().zip(filled().next_back());
    let positive = ends.map(|((first, _), (last, _))| {
        let (first, last) = (i32::from(*first), i32::from(*last));
        let mut bucket_counts = vec![0; usize::try_from(last - first + 1).unwrap_or(0)];
        for (index, times) in filled() {
            if let Some(count) = usize::try_from(i32::from(*index) - first)
                .ok()
                .and_then(|place| bucket_counts.get_mut(place))
            {
                *count = *times;
            }
        }
        Buckets {
            offset: first,
            bucket_counts,
        }
    });
    ExponentialHistogramDataPoint {
        attributes,
        start_time_unix_nano: nanos(interval.from),
        time_unix_nano: nanos(interval.until),
        count: sketch.count(),
        sum: Some(sketch.sum),
        scale: i32::from(sketch::SCALE),
        zero_count: sketch.zeros,
        positive,
        ..ExponentialHistogramDataPoint::default()
    }
}

fn exemplar(example: &Example) -> Exemplar {
    Exemplar {
        time_unix_nano: nanos(example.time),
        span_id: example.span_id.to_vec(),
        trace_id: example.trace_id.to_vec(),
        value: Some(exemplar::Value::AsDouble(example.seconds)),
        ..Exemplar::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn a_sketch_becomes_a_histogram_bucket_by_bucket() {
        let mut sketch = Sketch::default();
        for (value, times) in [(0.0, 2), (0.001, 5), (0.5, 1), (3.0, 4)] {
            sketch.add(value, times);
        }
        // A bucket of an earlier interval, set back to zero.
        sketch.buckets.insert(-700, 0);
        let interval = Interval {
            from: UNIX_EPOCH,
            until: UNIX_EPOCH,
        };
        let point = histogram_point(interval, Vec::new(), &sketch);
        assert_eq!((point.count, point.zero_count, point.scale), (12, 2, 5));
        let positive = point.positive.unwrap();
        assert_eq!(positive.offset, i32::from(sketch::index(0.001).unwrap()));
        for (value, times) in [(0.001, 5), (0.5, 1), (3.0, 4)] {
            let place = i32::from(sketch::index(value).unwrap()) - positive.offset;
            assert_eq!(positive.bucket_counts[usize::try_from(place).unwrap()], times);
        }
        assert_eq!(positive.bucket_counts.iter().sum::<u64>(), 10);
        assert_eq!(
            histogram_point(interval, Vec::new(), &Sketch::default()).positive,
            None
        );
    }
}
