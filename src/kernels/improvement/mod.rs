//! `improvement`: how much closer a finer block format comes, two sums a row.

pub(crate) mod cases;
mod cpu;
pub(super) mod gpu;
mod reference;

use crate::cpu::Cpu;
use crate::device::{Device, Tensor};
use crate::error::{Error, Result};
use crate::format::{Element, Format, Rounding, Scale};
use crate::gpu::OperandSpec;
use crate::kernels::shared::codes::{check_extents, check_plain};
use crate::op::{Args, Contract, Judge, Op, Output, Stored, Sum, Table, Work};
use crate::tensor::{DType, Layout, View};

const OP: &str = "improvement";

/// What a finer block format changes of every row of a matrix, beside what a coarser one keeps:
/// `sums[2 r] = sum of abs(fine(x) - coarse(x))` and `sums[2 r + 1] = sum of abs(coarse(x))` over row `r`, where
/// `coarse(x)` and `fine(x)` are what [`Encode`](super::Encode) to nearest and [`Decode`](super::Decode) give in these
/// formats. Operands: `x`, `sums` (f32, two a row). Nothing else is stored.
///
/// Variable precision after FAST takes the finer format where the relative improvement, the first sums of a tensor over
/// the second ones, is large enough: that division is the caller's. Both formats are block floating point, signs and
/// magnitudes that share scales along the row, of one block size; the finer one has more bits. Each chooses its scales by
/// its own rule.
///
/// Bounded class with K = columns terms: `fine(x) - coarse(x)` is exact in f32, and so are the sums of a block unless they
/// are past f32's range; blocks are added in f32, in an order fixed per device and variant. Sums past f32's range are
/// infinite. A row with a NaN or an Inf, whose block decodes to NaN, has [`NAN_BITS`](crate::format::NAN_BITS) in both of
/// its sums, on every device.
///
/// | variant | when | why |
/// |---|---|---|
/// | `group` | preferred on GPUs | 64 invocations share the blocks of a row |
/// | `row` | preferred on software adapters | a row per invocation: no barrier |
///
/// Rows of more columns than one dispatch may walk (or one binding holds) are walked in parts, whose sums wait in `sums`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Improvement {
    /// Type of `x`: `F32` or `Bf16`.
    pub from: DType,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Elements from one row of `x` to the next: at least `cols`, even for bf16.
    pub x_ld: usize,
    /// The format of fewer bits.
    pub coarse: Format,
    /// The format of more bits, of the same block size.
    pub fine: Format,
}

impl Improvement {
    /// Rows as far apart as those of tensors.
    #[must_use]
    pub fn new(rows: usize, cols: usize, coarse: Format, fine: Format, from: DType) -> Self {
        Self {
            from,
            rows,
            cols,
            x_ld: from.row_ld(cols),
            coarse,
            fine,
        }
    }

    fn x(&self) -> View {
        View::new(self.from, self.rows, self.cols, self.x_ld)
    }

    fn sums(&self) -> View {
        View::new(DType::F32, self.rows, 2, 2)
    }

    /// Elements that share a scale.
    fn block(&self) -> u64 {
        self.coarse.block_size().unwrap_or(1).into()
    }

    /// Holds the sums to the bound, but for rows with a NaN or an Inf: those are left to the reference's bits.
    fn judge<'j>(&self, judge: Judge<'j>) -> Judge<'j> {
        let (x, words) = (self.x(), judge.before("x"));
        let finite = |row: &usize| (0..self.cols).all(|col| x.load(words, *row, col).is_finite());
        let rows: Vec<usize> = (0..self.rows).filter(finite).collect();
        let output = |&row: &usize| Output {
            operand: "sums",
            first: 2 * row as u64,
            view: View::vector(DType::F32, 2),
        };
        let outputs: Vec<Output> = rows.iter().map(output).collect();
        let sums = || {
            let of_row = |&row: &usize| {
                let mut both = [Sum::default(); 2];
                for terms in reference::terms(self, words, row) {
                    both[0].term(terms[0]);
                    both[1].term(terms[1]);
                }
                both
            };
            rows.iter().flat_map(of_row).collect()
        };
        judge.bounded(&outputs, Stored::F32, sums)
    }
}

