//! Random half-words for many elements side by side.

use super::Lanes;
use crate::format::random::{Draw, Generator, PHILOX, WEYL, mul_wide};

/// Blocks made at once: four registers of any level, enough chains to hide the latency of each operation.
pub(crate) const BLOCKS: usize = 64;
/// Half-words of [`BLOCKS`] blocks.
pub(crate) const HALVES: usize = 8 * BLOCKS;

/// Blocks `first .. first + N` in order, words in order: seen as half-words, the draws of successive indices. `N` is
/// a multiple of 32.
#[inline(always)]
fn draws<L: Lanes, const N: usize>(lanes: L, draw: &Draw, first: u64, out: &mut [[u32; 4]; N]) {
    let number = draw.number(first);
    let low = number as u32;
    // Within a vector all counters share their high word.
    if low > u32::MAX - N as u32 {
        for (out, block) in out.iter_mut().zip(first..) {
            *out = draw.block(block);
        }
        return;
    }
    let counter = [low, (number >> 32) as u32, draw.stream, draw.step];
    match draw.generator {
        Generator::Threefry => lanes.threefry_blocks(draw.seed, counter, out),
        Generator::Philox => in_order(lanes, counter, out, |words| philox_lanes(draw.seed, words)),
    }
}

/// [`Lanes::threefry_blocks`] for a compiler to turn into vectors.
#[inline(always)]
pub(crate) fn threefry_blocks<L: Lanes, const N: usize>(
    lanes: L,
    seed: u64,
    counter: [u32; 4],
    out: &mut [[u32; 4]; N],
) {
    in_order(lanes, counter, out, |words| lanes.threefry(seed, words));
}

/// Blocks of successive counters, from what turns the counters' words, each side by side, into the blocks'.
#[inline(always)]
fn in_order<L: Lanes, const N: usize>(
    lanes: L,
    [low, high, stream, step]: [u32; 4],
    out: &mut [[u32; 4]; N],
    generate: impl Fn(&mut [[u32; 32]; 4]),
) {
    for (out, first) in out.as_chunks_mut::<32>().0.iter_mut().zip((low..).step_by(32)) {
        // Lane i of every vector is block first + i.
        let lows = std::array::from_fn(|i| first.wrapping_add(i as u32));
        let mut words = [lows, [high; 32], [stream; 32], [step; 32]];
        generate(&mut words);
        let [a, b, c, d] = words.each_ref().map(|words| words.as_chunks::<8>().0);
        for (i, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            *out = lanes.transpose4x8([a[i], b[i], c[i], d[i]]);
        }
    }
}

/// Calls `f(at, halves)` for consecutive pieces of `len` elements whose first has logical index `first`; the
/// half-words of a piece are those of its elements. Pieces start at even `at` if `first` is even.
#[inline(always)]
pub(crate) fn for_pieces<L: Lanes>(
    lanes: L,
    draw: &Draw,
    first: u64,
    len: usize,
    mut f: impl FnMut(usize, &[u16]),
) {
    let mut blocks = [[0; 4]; BLOCKS];
    let mut at = 0;
    while at < len {
        let index = first + at as u64;
        let (half, _) = blocks.as_chunks_mut::<{ BLOCKS / 2 }>();
        match half {
            // Short runs draw half as much.
            [few, _] if len - at <= HALVES / 2 - 8 => draws(lanes, draw, index / 8, few),
            _ => draws(lanes, draw, index / 8, &mut blocks),
        }
        let halves: &[u16] = bytemuck::cast_slice(blocks.as_flattened());
        let halves = &halves[(index % 8) as usize..];
        let count = match len - at {
            rest if rest <= halves.len() => rest,
            _ => halves.len() & !1,
        };
        f(at, &halves[..count]);
        at += count;
    }
}

/// The half-words of the elements from logical index `first` on.
#[inline(always)]
pub(crate) fn fill<L: Lanes>(lanes: L, draw: &Draw, first: u64, out: &mut [u16]) {
    for_pieces(lanes, draw, first, out.len(), |at, halves| {
        out[at..at + halves.len()].copy_from_slice(halves);
    });
}

