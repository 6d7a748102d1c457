//! Results that others have published: kayenta's suites (MannWhitney, Classifier, Detector, Statistic), R's
//! `wilcox.test`, commons-math.

use super::super::interval::{quantile_of_normal, statistic};
use super::super::rank::{Method, Tail, common_language_effect, p_value, u};
use super::super::*;

/// Samples written as how often each value occurs: only ranks count, so their order does not matter.
fn counted(values: &[(usize, f64)]) -> Vec<f64> {
    values
        .iter()
        .flat_map(|&(times, value)| std::iter::repeat_n(value, times))
        .collect()
}

fn close(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{found} is not {expected}");
}

#[test]
fn intervals_and_estimates_are_those_of_the_original() {
    let found = shift(&[10., 20., 30., 40.], &[1., 2., 3., 4.], 0.95).unwrap();
    close(found.low, 6.0, 1e-6);
    close(found.high, 39.0, 1e-6);
    close(found.estimate, 22.5, 1e-6);
}

#[test]
fn a_stair_ends_where_r_ends() {
    let canary = counted(&[
        (9, 1.5),
        (16, 2.0),
        (22, 2.5),
        (17, 3.0),
        (9, 3.5),
        (5, 4.0),
        (1, 4.5),
        (3, 5.0),
        (1, 5.5),
        (2, 6.0),
        (2, 6.5),
        (1, 7.0),
        (1, 7.5),
        (1, 16.5),
    ]);
    let baseline = counted(&[
        (2, 1.5),
        (16, 2.0),
        (18, 2.5),
        (16, 3.0),
        (10, 3.5),
        (8, 4.0),
        (4, 4.5),
        (6, 5.0),
        (2, 5.5),
        (5, 6.0),
        (1, 8.0),
        (1, 15.5),
        (1, 54.5),
    ]);
    let found = shift(&canary, &baseline, 0.95).unwrap();
    close(found.low, -0.500_002_521_696_696, 1e-6);
    close(found.high, -3.486_287_505_871_302e-5, 1e-6);
    close(found.estimate, -0.499_939_390_718_032_3, 1e-4);
}

/// Two arms of error rates, mostly zero. (kayenta, MannWhitneySuite, "Intermediate Values")
fn mostly_zero() -> (Vec<f64>, Vec<f64>) {
    let canary = counted(&[
        (146, 0.0),
        (1, 1.234567901234584),
        (1, 1.3333333333333286),
        (1, 1.3513513513513544),
        (1, 1.3698630136986196),
        (1, 1.3888888888888857),
        (2, 1.4285714285714164),
        (1, 1.4285714285714448),
        (1, 1.4492753623188293),
        (1, 1.470588235294116),
        (2, 1.5151515151515156),
        (2, 1.5625),
        (1, 1.5625000000000142),
        (1, 1.5873015873015817),
        (1, 1.6129032258064484),
        (2, 1.6393442622950687),
        (2, 1.6666666666666572),
        (1, 1.6666666666666714),
        (1, 1.6949152542372872),
        (2, 1.7241379310344769),
        (1, 1.7543859649122737),
        (1, 1.754385964912288),
        (1, 1.7857142857142776),
        (4, 1.818181818181813),
        (3, 1.8518518518518476),
        (2, 1.8518518518518619),
        (1, 1.8867924528301785),
        (2, 1.8867924528301927),
        (1, 1.9230769230769198),
        (2, 1.9607843137255117),
        (1, 2.0000000000000284),
        (2, 2.040816326530603),
        (1, 2.439024390243887),
        (1, 2.564102564102555),
        (1, 2.702702702702709),
        (1, 2.8169014084507182),
        (1, 2.985074626865682),
        (1, 3.0303030303030454),
        (1, 3.125000000000014),
        (1, 3.1746031746031633),
        (1, 3.225806451612911),
        (2, 3.333333333333343),
        (1, 3.3898305084745743),
        (1, 3.4482758620689538),
        (1, 3.5714285714285836),
        (1, 3.703703703703681),
        (1, 4.081632653061206),
        (1, 4.1095890410959015),
        (1, 5.555555555555557),
    ]);
    let baseline = counted(&[
        (193, 0.0),
        (1, 1.3888888888888857),
        (1, 1.470588235294116),
        (3, 1.492537313432834),
        (1, 1.5384615384615614),
        (1, 1.5625000000000142),
        (1, 1.5873015873015817),
        (1, 1.6393442622950687),
        (1, 1.6949152542373014),
        (1, 1.7241379310344769),
        (1, 1.754385964912288),
        (1, 1.7857142857142776),
        (1, 1.8518518518518619),
        (1, 2.5000000000000284),
        (1, 2.9850746268656536),
        (1, 3.124999999999986),
    ]);
    (canary, baseline)
}

