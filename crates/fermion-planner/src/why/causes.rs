//! Causes that requests show: who fails, who is slow, and what of it is whose.

use std::collections::BTreeMap;

use fermion_model::frame::FrameSeries;
use fermion_model::health::FrameUpstream;

use super::words::{mean, millis, share, split, time, whole};
use super::{Cause, Finding, Grade, LATELY, Signals};

/// Fewer than so many are an accident.
const COUNT_MIN: u64 = 3;
/// A smaller share is not what is wrong with an app now: error budgets watch it.
const SHARE_MIN: f64 = 0.01;
/// An upstream is in trouble if so large a share of calls to it ends badly.
const CALLS_SHARE_MIN: f64 = 0.1;
/// Requests before anything is said of how long they take.
const TIMED_MIN: u64 = 20;
/// Where nothing is promised, a mean of so many nanoseconds is slow.
const SLOW_NANOS: u64 = 250_000_000;
/// Shares of slow starts from which they are a storm; a promise allows one in a hundred.
const SLOW_STARTS_MIN: f64 = 0.05;

/// Results of calls that are failures of the upstream.
const FAILED: [&str; 6] = ["server_error", "connect", "dns", "reset", "protocol", "tls"];
/// Those that are slowness.
const LATE: [&str; 2] = ["timeout", "abandoned"];
/// What follows from either, once there was enough of it.
const REFUSED: [&str; 1] = ["breaker"];

fn ratio(part: u64, of: u64) -> f64 {
    part as f64 / of.max(1) as f64
}

fn matters(count: u64, of: u64) -> bool {
    count >= COUNT_MIN && ratio(count, of) >= SHARE_MIN
}

/// Everything that the requests of the window show.
pub(super) fn of_requests(signals: &Signals) -> Vec<Finding> {
    let whole = whole(signals);
    let fault = |code: &str| whole.faults.get(code).copied().unwrap_or(0);
    let mut findings = Vec::new();
    let upstreams = upstreams(signals, &whole);
    // What upstreams explain of the component's failures is not the component's fault.
    let explained = upstreams.iter().map(|(_, explained)| explained).sum::<u64>();
    findings.extend(upstreams.into_iter().map(|(finding, _)| finding));
    let late = fault("GUEST_TIMEOUT");
    let explained_late = late.min(explained);
    for (cause, code, count) in [
        (Cause::CpuLimit, "GUEST_CPU_LIMIT", fault("GUEST_CPU_LIMIT")),
        (
            Cause::MemoryLimit,
            "GUEST_MEMORY_LIMIT",
            fault("GUEST_MEMORY_LIMIT"),
        ),
        (Cause::TimeLimit, "GUEST_TIMEOUT", late - explained_late),
    ] {
        if matters(count, whole.requests) {
            findings.push(limit(signals, &whole, cause, code, count));
        }
    }
    let limited = fault("GUEST_CPU_LIMIT") + fault("GUEST_MEMORY_LIMIT") + late;
    let others = whole.guest_failures.saturating_sub(limited);
    let rest = others.saturating_sub(explained - explained_late);
    if matters(rest, whole.requests) {
        findings.push(component(signals, &whole, rest));
    }
    findings.extend(platform(&whole, fault("OVERLOADED"), fault("NOT_READY")));
    findings.extend(slowness(signals, &whole, &findings));
    findings
}

/// Rows of the same upstream, whichever release calls it.
fn by_upstream(signals: &Signals) -> Vec<FrameUpstream> {
    let mut rows: BTreeMap<&str, FrameUpstream> = BTreeMap::new();
    // Calls that no rule grants are the component's mistake.
    for row in signals.upstreams.iter().filter(|row| row.upstream != "none") {
        let known = rows.entry(&row.upstream).or_default();
        let open = known.open + row.open;
        known.merge(row);
        known.open = open;
        known.upstream.clone_from(&row.upstream);
    }
    rows.into_values().collect()
}

