//! A distribution that can be merged: counts in buckets whose bounds grow by the 32nd root of two, so that any quantile is
//! known to within 1.1 % of its value, however many nodes it comes from. The buckets are those of an OpenTelemetry
//! exponential histogram of scale 5 and of a Prometheus native histogram of schema 5: all three are written from it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// Buckets for each doubling: two to the power of the scale.
pub const BUCKETS_A_DOUBLING: i16 = 32;
/// The same to calculate with.
const BUCKETS: f64 = BUCKETS_A_DOUBLING as f64;
/// The scale of OpenTelemetry and the schema of Prometheus that these buckets have.
pub const SCALE: i8 = 5;
/// Indices outside are put into the first and the last bucket: 2^-24 (60 ns in seconds) and 2^40 (a terabyte).
const INDEX_MIN: i16 = -24 * BUCKETS_A_DOUBLING;
const INDEX_MAX: i16 = 40 * BUCKETS_A_DOUBLING;

/// A distribution of values of at least zero, in whatever unit its owner says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sketch {
    /// Values that are zero.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub zeros: u64,
    /// The sum of all values.
    pub sum: f64,
    /// How many values lie in `(bound(index - 1), bound(index)]`.
    pub buckets: BTreeMap<i16, u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The bits of a double that follow its exponent.
const FRACTION_BITS: u32 = 52;
const FRACTION: u64 = (1 << FRACTION_BITS) - 1;
const EXPONENT_BIAS: i32 = 1023;

/// The fractions of 2^(k/32) for k from 0 to 31: how far within its doubling a value lies is found by comparing.
static STEPS: LazyLock<[u64; BUCKETS_A_DOUBLING as usize]> =
    LazyLock::new(|| std::array::from_fn(|k| (k as f64 / BUCKETS).exp2().to_bits() & FRACTION));

/// The index of the bucket in which a value lies; none for zero, and for what is no number.
pub fn index(value: f64) -> Option<i16> {
    if value.is_nan() || value <= 0.0 {
        return None;
    }
    // Several values are added for each request, and a logarithm would take three times as long.
    let (bits, steps) = (value.to_bits(), &*STEPS);
    let doubling = (bits >> FRACTION_BITS) as i32 - EXPONENT_BIAS;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "at most 32"
    )]
    let step = steps.partition_point(|step| *step < bits & FRACTION) as i32;
    let bounded =
        (doubling * i32::from(BUCKETS_A_DOUBLING) + step - 1).clamp(INDEX_MIN.into(), INDEX_MAX.into());
    i16::try_from(bounded).ok()
}

/// The greatest value in a bucket.
pub fn bound(index: i16) -> f64 {
    (f64::from(index + 1) / BUCKETS).exp2()
}

impl Sketch {
    /// Adds a value, so many times.
    pub fn add(&mut self, value: f64, times: u64) {
        if times == 0 {
            return;
        }
        match index(value) {
            Some(index) => {
                *self.buckets.entry(index).or_default() += times;
                self.sum += value * times as f64;
            }
            None => self.zeros += times,
        }
    }

    /// Adds all values of another one.
    pub fn merge(&mut self, other: &Self) {
        self.zeros += other.zeros;
        self.sum += other.sum;
        for (index, count) in &other.buckets {
            *self.buckets.entry(*index).or_default() += count;
        }
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.zeros + self.buckets.values().sum::<u64>()
    }

    /// The value below which a share `q` of all values lies: the middle of its bucket, by ratio. None without values.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank lies between 0 and the count"
        )]
        let rank = (q.clamp(0.0, 1.0) * (count - 1) as f64) as u64;
        let mut below = self.zeros;
        if rank < below {
            return Some(0.0);
        }
        for (&index, &times) in &self.buckets {
            below += times;
            if rank < below {
                return Some(bound(index) * (-0.5 / BUCKETS).exp2());
            }
        }
        self.buckets.last_key_value().map(|(&index, _)| bound(index))
    }

    /// How many values are at most `limit`, exact for values that do not share their bucket with it.
    pub fn at_most(&self, limit: f64) -> u64 {
        let whole = index(limit).map_or(0, |last| {
            self.buckets.range(..=last).map(|(_, times)| times).sum()
        });
        if limit >= 0.0 { self.zeros + whole } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_their_bound_also_after_a_merge() {
        let values: Vec<f64> = (1..=10_000).map(|n| f64::from(n) * 0.000_1).collect();
        let (mut left, mut right) = (Sketch::default(), Sketch::default());
        for (n, value) in values.iter().enumerate() {
            if n % 3 == 0 { &mut left } else { &mut right }.add(*value, 1);
        }
        left.merge(&right);
        assert_eq!(left.count(), 10_000);
        for (q, exact) in [(0.0, 0.000_1), (0.5, 0.5), (0.95, 0.95), (0.99, 0.99), (1.0, 1.0)] {
            let found = left.quantile(q).unwrap();
            assert!((found / exact - 1.0).abs() < 0.012, "{q}: {found} for {exact}");
        }
        let below = left.at_most(0.25) as f64;
        assert!((below / 2_500.0 - 1.0).abs() < 0.025, "{below}");
    }

    #[test]
    fn a_bound_lies_in_its_own_bucket_and_nothing_is_lost() {
        for at in INDEX_MIN..INDEX_MAX {
            assert_eq!(index(bound(at) * 0.999_999), Some(at));
            assert_eq!(index(bound(at)), Some(at));
            assert_eq!(index(bound(at) * 1.000_001), Some(at + 1));
        }
        for (value, at) in [(f64::MIN_POSITIVE / 2.0, INDEX_MIN), (f64::INFINITY, INDEX_MAX)] {
            assert_eq!(index(value), Some(at));
        }
        let mut sketch = Sketch::default();
        for value in [0.0, -1.0, f64::NAN, 1e-300, 1e300] {
            sketch.add(value, 1);
        }
        assert_eq!((sketch.count(), sketch.zeros, sketch.buckets.len()), (5, 3, 2));
        assert_eq!(Sketch::default().quantile(0.5), None);
        let json = serde_json::to_string(&sketch).unwrap();
        assert_eq!(serde_json::from_str::<Sketch>(&json).unwrap().count(), 5);
    }
}
