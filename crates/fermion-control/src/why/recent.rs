//! What frames of the last minutes said of each app, in slots that are forgotten one after the other; and the last
//! refusal of each app. In memory alone: after a restart it fills again within a slot.

use std::collections::{BTreeMap, VecDeque};

use fermion_model::frame::{Arm, Frame, FrameSeries};
use fermion_model::health::{FrameInstances, FrameUpstream, NodeHealth};
use fermion_planner::why::{Refused, Signals};

use super::top::Moment;
use crate::limits::{
    REFUSALS_KEPT_MAX, TOP_FRAMES_MAX, TOP_WINDOW, WHY_APPS_MAX, WHY_ROWS_MAX, WHY_SLOT, WHY_SLOTS,
};

/// One stretch of time.
#[derive(Debug, Default)]
struct Slot {
    /// Which: seconds since the Unix epoch, by the slot's length.
    number: u64,
    apps: BTreeMap<String, App>,
}

#[derive(Debug, Default)]
struct App {
    /// By release.
    traffic: BTreeMap<u32, FrameSeries>,
    /// By release and upstream.
    upstreams: BTreeMap<(u32, String), FrameUpstream>,
}

/// Everything that is remembered.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// The newest last.
    slots: VecDeque<Slot>,
    /// What came in the last seconds, with when, the newest last.
    last: VecDeque<(u64, Vec<FrameSeries>, Vec<FrameInstances>)>,
    heard_at: Option<u64>,
    health: NodeHealth,
    /// By `namespace/app`.
    refused: BTreeMap<String, Refused>,
}

impl Recent {
    pub(super) fn take(&mut self, frame: &Frame, now: u64) {
        self.heard_at = Some(now);
        if let Some(health) = &frame.health {
            self.health = health.clone();
        }
        self.last
            .push_back((now, frame.series.clone(), frame.instances.clone()));
        while self.last.len() > TOP_FRAMES_MAX {
            self.last.pop_front();
        }
        let slot = self.slot(now);
        // A mirrored copy is nobody's request.
        for series in frame.series.iter().filter(|series| series.arm != Arm::Mirror) {
            let Some(app) = slot.app(&series.namespace, &series.app) else {
                continue;
            };
            if app.traffic.len() < WHY_ROWS_MAX || app.traffic.contains_key(&series.release) {
                let known = app.traffic.entry(series.release).or_default();
                known.release = series.release;
                known.merge(series);
            }
        }
        for row in &frame.upstreams {
            let Some(app) = slot.app(&row.namespace, &row.app) else {
                continue;
            };
            let key = (row.release, row.upstream.clone());
            if app.upstreams.len() < WHY_ROWS_MAX || app.upstreams.contains_key(&key) {
                let known = app.upstreams.entry(key).or_default();
                known.release = row.release;
                known.upstream.clone_from(&row.upstream);
                known.merge(row);
            }
        }
    }

    /// What the last seconds were like.
    pub(super) fn moment(&self, now: u64) -> Moment {
        let mut moment = Moment::default();
        let from = now.saturating_sub(TOP_WINDOW.as_secs());
        for (at, series, instances) in &self.last {
            if !(from..=now).contains(at) {
                continue;
            }
            for one in series.iter().filter(|series| series.arm != Arm::Mirror) {
                let name = format!("{}/{}", one.namespace, one.app);
                moment.traffic.entry(name).or_default().merge(one);
            }
            // Of now, not of the whole time.
            moment.instances.clear();
            for one in instances {
                let name = format!("{}/{}", one.namespace, one.app);
                let known = moment.instances.entry(name).or_default();
                known.running += one.running;
                known.kept += one.kept;
            }
        }
        moment
    }

    /// The slot of this moment; older ones go as it begins.
    fn slot(&mut self, now: u64) -> &mut Slot {
        let number = now / WHY_SLOT.as_secs();
        let newest = self.slots.back().map(|slot| slot.number);
        // A clock that was set back goes on with the slot that is there.
        if newest.is_none_or(|newest| number > newest) {
            self.slots.push_back(Slot {
                number,
                ..Slot::default()
            });
        }
        let oldest = number.saturating_sub(WHY_SLOTS as u64 - 1);
        while self.slots.len() > WHY_SLOTS || self.slots.front().is_some_and(|slot| slot.number < oldest) {
            if self.slots.len() == 1 {
                break;
            }
            self.slots.pop_front();
        }
        self.slots
            .back_mut()
            .expect("one was put there if there was none")
    }

    /// How a deploy ended.
    pub(super) fn deployed(&mut self, name: &str, refused: Option<Refused>) {
        let Some(refused) = refused else {
            self.refused.remove(name);
            return;
        };
        self.refused.insert(name.to_owned(), refused);
        while self.refused.len() > REFUSALS_KEPT_MAX {
            let oldest = self.refused.iter().min_by_key(|(_, refused)| refused.at);
            let Some(name) = oldest.map(|(name, _)| name.clone()) else {
                return;
            };
            self.refused.remove(&name);
        }
    }

