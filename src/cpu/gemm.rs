//! Dense products: both operands packed into panels, tiles of C in registers (after Goto and van de Geijn,
//! "Anatomy of high-performance matrix multiplication", 2008, and BLIS).
//!
//! `op(A)` is packed into panels of MR rows and `op(B)` into panels of NR columns, each panel with k outermost,
//! converting as it goes; C's rows are dealt out in slabs. Every element of C sums its products in ascending
//! blocks of k whatever the slabs are, so the result does not depend on the number of threads.

use super::skinny::skinny;
use super::{Cpu, Kernel, Level, Simd};
use crate::format::Rounding;
use crate::format::bf16;
use crate::format::random::Draw;

/// The elements of an operand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    F32(&'a [f32]),
    Bf16(&'a [u16]),
    F64(&'a [f64]),
}

/// An operand: row-major with a leading dimension, used as it is or transposed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operand<'a> {
    pub(crate) source: Source<'a>,
    pub(crate) ld: usize,
    pub(crate) transposed: bool,
}

/// C: row-major with a leading dimension.
#[derive(Debug)]
pub(crate) enum Output<'a> {
    F32(&'a mut [f32]),
    Bf16(&'a mut [u16]),
    F64(&'a mut [f64]),
}

/// `C = relu(alpha * op(A) op(B) + beta * C + bias)`, with f32 sums (f64 if the operands are).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gemm<'a> {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) alpha: f64,
    /// 0: C is not read.
    pub(crate) beta: f64,
    /// One value per column.
    pub(crate) bias: Option<Source<'a>>,
    pub(crate) relu: bool,
    /// Elements from one row of C to the next.
    pub(crate) ldc: usize,
    /// How a bf16 C is rounded.
    pub(crate) rounding: Rounding,
    pub(crate) draw: Draw,
    /// Logical index of C's first element, for draws.
    pub(crate) first_index: u64,
}

/// `ld` sums apart from row to row: the accumulators of a slab.
pub(super) struct Tile<'a, T> {
    sums: &'a mut [T],
    ld: usize,
}

impl<T> Tile<'_, T> {
    /// Row `i`, from the tile's first column on: at least NR sums.
    #[inline(always)]
    pub(super) fn row(&mut self, i: usize) -> &mut [T] {
        &mut self.sums[i * self.ld..]
    }
}

/// The innermost loop: adds the product of a panel of A and a panel of B to an MR x NR tile.
pub(super) trait MicroKernel {
    /// What panels are packed into.
    type Element: Element;
    /// What is summed in.
    type Sum: Sum;
    const MR: usize;
    const NR: usize;
    /// Values of k in one packed element.
    const STEP: usize;

