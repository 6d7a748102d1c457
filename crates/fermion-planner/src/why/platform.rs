//! Causes that requests do not show, or not yet: what was deployed, who is trusted, how the node is.

use super::causes::short;
use super::words::{bytes, share, time};
use super::{Cause, Finding, Grade, LATELY, Refused, SILENT, Signals, Unready};

/// A share of memory that is left, below which a node is short of it.
const MEMORY_LEFT_MIN: f64 = 0.1;
/// Seconds for which telemetry may wait without anything arriving.
const STUCK_MAX: u64 = 10;
/// Seconds before the trust root's end from which it is said.
const EXPIRES_SOON: u64 = 7 * 86_400;

pub(super) fn of_platform(signals: &Signals) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(silence(signals));
    findings.extend(trust(signals));
    findings.extend(
        signals
            .unready
            .as_ref()
            .map(|unready| not_ready(signals, unready)),
    );
    findings.extend(signals.refused.as_ref().map(|refused| attempt(signals, refused)));
    findings.extend(rollout(signals));
    findings.extend(memory(signals));
    findings.extend(backlog(signals));
    // The trust root's end is said once, where it hurts most.
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.grade));
    let mut is_said = false;
    findings.retain(|finding| {
        let again = finding.cause == Cause::TrustExpired && std::mem::replace(&mut is_said, true);
        !again
    });
    findings
}

/// Promises that are broken for no reason that is known.
pub(super) fn of_promises(signals: &Signals) -> Option<Finding> {
    let burns = signals
        .promises
        .iter()
        .filter(|promise| !promise.actions.is_empty() || promise.left.is_some_and(|left| left < 0.0));
    let names: Vec<_> = burns
        .map(|promise| {
            let left = promise.left.unwrap_or_default() * 100.0;
            let calls = match promise.actions.last() {
                Some(action) => format!(", calls for a {action}"),
                None => String::new(),
            };
            format!("{}: {left:.0} % of its budget left{calls}", promise.name)
        })
        .collect();
    let first = names.first()?;
    let sentence = format!("error budget is spent, though nothing is wrong at this moment: {first}");
    let mut finding = Finding::new(Cause::BudgetBurns, Grade::Risk, 0.5, sentence);
    finding.evidence = names;
    Some(finding.then(format!(
        "`fermion slo {}` and `fermion alerts` have the whole story",
        short(signals)
    )))
}

fn silence(signals: &Signals) -> Option<Finding> {
    let sentence = match signals.heard {
        Some(seconds) if seconds <= SILENT => return None,
        Some(seconds) => format!(
            "the node has said nothing for {}: nothing is known of now",
            time(seconds)
        ),
        None => "the node has not been heard of: nothing is known".to_owned(),
    };
    let finding = Finding::new(Cause::NodeSilent, Grade::Failing, 2.0, sentence);
    Some(finding.then("see whether the process runs, and what its log says"))
}

fn trust(signals: &Signals) -> Option<Finding> {
    let trust = signals.trust?;
    if signals.now >= trust.expires_at {
        let since = signals.now - trust.expires_at;
        let left = trust.grace.saturating_sub(since);
        let sentence = format!(
            "the trust root expired {} ago: nothing new is let in, and what was let in before can be loaded for {} more",
            time(since),
            time(left)
        );
        return Some(expired(Grade::Risk, 1.0, sentence));
    }
    let left = trust.expires_at - signals.now;
    (left <= EXPIRES_SOON).then(|| {
        let sentence = format!(
            "the trust root expires in {}: then nothing new is let in",
            time(left)
        );
        Finding::new(Cause::TrustExpires, Grade::Risk, 0.3, sentence)
            .then("sign the next document: `fermion trust draft`, `trust sign`, `trust apply`")
    })
}

fn expired(grade: Grade, weight: f64, sentence: String) -> Finding {
    Finding::new(Cause::TrustExpired, grade, weight, sentence)
        .then("sign the next document: `fermion trust draft`, `trust sign`, `trust apply`")
}

fn not_ready(signals: &Signals, unready: &Unready) -> Finding {
    let Unready {
        release,
        code,
        message,
    } = unready;
    let serves = signals.serving.is_some();
    let (grade, weight) = if serves {
        (Grade::Risk, 0.8)
    } else {
        (Grade::Failing, 1.5)
    };
    let instead = match signals.serving {
        Some(serving) => format!("r{serving} serves in its stead"),
        None => "nothing serves".to_owned(),
    };
    let sentence = format!("r{release} cannot be made ready ({code}): {message}; {instead}");
    let finding = match code.as_str() {
        "STALE" => return expired(grade, weight, sentence),
        _ if serves => Finding::new(Cause::BadRelease, grade, weight, sentence),
        _ => Finding::new(Cause::NotServing, grade, weight, sentence),
    };
    finding.then("mend what the message names, and deploy again")
}

