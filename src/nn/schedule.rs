//! Learning rates over a training.

use crate::error::{Error, Result};

/// How the learning rate changes; a warm-up may stand before any of them.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Schedule {
    /// Not at all.
    Constant,
    /// Multiplied by `factor` after each epoch.
    Step {
        /// What by: finite, 0 or more.
        factor: f32,
    },
    /// Half a cosine from the rate to 0 over all steps (Loshchilov and Hutter, 2017, without restarts): step t of T takes
    /// `rate (1 + cos(pi t / T)) / 2`.
    Cosine,
}

impl Schedule {
    /// What the rate is multiplied by at step `step` of `steps` (both over all epochs, from 0), in epoch `epoch`. The
    /// first `warm_up` steps rise from `1 / warm_up` to 1 times that.
    pub(super) fn factor(self, [step, steps]: [usize; 2], epoch: usize, warm_up: usize) -> f64 {
        let own = match self {
            Self::Constant => 1.0,
            Self::Step { factor } => f64::from(factor).powi(epoch as i32),
            Self::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * step as f64 / steps.max(1) as f64).cos()),
        };
        match step < warm_up {
            true => own * (step + 1) as f64 / warm_up as f64,
            false => own,
        }
    }

    pub(super) fn check(self) -> Result<()> {
        match self {
            Self::Step { factor } if !(factor.is_finite() && factor >= 0.0) => Err(Error::Value {
                op: "train",
                what: "rate decay",
                value: factor.to_string(),
                expected: "a finite number, 0 or more",
            }),
            Self::Constant | Self::Step { .. } | Self::Cosine => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_go_where_they_are_said_to() {
        let cosine = |step| Schedule::Cosine.factor([step, 100], 0, 0);
        assert_eq!(cosine(0), 1.0);
        assert!((cosine(50) - 0.5).abs() < 1e-15 && cosine(100).abs() < 1e-15);
        assert!((0..100).all(|step| cosine(step) > cosine(step + 1)));
        let steps = Schedule::Step { factor: 0.5 };
        assert_eq!(
            [0, 1, 3].map(|epoch| steps.factor([7, 9], epoch, 0)),
            [1.0, 0.5, 0.125]
        );
        let warm = |step| Schedule::Constant.factor([step, 100], 0, 4);
        assert_eq!([0, 1, 2, 3, 4, 99].map(warm), [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn schedules_that_are_none_are_refused() {
        for factor in [f32::NAN, -1.0, f32::INFINITY] {
            assert!(Schedule::Step { factor }.check().is_err());
        }
        assert!(Schedule::Step { factor: 0.0 }.check().is_ok());
    }
}
