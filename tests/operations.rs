//! What every operation owes whoever makes one: sizes that wrap are limits, plans are kept by what an operation is and
//! not by what it prints, and no variant runs under another's name.

#![cfg(feature = "check")]
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::fmt;

use common::{Suite, gpu};

use fewbit::check;
use fewbit::cpu::Cpu;
use fewbit::format::Format;
use fewbit::format::random::Draw;
use fewbit::gpu::{Gpu, Offsets, OperandSpec, PlanRequest, StepValues};
use fewbit::kernels::{
    Accumulate, AdamW, Choose, ColumnSums, Convert, ConvertOptions, Copy, Decide, Decode, Distillation,
    Dropout, Encode, Fmac, FmacMatmul, Improvement, Matmul, MaxPool, MaxPoolGrad, Patches, PatchesGrad, Relu,
    ReluGrad, Sgd, SoftmaxCrossEntropy, Spmm, Squares, Transpose,
};
use fewbit::op::{Arg, Args, Effort, Op, Table};
use fewbit::tensor::DType::{Bf16, F32, U32};
use fewbit::{Device, Error, Result};

fn main() {
    Suite::new()
        .cpu("sizes_that_wrap_are_limits", sizes_that_wrap_are_limits)
        .cpu(
            "operands_lent_to_be_read_are_not_written",
            operands_lent_to_be_read_are_not_written,
        )
        .cpu(
            "conversions_do_as_their_options_say",
            conversions_do_as_their_options_say,
        )
        .cpu(
            "improvements_are_of_blocks_alike",
            improvements_are_of_blocks_alike,
        )
        .gpu("plans_are_kept_by_value", plans_are_kept_by_value)
        .gpu("unknown_variants_are_errors", unknown_variants_are_errors)
        .run();
}

/// Every operation whose operands have leading dimensions, with one of 2^59: nine rows of it wrap 64 bits of bytes.
fn wide() -> Vec<Box<dyn Op>> {
    const LD: usize = 1 << 59;
    let (rows, cols) = (9, 8);
    let mut relu = Relu::new(rows, cols, F32);
    relu.x_ld = LD;
    let mut relu_grad = ReluGrad::new(rows, cols, F32);
    relu_grad.dy_ld = LD;
    let mut dropout = Dropout::new(rows, cols, F32, 0.5);
    dropout.y_ld = LD;
    let mut pool = MaxPool::new(rows, [2, 2, cols], [2, 2], F32);
    pool.x_ld = LD;
    let mut pool_grad = MaxPoolGrad::new(MaxPool::new(rows, [2, 2, cols], [2, 2], F32));
    pool_grad.dx_ld = LD;
    let mut patches = Patches::new(rows, [2, 2, cols], [2, 2], F32);
    patches.image_ld = LD;
    let mut patches_grad = PatchesGrad::new(Patches::new(rows, [2, 2, cols], [2, 2], F32));
    patches_grad.dx_ld = LD;
    let mut convert = Convert::new(rows, cols, F32, Bf16);
    convert.dst_ld = LD;
    let mut transpose = Transpose::new(rows, cols, F32);
    transpose.src_ld = LD;
    let mut squares = Squares::new(rows, cols, F32);
    squares.x_ld = LD;
    let decide = Decide::new(usize::MAX, 2, F32);
    let choose = Choose::new(usize::MAX, 0, 0);
    let mut sgd = Sgd::new(rows, cols, [F32; 3]);
    sgd.v_ld = LD;
    let mut accumulate = Accumulate::new(rows, cols, F32, F32);
    accumulate.sum_ld = LD;
    let mut adamw = AdamW::new(rows, cols, [F32; 4]);
    adamw.m_ld = LD;
    let mut softmax = SoftmaxCrossEntropy::new(rows, cols, F32, F32);
    softmax.grad_ld = LD;
    let mut distillation = Distillation::new(rows, cols, F32, F32);
    distillation.teacher_ld = LD;
    let mut sums = ColumnSums::new(rows, cols, F32, F32);
    sums.x_ld = LD;
    let mut fmac = Fmac::new(rows, cols);
    fmac.x_ld = LD;
    let mut product = FmacMatmul::new(rows, cols, 8);
    product.b_ld = LD;
    let mut matmul = Matmul::new(rows, cols, 8);
    matmul.c.ld = LD;
    let format = Format::bfp(16, 4).expect("a format");
    let mut encode = Encode::new(rows, cols, format, F32);
    encode.src_ld = LD;
    let mut decode = Decode::new(rows, cols, format, F32);
    decode.dst_ld = LD;
    let fine = Format::bfp(16, 5).expect("a format");
    let mut improvement = Improvement::new(rows, cols, format, fine, F32);
    improvement.x_ld = LD;
    let mut coded = Matmul::new(rows, cols, 8)
        .types(format, format, F32)
        .transpose_b();
    coded.c.ld = LD;
    let mut spmm = Spmm::new(rows, cols, 9, 8, [U32, F32, F32, F32]);
    spmm.c_ld = LD;
    vec![
        Box::new(Copy::new(u64::MAX)),
        Box::new(relu),
        Box::new(relu_grad),
        Box::new(dropout),
        Box::new(pool),
        Box::new(pool_grad),
        Box::new(patches),
        Box::new(patches_grad),
        Box::new(convert),
        Box::new(transpose),
        Box::new(squares),
        Box::new(decide),
        Box::new(choose),
        Box::new(sgd),
        Box::new(accumulate),
        Box::new(adamw),
        Box::new(softmax),
        Box::new(distillation),
        Box::new(sums),
        Box::new(fmac),
        Box::new(product),
        Box::new(matmul),
        Box::new(encode),
        Box::new(decode),
        Box::new(improvement),
        Box::new(coded),
        Box::new(spmm),
    ]
}

