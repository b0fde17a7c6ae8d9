//! `matmul`: dense matrix products, C = epilogue(alpha op(A) op(B) + beta C).

mod access;
mod bf16;
pub(crate) mod cases;
mod coded_cases;
mod coop;
mod cpu;
mod cut;
mod data;
mod decoded;
mod device;
mod form;
pub(super) mod gpu;
mod layout;
mod reference;
mod split;
mod sums;
mod weights;

pub use device::MatmulOptions;
pub use layout::MatrixLayout;
pub use weights::Weights;

use crate::cpu::Cpu;
use crate::error::{Error, Result};
use crate::format::random::Draw;
use crate::format::{Elements, Rounding};
use crate::gpu::{Gpu, OperandSpec, StepValues};
use crate::op::{
    Args, Contract, NamedArgs, Op, Scalar, Table, Work, check_floats, check_limit, check_rounding,
};
use crate::tensor::DType;

const OP: &str = "matmul";
/// The names of A's codes and scales, and of B's.
const A: [&str; 2] = ["a", "a_scales"];
const B: [&str; 2] = ["b", "b_scales"];

/// The words of what a product reads; those that are not there are empty.
#[derive(Clone, Copy, Debug)]
struct Inputs<'a> {
    a: &'a [u32],
    a_scales: &'a [u32],
    b: &'a [u32],
    b_scales: &'a [u32],
    bias: &'a [u32],
}

impl<'a> Inputs<'a> {
    fn of(args: &mut NamedArgs<'a>) -> Self {
        Self {
            a: args.read(A[0]),
            a_scales: args.read(A[1]),
            b: args.read(B[0]),
            b_scales: args.read(B[1]),
            bias: args.read("bias"),
        }
    }
}

/// `C = round(relu(alpha op(A) op(B) + beta C + bias))` for each of `batch` products. Operands: `a`, `a_scales` if A is
/// of codes that have scales, `b`, `b_scales` likewise, `c`, and `bias` if there is one.
///
/// A and B are plain (f32 or bf16 in any mixture, or f64 throughout) or codes of a [`Format`](crate::format::Format)
/// whose stored rows lie along K: A as `[M, K]`, B as `[N, K]`, any format with any other, or with f32 or bf16.
///
/// Bounded class; bit-equal where all inputs are small integers. The sum is f32 (f64 for f64), in any order.
/// `alpha = 0` leaves A and B unread, `beta = 0` leaves C unread. Stochastic rounding draws for the output's
/// logical index `(batch * M + i) * N + j`. A and B whose leading dimension and batch stride are multiples of
/// 16 bytes must be backed up to the next multiple of 16 bytes, which is inside their last row's padding.
///
/// | variant | when it is preferred | why |
/// |---|---|---|
/// | `vec_subgroup` | M or N at most 8 and the thick operand along K, on a GPU with subgroups | two additions across lanes instead of six barriers |
/// | `vec` | M or N at most 8, on other GPUs | the thick operand is read once; a group shares each sum |
/// | `vec_serial` | the same on software adapters | no barriers: they cost 1.4 to 12 times there |
/// | `direct` | software adapters, without codes | no barriers, 8 x 8 outputs per lane |
/// | `decoded` | codes, on software adapters, with matrix units and for many tiles | every code is decoded once, into scratch memory; then as without codes |
/// | `blocks` | both operands integers in blocks of one size, where asked for | sums of products inside a block are exact integers |
/// | `tiled128` | at least 64 tiles of 128 x 128, without codes | half the memory traffic of `tiled64` |
/// | `split_k` | few outputs of long sums | groups share each sum; a second dispatch adds their parts in order |
/// | `tiled64` | the rest | more groups from small matrices |
/// | `coop` | bf16 by bf16 past M, N = 8 where the GPU has matrix units that WGSL can name (see [`GpuOptions`](crate::gpu::GpuOptions)) | they multiply f16 many times faster; the bound's gamma counts 2 K + 4 |
/// | `bf16` | the same where the GPU has bf16 matrix units and was opened with them (`GpuOptions::native_bf16`) | no scaling, no outliers; the kernel is SPIR-V, for WGSL has no bf16 |
///
/// Every variant but `bf16`, `coop` and `vec_subgroup` runs everywhere. Each loads 16 bytes at a time where both
/// operands' rows, batches and starts are multiples of 16 bytes, single words otherwise. Products that pass a binding
/// or the cap on work are cut over batches, rows and columns, and over K last, through f32 partial sums in scratch
/// memory; over K too where a lane's loops would pass the cap on turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Matmul {
    /// Rows of op(A) and C.
    pub m: usize,
    /// Columns of op(B) and C.
    pub n: usize,
    /// Columns of op(A), rows of op(B).
    pub k: usize,
    /// Products.
    pub batch: usize,
    /// The left operand.
    pub a: MatrixLayout,
    /// The right operand.
    pub b: MatrixLayout,
    /// The result.
    pub c: MatrixLayout,
    /// Factor of the product.
    pub alpha: Scalar,
    /// Factor of what C held before.
    pub beta: Scalar,
    /// Type of a vector of N elements added to every row.
    pub bias: Option<DType>,
    /// Negative results become zero.
    pub relu: bool,
    /// How results are rounded to bf16.
    pub rounding: Rounding,
    /// What stochastic rounding draws from.
    pub draw: Draw,
}

