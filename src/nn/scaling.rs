//! Loss scaling, for gradients in formats with few exponents (Micikevicius et al., 2018).

use crate::kernels::Decide;

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

impl LossScale {
    /// The exponent that the scale starts with.
    pub(super) fn start(&self) -> i32 {
        self.exponent.min(Decide::MOST.cast_unsigned()) as i32
    }
}
