use super::Improvement;
use crate::format::{Element, Format, ScaleRule};
use crate::kernels::shared::codes_cases::{boundaries, stored, values};
use crate::op::data::Source;
use crate::op::{BenchCase, Case, Effort, Fill, awkward_shapes};
use crate::tensor::DType::{self, Bf16, F32};

pub(crate) fn cases(_: Effort) -> Vec<Case> {
    let quick = Effort::Quick;
    let mut cases = Vec::new();
    let Some(fast) = fast() else {
        return cases;
    };
    let shapes = [
        (1usize, 1usize),
        (5, 7),
        (3, 16),
        (4, 33),
        (70, 40),
        (9, 128),
        (2, 257),
        (130, 10),
    ];
    for (i, formats) in pairs().into_iter().enumerate() {
        for from in [F32, Bf16] {
            let (rows, cols) = shapes[(i + usize::from(from == Bf16)) % shapes.len()];
            cases.push(any(quick, op(formats, from, rows, cols)));
            cases.push(on_boundaries(quick, op(formats, from, 2, 577)));
        }
    }
    for from in [F32, Bf16] {
        for (rows, cols) in shapes {
            cases.push(any(quick, op(fast, from, rows, cols)));
        }
        for (rows, cols) in [(0, 5), (67, 0)] {
            cases.push(any(quick, op(fast, from, rows, cols)));
        }
        // Leading dimensions far wider than the rows; one row whose own is odd.
        for (rows, cols, x_ld) in [(3, 45, 1000), (66, 49, 90), (1, 45, 45)] {
            let op = op(fast, from, rows, cols);
            cases.push(any(quick, Improvement { x_ld, ..op }));
        }
        // Rows of more blocks than a group has lanes, and of more columns than a small binding or cap takes.
        for (rows, cols) in [(3, 1031), (2, 5003), (1, 9000)] {
            cases.push(ordinary(quick, op(fast, from, rows, cols)));
        }
        cases.push(ordinary(Effort::Full, op(fast, from, 515, 1031)));
        // One NaN or infinity: in each block of some rows, and in one where parts of a row begin.
        for at in [0, 3001, 5002] {
            cases.push(special(op(fast, from, 2, 5003), at));
        }
        cases.push(special(op(fast, from, 1, 45), 44));
        cases.push(tiny(op(fast, from, 3, 50)));
    }
    for formats in pairs() {
        cases.push(tiny(op(formats, F32, 2, 130)));
    }
    cases
}

/// What is measured at size `n`.
pub(crate) fn bench(n: usize) -> Vec<BenchCase> {
    let op = |[coarse, fine]: [Format; 2], from| Improvement::new(n, n, coarse, fine, from);
    let both = |formats| {
        [
            Case::timed(op(formats, F32), &[Fill::F32, Fill::Out]),
            Case::timed(op(formats, Bf16), &[Fill::Bf16, Fill::Out]),
        ]
    };
    fast().into_iter().flat_map(both).map(BenchCase::from).collect()
}

/// What is measured beside that: see [`awkward_shapes`].
pub(crate) fn awkward(n: usize) -> Vec<BenchCase> {
    let each = |[coarse, fine]: [Format; 2]| {
        awkward_shapes(n).map(|(rows, cols)| {
            let op = Improvement::new(rows, cols, coarse, fine, F32);
            Case::timed(op, &[Fill::F32, Fill::Out])
        })
    };
    fast().into_iter().flat_map(each).map(BenchCase::from).collect()
}

/// The formats of FAST.
fn fast() -> Option<[Format; 2]> {
    Some([Format::bfp(16, 3).ok()?, Format::bfp(16, 5).ok()?])
}

/// Formats of every block size and by every pair of rules, the widest and the narrowest among them.
fn pairs() -> Vec<[Format; 2]> {
    use ScaleRule::{Floor, Up};
    let by = |size, (bits, rule)| {
        let format = Format::new(Element::sign_magnitude(bits).ok()?).ok()?;
        format.block(size, rule).ok()
    };
    let pair = |(size, coarse, fine)| Some([by(size, coarse)?, by(size, fine)?]);
    let all = [
        (8, (2, Floor), (3, Floor)),
        (16, (3, Up), (5, Up)),
        (16, (2, Up), (8, Floor)),
        (32, (4, Floor), (8, Floor)),
        (64, (2, Floor), (8, Up)),
        (64, (7, Floor), (8, Up)),
        (128, (3, Floor), (5, Floor)),
        (128, (2, Up), (8, Up)),
    ];
    all.into_iter().filter_map(pair).collect()
}

fn op([coarse, fine]: [Format; 2], from: DType, rows: usize, cols: usize) -> Improvement {
    let x_ld = cols.next_multiple_of(2) + 2;
    let op = Improvement::new(rows, cols, coarse, fine, from);
    Improvement { x_ld, ..op }
}

fn filled(effort: Effort, op: Improvement, fill: impl Fn(usize) -> Vec<u32> + Send + Sync + 'static) -> Case {
    Case::new(effort, op, move || {
        vec![stored(&fill(op.rows * op.x_ld), op.from), Vec::new()]
    })
}

/// Blocks of very different sizes, NaN and Inf among them: rows of many columns mostly have one.
fn any(effort: Effort, op: Improvement) -> Case {
    filled(effort, op, move |count| values(1, count, op.cols as u64, true))
}

/// Blocks of different sizes.
fn ordinary(effort: Effort, op: Improvement) -> Case {
    filled(effort, op, move |count| values(1, count, op.cols as u64, false))
}

/// Ties, and largest magnitudes beside powers of two.
fn on_boundaries(effort: Effort, op: Improvement) -> Case {
    filled(effort, op, |count| boundaries(count, 5))
}

/// One NaN, or an infinity, in the first row.
fn special(op: Improvement, at: usize) -> Case {
    filled(Effort::Quick, op, move |count| {
        let mut all = values(1, count, 3, false);
        all[at] = if at.is_multiple_of(2) {
            0x7fc0_0000
        } else {
            0xff80_0000
        };
        all
    })
}

/// The first binades and subnormals.
fn tiny(op: Improvement) -> Case {
    filled(Effort::Quick, op, |count| {
        let mut source = Source::new(4);
        (0..count).map(|_| source.bits() & 0x83ff_ffff).collect()
    })
}