fn sizes_that_wrap_are_limits() {
    for op in wide() {
        let found = op.check();
        assert!(
            matches!(found, Err(Error::Limit { .. })),
            "{}: {found:?}",
            op.name()
        );
        let args = Args::new(Vec::new(), op.step_values());
        let found = op.reference(args);
        assert!(
            matches!(found, Err(Error::Limit { .. })),
            "{}: {found:?}",
            op.name()
        );
    }
}

/// Which formats an improvement takes, and what it makes of a NaN.
fn improvements_are_of_blocks_alike() {
    let format = |name: &str| name.parse::<Format>().expect("a format");
    let (coarse, fine) = (format("bfp3-16"), format("bfp5-16"));
    for (coarse, fine, at) in [
        (format("mxfp4"), fine, "coarse"),
        (coarse, format("q8.8"), "fine"),
        (coarse, format("bfp5-32"), "fine"),
        (fine, coarse, "fine"),
        (fine, fine, "fine"),
    ] {
        let found = Improvement::new(3, 40, coarse, fine, F32).check();
        let right = matches!(found, Err(Error::Value { what, .. }) if what == at);
        assert!(right, "{coarse} {fine}: {found:?}");
    }
    let words = Improvement::new(3, 40, coarse, fine, U32).check();
    assert!(
        matches!(words, Err(Error::DType { operand: "x", .. })),
        "{words:?}"
    );
    let mut values = [0.3; 3 * 20];
    (values[0], values[39]) = (1.0, f32::NAN);
    for device in [Device::reference(), Device::cpu()] {
        let x = device.from_f32(&[3, 20], &values).expect("a tensor");
        let sums = device.improvement(&x, coarse, fine).expect("sums");
        let sums: Vec<u32> = sums
            .read_blocking()
            .expect("values")
            .into_iter()
            .map(f32::to_bits)
            .collect();
        // Beside 1, 0.3 is 0.5 and then 0.25; elsewhere 0.25 and then 0.3125, with steps of 1/8 and 1/32.
        let want = [3.75 + 0.25, 8.5 + 1.0].map(f32::to_bits);
        assert_eq!(sums[..2], want, "{device:?}");
        assert_eq!(sums[2..4], [0x7fc0_0000; 2]);
        assert_eq!(sums[4..], [1.25f32, 5.0].map(f32::to_bits));
    }
}

/// `dst = src`, of so many words; it prints nothing that tells one length from another.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Terse(Copy);

impl fmt::Debug for Terse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Terse")
    }
}

/// The copy's table, for operations of type `Terse`.
#[derive(Debug)]
struct Inner;

static INNER: Inner = Inner;

impl Table for Inner {
    fn serving(&self, op: &dyn Op, gpu: &Gpu, offsets: Offsets) -> Vec<&'static str> {
        copy(op).variants(gpu, offsets)
    }

    fn plan(&self, op: &dyn Op, gpu: &Gpu, variant: &str, offsets: Offsets) -> Result<fewbit::gpu::Plan> {
        copy(op).table().plan(copy(op), gpu, variant, offsets)
    }

    fn permutations(&self) -> Vec<fewbit::gpu::Permutation> {
        Vec::new()
    }
}

fn copy(op: &dyn Op) -> &Copy {
    &op.as_any()
        .downcast_ref::<Terse>()
        .expect("an operation of this table")
        .0
}

