use crate::kernels::{MaxPool, MaxPoolGrad};
use crate::op::Op;
use crate::op::data::Source;
use crate::op::{BenchCase, Case, Effort, Fill};
use crate::tensor::DType;

/// Images, pixels and channels; windows; from one to the next; what rows are longer by.
type Shape = ([usize; 4], [usize; 2], [usize; 2], usize);

/// A window that fits once; pixels in none, on each side and between; odd channels, odd outputs.
const SHAPES: [(Shape, Effort); 11] = [
    (([0, 4, 4, 3], [2, 2], [2, 2], 0), Effort::Quick),
    (([2, 4, 4, 0], [2, 2], [2, 2], 0), Effort::Quick),
    (([1, 1, 1, 1], [1, 1], [1, 1], 0), Effort::Quick),
    (([3, 2, 2, 1], [2, 2], [2, 2], 2), Effort::Quick),
    (([5, 7, 5, 3], [2, 2], [2, 2], 0), Effort::Quick),
    (([2, 9, 8, 20], [3, 2], [4, 3], 4), Effort::Quick),
    (([7, 8, 8, 5], [2, 4], [2, 4], 2), Effort::Quick),
    (([2, 6, 11, 1], [1, 5], [2, 5], 0), Effort::Quick),
    (([2, 13, 13, 4], [7, 13], [7, 13], 0), Effort::Quick),
    (([128, 24, 24, 20], [2, 2], [2, 2], 0), Effort::Full),
    // Channels in blocks, no pixel left out.
    (([3, 4, 6, 33], [2, 3], [2, 3], 0), Effort::Quick),
];

pub(crate) fn cases(_: Effort) -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in [DType::F32, DType::Bf16, DType::F64] {
        for (shape, effort) in SHAPES {
            let pool = pool(shape, dtype);
            for few in [false, true] {
                cases.push(case(effort, pool, few));
                let grad = MaxPoolGrad {
                    dx_ld: pool.x_ld + 2 * shape.3,
                    ..MaxPoolGrad::new(pool)
                };
                cases.push(case(effort, grad, few));
            }
        }
    }
    for (from, to) in [(DType::F32, DType::Bf16), (DType::Bf16, DType::F32)] {
        for (shape, _) in SHAPES.into_iter().filter(|(_, effort)| *effort == Effort::Quick) {
            let grad = MaxPoolGrad::new(pool(shape, from)).with_gradients(to);
            cases.push(case(Effort::Quick, grad, true));
        }
    }
    cases
}

fn pool(([batch, height, width, channels], window, stride, more): Shape, dtype: DType) -> MaxPool {
    let mut pool = MaxPool::new(batch, [height, width, channels], window, dtype);
    pool.stride = stride;
    pool.x_ld = channels.next_multiple_of(2) + more;
    pool.y_ld = pool.outputs().next_multiple_of(2) + more;
    pool
}

/// Any bits, or a few values, of which many are equal: zeros of both signs, numbers, infinities, NaNs.
fn case<O: Op + Clone + 'static>(effort: Effort, op: O, few: bool) -> Case {
    const FEW: [u32; 8] = [
        0x0000_0000,
        0x8000_8000,
        0x3f80_3f80,
        0xbf80_bf80,
        0x7f80_7f80,
        0xff80_ff80,
        0x0000_8000,
        0xffc1_7fc1,
    ];
    let kept = op.clone();
    Case::new(effort, op, move || {
        let mut source = Source::new(17);
        let mut word = || match few {
            // Rarely a NaN or an infinity: they would hide the rest.
            true if source.below(16) == 0 => FEW[source.below(8) as usize],
            true => FEW[source.below(4) as usize],
            false => (source.awkward() & 0xffff_0000) | (source.awkward() >> 16),
        };
        let mut words = |words: u64| (0..words).map(|_| word()).collect();
        kept.operands().iter().map(|spec| words(spec.words)).collect()
    })
}

/// What is measured at size `n`: LeNet-5's first pooling, of about `n * n` numbers.
pub(crate) fn bench(n: usize) -> Vec<BenchCase> {
    let batch = (n * n / (24 * 24 * 20)).max(1);
    let pool = |dtype| MaxPool::new(batch, [24, 24, 20], [2, 2], dtype);
    let grad = MaxPoolGrad::new(pool(DType::Bf16));
    vec![
        Case::timed(pool(DType::F32), &[Fill::F32, Fill::Out]).into(),
        Case::timed(pool(DType::Bf16), &[Fill::Bf16, Fill::Out]).into(),
        Case::timed(grad, &[Fill::Bf16, Fill::Bf16, Fill::Out]).into(),
    ]
}
