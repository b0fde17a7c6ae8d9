use crate::kernels::{Relu, ReluGrad};
use crate::op::Op;
use crate::op::data::Source;
use crate::op::{BenchCase, Case, Effort, Fill, awkward_shapes};
use crate::tensor::DType;

pub(crate) fn cases(_: Effort) -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in [DType::F32, DType::Bf16, DType::F64] {
        for in_place in [false, true] {
            for (len, effort) in [
                (0, Effort::Quick),
                (1, Effort::Quick),
                (7, Effort::Quick),
                (4099, Effort::Quick),
                ((1 << 20) + 1, Effort::Full),
            ] {
                let relu = Relu::contiguous(dtype, len);
                cases.push(case(effort, Relu { in_place, ..relu }));
                let grad = ReluGrad::contiguous(dtype, len);
                cases.push(case(effort, ReluGrad { in_place, ..grad }));
            }
            for (rows, cols, ld, effort) in [
                (3, 5, 6, Effort::Quick),
                (31, 8, 8, Effort::Quick),
                (67, 33, 40, Effort::Quick),
                (515, 513, 520, Effort::Full),
            ] {
                let relu = Relu {
                    dtype,
                    rows,
                    cols,
                    x_ld: ld,
                    y_ld: ld + 2,
                    in_place,
                };
                cases.push(case(effort, relu));
                let grad = ReluGrad {
                    y: dtype,
                    dtype,
                    rows,
                    cols,
                    y_ld: ld,
                    dy_ld: ld + 4,
                    dx_ld: ld + 2,
                    in_place,
                };
                cases.push(case(effort, grad));
            }
        }
    }
    for in_place in [false, true] {
        let relu = Relu::contiguous(DType::Bf16, 1000);
        cases.push(halves(Relu { in_place, ..relu }));
        let grad = ReluGrad::contiguous(DType::Bf16, 1000);
        cases.push(halves(ReluGrad { in_place, ..grad }));
    }
    for (dtype, y) in [(DType::F32, DType::Bf16), (DType::Bf16, DType::F32)] {
        for in_place in [false, true] {
            for (rows, cols, ld) in [(1, 1, 2), (3, 5, 6), (31, 8, 8), (67, 33, 40)] {
                let grad = ReluGrad {
                    y_ld: ld + 2,
                    dy_ld: ld + 4,
                    dx_ld: ld,
                    in_place,
                    ..ReluGrad::new(rows, cols, dtype).by(y)
                };
                cases.push(halves(grad));
            }
            let grad = ReluGrad {
                in_place,
                ..ReluGrad::contiguous(dtype, 4099)
            };
            // As short as it may be, f32 even without the one beside the last.
            let y_ld = if y == DType::F32 { 4099 } else { 4100 };
            cases.push(halves(ReluGrad { y, y_ld, ..grad }));
        }
    }
    cases
}

/// Awkward values in both halves of a word.
fn halves<O: Op + Clone + 'static>(op: O) -> Case {
    let kept = op.clone();
    Case::new(Effort::Quick, op, move || {
        let mut source = Source::new(11);
        let mut word = || (source.awkward() & 0xffff_0000) | (source.awkward() >> 16);
        let mut words = |words: u64| (0..words).map(|_| word()).collect();
        kept.operands().iter().map(|spec| words(spec.words)).collect()
    })
}

fn case<O: Op + Clone + 'static>(effort: Effort, op: O) -> Case {
    let kept = op.clone();
    Case::new(effort, op, move || {
        let mut source = Source::new(7);
        let words = |words: u64| (0..words).map(|_| source.awkward()).collect();
        kept.operands().iter().map(|spec| spec.words).map(words).collect()
    })
}

/// What is measured at size `n`.
pub(crate) fn bench(n: usize) -> Vec<BenchCase> {
    let ld = n.next_multiple_of(8);
    vec![
        Case::timed(Relu::contiguous(DType::F32, n * n), &[Fill::F32, Fill::Out]).into(),
        Case::timed(grad(n, n, ld), &[Fill::Bf16, Fill::Bf16, Fill::Out]).into(),
    ]
}

/// What is measured beside that: see [`awkward_shapes`].
pub(crate) fn awkward(n: usize) -> Vec<BenchCase> {
    let case = |(rows, cols): (usize, usize)| {
        let grad = grad(rows, cols, cols.next_multiple_of(2));
        [
            Case::timed(Relu::contiguous(DType::F32, rows * cols), &[Fill::F32, Fill::Out]).into(),
            Case::timed(grad, &[Fill::Bf16, Fill::Bf16, Fill::Out]).into(),
        ]
    };
    awkward_shapes(n).into_iter().flat_map(case).collect()
}

fn grad(rows: usize, cols: usize, ld: usize) -> ReluGrad {
    ReluGrad {
        y: DType::Bf16,
        dtype: DType::Bf16,
        rows,
        cols,
        y_ld: ld,
        dy_ld: ld,
        dx_ld: ld,
        in_place: false,
    }
}
