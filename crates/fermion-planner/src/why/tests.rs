//! A table of planted faults: signals as they look when one thing is wrong, and the cause that must stand first.

use fermion_model::frame::FrameSeries;
use fermion_model::health::{ExportHealth, FrameUpstream};

use super::*;

const NOW: u64 = 1_800_000_000;
const MILLI: u64 = 1_000_000;

/// An app that is well: 1,000 requests, a millisecond each.
fn well() -> Signals {
    Signals {
        app: "default/shop".to_owned(),
        now: NOW,
        window: 300,
        heard: Some(1),
        traffic: vec![served(1, 1_000)],
        promises: vec![promise("success", false, 0.1), promise("latency", true, 0.2)],
        active: Some(1),
        serving: Some(1),
        changed: Some(Changed {
            at: NOW - 86_400,
            by: "operator".to_owned(),
            kind: "deploy".to_owned(),
        }),
        health: NodeHealth {
            memory_bytes: 8 << 30,
            memory_available_bytes: 4 << 30,
            export: None,
        },
        ..Signals::default()
    }
}

fn served(release: u32, requests: u64) -> FrameSeries {
    let mut series = FrameSeries {
        release,
        requests,
        total_nanos: requests * MILLI,
        cpu_nanos: requests * MILLI / 4,
        cold: requests,
        instantiate_nanos: requests * MILLI / 100,
        ..FrameSeries::default()
    };
    series.duration.add(0.001, requests);
    series
}

/// The same, of which so many failed by this fault.
fn failed(release: u32, requests: u64, code: &str, count: u64) -> FrameSeries {
    let mut series = served(release, requests);
    series.guest_failures = count;
    series.faults.insert(code.to_owned(), count);
    series
}

fn promise(name: &str, is_latency: bool, burn: f64) -> Promise {
    Promise {
        name: name.to_owned(),
        is_latency,
        burn: Some(burn),
        left: Some(0.9),
        actions: Vec::new(),
    }
}

fn upstream(calls: &[(&str, u64)], mean: u64) -> FrameUpstream {
    let calls = calls.iter().map(|(result, count)| ((*result).to_owned(), *count));
    let mut row = FrameUpstream {
        release: 1,
        upstream: "api.example.com".to_owned(),
        calls: calls.collect(),
        ..FrameUpstream::default()
    };
    row.nanos = row.total() * mean;
    row
}

fn refused(code: &str, message: &str) -> Option<Refused> {
    Some(Refused {
        at: NOW - 60,
        by: "operator".to_owned(),
        source: Some("registry.example.com/acme/shop:1.1.0".to_owned()),
        code: code.to_owned(),
        message: message.to_owned(),
    })
}

fn deployed(signals: &mut Signals, release: u32) {
    signals.active = Some(release);
    signals.serving = Some(release);
    signals.changed = Some(Changed {
        at: NOW - 120,
        by: "anna".to_owned(),
        kind: "deploy".to_owned(),
    });
}

type Plant = fn(&mut Signals);

