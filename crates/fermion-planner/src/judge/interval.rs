//! How far one sample lies above another, and how surely: the Hodges-Lehmann estimate and the interval that inverts the
//! Mann-Whitney test, as R's `wilcox.test` and Kayenta compute them.

use statrs::distribution::{ContinuousCDF, Normal};

use super::root::root;

/// How near the ends of the interval are found, in the metric's unit. (R, Kayenta)
const TOLERANCE: f64 = 1e-4;

/// By how much the first sample lies above the second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shift {
    /// The most plausible value.
    pub estimate: f64,
    /// The lowest plausible one.
    pub low: f64,
    /// The highest plausible one.
    pub high: f64,
}

/// The shift between two samples of finite values. None where nothing can be said: an empty sample, one value against
/// one other, or values whose difference is no number.
pub fn shift(canary: &[f64], baseline: &[f64], confidence: f64) -> Option<Shift> {
    let (x, y) = (sorted(canary), sorted(baseline));
    let (x_min, x_max, y_min, y_max) = (*x.first()?, *x.last()?, *y.first()?, *y.last()?);
    let (left, right) = (x_min - y_max, x_max - y_min);
    if !left.is_finite() || !right.is_finite() || x.len() + y.len() < 3 {
        return None;
    }
    if x_min == x_max && y_min == y_max {
        // Two constants: the original blurs them with a little noise and then finds this.
        return Some(Shift {
            estimate: left,
            low: left,
            high: left,
        });
    }
    let z = quantile_of_normal(0.5 + confidence / 2.0);
    let (f_left, f_right) = (statistic(&x, &y, left)?, statistic(&x, &y, right)?);
    let solve = |q: f64| {
        if f_left - q <= 0.0 {
            left
        } else if f_right - q >= 0.0 {
            right
        } else {
            // Between the ends not all values are tied, so there is a statistic.
            root(left, right, TOLERANCE, |mu| {
                statistic(&x, &y, mu).unwrap_or(0.0) - q
            })
        }
    };
    Some(Shift {
        estimate: solve(0.0),
        low: solve(z),
        high: solve(-z),
    })
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// The value below which a standard normal variable stays with this probability.
pub(super) fn quantile_of_normal(probability: f64) -> f64 {
    Normal::standard().inverse_cdf(probability)
}

/// The Mann-Whitney statistic of `x - mu` against `y`, both sorted, standardised with continuity and tie corrections.
/// None where all values are tied.
pub(super) fn statistic(x: &[f64], y: &[f64], mu: f64) -> Option<f64> {
    let (n, m) = (x.len() as f64, y.len() as f64);
    let (mut i, mut j) = (0, 0);
    let (mut ranks_of_x, mut ties, mut seen) = (0.0, 0.0, 0.0);
    loop {
        let value = match (x.get(i).map(|x| x - mu), y.get(j)) {
            (Some(a), Some(&b)) => a.min(b),
            (Some(a), None) => a,
            (None, Some(&b)) => b,
            (None, None) => break,
        };
        let (i_before, j_before) = (i, j);
        while x.get(i).is_some_and(|x| x - mu == value) {
            i += 1;
        }
        while y.get(j).is_some_and(|&y| y == value) {
            j += 1;
        }
        let of_x = (i - i_before) as f64;
        let tied = of_x + (j - j_before) as f64;
        ranks_of_x += of_x * (seen + (tied + 1.0) / 2.0);
        ties += tied * tied * tied - tied;
        seen += tied;
    }
    let difference = ranks_of_x - n * (n + 1.0) / 2.0 - n * m / 2.0;
    let continuity = if difference == 0.0 {
        0.0
    } else {
        0.5 * difference.signum()
    };
    let variance = n * m / 12.0 * ((n + m + 1.0) - ties / ((n + m) * (n + m - 1.0)));
    let deviation = variance.sqrt();
    (deviation > 0.0).then(|| (difference - continuity) / deviation)
}
