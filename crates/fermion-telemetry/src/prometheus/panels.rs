//! What dashboards show: one table for each, of titles and queries.

use Draw::{Bars, Lines, LinesWithTraces, Numbers};

/// How a panel draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Draw {
    /// Lines over time.
    Lines,
    /// Lines over time, with traces that stand for them.
    LinesWithTraces,
    /// One number for each series.
    Numbers,
    /// One bar for each series.
    Bars,
}

/// One panel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panel {
    pub(super) title: &'static str,
    pub(super) draw: Draw,
    /// As Grafana calls units.
    pub(super) unit: &'static str,
    /// Of 24 columns.
    pub(super) width: u8,
    /// PromQL and the legend.
    pub(super) queries: &'static [(&'static str, &'static str)],
}

const fn panel(
    title: &'static str,
    draw: Draw,
    unit: &'static str,
    width: u8,
    queries: &'static [(&'static str, &'static str)],
) -> Panel {
    Panel {
        title,
        draw,
        unit,
        width,
        queries,
    }
}

/// Whether promises are kept, over weeks.
pub(super) const EXECUTIVE: &[Panel] = &[
    panel(
        "Error budget left",
        Bars,
        "percentunit",
        16,
        &[(
            r#"fermion_slo_budget_left_ratio{namespace=~"$namespace",app=~"$app"}"#,
            "{{namespace}}/{{app}} {{objective}}",
        )],
    ),
    panel(
        "Open incidents",
        Numbers,
        "none",
        8,
        &[(
            r#"sum by (severity) (fermion_slo_alert_firing{namespace=~"$namespace",app=~"$app"})"#,
            "{{severity}}",
        )],
    ),
    panel(
        "Error budget left over time",
        Lines,
        "percentunit",
        12,
        &[(
            r#"fermion_slo_budget_left_ratio{namespace=~"$namespace",app=~"$app"}"#,
            "{{namespace}}/{{app}} {{objective}}",
        )],
    ),
    panel(
        "Requests answered well",
        Lines,
        "percentunit",
        12,
        &[(
            r#"1 - sum by (namespace, app) (rate(fermion_requests_total{namespace=~"$namespace",app=~"$app",blame=~"guest|upstream|platform"}[1h])) / sum by (namespace, app) (rate(fermion_requests_total{namespace=~"$namespace",app=~"$app",blame!="client"}[1h]))"#,
            "{{namespace}}/{{app}}",
        )],
    ),
    panel(
        "Requests",
        Lines,
        "reqps",
        12,
        &[(
            r#"sum by (namespace, app) (rate(fermion_requests_total{namespace=~"$namespace",app=~"$app"}[1h]))"#,
            "{{namespace}}/{{app}}",
        )],
    ),
    panel(
        "Deploys and rollouts a day",
        Lines,
        "none",
        12,
        &[
            (
                "sum by (order, outcome) (increase(fermion_deploys_total[1d]))",
                "{{order}} {{outcome}}",
            ),
            (
                "sum by (outcome) (increase(fermion_rollouts_total[1d]))",
                "rollout {{outcome}}",
            ),
        ],
    ),
];

/// What is wrong now, and with whom.
pub(super) const ON_CALL: &[Panel] = &[
    panel(
        "Firing",
        Numbers,
        "none",
        8,
        &[(
            r#"fermion_slo_alert_firing{namespace=~"$namespace",app=~"$app"} > 0 or on () vector(0)"#,
            "{{app}} {{objective}} {{severity}}",
        )],
    ),
    panel(
        "Burn rate",
        Lines,
        "none",
        16,
        &[(
            r#"fermion_slo_burn_rate{namespace=~"$namespace",app=~"$app",window=~"5m|1h"}"#,
            "{{app}} {{objective}} {{window}}",
        )],
    ),
    panel(
        "Requests by outcome",
        Lines,
        "reqps",
        12,
        &[(
            r#"sum by (app, release, status_class) (rate(fermion_requests_total{namespace=~"$namespace",app=~"$app"}[$__rate_interval]))"#,
            "{{app}} {{release}} {{status_class}}",
        )],
    ),
    panel(
        "Failed, by whose fault",
        Lines,
        "percentunit",
        12,
        &[(
            r#"sum by (app, release, blame) (rate(fermion_requests_total{namespace=~"$namespace",app=~"$app",blame!="none"}[$__rate_interval])) / ignoring (blame) group_left sum by (app, release) (rate(fermion_requests_total{namespace=~"$namespace",app=~"$app"}[$__rate_interval]))"#,
            "{{app}} {{release}} {{blame}}",
        )],
    ),
    panel(
        "Time to the end of an answer",
        LinesWithTraces,
        "s",
        12,
        &[
            (
                r#"histogram_quantile(0.5, sum by (app, le) (rate(fermion_request_duration_seconds_bucket{namespace=~"$namespace",app=~"$app",phase="total"}[$__rate_interval])))"#,
                "{{app}} p50",
            ),
            (
                r#"histogram_quantile(0.99, sum by (app, le) (rate(fermion_request_duration_seconds_bucket{namespace=~"$namespace",app=~"$app",phase="total"}[$__rate_interval])))"#,
                "{{app}} p99",
            ),
        ],
    ),
    panel(
        "Faults by code",
        Lines,
        "reqps",
        12,
        &[(
            r#"sum by (app, release, code) (rate(fermion_faults_total{namespace=~"$namespace",app=~"$app"}[$__rate_interval]))"#,
            "{{app}} {{release}} {{code}}",
        )],
    ),
    panel(
        "Instances, and those made while somebody waited",
        Lines,
        "none",
        12,
        &[
            (
                r#"sum by (app) (fermion_instances{namespace=~"$namespace",app=~"$app"})"#,
                "{{app}} in use",
            ),
            (
                r#"sum by (app) (rate(fermion_cold_starts_total{namespace=~"$namespace",app=~"$app"}[$__rate_interval]))"#,
                "{{app}} cold a second",
            ),
        ],
    ),
    panel(
        "Upstreams that fail",
        Lines,
        "reqps",
        12,
        &[(
            r#"sum by (app, upstream, result) (rate(fermion_egress_calls_total{namespace=~"$namespace",app=~"$app",result!="answered"}[$__rate_interval]))"#,
            "{{app}} {{upstream}} {{result}}",
        )],
    ),
    panel(
        "Rollouts on their way",
        Numbers,
        "none",
        8,
        &[("sum(fermion_rollouts_running)", "rollouts")],
    ),
    panel(
        "Requests that reached no app",
        Lines,
        "reqps",
        16,
        &[(
            "sum by (code) (rate(fermion_unrouted_requests_total[$__rate_interval]))",
            "{{code}}",
        )],
    ),
];

