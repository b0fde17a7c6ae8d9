//! Column sums: bands of columns, each summed down the rows in order.

use super::Cpu;
use crate::format::bf16;
use crate::ops::ColumnSums;
use crate::reference::element::{load, load_bits, store_f64, store_half};
use crate::tensor::DType;

/// Columns of one band: even, so that bands share no word.
const BAND: usize = 256;

pub(crate) fn column_sums(cpu: &Cpu, op: &ColumnSums, x: &[u32], y: &mut [u32]) {
    let size = op.to.words(BAND as u64) as usize;
    let words = op.to.words(op.cols as u64) as usize;
    let bands: Vec<_> = y[..words].chunks_mut(size).collect();
    cpu.items(bands, |band, y| {
        let first = band * BAND;
        let cols = BAND.min(op.cols - first);
        if op.to == DType::F64 {
            return sums_f64(op, x, first, cols, y);
        }
        let mut sums = [0f32; BAND];
        for row in 0..op.rows {
            let start = row * op.x_ld + first;
            match op.from {
                DType::F32 => {
                    let row = bytemuck::cast_slice::<u32, f32>(&x[start..start + cols]);
                    sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
                }
                _ => {
                    for (col, sum) in sums[..cols].iter_mut().enumerate() {
                        *sum += f32::from_bits(load_bits(op.from, x, start + col));
                    }
                }
            }
        }
        for (col, sum) in sums[..cols].iter().enumerate() {
            let bits = sum.to_bits();
            if op.to == DType::F32 {
                y[col] = bits;
            } else {
                let code = bf16::encode(bits, op.rounding, op.draw.bits((first + col) as u64), false);
                store_half(y, col, first + col + 1 == op.cols, code);
            }
        }
    });
}

fn sums_f64(op: &ColumnSums, x: &[u32], first: usize, cols: usize, y: &mut [u32]) {
    let mut sums = [0f64; BAND];
    for row in 0..op.rows {
        for (col, sum) in sums[..cols].iter_mut().enumerate() {
            *sum += load(op.from, x, row * op.x_ld + first + col);
        }
    }
    for (col, sum) in sums[..cols].iter().enumerate() {
        store_f64(y, col, *sum);
    }
}