    /// `a` holds MR elements per step of k, `b` NR; every row of `tile` at least NR sums.
    fn run(a: &[Self::Element], b: &[Self::Element], tile: Tile<'_, Self::Sum>);
}

/// Defines a [`MicroKernel`] of `rows` x `vectors * lanes` sums from an instruction set's load, store,
/// broadcast and multiply-add.
#[cfg(target_arch = "x86_64")]
macro_rules! micro_kernel {
    ($(#[$doc:meta])* $name:ident, $element:ty, $sum:ty, [$rows:literal, $vectors:literal, $lanes:literal],
     $features:literal, $vector:ty, |$x:ident| $broadcast:expr, $load:ident, $store:ident,
     |$a:ident, $b:ident, $c:ident| $fma:expr, $step:literal) => {
        $(#[$doc])*
        pub(super) struct $name;

        impl MicroKernel for $name {
            type Element = $element;
            type Sum = $sum;
            const MR: usize = $rows;
            const NR: usize = $vectors * $lanes;
            const STEP: usize = $step;

            fn run(a: &[$element], b: &[$element], tile: Tile<'_, $sum>) {
                #[target_feature(enable = $features)]
                fn compiled(a: &[$element], b: &[$element], mut tile: Tile<'_, $sum>) {
                    let mut sums: [[$vector; $vectors]; $rows] = std::array::from_fn(|i| {
                        let row = &tile.row(i)[..$vectors * $lanes];
                        // SAFETY: the slice above holds every lane that is loaded.
                        std::array::from_fn(|j| unsafe { $load(row.as_ptr().add($lanes * j)) })
                    });
                    for (a, b) in a.chunks_exact($rows).zip(b.chunks_exact($vectors * $lanes)) {
                        let b: [$vector; $vectors] = std::array::from_fn(|j| {
                            // SAFETY: the chunk holds every lane that is loaded.
                            unsafe { $load(b.as_ptr().add($lanes * j)) }
                        });
                        for (sums, $x) in sums.iter_mut().zip(a) {
                            let $a = $broadcast;
                            for (sum, $b) in sums.iter_mut().zip(b) {
                                let $c = *sum;
                                *sum = $fma;
                            }
                        }
                    }
                    for (i, sums) in sums.iter().enumerate() {
                        let row = &mut tile.row(i)[..$vectors * $lanes];
                        for (j, sum) in sums.iter().enumerate() {
                            // SAFETY: the slice above holds every lane that is stored.
                            unsafe { $store(row.as_mut_ptr().add($lanes * j), *sum) }
                        }
                    }
                }
                // SAFETY: `gemm` takes this kernel only at the level whose detection includes its features.
                unsafe { compiled(a, b, tile) }
            }
        }
    };
}
#[cfg(target_arch = "x86_64")]
pub(super) use micro_kernel;

/// Something that panels are packed into.
pub(super) trait Element: Copy + Default + Send + Sync {
    /// The element of step `step` (k from `step * STEP` on) and outer index `outer`; past `k`: zero.
    fn load(source: &Source<'_>, outer: usize, k: usize, end: usize, strides: [usize; 2]) -> Self;
}

impl Element for f32 {
    #[inline(always)]
    fn load(source: &Source<'_>, outer: usize, k: usize, _: usize, [by_outer, by_k]: [usize; 2]) -> Self {
        let index = outer * by_outer + k * by_k;
        match source {
            Source::F32(values) => values[index],
            Source::Bf16(values) => bf16::widen(values[index]),
            Source::F64(values) => values[index] as f32,
        }
    }
}

impl Element for f64 {
    #[inline(always)]
    fn load(source: &Source<'_>, outer: usize, k: usize, _: usize, [by_outer, by_k]: [usize; 2]) -> Self {
        let index = outer * by_outer + k * by_k;
        match source {
            Source::F64(values) => values[index],
            Source::F32(values) => f64::from(values[index]),
            Source::Bf16(values) => f64::from(bf16::widen(values[index])),
        }
    }
}

impl Element for u32 {
    #[inline(always)]
    fn load(source: &Source<'_>, outer: usize, k: usize, end: usize, [by_outer, by_k]: [usize; 2]) -> Self {
        let Source::Bf16(values) = source else { return 0 };
        let index = outer * by_outer + k * by_k;
        let high = if k + 1 < end { values[index + by_k] } else { 0 };
        bf16::pack(values[index], high)
    }
}

/// What products are summed in.
pub(super) trait Sum: Copy + Default + Send + Sync {
    fn to_f64(self) -> f64;
    fn to_f32(self) -> f32;
}

impl Sum for f32 {
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
}

impl Sum for f64 {
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self as f32
    }
}

/// Packs one panel of `width` outer indices from `first` on; those past `count` are zero.
struct Pack<'a, E> {
    source: Source<'a>,
    strides: [usize; 2],
    first: usize,
    count: usize,
    k: usize,
    step: usize,
    width: usize,
    out: &'a mut [E],
}

impl<E: Element> Kernel for Pack<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self {
            source,
            strides,
            first,
            count,
            k,
            step,
            width,
            out,
        } = self;
        let used = width.min(count - first);
        if strides[0] == 1 {
            // Consecutive outer indices are neighbours in memory: each step is a straight run.
            for (s, out) in out.chunks_exact_mut(width).enumerate() {
                for (i, out) in out[..used].iter_mut().enumerate() {
                    *out = E::load(&source, first + i, s * step, k, strides);
                }
                out[used..].fill(E::default());
            }
        } else {
            // Runs along k: sixteen steps at a time, so that what is written stays in the first cache.
            out.fill(E::default());
            for (block, out) in out.chunks_mut(16 * width).enumerate() {
                for i in 0..used {
                    for (s, out) in out.chunks_exact_mut(width).enumerate() {
                        out[i] = E::load(&source, first + i, (block * 16 + s) * step, k, strides);
                    }
                }
            }
        }
    }
}