/// What the platform itself does.
pub(super) const DEBUG: &[Panel] = &[
    panel(
        "Lag of serving threads",
        Lines,
        "s",
        12,
        &[("fermion_thread_lag_seconds", "{{thread}}")],
    ),
    panel(
        "Requests that wait, and that are refused for it",
        Lines,
        "none",
        12,
        &[
            ("fermion_thread_waiting", "{{thread}} wait"),
            (
                "rate(fermion_thread_shed_total[$__rate_interval])",
                "{{thread}} refused a second",
            ),
        ],
    ),
    panel(
        "Phases of a request, p99",
        Lines,
        "s",
        12,
        &[(
            r#"histogram_quantile(0.99, sum by (phase, le) (rate(fermion_request_duration_seconds_bucket{namespace=~"$namespace",app=~"$app"}[$__rate_interval])))"#,
            "{{phase}}",
        )],
    ),
    panel(
        "CPU of guests",
        Lines,
        "none",
        12,
        &[(
            r#"sum by (app) (rate(fermion_guest_cpu_seconds_total{namespace=~"$namespace",app=~"$app"}[$__rate_interval]))"#,
            "{{app}}",
        )],
    ),
    panel(
        "Memory and caches",
        Lines,
        "bytes",
        12,
        &[
            ("fermion_memory_bytes", "{{kind}}"),
            ("fermion_cache_bytes", "cache {{cache}}"),
        ],
    ),
    panel(
        "Heavy guests, and how apps wake",
        Lines,
        "none",
        12,
        &[
            ("fermion_heavy_guests", "heavy"),
            (
                "rate(fermion_wakes_total[$__rate_interval])",
                "{{outcome}} a second",
            ),
            ("fermion_apps", "{{state}}"),
        ],
    ),
    panel(
        "Calls to upstreams, p99",
        Lines,
        "s",
        12,
        &[(
            r#"histogram_quantile(0.99, sum by (app, upstream, le) (rate(fermion_egress_duration_seconds_bucket{namespace=~"$namespace",app=~"$app"}[$__rate_interval])))"#,
            "{{app}} {{upstream}}",
        )],
    ),
    panel(
        "Key-value stores, p99",
        Lines,
        "s",
        12,
        &[(
            r#"histogram_quantile(0.99, sum by (app, store, le) (rate(fermion_keyvalue_duration_seconds_bucket{namespace=~"$namespace",app=~"$app"}[$__rate_interval])))"#,
            "{{app}} {{store}}",
        )],
    ),
    panel(
        "Refused at the doors",
        Lines,
        "none",
        12,
        &[
            (
                "rate(fermion_refusals_total[$__rate_interval])",
                "{{door}} {{code}}",
            ),
            (
                "rate(fermion_compilations_total[$__rate_interval])",
                "native code {{outcome}}",
            ),
        ],
    ),
    panel(
        "Registry",
        Lines,
        "reqps",
        12,
        &[(
            "sum by (operation, status_class) (rate(fermion_registry_requests_total[$__rate_interval]))",
            "{{operation}} {{status_class}}",
        )],
    ),
    panel(
        "Telemetry that waits or is lost",
        Lines,
        "none",
        12,
        &[
            ("fermion_telemetry_buffer_items", "{{signal}} wait"),
            (
                "rate(fermion_telemetry_dropped_total[$__rate_interval])",
                "{{signal}} lost: {{reason}}",
            ),
            (
                "rate(fermion_dropped_log_lines_total[$__rate_interval])",
                "lines of {{log}} lost",
            ),
        ],
    ),
    panel(
        "Frames, and what has no series of its own",
        Lines,
        "none",
        12,
        &[
            (
                "rate(fermion_frames_total[$__rate_interval])",
                "frames {{outcome}}",
            ),
            (
                "rate(fermion_series_overflow_total[$__rate_interval])",
                "beyond {{of}}",
            ),
        ],
    ),
];
