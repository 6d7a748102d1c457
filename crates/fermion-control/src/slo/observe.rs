//! From frames to sums: each frame once, by its number, into the promises that its apps make at the moment.

use std::collections::BTreeMap;

use fermion_model::frame::{FRAME_SCHEMA, Frame, FrameSeries};
use fermion_model::objective::{Indicator, ObjectiveSpec};
use fermion_planner::slo::{Counts, Ledger};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::facts::AppFacts;
use super::tally::Tally;
use crate::limits::{FRAME_MISSED_MAX, INCARNATIONS_MAX, NODES_MAX, OBJECTIVES_KEPT_MAX, TALLIES_MAX};

/// Which frames have been taken, by node and life of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sources {
    /// Lives in order of their numbers, of which later ones are greater.
    nodes: BTreeMap<String, Vec<u64>>,
    ledger: Ledger,
}

impl Sources {
    /// Whether a frame is new, and remembers it. One of a life before those that are remembered is refused, rather than
    /// counted twice.
    fn take(&mut self, frame: &Frame) -> bool {
        if !self.nodes.contains_key(&frame.node) && self.nodes.len() >= NODES_MAX {
            return false;
        }
        let lives = self.nodes.entry(frame.node.clone()).or_default();
        if let Err(place) = lives.binary_search(&frame.incarnation) {
            if place == 0 && lives.len() >= INCARNATIONS_MAX {
                return false;
            }
            lives.insert(place, frame.incarnation);
            if lives.len() > INCARNATIONS_MAX {
                let over = lives.remove(0);
                self.ledger.forget(source(&frame.node, over));
            }
        }
        self.ledger
            .take(source(&frame.node, frame.incarnation), frame.sequence)
    }
}

/// One number for one life of one node.
fn source(node: &str, incarnation: u64) -> u64 {
    let digest = Sha256::digest(format!("{node}/{incarnation}"));
    let first = digest.first_chunk::<8>().copied().unwrap_or_default();
    u64::from_be_bytes(first)
}

/// One promise's sums, and how far they are on the bus.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kept {
    pub(super) indicator: Indicator,
    /// Everything.
    pub(super) whole: Tally,
    /// What has come since the last full document.
    pub(super) since: Tally,
    /// What has come since this process began, however long ago: it never shrinks.
    pub(super) counted: Counts,
    /// True if `since` has what no document has.
    pub(super) is_unsaved: bool,
    /// Which full document `since` comes after; 0 if there is none.
    pub(super) number: u64,
    /// When that was written.
    pub(super) written_at: u64,
    /// The revisions of the two documents, if they are there.
    pub(super) revisions: (Option<u64>, Option<u64>),
}

impl Kept {
    pub(super) fn new(indicator: Indicator) -> Self {
        Self {
            indicator,
            whole: Tally::default(),
            since: Tally::default(),
            counted: Counts::default(),
            is_unsaved: false,
            number: 0,
            written_at: 0,
            revisions: (None, None),
        }
    }
}

/// What has been observed.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// By `namespace/app`.
    pub(super) facts: BTreeMap<String, AppFacts>,
    /// By `namespace/app`, then by the objective's name.
    pub(super) kept: BTreeMap<String, BTreeMap<String, Kept>>,
    pub(super) sources: Sources,
    /// True if `sources` has what its document has not.
    pub(super) is_unsaved: bool,
    pub(super) sources_revision: Option<u64>,
    /// When a frame last came, by this machine's clock.
    heard_at: Option<u64>,
    /// The latest that the clock has ever said: a clock that is set back does not make frames lie in the future.
    latest: u64,
}

impl Observed {
    /// Takes in what apps promise now.
    pub(super) fn follow(&mut self, facts: BTreeMap<String, AppFacts>) {
        for (name, kept) in &mut self.kept {
            let objectives = facts.get(name).map(|facts| facts.objectives.as_slice());
            let is_kept = |objective: &str| promised(objectives, objective).is_some();
            if kept.len() > OBJECTIVES_KEPT_MAX {
                kept.retain(|objective, _| is_kept(objective));
            }
        }
        self.facts = facts;
    }

    /// Takes in a frame. False if it was there before, or cannot be true.
    pub(super) fn take(&mut self, frame: &Frame, now: u64) -> bool {
        self.latest = self.latest.max(now);
        if frame.schema != FRAME_SCHEMA || !self.sources.take(frame) {
            return false;
        }
        self.is_unsaved = true;
        self.heard_at = Some(now);
        let at = frame.until.saturating_sub(1) / 1_000;
        let mut apps: BTreeMap<String, Vec<&FrameSeries>> = BTreeMap::new();
        for series in &frame.series {
            let name = format!("{}/{}", series.namespace, series.app);
            apps.entry(name).or_default().push(series);
        }
        for (name, shares) in apps {
            self.add(&name, &shares, at);
        }
        true
    }

    fn add(&mut self, name: &str, shares: &[&FrameSeries], at: u64) {
        let Some(facts) = self.facts.get(name) else { return };
        let count: usize = self.kept.values().map(BTreeMap::len).sum();
        let kept = self.kept.entry(name.to_owned()).or_default();
        for objective in &facts.objectives {
            if !kept.contains_key(&objective.name) && count >= TALLIES_MAX {
                tracing::warn!(app = name, "too many objectives on this platform; not watched");
                continue;
            }
            let indicator = objective.indicator;
            let kept = kept
                .entry(objective.name.clone())
                .or_insert_with(|| Kept::new(indicator));
            if kept.indicator != indicator {
                // Another promise under the same name begins anew; its documents are overwritten.
                *kept = Kept {
                    number: kept.number,
                    revisions: kept.revisions,
                    ..Kept::new(indicator)
                };
            }
            if let Some(counts) = kept.since.add(indicator, shares, at, self.latest) {
                kept.counted = kept.counted.plus(counts);
                kept.whole.add(indicator, shares, at, self.latest);
                kept.is_unsaved = true;
            }
        }
    }

    /// The sums of an app's promise; none if nothing has happened, or the name means something else now.
    pub(super) fn tally(&self, name: &str, objective: &ObjectiveSpec) -> Option<&Tally> {
        let kept = self.kept.get(name)?.get(&objective.name)?;
        (kept.indicator == objective.indicator).then_some(&kept.whole)
    }

    /// The events of an app's promise since this process began.
    pub(super) fn counted(&self, name: &str, objective: &ObjectiveSpec) -> Counts {
        let kept = self.kept.get(name).and_then(|kept| kept.get(&objective.name));
        let same = kept.filter(|kept| kept.indicator == objective.indicator);
        same.map(|kept| kept.counted).unwrap_or_default()
    }

    /// Whether any node has been heard of lately.
    pub(super) fn hears(&self, now: u64) -> bool {
        self.heard_at
            .is_some_and(|at| now.abs_diff(at) <= FRAME_MISSED_MAX.as_secs())
    }
}

fn promised<'o>(objectives: Option<&'o [ObjectiveSpec]>, name: &str) -> Option<&'o ObjectiveSpec> {
    objectives?.iter().find(|objective| objective.name == name)
}