fn pack<K: MicroKernel>(
    cpu: &Cpu,
    source: Source<'_>,
    strides: [usize; 2],
    count: usize,
    k: usize,
    width: usize,
) -> Vec<K::Element> {
    let steps = k.div_ceil(K::STEP);
    let mut packed = vec![K::Element::default(); count.div_ceil(width) * width * steps];
    cpu.chunks_mut(&mut packed, width * steps, |panel, out| {
        let first = panel * width;
        cpu.dispatch(Pack {
            source,
            strides,
            first,
            count,
            k,
            step: K::STEP,
            width,
            out,
        });
    });
    packed
}

/// Packed bytes of one operand at a time: larger ones are taken in slabs.
const PACKED: usize = 256 << 20;
/// Steps of k between two visits to a tile's sums: a panel of each operand stays in the second cache.
const BLOCK: usize = 384;
/// Rows of C in one task, at most, and columns of sums that a task holds.
const SLAB: usize = 128;
const COLUMNS: usize = 192;

/// Runs a product. Slices are as long as their layout needs (checked by the operation).
pub(crate) fn gemm(cpu: &Cpu, g: &Gemm<'_>, a: Operand<'_>, b: Operand<'_>, mut c: Output<'_>) {
    if g.m == 0 || g.n == 0 {
        return;
    }
    // alpha = 0: A and B are not read.
    let g = &Gemm {
        k: if g.alpha == 0.0 { 0 } else { g.k },
        ..*g
    };
    let c = &mut c;
    if matches!(c, Output::F64(_)) {
        return match cpu.level() {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 | Level::Avx512Bf16 => drive::<super::avx512::F64x8x24>(cpu, g, a, b, c),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => drive::<super::avx2::F64x6x8>(cpu, g, a, b, c),
            _ => drive::<super::portable::F64x4x4>(cpu, g, a, b, c),
        };
    }
    if g.m <= 8 || g.n <= 8 {
        let sums = skinny(cpu, g, a, b);
        store_rows(cpu, g, &sums, g.n, 0, 0, c);
        return;
    }
    let both_bf16 = matches!((a.source, b.source), (Source::Bf16(_), Source::Bf16(_)));
    match cpu.level() {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512Bf16 if both_bf16 => drive::<super::avx512::Bf16x8x48>(cpu, g, a, b, c),
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 | Level::Avx512Bf16 => drive::<super::avx512::F32x8x48>(cpu, g, a, b, c),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => drive::<super::avx2::F32x6x16>(cpu, g, a, b, c),
        _ => {
            let _ = both_bf16;
            drive::<super::portable::F32x4x8>(cpu, g, a, b, c);
        }
    }
}

/// `[outer stride, k stride]` of an operand whose outer index is A's row or B's column.
fn strides(ld: usize, k_contiguous: bool) -> [usize; 2] {
    if k_contiguous { [ld, 1] } else { [1, ld] }
}

fn drive<K: MicroKernel>(cpu: &Cpu, g: &Gemm<'_>, a: Operand<'_>, b: Operand<'_>, c: &mut Output<'_>) {
    let steps = g.k.div_ceil(K::STEP);
    let per_column = (steps * size_of::<K::Element>()).max(1);
    let columns = (PACKED / per_column / K::NR).max(1) * K::NR;
    let rows = (PACKED / per_column / SLAB).max(1) * SLAB;
    let (a_strides, b_strides) = (strides(a.ld, !a.transposed), strides(b.ld, b.transposed));
    for first_column in (0..g.n).step_by(columns) {
        let n = columns.min(g.n - first_column);
        let source = b.source.from(first_column * b_strides[0]);
        let b_packed = pack::<K>(cpu, source, b_strides, n, g.k, K::NR);
        for first_row in (0..g.m).step_by(rows) {
            let m = rows.min(g.m - first_row);
            let source = a.source.from(first_row * a_strides[0]);
            let a_packed = pack::<K>(cpu, source, a_strides, m, g.k, K::MR);
            let part = Part {
                g,
                first_row,
                first_column,
                m,
                n,
                steps,
            };
            part.run::<K>(cpu, &a_packed, &b_packed, c);
        }
    }
}

