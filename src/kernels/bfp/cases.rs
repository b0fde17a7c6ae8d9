use crate::format::block::BfpFormat;
use crate::format::random::{Draw, Generator, stream};
use crate::format::{Rounding, bf16};
use crate::kernels::{BfpDecode, BfpEncode, BfpMatmul};
use crate::op::{BenchCase, Case, Effort, data::Source};
use crate::tensor::DType::{self, Bf16, F32};

const ROUNDINGS: [Rounding; 3] = [Rounding::Nearest, Rounding::Stochastic, Rounding::TowardZero];
const DRAW: Draw = Draw {
    generator: Generator::Threefry,
    seed: 0x0123_4567_89ab_cdef,
    stream: stream(5, 2),
    step: 4,
};

/// Every block size with every width.
fn formats() -> impl Iterator<Item = BfpFormat> {
    let sizes = [8, 16, 32, 64, 128].into_iter();
    sizes.flat_map(|block| (2..=8).filter_map(move |bits| BfpFormat::new(block, bits).ok()))
}

pub(crate) fn cases(_: Effort) -> Vec<Case> {
    let quick = Effort::Quick;
    let mut cases = Vec::new();
    let columns = [1usize, 7, 31, 33, 129, 257, 8, 64];
    for (i, format) in formats().enumerate() {
        let (rows, cols) = (1 + i % 4, columns[i % columns.len()]);
        for rounding in ROUNDINGS {
            let from = if i % 3 == 2 { Bf16 } else { F32 };
            cases.push(encode(quick, format, from, rows, cols, rounding, DRAW, true));
        }
        cases.push(decode(
            quick,
            format,
            if i % 2 == 0 { F32 } else { Bf16 },
            rows,
            cols,
            true,
        ));
        let m = if i % 5 == 0 { 1 } else { 6 };
        cases.push(product(quick, BfpMatmul::new(m, 5 + i % 7, cols, format), true));
    }
    let philox = Draw {
        generator: Generator::Philox,
        ..DRAW
    };
    if let Ok(format) = BfpFormat::new(16, 4) {
        cases.push(encode(
            quick,
            format,
            F32,
            9,
            100,
            Rounding::Stochastic,
            philox,
            true,
        ));
        for (rows, cols) in [(0, 5), (5, 0)] {
            cases.push(encode(
                quick,
                format,
                F32,
                rows,
                cols,
                Rounding::Nearest,
                DRAW,
                true,
            ));
            cases.push(decode(quick, format, F32, rows, cols, true));
        }
        for (m, n, k) in [(0, 3, 32), (3, 0, 32), (3, 5, 0), (17, 19, 200)] {
            cases.push(product(quick, BfpMatmul::new(m, n, k, format), false));
        }
        for (rounding, draw) in [
            (Rounding::Nearest, DRAW),
            (Rounding::Stochastic, DRAW),
            (Rounding::Stochastic, philox),
        ] {
            let op = BfpMatmul {
                out: Bf16,
                c_ld: 24,
                rounding,
                draw,
                ..BfpMatmul::new(13, 23, 77, format)
            };
            cases.push(product(quick, op, false));
        }
        for rounding in ROUNDINGS {
            cases.push(encode(
                Effort::Full,
                format,
                F32,
                1024,
                1031,
                rounding,
                DRAW,
                true,
            ));
        }
        cases.push(decode(Effort::Full, format, F32, 1024, 1031, true));
        cases.push(product(
            Effort::Full,
            BfpMatmul::new(512, 520, 544, format),
            false,
        ));
    }
    // As many blocks as a lane's loops can go through on software adapters, and rows and columns of several groups.
    if let Ok(format) = BfpFormat::new(8, 4) {
        for (m, n, k) in [(3, 5, 119_000), (33, 70, 1000)] {
            cases.push(product(Effort::Full, BfpMatmul::new(m, n, k, format), false));
        }
    }
    cases.extend(wide());
    cases
}

/// Leading dimensions far wider than the rows; one row whose own is odd.
fn wide() -> Vec<Case> {
    let quick = Effort::Quick;
    let Ok(format) = BfpFormat::new(32, 5) else {
        return Vec::new();
    };
    let mut cases = Vec::new();
    for dtype in [F32, Bf16] {
        for (rows, cols, ld) in [(3, 45, 1000), (3, 48, 2050), (1, 45, 45)] {
            let op = BfpEncode {
                format,
                from: dtype,
                rows,
                cols,
                src_ld: ld,
                rounding: Rounding::Stochastic,
                draw: DRAW,
            };
            cases.push(encode_of(quick, op, true));
            let op = BfpDecode {
                format,
                to: dtype,
                rows,
                cols,
                dst_ld: ld,
            };
            cases.push(decode_of(quick, op, true));
            let op = BfpMatmul {
                out: dtype,
                c_ld: ld,
                ..BfpMatmul::new(rows, cols, 90, format)
            };
            cases.push(product(quick, op, true));
        }
    }
    cases
}

/// What is measured at size `n`: 4-bit codes in blocks of 16.
pub(crate) fn bench(n: usize) -> Vec<BenchCase> {
    timed(n).into_iter().map(BenchCase::from).collect()
}

