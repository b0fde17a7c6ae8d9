//! The portable level: plain Rust that the compiler vectorises for the compilation target.

use super::dispatch::{Index, Kernel, Lanes, Sealed, Value};
use super::gemm::micro::{F32, F64, Micro};

/// Proof of nothing: every machine has this level.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portable;

impl Sealed for Portable {}

impl Lanes for Portable {
    const FMA: bool = false;

    #[inline(always)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }
}

/// Adding 2^23, whose last bit is 1, leaves a sum whose low bits are the integer nearest to `x`; where that is
/// too large by a rounding, one is taken back. A conversion would be dearer: it has ranges and NaNs to ask for.
#[inline(always)]
pub(crate) fn truncate(x: f32, limit: f32) -> u32 {
    const UNIT: f32 = 8_388_608.0;
    let x = if x < limit { x } else { limit };
    let sum = x + UNIT;
    (sum.to_bits() - u32::from(sum - UNIT > x)) & 0x7f_ffff
}

/// See [`Lanes::unpack`]: eight codes are whole bytes, at most sixteen.
#[inline(always)]
pub(crate) fn unpack(bytes: &[u8; 32], bits: u32, codes: &mut [u32; 16]) {
    for (half, codes) in codes.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let mut eight = [0; 16];
        eight.copy_from_slice(&bytes[half * bits as usize..][..16]);
        let mut stream = u128::from_le_bytes(eight);
        for code in codes {
            *code = stream as u32 & ((1 << bits) - 1);
            stream >>= bits;
        }
    }
}

#[inline(always)]
pub(crate) fn transpose4x8(rows: [[u32; 8]; 4]) -> [[u32; 4]; 8] {
    let mut out = [[0; 4]; 8];
    for (c, column) in out.iter_mut().enumerate() {
        for (r, row) in rows.iter().enumerate() {
            column[r] = row[c];
        }
    }
    out
}

/// See [`Lanes::columns`].
#[inline(always)]
pub(crate) fn columns<V: Value, const PAIRS: bool>(rows: &[&[V]], out: &mut [u32], stride: usize) {
    let len = rows.first().map_or(0, |row| row.len());
    let each = if PAIRS { 2 } else { 1 };
    assert!(rows.len() <= 16, "{} rows", rows.len());
    for i in 0..len.div_ceil(each) {
        let column = &mut out[i * stride..][..16];
        column.fill(0);
        for (word, row) in column.iter_mut().zip(rows) {
            let high = |at: usize| row.get(at).map_or(0, |value| value.widen().to_bits() >> 16);
            *word = match PAIRS {
                true => high(2 * i) | high(2 * i + 1) << 16,
                false => row[i].widen().to_bits(),
            };
        }
    }
}

/// Partial sums of a sparse row: enough to hide the latency of the loads and of the additions.
const PARTIAL: usize = 8;

#[inline(always)]
pub(crate) fn sparse_dot<L: Lanes, V: Value, I: Index>(
    lanes: L,
    values: &[V],
    columns: &[I],
    x: &[f32],
) -> Option<f32> {
    let mut sums = [0.0_f32; PARTIAL];
    let values = values.chunks_exact(PARTIAL);
    let columns = columns.chunks_exact(PARTIAL);
    let rest = values.remainder().iter().zip(columns.remainder());
    for (values, columns) in values.zip(columns) {
        for lane in 0..PARTIAL {
            let x = *x.get(columns[lane].at())?;
            sums[lane] = lanes.mul_add(values[lane].widen(), x, sums[lane]);
        }
    }
    // A copy: indexed by a variable, the sums themselves would live in memory throughout.
    let mut fold = sums;
    for (lane, (value, column)) in rest.enumerate() {
        fold[lane] = lanes.mul_add(value.widen(), *x.get(column.at())?, fold[lane]);
    }
    let pairs = [
        fold[0] + fold[4],
        fold[1] + fold[5],
        fold[2] + fold[6],
        fold[3] + fold[7],
    ];
    Some((pairs[0] + pairs[2]) + (pairs[1] + pairs[3]))
}