impl<'a> Source<'a> {
    fn from(self, first: usize) -> Self {
        match self {
            Self::F32(values) => Self::F32(values.get(first..).unwrap_or_default()),
            Self::Bf16(values) => Self::Bf16(values.get(first..).unwrap_or_default()),
            Self::F64(values) => Self::F64(values.get(first..).unwrap_or_default()),
        }
    }
}

/// A part of C whose operands are packed.
struct Part<'a> {
    g: &'a Gemm<'a>,
    first_row: usize,
    first_column: usize,
    m: usize,
    n: usize,
    steps: usize,
}

impl Part<'_> {
    fn run<K: MicroKernel>(&self, cpu: &Cpu, a: &[K::Element], b: &[K::Element], c: &mut Output<'_>) {
        // Two tasks a thread balance without cutting slabs so thin that B is read too often.
        let slab = self
            .m
            .div_ceil(2 * cpu.threads())
            .clamp(2 * K::MR, SLAB.max(2 * K::MR))
            .next_multiple_of(K::MR);
        let rows = self.first_row..self.first_row + self.m;
        match c {
            Output::F32(c) => self.slabs::<K, f32>(cpu, slab, &mut c[rows.start * self.g.ldc..], a, b, |c| {
                Output::F32(c)
            }),
            Output::Bf16(c) => {
                self.slabs::<K, u16>(cpu, slab, &mut c[rows.start * self.g.ldc..], a, b, |c| {
                    Output::Bf16(c)
                })
            }
            Output::F64(c) => self.slabs::<K, f64>(cpu, slab, &mut c[rows.start * self.g.ldc..], a, b, |c| {
                Output::F64(c)
            }),
        }
    }

    fn slabs<K: MicroKernel, T: Send>(
        &self,
        cpu: &Cpu,
        slab: usize,
        c: &mut [T],
        a: &[K::Element],
        b: &[K::Element],
        wrap: impl for<'c> Fn(&'c mut [T]) -> Output<'c> + Sync + Send,
    ) {
        let used = c.len().min(self.m * self.g.ldc);
        cpu.chunks_mut(&mut c[..used], slab * self.g.ldc, |i, c| {
            let first = i * slab;
            self.slab::<K>(cpu, first, slab.min(self.m - first), a, b, &mut wrap(c));
        });
    }

    /// Rows `first .. first + rows` of the part, columns in groups whose sums stay in the second cache.
    fn slab<K: MicroKernel>(
        &self,
        cpu: &Cpu,
        first: usize,
        rows: usize,
        a: &[K::Element],
        b: &[K::Element],
        c: &mut Output<'_>,
    ) {
        let group = (COLUMNS / K::NR).max(1);
        let width = group * K::NR;
        let panels = first / K::MR..(first + rows).div_ceil(K::MR);
        let mut sums = vec![K::Sum::default(); panels.len() * K::MR * width];
        for column in (0..self.n).step_by(width) {
            let columns = width.min(self.n - column);
            sums.fill(K::Sum::default());
            for block in (0..self.steps).step_by(BLOCK) {
                let end = (block + BLOCK).min(self.steps);
                for j in 0..columns.div_ceil(K::NR) {
                    let b = &b[(column / K::NR + j) * self.steps * K::NR..][block * K::NR..end * K::NR];
                    for (i, panel) in panels.clone().enumerate() {
                        let a = &a[panel * self.steps * K::MR..][block * K::MR..end * K::MR];
                        let tile = Tile {
                            sums: &mut sums[i * K::MR * width + j * K::NR..],
                            ld: width,
                        };
                        K::run(a, b, tile);
                    }
                }
            }
            let first_column = self.first_column + column;
            let g = Gemm {
                m: rows,
                n: columns,
                ..*self.g
            };
            let row = self.first_row + first;
            let epilogue = Epilogue {
                g: &g,
                full_n: self.g.n,
                row,
                column: first_column,
            };
            cpu.dispatch(Store {
                epilogue,
                sums: &sums,
                width,
                c,
            });
        }
    }
}