#[test]
fn the_steps_in_between_are_those_of_r() {
    let (mut canary, mut baseline) = mostly_zero();
    let found = shift(&canary, &baseline, 0.95).unwrap();
    close(found.low, 3.521_755_377_702_165e-5, 1e-6);
    close(found.high, 2.024_564_616_623_34e-5, 1e-6);
    close(found.estimate, 2.627_924_304_515_565_3e-5, 1e-6);
    canary.sort_by(f64::total_cmp);
    baseline.sort_by(f64::total_cmp);
    let z = quantile_of_normal(0.975);
    close(z, 1.959_963_984_540_053_6, 1e-12);
    let f = |mu| statistic(&canary, &baseline, mu).unwrap();
    close(f(-3.124_999_999_999_986) - z, 17.090_968_923_762_254, 1e-9);
    close(f(5.555_555_555_555_557) - z, -20.997_687_930_433_106, 1e-9);
    close(f(-3.124_999_999_999_986) + z, 21.010_896_892_842_36, 1e-9);
    close(f(5.555_555_555_555_557) + z, -17.077_759_961_353, 1e-9);
    close(quantile_of_normal(0.99), 2.326_347_874_040_841, 1e-12);
}

#[test]
fn u_and_p_are_those_of_commons_math() {
    let (x, y) = ([19., 22., 16., 29., 24.], [20., 11., 17., 12.]);
    assert_eq!(u(&x, &y), 17.0);
    for (method, p) in [
        (Method::Exact, 0.111_111_111_111_111_1),
        (Method::Asymptotic, 0.111_346_886_533_140_41),
    ] {
        let (statistic, found) = p_value(&x, &y, Tail::TwoSided, method).unwrap();
        assert_eq!(statistic, 17.0);
        close(found, p, 1e-9);
    }
    let (x, y) = ([5., 2., 7., 8., 9., 3., 11., 12.], [1., 6., 10., 4.]);
    assert_eq!(u(&x, &y), 21.0);
    for (tail, p) in [
        (Tail::Greater, 0.230_303_030_303_030_3),
        (Tail::Less, 0.816_161_616_161_616_2),
        (Tail::TwoSided, 0.460_606_060_606_060_6),
    ] {
        close(p_value(&x, &y, tail, Method::Exact).unwrap().1, p, 1e-9);
    }
    assert_eq!(p_value(&[1., 1.], &[1., 2.], Tail::TwoSided, Method::Exact), None);
}

#[test]
fn common_language_effects_are_those_of_the_original() {
    let same = [1., 2., 3., 4., 5.];
    assert_eq!(common_language_effect(&same, &same), 0.5);
    assert_eq!(common_language_effect(&[2.3, 2.6, 3.3], &[25.3, 25.2]), 0.0);
    let canary = [
        22.58442682,
        18.83161858,
        22.34282944,
        18.52177725,
        19.41399147,
        21.77120485,
        24.33796385,
        22.16390531,
        23.781802,
        21.38514296,
        22.2205035,
        22.06152361,
        21.30313392,
        21.59652134,
        22.38394223,
        24.68882792,
        20.58916439,
        21.03137302,
        22.26213957,
        23.76485986,
        20.56271226,
        24.56567102,
        19.86055958,
        22.18967677,
        20.31475409,
        19.2634656,
        24.60283585,
        20.41729998,
        20.62069798,
        22.53448767,
    ];
    let baseline = [
        23.15322873,
        22.09179077,
        26.56410603,
        23.0971542,
        24.26372276,
        25.6461273,
        29.42730472,
        22.08630097,
        29.15257054,
        25.8096766,
        24.62191338,
        23.67398895,
        23.63946085,
        26.44684325,
        25.76230914,
        25.41279862,
        22.64005862,
        24.58898152,
        25.01968457,
        25.03695883,
        23.79864705,
        26.60180151,
        25.99405034,
        22.46726084,
        28.31843786,
        24.30152484,
        22.83713467,
        21.92380184,
        23.44735223,
        29.15676219,
    ];
    assert_eq!(common_language_effect(&canary, &baseline), 0.12);
}

/// A metric under the original's rules, and what its suite expects: classification and critical.
fn check(
    canary: &[f64],
    baseline: &[f64],
    change: impl FnOnce(&mut Metric),
    expected: (Classification, bool),
) -> Finding {
    let mut metric = Metric {
        canary: canary.to_vec(),
        baseline: baseline.to_vec(),
        ..Metric::named("metric")
    };
    change(&mut metric);
    let rules = Rules {
        compatibility: Compatibility::Kayenta,
        confidence: 0.95,
        tolerance: 0.1,
    };
    let found = classify(&metric, &rules);
    assert_eq!(
        (found.classification, found.critical),
        expected,
        "{}",
        found.reason
    );
    assert!(!found.reason.is_empty());
    found
}

fn allowed(metric: &mut Metric, decrease: f64, increase: f64) {
    (metric.effect.allowed_decrease, metric.effect.allowed_increase) = (decrease, increase);
}

