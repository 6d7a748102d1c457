//! The metric of an experiment: read off a field of answers, once for each caller who is part of it.

use std::sync::Arc;

use fermion_model::rollout::{MetricKind, MetricSpec};
use http::header::{HeaderMap, HeaderName};

use super::conditions::header_name;
use super::trial::Trial;
use crate::limits::METRIC_VALUE_MAX;

/// What is read, and where it is remembered who has been counted.
#[derive(Debug)]
pub(crate) struct Metric {
    name: HeaderName,
    kind: MetricKind,
    is_stripped: bool,
    trial: Arc<Trial>,
}

impl Metric {
    pub(super) fn new(spec: &MetricSpec, trial: &Arc<Trial>) -> Result<Self, &'static str> {
        Ok(Self {
            name: header_name(&spec.header)?,
            kind: spec.kind,
            is_stripped: spec.strip,
            trial: Arc::clone(trial),
        })
    }

    /// What an answer to this caller adds; none if it says nothing, or the caller is counted already.
    pub(crate) fn read(&self, headers: &mut HeaderMap, caller: u64, is_counted: bool) -> Option<f64> {
        let value = headers.get(&self.name).and_then(|value| {
            let value: f64 = value.to_str().ok()?.trim().parse().ok()?;
            (value.abs() <= METRIC_VALUE_MAX).then_some(value)
        });
        if self.is_stripped {
            headers.remove(&self.name);
        }
        let value = match self.kind {
            MetricKind::Conversion => value.filter(|&value| value != 0.0).map(|_| 1.0),
            MetricKind::Value => value,
        };
        value.filter(|_| is_counted && self.trial.is_first(caller))
    }
}
