//! The formats that have a name of their own, and names for all others.
//!
//! `mxfp8-e4m3` and its like are the OCP MX formats, v1.0. Every other name says what the format is: the element
//! (`f16`, `fp8-e5m2`, `int8`, `bfp5` for sign and magnitude of 5 bits, `q8.8` for two's complement of 8 integer bits
//! and 8 fraction bits), then `-32` for scales of blocks of 32 or `-tensor` for one of the tensor, then `-up` for
//! scales under which nothing saturates.

use std::fmt;
use std::str::FromStr;

use super::coded::Format;
use super::element::Element;
use super::fixed::{Fixed, INT8};
use super::minifloat::{E2M1, E2M3, E3M2, E4M3, E5M2, F16, Minifloat};
use super::scale::{Scale, ScaleRule, TensorScale};
use super::{FormatError, fixed};

/// Why a name is no format's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseFormatError {
    /// No such name.
    #[error("no format is called {name:?}; the nearest names are {nearest}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// Names that look like it, comma-separated.
        nearest: String,
    },
    /// A name of a format that does not exist.
    #[error(transparent)]
    Format(#[from] FormatError),
}

/// A format in use, and what for.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub format: Format,
    /// What to choose it for, in a few words.
    pub what_for: &'static str,
}

/// A row whose parts fit together, or the build fails.
const fn row(name: &'static str, element: Element, block: Option<u32>, what_for: &'static str) -> Named {
    let format = match (Format::new(element), block) {
        (Ok(format), None) => Ok(format),
        (Ok(format), Some(size)) => format.block(size, ScaleRule::Floor),
        (Err(error), _) => Err(error),
    };
    match format {
        Ok(format) => Named {
            name,
            format,
            what_for,
        },
        #[expect(clippy::panic, reason = "a constant: it fails the build")]
        Err(_) => panic!("a row of the table of formats is no format"),
    }
}

const fn scaled_by_tensor(name: &'static str, element: Minifloat, what_for: &'static str) -> Named {
    let named = row(name, Element::Minifloat(element), None, what_for);
    match named.format.tensor_scaled(ScaleRule::Up) {
        Ok(format) => Named { format, ..named },
        #[expect(clippy::panic, reason = "a constant: it fails the build")]
        Err(_) => panic!("a row of the table of formats is no format"),
    }
}

const fn float(name: &'static str, element: Minifloat, what_for: &'static str) -> Named {
    row(name, Element::Minifloat(element), None, what_for)
}

const fn mx(name: &'static str, element: Minifloat, what_for: &'static str) -> Named {
    row(name, Element::Minifloat(element), Some(32), what_for)
}

const fn bfp(name: &'static str, bits: u32, what_for: &'static str) -> Named {
    row(name, Element::SignMagnitude(bits), Some(16), what_for)
}

/// The formats in use. Everything that there is of a format follows from its row: encode and decode, coded operands
/// of products, cases and benches, and what `fewbit formats` prints.
pub static NAMED: &[Named] = &[
    float("f16", F16, "exchange with IEEE half precision"),
    row(
        "q8.8",
        Element::Fixed(fixed::Q8_8),
        None,
        "values of a known range below 128",
    ),
    float("fp8-e5m2", E5M2, "gradients of a known range"),
    float("fp8-e4m3", E4M3, "weights and activations of a known range"),
    scaled_by_tensor("fp8-e5m2-tensor", E5M2, "gradients"),
    scaled_by_tensor(
        "fp8-e4m3-tensor",
        E4M3,
        "weights and activations, one scale to store",
    ),
    row(
        "mxint8",
        Element::Fixed(INT8),
        Some(32),
        "the most accurate 8 bits where blocks are alike",
    ),
    mx("mxfp8-e5m2", E5M2, "gradients in 8 bits"),
    mx(
        "mxfp8-e4m3",
        E4M3,
        "weights and activations in 8 bits: the safe choice",
    ),
    mx("mxfp6-e3m2", E3M2, "6 bits where blocks hold outliers"),
    mx("mxfp6-e2m3", E2M3, "6 bits where blocks are alike"),
    mx("mxfp4", E2M1, "weights in 4 bits, the smallest standard format"),
    bfp("bfp8-16", 8, "8 bits, products in integers"),
    bfp("bfp5-16", 5, "training in 5 bits (FAST's 4-bit mantissas)"),
    bfp("bfp4-16", 4, "weights in 4 bits, products in integers"),
    bfp("bfp3-16", 3, "training in 3 bits (FAST's 2-bit mantissas)"),
];

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(named) = NAMED.iter().find(|named| named.format == *self) {
            return f.pad(named.name);
        }
        let mut name = match self.element() {
            Element::Minifloat(float) => element_name(float),
            Element::SignMagnitude(bits) => format!("bfp{bits}"),
            Element::Fixed(fixed) if fixed == INT8 => "int8".to_string(),
            Element::Fixed(fixed) => format!("q{}.{}", fixed.bits() - fixed.fraction(), fixed.fraction()),
        };
        let rule = match (self.scale(), self.tensor_scale()) {
            (Scale::Block { size, rule }, _) => {
                name += &format!("-{size}");
                rule
            }
            (Scale::None, TensorScale::PowerOfTwo(rule)) => {
                name += "-tensor";
                // What the names without more say.
                match rule {
                    ScaleRule::Up => ScaleRule::Floor,
                    ScaleRule::Floor => {
                        name += "-floor";
                        ScaleRule::Floor
                    }
                }
            }
            (Scale::None, TensorScale::None) => ScaleRule::Floor,
        };
        match rule {
            ScaleRule::Floor => {}
            ScaleRule::Up => name += "-up",
        }
        f.pad(&name)
    }
}