    /// Says what is remembered of an app.
    pub(super) fn fill(&self, signals: &mut Signals, name: &str) {
        signals.window = WHY_SLOT.as_secs() * WHY_SLOTS as u64;
        signals.heard = self.heard_at.map(|at| signals.now.saturating_sub(at));
        signals.health = self.health.clone();
        signals.refused = self.refused.get(name).cloned();
        let oldest = (signals.now / WHY_SLOT.as_secs()).saturating_sub(WHY_SLOTS as u64 - 1);
        let mut whole = App::default();
        for app in self
            .slots
            .iter()
            .filter(|slot| slot.number >= oldest)
            .filter_map(|slot| slot.apps.get(name))
        {
            for (release, series) in &app.traffic {
                let known = whole.traffic.entry(*release).or_default();
                known.release = *release;
                known.merge(series);
            }
            for (key, row) in &app.upstreams {
                let known = whole.upstreams.entry(key.clone()).or_default();
                known.release = row.release;
                known.upstream.clone_from(&row.upstream);
                known.merge(row);
            }
        }
        signals.traffic = whole.traffic.into_values().collect();
        signals.upstreams = whole.upstreams.into_values().collect();
    }
}

impl Slot {
    /// None for an app too many.
    fn app(&mut self, namespace: &str, app: &str) -> Option<&mut App> {
        let name = format!("{namespace}/{app}");
        if self.apps.len() >= WHY_APPS_MAX && !self.apps.contains_key(&name) {
            return None;
        }
        Some(self.apps.entry(name).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(app: &str, release: u32, requests: u64) -> Frame {
        Frame {
            schema: fermion_model::frame::FRAME_SCHEMA,
            node: "local".to_owned(),
            region: String::new(),
            incarnation: 1,
            sequence: 0,
            from: 0,
            until: 0,
            series: vec![FrameSeries {
                namespace: "default".to_owned(),
                app: app.to_owned(),
                release,
                requests,
                ..FrameSeries::default()
            }],
            unlisted: 0,
            upstreams: vec![FrameUpstream {
                namespace: "default".to_owned(),
                app: app.to_owned(),
                release,
                upstream: "api.test".to_owned(),
                calls: [("answered".to_owned(), requests)].into(),
                ..FrameUpstream::default()
            }],
            instances: Vec::new(),
            health: None,
        }
    }

    fn filled(recent: &Recent, now: u64) -> Signals {
        let mut signals = Signals {
            now,
            ..Signals::default()
        };
        recent.fill(&mut signals, "default/tax");
        signals
    }

    #[test]
    fn minutes_are_added_up_and_forgotten() {
        let (mut recent, window) = (Recent::default(), WHY_SLOT.as_secs() * WHY_SLOTS as u64);
        for second in 0..60 {
            recent.take(&frame("tax", 1, 2), 1_000_000 + second);
            recent.take(&frame("other", 1, 5), 1_000_000 + second);
        }
        recent.take(&frame("tax", 2, 1), 1_000_060);
        let signals = filled(&recent, 1_000_061);
        let requests: Vec<_> = signals
            .traffic
            .iter()
            .map(|one| (one.release, one.requests))
            .collect();
        assert_eq!(requests, [(1, 120), (2, 1)]);
        assert_eq!(signals.upstreams[0].total(), 120);
        assert_eq!(signals.heard, Some(1));
        let later = filled(&recent, 1_000_061 + window + WHY_SLOT.as_secs());
        assert_eq!((later.traffic.len(), later.upstreams.len()), (0, 0));
        for second in 0..10 * window {
            recent.take(&frame("tax", 1, 1), 1_000_100 + second);
        }
        assert!(recent.slots.len() <= WHY_SLOTS);
        // A clock that is set back loses nothing and grows nothing.
        recent.take(&frame("tax", 1, 1), 5);
        assert!(recent.slots.len() <= WHY_SLOTS);
    }

    #[test]
    fn apps_rows_and_refusals_are_bounded() {
        let mut recent = Recent::default();
        for number in 0..WHY_APPS_MAX + 10 {
            recent.take(&frame(&format!("a{number}"), 1, 1), 1_000_000);
        }
        assert_eq!(recent.slots[0].apps.len(), WHY_APPS_MAX);
        let mut recent = Recent::default();
        for number in 0..200 {
            recent.take(&frame("tax", number, 1), 1_000_000);
        }
        assert_eq!(filled(&recent, 1_000_000).traffic.len(), WHY_ROWS_MAX);
        for number in 0..REFUSALS_KEPT_MAX + 5 {
            let refused = Refused {
                at: number as u64,
                by: "operator".to_owned(),
                source: None,
                code: "X".to_owned(),
                message: String::new(),
            };
            recent.deployed(&format!("default/a{number}"), Some(refused));
        }
        assert_eq!(recent.refused.len(), REFUSALS_KEPT_MAX);
        assert!(!recent.refused.contains_key("default/a0"), "the oldest went");
        recent.deployed("default/a9", None);
        assert!(!recent.refused.contains_key("default/a9"));
    }
}
