//! Test data: seeded, the same on every machine.

use crate::format::bf16;
use crate::format::random::Draw;

/// A piece's [`Draw::first_block`] whose second block carries: out of the low word of the index and, at a whole power of
/// two, out of the counter's first word. Below what FMAC products count to.
pub(crate) const FAR: u64 = (1 << 35) - 1;
/// The same where the carry leaves odd bits of the index's high word in the counter's low one.
pub(crate) const FAR_ODD: u64 = (5 << 29) - 1;

/// A seeded source of numbers (Threefry, counter-based).
#[derive(Clone, Debug)]
pub struct Source {
    draw: Draw,
    next: u64,
    block: [u32; 4],
}

impl Source {
    /// A source whose numbers depend on `seed` only.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            draw: Draw {
                seed,
                ..Draw::default()
            },
            next: 0,
            block: [0; 4],
        }
    }

    /// 32 random bits.
    pub fn bits(&mut self) -> u32 {
        let lane = (self.next % 4) as usize;
        if lane == 0 {
            self.block = self.draw.block(self.next / 4);
        }
        self.next += 1;
        self.block[lane]
    }

    /// Uniform in `0..bound` (`bound` at least 1; the bias of the remainder is below `bound / 2^32`).
    pub fn below(&mut self, bound: u32) -> u32 {
        self.bits() % bound.max(1)
    }

    /// Uniform in -1..1 with 24 bits.
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 8) as f32 / 8_388_608.0 - 1.0
    }

    /// A whole number in -8..=8: sums of products of these are exact in f32 whatever the order.
    pub fn small_integer(&mut self) -> f32 {
        self.below(17) as f32 - 8.0
    }

    /// Any 32 bits with the awkward ones often: zeros, infinities, NaNs, subnormals, bf16 ties and carries.
    pub fn awkward(&mut self) -> u32 {
        const EDGES: [u32; 20] = [
            0,
            0x8000_0000,
            0x7f80_0000,
            0xff80_0000,
            0x7fc0_0000,
            0x7f80_0001,
            0xff80_8001,
            0xffff_ffff,
            0x7f7f_ffff,
            0x7f7f_8000,
            0xff7f_7fff,
            0x0000_0001,
            0x0000_8000,
            0x0000_8001,
            0x007f_ffff,
            0x807f_8000,
            0x3f80_8000,
            0x3f81_8000,
            0xbf80_7fff,
            0x3fff_ffff,
        ];
        match self.below(4) {
            0 => EDGES[self.below(EDGES.len() as u32) as usize],
            1 => (self.bits() & 0xffff_0000) | 0x8000,
            2 => self.unit().to_bits(),
            _ => self.bits(),
        }
    }

    /// A finite bf16 value of ordinary magnitude, as its 16 bits.
    pub fn bf16(&mut self) -> u16 {
        bf16::from_f32(self.unit())
    }
}

/// f32 values laid out in rows of `ld` words; padding holds a pattern that no kernel may change.
#[must_use]
pub fn rows_f32(rows: usize, cols: usize, ld: usize, mut value: impl FnMut() -> f32) -> Vec<u32> {
    let mut words = vec![0x7f80_dead; rows * ld];
    for row in words.chunks_mut(ld.max(1)) {
        row[..cols].fill_with(|| value().to_bits());
    }
    words
}

/// The same packed as bf16 (two per word, `ld` even), each value rounded to nearest.
#[must_use]
pub fn rows_bf16(rows: usize, cols: usize, ld: usize, mut value: impl FnMut() -> f32) -> Vec<u32> {
    let mut words = vec![0x7fc1_7fc1; rows * ld / 2];
    for row in words.chunks_mut((ld / 2).max(1)) {
        for col in 0..cols {
            let code = u32::from(bf16::from_f32(value()));
            let word = &mut row[col / 2];
            *word = if col % 2 == 0 {
                code
            } else {
                (*word & 0xffff) | (code << 16)
            };
        }
    }
    words
}
