//! Counter-based random bits: the same (seed, stream, step, index) gives the same bits on every device.
//!
//! Threefry4x32-20 and Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
//! 1, 2, 3" (2011), pinned by the known-answer vectors of their Random123 library. One layout for both:
//! key = (seed low, seed high), counter = (block low, block high, stream, step) with block = index div 8. One
//! 128-bit block serves eight roundings of 16 bits.

/// Which generator. The bits differ, so this is part of what must be recorded to repeat a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Generator {
    /// Threefry4x32-20: additions, exclusive ors and shifts only, 233 operations a block.
    #[default]
    Threefry,
    /// Philox4x32-10: for interoperability; WGSL lacks the high half of a product, so 358 operations a block.
    Philox,
}

/// Threefry4x32-20.
#[inline]
#[must_use]
pub fn threefry4x32_20(counter: [u32; 4], key: [u32; 4]) -> [u32; 4] {
    const ROTATIONS: [(u32, u32); 8] = [
        (10, 26),
        (11, 21),
        (13, 27),
        (23, 5),
        (6, 20),
        (17, 11),
        (25, 10),
        (18, 20),
    ];
    let parity = 0x1bd1_1bda ^ key[0] ^ key[1] ^ key[2] ^ key[3];
    let keys = [key[0], key[1], key[2], key[3], parity];
    let [mut a, mut b, mut c, mut d] = [0, 1, 2, 3].map(|i| counter[i].wrapping_add(keys[i]));
    for round in 0..20 {
        let (r, s) = ROTATIONS[round % 8];
        if round % 2 == 0 {
            a = a.wrapping_add(b);
            b = b.rotate_left(r) ^ a;
            c = c.wrapping_add(d);
            d = d.rotate_left(s) ^ c;
        } else {
            a = a.wrapping_add(d);
            d = d.rotate_left(r) ^ a;
            c = c.wrapping_add(b);
            b = b.rotate_left(s) ^ c;
        }
        if round % 4 == 3 {
            let s = round / 4 + 1;
            a = a.wrapping_add(keys[s % 5]);
            b = b.wrapping_add(keys[(s + 1) % 5]);
            c = c.wrapping_add(keys[(s + 2) % 5]);
            d = d.wrapping_add(keys[(s + 3) % 5]).wrapping_add(s as u32);
        }
    }
    [a, b, c, d]
}

/// Philox4x32-10.
#[inline]
#[must_use]
pub fn philox4x32_10(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let ([mut a, mut b, mut c, mut d], [mut k, mut l]) = (counter, key);
    for round in 0..10 {
        if round > 0 {
            k = k.wrapping_add(0x9e37_79b9);
            l = l.wrapping_add(0xbb67_ae85);
        }
        let p = u64::from(a) * 0xd251_1f53;
        let q = u64::from(c) * 0xcd9e_8d57;
        [a, b, c, d] = [
            (q >> 32) as u32 ^ b ^ k,
            q as u32,
            (p >> 32) as u32 ^ d ^ l,
            p as u32,
        ];
    }
    [a, b, c, d]
}

/// Where roundings draw their bits from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Draw {
    /// The generator.
    pub generator: Generator,
    /// The seed of the run.
    pub seed: u64,
    /// What the bits are for: see [`stream`].
    pub stream: u32,
    /// The step's number.
    pub step: u32,
}

impl Draw {
    fn generate(self, counter: [u32; 4]) -> [u32; 4] {
        let (low, high) = (self.seed as u32, (self.seed >> 32) as u32);
        match self.generator {
            Generator::Threefry => threefry4x32_20(counter, [low, high, 0, 0]),
            Generator::Philox => philox4x32_10(counter, [low, high]),
        }
    }

    /// The 128 bits of elements `8 * block ..= 8 * block + 7`.
    #[inline]
    #[must_use]
    pub fn block(self, block: u64) -> [u32; 4] {
        self.generate([block as u32, (block >> 32) as u32, self.stream, self.step])
    }

    /// The 16 bits of the element with this logical row-major index: never the thread's, the tile's or the
    /// padded offset.
    #[inline]
    #[must_use]
    pub fn bits(self, index: u64) -> u32 {
        half_word(self.block(index >> 3), index as u32)
    }

    /// The 128 bits of steps `8 * k_block ..= 8 * k_block + 7` of one output of an FMAC matmul: eight
    /// successive steps share one draw in one thread. `element` is below 2^40, the step below 2^24.
    #[inline]
    #[must_use]
    pub fn fmac_block(self, element: u64, k_block: u32) -> [u32; 4] {
        self.generate([
            element as u32,
            (element >> 32) as u32 | (self.step << 8),
            self.stream,
            k_block,
        ])
    }
}

/// Half-word `j & 7` of a block: 16 uniform bits.
#[inline]
#[must_use]
pub fn half_word(block: [u32; 4], j: u32) -> u32 {
    let j = j & 7;
    (block[(j >> 1) as usize] >> (16 * (j & 1))) & 0xffff
}

/// A stream number: the purpose in the high byte, the tensor's id in the other 24 bits (higher bits of it are
/// dropped), so that two uses never share bits.
#[inline]
#[must_use]
pub const fn stream(purpose: u8, tensor: u32) -> u32 {
    ((purpose as u32) << 24) | (tensor & 0x00ff_ffff)
}
