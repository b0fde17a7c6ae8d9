//! Where axes have numbers, and how these read.

/// Most ticks of an axis.
pub(super) const TICKS: usize = 12;

/// Where an axis has numbers, and how they read.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Ticks {
    /// 1, 2 and 5 of each power of ten.
    Decimal,
    /// Powers of two.
    Size,
    /// Powers of four, in KiB, MiB and GiB.
    Bytes,
    /// 1, 2 and 5 of each power of ten, in percent.
    Percent,
    /// Even steps on a linear axis.
    Linear,
    /// Even steps on a linear axis of what is counted: whole numbers.
    Whole,
}

impl Ticks {
    pub(super) fn text(self, value: f64) -> String {
        match self {
            Self::Decimal | Self::Linear => number(value),
            Self::Whole => format!("{value:.0}"),
            Self::Size => format!("{value:.0}"),
            Self::Percent => format!("{} %", number(100.0 * value)),
            Self::Bytes => bytes(value),
        }
    }

    /// The same on an axis of this range, where neighbours are to read differently.
    pub(super) fn text_within(self, value: f64, range: [f64; 2]) -> String {
        match self {
            Self::Linear => {
                let digits = (-step(range, TICKS).log10().floor()).clamp(0.0, 9.0) as usize;
                trimmed(format!("{value:.digits$}"))
            }
            _ => self.text(value),
        }
    }

    pub(super) fn is_linear(self) -> bool {
        matches!(self, Self::Linear | Self::Whole)
    }

    /// The places of the ticks within a range, thinned until there are at most `most`.
    pub(super) fn places(self, [low, high]: [f64; 2], most: usize) -> Vec<f64> {
        if self.is_linear() {
            let least = if self == Self::Whole { 1.0 } else { 0.0 };
            return even([low, high], step([low, high], most).max(least));
        }
        let within = |value: &f64| (low * 0.999..=high * 1.001).contains(value);
        let powers = |base: f64, steps: &[f64]| -> Vec<f64> {
            let (first, last) = (low.log(base).floor() as i32 - 1, high.log(base).ceil() as i32 + 1);
            (first..=last)
                .flat_map(|power| steps.iter().map(move |step| step * base.powi(power)))
                .filter(within)
                .collect()
        };
        let finer_first: &[(f64, &[f64])] = match self {
            Self::Decimal | Self::Percent => &[(10.0, &[1.0, 2.0, 5.0]), (10.0, &[1.0, 3.0]), (10.0, &[1.0])],
            Self::Size => &[(2.0, &[1.0])],
            Self::Bytes => &[(2.0, &[1.0]), (4.0, &[1.0]), (16.0, &[1.0])],
            Self::Linear | Self::Whole => &[],
        };
        let mut places = Vec::new();
        for (base, steps) in finer_first {
            places = powers(*base, steps);
            if places.len() <= most {
                break;
            }
        }
        // A range of less than a decade or so.
        if places.len() < 3 && matches!(self, Self::Decimal | Self::Percent) {
            return even([low, high], step([low, high], most.min(6)));
        }
        places
    }
}

/// The step, 1, 2 or 5 of a power of ten, by which there are at most so many places.
fn step([low, high]: [f64; 2], most: usize) -> f64 {
    let least = (high - low) / most.max(1) as f64;
    let power = 10f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    let mut steps = steps.into_iter();
    steps.find(|step| *step >= least).unwrap_or(10.0 * power)
}

fn even([low, high]: [f64; 2], step: f64) -> Vec<f64> {
    let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
    // Whole numbers times the step: a sum of steps would drift.
    (first..=last).map(|place| place as f64 * step).collect()
}

pub(super) fn bytes(value: f64) -> String {
    match value {
        v if v >= (1u64 << 30) as f64 => format!("{} GiB", number(v / (1u64 << 30) as f64)),
        v if v >= (1u64 << 20) as f64 => format!("{} MiB", number(v / (1u64 << 20) as f64)),
        v if v >= 1024.0 => format!("{} KiB", number(v / 1024.0)),
        v => format!("{v:.0} B"),
    }
}

/// Three digits, no trailing zeros.
fn number(value: f64) -> String {
    // As long as a label may be.
    if value != 0.0 && !(1e-4..1e6).contains(&value.abs()) {
        let text = format!("{value:.2e}");
        return match text.split_once('e') {
            Some((digits, power)) => format!("{}e{power}", trimmed(digits.to_string())),
            None => text,
        };
    }
    let digits = (2 - value.abs().max(1e-12).log10().floor() as i32).clamp(0, 9) as usize;
    trimmed(format!("{value:.digits$}"))
}

fn trimmed(text: String) -> String {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_string()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_few_and_read_well() {
        let texts = |ticks: Ticks, range, most| -> Vec<String> {
            let places = ticks.places(range, most);
            places.into_iter().map(|value| ticks.text(value)).collect()
        };
        assert_eq!(texts(Ticks::Decimal, [0.9, 12.0], 12), ["1", "2", "5", "10"]);
        assert_eq!(
            texts(Ticks::Decimal, [0.01, 1e4], 8),
            ["0.01", "0.1", "1", "10", "100", "1000", "10000"]
        );
        assert_eq!(
            texts(Ticks::Percent, [0.0009, 0.011], 12),
            ["0.1 %", "0.2 %", "0.5 %", "1 %"]
        );
        assert_eq!(
            texts(Ticks::Bytes, [4096.0, 70_000.0], 3),
            ["4 KiB", "16 KiB", "64 KiB"]
        );
        assert_eq!(
            texts(Ticks::Linear, [0.93, 4.07], 12),
            ["1", "1.5", "2", "2.5", "3", "3.5", "4"]
        );
        assert_eq!(texts(Ticks::Linear, [97.2, 98.9], 4), ["97.5", "98", "98.5"]);
        assert_eq!(texts(Ticks::Whole, [0.95, 3.05], 12), ["1", "2", "3"]);
        assert_eq!(texts(Ticks::Decimal, [1.9, 3.3], 12), ["2", "2.5", "3"]);
        assert_eq!(
            texts(Ticks::Decimal, [1e-9, 1e-3], 3).last().map(String::as_str),
            Some("0.001")
        );
        assert_eq!((number(1e-9), number(2.5e-7)), ("1e-9".into(), "2.5e-7".into()));
        // Neighbours read differently however near they are.
        let near = [98.504, 98.523];
        let texts: Vec<_> = Ticks::Linear
            .places(near, TICKS)
            .into_iter()
            .map(|value| Ticks::Linear.text_within(value, near))
            .collect();
        assert!(
            texts.len() > 4 && texts.is_sorted() && texts.windows(2).all(|pair| pair[0] != pair[1]),
            "{texts:?}"
        );
        assert_eq!(bytes(1.5 * 1024.0 * 1024.0), "1.5 MiB");
    }
}