impl Matmul {
    /// An `m` x `k` by `k` x `n` product of f32 matrices with the leading dimensions of tensors.
    #[must_use]
    pub fn new(m: usize, n: usize, k: usize) -> Self {
        let matrix = MatrixLayout {
            elements: Elements::Plain(DType::F32),
            ld: 0,
            batch_stride: 0,
            transposed: false,
        };
        Self {
            m,
            n,
            k,
            batch: 1,
            a: matrix,
            b: matrix,
            c: matrix,
            alpha: Scalar::new(1.0),
            beta: Scalar::new(0.0),
            bias: None,
            relu: false,
            rounding: Rounding::Nearest,
            draw: Draw::default(),
        }
        .packed()
    }

    /// Sets every leading dimension and batch stride to those of tensors.
    fn packed(mut self) -> Self {
        let (a, b, c) = (self.stored_a(), self.stored_b(), [self.m, self.n]);
        for (matrix, [rows, cols]) in [(&mut self.a, a), (&mut self.b, b), (&mut self.c, c)] {
            matrix.ld = MatrixLayout::tensor_ld(matrix.elements, cols);
            matrix.batch_stride = rows.saturating_mul(matrix.ld);
        }
        self
    }

    /// The elements of A, B and C, plain or codes of a format; leading dimensions and strides become those of tensors.
    #[must_use]
    pub fn types(mut self, a: impl Into<Elements>, b: impl Into<Elements>, c: DType) -> Self {
        (self.a.elements, self.b.elements, self.c.elements) = (a.into(), b.into(), c.into());
        self.packed()
    }

    /// A is stored `[K, M]`; leading dimensions and strides become those of tensors.
    #[must_use]
    pub fn transpose_a(mut self) -> Self {
        self.a.transposed = true;
        self.packed()
    }

    /// B is stored `[N, K]`; leading dimensions and strides become those of tensors.
    #[must_use]
    pub fn transpose_b(mut self) -> Self {
        self.b.transposed = true;
        self.packed()
    }

    /// The number of products; leading dimensions and strides become those of tensors.
    #[must_use]
    pub fn batch(mut self, batch: usize) -> Self {
        self.batch = batch;
        self.packed()
    }

    /// Leading dimensions of A, B and C.
    #[must_use]
    pub fn ld(mut self, a: usize, b: usize, c: usize) -> Self {
        (self.a.ld, self.b.ld, self.c.ld) = (a, b, c);
        self
    }

    /// Batch strides of A, B and C, in elements.
    #[must_use]
    pub fn batch_strides(mut self, a: usize, b: usize, c: usize) -> Self {
        (self.a.batch_stride, self.b.batch_stride, self.c.batch_stride) = (a, b, c);
        self
    }

    /// The factors of the product and of what C held.
    #[must_use]
    pub fn scaled(mut self, alpha: f32, beta: f32) -> Self {
        (self.alpha, self.beta) = (alpha.into(), beta.into());
        self
    }

    /// Adds a vector of N elements of this type to every row.
    #[must_use]
    pub fn bias(mut self, dtype: DType) -> Self {
        self.bias = Some(dtype);
        self
    }

    /// Turns negative results into zero.
    #[must_use]
    pub fn relu(mut self) -> Self {
        self.relu = true;
        self
    }

    /// Rounds to bf16 stochastically.
    #[must_use]
    pub fn stochastic(mut self, draw: Draw) -> Self {
        self.rounding = Rounding::Stochastic;
        self.draw = draw;
        self
    }

