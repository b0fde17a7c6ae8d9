use crate::kernels::Squares;
use crate::op::data::{Source, rows_bf16, rows_f32};
use crate::op::{BenchCase, Case, Effort, Fill, awkward_shapes};
use crate::tensor::DType;

pub(crate) fn cases(_: Effort) -> Vec<Case> {
    let mut cases = Vec::new();
    for (rows, cols, ld, effort) in [
        (0, 3, 4, Effort::Quick),
        (3, 0, 4, Effort::Quick),
        (1, 1, 1, Effort::Quick),
        (1, 2, 2, Effort::Quick),
        (5, 7, 8, Effort::Quick),
        (3, 31, 40, Effort::Quick),
        (1, 4099, 4099, Effort::Quick),
        // More than a group of either variant, and than a small binding.
        (129, 130, 130, Effort::Quick),
        (61, 341, 350, Effort::Quick),
        (515, 1031, 1032, Effort::Full),
        (1, (1 << 20) + 3, (1 << 20) + 3, Effort::Full),
    ] {
        for dtype in [DType::F32, DType::Bf16, DType::F64] {
            let op = Squares {
                dtype,
                rows,
                cols,
                x_ld: ld,
                slot: 0,
            };
            for values in [Values::Magnitudes, Values::Integers, Values::Specials] {
                cases.push(case(effort, op, values));
            }
        }
    }
    for dtype in [DType::F32, DType::Bf16, DType::F64] {
        // As many as there can be, of every kind in turn.
        let op = Squares::new(9, 33, dtype);
        cases.push(case(Effort::Quick, op, Values::Infinities));
        cases.push(case(Effort::Quick, op, Values::Large));
        // Beside others.
        let op = Squares { slot: 3, ..op };
        cases.push(case(Effort::Quick, op, Values::Specials));
    }
    cases
}

#[derive(Clone, Copy, Debug)]
enum Values {
    /// Magnitudes far apart, so that the order of the sum shows.
    Magnitudes,
    /// Small whole numbers, whose sums of squares are exact.
    Integers,
    /// Any bits, many of them NaNs, infinities and subnormals.
    Specials,
    /// Infinities of either sign alone.
    Infinities,
    /// Finite, with squares that are not, or are nothing.
    Large,
}

impl Values {
    fn value(self, source: &mut Source) -> f32 {
        match self {
            Self::Magnitudes => source.unit() * 2f32.powi(source.below(24) as i32 - 12),
            Self::Integers => source.small_integer(),
            Self::Specials => f32::from_bits(source.awkward()),
            Self::Infinities => f32::INFINITY.copysign(source.unit()),
            Self::Large => source.unit() * [1e38, 1e-38][source.below(2) as usize],
        }
    }
}

fn case(effort: Effort, op: Squares, values: Values) -> Case {
    Case::new(effort, op, move || {
        let mut source = Source::new((op.rows * 7 + op.cols) as u64);
        let mut value = || values.value(&mut source);
        let x = match op.dtype {
            DType::F64 => (0..op.rows * op.x_ld)
                .flat_map(|_| {
                    let bits = f64::from(value()).to_bits();
                    [bits as u32, (bits >> 32) as u32]
                })
                .collect(),
            DType::F32 => rows_f32(op.rows, op.cols, op.x_ld, value),
            DType::Bf16 | DType::U32 | DType::U16 => {
                let ld = op.x_ld.next_multiple_of(2);
                let mut words = rows_bf16(op.rows, op.cols, ld, value);
                // Padding is no number, whatever it holds.
                for word in op.x().odd_halves() {
                    words[word] |= 0x7fc1_0000;
                }
                words
            }
        };
        let others = match op.slot {
            0 => Vec::new(),
            slot => vec![9; op.slot_words() * (slot + 1)],
        };
        vec![x, others]
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
        Case::timed(Squares::new(rows, cols, DType::F32), &[Fill::F32, Fill::Out]).into(),
        Case::timed(Squares::new(rows, cols, DType::Bf16), &[Fill::Bf16, Fill::Out]).into(),
    ]
}
