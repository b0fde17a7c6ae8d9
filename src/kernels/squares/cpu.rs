//! Sums of squares: chunks whose borders depend on the shape alone, each summed in vectors, then the chunks in order in
//! f64.

use crate::cpu::chunks::{Cut, row};
use crate::cpu::{Cpu, Kernel, Lanes};
use crate::error::Result;
use crate::format::Rounding;
use crate::format::bf16::halves;
use crate::kernels::Squares;
use crate::kernels::shared::elements::{Wide, joined, wides};
use crate::tensor::{DType, alloc};

/// A sum, and how many numbers are not finite.
type Part = (f64, u32);

/// Bit patterns of one element.
trait Bits: Copy {
    fn value(self) -> f32;
    fn is_special(self) -> bool;
}

impl Bits for u32 {
    #[inline(always)]
    fn value(self) -> f32 {
        f32::from_bits(self)
    }

    #[inline(always)]
    fn is_special(self) -> bool {
        self & 0x7f80_0000 == 0x7f80_0000
    }
}

impl Bits for u16 {
    #[inline(always)]
    fn value(self) -> f32 {
        f32::from_bits(u32::from(self) << 16)
    }

    #[inline(always)]
    fn is_special(self) -> bool {
        self & 0x7f80 == 0x7f80
    }
}

/// A run of f32 or bf16.
struct Run<'a, T>(&'a [T]);

impl<T: Bits> Kernel for Run<'_, T> {
    type Output = Part;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Part {
        /// Enough sums to hide the latency of multiply-adds.
        const WIDTH: usize = 32;
        let (mut sums, mut counts) = ([0f32; WIDTH], [0u32; WIDTH]);
        let (whole, rest) = self.0.as_chunks::<WIDTH>();
        for x in whole {
            for i in 0..WIDTH {
                let value = x[i].value();
                sums[i] = lanes.mul_add(value, value, sums[i]);
                counts[i] += u32::from(x[i].is_special());
            }
        }
        let mut sum: f64 = sums.into_iter().map(f64::from).sum();
        let mut count: u32 = counts.into_iter().sum();
        for x in rest {
            sum += f64::from(x.value()) * f64::from(x.value());
            count += u32::from(x.is_special());
        }
        (sum, count)
    }
}

/// A run of f64, there for comparison, not for speed.
fn wide_run(x: &[Wide]) -> Part {
    let (mut sum, mut count) = (0.0, 0);
    for &x in x {
        let bits = joined(x);
        let value = f64::from_bits(bits);
        sum += value * value;
        count += u32::from(bits & (0x7ff << 52) == 0x7ff << 52);
    }
    (sum, count)
}

pub(crate) fn squares(cpu: &Cpu, op: &Squares, x: &[u32], out: &mut [u32]) -> Result<()> {
    let view = op.x();
    let cpu = &cpu.for_elements(op.rows.saturating_mul(op.cols), Rounding::Nearest);
    let cut = Cut::new(view.is_contiguous(), op.rows, op.cols);
    let mut parts: Vec<Part> = alloc::filled("squares", cut.count, (0.0, 0))?;
    let chunks = parts.iter_mut().zip(cut.read(x, op.dtype, op.x_ld)).collect();
    cpu.items(chunks, |i, (part, x): (&mut Part, &[u32])| {
        for (inside, _, len) in cut.runs(i) {
            let x = row(x, inside, op.dtype, op.x_ld);
            let (sum, count) = match op.dtype {
                DType::F64 => wide_run(&wides(x)[..len]),
                DType::Bf16 | DType::U16 => cpu.run(Run(&halves(x)[..len])),
                DType::F32 | DType::U32 => cpu.run(Run(&x[..len])),
            };
            part.0 += sum;
            part.1 += count;
        }
    });
    let (sum, count) = parts
        .iter()
        .fold((0.0, 0), |(sum, count), part| (sum + part.0, count + part.1));
    match op.dtype {
        DType::F64 => op.sum().store_f64(out, 0, 0, sum),
        DType::F32 | DType::Bf16 | DType::U32 | DType::U16 => {
            op.sum().store_bits(out, 0, 0, (sum as f32).to_bits());
        }
    }
    out[op.count_word()] = count;
    Ok(())
}
