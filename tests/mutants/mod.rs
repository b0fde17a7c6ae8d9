//! The mutants of every shader, a file for each kernel's folder and one for `lib`.

mod accumulate;
mod adamw;
mod ceiling;
mod choose;
mod column_sums;
mod convert;
mod copy;
mod decide;
mod decode;
mod distillation;
mod dropout;
mod encode;
mod fmac;
mod gate;
mod improvement;
mod lib;
mod matmul;
mod max_pool;
mod patches;
mod relu;
mod sgd;
mod softmax_cross_entropy;
mod spmm;
mod spmv;
mod squares;
mod transpose;

pub(crate) use gate::gate;
use std::fmt;

/// What is wrong in a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Where a tile, a row or a run ends.
    Edge,
    /// The last steps of a sum.
    LastK,
    /// Which bit is rounded at, or which way.
    Rounding,
    /// A carry, of words or of sums.
    Carry,
    /// What becomes of ties.
    Tie,
    /// Words and halves that hold nothing.
    Padding,
    /// NaN and infinities.
    Nan,
    /// Which element, word, draw or bit.
    Index,
    /// How far from one to the next.
    Stride,
    /// A constant or an operation of the formula.
    Formula,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Edge => "edge",
            Self::LastK => "last k",
            Self::Rounding => "rounding",
            Self::Carry => "carry",
            Self::Tie => "tie",
            Self::Padding => "padding",
            Self::Nan => "NaN",
            Self::Index => "index",
            Self::Stride => "stride",
            Self::Formula => "formula",
        })
    }
}

/// One fault: `from` in a shader's text becomes `to`. It must be there as often as it says, and all are replaced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mutant {
    pub(crate) kind: Kind,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    times: usize,
    /// Why no case can find it, if that is so.
    pub(crate) unreached: Option<&'static str>,
}

impl Kind {
    /// A mutant of this kind, whose text stands in the shader once.
    pub(crate) const fn of(self, from: &'static str, to: &'static str) -> Mutant {
        Mutant {
            kind: self,
            from,
            to,
            times: 1,
            unreached: None,
        }
    }
}

impl Mutant {
    /// The same where the text stands several times.
    pub(crate) const fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// A mutant that only operands larger than any case's, or wrong hints, tell apart: listed, and ignored with the
    /// reason.
    const fn unreached(mut self, why: &'static str) -> Self {
        self.unreached = Some(why);
        self
    }

    /// The text with this fault.
    pub(crate) fn apply(&self, text: &str) -> Result<String, String> {
        let found = text.matches(self.from).count();
        match found == self.times {
            true => Ok(text.replace(self.from, self.to)),
            false => Err(format!(
                "{:?} stands {found} times there, not {}",
                self.from, self.times
            )),
        }
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        write!(f, "{} => {}", line(self.from), line(self.to))
    }
}

/// What a shader needs beyond a core device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    Nothing,
    /// Matrix units, which few software drivers have: see scripts/full.sh.
    Units,
    /// Subgroups.
    Subgroups,
}

/// The mutants of one shader file; the first is the sample.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shader {
    /// Its path below `shaders/`.
    pub(crate) file: &'static str,
    pub(crate) mutants: &'static [Mutant],
    pub(crate) needs: Needs,
}

const fn shader(file: &'static str, mutants: &'static [Mutant]) -> Shader {
    Shader {
        file,
        mutants,
        needs: Needs::Nothing,
    }
}

impl Shader {
    const fn needs(mut self, needs: Needs) -> Self {
        self.needs = needs;
        self
    }
}

/// Every shader with mutants.
pub(crate) fn shaders() -> Vec<Shader> {
    [
        accumulate::SHADERS,
        adamw::SHADERS,
        ceiling::SHADERS,
        choose::SHADERS,
        column_sums::SHADERS,
        convert::SHADERS,
        copy::SHADERS,
        decide::SHADERS,
        decode::SHADERS,
        distillation::SHADERS,
        dropout::SHADERS,
        encode::SHADERS,
        fmac::SHADERS,
        improvement::SHADERS,
        lib::SHADERS,
        matmul::SHADERS,
        max_pool::SHADERS,
        patches::SHADERS,
        relu::SHADERS,
        sgd::SHADERS,
        softmax_cross_entropy::SHADERS,
        spmm::SHADERS,
        spmv::SHADERS,
        squares::SHADERS,
        transpose::SHADERS,
    ]
    .concat()
}

/// Files with fewer than three, and why.
pub(crate) const FEW: &[(&str, &str)] = &[("lib/step.wgsl", "two fields: no more orders compile")];

/// Files below `shaders/` that have none, and why.
pub(crate) const EXEMPT: &[(&str, &str)] = &[
    (
        "matmul/bf16.comp",
        "GLSL, compiled beforehand: scripts/spirv.sh holds the module to it",
    ),
    ("matmul/bf16.spv", "a compiled module"),
    ("matmul/f16.spv", "a compiled module"),
    ("matmul/bf16_interface.wgsl", "read for its names, never compiled"),
    (
        "matmul/plain.wgsl",
        "two functions that no kernel calls, for those without codes",
    ),
    (
        "matmul/unit8.wgsl",
        "three names of types: no other types compile",
    ),
    (
        "matmul/unit16.wgsl",
        "three names of types: no other types compile",
    ),
];
