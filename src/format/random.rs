//! Counter-based random bits: a draw is a pure function of (seed, stream, step, index).
//!
//! Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). The index is an
//! element's logical row-major index, never a thread, a tile or a padded offset: every device and every tiling
//! therefore rounds an element with the same bits.
//!
//! WGSL twins: `shaders/lib/threefry.wgsl` or `shaders/lib/philox.wgsl` (each defines `random_block`), then
//! `shaders/lib/random.wgsl`.

/// Which generator makes the bits. Part of the contract: the bits differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Generator {
    /// Threefry4x32-20: additions, rotations and xors only, cheap where a GPU multiplies slowly (WGSL has no
    /// high half of a product). Key words 2 and 3 are 0.
    #[default]
    Threefry,
    /// Philox4x32-10, for interoperability with other libraries.
    Philox,
}

/// One Threefry round on (x0, x1, x2, x3) = (x, y, z, w), y and w changing places.
///
/// Even rounds mix x0 with x1 and x2 with x3, odd ones x0 with x3 and x2 with x1. Swapping x1 and x3 after
/// every round makes the odd form the even one, and after each two rounds the words are back in place.
#[inline(always)]
fn threefry_round([x0, x1, x2, x3]: [u32; 4], [a, b]: [u32; 2]) -> [u32; 4] {
    let s0 = x0.wrapping_add(x1);
    let s2 = x2.wrapping_add(x3);
    [s0, x3.rotate_left(b) ^ s2, s2, x1.rotate_left(a) ^ s0]
}

/// Threefry4x32-20 of Random123: 128 bits from a 128-bit counter and a 128-bit key.
#[inline]
#[must_use]
pub fn threefry4x32_20(ctr: [u32; 4], key: [u32; 4]) -> [u32; 4] {
    const FIRST: [[u32; 2]; 4] = [[10, 26], [11, 21], [13, 27], [23, 5]];
    const SECOND: [[u32; 2]; 4] = [[6, 20], [17, 11], [25, 10], [18, 20]];
    // Skein's parity constant, so that no key makes all five words 0.
    let last = key[0] ^ key[1] ^ key[2] ^ key[3] ^ 0x1bd1_1bda;
    let ks = [key[0], key[1], key[2], key[3], last];
    let mut x = [0; 4];
    for i in 0..4 {
        x[i] = ctr[i].wrapping_add(ks[i]);
    }
    for s in 1..=5_u32 {
        for rotations in if s % 2 == 1 { FIRST } else { SECOND } {
            x = threefry_round(x, rotations);
        }
        for (i, word) in x.iter_mut().enumerate() {
            *word = word.wrapping_add(ks[(s as usize + i) % 5]);
        }
        x[3] = x[3].wrapping_add(s);
    }
    x
}

/// High and low half of a 32 x 32 bit product.
#[inline(always)]
pub(crate) fn mul_wide(a: u32, b: u32) -> [u32; 2] {
    let product = u64::from(a) * u64::from(b);
    [(product >> 32) as u32, product as u32]
}

/// Philox's multipliers, of words 0 and 2.
pub(crate) const PHILOX: (u32, u32) = (0xd251_1f53, 0xcd9e_8d57);
/// What is added to the two words of its key between rounds: the golden ratio and the root of 3, less one.
pub(crate) const WEYL: (u32, u32) = (0x9e37_79b9, 0xbb67_ae85);

/// Philox4x32-10 of Random123: 128 bits from a 128-bit counter and a 64-bit key.
#[inline]
#[must_use]
pub fn philox4x32_10(ctr: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = ctr;
    let [mut k0, mut k1] = key;
    for _ in 0..10 {
        let [hi0, lo0] = mul_wide(c0, PHILOX.0);
        let [hi1, lo1] = mul_wide(c2, PHILOX.1);
        (c0, c1, c2, c3) = (hi1 ^ c1 ^ k0, lo1, hi0 ^ c3 ^ k1, lo0);
        k0 = k0.wrapping_add(WEYL.0);
        k1 = k1.wrapping_add(WEYL.1);
    }
    [c0, c1, c2, c3]
}

/// Half-word `j & 7` of a 128-bit draw, 0..=65535: the low half of word 0 first.
#[inline]
#[must_use]
pub const fn half_word(draw: [u32; 4], j: u32) -> u32 {
    (draw[((j >> 1) & 3) as usize] >> (16 * (j & 1))) & 0xffff
}

/// All eight half-words of a 128-bit draw, in the order of [`half_word`].
#[inline]
#[must_use]
pub const fn half_words(d: [u32; 4]) -> [u32; 8] {
    const LOW: u32 = 0xffff;
    [
        d[0] & LOW,
        d[0] >> 16,
        d[1] & LOW,
        d[1] >> 16,
        d[2] & LOW,
        d[2] >> 16,
        d[3] & LOW,
        d[3] >> 16,
    ]
}

