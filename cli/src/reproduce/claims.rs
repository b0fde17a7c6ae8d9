//! What is concluded of figures: whether a claim reproduces, and what chance has to do with it.

use super::super::output::Row;
use super::super::seeds::Mean;
use super::lab::{Lab, Of};

/// What was claimed, what was measured, and whether they agree.
pub(super) struct Claim {
    pub(super) text: String,
    pub(super) measured: String,
    pub(super) holds: bool,
}

impl Claim {
    pub(super) fn new(text: impl Into<String>, measured: impl Into<String>, holds: bool) -> Self {
        Self {
            text: text.into(),
            measured: measured.into(),
            holds,
        }
    }
}

/// How far accuracies are above others in points, and what that may be off by, with 95 % confidence: by the differences
/// seed by seed, or, of one seed, by the images it was tested on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Difference {
    pub(super) mean: f64,
    pub(super) half: f64,
}

impl Difference {
    pub(super) fn of(values: &[f64], base: &[f64], images: usize) -> Self {
        let mean = Mean::of_differences(values, base);
        let half = mean.half.unwrap_or_else(|| {
            // As if the two networks' mistakes had nothing to do with each other: it is no wider than this.
            let variance = |percent: f64| percent * (100.0 - percent);
            let of = |all: &[f64]| variance(Mean::of(all).mean);
            1.96 * ((of(values) + of(base)) / images as f64).sqrt()
        });
        Self {
            mean: mean.mean,
            half,
        }
    }

    /// Whether it may be nothing, or a gain.
    pub(super) fn no_loss(&self) -> bool {
        self.mean + self.half >= 0.0
    }

    /// Whether it is less than nothing beyond chance.
    pub(super) fn loss(&self) -> bool {
        !self.no_loss()
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:+.2} points +- {:.2}", self.mean, self.half)
    }
}

impl Lab<'_> {
    /// How one kind of training compares with another; nothing where one diverged.
    pub(super) fn difference(&self, of: &Of, base: &Of) -> Option<Difference> {
        let (values, base) = (of.accuracies()?, base.accuracies()?);
        Some(Difference::of(&values, &base, self.data.set.test().len()))
    }

    /// The claim that one kind of training is no worse than another.
    pub(super) fn as_good(&self, text: impl Into<String>, of: &Of, base: &Of) -> Claim {
        let difference = self.difference(of, base);
        let holds = difference.is_some_and(|difference| difference.no_loss());
        Claim::new(text, self.words(of, base), holds)
    }

    /// The claim that it is worse.
    pub(super) fn worse(&self, text: impl Into<String>, of: &Of, base: &Of) -> Claim {
        let holds = match self.difference(of, base) {
            Some(difference) => difference.loss(),
            None => of.accuracies().is_none() && base.accuracies().is_some(),
        };
        Claim::new(text, self.words(of, base), holds)
    }

    fn words(&self, of: &Of, base: &Of) -> String {
        match self.difference(of, base) {
            Some(difference) => format!("{} less {}: {difference}", of.name, base.name),
            None if of.accuracies().is_none() => format!("{} diverged", of.name),
            None => format!("{} diverged", base.name),
        }
    }

    /// Says what reproduces and what does not.
    pub(super) fn conclude(&mut self, claims: &[Claim]) {
        let line = |text: &str| self.output.line(text);
        line(&match self.seeds.len() {
            1 => {
                "+-: 95 %, of the chance of which test images there are; --seeds LIST adds that of seeds. To keep up is to lose nothing beyond it, to fall behind is to lose more."
                    .to_string()
            }
            _ => "+-: 95 % by Student's t, seed by seed. To keep up is to lose nothing beyond it, to fall behind is to lose more.".to_string(),
        });
        if self.quick {
            line("--quick: these networks and images are too small for what follows to mean anything.");
        }
        let (right, wrong): (Vec<_>, Vec<_>) = claims.iter().partition(|claim| claim.holds);
        for claim in right {
            line(&format!("Reproduced: {} ({}).", claim.text, claim.measured));
        }
        for claim in wrong {
            line(&format!("NOT reproduced: {} ({}).", claim.text, claim.measured));
        }
        for claim in claims {
            let row = Row::new("reproduce", "claim", self.name, true)
                .with("claim", claim.text.clone())
                .with("measured", claim.measured.clone())
                .with("reproduced", claim.holds);
            self.output.row(row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_the_images_of_one_seed_and_the_seeds_of_several() {
        let one = Difference::of(&[98.0], &[98.5], 10_000);
        // sqrt(98 * 2 + 98.5 * 1.5) / 100 = 0.1854 points.
        assert!((one.half - 1.96 * 0.185_4).abs() < 1e-3, "{one:?}");
        assert_eq!(one.mean, -0.5);
        assert!(one.loss() && !one.no_loss());
        let near = Difference::of(&[98.3], &[98.5], 10_000);
        assert!(near.no_loss());
        let several = Difference::of(&[98.0, 98.2], &[98.5, 98.7], 10);
        assert!(several.half < 1e-9 && several.loss(), "{several:?}");
    }
}
