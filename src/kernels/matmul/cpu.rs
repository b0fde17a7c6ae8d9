//! Matmul on the CPU device: one product after the other, each spread over the threads.

use super::{Inputs, Matmul, MatrixLayout};
use crate::cpu::gemm::{CodedRows, PackedB, gemm_packed};
use crate::cpu::gemm::{Data, GemmParams, Left, Narrow, Sink, Source, Source64, StoreRow, gemm, gemm_f64};
use crate::cpu::{Cpu, Kernel, Lanes};
use crate::error::Result;
use crate::format::random::Draw;
use crate::format::{Elements, Rounding, bf16};
use crate::op::check_f64;
use crate::tensor::DType;

/// `packed` is op(B) packed before, for f32 and bf16.
///
/// # Errors
/// [`Error::Alignment`](crate::Error::Alignment) when a caller's f64 operand does not start on 8 bytes.
pub(super) fn matmul(
    cpu: &Cpu,
    op: &Matmul,
    inputs: &Inputs<'_>,
    packed: Option<&PackedB>,
    c: &mut [u32],
) -> Result<()> {
    // A product with few rows reads B as it lies at least as fast.
    let packed = packed.filter(|_| op.m > 8 && op.b.batch_stride == 0);
    products(cpu, op, inputs, packed, c)
}

/// Packs the right operand of `op`, a matrix without batches.
pub(super) fn pack_b(cpu: &Cpu, op: &Matmul, b: &[u32], b_scales: &[u32]) -> Result<PackedB> {
    let left = match op.a.fits_bf16() {
        true => Left::Bf16,
        false => Left::F32,
    };
    let source = operand(&op.b, [b, b_scales], 0);
    Ok(PackedB::new(cpu, source, op.k, op.n, left)?)
}

/// One batch of A or B.
fn operand<'a>(matrix: &MatrixLayout, [words, scales]: [&'a [u32]; 2], batch: usize) -> Source<'a> {
    let data = match matrix.elements {
        Elements::Plain(dtype) => data(dtype, words, batch * matrix.batch_stride),
        Elements::Coded(format) => {
            let first = batch * matrix.batch_rows();
            let (codes, scales) = (tail(words, matrix.batch_word(batch)), scales);
            Data::Coded(CodedRows::new(format, matrix.ld, codes, scales, first))
        }
    };
    Source {
        data,
        ld: matrix.ld,
        transposed: matrix.transposed,
    }
}

fn products(
    cpu: &Cpu,
    op: &Matmul,
    inputs: &Inputs<'_>,
    packed: Option<&PackedB>,
    c: &mut [u32],
) -> Result<()> {
    if op.m == 0 || op.n == 0 {
        return Ok(());
    }
    for batch in 0..op.batch {
        let first = batch * op.c.batch_stride;
        if op.c.dtype() == DType::F64 {
            product_f64(cpu, op, batch, [inputs.a, inputs.b, inputs.bias], c)?;
            continue;
        }
        let params = GemmParams {
            m: op.m,
            n: op.n,
            k: op.k,
            alpha: op.alpha.get(),
            beta: op.beta.get(),
            relu: op.relu,
        };
        let a = operand(&op.a, [inputs.a, inputs.a_scales], batch);
        let bias = op.bias.map(|dtype| Source {
            data: data(dtype, inputs.bias, 0),
            ld: op.n,
            transposed: false,
        });
        let stochastic = Stochastic { cpu, draw: op.draw };
        let base = (batch * op.m * op.n) as u64;
        let sink = match (op.c.dtype(), op.rounding) {
            // Products in f64 have gone another way, and indices are no results (`check`).
            (DType::F64 | DType::F32 | DType::U32 | DType::U16, _) => {
                Sink::f32(tail_mut(bytemuck::cast_slice_mut(c), first), op.c.ld)
            }
            (DType::Bf16, Rounding::Stochastic) => Sink::Bf16 {
                data: tail_mut(bf16::halves_mut(c), first),
                ld: op.c.ld,
                rounding: Narrow::Custom {
                    base,
                    store: &stochastic,
                },
            },
            (DType::Bf16, Rounding::Nearest | Rounding::TowardZero) => {
                Sink::bf16(tail_mut(bf16::halves_mut(c), first), op.c.ld)
            }
        };
        match packed {
            Some(b) => gemm_packed(cpu, &params, a, b, sink, bias)?,
            None => {
                let b = operand(&op.b, [inputs.b, inputs.b_scales], batch);
                gemm(cpu, &params, a, b, sink, bias)?;
            }
        }
        if op.c.dtype() == DType::Bf16 && op.n % 2 == 1 {
            // The half beside the last of an odd count of columns.
            let halves = tail_mut(bf16::halves_mut(c), first);
            for row in halves.chunks_mut(op.c.ld).take(op.m) {
                if let Some(half) = row.get_mut(op.n) {
                    *half = 0;
                }
            }
        }
    }
    Ok(())
}

fn product_f64(cpu: &Cpu, op: &Matmul, batch: usize, [a, b, bias]: [&[u32]; 3], c: &mut [u32]) -> Result<()> {
    for (operand, words) in [("a", a), ("b", b), ("c", &*c), ("bias", bias)] {
        check_f64("matmul", operand, words)?;
    }
    fn values(words: &[u32]) -> &[f64] {
        bytemuck::try_cast_slice(words).unwrap_or_default()
    }
    let params = GemmParams {
        m: op.m,
        n: op.n,
        k: op.k,
        alpha: f64::from(op.alpha),
        beta: f64::from(op.beta),
        relu: op.relu,
    };
    fn operand<'a>(matrix: &MatrixLayout, words: &'a [u32], batch: usize) -> Source64<'a> {
        let data = tail(values(words), batch * matrix.batch_stride);
        Source64 {
            data,
            ld: matrix.ld,
            transposed: matrix.transposed,
        }
    }
    let (a, b) = (operand(&op.a, a, batch), operand(&op.b, b, batch));
    let c: &mut [f64] = bytemuck::try_cast_slice_mut(c).unwrap_or_default();
    let c = tail_mut(c, batch * op.c.batch_stride);
    Ok(gemm_f64(
        cpu,
        &params,
        a,
        b,
        c,
        op.c.ld,
        op.bias.map(|_| values(bias)),
    )?)
}

fn tail<T>(values: &[T], first: usize) -> &[T] {
    values.get(first..).unwrap_or_default()
}

fn tail_mut<T>(values: &mut [T], first: usize) -> &mut [T] {
    values.get_mut(first..).unwrap_or_default()
}

fn data(dtype: DType, words: &[u32], first: usize) -> Data<'_> {
    match dtype {
        DType::Bf16 => Data::Bf16(tail(bf16::halves(words), first)),
        DType::F64 | DType::F32 | DType::U32 | DType::U16 => {
            Data::F32(tail(bytemuck::cast_slice(words), first))
        }
    }
}

/// Rounds pieces of rows stochastically, many draws side by side.
struct Stochastic<'a> {
    cpu: &'a Cpu,
    draw: Draw,
}

impl StoreRow for Stochastic<'_> {
    fn store_row(&self, first_index: u64, values: &[f32], out: &mut [u16]) {
        self.cpu.run(Row {
            draw: &self.draw,
            first: first_index,
            values,
            out,
        });
    }
}

struct Row<'a> {
    draw: &'a Draw,
    first: u64,
    values: &'a [f32],
    out: &'a mut [u16],
}

impl Kernel for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        crate::cpu::rounding::stochastic(
            lanes,
            self.draw,
            self.first,
            false,
            bytemuck::cast_slice(self.values),
            self.out,
        );
    }
}
