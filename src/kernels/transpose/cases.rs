use crate::kernels::Transpose;
use crate::op::data::Source;
use crate::op::{BenchCase, Case, Effort, Fill, Op, awkward_shapes};
use crate::tensor::DType;

/// Rows, columns, and what rows are longer by in `src` and in `dst`: one row, one column, tiles and vectors and one more
/// or less, few rows that are long, several tiles on each side.
const SHAPES: [([usize; 4], Effort); 17] = [
    ([0, 5, 0, 0], Effort::Quick),
    ([5, 0, 0, 0], Effort::Quick),
    ([1, 1, 0, 0], Effort::Quick),
    ([1, 77, 0, 0], Effort::Quick),
    ([77, 1, 0, 0], Effort::Quick),
    ([2, 3, 2, 4], Effort::Quick),
    ([4, 8, 0, 0], Effort::Quick),
    ([8, 16, 0, 2], Effort::Quick),
    ([16, 16, 0, 0], Effort::Quick),
    ([31, 33, 0, 6], Effort::Quick),
    ([64, 32, 8, 0], Effort::Quick),
    ([65, 63, 2, 2], Effort::Quick),
    ([127, 130, 4, 10], Effort::Quick),
    ([3, 1501, 0, 0], Effort::Quick),
    ([1501, 3, 0, 2], Effort::Quick),
    ([1024, 1040, 0, 0], Effort::Full),
    ([1027, 1029, 4, 2], Effort::Full),
];

pub(crate) fn cases(_: Effort) -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in [DType::F32, DType::Bf16, DType::F64] {
        for ([rows, cols, src_more, dst_more], effort) in SHAPES {
            let op = Transpose {
                src_ld: cols.next_multiple_of(2) + src_more,
                dst_ld: rows.next_multiple_of(2) + dst_more,
                ..Transpose::new(rows, cols, dtype)
            };
            cases.push(case(effort, op));
        }
        // A single row needs no even leading dimension.
        let row = Transpose::new(1, 9, dtype);
        cases.push(case(Effort::Quick, Transpose { src_ld: 9, ..row }));
        let column = Transpose::new(9, 1, dtype);
        cases.push(case(Effort::Quick, Transpose { dst_ld: 9, ..column }));
    }
    cases
}

/// Any bits, awkward ones in both halves of a word.
fn case(effort: Effort, op: Transpose) -> Case {
    Case::new(effort, op, move || {
        let mut source = Source::new(23);
        let mut word = || (source.awkward() & 0xffff_0000) | (source.awkward() >> 16);
        let mut words = |words: u64| (0..words).map(|_| word()).collect();
        op.operands().iter().map(|spec| words(spec.words)).collect()
    })
}

/// What is measured at size `n`.
pub(crate) fn bench(n: usize) -> Vec<BenchCase> {
    timed(n, n).into()
}

/// What is measured beside that: see [`awkward_shapes`].
pub(crate) fn awkward(n: usize) -> Vec<BenchCase> {
    let shapes = awkward_shapes(n).into_iter();
    shapes.flat_map(|(rows, cols)| timed(rows, cols)).collect()
}

fn timed(rows: usize, cols: usize) -> [BenchCase; 2] {
    [
        Case::timed(Transpose::new(rows, cols, DType::F32), &[Fill::F32, Fill::Out]).into(),
        Case::timed(Transpose::new(rows, cols, DType::Bf16), &[Fill::Bf16, Fill::Out]).into(),
    ]
}
