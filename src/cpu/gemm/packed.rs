//! Weights packed once and kept.

use super::blocked::{Blocks, Widths};
use super::coded::Values;
use super::memory::Aligned;
#[cfg(target_arch = "x86_64")]
use super::micro::Pairs;
use super::micro::{F32, Micro};
#[cfg(target_arch = "x86_64")]
use super::pack::Mixed;
use super::pack::Operand;
use super::{GemmParams, Right, Sink, Source, gemm_any};
use crate::cpu::{Cpu, CpuError, Isa, Level};

/// The right operand of products, packed once for the register tiles of one [`Level`]: for weights that many
/// products read. A skinny product saves the time to pack, which is a quarter of it at 128 rows; one with few rows
/// reads the panels from end to end, as fast as memory gives them.
///
/// bf16 weights stay bf16 where the left operands are bf16 too and the level has `dpbf16`; else they are widened to
/// f32, twice the memory.
#[derive(Clone, Debug)]
pub struct PackedB {
    k: usize,
    n: usize,
    level: Level,
    pub(super) panels: Panels,
}

/// The left operands that a right one is packed for (see [`PackedB::new`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Left {
    /// f32.
    F32,
    /// bf16, whose products may be those of pairs.
    Bf16,
}

#[derive(Clone, Debug)]
pub(super) enum Panels {
    F32(Aligned<f32>),
    #[cfg(target_arch = "x86_64")]
    Pairs(Aligned<u32>),
}

impl PackedB {
    /// Packs op(B)\[k, n\] for products on this device's level with such a left operand.
    ///
    /// # Errors
    /// [`CpuError`] if the operand is too short, its leading dimension is less than its row, or memory ran out.
    pub fn new(cpu: &Cpu, b: Source<'_>, k: usize, n: usize, left: Left) -> Result<Self, CpuError> {
        b.check("B", k, n)?;
        let pairs = matches!(cpu.level(), Level::Avx512Bf16) && left == Left::Bf16 && b.fits_bf16();
        let values = Values::of(cpu, &b, n, pairs, 1)?;
        let b = values.as_ref().map_or(b, |values| b.with(values.data()));
        let view = b.view(b.transposed);
        let panels = match (cpu.isa, view) {
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512Bf16(isa), Mixed::Bf16(view)) if left == Left::Bf16 => {
                Panels::Pairs(panels(cpu, Pairs(isa), 2, super::pack::PairView(view), k, n)?)
            }
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512Bf16(isa), view) => Panels::F32(panels(cpu, F32(isa.base()), 1, view, k, n)?),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512(isa), view) => Panels::F32(panels(cpu, F32(isa), 1, view, k, n)?),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx2(isa), view) => Panels::F32(panels(cpu, F32(isa), 1, view, k, n)?),
            #[cfg(target_arch = "aarch64")]
            (Isa::Neon(isa), view) => Panels::F32(panels(cpu, F32(isa), 1, view, k, n)?),
            (Isa::Portable(isa), view) => Panels::F32(panels(cpu, F32(isa), 1, view, k, n)?),
        };
        let level = cpu.level();
        Ok(Self { k, n, level, panels })
    }

    /// Bytes of the panels.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.panels {
            Panels::F32(panels) => size_of_val(panels.all()),
            #[cfg(target_arch = "x86_64")]
            Panels::Pairs(panels) => size_of_val(panels.all()),
        }
    }

    /// Whether the panels hold pairs of bf16, for left operands of bf16.
    pub(super) fn pairs(&self) -> bool {
        !matches!(self.panels, Panels::F32(_))
    }

    pub(super) fn check(&self, cpu: &Cpu, a: &Source<'_>, k: usize, n: usize) -> Result<(), CpuError> {
        let bf16 = a.fits_bf16();
        if (self.k, self.n, self.level) != (k, n, cpu.level()) || (self.pairs() && !bf16) {
            return Err(CpuError::Packed {
                k: self.k,
                n: self.n,
                level: self.level.name(),
                left: if self.pairs() { "bf16" } else { "bf16 or f32" },
            });
        }
        Ok(())
    }
}

fn panels<M: Micro, O: Operand<M::Elem>>(
    cpu: &Cpu,
    _: M,
    ku: usize,
    operand: O,
    k: usize,
    n: usize,
) -> Result<Aligned<M::Elem>, CpuError> {
    let blocks = Blocks::new(k, ku);
    let widths = Widths::of_b::<M>();
    let mut panels = Aligned::zeroed(blocks.len(n, widths))?;
    blocks.pack_all(cpu, operand, (n, n), widths, panels.all_mut());
    Ok(panels)
}

/// [`gemm`](super::gemm()) with a right operand packed before. Its sums are those of [`gemm`](super::gemm()), bit for
/// bit, where C has more than eight rows and columns; smaller products take the same order of summation here, and
/// another there.
///
/// # Errors
/// As [`gemm`](super::gemm()); [`CpuError::Packed`] if B was packed for another shape, level or left operand.
///
/// ```
/// use fewbit::cpu::{Cpu, GemmParams, Left, PackedB, Sink, Source, gemm_packed};
///
/// let cpu = Cpu::detect();
/// let weights = PackedB::new(&cpu, Source::f32(&[1.0, 2.0, 3.0, 4.0], 2), 2, 2, Left::F32)?;
/// let mut c = [0.0; 2];
/// let a = Source::f32(&[1.0, 10.0], 2);
/// gemm_packed(&cpu, &GemmParams::new(1, 2, 2), a, &weights, Sink::f32(&mut c, 2), None)?;
/// assert_eq!(c, [31.0, 42.0]);
/// # Ok::<(), fewbit::cpu::CpuError>(())
/// ```
pub fn gemm_packed(
    cpu: &Cpu,
    params: &GemmParams,
    a: Source<'_>,
    b: &PackedB,
    c: Sink<'_>,
    bias: Option<Source<'_>>,
) -> Result<(), CpuError> {
    gemm_any(cpu, params, a, Right::Packed(b), c, bias)
}