/// `f16`, `fp8-e4m3`.
fn element_name(float: Minifloat) -> String {
    match float.bits() {
        16 => float.name().to_string(),
        bits => format!("fp{bits}-{}", float.name().to_lowercase()),
    }
}

impl FromStr for Format {
    type Err = ParseFormatError;

    fn from_str(name: &str) -> Result<Self, ParseFormatError> {
        let lower = name.to_lowercase();
        let named = |name: &str| {
            NAMED
                .iter()
                .find(|named| named.name == name)
                .map(|named| named.format)
        };
        if let Some(format) = named(&lower) {
            return Ok(format);
        }
        // The MX formats take another rule; so do all others below.
        if let Some(format) = lower.strip_suffix("-up").and_then(named)
            && let Scale::Block { size, .. } = format.scale()
        {
            return Ok(Self::new(format.element())?.block(size, ScaleRule::Up)?);
        }
        match described(&lower) {
            Some(format) => Ok(format?),
            None => Err(ParseFormatError::Unknown {
                nearest: nearest(&lower),
                name: name.to_string(),
            }),
        }
    }
}

/// The format that a name describes; none if it is no such name.
fn described(name: &str) -> Option<Result<Format, FormatError>> {
    let float = Minifloat::ALL.into_iter().find_map(|float| {
        let rest = name.strip_prefix(element_name(float).as_str())?;
        Some((Ok(Element::Minifloat(float)), rest))
    });
    let (element, rest) = match float {
        Some(float) => float,
        None => {
            let (element, rest) = name
                .split_once('-')
                .map_or((name, ""), |(element, _)| name.split_at(element.len()));
            (numbered(element)?, rest)
        }
    };
    let (scale, rule) = match rest.strip_suffix("-up") {
        Some(scale) => (scale, ScaleRule::Up),
        None => (rest, ScaleRule::Floor),
    };
    let make =
        |with: &dyn Fn(Format) -> Result<Format, FormatError>| element.and_then(Format::new).and_then(with);
    match (scale, rule) {
        // Sign and magnitude without a scale has no name: it is block floating point that people ask for.
        ("", ScaleRule::Floor) if !matches!(element, Ok(Element::SignMagnitude(_))) => Some(make(&Ok)),
        ("-tensor", ScaleRule::Floor) => Some(make(&|format| format.tensor_scaled(ScaleRule::Up))),
        ("-tensor-floor", ScaleRule::Floor) => Some(make(&|format| format.tensor_scaled(ScaleRule::Floor))),
        _ => {
            let size = scale.strip_prefix('-')?.parse().ok()?;
            Some(make(&|format| format.block(size, rule)))
        }
    }
}

/// `bfp5`, `int8`, `q8.8`.
fn numbered(name: &str) -> Option<Result<Element, FormatError>> {
    if name == "int8" {
        return Some(Ok(Element::Fixed(INT8)));
    }
    if let Some(bits) = name.strip_prefix("bfp") {
        return Some(Element::sign_magnitude(bits.parse().ok()?));
    }
    let (integer, fraction) = name.strip_prefix('q')?.split_once('.')?;
    Some(Fixed::new(integer.parse().ok()?, fraction.parse().ok()?).map(Element::Fixed))
}

/// Up to three names that look most like one that is none.
fn nearest(name: &str) -> String {
    let mut near: Vec<_> = NAMED
        .iter()
        .map(|named| (strsim::damerau_levenshtein(named.name, name), named.name))
        .collect();
    near.sort_by_key(|(distance, _)| *distance);
    let names: Vec<_> = near.into_iter().take(3).map(|(_, name)| name).collect();
    names.join(", ")
}
