//! Dense products: C = relu?(alpha op(A) op(B) + beta C + bias).

mod blocked;
mod coded;
mod memory;
pub(crate) mod micro;
mod operands;
mod pack;
mod packed;
mod sides;
mod small;
mod store;

use super::dispatch::{Kernel, Lanes};
use super::{Cpu, CpuError, Isa, Level, check_matrix};
use crate::format::bf16;
use blocked::{Product, blocked};
pub use coded::CodedRows;
use coded::Values;
use memory::{collected, filled};
use micro::{F32, F64};
pub use operands::{Data, GemmParams, Narrow, Sink, Source, Source64, StoreRow};
use pack::{Mixed, Packed, View};
use packed::Panels;
pub use packed::{Left, PackedB, gemm_packed};
use std::borrow::Cow;
use store::{Affine, Finish, FinishTile, ToBf16, tiles};

/// C = relu?(alpha op(A) op(B) + beta C + bias), with operands in f32 or bf16 in any mixture and
/// f32 accumulation.
///
/// `bias` has one value per column (its `ld` and `transposed` are ignored). Any m, n and k from 0
/// up; k = 0 gives an empty sum. alpha = 0 or beta = 0: what it multiplies is not read.
///
/// Numerics: class *bounded*. The order of each sum depends on m, n, k, the operands' types and
/// layout, and the level, not on the number of threads. At [`Level::Avx512Bf16`](super::Level)
/// products of two bf16 operands use `vdpbf16ps` (u = 2^-23, subnormals flushed), but for those with
/// at most eight rows or columns whose larger operand does not lie along K; everything else is f32
/// with u = 2^-24. NaN and infinities
/// follow IEEE.
///
/// # Errors
/// [`CpuError`] if an operand that would be read or written is too short, its leading dimension
/// is less than its row, or memory for packed operands ran out (C then holds what it held).
///
/// ```
/// use fewbit::cpu::{Cpu, GemmParams, Sink, Source, gemm};
///
/// let a = [1.0, 2.0, 3.0, 4.0]; // 2 x 2
/// let b = [0x3f80, 0x4000, 0x4040, 0x4080]; // 1, 2, 3, 4 in bf16, stored transposed
/// let mut c = [0.0; 4];
/// gemm(
///     &Cpu::detect(),
///     &GemmParams::new(2, 2, 2),
///     Source::f32(&a, 2),
///     Source::bf16(&b, 2).transposed(),
///     Sink::f32(&mut c, 2),
///     None,
/// )?;
/// assert_eq!(c, [5.0, 11.0, 11.0, 25.0]);
/// # Ok::<(), fewbit::cpu::CpuError>(())
/// ```
pub fn gemm(
    cpu: &Cpu,
    params: &GemmParams,
    a: Source<'_>,
    b: Source<'_>,
    c: Sink<'_>,
    bias: Option<Source<'_>>,
) -> Result<(), CpuError> {
    gemm_any(cpu, params, a, Right::Stored(b), c, bias)
}

/// The right operand.
#[derive(Clone, Copy)]
enum Right<'a> {
    Stored(Source<'a>),
    Packed(&'a PackedB),
}

impl Right<'_> {
    fn fits_bf16(&self) -> bool {
        match self {
            Right::Stored(source) => source.fits_bf16(),
            Right::Packed(packed) => packed.pairs(),
        }
    }
}

fn gemm_any(
    cpu: &Cpu,
    params: &GemmParams,
    a: Source<'_>,
    b: Right<'_>,
    c: Sink<'_>,
    bias: Option<Source<'_>>,
) -> Result<(), CpuError> {
    let &GemmParams {
        m,
        n,
        k,
        alpha,
        beta,
        relu,
    } = params;
    let bias = match bias.map(|bias| bias.data) {
        None => Vec::new(),
        Some(data) if data.len() < n => {
            return Err(CpuError::Length {
                operand: "bias",
                expected: n,
                len: data.len(),
            });
        }
        Some(Data::F32(data)) => collected(data[..n].iter().copied())?,
        Some(Data::Bf16(data)) => collected(data[..n].iter().map(|&bits| bf16::widen(bits)))?,
        Some(Data::Coded(_)) => {
            return Err(CpuError::Axis { operand: "bias" });
        }
    };
    // An empty sum needs no operands either.
    let alpha = if k == 0 { 0.0 } else { alpha };
    if alpha != 0.0 {
        a.check("A", m, k)?;
        match b {
            Right::Stored(b) => b.check("B", k, n)?,
            Right::Packed(b) => b.check(cpu, &a, k, n)?,
        }
    }
    let pairs = matches!(cpu.level(), Level::Avx512Bf16) && a.fits_bf16() && b.fits_bf16();
    let (left, right);
    let (mut a, mut b) = (a, b);
    if alpha != 0.0 {
        // Of a product with few vectors the matrix is decoded as it is read.
        let few = m.min(n) <= small::FEW && matches!(b, Right::Stored(_));
        if !few || m <= n {
            left = Values::of(cpu, &a, m, pairs, 0)?;
            if let Some(values) = &left {
                a = a.with(values.data());
            }
        }
        if let Right::Stored(stored) = b
            && (!few || n < m)
        {
            right = Values::of(cpu, &stored, n, pairs, 1)?;
            if let Some(values) = &right {
                b = Right::Stored(stored.with(values.data()));
            }
        }
    }
    let affine = Affine { alpha, beta, relu };
    let shape = (m, n, k);
    match c {
        Sink::F32 { data, ld } => {
            check_matrix("C", data.len(), m, n, ld)?;
            product(cpu, shape, a, b, &bias, &affine, data, ld)
        }
        Sink::Bf16 { data, ld, rounding } => {
            check_matrix("C", data.len(), m, n, ld)?;
            product(cpu, shape, a, b, &bias, &ToBf16 { affine, rounding }, data, ld)
        }
    }
}