/// What is wrong with upstreams, with how many of the component's failures that explains.
fn upstreams(signals: &Signals, whole: &FrameSeries) -> Vec<(Finding, u64)> {
    let mut found = Vec::new();
    for row in by_upstream(signals) {
        let (mut failed, mut late, total) = (row.of(&FAILED), row.of(&LATE), row.total());
        let graver = if late > failed { &mut late } else { &mut failed };
        *graver += row.of(&REFUSED);
        let in_trouble = |count: u64| count >= COUNT_MIN && ratio(count, total) >= CALLS_SHARE_MIN;
        let explained = (failed + late).min(whole.guest_failures);
        let hurts = matters(explained, whole.requests);
        let is_slow = is_slow(signals, whole)
            && ratio(whole.upstream_nanos, whole.total_nanos) >= 0.5
            && ratio(row.nanos, whole.upstream_nanos) >= 0.5;
        let grade = if hurts { Grade::Failing } else { Grade::Slow };
        let weight = if hurts {
            ratio(explained, whole.requests)
        } else {
            ratio(failed + late, total)
        };
        let certificate = row.of(&["tls"]);
        let finding = if in_trouble(certificate) && certificate * 2 >= failed {
            refuses_certificate(&row, certificate, grade, weight)
        } else if in_trouble(failed) && failed >= late {
            fails(&row, failed, grade, weight)
        } else if in_trouble(late) || is_slow {
            slow(
                &row,
                late,
                whole,
                grade,
                weight.max(ratio(row.nanos, whole.total_nanos)),
            )
        } else {
            continue;
        };
        let mut finding = finding.because(calls(&row));
        if row.open > 0 {
            finding =
                finding.because("its breaker is open: calls to it are refused for a while, and tried again");
        }
        if !hurts && grade == Grade::Slow && !is_slow {
            finding = finding.because("the component answers its callers nevertheless");
        }
        found.push((
            finding.then("ask who runs it; `fermion trace` shows requests that called it"),
            if hurts { explained } else { 0 },
        ));
    }
    found
}

fn refuses_certificate(row: &FrameUpstream, count: u64, grade: Grade, weight: f64) -> Finding {
    let sentence = format!(
        "{count} of {} calls to {} failed at TLS: its certificate has expired, or is not one that is trusted",
        row.total(),
        row.upstream
    );
    Finding::new(Cause::UpstreamCertificate, grade, weight, sentence)
        .then("look at its certificate: `openssl s_client -connect HOST:PORT`")
}

fn fails(row: &FrameUpstream, failed: u64, grade: Grade, weight: f64) -> Finding {
    let sentence = format!(
        "{failed} of {} calls to {} failed ({})",
        row.total(),
        row.upstream,
        share(failed, row.total())
    );
    Finding::new(Cause::UpstreamFails, grade, weight, sentence)
}

fn slow(row: &FrameUpstream, late: u64, whole: &FrameSeries, grade: Grade, weight: f64) -> Finding {
    let took = millis(mean(row.nanos, row.total()));
    let sentence = if late >= COUNT_MIN {
        format!(
            "{late} of {} calls to {} had no answer in time; a call takes {took} on average",
            row.total(),
            row.upstream
        )
    } else {
        format!(
            "calls to {} take {took} on average, {} of the time of all requests",
            row.upstream,
            share(row.nanos, whole.total_nanos)
        )
    };
    Finding::new(Cause::UpstreamSlow, grade, weight, sentence).because(split(whole))
}

/// `calls: 12 answered, 3 timeout; 2 made again`.
fn calls(row: &FrameUpstream) -> String {
    let mut results: Vec<_> = row.calls.iter().collect();
    results.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let shown: Vec<_> = results
        .iter()
        .map(|(result, count)| format!("{count} {}", result.replace('_', " ")))
        .collect();
    let again = match row.retries {
        0 => String::new(),
        retries => format!("; {retries} made again"),
    };
    format!("calls: {}{again}", shown.join(", "))
}

/// A limit of the package that ends requests.
fn limit(signals: &Signals, whole: &FrameSeries, cause: Cause, code: &str, count: u64) -> Finding {
    let (what, next) = match cause {
        Cause::CpuLimit => (
            "used up their CPU time",
            "find what computes so long, or raise `cpu_time` in [limits] of fermion.toml and deploy again",
        ),
        Cause::MemoryLimit => (
            "needed more memory than the package may have",
            "find what grows, or raise `memory` in [limits] of fermion.toml and deploy again",
        ),
        _ => (
            "did not answer within their wall time",
            "find what they wait for, or raise `wall_time` in [limits] of fermion.toml and deploy again",
        ),
    };
    let of = whole.requests;
    let sentence = format!(
        "{count} of {of} requests ({}) {what} and were ended ({code})",
        share(count, of)
    );
    let finding = Finding::new(cause, Grade::Failing, ratio(count, of), sentence).because(format!(
        "guest CPU time: {} a request on average",
        millis(mean(whole.cpu_nanos, of))
    ));
    let by_release = |series: &FrameSeries| series.faults.get(code).copied().unwrap_or(0);
    since_release(signals, finding, by_release).then(next)
}