fn timed(n: usize) -> Vec<Case> {
    let Ok(format) = BfpFormat::new(16, 4) else {
        return Vec::new();
    };
    let product = BfpMatmul::new(n, n, n, format);
    vec![
        encode(Effort::Full, format, F32, n, n, Rounding::Nearest, DRAW, false),
        encode(Effort::Full, format, F32, n, n, Rounding::Stochastic, DRAW, false),
        decode(Effort::Full, format, F32, n, n, false),
        self::product(Effort::Full, product, false),
    ]
}

/// What is measured beside that: an odd shape, a single row, and a tiny matrix.
pub(crate) fn awkward(n: usize) -> Vec<BenchCase> {
    timed_awkward(n).into_iter().map(BenchCase::from).collect()
}

fn timed_awkward(n: usize) -> Vec<Case> {
    let Ok(format) = BfpFormat::new(16, 4) else {
        return Vec::new();
    };
    let shapes = [(n | 1, n.saturating_sub(1) | 1), (1, n), (3, 5)];
    let cases = shapes.into_iter().flat_map(|(rows, cols)| {
        [
            encode(
                Effort::Full,
                format,
                F32,
                rows,
                cols,
                Rounding::Nearest,
                DRAW,
                false,
            ),
            decode(Effort::Full, format, F32, rows, cols, false),
            product(Effort::Full, BfpMatmul::new(rows, cols, cols, format), false),
        ]
    });
    cases.collect()
}

/// f32 bits in blocks of very different sizes: tiny, huge, all zero, with NaN and Inf now and then.
pub(crate) fn values(rows: usize, cols: usize, seed: u64, specials: bool) -> Vec<u32> {
    let mut source = Source::new(seed);
    let mut scale = 0;
    (0..rows * cols)
        .map(|i| {
            if i % 40 == 0 {
                scale = source.below(if specials { 8 } else { 4 });
            }
            let value = source.unit();
            match scale {
                4 => (value * 1e-39).to_bits(),
                5 => (value * 3e38).to_bits(),
                6 => {
                    if value < 0.0 {
                        0x8000_0000
                    } else {
                        0
                    }
                }
                7 => source.awkward(),
                _ => (value * (1 << scale) as f32).to_bits(),
            }
        })
        .collect()
}

fn encode(
    effort: Effort,
    format: BfpFormat,
    from: DType,
    rows: usize,
    cols: usize,
    rounding: Rounding,
    draw: Draw,
    specials: bool,
) -> Case {
    let src_ld = cols.next_multiple_of(2) + 2;
    let op = BfpEncode {
        format,
        from,
        rows,
        cols,
        src_ld,
        rounding,
        draw,
    };
    encode_of(effort, op, specials)
}

fn encode_of(effort: Effort, op: BfpEncode, specials: bool) -> Case {
    Case::new(effort, op, move || {
        let mut words = values(op.rows, op.src_ld, (op.rows * op.cols) as u64, specials);
        if op.from == Bf16 {
            words = words
                .chunks(2)
                .map(|pair| {
                    let high = pair.get(1).copied().unwrap_or_default();
                    bf16::pack((pair[0] >> 16) as u16, (high >> 16) as u16)
                })
                .collect();
        }
        vec![words, Vec::new(), Vec::new()]
    })
}

/// A matrix in the format, to nearest: codes and exponents.
fn matrix(format: BfpFormat, rows: usize, cols: usize, seed: u64, specials: bool) -> [Vec<u32>; 2] {
    let source = values(rows, cols, seed, specials);
    let (codes, exponents) = (
        format.codes_words_per_row(cols),
        format.exponent_words_per_row(cols),
    );
    let mut parts = [vec![0; rows * codes], vec![0; rows * exponents]];
    for row in 0..rows {
        let [code_words, exponent_words] = &mut parts;
        format.encode_row(
            &source[row * cols..(row + 1) * cols],
            Rounding::Nearest,
            |_| 0,
            &mut code_words[row * codes..(row + 1) * codes],
            &mut exponent_words[row * exponents..(row + 1) * exponents],
        );
    }
    parts
}

fn decode(effort: Effort, format: BfpFormat, to: DType, rows: usize, cols: usize, specials: bool) -> Case {
    let op = BfpDecode {
        format,
        to,
        rows,
        cols,
        dst_ld: cols.next_multiple_of(2) + 2,
    };
    decode_of(effort, op, specials)
}

fn decode_of(effort: Effort, op: BfpDecode, specials: bool) -> Case {
    Case::new(effort, op, move || {
        let seed = (op.rows + op.cols) as u64;
        let [codes, exponents] = matrix(op.format, op.rows, op.cols, seed, specials);
        vec![codes, exponents, Vec::new()]
    })
}

/// With `specials` some blocks are marked NaN, tiny or huge.
fn product(effort: Effort, op: BfpMatmul, specials: bool) -> Case {
    Case::new(effort, op, move || {
        let [a, a_exponents] = matrix(op.format, op.m, op.k, 11, specials);
        let [b, b_exponents] = matrix(op.format, op.n, op.k, 12, specials);
        vec![a, a_exponents, b, b_exponents, Vec::new()]
    })
}
