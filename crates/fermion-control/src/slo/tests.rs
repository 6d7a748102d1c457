//! One app on simulated time: seconds of requests go in, what people are told comes out.

mod kept;
mod properties;
mod scenarios;

use fermion_api::ChangedView;
use fermion_model::ReleaseNumber;
use fermion_model::frame::{Arm, FRAME_SCHEMA, Frame, FrameSeries};
use fermion_model::objective::{Indicator, ObjectiveSpec, Target};
use fermion_planner::alert::Silence;

use super::desk::{AppAlerts, Look};
use super::facts::{AppFacts, CanaryFacts};
use super::observe::Observed;

pub(super) const NOW: u64 = 1_800_000_000;
pub(super) const NAME: &str = "default/tax";

pub(super) fn success() -> ObjectiveSpec {
    ObjectiveSpec {
        name: "success".to_owned(),
        indicator: Indicator::Success,
        target: Target(999_000),
        window: 30 * 24 * 3600,
    }
}

pub(super) fn app_facts(objectives: Vec<ObjectiveSpec>) -> AppFacts {
    AppFacts {
        namespace: "default".parse().unwrap(),
        app: "tax".parse().unwrap(),
        objectives,
        owner: Some("team-checkout".to_owned()),
        runbook: Some("https://runbooks.example.com/tax".to_owned()),
        changed: ChangedView {
            at: NOW - 600,
            by: "operator".to_owned(),
            kind: "deploy".to_owned(),
            release: Some(ReleaseNumber(2)),
        },
        canary: None,
    }
}

/// What one release did in one frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    pub(super) release: u32,
    pub(super) arm: Arm,
    pub(super) requests: u64,
    pub(super) failures: u64,
}

pub(super) fn stable(requests: u64, failures: u64) -> Share {
    Share {
        release: 1,
        arm: Arm::Stable,
        requests,
        failures,
    }
}

pub(super) fn frame(sequence: u64, until: u64, shares: &[Share]) -> Frame {
    let series = shares.iter().map(|share| FrameSeries {
        namespace: "default".to_owned(),
        app: "tax".to_owned(),
        release: share.release,
        arm: share.arm,
        requests: share.requests,
        guest_failures: share.failures,
        ..FrameSeries::default()
    });
    Frame {
        schema: FRAME_SCHEMA,
        node: "local".to_owned(),
        region: String::new(),
        incarnation: 1,
        sequence,
        from: (until - 1) * 1_000,
        until: until * 1_000,
        series: series.filter(|series| series.requests > 0).collect(),
        unlisted: 0,
        upstreams: Vec::new(),
        instances: Vec::new(),
        health: None,
    }
}

/// An app, its alerts, and the clock.
pub(super) struct World {
    pub(super) observed: Observed,
    pub(super) alerts: AppAlerts,
    pub(super) facts: AppFacts,
    pub(super) silences: Vec<Silence>,
    pub(super) now: u64,
    /// From when on minutes are counted.
    start: u64,
    sequence: u64,
    /// `MINUTES severity transition`, as it was told.
    pub(super) told: Vec<String>,
}

impl World {
    pub(super) fn new(objectives: Vec<ObjectiveSpec>) -> Self {
        let facts = app_facts(objectives);
        let mut world = Self {
            observed: Observed::default(),
            alerts: AppAlerts::default(),
            facts,
            silences: Vec::new(),
            now: NOW,
            start: NOW,
            sequence: 0,
            told: Vec::new(),
        };
        world.follow();
        world
    }

    /// A rollout's step, or its end.
    pub(super) fn roll_out(&mut self, canary: Option<CanaryFacts>) {
        self.facts.canary = canary;
        self.follow();
    }

    fn follow(&mut self) {
        let facts = [(NAME.to_owned(), self.facts.clone())];
        self.observed.follow(facts.into());
    }

    /// Three days of what was well, which nobody looked at. Minutes count from its end.
    pub(super) fn history(&mut self, shares: &[Share]) {
        for _ in 0..3 * 24 * 360 {
            self.step(shares);
        }
        self.start = self.now;
    }

    /// So many minutes in which every ten seconds have these shares, each evaluated.
    pub(super) fn minutes(&mut self, minutes: u64, shares: &[Share]) {
        self.steps(minutes * 6, shares);
    }

    /// The same of ten seconds.
    pub(super) fn steps(&mut self, count: u64, shares: &[Share]) {
        for _ in 0..count {
            self.step(shares);
            self.look();
        }
    }

    fn step(&mut self, shares: &[Share]) {
        self.now += 10;
        let frame = frame(self.sequence, self.now, shares);
        self.sequence += 1;
        assert!(self.observed.take(&frame, self.now));
    }

    pub(super) fn look(&mut self) {
        let look = Look {
            facts: &self.facts,
            silences: self.silences.clone(),
            now: self.now,
        };
        let observed = &self.observed;
        let notices = self.alerts.evaluate(&look, |spec| observed.tally(NAME, spec));
        for notice in notices {
            let minutes = (self.now - self.start) / 60;
            let alert = &notice.alert;
            let text = format!("{minutes} {} {}", alert.severity, notice.transition.word());
            self.told.push(text);
        }
    }

    /// What has been told since the last time this was asked.
    pub(super) fn heard(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }
}