impl Op for Terse {
    fn name(&self) -> &'static str {
        "terse"
    }

    fn operands(&self) -> Vec<OperandSpec> {
        self.0.operands()
    }

    fn check(&self) -> Result<()> {
        self.0.check()
    }

    fn table(&self) -> &'static dyn Table {
        &INNER
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        self.0.cpu(cpu, args)
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        self.0.reference(args)
    }
}

/// An operation that writes `y`, which it lists as read only.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Sly;

impl Op for Sly {
    fn name(&self) -> &'static str {
        "sly"
    }

    fn operands(&self) -> Vec<OperandSpec> {
        vec![OperandSpec::read("x", 2), OperandSpec::read("y", 2)]
    }

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn cpu(&self, _: &Cpu, args: Args<'_>) -> Result<()> {
        self.reference(args)
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let [x, y] = args.take(self)?;
        for (x, y) in x.read().iter().zip(y.write()?) {
            *y = *x;
        }
        Ok(())
    }
}

fn operands_lent_to_be_read_are_not_written() {
    let (x, y) = ([1, 2], [3, 4]);
    let args = Args::new(vec![Arg::Read(&x), Arg::Read(&y)], StepValues::default());
    let found = Sly.reference(args);
    assert!(
        matches!(
            found,
            Err(Error::Usage {
                op: "sly",
                operand: "y",
                usage: "write"
            })
        ),
        "{found:?}"
    );
    // Lent to be written, it is written, whatever the list says.
    let mut written = y;
    let args = Args::new(
        vec![Arg::Read(&x), Arg::Write(&mut written)],
        StepValues::default(),
    );
    Sly.reference(args).expect("a run");
    assert_eq!(written, x);
}

fn conversions_do_as_their_options_say() {
    let device = Device::cpu();
    // The largest f32 overflows bf16; 1 + 2^-8 lies half way between two bf16 numbers.
    let src = device
        .from_f32(&[2], &[f32::MAX, 1.0 + 1.0 / 256.0])
        .expect("a tensor");
    let bits = |options: &ConvertOptions| {
        let bf16 = device.convert_with(&src, Bf16, options).expect("a conversion");
        let back = device.convert(&bf16, F32).expect("a conversion");
        back.read_blocking().expect("words")
    };
    let plain: Vec<f32> = bits(&ConvertOptions::default());
    assert_eq!(plain, [f32::INFINITY, 1.0]);
    let largest = f32::from_bits(0x7f7f_0000);
    assert_eq!(bits(&ConvertOptions::default().saturate()), [largest, 1.0]);
    // Of the draws half round up.
    let up = (0..64).filter(|&seed| {
        let draw = Draw {
            seed,
            ..Draw::default()
        };
        bits(&ConvertOptions::default().stochastic(draw).saturate())[1] > 1.0
    });
    assert!((16..=48).contains(&up.count()));
}

fn plans_are_kept_by_value() {
    let device = Device::from_gpu(gpu());
    for words in [4u64, 12, 4, 7] {
        let values: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let src = device.from_f32(&[12], &values).expect("a tensor");
        let mut dst = device.from_f32(&[12], &[-1.0; 12]).expect("a tensor");
        let op = Terse(Copy::new(words));
        device
            .run(&op, &mut [(&src).into(), (&mut dst).into()])
            .expect("a run");
        let got = dst.read_blocking().expect("words");
        let want: Vec<f32> = (0..12)
            .map(|i| if i < words as usize { i as f32 } else { -1.0 })
            .collect();
        assert_eq!(got, want, "{words} words, by the plan of another length");
    }
}

fn unknown_variants_are_errors() {
    let gpu = gpu();
    let mut seen = std::collections::BTreeSet::new();
    for case in check::cases(Effort::Quick) {
        if !seen.insert(case.op.name()) {
            continue;
        }
        for variant in ["nosuch", "", "Vec4", "coop"] {
            if case.op.variants(&gpu, Offsets::Vec4).contains(&variant) || case.op.check_gpu(&gpu).is_err() {
                continue;
            }
            let request = PlanRequest::default().variant(variant);
            let asked = case.op.plan(&gpu, &request).map(|plan| plan.variant());
            assert!(
                matches!(asked, Err(Error::Value { what: "variant", .. })),
                "{case:?}: {asked:?}"
            );
            let direct = case
                .op
                .plan_variant(&gpu, variant, Offsets::Vec4)
                .map(|plan| plan.variant());
            assert!(
                matches!(direct, Err(Error::Value { what: "variant", .. })),
                "{case:?}: {direct:?}"
            );
        }
    }
    assert_eq!(seen.len(), fewbit::kernels::ALL.len());
}