fn attempt(signals: &Signals, refused: &Refused) -> Finding {
    let ago = time(signals.now.saturating_sub(refused.at));
    let (grade, weight) = match signals.serving {
        Some(_) => (Grade::Risk, 0.9),
        None => (Grade::Failing, 1.2),
    };
    let Refused {
        by, code, message, ..
    } = refused;
    let detail = format!("{code}, {ago} ago, wanted by {by}");
    let source = refused.source.as_deref().unwrap_or("the registry");
    let is_registry = code.starts_with("REGISTRY_");
    let finding = if is_registry {
        let sentence = format!("nothing new can be deployed from {source}: {message}");
        Finding::new(Cause::RegistryDown, grade, weight, sentence)
            .then("see whether the registry is there; what runs does not need it")
    } else if code == "CONFIG_INVALID" && message.contains("asks for") {
        let sentence = format!("a value is missing, so the last deploy was refused: {message}");
        Finding::new(Cause::ConfigMissing, grade, weight, sentence)
            .then("give it a value under `config` in app.yaml, and deploy again")
    } else if code == "STALE" {
        let sentence =
            format!("the last deploy was refused because what vouches for it has expired: {message}");
        expired(grade, weight, sentence)
    } else {
        let sentence = format!("the last deploy was refused ({code}): {message}");
        Finding::new(Cause::DeployRefused, grade, weight, sentence)
            .then("mend what the message names, and deploy again")
    };
    finding.because(detail)
}

fn rollout(signals: &Signals) -> Option<Finding> {
    let rollout = signals.rollout.as_ref()?;
    let (canary, why) = (rollout.canary, &rollout.why);
    // Before a gate it waits because somebody wanted it so.
    if rollout.phase.starts_with("paused") && rollout.phase != "paused: gate" {
        let sentence = format!("the rollout of r{canary} waits for somebody: {why}");
        return Some(
            Finding::new(Cause::RolloutStopped, Grade::Risk, 0.6, sentence).then(format!(
                "`fermion rollout status {0}`, then `fermion promote {0}` or `fermion abort {0}`",
                short(signals)
            )),
        );
    }
    let ended = rollout.ended_at?;
    let is_back = rollout.phase.starts_with("rolled-back") && signals.now.saturating_sub(ended) <= LATELY;
    is_back.then(|| {
        let sentence = format!(
            "r{canary} was bad and was taken back {} ago: {why}",
            time(signals.now.saturating_sub(ended))
        );
        Finding::new(Cause::BadRelease, Grade::Risk, 0.7, sentence)
            .because(rollout.phase.clone())
            .then("change the package, and deploy it as another version")
    })
}

fn memory(signals: &Signals) -> Option<Finding> {
    let (all, left) = (signals.health.memory_bytes, signals.health.memory_available_bytes);
    if all == 0 || left as f64 >= all as f64 * MEMORY_LEFT_MIN {
        return None;
    }
    let sentence = format!(
        "the node is short of memory: {} of {} are left ({})",
        bytes(left),
        bytes(all),
        share(left, all)
    );
    let weight = 1.0 - left as f64 / all as f64;
    Some(
        Finding::new(Cause::NodeMemory, Grade::Risk, weight, sentence).then(
            "a shorter `--idle-after` gives back what sleeping apps hold; fewer warm instances; more memory",
        ),
    )
}

fn backlog(signals: &Signals) -> Option<Finding> {
    let export = signals.health.export.as_ref()?;
    let is_stuck = export.stuck_seconds >= STUCK_MAX && export.failures > 0;
    let is_filling = export.waiting_bytes * 2 > export.bytes_max && export.bytes_max > 0;
    if export.waiting_items == 0 || !(is_stuck || is_filling) {
        return None;
    }
    let sentence = format!(
        "{} points, spans and log records ({}) wait for the telemetry collector, which has taken nothing for {}",
        export.waiting_items,
        bytes(export.waiting_bytes),
        time(export.stuck_seconds)
    );
    let mut finding = Finding::new(Cause::TelemetryBacklog, Grade::Risk, 0.4, sentence)
        .because(format!("{} attempts to send failed", export.failures))
        .because(format!(
            "the buffer is {} full; then the oldest go",
            share(export.waiting_bytes, export.bytes_max)
        ));
    if export.dropped_items > 0 {
        finding = finding.because(format!("{} are lost for good", export.dropped_items));
    }
    Some(finding.then("see whether the collector that --otlp names is there; requests do not wait for it"))
}
