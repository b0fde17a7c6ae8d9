//! Rows in parallel; the codes of a block, in both formats, as a few vectors of integers.

use super::Improvement;
use crate::cpu::parallel::TASK;
use crate::cpu::{Cpu, Kernel, Lanes};
use crate::format::{NAN_BITS, Rounding, bf16};
use crate::tensor::DType;

pub(crate) fn improvement(cpu: &Cpu, op: &Improvement, x: &[u32], sums: &mut [u32]) {
    let cpu = &cpu.for_elements(op.rows * op.cols, Rounding::Nearest);
    let rows_per_task = (TASK / op.cols.max(1)).max(1);
    cpu.chunks_mut(&mut sums[..2 * op.rows], 2 * rows_per_task, |task, sums| {
        cpu.run(Rows {
            op,
            first: task * rows_per_task,
            x,
            sums,
        });
    });
}

/// Consecutive rows from `first` on.
struct Rows<'a> {
    op: &'a Improvement,
    first: usize,
    x: &'a [u32],
    sums: &'a mut [u32],
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        // The size is a constant in each arm, so that a block is a few vector operations.
        match self.op.coarse.block_size() {
            Some(8) => self.blocks_of::<8>(),
            Some(16) => self.blocks_of::<16>(),
            Some(32) => self.blocks_of::<32>(),
            Some(64) => self.blocks_of::<64>(),
            // 128: `Format::block` lets no other through.
            _ => self.blocks_of::<128>(),
        }
    }
}

impl Rows<'_> {
    #[inline(always)]
    fn blocks_of<const B: usize>(self) {
        let Self { op, first, x, sums } = self;
        for (row, sums) in (first..).zip(sums.chunks_exact_mut(2)) {
            let (mut total, mut finite) = ([0f32; 2], true);
            for start in (0..op.cols).step_by(B) {
                let mut block = [0; B];
                let len = B.min(op.cols - start);
                magnitudes(op.from, x, row * op.x_ld + start, &mut block[..len]);
                let most = block.iter().fold(0, |most, &u| u.max(most));
                if most >= 0x7f80_0000 {
                    finite = false;
                    break;
                }
                // A step of either format is 2^(place - 150).
                let [coarse, fine] = [op.coarse, op.fine].map(|format| {
                    let place = u32::from(format.scale_for(most)) + 25 - format.bits();
                    (place, u32::from(format.element().max_code()))
                });
                let both = in_steps(&block, coarse, fine);
                let step = power(fine.0);
                total[0] += both[0] as f32 * step;
                total[1] += both[1] as f32 * step;
            }
            for (sum, total) in sums.iter_mut().zip(total) {
                *sum = if finite { total.to_bits() } else { NAN_BITS };
            }
        }
    }
}

/// The f32 bits of elements without their signs.
#[inline(always)]
fn magnitudes(from: DType, x: &[u32], at: usize, values: &mut [u32]) {
    let end = at + values.len();
    match from {
        DType::Bf16 => {
            for (value, &half) in values.iter_mut().zip(&bf16::halves(x)[at..end]) {
                *value = u32::from(half & 0x7fff) << 16;
            }
        }
        DType::F32 | DType::F64 | DType::U32 | DType::U16 => {
            for (value, &u) in values.iter_mut().zip(&x[at..end]) {
                *value = u & 0x7fff_ffff;
            }
        }
    }
}

/// The sums of a block, of abs(fine - coarse) and of abs(coarse), in steps of the finer format: at most 2^15, which f32
/// has exactly. Of each format `(place, largest magnitude)`; the finer step is never the longer.
#[inline(always)]
fn in_steps<const B: usize>(block: &[u32; B], coarse: (u32, u32), fine: (u32, u32)) -> [u32; 2] {
    let shift = coarse.0 - fine.0;
    let (mut apart, mut kept) = (0, 0);
    for &a in block {
        // The value is significand * 2^(field - 150). No field is past its scale's byte, but for 1 over byte 0, and codes
        // of 8 bits have places 17 above their byte: every shift is by 16 at least, and from 25 on nothing is left.
        let hidden = u32::from(a >= 0x0080_0000) << 23;
        let (field, significand) = ((a >> 23).max(1), (a & 0x007f_ffff) | hidden);
        let rounded = |(place, most): (u32, u32)| {
            let s = (place - field).min(25);
            // Half a step less one, and the last bit that stays: a carry where that rounds up, ties to even.
            let up = (1 << (s - 1)) - 1 + ((significand >> s) & 1);
            ((significand + up) >> s).min(most)
        };
        let (c, f) = (rounded(coarse) << shift, rounded(fine));
        apart += c.abs_diff(f);
        kept += c;
    }
    [apart, kept]
}

/// 2^(place - 150), places from 17 to 277: exact, a subnormal below 24.
#[inline(always)]
fn power(place: u32) -> f32 {
    f32::from_bits(match place {
        24.. => (place - 23) << 23,
        _ => 1 << (place - 1),
    })
}