    /// Stored rows and columns of A.
    pub(crate) fn stored_a(&self) -> [usize; 2] {
        if self.a.transposed {
            [self.k, self.m]
        } else {
            [self.m, self.k]
        }
    }

    /// Stored rows and columns of B.
    pub(crate) fn stored_b(&self) -> [usize; 2] {
        if self.b.transposed {
            [self.n, self.k]
        } else {
            [self.k, self.n]
        }
    }

    /// Whether an operand is of codes.
    pub(crate) fn is_coded(&self) -> bool {
        self.a.format().or(self.b.format()).is_some()
    }

    /// Whether there is nothing to write.
    fn is_empty(&self) -> bool {
        self.m == 0 || self.n == 0 || self.batch == 0
    }

    /// Products summed per output: none where `alpha` is 0.
    pub(crate) fn terms(&self) -> usize {
        if self.alpha.get() == 0.0 { 0 } else { self.k }
    }

    /// Whether what C held is read.
    pub(crate) fn reads_c(&self) -> bool {
        self.beta.get() != 0.0
    }

    /// Whether the output is rounded stochastically.
    pub(crate) fn is_stochastic(&self) -> bool {
        self.c.dtype() == DType::Bf16 && self.rounding == Rounding::Stochastic
    }

    /// f32 and bf16 in any mixture, codes beside them, or f64 throughout; C is plain.
    fn check_types(&self) -> Result<()> {
        let mut types = vec![("c", self.c.dtype())];
        types.extend(self.bias.map(|dtype| ("bias", dtype)));
        for (operand, matrix) in [("a", &self.a), ("b", &self.b)] {
            match matrix.elements {
                Elements::Plain(dtype) => types.push((operand, dtype)),
                // Codes beside f64 are refused as f32 would be.
                Elements::Coded(_) => types.push((operand, DType::F32)),
            }
        }
        if let Elements::Coded(format) = self.c.elements {
            return Err(Error::Unsupported {
                op: OP,
                what: format!("C in codes of {format} (encode it afterwards)"),
                device: "any device",
            });
        }
        check_floats(OP, &types)
    }

    /// The plain types of its operands.
    fn plain(&self) -> Vec<(&'static str, DType)> {
        let all = [("a", &self.a), ("b", &self.b), ("c", &self.c)];
        let plain = |(name, matrix): (&'static str, &MatrixLayout)| Some((name, matrix.elements.dtype()?));
        all.into_iter().filter_map(plain).collect()
    }

    /// The same operation with a step's seed and number.
    pub(crate) fn at(&self, step: &StepValues) -> Self {
        let draw = step.draw(self.draw);
        Self { draw, ..*self }
    }
}

impl Op for Matmul {
    fn name(&self) -> &'static str {
        OP
    }

    fn describe(&self) -> String {
        let mut text = String::new();
        if self.batch != 1 {
            text += &format!("{}x ", self.batch);
        }
        text += &format!("{}x{}x{}", self.m, self.n, self.k);
        let mark = |matrix: &MatrixLayout| if matrix.transposed { "^T" } else { "" };
        text += &format!(" {}{}", self.a.elements, mark(&self.a));
        text += &format!(" {}{} -> {}", self.b.elements, mark(&self.b), self.c.elements);
        if (self.alpha.get(), self.beta.get()) != (1.0, 0.0) {
            text += &format!(" alpha {} beta {}", self.alpha, self.beta);
        }
        if let Some(dtype) = self.bias {
            text += &format!(" +bias {dtype}");
        }
        if self.relu {
            text += " relu";
        }
        if self.is_stochastic() {
            text += &format!(" stochastic {:?}", self.draw.generator);
        }
        let packed = self.packed();
        if (self.a.ld, self.b.ld, self.c.ld) != (packed.a.ld, packed.b.ld, packed.c.ld) {
            text += &format!(" ld {}/{}/{}", self.a.ld, self.b.ld, self.c.ld);
        }
        let strides = |op: &Self| [op.a.batch_stride, op.b.batch_stride, op.c.batch_stride];
        if self.batch > 1 && strides(self) != strides(&packed) {
            text += &format!(" strides {:?}", strides(self));
        }
        text
    }