/// Says so if it is one release's matter, and what can be gone back to.
fn since_release(signals: &Signals, mut finding: Finding, bad: impl Fn(&FrameSeries) -> u64) -> Finding {
    let Some(worst) = signals.traffic.iter().max_by_key(|series| bad(series)) else {
        return finding;
    };
    let others = signals
        .traffic
        .iter()
        .filter(|series| series.release != worst.release);
    let (mut others_bad, mut others_all) = (0, 0);
    for other in others {
        others_bad += bad(other);
        others_all += other.requests;
    }
    let (own, all) = (bad(worst), worst.requests);
    if others_all > 0 {
        finding = finding.because(format!(
            "r{}: {own} of its {all}; other releases: {others_bad} of their {others_all}",
            worst.release
        ));
    }
    if let Some(text) = changed(signals) {
        finding = finding.because(text);
    }
    finding
}

/// What changed lately, if anything did.
fn changed(signals: &Signals) -> Option<String> {
    let changed = signals.changed.as_ref()?;
    let ago = signals.now.saturating_sub(changed.at);
    let release = signals
        .active
        .map_or_else(String::new, |number| format!(" of r{number}"));
    (ago <= LATELY).then(|| {
        format!(
            "changed lately: {}{release} by {}, {} ago",
            changed.kind,
            changed.by,
            time(ago)
        )
    })
}

/// The component fails by itself: is it the newest release's doing?
fn component(signals: &Signals, whole: &FrameSeries, rest: u64) -> Finding {
    let rate = |series: &FrameSeries| ratio(series.guest_failures, series.requests);
    let worst = signals
        .traffic
        .iter()
        .filter(|series| series.guest_failures > 0)
        .max_by(|one, other| {
            rate(one)
                .total_cmp(&rate(other))
                .then(one.release.cmp(&other.release))
        });
    let named: Vec<_> = whole
        .faults
        .iter()
        .filter(|(code, _)| code.starts_with("GUEST_"))
        .map(|(code, count)| format!("{count} {code}"))
        .collect();
    let how = match named.is_empty() {
        true => "it answered with a status of 500 or more".to_owned(),
        false => named.join(", "),
    };
    let is_bad = worst.is_some_and(|worst| is_bad_release(signals, worst, rate(worst)));
    let (of, share_text) = (whole.requests, share(rest, whole.requests));
    let finding = match worst.filter(|_| is_bad) {
        Some(worst) => Finding::new(
            Cause::BadRelease,
            Grade::Failing,
            ratio(rest, of),
            format!(
                "r{} is bad: {} of its {} requests failed ({}); what served before it did not fail so",
                worst.release,
                worst.guest_failures,
                worst.requests,
                share(worst.guest_failures, worst.requests)
            ),
        )
        .then(format!("go back: `fermion rollback {}`", short(signals))),
        None => Finding::new(
            Cause::GuestFails,
            Grade::Failing,
            ratio(rest, of),
            format!("{rest} of {of} requests failed in the component itself ({share_text})"),
        ),
    };
    let finding = finding.because(how);
    let finding = since_release(signals, finding, |series| series.guest_failures);
    finding.then(format!(
        "`fermion logs {0}` has what it said, `fermion trace --app {0}` which requests failed",
        short(signals)
    ))
}

/// True if others fail clearly less, or if it took over lately and is not the first there was.
fn is_bad_release(signals: &Signals, worst: &FrameSeries, rate: f64) -> bool {
    let mut others = FrameSeries::default();
    for other in signals
        .traffic
        .iter()
        .filter(|series| series.release < worst.release)
    {
        others.merge(other);
    }
    if others.requests >= COUNT_MIN {
        return ratio(others.guest_failures, others.requests) * 3.0 < rate;
    }
    let lately = signals
        .changed
        .as_ref()
        .is_some_and(|changed| signals.now.saturating_sub(changed.at) <= LATELY);
    lately && worst.release > 1 && signals.active == Some(worst.release)
}

