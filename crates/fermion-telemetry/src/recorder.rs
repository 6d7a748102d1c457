//! A distribution while requests fill it: the buckets of a [`Sketch`] as an array for each doubling, so that a request
//! counts where a tree would have to be walked, and allocates nothing once the array is there.

use fermion_model::sketch::{BUCKETS_A_DOUBLING, Sketch, index};

/// Values since it was last emptied.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    zeros: u64,
    sum: f64,
    /// Those that had a value, in the order in which they came: a handful.
    doublings: Vec<Doubling>,
}

#[derive(Debug)]
struct Doubling {
    /// The index of its first bucket, over the buckets of a doubling.
    number: i16,
    counts: Box<[u32; BUCKETS_A_DOUBLING as usize]>,
}

impl Recorder {
    pub(crate) fn add(&mut self, value: f64) {
        let Some(index) = index(value) else {
            self.zeros += 1;
            return;
        };
        self.sum += value;
        let (number, bucket) = (
            index.div_euclid(BUCKETS_A_DOUBLING),
            index.rem_euclid(BUCKETS_A_DOUBLING),
        );
        let known = self.doublings.iter().position(|known| known.number == number);
        let at = known.unwrap_or_else(|| {
            self.doublings.push(Doubling {
                number,
                counts: Box::default(),
            });
            self.doublings.len() - 1
        });
        let count = &mut self.doublings[at].counts[usize::try_from(bucket).unwrap_or(0)];
        *count = count.saturating_add(1);
    }

    /// Adds everything to a sketch, and begins anew with the same arrays.
    pub(crate) fn empty_into(&mut self, sketch: &mut Sketch) {
        sketch.zeros += std::mem::take(&mut self.zeros);
        sketch.sum += std::mem::take(&mut self.sum);
        for doubling in &mut self.doublings {
            let first = doubling.number * BUCKETS_A_DOUBLING;
            for (bucket, count) in (first..).zip(doubling.counts.iter_mut()) {
                if *count > 0 {
                    *sketch.buckets.entry(bucket).or_default() += u64::from(std::mem::take(count));
                }
            }
        }
    }

    /// Whether there was no value since it was last emptied.
    pub(crate) fn is_empty(&self) -> bool {
        let all_counts = || self.doublings.iter().flat_map(|doubling| doubling.counts.iter());
        self.zeros == 0 && all_counts().all(|&count| count == 0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// It is a sketch by another way, also when it is used again.
        #[test]
        fn what_is_recorded_is_what_a_sketch_would_have(
            rounds in prop::collection::vec(prop::collection::vec(prop_oneof![Just(0.0), 1e-9..1e-3_f64, 1e-3..1e5_f64], 0..50), 1..4)
        ) {
            let mut recorder = Recorder::default();
            for values in rounds {
                let (mut found, mut expected) = (Sketch::default(), Sketch::default());
                for value in &values {
                    recorder.add(*value);
                    expected.add(*value, 1);
                }
                prop_assert_eq!(recorder.is_empty(), values.is_empty());
                recorder.empty_into(&mut found);
                prop_assert!(recorder.is_empty());
                prop_assert_eq!(found, expected);
            }
        }
    }
}
