//! stub
#![allow(missing_docs)]
pub mod bf16 {
    pub fn encode(u: u32, _r: super::Rounding, r: u32, _s: bool) -> u16 {
        ((u + r) >> 16) as u16
    }
    pub fn widen(h: u16) -> f32 {
        f32::from_bits(u32::from(h) << 16)
    }
    pub fn from_f32(v: f32) -> u16 {
        (v.to_bits() >> 16) as u16
    }
    pub fn halves(w: &[u32]) -> &[u16] {
        bytemuck::cast_slice(w)
    }
}
pub mod random {
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub enum Generator {
        #[default]
        Threefry,
        Philox,
    }
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Draw {
        pub generator: Generator,
        pub seed: u64,
        pub stream: u32,
        pub step: u32,
    }
    impl Draw {
        pub fn bits(self, _i: u64) -> u32 {
            0
        }
        pub fn block(self, b: u64) -> [u32; 4] {
            [b as u32; 4]
        }
    }
    pub fn stream(p: u8, t: u32) -> u32 {
        u32::from(p) << 24 | t
    }
}
pub mod block {
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct BfpFormat {
        pub block: u32,
        pub bits: u32,
    }
    impl BfpFormat {
        pub fn codes_words_per_row(self, c: usize) -> usize {
            c
        }
        pub fn exponent_words_per_row(self, c: usize) -> usize {
            c
        }
    }
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Rounding {
    #[default]
    Nearest,
    Stochastic,
    TowardZero,
}
impl std::fmt::Display for Rounding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("x")]
pub struct FormatError;