/// A stream number: the purpose in the top 8 bits, the tensor's id in the low 24, so that two uses of one
/// tensor, or two tensors, never share bits. Only the low 24 bits of `tensor` are kept: ids 2^24 apart share
/// their bits.
#[inline]
#[must_use]
pub const fn stream(purpose: u8, tensor: u32) -> u32 {
    (purpose as u32) << 24 | (tensor & 0x00ff_ffff)
}

/// Everything that decides the random bits of one tensor at one step, except the element's index.
///
/// A piece of a larger tensor rounds as it would within the whole if [`Draw::first_block`] says where it begins:
///
/// ```
/// use fewbit::format::random::Draw;
/// let whole = Draw { seed: 7, ..Draw::default() };
/// let piece = Draw { first_block: 3, ..whole };
/// assert_eq!(piece.bits(5), whole.bits(8 * 3 + 5));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Draw {
    /// The generator.
    pub generator: Generator,
    /// The key: its low word is key word 0, its high word key word 1.
    pub seed: u64,
    /// Counter word 2: what for, and which tensor; see [`stream`].
    pub stream: u32,
    /// Counter word 3: the training step. [`Draw::fmac_block`] wants it below [`Draw::FMAC_STEPS`].
    pub step: u32,
    /// How many blocks of eight elements come before the first element: indices count from 8 times this on, block
    /// numbers modulo 2^61.
    pub first_block: u64,
}

impl Draw {
    /// [`Draw::fmac_block`] tells this many output elements apart (2^40).
    pub const FMAC_ELEMENTS: u64 = 1 << 40;
    /// [`Draw::fmac_block`] tells this many steps apart (2^24).
    pub const FMAC_STEPS: u32 = 1 << 24;

    /// The generator's 128 bits at a counter.
    #[inline]
    #[must_use]
    pub fn random_block(self, counter: [u32; 4]) -> [u32; 4] {
        let (low, high) = (self.seed as u32, (self.seed >> 32) as u32);
        match self.generator {
            Generator::Threefry => threefry4x32_20(counter, [low, high, 0, 0]),
            Generator::Philox => philox4x32_10(counter, [low, high]),
        }
    }

    /// The logical index that the element `index` has within the whole, modulo 2^64.
    #[inline]
    #[must_use]
    pub const fn index(self, index: u64) -> u64 {
        (self.first_block << 3).wrapping_add(index)
    }

    /// The number that `block` has within the whole: an index's without its low three bits.
    #[inline]
    pub(crate) const fn number(self, block: u64) -> u64 {
        self.first_block.wrapping_add(block) & (u64::MAX >> 3)
    }

    /// The 128 bits that the elements 8 `block` .. 8 `block` + 7 share, one half-word each.
    #[inline]
    #[must_use]
    pub fn block(self, block: u64) -> [u32; 4] {
        let block = self.number(block);
        self.random_block([block as u32, (block >> 32) as u32, self.stream, self.step])
    }

    /// The 16 bits (0..=65535) of the element with this logical row-major index: half-word `index & 7` of
    /// block `index >> 3`. A loop over neighbours is eight times cheaper through [`Draw::cached`].
    #[inline]
    #[must_use]
    pub fn bits(self, index: u64) -> u32 {
        half_word(self.block(index >> 3), index as u32 & 7)
    }

    /// The 128 bits that eight successive steps of an FMAC matmul share in one output element; step k rounds
    /// with half-word `k & 7` of `k_block` = k div 8. Counter: (element low, element high | step << 8, stream,
    /// k_block). Distinct only for `element` = (batch * M + i) * N + j, counted
    /// like every index from [`Draw::first_block`] on, below [`Draw::FMAC_ELEMENTS`] and a step below [`Draw::FMAC_STEPS`]: the operation checks both.
    #[inline]
    #[must_use]
    pub fn fmac_block(self, element: u64, k_block: u32) -> [u32; 4] {
        let element = self.index(element);
        self.random_block([
            element as u32,
            (element >> 32) as u32 | self.step << 8,
            self.stream,
            k_block,
        ])
    }

    /// This draw with a memory of the last block: the same bits, and one generator call for up to eight
    /// successive indices.
    #[inline]
    #[must_use]
    pub fn cached(self) -> CachedDraw {
        CachedDraw {
            draw: self,
            block: None,
            words: [0; 4],
        }
    }
}

/// [`Draw`] that remembers its last block. Made by [`Draw::cached`].
#[derive(Clone, Debug)]
pub struct CachedDraw {
    draw: Draw,
    block: Option<u64>,
    words: [u32; 4],
}

impl CachedDraw {
    /// [`Draw::bits`] of `index`.
    #[inline]
    #[must_use]
    pub fn bits(&mut self, index: u64) -> u32 {
        let block = index >> 3;
        if self.block != Some(block) {
            self.block = Some(block);
            self.words = self.draw.block(block);
        }
        half_word(self.words, index as u32 & 7)
    }
}