/// Copies the few vectors of [`small::few`] to f32 rows.
struct Gather<'a, 'o> {
    from: Mixed<'a>,
    k: usize,
    out: &'o mut [f32],
}

impl Kernel for Gather<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, _: L) {
        for (outer, row) in self.out.chunks_exact_mut(self.k).enumerate() {
            match self.from {
                Mixed::F32(view) => view.gather(outer, |value| value, row),
                Mixed::Bf16(view) => view.gather(outer, bf16::widen, row),
            }
        }
    }
}

/// The few vectors, as f32 rows one after the other: where they lie, if that is so.
fn floats<'a>(cpu: &Cpu, from: Mixed<'a>, count: usize, k: usize) -> Result<Cow<'a, [f32]>, CpuError> {
    if let Mixed::F32(view) = from
        && let Some(rows) = view.rows_together(count, k)
    {
        return Ok(Cow::Borrowed(rows));
    }
    let mut rows = filled(count * k, 0.0)?;
    let out = &mut rows;
    cpu.run(Gather { from, k, out });
    Ok(Cow::Owned(rows))
}

/// The same in bf16.
#[cfg(target_arch = "x86_64")]
fn halves(from: View<'_, u16>, count: usize, k: usize) -> Result<Cow<'_, [u16]>, CpuError> {
    if let Some(rows) = from.rows_together(count, k) {
        return Ok(Cow::Borrowed(rows));
    }
    let mut rows = filled(count * k, 0)?;
    for (outer, row) in rows.chunks_exact_mut(k).enumerate() {
        from.gather(outer, |half| half, row);
    }
    Ok(Cow::Owned(rows))
}

fn product<F: Finish<f32>>(
    cpu: &Cpu,
    (m, n, k): (usize, usize, usize),
    a: Source<'_>,
    b: Right<'_>,
    bias: &[f32],
    finish: &F,
    c: &mut [F::Out],
    ldc: usize,
) -> Result<(), CpuError> {
    if m == 0 || n == 0 {
        return Ok(());
    }
    if !finish.needs_product() {
        return without_product(cpu, m, n, bias, finish, c, ldc);
    }
    let va = a.view(!a.transposed);
    let b = match b {
        Right::Stored(b) => b,
        Right::Packed(b) => return packed(cpu, (m, n, k), va, b, bias, finish, c, ldc),
    };
    let vb = b.view(b.transposed);
    if m.min(n) <= small::FEW {
        let transposed = n < m;
        let (vectors, count, w, outer) = if transposed {
            (vb, n, va, m)
        } else {
            (va, m, vb, n)
        };
        let codes = match if transposed { a.data } else { b.data } {
            Data::Coded(codes) => Some(codes),
            Data::F32(_) | Data::Bf16(_) => None,
        };
        #[cfg(target_arch = "x86_64")]
        if let (Isa::Avx512Bf16(isa), Mixed::Bf16(vectors), Some(codes)) = (cpu.isa, vectors, codes)
            && codes.fits_bf16()
        {
            let rows = halves(vectors, count, k)?;
            return small::few_coded_pairs(
                cpu, isa, &rows, k, codes, outer, transposed, bias, finish, c, ldc,
            );
        }
        #[cfg(target_arch = "x86_64")]
        if let (Isa::Avx512Bf16(isa), Mixed::Bf16(vectors), Mixed::Bf16(w)) = (cpu.isa, vectors, w)
            && w.k_adjacent
            && k > 0
        {
            let rows = halves(vectors, count, k)?;
            return small::few_pairs(cpu, isa, &rows, k, w, outer, transposed, bias, finish, c, ldc);
        }
        let rows = floats(cpu, vectors, count, k)?;
        if let Some(codes) = codes {
            return small::few_coded(
                cpu, &rows, count, k, codes, outer, transposed, bias, finish, c, ldc,
            );
        }
        return small::few(cpu, &rows, count, k, w, outer, transposed, bias, finish, c, ldc);
    }
    let p = Product {
        m,
        n,
        k,
        a: va,
        b: vb,
        bias,
    };
    match cpu.isa {
        Isa::Portable(isa) => blocked(cpu, F32(isa), 1, &p, finish, c, ldc),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2(isa) => blocked(cpu, F32(isa), 1, &p, finish, c, ldc),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512(isa) => blocked(cpu, F32(isa), 1, &p, finish, c, ldc),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Bf16(isa) => match (va, vb) {
            (Mixed::Bf16(a), Mixed::Bf16(b)) => {
                let (a, b) = (pack::PairView(a), pack::PairView(b));
                let p = Product { m, n, k, a, b, bias };
                blocked(cpu, micro::Pairs(isa), 2, &p, finish, c, ldc)
            }
            _ => blocked(cpu, F32(isa.base()), 1, &p, finish, c, ldc),
        },
        #[cfg(target_arch = "aarch64")]
        Isa::Neon(isa) => blocked(cpu, F32(isa), 1, &p, finish, c, ldc),
    }
}

fn packed<F: Finish<f32>>(
    cpu: &Cpu,
    (m, n, k): (usize, usize, usize),
    a: Mixed<'_>,
    b: &PackedB,
    bias: &[f32],
    finish: &F,
    c: &mut [F::Out],
    ldc: usize,
) -> Result<(), CpuError> {
    match &b.panels {
        Panels::F32(panels) => {
            let b = Packed(panels.all());
            let p = Product { m, n, k, a, b, bias };
            match cpu.isa {
                Isa::Portable(isa) => blocked(cpu, F32(isa), 1, &p, finish, c, ldc),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2(isa) => blocked(cpu, F32(isa), 1, &p, finish, c, ldc),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512(isa) => blocked(cpu, F32(isa), 1, &p, finish, c, ldc),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512Bf16(isa) => blocked(cpu, F32(isa.base()), 1, &p, finish, c, ldc),
                #[cfg(target_arch = "aarch64")]
                Isa::Neon(isa) => blocked(cpu, F32(isa), 1, &p, finish, c, ldc),
            }
        }
        #[cfg(target_arch = "x86_64")]
        Panels::Pairs(panels) => {
            // Both hold, or `PackedB::check` has refused.
            if let (Isa::Avx512Bf16(isa), Mixed::Bf16(a)) = (cpu.isa, a) {
                let (a, b) = (pack::PairView(a), Packed(panels.all()));
                let p = Product { m, n, k, a, b, bias };
                return blocked(cpu, micro::Pairs(isa), 2, &p, finish, c, ldc);
            }
            Ok(())
        }
    }
}

/// C = relu?(beta C + bias).
fn without_product<A: Copy + Default + Sync, F: Finish<A>>(
    cpu: &Cpu,
    m: usize,
    n: usize,
    bias: &[A],
    finish: &F,
    c: &mut [F::Out],
    ldc: usize,
) -> Result<(), CpuError> {
    let rows = ((1 << 16) / n).max(1);
    cpu.for_each(tiles(c, ldc, m, n, rows, n)?, |mut tile| {
        let tile = &mut tile;
        let rows = 0..tile.rows;
        cpu.run(FinishTile {
            finish,
            tile,
            rows,
            acc: &[],
            ld: 0,
            transposed: false,
            bias,
            n,
        });
    });
    Ok(())
}

/// C = relu?(alpha op(A) op(B) + beta C + bias) in f64.
///
/// C is row-major, rows `ldc` elements apart; `bias` has one value per column. As [`gemm`]
/// otherwise, with u = 2^-53.
///
/// # Errors
/// As [`gemm`].
pub fn gemm_f64(
    cpu: &Cpu,
    params: &GemmParams<f64>,
    a: Source64<'_>,
    b: Source64<'_>,
    c: &mut [f64],
    ldc: usize,
    bias: Option<&[f64]>,
) -> Result<(), CpuError> {
    let &GemmParams {
        m,
        n,
        k,
        alpha,
        beta,
        relu,
    } = params;
    let bias = match bias {
        None => &[],
        Some(data) if data.len() < n => {
            return Err(CpuError::Length {
                operand: "bias",
                expected: n,
                len: data.len(),
            });
        }
        Some(data) => &data[..n],
    };
    let alpha = if k == 0 { 0.0 } else { alpha };
    if alpha != 0.0 {
        a.check("A", m, k)?;
        b.check("B", k, n)?;
    }
    check_matrix("C", c.len(), m, n, ldc)?;
    if m == 0 || n == 0 {
        return Ok(());
    }
    let finish = &Affine { alpha, beta, relu };
    if alpha == 0.0 {
        return without_product(cpu, m, n, bias, finish, c, ldc);
    }
    let p = Product {
        m,
        n,
        k,
        a: View {
            data: a.data,
            ld: a.ld,
            k_adjacent: !a.transposed,
        },
        b: View {
            data: b.data,
            ld: b.ld,
            k_adjacent: b.transposed,
        },
        bias,
    };
    match cpu.isa {
        Isa::Portable(isa) => blocked(cpu, F64(isa), 1, &p, finish, c, ldc),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2(isa) => blocked(cpu, F64(isa), 1, &p, finish, c, ldc),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512(isa) => blocked(cpu, F64(isa), 1, &p, finish, c, ldc),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Bf16(isa) => blocked(cpu, F64(isa.base()), 1, &p, finish, c, ldc),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon(isa) => blocked(cpu, F64(isa), 1, &p, finish, c, ldc),
    }
}