/// The block size of a format of signs and magnitudes.
fn check_blocks(what: &'static str, format: Format) -> Result<u32> {
    match (format.element(), format.scale()) {
        (Element::SignMagnitude(_), Scale::Block { size, .. }) => Ok(size),
        _ => Err(Error::Value {
            op: OP,
            what,
            value: format.to_string(),
            expected: "block floating point",
        }),
    }
}

impl Op for Improvement {
    fn name(&self) -> &'static str {
        OP
    }

    fn describe(&self) -> String {
        let Self { rows, cols, from, .. } = self;
        format!("{rows}x{cols} {from} {} {}", self.coarse, self.fine)
    }

    fn operands(&self) -> Vec<OperandSpec> {
        vec![
            OperandSpec::read("x", self.x().words()),
            OperandSpec::write("sums", self.sums().words()),
        ]
    }

    fn check(&self) -> Result<()> {
        check_plain(OP, "x", self.from)?;
        let (coarse, fine) = (
            check_blocks("coarse", self.coarse)?,
            check_blocks("fine", self.fine)?,
        );
        let refuse = |expected| {
            let value = format!("{} (coarse {})", self.fine, self.coarse);
            let what = "fine";
            Err(Error::Value {
                op: OP,
                what,
                value,
                expected,
            })
        };
        if coarse != fine {
            return refuse("blocks as long as the coarse format's");
        }
        if self.coarse.bits() >= self.fine.bits() {
            return refuse("more bits than the coarse format has");
        }
        check_extents(OP, self.rows, self.cols)?;
        self.x().check(OP, "x")?;
        self.sums().check(OP, "sums")
    }

    fn contract(&self) -> Contract<'_> {
        Contract::bounded(|judge| self.judge(judge))
    }

    fn work(&self) -> Work {
        let (elements, rows) = (self.rows as f64 * self.cols as f64, self.rows as f64);
        // A maximum's step; two codes: shifted, rounded and held to the limit; what they differ by, and two sums.
        let rounding = Work::rounding_ops(Rounding::Nearest, crate::format::random::Generator::default());
        Work {
            int_ops: elements * (1.0 + 2.0 * (rounding + 2.0) + 3.0),
            bytes: elements * f64::from(self.from.bits()) / 8.0 + rows * 8.0,
            ..Work::default()
        }
    }

    fn table(&self) -> &'static dyn Table {
        &gpu::VARIANTS
    }

    fn family(&self) -> String {
        let [rows, cols] = [self.rows, self.cols].map(crate::op::about);
        format!("{} {} {} {rows}x{cols}", self.from, self.coarse, self.fine)
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        let [x, sums] = args.take(self)?;
        cpu::improvement(cpu, self, x.read(), sums.write()?);
        Ok(())
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let [x, sums] = args.take(self)?;
        reference::improvement(self, x.read(), sums.write()?);
        Ok(())
    }
}

impl Device {
    /// What a finer block format changes of every row of a dense f32 or bf16 tensor, beside what a coarser one keeps:
    /// two f32 sums a row, one row's after the other's, blocks along the last extent (all others become rows). See
    /// [`Improvement`].
    ///
    /// ```
    /// use fewbit::Device;
    /// use fewbit::format::Format;
    ///
    /// let device = Device::reference();
    /// let x = device.from_f32(&[2, 2], &[1.0, 0.3, -2.0, 0.0])?;
    /// let sums = device.improvement(&x, Format::bfp(16, 3)?, Format::bfp(16, 5)?)?;
    /// // 0.3 is 0.5 in steps of 1/2, and 0.25 in those of 1/8.
    /// assert_eq!(sums.read_blocking()?, [0.25, 1.5, 0.0, 2.0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Other types, [`Error::Value`] for formats that are not block floating point of one block size, or of which the
    /// finer one has not more bits; out of memory, or device lost.
    pub fn improvement(&self, x: &Tensor, coarse: Format, fine: Format) -> Result<Tensor> {
        let (from, x_ld) = crate::device::dense(OP, "x", x)?;
        let (rows, cols) = (x.layout().rows(), x.layout().cols());
        let op = Improvement {
            x_ld,
            ..Improvement::new(rows, cols, coarse, fine, from)
        };
        op.check()?;
        let mut sums = self.zeros(Layout::dense(DType::F32, &[2 * rows]))?;
        self.run(&op, &mut [x.into(), (&mut sums).into()])?;
        Ok(sums)
    }
}