/// See [`Lanes::dots`].
#[inline(always)]
pub(crate) fn dots<L: Lanes, V: Value, const S: usize>(lanes: L, row: &[V], vectors: &[f32]) -> [f32; S] {
    const W: usize = 8;
    let k = row.len();
    let mut out = [0.0; S];
    for (s, out) in out.iter_mut().enumerate() {
        let mut sums = [0.0_f32; W];
        let (chunks, rest) = row.as_chunks::<W>();
        let (xs, x_rest) = vectors[s * k..][..k].as_chunks::<W>();
        for (values, x) in chunks.iter().zip(xs) {
            for lane in 0..W {
                sums[lane] = lanes.mul_add(values[lane].widen(), x[lane], sums[lane]);
            }
        }
        for (value, x) in rest.iter().zip(x_rest) {
            *out = lanes.mul_add(value.widen(), *x, *out);
        }
        let pairs = [
            sums[0] + sums[4],
            sums[1] + sums[5],
            sums[2] + sums[6],
            sums[3] + sums[7],
        ];
        *out += (pairs[0] + pairs[2]) + (pairs[1] + pairs[3]);
    }
    out
}

macro_rules! micro {
    ($wrapper:ident, $real:ty, $mr:literal, $nr:literal) => {
        impl Micro for $wrapper<Portable> {
            type Elem = $real;
            type Acc = $real;
            const MR: usize = $mr;
            const NR: usize = $nr;

            #[inline]
            fn tile(self, a: &[$real], b: &[$real], _: usize, acc: &mut [$real], ld: usize, first: bool) {
                let mut sums = [[0.0; $nr]; $mr];
                let (a, b) = (a.as_chunks::<$mr>().0, b.as_chunks::<$nr>().0);
                for (a, b) in a.iter().zip(b) {
                    for (sums, a) in sums.iter_mut().zip(a) {
                        for (sum, b) in sums.iter_mut().zip(b) {
                            *sum += *a * *b;
                        }
                    }
                }
                for (row, sums) in acc.chunks_mut(ld).zip(&sums) {
                    for (out, sum) in row.iter_mut().zip(sums) {
                        *out = if first { *sum } else { *out + *sum };
                    }
                }
            }
        }
    };
}

micro!(F32, f32, 4, 8);
micro!(F64, f64, 4, 4);

#[cfg(test)]
mod tests {
    use crate::cpu::{Cpu, Kernel, Lanes, Value};

    struct Columns<'a, V, const PAIRS: bool>(&'a [&'a [V]], &'a mut [u32], usize);

    impl<V: Value, const PAIRS: bool> Kernel for Columns<'_, V, PAIRS> {
        type Output = ();
        #[inline(always)]
        fn run<L: Lanes>(self, lanes: L) {
            let Self(rows, out, stride) = self;
            lanes.columns::<V, PAIRS>(rows, out, stride);
        }
    }

    /// Each level's columns are those of the plain loop.
    fn hold<V: Value, const PAIRS: bool>(all: &[V], stride: usize, what: &str) {
        for count in 1..=16 {
            for len in [1, 2, 15, 16, 17, 31, 32, 33, 64, 79] {
                let rows: Vec<&[V]> = all.chunks(80).take(count).map(|row| &row[..len]).collect();
                let mut want = vec![7; 80 * 48];
                let before = want.clone();
                super::columns::<V, PAIRS>(&rows, &mut want, stride);
                for cpu in Cpu::available() {
                    let mut got = before.clone();
                    cpu.run(Columns::<V, PAIRS>(&rows, &mut got, stride));
                    assert_eq!(got, want, "{cpu}: {what}, {count} rows of {len}");
                }
            }
        }
    }

    /// Every number of rows, and lengths around whole blocks.
    #[test]
    fn columns_are_the_same_at_every_level() {
        let halves: Vec<u16> = (0..16 * 80).map(|i| (i * 40503 % 65536) as u16).collect();
        let floats: Vec<f32> = halves.iter().map(|&half| f32::from(half) + 0.5).collect();
        hold::<u16, true>(&halves, 48, "pairs");
        hold::<u16, false>(&halves, 16, "bf16");
        hold::<f32, false>(&floats, 32, "f32");
    }
}
