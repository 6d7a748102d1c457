//! How all apps are at this moment.

use std::collections::BTreeMap;

use fermion_api::{TopApp, TopView};
use fermion_model::frame::FrameSeries;
use fermion_model::health::FrameInstances;

use crate::limits::TOP_WINDOW;
use crate::slo::least_left;
use crate::{Control, Error};

/// What the last seconds' frames said, by `namespace/app`.
#[derive(Debug, Default)]
pub(super) struct Moment {
    pub(super) traffic: BTreeMap<String, FrameSeries>,
    pub(super) instances: BTreeMap<String, FrameInstances>,
}

impl Control {
    /// Every app, the busiest first.
    pub async fn top(&self) -> Result<TopView, Error> {
        let now = self.now();
        let moment = self.shared.why.recent().moment(now);
        let state = self.read_state().await?;
        let (left, telemetry) = least_left(self, &state, now);
        let mut apps = Vec::new();
        for (name, known) in &state.apps {
            let nothing = (FrameSeries::default(), FrameInstances::default());
            let series = moment.traffic.get(name).unwrap_or(&nothing.0);
            let instances = moment.instances.get(name).unwrap_or(&nothing.1);
            let quantile = |q: f64| series.duration.quantile(q).map(|seconds| seconds * 1e3);
            apps.push(TopApp {
                namespace: known.document.namespace.clone(),
                app: known.document.app.clone(),
                serving: state
                    .report(name)
                    .and_then(|report| report.serving)
                    .map(|number| number.0),
                requests: series.requests,
                failures: series.failures(),
                slow_starts: series.slow_starts,
                p50_ms: quantile(0.5),
                p99_ms: quantile(0.99),
                running: instances.running,
                kept: instances.kept,
                budget_left: left.get(name).copied(),
            });
        }
        apps.sort_by_key(|app| std::cmp::Reverse(app.requests));
        Ok(TopView {
            at: now,
            window_seconds: TOP_WINDOW.as_secs(),
            telemetry,
            apps,
        })
    }
}