/// Stores rows of sums that a product computed as a whole.
fn store_rows<T: Sum>(
    cpu: &Cpu,
    g: &Gemm<'_>,
    sums: &[T],
    width: usize,
    row: usize,
    column: usize,
    c: &mut Output<'_>,
) {
    let epilogue = Epilogue {
        g,
        full_n: g.n,
        row,
        column,
    };
    cpu.dispatch(Store {
        epilogue,
        sums,
        width,
        c,
    });
}

#[derive(Clone, Copy)]
struct Epilogue<'a> {
    /// `m` and `n` are those of the rectangle stored.
    g: &'a Gemm<'a>,
    full_n: usize,
    row: usize,
    column: usize,
}

struct Store<'a, 'c, T> {
    epilogue: Epilogue<'a>,
    sums: &'a [T],
    width: usize,
    c: &'a mut Output<'c>,
}

impl<T: Sum> Kernel for Store<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self {
            epilogue,
            sums,
            width,
            c,
        } = self;
        let Epilogue {
            g,
            full_n,
            row,
            column,
        } = epilogue;
        let mut values = vec![0.0f32; g.n];
        for i in 0..g.m {
            let sums = &sums[i * width..][..g.n];
            let start = i * g.ldc + column;
            match c {
                Output::F64(c) => {
                    let c = &mut c[start..start + g.n];
                    for (j, (c, sum)) in c.iter_mut().zip(sums).enumerate() {
                        let mut value = sum.to_f64() * g.alpha;
                        if g.beta != 0.0 {
                            value += g.beta * *c;
                        }
                        if let Some(bias) = g.bias {
                            value += f64::load(&bias, column + j, 0, 1, [1, 0]);
                        }
                        *c = if g.relu && value <= 0.0 { 0.0 } else { value };
                    }
                }
                Output::F32(c) => {
                    let c = &mut c[start..start + g.n];
                    if g.beta != 0.0 {
                        values.copy_from_slice(c);
                    }
                    finish(g, column, sums, &mut values);
                    c.copy_from_slice(&values);
                }
                Output::Bf16(c) => {
                    if g.beta != 0.0 {
                        for (value, &c) in values.iter_mut().zip(&c[start..start + g.n]) {
                            *value = bf16::widen(c);
                        }
                    }
                    finish(g, column, sums, &mut values);
                    let index = g.first_index + ((row + i) * full_n + column) as u64;
                    let target = &mut c[start..start + g.n];
                    match g.rounding {
                        Rounding::Stochastic => {
                            for ((c, value), index) in target.iter_mut().zip(&values).zip(index..) {
                                *c = bf16::round_stochastic(value.to_bits(), g.draw.bits(index));
                            }
                        }
                        rounding => {
                            for (c, value) in target.iter_mut().zip(&values) {
                                *c = bf16::encode(value.to_bits(), rounding, 0, false);
                            }
                        }
                    }
                    if column + g.n == full_n && full_n % 2 == 1 {
                        c[start + g.n] = 0;
                    }
                }
            }
        }
    }
}

/// `values` holds C where beta is not 0; becomes the result.
#[inline(always)]
fn finish<T: Sum>(g: &Gemm<'_>, column: usize, sums: &[T], values: &mut [f32]) {
    let (alpha, beta) = (g.alpha as f32, g.beta as f32);
    if g.beta == 0.0 {
        for (value, sum) in values.iter_mut().zip(sums) {
            *value = alpha * sum.to_f32();
        }
    } else {
        for (value, sum) in values.iter_mut().zip(sums) {
            *value = alpha * sum.to_f32() + beta * *value;
        }
    }
    if let Some(bias) = g.bias {
        for (j, value) in values.iter_mut().enumerate() {
            *value += f32::load(&bias, column + j, 0, 1, [1, 0]);
        }
    }
    if g.relu {
        for value in values {
            // NaN passes through; both zeros become +0.
            *value = if *value <= 0.0 { 0.0 } else { *value };
        }
    }
}
