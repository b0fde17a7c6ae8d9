use super::Encode;
use crate::format::random::{Draw, Generator, stream};
use crate::format::{Format, NAMED, Rounding};
use crate::kernels::shared::coded_cases::formats;
use crate::kernels::shared::codes_cases::{bfp, boundaries, stored, values};
use crate::op::data::{FAR, Source};
use crate::op::{BenchCase, Case, Effort};
use crate::tensor::DType::{self, Bf16, F32};

const ROUNDINGS: [Rounding; 3] = [Rounding::Nearest, Rounding::Stochastic, Rounding::TowardZero];
const DRAW: Draw = Draw {
    generator: Generator::Threefry,
    seed: 0x0123_4567_89ab_cdef,
    stream: stream(5, 2),
    step: 4,
    first_block: 0,
};

pub(crate) fn cases(_: Effort) -> Vec<Case> {
    let quick = Effort::Quick;
    let mut cases = Vec::new();
    let columns = [1usize, 7, 31, 33, 129, 257, 8, 64];
    for (i, format) in bfp().enumerate() {
        let (rows, cols) = (1 + i % 4, columns[i % columns.len()]);
        for rounding in ROUNDINGS {
            let from = if i % 3 == 2 { Bf16 } else { F32 };
            cases.push(case(quick, op(format, from, rows, cols, rounding, DRAW)));
        }
    }
    let philox = Draw {
        generator: Generator::Philox,
        ..DRAW
    };
    for (i, format) in formats().into_iter().enumerate() {
        for (j, rounding) in ROUNDINGS.into_iter().enumerate() {
            let from = if (i + j) % 3 == 2 { Bf16 } else { F32 };
            let draw = if i % 2 == 0 { DRAW } else { philox };
            cases.push(case(
                quick,
                op(format, from, 3, columns[(i + j) % columns.len()], rounding, draw),
            ));
            cases.push(on_boundaries(quick, op(format, F32, 2, 577, rounding, draw)));
        }
        for (rows, cols) in [(0, 5), (5, 0)] {
            cases.push(case(quick, op(format, F32, rows, cols, Rounding::Nearest, DRAW)));
        }
        cases.push(case(
            Effort::Full,
            op(format, F32, 1024, 1031, ROUNDINGS[i % 3], DRAW),
        ));
    }
    if let Ok(format) = Format::bfp(16, 4) {
        cases.push(case(quick, op(format, F32, 9, 100, Rounding::Stochastic, philox)));
        for rounding in ROUNDINGS {
            cases.push(case(Effort::Full, op(format, F32, 1024, 1031, rounding, DRAW)));
        }
    }
    // One large value among tiny ones, wherever the search for the tensor's scale may miss it: at the end of a run of
    // 32 columns, of 32 runs, past them, in the last row's last column.
    if let Ok(format) = "fp8-e4m3-tensor".parse::<Format>() {
        for at in [31, 995, 1030, 1102 + 1099] {
            let op = op(format, F32, 2, 1100, Rounding::Nearest, DRAW);
            cases.push(filled(quick, op, move |count| {
                let value = |i| if i == at { 3.0f32 } else { 1e-3 };
                (0..count).map(|i| value(i).to_bits()).collect()
            }));
        }
        // The last of a piece's rows, where small bindings and caps cut, in a word that the next piece might take.
        let op = op(format, F32, 9, 520, Rounding::Nearest, DRAW);
        cases.push(filled(quick, op, |count| {
            let value = |i| if i == 4 * 522 + 519 { 3.0f32 } else { 1e-3 };
            (0..count).map(|i| value(i).to_bits()).collect()
        }));
    }
    // Of a last column in a run of its own, of packed halves whose other is padding.
    if let Ok(format) = "fp8-e4m3-tensor".parse::<Format>() {
        let op = op(format, Bf16, 3, 33, Rounding::Nearest, DRAW);
        cases.push(filled(quick, op, |count| {
            let value = |i| if i == 2 * 36 + 32 { 3.0f32 } else { 1e-3 };
            (0..count).map(|i| value(i).to_bits()).collect()
        }));
    }
    // One column more than a group has.
    if let Ok(format) = Format::bfp(16, 4) {
        cases.push(case(quick, op(format, F32, 2, 513, Rounding::Nearest, DRAW)));
    }
    // Leading dimensions far wider than the rows; one row whose own is odd.
    if let Ok(format) = Format::bfp(32, 5) {
        for from in [F32, Bf16] {
            for (rows, cols, src_ld) in [(3, 45, 1000), (3, 48, 2050), (1, 45, 45)] {
                let op = op(format, from, rows, cols, Rounding::Stochastic, DRAW);
                cases.push(case(quick, Encode { src_ld, ..op }));
            }
        }
    }
    // Largest magnitudes at the end of f32, past which no scale may lift the element's largest value, and at its
    // beginning, where they have no hidden bit, or have just got it.
    for format in formats().into_iter().filter(|format| format.has_scales()) {
        let few = op(format, F32, 2, 65, Rounding::Nearest, DRAW);
        cases.push(filled(quick, few, last_binades));
        let all = op(format, F32, 3, 328, Rounding::Nearest, DRAW);
        cases.push(filled(quick, all, first_binades));
    }
    // Pieces whose indices carry, at a row's eights and between them.
    if let Ok(format) = Format::bfp(16, 4) {
        for cols in [5, 7, 24] {
            let far = Draw {
                first_block: FAR,
                ..DRAW
            };
            let op = op(format, F32, 5, cols, Rounding::Stochastic, far);
            cases.push(filled(quick, op, |count| values(1, count, 9, false)));
        }
    }
    cases
}

