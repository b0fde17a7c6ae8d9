use crate::kernels::{Relu, ReluGrad};
use crate::op::Op;
use crate::op::data::Source;
use crate::op::{Case, Effort};
use crate::tensor::DType;

pub(crate) fn cases() -> Vec<Case> {
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
    cases
}

fn case<O: Op + Clone + 'static>(effort: Effort, op: O) -> Case {
    let kept = op.clone();
    Case::new(effort, op, move || {
        let mut source = Source::new(7);
        let words = |words: u64| (0..words).map(|_| source.awkward()).collect();
        kept.operands().iter().map(|spec| spec.words).map(words).collect()
    })
}
