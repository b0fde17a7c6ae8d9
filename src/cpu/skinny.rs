//! Products with at most eight rows or columns: bound by reading the large operand once, so nothing of it is
//! packed. The small operand is widened to f32 first.

use super::gemm::{Element as _, Gemm, Operand, Source};
use super::{Cpu, Kernel, Simd};
use crate::format::bf16;

/// Sums of `m * n` products, row-major, in f32.
pub(super) fn skinny(cpu: &Cpu, g: &Gemm<'_>, a: Operand<'_>, b: Operand<'_>) -> Vec<f32> {
    // As [outer, k]: A's outer index is its row, B's its column.
    let (small, small_strides, few, large, large_strides, many) = if g.m <= g.n {
        (a, outer_strides(a, true), g.m, b, outer_strides(b, false), g.n)
    } else {
        (b, outer_strides(b, false), g.n, a, outer_strides(a, true), g.m)
    };
    let mut rows = vec![0.0f32; few * g.k];
    for (i, row) in rows.chunks_mut(g.k.max(1)).enumerate() {
        for (k, value) in row.iter_mut().enumerate() {
            *value = f32::load(&small.source, i, k, g.k, small_strides);
        }
    }
    // One task holds whole outer indices of the large operand: [outer][few].
    let mut sums = vec![0.0f32; many * few];
    let chunk = if large_strides[1] == 1 {
        (1 << 16) / g.k.max(1)
    } else {
        COLUMNS
    }
    .clamp(1, 1 << 12);
    cpu.chunks_mut(&mut sums, chunk * few, |i, sums| {
        let first = i * chunk;
        let large = large.source;
        cpu.dispatch(Part {
            large,
            strides: large_strides,
            first,
            rows: &rows,
            k: g.k,
            few,
            sums,
        });
    });
    if g.m <= g.n {
        let mut transposed = vec![0.0f32; many * few];
        for (j, sums) in sums.chunks(few.max(1)).enumerate() {
            for (i, &sum) in sums.iter().enumerate() {
                transposed[i * many + j] = sum;
            }
        }
        return transposed;
    }
    sums
}

fn outer_strides(operand: Operand<'_>, is_a: bool) -> [usize; 2] {
    if is_a == operand.transposed {
        [1, operand.ld]
    } else {
        [operand.ld, 1]
    }
}

/// Columns of a task where the large operand's outer index is contiguous.
const COLUMNS: usize = 256;
/// Partial sums of one dot product: four registers at the widest level, so that the sum's latency is hidden.
const LANES: usize = 64;

struct Part<'a> {
    large: Source<'a>,
    strides: [usize; 2],
    first: usize,
    /// `[few][k]`.
    rows: &'a [f32],
    k: usize,
    few: usize,
    /// `[outer][few]`.
    sums: &'a mut [f32],
}

impl Kernel for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        if self.k == 0 || self.few == 0 {
            return;
        }
        match self.large {
            Source::F32(values) => self.typed::<S, f32>(values, |x| x),
            Source::Bf16(values) => self.typed::<S, u16>(values, bf16::widen),
            Source::F64(values) => self.typed::<S, f64>(values, |x| x as f32),
        }
    }
}

impl Part<'_> {
    #[inline(always)]
    fn typed<S: Simd, T: Copy>(self, large: &[T], widen: impl Fn(T) -> f32 + Copy) {
        let Self {
            strides,
            first,
            rows,
            k,
            few,
            sums,
            ..
        } = self;
        if strides[1] == 1 {
            for (outer, sums) in sums.chunks_exact_mut(few).enumerate() {
                let large = &large[(first + outer) * strides[0]..][..k];
                for (sum, row) in sums.iter_mut().zip(rows.chunks_exact(k)) {
                    *sum = dot::<S, T>(row, large, widen);
                }
            }
            return;
        }
        // k outermost: a run of columns of each row of the large operand, added up side by side.
        let columns = sums.len() / few;
        let mut partial = vec![0.0f32; few * columns];
        for k_index in 0..k {
            let large = &large[k_index * strides[1] + first..][..columns];
            for (partial, row) in partial.chunks_exact_mut(columns).zip(rows.chunks_exact(k)) {
                let factor = row[k_index];
                for (sum, &value) in partial.iter_mut().zip(large) {
                    *sum = S::mul_add(factor, widen(value), *sum);
                }
            }
        }
        for (outer, sums) in sums.chunks_exact_mut(few).enumerate() {
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = partial[i * columns + outer];
            }
        }
    }
}

#[inline(always)]
fn dot<S: Simd, T: Copy>(a: &[f32], b: &[T], widen: impl Fn(T) -> f32) -> f32 {
    let mut partial = [0.0f32; LANES];
    let (mut a_runs, mut b_runs) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    for (a, b) in a_runs.by_ref().zip(b_runs.by_ref()) {
        for ((sum, &a), &b) in partial.iter_mut().zip(a).zip(b) {
            *sum = S::mul_add(a, widen(b), *sum);
        }
    }
    for ((sum, &a), &b) in partial.iter_mut().zip(a_runs.remainder()).zip(b_runs.remainder()) {
        *sum = S::mul_add(a, widen(b), *sum);
    }
    // Halves added to halves: a tree of fixed shape.
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            partial[i] += partial[i + width];
        }
    }
    partial[0]
}