    fn operands(&self) -> Vec<OperandSpec> {
        let (batch, m, n) = (self.batch as u64, self.m as u64, self.n as u64);
        let [a, b] = [self.stored_a(), self.stored_b()].map(|stored| stored.map(|extent| extent as u64));
        // An empty C reads nothing; alpha = 0 reads neither A nor B.
        let read = if self.is_empty() || self.terms() == 0 {
            0
        } else {
            batch
        };
        let mut specs = Vec::new();
        for (matrix, names, [rows, cols]) in [(&self.a, A, a), (&self.b, B, b)] {
            specs.push(OperandSpec::read(names[0], matrix.words_read(read, rows, cols)));
            if matrix.scaled().is_some() {
                let words = match read {
                    0 => 0,
                    _ => matrix.scales_words(read, rows, cols),
                };
                specs.push(OperandSpec::read(names[1], words));
            }
        }
        let c = self.c.words(batch, m, n);
        specs.push(match self.reads_c() {
            true => OperandSpec::update("c", c),
            false => OperandSpec::write("c", c),
        });
        if let Some(dtype) = self.bias {
            specs.push(OperandSpec::read(
                "bias",
                dtype.words(if self.is_empty() { 0 } else { n }),
            ));
        }
        specs
    }

    fn check(&self) -> Result<()> {
        self.check_types()?;
        check_rounding(OP, self.rounding)?;
        for (what, value) in [
            ("M", self.m),
            ("N", self.n),
            ("K", self.k),
            ("batches", self.batch),
        ] {
            check_limit(OP, what, value as u64, u64::from(u32::MAX) / 2)?;
        }
        self.a
            .check("a", self.batch, self.stored_a(), !self.a.transposed)?;
        self.b
            .check("b", self.batch, self.stored_b(), self.b.transposed)?;
        self.c.check("c", self.batch, [self.m, self.n], false)?;
        if self.c.transposed {
            let what = "a transposed C".to_string();
            return Err(Error::Unsupported {
                op: OP,
                what,
                device: "any device",
            });
        }
        // Outputs of different batches must not overlap: one after the other, or side by side in each row.
        let stride = self.c.batch_stride as u64;
        let apart = stride >= self.c.span(1, self.m as u64, self.n as u64);
        let side_by_side =
            stride >= self.n as u64 && (self.batch as u64).saturating_mul(stride) <= self.c.ld as u64;
        if self.batch > 1 && !self.is_empty() && !apart && !side_by_side {
            return Err(Error::Value {
                op: OP,
                what: "batch stride of c",
                value: stride.to_string(),
                expected: "one that keeps the products of different batches apart",
            });
        }
        Ok(())
    }

    fn contract(&self) -> Contract<'_> {
        Contract::bounded(|judge| sums::judge(self, judge))
    }

    fn work(&self) -> Work {
        let outputs = self.batch as f64 * self.m as f64 * self.n as f64;
        let bytes = |words: u64| words as f64 * 4.0;
        let mut moved = 0.0;
        for spec in self.operands() {
            moved += bytes(spec.words)
                * if spec.access == crate::gpu::Access::Update {
                    2.0
                } else {
                    1.0
                };
        }
        Work {
            bf16: [self.a, self.b].iter().all(MatrixLayout::fits_bf16),
            flops: 2.0 * outputs * self.terms() as f64,
            int_ops: if self.is_stochastic() {
                outputs * Work::rounding_ops(self.rounding, self.draw.generator)
            } else {
                0.0
            },
            bytes: moved,
        }
    }

    fn step_values(&self) -> StepValues {
        StepValues::new(self.draw.seed, self.draw.step)
    }

    fn table(&self) -> &'static dyn Table {
        &gpu::VARIANTS
    }

    fn family(&self) -> String {
        let mark = |matrix: &MatrixLayout| if matrix.transposed { "^T" } else { "" };
        let [m, n, k] = [self.m, self.n, self.k].map(crate::op::about);
        let (a, b, c) = (self.a.elements, self.b.elements, self.c.elements);
        let (ta, tb, batch) = (mark(&self.a), mark(&self.b), crate::op::about(self.batch));
        format!("{batch}x {m}x{n}x{k} {a}{ta} {b}{tb} -> {c}")
    }

    fn check_gpu(&self, _gpu: &Gpu) -> Result<()> {
        crate::op::no_f64_on_gpu(OP, &self.plain())
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        let op = self.at(&args.step);
        let mut args = args.named(self)?;
        let inputs = Inputs::of(&mut args);
        cpu::matmul(cpu, &op, &inputs, None, args.write("c")?)
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let op = self.at(&args.step);
        let mut args = args.named(self)?;
        let inputs = Inputs::of(&mut args);
        reference::matmul(&op, &inputs, args.write("c")?);
        Ok(())
    }
}
