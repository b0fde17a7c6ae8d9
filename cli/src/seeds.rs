//! What several seeds say together: means, spreads, and differences seed by seed.

use super::Stop;

/// A mean and, of more than one number, what it may be off by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Mean {
    pub(crate) mean: f64,
    /// The sample's standard deviation; `None` of one number.
    pub(crate) deviation: Option<f64>,
    /// Half the width of the 95 % interval of the mean, by Student's t; `None` of one number.
    pub(crate) half: Option<f64>,
}

impl Mean {
    /// Of at least one number.
    pub(crate) fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        if values.len() < 2 {
            return Self {
                mean,
                deviation: None,
                half: None,
            };
        }
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (squares / (count - 1.0)).sqrt();
        Self {
            mean,
            deviation: Some(deviation),
            half: Some(student(values.len() - 1) * deviation / count.sqrt()),
        }
    }

    /// Of the differences of two lists, seed by seed.
    pub(crate) fn of_differences(values: &[f64], base: &[f64]) -> Self {
        let all: Vec<_> = values
            .iter()
            .zip(base)
            .map(|(value, base)| value - base)
            .collect();
        Self::of(&all)
    }

    /// `98.52 +- 0.07`: with the deviation, if there is one.
    pub(crate) fn spread(&self) -> String {
        match self.deviation {
            Some(deviation) => format!("{:.2} +- {deviation:.2}", self.mean),
            None => format!("{:.2}", self.mean),
        }
    }

    /// `-0.03 (-0.10 to 0.04)`: with the interval, if there is one.
    pub(crate) fn interval(&self) -> String {
        match self.half {
            Some(half) => format!(
                "{:+.2} ({:+.2} to {:+.2})",
                self.mean,
                self.mean - half,
                self.mean + half
            ),
            None => format!("{:+.2}", self.mean),
        }
    }
}

/// The 97.5 % quantile of Student's t with so many degrees of freedom; from 31 on that of 30, which is wider than need
/// be.
fn student(freedom: usize) -> f64 {
    const QUANTILES: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145,
        2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048,
        2.045, 2.042,
    ];
    QUANTILES[freedom.clamp(1, 30) - 1]
}

/// The seeds of --seeds, or the one of --seed.
pub(crate) fn of(list: &[u64], one: u64) -> Result<Vec<u64>, Stop> {
    if list.is_empty() {
        return Ok(vec![one]);
    }
    for (i, seed) in list.iter().enumerate() {
        if list[..i].contains(seed) {
            return Err(Stop::Input(format!(
                "--seeds has {seed} twice: the same run would count as two"
            )));
        }
    }
    Ok(list.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_intervals_are_the_textbooks() {
        let one = Mean::of(&[3.5]);
        assert_eq!((one.mean, one.deviation, one.half), (3.5, None, None));
        assert_eq!((one.spread(), one.interval()), ("3.50".into(), "+3.50".into()));
        let mean = Mean::of(&[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(mean.mean, 2.5);
        // sqrt(5 / 3); 3.182 of it over 2.
        assert!((mean.deviation.unwrap_or(0.0) - 1.290_994_449).abs() < 1e-9);
        assert!((mean.half.unwrap_or(0.0) - 2.053_972_168).abs() < 1e-9);
        let paired = Mean::of_differences(&[98.0, 97.0], &[98.5, 97.5]);
        assert_eq!((paired.mean, paired.half), (-0.5, Some(0.0)));
        assert_eq!(paired.interval(), "-0.50 (-0.50 to -0.50)");
    }

    #[test]
    fn a_seed_counts_once() {
        assert_eq!(of(&[], 7).ok(), Some(vec![7]));
        assert_eq!(of(&[3, 1], 7).ok(), Some(vec![3, 1]));
        assert!(matches!(of(&[3, 1, 3], 7), Err(Stop::Input(words)) if words.contains("3 twice")));
    }
}