/// The half-words of the [`HALVES`] elements from logical index `first` on.
#[inline(always)]
pub(crate) fn aligned<L: Lanes>(lanes: L, draw: &Draw, first: u64, out: &mut [[u32; 4]; BLOCKS]) {
    if first.is_multiple_of(8) {
        draws(lanes, draw, first / 8, out);
    } else {
        fill(
            lanes,
            draw,
            first,
            bytemuck::cast_slice_mut(out.as_flattened_mut()),
        );
    }
}

/// Key words, the parity word last; words 2 and 3 are 0. The constant is Skein's.
#[inline(always)]
pub(crate) fn keys(seed: u64) -> [u32; 5] {
    let (k0, k1) = (seed as u32, (seed >> 32) as u32);
    [k0, k1, 0, 0, 0x1bd1_1bda ^ k0 ^ k1]
}

/// [`threefry4x32_20`](crate::format::random::threefry4x32_20) over many counters side by side, in place; a
/// test holds it against the one-block function, at every level.
#[inline(always)]
pub(crate) fn threefry_lanes<const N: usize>(seed: u64, x: &mut [[u32; N]; 4]) {
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
    let keys = keys(seed);
    for (words, key) in x.iter_mut().zip(keys) {
        words.iter_mut().for_each(|word| *word = word.wrapping_add(key));
    }
    let [a, b, c, d] = x;
    for round in 0..20 {
        let (r, s) = ROTATIONS[round % 8];
        if round % 2 == 0 {
            mix(a, b, r);
            mix(c, d, s);
        } else {
            mix(a, d, r);
            mix(c, b, s);
        }
        if round % 4 == 3 {
            let s = round / 4 + 1;
            for (words, key) in [&mut *a, &mut *b, &mut *c].into_iter().zip(s..) {
                words
                    .iter_mut()
                    .for_each(|word| *word = word.wrapping_add(keys[key % 5]));
            }
            let last = keys[(s + 3) % 5].wrapping_add(s as u32);
            d.iter_mut().for_each(|word| *word = word.wrapping_add(last));
        }
    }
}

#[inline(always)]
fn mix<const N: usize>(a: &mut [u32; N], b: &mut [u32; N], rotation: u32) {
    for (a, b) in a.iter_mut().zip(b) {
        *a = a.wrapping_add(*b);
        *b = b.rotate_left(rotation) ^ *a;
    }
}

/// [`philox4x32_10`](crate::format::random::philox4x32_10) over counters side by side, in place. Every instruction
/// set has a widening product, which the compiler finds.
#[inline(always)]
fn philox_lanes<const N: usize>(seed: u64, [a, b, c, d]: &mut [[u32; N]; 4]) {
    let (mut k0, mut k1) = (seed as u32, (seed >> 32) as u32);
    for _ in 0..10 {
        for i in 0..N {
            let [high0, low0] = mul_wide(a[i], PHILOX.0);
            let [high1, low1] = mul_wide(c[i], PHILOX.1);
            (a[i], b[i]) = (high1 ^ b[i] ^ k0, low1);
            (c[i], d[i]) = (high0 ^ d[i] ^ k1, low0);
        }
        k0 = k0.wrapping_add(WEYL.0);
        k1 = k1.wrapping_add(WEYL.1);
    }
}

