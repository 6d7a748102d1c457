//! One promise of one app over time: how much was good, of how much, and whose part it was.

use std::collections::BTreeMap;
use std::time::Duration;

use fermion_api::BlameView;
use fermion_model::ReleaseNumber;
use fermion_model::frame::FrameSeries;
use fermion_model::objective::Indicator;
use fermion_planner::slo::{Counts, Recent, Series};
use serde::{Deserialize, Serialize};

use crate::limits::RELEASES_BLAMED_MAX;

/// Sums over time. Adding and merging are all that can be done with it, in any order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tally {
    series: Series,
    /// The releases that had requests last, each for as long as an alert looks back.
    releases: BTreeMap<u32, Recent>,
}

impl Tally {
    /// Adds an app's shares of one frame. Gives what was taken, if anything was.
    pub(super) fn add(
        &mut self,
        indicator: Indicator,
        shares: &[&FrameSeries],
        at: u64,
        now: u64,
    ) -> Option<Counts> {
        let whole = counts(indicator, shares);
        if whole.total == 0 || !self.series.add(at, whole, now) {
            return None;
        }
        let mut releases: Vec<u32> = shares.iter().map(|share| share.release).collect();
        releases.sort_unstable();
        releases.dedup();
        for release in releases {
            let own: Vec<_> = shares
                .iter()
                .copied()
                .filter(|share| share.release == release)
                .collect();
            let counts = counts(indicator, &own);
            if counts.total > 0 {
                self.releases.entry(release).or_default().add(at, counts);
            }
        }
        self.forget();
        Some(whole)
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.series.merge(&other.series);
        for (release, recent) in &other.releases {
            self.releases.entry(*release).or_default().merge(recent);
        }
        self.forget();
    }

    /// Drops the releases that had nothing for the longest time.
    fn forget(&mut self) {
        while self.releases.len() > RELEASES_BLAMED_MAX {
            let oldest = self
                .releases
                .iter()
                .min_by_key(|(number, recent)| (recent.newest(), **number));
            let Some((&oldest, _)) = oldest else { return };
            self.releases.remove(&oldest);
        }
    }

    pub(super) fn window(&self, window: Duration, now: u64) -> Counts {
        self.series.window(window, now)
    }

    /// Whose part it was, the one most to blame first.
    pub(super) fn blame(&self, window: Duration, now: u64) -> Vec<BlameView> {
        let parts: Vec<_> = self
            .releases
            .iter()
            .map(|(number, recent)| (ReleaseNumber(*number), recent.window(window, now)))
            .filter(|(_, counts)| counts.total > 0)
            .collect();
        let bad: u64 = parts.iter().map(|(_, counts)| counts.bad()).sum();
        let mut views: Vec<_> = parts
            .into_iter()
            .map(|(release, counts)| BlameView {
                release,
                total: counts.total,
                bad: counts.bad(),
                share: counts.bad() as f64 / bad.max(1) as f64,
                window_seconds: window.as_secs(),
            })
            .collect();
        views.sort_by_key(|view| (std::cmp::Reverse(view.bad), std::cmp::Reverse(view.release)));
        views
    }

    /// Bytes in memory, beside the value itself.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.series.bytes() + self.releases.values().map(Recent::bytes).sum::<usize>()
    }
}

fn counts(indicator: Indicator, shares: &[&FrameSeries]) -> Counts {
    let (good, total) = indicator.count(shares.iter().copied());
    Counts { good, total }
}
