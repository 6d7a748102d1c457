//! Brent's root finder, in the form that R's `uniroot` gives it. (R. P. Brent, Algorithms for Minimization without
//! Derivatives, 1973, chapter 4.) The functions here are stairs, so that where the search stops depends on its path: the
//! same path is walked as in the published results.

/// Evaluations after which the best guess is taken. Halving alone ends long before.
const STEPS_MAX: u32 = 1_001;

/// An end of the search: where, and what the function is there.
#[derive(Clone, Copy)]
struct Point {
    x: f64,
    y: f64,
}

/// Where `f` crosses zero between `left` and `right`, to within `tolerance`. `f` must have different signs at the ends.
pub(super) fn root(left: f64, right: f64, tolerance: f64, f: impl Fn(f64) -> f64) -> f64 {
    let point = |x: f64| Point { x, y: f(x) };
    // `best` and `other` lie on different sides of the root; `before` is the best of the step before.
    let mut before = point(left);
    let mut best = point(right);
    let mut other = before;
    for end in [before, best] {
        if end.y == 0.0 {
            return end.x;
        }
    }
    for _ in 0..STEPS_MAX {
        let last_step = best.x - before.x;
        if other.y.abs() < best.y.abs() {
            before = best;
            best = other;
            other = before;
        }
        let smallest = 2.0 * f64::EPSILON * best.x.abs() + tolerance / 2.0;
        let half = (other.x - best.x) / 2.0;
        if half.abs() <= smallest || best.y == 0.0 {
            return best.x;
        }
        let mut step = half;
        if last_step.abs() >= smallest && before.y.abs() > best.y.abs() {
            step = interpolate(before, best, other, last_step, smallest).unwrap_or(half);
        }
        if step.abs() < smallest {
            step = if step > 0.0 { smallest } else { -smallest };
        }
        before = best;
        best = point(best.x + step);
        if (best.y > 0.0 && other.y > 0.0) || (best.y < 0.0 && other.y < 0.0) {
            other = before;
        }
    }
    best.x
}

/// A step by the line through two points or the parabola through three, if it stays well inside the bracket.
fn interpolate(before: Point, best: Point, other: Point, last_step: f64, smallest: f64) -> Option<f64> {
    let width = other.x - best.x;
    let (mut p, mut q);
    if before.x == other.x {
        let slope = best.y / before.y;
        p = width * slope;
        q = 1.0 - slope;
    } else {
        let (r, s, t) = (before.y / other.y, best.y / other.y, best.y / before.y);
        p = t * (width * r * (r - s) - (best.x - before.x) * (s - 1.0));
        q = (r - 1.0) * (s - 1.0) * (t - 1.0);
    }
    if p > 0.0 {
        q = -q;
    } else {
        p = -p;
    }
    let inside = p < 0.75 * width * q - (smallest * q).abs() / 2.0;
    (inside && p < (last_step * q / 2.0).abs()).then(|| p / q)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_roots_of_smooth_functions_and_of_stairs() {
        assert!((root(0.0, 2.0, 1e-9, |x| x * x - 2.0) - 2f64.sqrt()).abs() < 1e-8);
        assert!((root(-4.0, 4.0, 1e-9, |x| -x.powi(3) + 8.0) - 2.0).abs() < 1e-8);
        let stair = root(
            0.0,
            10.0,
            1e-4,
            |x| if x < std::f64::consts::PI { 1.0 } else { -1.0 },
        );
        assert!((stair - std::f64::consts::PI).abs() < 1e-4);
        assert_eq!(root(3.0, 9.0, 1e-4, |x| x - 3.0), 3.0);
    }
}
