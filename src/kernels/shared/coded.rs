//! What WGSL is told of the elements of few-bit formats.

use crate::format::{Element, Format, TensorScale};

/// Past every code: no code is Inf.
const NONE: u32 = 0xffff_ffff;

/// The fields of `struct Element` in shaders/lib/element.wgsl, but for the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ElementWords {
    pub(crate) bits: u32,
    pub(crate) fraction: u32,
    pub(crate) bias: u32,
    pub(crate) max_code: u32,
    pub(crate) infinity: u32,
    pub(crate) nan_code: u32,
    pub(crate) limit: u32,
}

impl ElementWords {
    pub(crate) fn of(element: Element) -> Self {
        let max_code = u32::from(element.max_code());
        let even = Self {
            bits: element.bits(),
            fraction: element.fraction().unwrap_or_default(),
            bias: 0,
            max_code,
            infinity: NONE,
            nan_code: 0,
            limit: max_code,
        };
        match element {
            Element::Minifloat(float) => {
                let infinity = float.infinity().map_or(NONE, u32::from);
                Self {
                    fraction: float.mantissa_bits(),
                    bias: float.bias(),
                    infinity,
                    nan_code: float.nan().unwrap_or(float.max_code()).into(),
                    limit: if float.overflows() { infinity } else { max_code },
                    ..even
                }
            }
            Element::SignMagnitude(_) => even,
            Element::Fixed(fixed) => Self {
                limit: max_code + u32::from(!fixed.symmetric()),
                ..even
            },
        }
    }
}

/// `ELEMENT_*` in shaders/lib/element.wgsl.
pub(crate) fn kind(element: Element) -> u32 {
    match element {
        Element::Minifloat(_) => 0,
        Element::SignMagnitude(_) => 1,
        Element::Fixed(_) => 2,
    }
}

/// One element of every kind.
pub(crate) const KINDS: [u32; 3] = [0, 1, 2];

/// Whether a kind is an even grid.
pub(crate) const fn is_even(kind: u32) -> bool {
    kind > 0
}

/// Whether the whole tensor has a scale.
pub(crate) fn tensor_scaled(format: Format) -> bool {
    format.tensor_scale() != TensorScale::None
}
