//! Column sums: blocks of rows and columns, each summed down its rows in order, then the blocks in order.

use crate::cpu::parallel::TASK;
use crate::cpu::{Cpu, Kernel, Lanes, Value};
use crate::error::Result;
use crate::format::Rounding;
use crate::format::bf16;
use crate::kernels::ColumnSums;
use crate::tensor::{DType, alloc};

/// Columns of one block: even, so that blocks share no word; wide, so that a row's part streams; narrow enough for
/// its sums to stay in the first-level cache.
const BAND: usize = 2048;

pub(crate) fn column_sums(cpu: &Cpu, op: &ColumnSums, x: &[u32], y: &mut [u32]) -> Result<()> {
    if op.cols == 0 {
        return Ok(());
    }
    if op.to == DType::F64 {
        wide(cpu, op, x, y);
        return Ok(());
    }
    let cpu = &cpu.for_elements(op.rows * op.cols, Rounding::Nearest);
    // Blocks depend on the shape alone, and so do the sums.
    let band = op.cols.min(BAND);
    let block_rows = (2 * TASK / band).max(1);
    let sums = op.rows.div_ceil(block_rows).max(1) * op.cols;
    let mut partial = alloc::filled("column_sums", sums, 0f32)?;
    let mut blocks = Vec::new();
    for (i, sums) in partial.chunks_mut(op.cols).enumerate() {
        let rows = i * block_rows..op.rows.min((i + 1) * block_rows);
        for (j, sums) in sums.chunks_mut(band).enumerate() {
            blocks.push((rows.clone(), j * band, sums));
        }
    }
    cpu.for_each(blocks, |(rows, first, sums)| {
        let (start, rows, ld) = (rows.start * op.x_ld + first, rows.len(), op.x_ld);
        match op.from {
            DType::Bf16 => cpu.run(Down {
                x: bf16::halves(x).get(start..).unwrap_or_default(),
                rows,
                ld,
                sums,
            }),
            DType::F64 | DType::F32 | DType::U32 | DType::U16 => cpu.run(Down {
                x: bytemuck::cast_slice::<u32, f32>(x)
                    .get(start..)
                    .unwrap_or_default(),
                rows,
                ld,
                sums,
            }),
        }
    });
    let (sums, rest) = partial.split_at_mut(op.cols);
    for block in rest.chunks_exact(op.cols) {
        sums.iter_mut().zip(block).for_each(|(sum, block)| *sum += block);
    }
    let to = op.y();
    for (col, sum) in sums.iter().enumerate() {
        let bits = sum.to_bits();
        let stored = match op.to {
            DType::Bf16 => bf16::encode(bits, op.rounding, op.draw.bits(col as u64)).into(),
            DType::F64 | DType::F32 | DType::U32 | DType::U16 => bits,
        };
        to.store_bits(y, 0, col, stored);
    }
    Ok(())
}

/// Adds rows, `ld` apart and the first at the start of `x`, to `sums` in order.
struct Down<'a, T> {
    x: &'a [T],
    ld: usize,
    rows: usize,
    sums: &'a mut [f32],
}

impl<T: Value> Kernel for Down<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        let Self { x, ld, rows, sums } = self;
        let len = sums.len();
        let row = |i: usize| &x[i * ld..][..len];
        // Four rows at a time: one load and one store of a sum for four additions.
        let fours = rows - rows % 4;
        for i in (0..fours).step_by(4) {
            let rows = row(i).iter().zip(row(i + 1)).zip(row(i + 2)).zip(row(i + 3));
            for (sum, (((a, b), c), d)) in sums.iter_mut().zip(rows) {
                *sum = *sum + a.widen() + b.widen() + c.widen() + d.widen();
            }
        }
        for i in fours..rows {
            for (sum, a) in sums.iter_mut().zip(row(i)) {
                *sum += a.widen();
            }
        }
    }
}

/// f64: down the rows in order, bands of columns side by side.
fn wide(cpu: &Cpu, op: &ColumnSums, x: &[u32], y: &mut [u32]) {
    const BAND: usize = 256;
    let (from, to) = (op.x(), op.y());
    cpu.chunks_mut(&mut y[..to.words() as usize], 2 * BAND, |band, y| {
        let mut sums = [0f64; BAND];
        let (first, cols) = (BAND * band, y.len() / 2);
        for row in 0..op.rows {
            for (col, sum) in sums[..cols].iter_mut().enumerate() {
                *sum += from.load(x, row, first + col);
            }
        }
        for (col, sum) in sums[..cols].iter().enumerate() {
            to.store_f64(y, 0, col, *sum);
        }
    });
}