/// The twenty rounds, written once for every instruction set's vectors: `$x` is four words of `SETS` registers
/// each, `$keys` five registers, `$add` and `$xor` and `$rotate::<LEFT, RIGHT>` its instructions, `$splat` fills a
/// register with an `i32`.
#[cfg(target_arch = "x86_64")]
macro_rules! threefry_rounds {
    ($x:ident, $keys:ident, $add:ident, $xor:ident, $rotate:ident, $splat:ident) => {{
        macro_rules! mix {
            ($a:literal, $b:literal, $left:literal, $right:literal) => {
                for i in 0..$x[0].len() {
                    $x[$a][i] = $add($x[$a][i], $x[$b][i]);
                    $x[$b][i] = $xor($rotate::<$left, $right>($x[$b][i]), $x[$a][i]);
                }
            };
        }
        // Four rounds, even ones mixing words 0 with 1 and 2 with 3, odd ones 0 with 3 and 2 with 1.
        macro_rules! first {
            () => {
                mix!(0, 1, 10, 22);
                mix!(2, 3, 26, 6);
                mix!(0, 3, 11, 21);
                mix!(2, 1, 21, 11);
                mix!(0, 1, 13, 19);
                mix!(2, 3, 27, 5);
                mix!(0, 3, 23, 9);
                mix!(2, 1, 5, 27);
            };
        }
        macro_rules! second {
            () => {
                mix!(0, 1, 6, 26);
                mix!(2, 3, 20, 12);
                mix!(0, 3, 17, 15);
                mix!(2, 1, 11, 21);
                mix!(0, 1, 25, 7);
                mix!(2, 3, 10, 22);
                mix!(0, 3, 18, 14);
                mix!(2, 1, 20, 12);
            };
        }
        macro_rules! inject {
            ($s:literal) => {
                for word in 0..4 {
                    let key = $keys[($s + word) % 5];
                    let key = if word == 3 {
                        $add(key, $splat($s))
                    } else {
                        key
                    };
                    for i in 0..$x[0].len() {
                        $x[word][i] = $add($x[word][i], key);
                    }
                }
            };
        }
        for word in 0..4 {
            for i in 0..$x[0].len() {
                $x[word][i] = $add($x[word][i], $keys[word]);
            }
        }
        first!();
        inject!(1);
        second!();
        inject!(2);
        first!();
        inject!(3);
        second!();
        inject!(4);
        first!();
        inject!(5);
    }};
}
#[cfg(target_arch = "x86_64")]
pub(crate) use threefry_rounds;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::{Cpu, Kernel};
    use crate::format::random::threefry4x32_20;

    struct Many<'a>(u64, &'a mut [[u32; 64]; 4]);

    impl Kernel for Many<'_> {
        type Output = ();
        #[inline(always)]
        fn run<L: Lanes>(self, lanes: L) {
            lanes.threefry(self.0, self.1);
        }
    }

    #[test]
    fn many_blocks_are_the_one_block_function() {
        let seed = 0x0123_4567_89ab_cdef_u64;
        let counter = |word: u32, i: usize| (i as u32 + 5).wrapping_mul(0x9e37_79b9 ^ word << 7);
        for cpu in Cpu::available() {
            let mut x: [[u32; 64]; 4] =
                std::array::from_fn(|word| std::array::from_fn(|i| counter(word as u32, i)));
            cpu.run(Many(seed, &mut x));
            for i in 0..64 {
                let key = [seed as u32, (seed >> 32) as u32, 0, 0];
                let expected = threefry4x32_20(std::array::from_fn(|word| counter(word as u32, i)), key);
                assert_eq!(x.map(|words| words[i]), expected, "{cpu}, lane {i}");
            }
        }
    }

    struct Pieces<'a>(&'a Draw, u64, &'a mut [u16]);

    impl Kernel for Pieces<'_> {
        type Output = ();
        #[inline(always)]
        fn run<L: Lanes>(self, lanes: L) {
            let Self(draw, first, out) = self;
            fill(lanes, draw, first, out);
        }
    }

    #[test]
    fn pieces_are_the_draws_of_their_indices() {
        for generator in [Generator::Threefry, Generator::Philox] {
            let draw = Draw {
                generator,
                seed: 77,
                stream: 3,
                step: 9,
                first_block: 5,
            };
            for (first, len) in [(0, 600), (5, 600), (8, 1), ((1 << 35) + 3, 300)] {
                let expected: Vec<_> = (0..len).map(|i| draw.bits(first + i as u64) as u16).collect();
                for cpu in Cpu::available() {
                    let mut out = vec![0; len];
                    cpu.run(Pieces(&draw, first, &mut out));
                    assert!(out == expected, "{cpu}, {generator:?}, {len} from {first}");
                }
            }
        }
    }
}
