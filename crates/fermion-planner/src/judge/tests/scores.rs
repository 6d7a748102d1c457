//! Published scores and sample ratios: kayenta's ScorerSuite, optimizely/ssrm.

use std::collections::BTreeMap;

use super::super::ratio::Ratio;
use super::super::*;

fn close(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{found} is not {expected}");
}

#[test]
fn scores_are_those_of_the_original() {
    use Classification::{Error, High, Low, Nodata, NodataFail, Pass};
    type Row<'a> = (&'a [(&'a str, f64)], &'a [(&'a str, Classification, bool)], f64);
    let rows: &[Row<'_>] = &[
        (&[], &[("g", Pass, false)], 100.0),
        (&[], &[("g", High, false)], 0.0),
        (&[], &[("g", Nodata, false)], 0.0),
        (
            &[],
            &[("a", Pass, false), ("a", Pass, false), ("b", Nodata, false)],
            100.0,
        ),
        (&[], &[("g", Pass, false), ("g", High, false)], 50.0),
        (
            &[],
            &[("g", Pass, false), ("g", High, false), ("g", Low, false)],
            33.33,
        ),
        (
            &[("a", 75.0), ("b", 25.0)],
            &[("a", Pass, false), ("a", Pass, false), ("b", High, false)],
            75.0,
        ),
        (
            &[("a", 50.0), ("b", 50.0)],
            &[("a", Pass, false), ("a", High, false), ("b", High, false)],
            25.0,
        ),
        (
            &[("a", 50.0), ("b", 50.0)],
            &[("a", Pass, false), ("a", Nodata, false), ("b", High, false)],
            50.0,
        ),
        (&[], &[("g", Pass, false), ("g", High, true)], 0.0),
        (&[], &[("g", Low, false), ("g", Pass, true)], 50.0),
        (&[], &[("g", Pass, false), ("g", Nodata, true)], 0.0),
        (
            &[("a", 15.0), ("b", 85.0)],
            &[
                ("a", High, false),
                ("a", Low, false),
                ("a", Pass, false),
                ("b", High, false),
            ],
            5.0,
        ),
        (&[], &[("g", Pass, false), ("g", NodataFail, false)], 50.0),
        // The original's own fault: an error is left out.
        (&[], &[("g", Pass, false), ("g", Error, false)], 100.0),
        (
            &[("a", 60.0)],
            &[("a", Pass, false), ("b", Pass, false), ("c", High, false)],
            80.0,
        ),
    ];
    for (weights, metrics, expected) in rows {
        let weights: BTreeMap<_, _> = weights
            .iter()
            .map(|(name, weight)| ((*name).to_owned(), *weight))
            .collect();
        let judged: Vec<_> = metrics
            .iter()
            .map(|&(group, classification, critical)| Judged {
                group,
                classification,
                critical,
            })
            .collect();
        assert_eq!(score(&judged, &weights).summary, *expected, "{metrics:?}");
    }
}

#[test]
fn sample_ratios_are_those_of_ssrm_test() {
    let mut ratio = Ratio::new(vec![0.4, 0.4, 0.2], Some(vec![1.0; 3]));
    for (counts, m1, m0) in [
        ([1, 0, 0], -1.098_612_288_668_109_6, -0.916_290_731_874_155),
        ([0, 1, 0], -2.484_906_649_788_000_4, -1.832_581_463_748_31),
        ([1, 0, 0], -3.401_197_381_662_155, -2.748_872_195_622_465),
        ([0, 1, 0], -4.499_809_670_330_265, -3.665_162_927_496_62),
        ([0, 0, 1], -6.445_719_819_385_578_5, -5.274_600_839_930_72),
    ] {
        ratio.observe(&counts);
        close(ratio.ln_m1(), m1, 1e-9);
        close(ratio.ln_m0(), m0, 1e-9);
    }
    let mut ratio = Ratio::new(vec![0.4, 0.4, 0.2], Some(vec![1.0; 3]));
    for (counts, m1, m0) in [
        ([20, 17, 9], -7.028_201_432_058_012, -4.077_640_646_606_198_5),
        ([18, 21, 8], -11.947_847_738_358_888, -8.265_946_861_099_877),
        ([4, 6, 4], -15.471_401_950_257_842, -11.610_743_519_545_139),
        ([18, 19, 11], -19.964_845_210_903_86, -15.781_031_228_536_165),
    ] {
        ratio.observe(&counts);
        close(ratio.ln_m1(), m1, 1e-9);
        close(ratio.ln_m0(), m0, 1e-9);
    }
    assert_eq!(ratio.p(), 1.0);
    // A plain mismatch, under the usual prior: certain, and never less so afterwards.
    let mut ratio = Ratio::new(vec![0.05, 0.95], None);
    ratio.observe(&[50, 950]);
    assert_eq!(ratio.p(), 1.0);
    ratio.observe(&[1_000, 9_000]);
    assert!(ratio.p() < 1e-9, "{}", ratio.p());
    let least = ratio.p();
    ratio.observe(&[5_000, 95_000]);
    assert!(ratio.p() <= least);
}
