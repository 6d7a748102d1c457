//! Findings in words: how much worse, how sure, how many samples. For somebody who has never seen a p-value.

use super::interval::Shift;
use super::samples::mean;
use super::{Classification, Direction, Measure, Metric, Rules};
use crate::limits::SAMPLES_MIN;

/// What a sentence about a metric is made of.
pub(super) struct Words<'a> {
    pub(super) metric: &'a Metric,
    pub(super) rules: &'a Rules,
    pub(super) canary: &'a [f64],
    pub(super) baseline: &'a [f64],
}

impl Words<'_> {
    fn counts(&self) -> String {
        format!(
            "{} canary and {} baseline samples",
            self.canary.len(),
            self.baseline.len()
        )
    }

    pub(super) fn nothing_is_zero(&self) -> String {
        format!(
            "nothing was measured, which this metric counts as zero; {}",
            self.counts()
        )
    }

    pub(super) fn silent(&self) -> String {
        let who = match (self.canary.is_empty(), self.baseline.is_empty()) {
            (true, true) => "neither arm has",
            (true, false) => "the canary does not have",
            _ => "the baseline does not have",
        };
        let needed = if self.metric.must_have_data || self.metric.critical {
            ", and this metric must have some"
        } else {
            ""
        };
        format!("{who} a single sample{needed}; {}", self.counts())
    }

    pub(super) fn too_few(&self) -> String {
        format!(
            "too few samples to tell: {}, and {SAMPLES_MIN} of each are needed",
            self.counts()
        )
    }

    pub(super) fn identical(&self) -> String {
        format!("both arms hold the same values; {}", self.counts())
    }

    pub(super) fn incomparable(&self) -> String {
        format!(
            "the arms cannot be compared: no interval can be computed from {}",
            self.counts()
        )
    }

    pub(super) fn compared(
        &self,
        classification: Classification,
        critical: bool,
        shift: Shift,
        effect: f64,
        band: f64,
    ) -> String {
        let sure = figure(self.rules.confidence * 100.0);
        let by = figure(shift.estimate.abs());
        let interval = format!(
            "{sure} % sure: between {} and {}",
            figure(shift.low),
            figure(shift.high)
        );
        let size = self.size(effect);
        let sentence = match classification {
            Classification::High => format!("the canary is higher by {by} ({interval}); {size}"),
            Classification::Low => format!("the canary is lower by {by} ({interval}); {size}"),
            _ if shift.low > band => {
                let why = self.excuse(
                    Direction::Decrease,
                    "an increase",
                    "below",
                    self.metric.effect.allowed_increase,
                );
                format!("the canary is higher by {by} ({interval}), but {why}; {size}")
            }
            _ if shift.high < -band => {
                let why = self.excuse(
                    Direction::Increase,
                    "a decrease",
                    "above",
                    self.metric.effect.allowed_decrease,
                );
                format!("the canary is lower by {by} ({interval}), but {why}; {size}")
            }
            _ => format!(
                "no difference is certain: the canary's shift is {} ({interval}), and only beyond {} would it count; {size}",
                figure(shift.estimate),
                figure(band)
            ),
        };
        let critical = if critical { "; this fails the release" } else { "" };
        format!("{sentence}; {}{critical}", self.counts())
    }

    /// Why a certain difference passes.
    fn excuse(&self, harmless: Direction, change: &str, side: &str, allowed: f64) -> String {
        if self.metric.direction == harmless {
            format!("{change} of this metric is not for the worse")
        } else {
            format!("its size is {side} the {} at which it counts", figure(allowed))
        }
    }

    fn size(&self, effect: f64) -> String {
        let means = format!(
            "mean {} against {}",
            figure(mean(self.canary)),
            figure(mean(self.baseline))
        );
        match self.metric.effect.measure {
            _ if effect.is_nan() => means,
            Measure::MeanRatio => format!("{means}, {} times", figure(effect)),
            Measure::Cles => format!(
                "{means}, in {} % of pairs the canary is the higher one",
                figure(effect * 100.0)
            ),
        }
    }
}

/// A number to four significant figures.
fn figure(value: f64) -> String {
    const FIGURES: i32 = 4;
    let size = value.abs();
    if size == 0.0 {
        return "0".to_owned();
    }
    if !(1e-4..1e9).contains(&size) {
        return format!("{value:.3e}");
    }
    #[expect(clippy::cast_possible_truncation, reason = "between -4 and 9")]
    let magnitude = size.log10().floor() as i32;
    let decimals = usize::try_from(FIGURES - 1 - magnitude).unwrap_or(0);
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::figure;

    #[test]
    fn figures_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (22.5, "22.5"),
            (-0.000_123_456, "-0.0001235"),
            (1_234_567.8, "1234568"),
            (0.98 * 100.0, "98"),
            (1e-7, "1.000e-7"),
            (9.999_96, "10"),
        ] {
            assert_eq!(figure(value), text);
        }
    }
}
