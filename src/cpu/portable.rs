//! Micro-kernels in safe code, for what the build targets.

use super::gemm::{MicroKernel, Tile};
use super::simd::{Baseline, Simd as _};

/// f32, 4 x 8: eight 128-bit accumulators.
pub(super) struct F32x4x8;

impl MicroKernel for F32x4x8 {
    type Element = f32;
    type Sum = f32;
    const MR: usize = 4;
    const NR: usize = 8;
    const STEP: usize = 1;

    fn run(a: &[f32], b: &[f32], mut tile: Tile<'_, f32>) {
        let mut sums = [[0.0f32; 8]; 4];
        for (i, row) in sums.iter_mut().enumerate() {
            row.copy_from_slice(&tile.row(i)[..8]);
        }
        for (a, b) in a.chunks_exact(4).zip(b.chunks_exact(8)) {
            for (row, &a) in sums.iter_mut().zip(a) {
                for (sum, &b) in row.iter_mut().zip(b) {
                    *sum = Baseline::mul_add(a, b, *sum);
                }
            }
        }
        for (i, row) in sums.iter().enumerate() {
            tile.row(i)[..8].copy_from_slice(row);
        }
    }
}

/// f64, 4 x 4.
pub(super) struct F64x4x4;

impl MicroKernel for F64x4x4 {
    type Element = f64;
    type Sum = f64;
    const MR: usize = 4;
    const NR: usize = 4;
    const STEP: usize = 1;

    fn run(a: &[f64], b: &[f64], mut tile: Tile<'_, f64>) {
        let mut sums = [[0.0f64; 4]; 4];
        for (i, row) in sums.iter_mut().enumerate() {
            row.copy_from_slice(&tile.row(i)[..4]);
        }
        for (a, b) in a.chunks_exact(4).zip(b.chunks_exact(4)) {
            for (row, &a) in sums.iter_mut().zip(a) {
                for (sum, &b) in row.iter_mut().zip(b) {
                    *sum = Baseline::mul_add_f64(a, b, *sum);
                }
            }
        }
        for (i, row) in sums.iter().enumerate() {
            tile.row(i)[..4].copy_from_slice(row);
        }
    }
}