/// The app's name as commands take it.
pub(super) fn short(signals: &Signals) -> &str {
    match signals.app.split_once('/') {
        Some(("default", app)) => app,
        _ => &signals.app,
    }
}

fn platform(whole: &FrameSeries, overloaded: u64, not_ready: u64) -> Vec<Finding> {
    let mut findings = Vec::new();
    let of = whole.requests;
    if matters(overloaded, of) {
        let sentence = format!(
            "{overloaded} of {of} requests ({}) were turned away: more came than may run or wait at once",
            share(overloaded, of)
        );
        findings.push(
            Finding::new(Cause::Overloaded, Grade::Failing, ratio(overloaded, of), sentence)
                .because(split(whole))
                .then("raise `concurrency` in [limits] of fermion.toml, or make requests quicker"),
        );
    }
    // Of a release that does not run there is a finding of its own.
    let others = whole.platform_failures.saturating_sub(overloaded + not_ready);
    if matters(others, of) {
        let sentence = format!(
            "{others} of {of} requests ({}) failed by the platform's own fault",
            share(others, of)
        );
        findings.push(
            Finding::new(Cause::PlatformFails, Grade::Failing, ratio(others, of), sentence)
                .then("look into the platform's log"),
        );
    }
    findings
}

/// Whether answers take too long: by what is promised, or where nothing is, by what anybody would say.
fn is_slow(signals: &Signals, whole: &FrameSeries) -> bool {
    if whole.requests < TIMED_MIN {
        return false;
    }
    let mut promised = signals
        .promises
        .iter()
        .filter(|promise| promise.is_latency)
        .peekable();
    match promised.peek() {
        Some(_) => promised.any(|promise| promise.burn.is_some_and(|burn| burn > 1.0)),
        None => whole.total_nanos / whole.requests.max(1) >= SLOW_NANOS,
    }
}

/// Requests that take long for another reason than those that are found already.
fn slowness(signals: &Signals, whole: &FrameSeries, found: &[Finding]) -> Option<Finding> {
    let of = whole.requests;
    let starts = ratio(whole.slow_starts, of);
    if whole.slow_starts >= COUNT_MIN && starts >= SLOW_STARTS_MIN {
        let sentence = format!(
            "{} of {of} requests ({}) waited for a new instance; making one takes {} on average",
            whole.slow_starts,
            share(whole.slow_starts, of),
            millis(mean(whole.instantiate_nanos, whole.cold))
        );
        return Some(
            Finding::new(Cause::ColdStarts, Grade::Slow, starts, sentence)
                .because(split(whole))
                .then("keep instances ready: `[instances] warm = {min = N}` in fermion.toml")
                .then("make the start cheap: `snapshot = true` in [build], or less work at the start")
                .then("if the app is put to sleep between requests: a longer `--idle-after`"),
        );
    }
    if !found.is_empty() || !is_slow(signals, whole) {
        return None;
    }
    let queue = ratio(whole.queue_nanos, whole.total_nanos);
    let took = millis(mean(whole.total_nanos, of));
    if queue >= 0.5 {
        let sentence = format!(
            "requests take {took} on average, {} of it waiting for their turn",
            share(whole.queue_nanos, whole.total_nanos)
        );
        return Some(
            Finding::new(Cause::Overloaded, Grade::Slow, queue, sentence)
                .because(split(whole))
                .then("raise `concurrency` in [limits] of fermion.toml, or make requests quicker"),
        );
    }
    let sentence = format!("requests take {took} on average, most of it in the component itself");
    let finding = Finding::new(Cause::GuestSlow, Grade::Slow, 0.5, sentence)
        .because(split(whole))
        .because(format!(
            "guest CPU time: {} a request on average",
            millis(mean(whole.cpu_nanos, of))
        ));
    let finding = match changed(signals) {
        Some(text) => finding.because(text),
        None => finding,
    };
    Some(finding.then(format!(
        "`fermion trace --app {}` shows where the time of slow requests goes",
        short(signals)
    )))
}
