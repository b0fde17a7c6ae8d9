//! What a measured curve shows: points (x, y) with x rising.

/// Where a rising curve first crosses a level, between points on logarithmic axes.
pub(super) fn crossing(curve: &[(f64, f64)], level: f64) -> Option<f64> {
    curve.windows(2).find_map(|pair| match pair {
        [(x0, y0), (x1, y1)] if *y0 <= level && level < *y1 => {
            let share = (level / y0).ln() / (y1 / y0).ln();
            Some(x0 * (x1 / x0).powf(share))
        }
        _ => None,
    })
}

/// The working sets at which a cache is outgrown: the last one before the time per element rises, and stays, at
/// least 30 % above the least seen since the knee before. A rise goes on over several points where the cache is
/// shared; the next knee is looked for where it has levelled off. A peak that falls again is no cache but the
/// cost of starting threads.
pub(super) fn knees(curve: &[(f64, f64)]) -> Vec<f64> {
    const RISE: f64 = 1.3;
    const LEVEL: f64 = 1.1;
    let mut found = Vec::new();
    let mut least = f64::INFINITY;
    let mut at = 0;
    while at < curve.len() {
        let start = at;
        if curve[at].1 >= RISE * least {
            while at + 1 < curve.len() && curve[at + 1].1 > LEVEL * curve[at].1 {
                at += 1;
            }
            let later = &curve[at..];
            let stays = |low: f64| later.iter().all(|point| point.1 >= low);
            if stays(curve[at].1 / RISE) && stays(RISE * least) {
                found.push(curve[start - 1].0);
            }
            least = curve[at].1;
        }
        least = least.min(curve[at].1);
        at += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knees_are_where_a_rise_begins_and_stays() {
        let curve = |ys: &[f64]| -> Vec<(f64, f64)> {
            (0..)
                .map(|power| f64::from(1 << power))
                .zip(ys.iter().copied())
                .collect()
        };
        // The cost of starting falls, a cache is outgrown over two steps, then another.
        let two = curve(&[9.0, 4.0, 2.0, 1.0, 1.1, 1.6, 2.2, 2.2, 2.3, 5.0, 5.1]);
        assert_eq!(knees(&two), [16.0, 256.0]);
        // Threads start at the third point.
        let threads = curve(&[1.0, 0.8, 4.0, 2.0, 1.3, 1.2, 1.1, 1.1, 3.0, 3.1]);
        assert_eq!(knees(&threads), [128.0]);
        // One slow sample is none.
        assert_eq!(knees(&curve(&[1.0, 1.0, 3.0, 1.0, 1.0])), Vec::<f64>::new());
        assert!(knees(&curve(&[])).is_empty());
    }

    #[test]
    fn curves_cross_levels_between_points() {
        let curve = [(0.01, 1.0), (0.1, 10.0), (1.0, 100.0)];
        let at = crossing(&curve, 20.0).unwrap_or(0.0);
        assert!((at - 0.2).abs() < 1e-9, "{at}");
        assert_eq!(crossing(&curve, 1000.0), None);
        assert_eq!(crossing(&curve, 0.1), None);
    }
}
