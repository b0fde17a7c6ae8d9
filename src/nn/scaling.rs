//! Loss scaling, for gradients in formats with few exponents (Micikevicius et al., 2018).

/// The gradient of the loss is multiplied by a power of two before it is encoded, and the gradients of weights divided by
/// it before they are clipped and used. Where one of them is not finite, the step is left out and the scale halved; after
/// so many steps without that it is doubled. A step that is left out draws its random bits all the same, but is none of
/// AdamW's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct LossScale {
    /// The exponent of the scale at first.
    pub exponent: u32,
    /// Steps without a scale too large before it is doubled.
    pub growth: u32,
}

impl Default for LossScale {
    fn default() -> Self {
        Self {
            exponent: 16,
            growth: 2000,
        }
    }
}

/// The least exponent: a gradient that is not finite there is no matter of scale.
const LEAST: i32 = -14;
/// The largest, so that the scale's reciprocal is a normal number.
const MOST: i32 = 126;

/// Where the scale is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scaling {
    pub(super) exponent: i32,
    /// Steps since it changed.
    pub(super) clean: u32,
    /// Steps left out.
    pub(super) skipped: u32,
}

impl Scaling {
    pub(super) fn new(scale: Option<LossScale>) -> Self {
        let exponent = scale.map_or(0, |scale| (scale.exponent as i32).min(MOST));
        Self {
            exponent,
            ..Self::default()
        }
    }

    pub(super) fn scale(&self) -> f32 {
        f32::exp2(self.exponent as f32)
    }

    /// A step is left out; whether a lower scale may help.
    pub(super) fn skip(&mut self) -> bool {
        self.skipped += 1;
        self.clean = 0;
        self.exponent -= 1;
        self.exponent >= LEAST
    }

    /// A step was taken; whether the scale has changed.
    pub(super) fn step(&mut self, growth: u32) -> bool {
        self.clean += 1;
        if self.clean < growth.max(1) || self.exponent >= MOST {
            return false;
        }
        self.clean = 0;
        self.exponent += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_halved_at_once_and_doubled_after_clean_steps() {
        let mut scaling = Scaling::new(Some(LossScale::default()));
        assert_eq!(scaling.scale(), 65536.0);
        assert!(scaling.skip());
        assert_eq!((scaling.scale(), scaling.skipped), (32768.0, 1));
        assert!((0..1999).all(|_| !scaling.step(2000)));
        assert!(scaling.skip());
        assert!((0..1999).all(|_| !scaling.step(2000)));
        assert!(scaling.step(2000));
        assert_eq!((scaling.scale(), scaling.clean, scaling.skipped), (32768.0, 0, 2));
        assert!((0..29).all(|_| scaling.skip()));
        assert!(!scaling.skip(), "2^-15 helps nobody");
    }
}
