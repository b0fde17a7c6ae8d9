//! The formats side by side.

/// One format's row.
#[derive(Clone, Copy, Debug)]
pub struct FormatInfo {
    /// The format's name.
    pub name: &'static str,
    /// Total bits.
    pub bits: u32,
    /// Exponent bits.
    pub exponent_bits: u32,
    /// Mantissa bits stored.
    pub mantissa_bits: u32,
    /// Distance from 1 to the next value.
    pub epsilon: f64,
    /// Largest finite value.
    pub largest: f64,
    /// Smallest positive normal value.
    pub smallest_normal: Option<f64>,
    /// Smallest positive subnormal value.
    pub smallest_subnormal: Option<f64>,
    /// The bits nearest to a value, and what they decode to.
    pub encode: fn(f64) -> (u64, f64),
}

/// Every format.
#[must_use]
pub fn formats() -> Vec<FormatInfo> {
    Vec::new()
}
