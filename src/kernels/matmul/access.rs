//! What matmul's kernels are compiled for: how they read their operands and write their results.

use super::{Matmul, MatrixLayout};
use crate::format::Elements;
use crate::format::random::Generator;
use crate::gpu::{Offsets, Permutation, generator};
use crate::kernels::shared::coded::{self, KINDS};
use crate::tensor::DType;

/// What an operand is, as far as kernels are compiled for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    F32,
    Bf16,
    /// Codes whose elements are of this kind.
    Coded(u32),
}

impl Source {
    /// What is plain.
    const PLAIN: [Self; 2] = [Self::F32, Self::Bf16];

    fn of(matrix: &MatrixLayout) -> Self {
        match matrix.elements {
            Elements::Plain(DType::Bf16) => Self::Bf16,
            Elements::Plain(DType::F64 | DType::F32 | DType::U32 | DType::U16) => Self::F32,
            Elements::Coded(format) => Self::Coded(coded::kind(format.element())),
        }
    }

    /// The kind of its elements where it is of codes.
    pub(super) fn kind(self) -> Option<u32> {
        match self {
            Self::F32 | Self::Bf16 => None,
            Self::Coded(kind) => Some(kind),
        }
    }
}

/// How a kernel reads its operands and writes its results.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Access {
    /// Whether loads are of 16 bytes.
    pub(super) vec4: bool,
    /// What A and B are.
    pub(super) sources: [Source; 2],
    pub(super) transposed: [bool; 2],
    /// What results draw from, where they are rounded stochastically.
    pub(super) draws: Option<Generator>,
}

impl Access {
    pub(super) fn of(op: &Matmul, offsets: Offsets) -> Self {
        Self {
            vec4: !offsets.any() && op.a.suits_vec4() && op.b.suits_vec4(),
            sources: [op.a, op.b].map(|matrix| Source::of(&matrix)),
            transposed: [op.a.transposed, op.b.transposed],
            draws: op.is_stochastic().then_some(op.draw.generator),
        }
    }

    /// Every one there is.
    pub(super) fn all() -> Vec<Self> {
        let both = [false, true];
        let mut all = Vec::new();
        for bits in 0..32usize {
            let bit = |at: usize| both[(bits >> at) & 1];
            for draws in [None, Some(Generator::Threefry), Some(Generator::Philox)] {
                all.push(Self {
                    vec4: bit(0),
                    sources: [bit(1), bit(2)].map(|bf16| Source::PLAIN[usize::from(bf16)]),
                    transposed: [bit(3), bit(4)],
                    draws,
                });
            }
        }
        all.extend(Self::coded());
        all
    }

    /// Every one with codes: of every kind, with every kind, f32 and bf16.
    fn coded() -> Vec<Self> {
        let sources: Vec<_> = Source::PLAIN
            .into_iter()
            .chain(KINDS.map(Source::Coded))
            .collect();
        let mut all = Vec::new();
        for &a in &sources {
            for &b in sources.iter().filter(|b| a.kind().or(b.kind()).is_some()) {
                // What is plain may be stored either way.
                let plain = [a, b].map(|source| source.kind().is_none());
                for transposed in [[false, true], [plain[0], !plain[1]]] {
                    for draws in [None, Some(Generator::Threefry), Some(Generator::Philox)] {
                        let sources = [a, b];
                        let access = Self {
                            vec4: false,
                            sources,
                            transposed,
                            draws,
                        };
                        if !all.contains(&access) {
                            all.push(access);
                        }
                    }
                }
            }
        }
        all
    }

    /// Fills the slots and sets the constants of common.wgsl.
    pub(super) fn complete(self, permutation: Permutation) -> Permutation {
        let load = if self.vec4 {
            "matmul/load_vec4.wgsl"
        } else {
            "matmul/load_word.wgsl"
        };
        let [a, b] = self.sources;
        let permutation = match a.kind().or(b.kind()) {
            None => permutation.fill("codes", "matmul/plain.wgsl"),
            Some(_) => permutation
                .fill("codes", "matmul/coded.wgsl")
                .constant("A_KIND", a.kind().unwrap_or_default())
                .constant("B_KIND", b.kind().unwrap_or_default()),
        };
        permutation
            .fill("load", load)
            .fill("generator", generator(self.draws.unwrap_or_default()))
            .constant("A_BF16", a == Source::Bf16)
            .constant("B_BF16", b == Source::Bf16)
            .constant("A_CODED", a.kind().is_some())
            .constant("B_CODED", b.kind().is_some())
            .constant("A_TRANSPOSED", self.transposed[0])
            .constant("B_TRANSPOSED", self.transposed[1])
            .constant("STOCHASTIC", self.draws.is_some())
    }
}
