//! Figures in words.

use std::time::Duration;

use fermion_model::frame::FrameSeries;

use super::Signals;

/// All requests of the window in one sentence.
pub fn summary(signals: &Signals) -> String {
    let whole = whole(signals);
    let window = time(signals.window);
    let serving = match (signals.serving, signals.active) {
        (Some(release), _) => format!("r{release} serves"),
        (None, _) => "nothing serves".to_owned(),
    };
    if whole.requests == 0 {
        return format!("{serving}; no requests in the last {window}");
    }
    let quantile = |q: f64| {
        let seconds = whole.duration.quantile(q).unwrap_or_default();
        millis(Duration::from_secs_f64(seconds.clamp(0.0, 1e6)))
    };
    let failed = match whole.failures() {
        0 => "none failed".to_owned(),
        failed => format!("{failed} failed ({})", share(failed, whole.requests)),
    };
    format!(
        "{serving}; {} requests in the last {window}, {failed}; half within {}, 99 of 100 within {}",
        whole.requests,
        quantile(0.5),
        quantile(0.99),
    )
}

/// Every release's requests together.
pub(super) fn whole(signals: &Signals) -> FrameSeries {
    let mut whole = FrameSeries::default();
    for series in &signals.traffic {
        whole.merge(series);
    }
    whole
}

/// Where the time of requests goes: `upstream 92 %, its own work 7 %, queue 1 %`.
pub(super) fn split(series: &FrameSeries) -> String {
    let total = series.total_nanos.max(1);
    let own = total
        .saturating_sub(series.queue_nanos)
        .saturating_sub(series.instantiate_nanos)
        .saturating_sub(series.upstream_nanos);
    let mut parts = [
        ("waiting for upstreams", series.upstream_nanos),
        ("waiting for its turn", series.queue_nanos),
        ("waiting for an instance", series.instantiate_nanos),
        ("its own work and the way to the caller", own),
    ];
    parts.sort_by_key(|(_, nanos)| std::cmp::Reverse(*nanos));
    let shown = parts.iter().filter(|(_, nanos)| *nanos > 0);
    let shown: Vec<_> = shown
        .map(|(name, nanos)| format!("{} {name}", share(*nanos, total)))
        .collect();
    format!("of the time of all requests: {}", shown.join(", "))
}

/// `4.2 %`.
pub(super) fn share(part: u64, of: u64) -> String {
    let percent = part as f64 * 100.0 / of.max(1) as f64;
    if percent >= 10.0 || percent == 0.0 {
        format!("{percent:.0} %")
    } else {
        format!("{percent:.1} %")
    }
}

/// `12 ms`, `1.5 s`.
pub(super) fn millis(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1e3;
    match millis {
        1_000.0.. => format!("{:.1} s", millis / 1e3),
        10.0.. => format!("{millis:.0} ms"),
        _ => format!("{millis:.1} ms"),
    }
}

/// The mean of so many nanoseconds over so many events.
pub(super) fn mean(nanos: u64, count: u64) -> Duration {
    Duration::from_nanos(nanos / count.max(1))
}

/// `40 s`, `5 min`, `3 h`, `2 d`.
pub(super) fn time(seconds: u64) -> String {
    for (unit, name) in [(86_400, "d"), (3_600, "h"), (60, "min")] {
        if seconds >= 2 * unit || seconds == unit {
            return format!("{} {name}", seconds / unit);
        }
    }
    format!("{seconds} s")
}

/// `3.2 GiB`.
pub(super) fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1_024.0 {
            return match unit {
                "B" => format!("{value:.0} B"),
                _ => format!("{value:.1} {unit}"),
            };
        }
        value /= 1_024.0;
    }
    format!("{value:.1} TiB")
}