fn critical(metric: &mut Metric, decrease: f64, increase: f64) {
    metric.critical = true;
    (metric.effect.critical_decrease, metric.effect.critical_increase) = (decrease, increase);
}

#[test]
fn sizes_of_differences_count_as_in_the_original() {
    use Classification::{High, Low, Pass};
    let (high, low) = ([20., 22., 21., 25., 30.], [1., 2.2, 1.1, 2.5, 3.]);
    check(&high, &low, |m| allowed(m, 0.8, 1.2), (High, false));
    check(
        &[10., 12.2, 10.1, 12.5, 23.],
        &high,
        |m| allowed(m, 0.5, 1.0),
        (Pass, false),
    );
    check(&high, &low, |m| critical(m, 1.0, 1.2), (High, true));
    check(&high, &low, |m| critical(m, 1.0, 1.0), (High, true));
    let few = [10., 20.2, 10.1, 20.5, 30.];
    check(
        &[2., 2., 2., 2., 3.],
        &few,
        |m| critical(m, 1.2, 1.0),
        (Low, true),
    );
    let both = |m: &mut Metric, from: f64, to: f64| {
        allowed(m, 1.0, from);
        critical(m, 1.0, to);
    };
    check(&high, &low, |m| both(m, 5.0, 13.0), (High, false));
    check(&high, &low, |m| both(m, 13.0, 15.0), (Pass, false));
    let (canary, baseline) = mostly_zero();
    check(&canary, &baseline, |_| {}, (High, false));
    check(&canary, &baseline, |m| allowed(m, 1.0, 5.0), (Pass, false));
    check(&high, &low, |m| m.direction = Direction::Decrease, (Pass, false));
    check(&low, &high, |m| m.direction = Direction::Increase, (Pass, false));
    check(&low, &high, |m| m.direction = Direction::Decrease, (Low, false));
}

#[test]
fn ties_zeros_and_silence_are_as_in_the_original() {
    use Classification::{Error, High, Low, Nodata, NodataFail, Pass};
    let (ones, tens, zeros) = ([1.0; 5], [10.0; 5], [0.0; 5]);
    check(&[1., 1., 1., 1., 10.], &ones, |_| {}, (Pass, false));
    check(&tens, &ones, |_| {}, (High, false));
    let over_zero = check(&tens, &zeros, |_| {}, (High, false));
    assert_eq!(over_zero.effect, None);
    check(&ones, &tens, |_| {}, (Low, false));
    check(&zeros, &zeros, |m| allowed(m, 0.8, 1.2), (Pass, false));
    check(
        &[54.9, 54.5, 55.1, 55.6, 57.4],
        &zeros,
        |m| allowed(m, 0.8, 1.2),
        (High, false),
    );
    check(
        &zeros,
        &[54.9, 54.5, 55.1, 55.6, 57.4],
        |m| allowed(m, 0.8, 1.2),
        (Low, false),
    );
    check(
        &[1.; 3],
        &[1.; 2],
        |m| m.direction = Direction::Decrease,
        (Pass, false),
    );
    check(
        &[1., 2., 3., 4., 5.],
        &[5., 4., 3., 2., 1.],
        |_| {},
        (Pass, false),
    );
    check(
        &[0., 1., 1., 1., 1.],
        &ones,
        |m| m.direction = Direction::Decrease,
        (Pass, false),
    );
    check(&[5.], &[3.], |_| {}, (Error, false));
    let some = [1., 2., 3., 4., 5.];
    check(&[], &some, |_| {}, (Nodata, false));
    check(&[f64::NAN], &some, |_| {}, (Nodata, false));
    check(&[], &some, |m| m.critical = true, (Nodata, true));
    check(&[], &some, |m| m.must_have_data = true, (NodataFail, false));
    check(&[], &some, |m| m.nan = Missing::Replace, (Pass, false));
    check(&[f64::NAN; 5], &tens, |m| m.nan = Missing::Replace, (Low, false));
}

#[test]
fn outliers_and_quantiles_are_those_of_the_original() {
    let values = [21., 23., 24., 25., 50., 29., 23., 21.];
    assert_eq!(
        without_outliers(&values, 1.5),
        [21., 23., 24., 25., 29., 23., 21.]
    );
    assert!(without_outliers(&[], 1.5).is_empty());
    let eighths: Vec<f64> = (0..8).map(|i| f64::from(i) / 2.0).collect();
    for (q, expected) in [(0.05, 0.175), (0.5, 1.75), (1.0, 3.5)] {
        close(quantile(&eighths, q), expected, 1e-12);
    }
    let mut nist = vec![
        95.1772, 95.1567, 95.1937, 95.1959, 95.1442, 95.0610, 95.1591, 95.1195, 95.1772, 95.0925, 95.1990,
        95.1682,
    ];
    nist.sort_by(f64::total_cmp);
    close(quantile(&nist, 0.9), 95.19568, 1e-9);
}