/// The ten faults, and further ones.
const PLANTED: &[(&str, Cause, Grade, Plant)] = &[
    ("bad release", Cause::BadRelease, Grade::Failing, |signals| {
        signals.traffic = vec![served(1, 500), failed(2, 500, "GUEST_TRAP", 250)];
        deployed(signals, 2);
    }),
    ("slow upstream", Cause::UpstreamSlow, Grade::Slow, |signals| {
        signals.traffic[0].total_nanos = 1_000 * 800 * MILLI;
        signals.traffic[0].upstream_nanos = 1_000 * 780 * MILLI;
        signals.upstreams = vec![upstream(&[("answered", 1_000)], 780 * MILLI)];
        signals.promises[1].burn = Some(20.0);
    }),
    (
        "upstream that does not answer",
        Cause::UpstreamSlow,
        Grade::Failing,
        |signals| {
            signals.traffic = vec![failed(1, 1_000, "GUEST_TIMEOUT", 300)];
            signals.upstreams = vec![upstream(&[("answered", 700), ("abandoned", 300)], 900 * MILLI)];
        },
    ),
    ("CPU limit", Cause::CpuLimit, Grade::Failing, |signals| {
        signals.traffic = vec![failed(1, 1_000, "GUEST_CPU_LIMIT", 100)];
    }),
    ("memory limit", Cause::MemoryLimit, Grade::Failing, |signals| {
        signals.traffic = vec![failed(1, 1_000, "GUEST_MEMORY_LIMIT", 100)];
    }),
    ("cold-start storm", Cause::ColdStarts, Grade::Slow, |signals| {
        let series = &mut signals.traffic[0];
        (series.slow_starts, series.instantiate_nanos) = (600, 1_000 * 90 * MILLI);
        series.total_nanos = 1_000 * 100 * MILLI;
        signals.promises[1].burn = Some(8.0);
    }),
    ("missing secret", Cause::ConfigMissing, Grade::Risk, |signals| {
        signals.refused = refused(
            "CONFIG_INVALID",
            "the package asks for config \"api-token\" and the app does not set it: give it a value",
        );
    }),
    (
        "expired certificate: the trust root",
        Cause::TrustExpired,
        Grade::Risk,
        |signals| {
            signals.trust = Some(Trust {
                expires_at: NOW - 3_600,
                grace: 30 * 86_400,
            });
        },
    ),
    (
        "expired certificate: an upstream's",
        Cause::UpstreamCertificate,
        Grade::Failing,
        |signals| {
            signals.traffic = vec![failed(1, 1_000, "GUEST_TRAP", 200)];
            signals.upstreams = vec![upstream(&[("tls", 190), ("breaker", 10)], MILLI)];
        },
    ),
    (
        "node short of memory",
        Cause::NodeMemory,
        Grade::Risk,
        |signals| {
            signals.health.memory_available_bytes = 200 << 20;
        },
    ),
    ("registry down", Cause::RegistryDown, Grade::Risk, |signals| {
        signals.refused = refused("REGISTRY_UNREACHABLE", "cannot connect");
    }),
    (
        "telemetry backlog",
        Cause::TelemetryBacklog,
        Grade::Risk,
        |signals| {
            signals.health.export = Some(ExportHealth {
                waiting_bytes: 40 << 20,
                bytes_max: 1 << 30,
                waiting_items: 90_000,
                dropped_items: 0,
                failures: 12,
                stuck_seconds: 90,
            });
        },
    ),
    (
        "a broken upstream",
        Cause::UpstreamFails,
        Grade::Failing,
        |signals| {
            signals.traffic = vec![failed(1, 1_000, "GUEST_TRAP", 400)];
            signals.upstreams = vec![upstream(
                &[("connect", 300), ("breaker", 100), ("answered", 600)],
                MILLI,
            )];
            signals.upstreams[0].open = 1;
        },
    ),
    (
        "a component that always failed",
        Cause::GuestFails,
        Grade::Failing,
        |signals| {
            signals.traffic = vec![failed(1, 1_000, "GUEST_TRAP", 50)];
        },
    ),
    (
        "a new release that uses too much CPU",
        Cause::CpuLimit,
        Grade::Failing,
        |signals| {
            signals.traffic = vec![served(1, 500), failed(2, 500, "GUEST_CPU_LIMIT", 250)];
            deployed(signals, 2);
        },
    ),
    (
        "too many requests",
        Cause::Overloaded,
        Grade::Failing,
        |signals| {
            let series = &mut signals.traffic[0];
            series.platform_failures = 200;
            series.faults.insert("OVERLOADED".to_owned(), 200);
        },
    ),
    ("a long queue", Cause::Overloaded, Grade::Slow, |signals| {
        let series = &mut signals.traffic[0];
        (series.total_nanos, series.queue_nanos) = (1_000 * 400 * MILLI, 1_000 * 300 * MILLI);
        signals.promises[1].burn = Some(9.0);
    }),
    (
        "a component that is slow itself",
        Cause::GuestSlow,
        Grade::Slow,
        |signals| {
            signals.traffic[0].total_nanos = 1_000 * 400 * MILLI;
            signals.promises[1].burn = Some(9.0);
        },
    ),
    (
        "the platform's own mistakes",
        Cause::PlatformFails,
        Grade::Failing,
        |signals| {
            let series = &mut signals.traffic[0];
            series.platform_failures = 20;
            series.faults.insert("INTERNAL".to_owned(), 20);
        },
    ),
    ("nothing is ready", Cause::NotServing, Grade::Failing, |signals| {
        signals.serving = None;
        signals.unready = Some(Unready {
            release: 1,
            code: "COMPILE_LIMIT".to_owned(),
            message: "too large".to_owned(),
        });
    }),
    (
        "nothing may run: the trust root is over",
        Cause::TrustExpired,
        Grade::Failing,
        |signals| {
            signals.trust = Some(Trust {
                expires_at: NOW - 86_400,
                grace: 1,
            });
            signals.serving = None;
            signals.unready = Some(Unready {
                release: 1,
                code: "STALE".to_owned(),
                message: "the trust root expired".to_owned(),
            });
        },
    ),
    (
        "a canary that went back",
        Cause::BadRelease,
        Grade::Risk,
        |signals| {
            signals.rollout = Some(Rollout {
                canary: 2,
                phase: "rolled-back: sequential".to_owned(),
                why: "30 of 60 failed".to_owned(),
                ended_at: Some(NOW - 60),
            });
        },
    ),
    (
        "a rollout that waits",
        Cause::RolloutStopped,
        Grade::Risk,
        |signals| {
            signals.rollout = Some(Rollout {
                canary: 2,
                phase: "paused: marginal".to_owned(),
                why: "score 60".to_owned(),
                ended_at: None,
            });
        },
    ),
    ("policy", Cause::DeployRefused, Grade::Risk, |signals| {
        signals.refused = refused("POLICY_DENIED", "no");
    }),
    ("a silent node", Cause::NodeSilent, Grade::Failing, |signals| {
        signals.heard = Some(45)
    }),
    (
        "a trust root that soon is over",
        Cause::TrustExpires,
        Grade::Risk,
        |signals| {
            signals.trust = Some(Trust {
                expires_at: NOW + 86_400,
                grace: 0,
            });
        },
    ),
    (
        "a budget that was spent before",
        Cause::BudgetBurns,
        Grade::Risk,
        |signals| {
            signals.promises[0].left = Some(-0.5);
            signals.promises[0].actions = vec!["ticket".to_owned()];
        },
    ),
];