/// What is measured at size `n`: every format that has a name, to nearest and stochastically.
pub(crate) fn bench(n: usize) -> Vec<BenchCase> {
    let each = |format| {
        [Rounding::Nearest, Rounding::Stochastic].map(|rounding| {
            ordinary(Encode {
                src_ld: n,
                ..op(format, F32, n, n, rounding, DRAW)
            })
        })
    };
    let all = NAMED.iter().flat_map(|named| each(named.format));
    all.map(BenchCase::from).collect()
}

/// What is measured beside that: an odd shape, a single row, and a tiny matrix.
pub(crate) fn awkward(n: usize) -> Vec<BenchCase> {
    let Ok(format) = Format::bfp(16, 4) else {
        return Vec::new();
    };
    let shapes = [(n | 1, n.saturating_sub(1) | 1), (1, n), (3, 5)];
    let each = shapes.map(|(rows, cols)| ordinary(op(format, F32, rows, cols, Rounding::Nearest, DRAW)));
    each.into_iter().map(BenchCase::from).collect()
}

fn op(format: Format, from: DType, rows: usize, cols: usize, rounding: Rounding, draw: Draw) -> Encode {
    Encode {
        format,
        from,
        rows,
        cols,
        src_ld: cols.next_multiple_of(2) + 2,
        rounding,
        draw,
    }
}

fn filled(effort: Effort, op: Encode, fill: impl Fn(usize) -> Vec<u32> + Send + Sync + 'static) -> Case {
    Case::new(effort, op, move || {
        let mut operands = vec![stored(&fill(op.rows * op.src_ld), op.from), Vec::new()];
        if op.format.has_scales() {
            operands.push(Vec::new());
        }
        operands
    })
}

/// Blocks of very different sizes, NaN and Inf among them.
fn case(effort: Effort, op: Encode) -> Case {
    filled(effort, op, move |count| {
        values(1, count, (op.rows * op.cols) as u64, true)
    })
}

fn on_boundaries(effort: Effort, op: Encode) -> Case {
    filled(effort, op, |count| boundaries(count, 5))
}

/// f32 bits from the last eight binades to the largest.
fn last_binades(count: usize) -> Vec<u32> {
    let mut source = Source::new(6);
    let mut bits = || (0x7b80_0000 + source.below(0x0400_0000)) | (source.below(2) << 31);
    (0..count)
        .map(|i| if i % 50 == 0 { 0x7f7f_ffff } else { bits() })
        .collect()
}

/// f32 bits of the first four binades and of subnormals, eight of each: the significands beside the largest ones that
/// elements have among them, where the rule `Up` takes the next scale.
fn first_binades(count: usize) -> Vec<u32> {
    const SIGNIFICANDS: [u32; 8] = [
        0x7e_0000, 0x7e_0001, 0x7e_8000, 0x7f_0000, 0x7f_0001, 0x60_0000, 0x60_0001, 0x70_0001,
    ];
    let mut source = Source::new(8);
    (0..count)
        .map(|i| {
            let binade = (i / 64 % 5) as u32;
            let largest = (binade << 23) | SIGNIFICANDS[i / 8 % 8];
            match i % 8 {
                3 => largest,
                _ => source.below(largest) | (source.below(2) << 31),
            }
        })
        .collect()
}

/// Ordinary values.
fn ordinary(op: Encode) -> Case {
    filled(Effort::Full, op, move |count| {
        values(1, count, (op.rows * op.cols) as u64, false)
    })
}