#[test]
fn the_planted_fault_is_named_first() {
    for (fault, cause, grade, plant) in PLANTED {
        let mut signals = well();
        plant(&mut signals);
        let findings = diagnose(&signals);
        let first = findings
            .first()
            .unwrap_or_else(|| panic!("{fault}: nothing is found"));
        assert_eq!(
            (first.cause, first.grade),
            (*cause, *grade),
            "{fault}: {findings:#?}"
        );
        assert_eq!(findings.len(), 1, "{fault}: a cause is said once: {findings:#?}");
        assert!(!first.next.is_empty() && !first.sentence.is_empty(), "{fault}");
        assert!(!first.sentence.contains('\n'), "{fault}");
    }
}

#[test]
fn an_app_that_is_well_is_told_so_with_figures() {
    let signals = well();
    assert_eq!(diagnose(&signals), Vec::new());
    assert_eq!(
        summary(&signals),
        "r1 serves; 1000 requests in the last 5 min, none failed; half within 1.0 ms, 99 of 100 within 1.0 ms"
    );
    let quiet = Signals {
        traffic: Vec::new(),
        ..well()
    };
    assert_eq!(diagnose(&quiet), Vec::new(), "no requests are no fault");
    assert_eq!(summary(&quiet), "r1 serves; no requests in the last 5 min");
}

#[test]
fn what_hurts_more_stands_first() {
    let mut signals = well();
    for (fault, _, _, plant) in PLANTED {
        if [
            "missing secret",
            "node short of memory",
            "telemetry backlog",
            "bad release",
        ]
        .contains(fault)
        {
            plant(&mut signals);
        }
    }
    let causes: Vec<_> = diagnose(&signals).iter().map(|finding| finding.cause).collect();
    assert_eq!(
        causes,
        [
            Cause::BadRelease,
            Cause::NodeMemory,
            Cause::ConfigMissing,
            Cause::TelemetryBacklog
        ]
    );
}

#[test]
fn a_new_release_is_evidence_where_the_cause_is_another() {
    let mut signals = well();
    signals.traffic = vec![served(1, 500), failed(2, 500, "GUEST_CPU_LIMIT", 250)];
    deployed(&mut signals, 2);
    let findings = diagnose(&signals);
    let evidence = findings[0].evidence.join("\n");
    assert!(
        evidence.contains("r2: 250 of its 500; other releases: 0 of their 500"),
        "{evidence}"
    );
    assert!(
        evidence.contains("changed lately: deploy of r2 by anna, 2 min ago"),
        "{evidence}"
    );
}

#[test]
fn accidents_are_not_findings() {
    let mut signals = well();
    signals.traffic = vec![failed(1, 1_000, "GUEST_TRAP", 2)];
    signals.upstreams = vec![upstream(&[("answered", 998), ("timeout", 2)], MILLI)];
    signals.health.export = Some(ExportHealth {
        waiting_items: 10,
        bytes_max: 1 << 30,
        ..ExportHealth::default()
    });
    assert_eq!(diagnose(&signals), Vec::new());
}
