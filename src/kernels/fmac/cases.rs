use crate::format::random::{Draw, Generator, stream};
use crate::format::{Rounding, bf16};
use crate::kernels::{Fmac, FmacMatmul};
use crate::op::Op as _;
use crate::op::data::{FAR, Source};
use crate::op::{BenchCase, Case, Effort, Fill, awkward_shapes};

/// Each rounding with each generator.
fn roundings(step: u32) -> [(Rounding, Draw); 3] {
    let draw = Draw {
        generator: Generator::Threefry,
        seed: 0xfedc_ba98_7654_3210,
        stream: stream(9, 5),
        step,
        first_block: 0,
    };
    let philox = Draw {
        generator: Generator::Philox,
        ..draw
    };
    [
        (Rounding::Nearest, Draw::default()),
        (Rounding::Stochastic, draw),
        (Rounding::Stochastic, philox),
    ]
}

/// What the operands hold. Both variants are exact for all of them.
#[derive(Clone, Copy, Debug)]
enum Data {
    /// Values in -1..1.
    Ordinary,
    /// Magnitudes over sixteen binades, zeros of both signs among them.
    Wide,
    /// Ordinary, and awkward in the operand of this number alone.
    AwkwardIn(usize),
    /// Any 16 bits, and often NaN, Inf, subnormals, the largest and the smallest.
    Awkward,
}

impl Data {
    fn code(self, source: &mut Source) -> u16 {
        match self {
            Self::Ordinary | Self::AwkwardIn(_) => source.bf16(),
            Self::Wide => match source.below(16) {
                0 => (source.bits() & 0x8000) as u16,
                _ => {
                    let exponent = 119 + source.below(16);
                    ((source.bits() & 0x807f) | (exponent << 7)) as u16
                }
            },
            Self::Awkward => match source.below(4) {
                0 => (source.awkward() >> 16) as u16,
                1 => {
                    // Where products and sums are subnormal, or near the largest finite.
                    let exponent =
                        [0, 1, 62, 64, 66, 70, 124, 127, 190, 191, 253, 254][source.below(12) as usize];
                    ((source.bits() & 0x807f) | (exponent << 7)) as u16
                }
                _ => source.bits() as u16,
            },
        }
    }

    /// What the operand of this number holds.
    fn of(self, operand: usize) -> Self {
        match self {
            Self::AwkwardIn(number) if number == operand => Self::Awkward,
            data => data,
        }
    }

    /// Rows of four steps by ones whose sums in f32 are ties, or a little more, that decide a tie of the chunk's rounding.
    fn ties() -> Vec<u32> {
        let small = |exponent| 2f32.powi(exponent);
        let rows = [
            [1.0, small(-8), small(-24), 0.0],
            [1.0, small(-8), small(-24) + small(-31), 0.0],
            [1.0, small(-8), small(-23), -small(-24)],
            [1.0 + small(-7), small(-8), -small(-23), small(-24)],
        ];
        let code = |value: f32| bf16::from_f32(value);
        let words = rows.as_flattened().chunks(2);
        words
            .map(|pair| bf16::pack(code(pair[0]), code(pair[1])))
            .collect()
    }

    /// A and B^T of products of one output and four steps, each a chunk whose last bit in f32 shows in bf16.
    fn chunks_of_four() -> [Vec<u32>; 2] {
        let p = |exponent| 2f32.powi(exponent);
        let none = (0.0, 0.0);
        let probes = [
            // Half of a bf16 tie that the smallest of products decides: half and three eighths of the last bit are lost.
            [(p(-67), p(-67)), (p(-75), p(-75)), none, none],
            [(p(-67), p(-67)), (1.5 * p(-75), p(-76)), none, none],
            [(p(-67), p(-67)), (1.5 * p(-90), p(-90)), none, none],
            [(p(-67), p(-67)), (1.5 * p(-75), p(-75)), none, none],
            [(p(-67), -p(-67)), (p(-75), -p(-75)), none, none],
            // The lowest bit of a sum that carries.
            [
                (1.0, 2.0),
                (p(-12), -p(-11)),
                (17.0 * p(-13), p(-13)),
                (1.0, p(-7)),
            ],
            // 1 less a little that a shift of 26 bits leaves of nothing but that it was there.
            [(1.0, 1.0), (1.5 * p(-20), -p(-20)), (-253.0 / 512.0, 1.0), none],
            [(1.0, 1.0), (1.5 * p(-13), -p(-13)), (-253.0 / 512.0, 1.0), none],
            // The smallest normal number as smaller, as larger and as either factor.
            [(p(-63), p(-62)), (p(-63), p(-63)), none, none],
            [(p(-63), p(-63)), (p(-66), p(-66)), none, none],
            [(p(-126), p(10)), none, none, none],
            [(p(10), p(-126)), none, none, none],
            // Infinities of products that overflow, of both signs.
            [(p(100), p(100)), (p(100), -p(100)), none, none],
            [(p(100), -p(100)), (p(100), p(100)), none, none],
        ];
        let factors = |one: fn(&(f32, f32)) -> f32| {
            let steps: Vec<_> = probes.as_flattened().iter().map(one).collect();
            let pairs = steps.chunks(2);
            pairs
                .map(|pair| bf16::pack(bf16::from_f32(pair[0]), bf16::from_f32(pair[1])))
                .collect()
        };
        [factors(|step| step.0), factors(|step| step.1)]
    }

    fn words(self, source: &mut Source, words: u64) -> Vec<u32> {
        (0..words)
            .map(|_| bf16::pack(self.code(source), self.code(source)))
            .collect()
    }
}

pub(crate) fn cases(_: Effort) -> Vec<Case> {
    let mut cases = elementwise();
    cases.extend(matmul());
    cases
}

fn elementwise() -> Vec<Case> {
    let mut cases = Vec::new();
    for (len, effort) in [
        (0, Effort::Quick),
        (1, Effort::Quick),
        (8, Effort::Quick),
        (1023, Effort::Quick),
        (4096, Effort::Quick),
        ((1 << 20) + 3, Effort::Full),
    ] {
        for (rounding, draw) in roundings(11) {
            for data in [Data::Wide, Data::Awkward] {
                let op = Fmac::contiguous(len).with_rounding(rounding, draw);
                cases.push(fmac_case(effort, op, data));
            }
        }
    }
    // Padded rows of odd length: draws straddle the eights, rows end in half a word.
    for (rows, cols, lds, effort) in [
        (3, 5, [6, 8, 10], Effort::Quick),
        (67, 33, [40, 34, 36], Effort::Quick),
        (64, 48, [48, 48, 48], Effort::Quick),
        (9, 24, [32, 24, 40], Effort::Quick),
        (515, 513, [514, 520, 516], Effort::Full),
        // Leading dimensions far wider than the rows, aligned and not; a row whose own is odd.
        (5, 24, [1000, 2048, 4096], Effort::Quick),
        (5, 9, [1002, 2050, 4098], Effort::Quick),
        (1, 13, [15, 17, 13], Effort::Quick),
    ] {
        let [x_ld, y_ld, a_ld] = lds;
        for (rounding, draw) in roundings(0x0123_4567) {
            let op = Fmac {
                rows,
                cols,
                x_ld,
                y_ld,
                a_ld,
                rounding,
                draw,
            };
            cases.push(fmac_case(effort, op, Data::Awkward));
        }
    }
    // Rows that end in every word of eight columns.
    for cols in [10, 11, 12, 14] {
        let op = Fmac {
            rows: 7,
            cols,
            x_ld: 18,
            y_ld: 20,
            a_ld: 22,
            ..Fmac::contiguous(0)
        };
        cases.push(fmac_case(Effort::Quick, op, Data::Awkward));
    }
    for awkward in 0..3 {
        let op = Fmac::contiguous(1024);
        cases.push(fmac_case(Effort::Quick, op, Data::AwkwardIn(awkward)));
    }
    // Pieces whose indices carry, within a run of eight columns too.
    for (cols, which) in [(5, 1), (6, 2), (7, 1)] {
        let (rounding, draw) = roundings(3)[which];
        let draw = Draw {
            first_block: FAR,
            ..draw
        };
        let op = Fmac {
            rows: 5,
            cols,
            x_ld: 8,
            y_ld: 8,
            a_ld: 8,
            ..Fmac::contiguous(0).with_rounding(rounding, draw)
        };
        cases.push(fmac_case(Effort::Quick, op, Data::Wide));
    }
    cases
}

fn fmac_case(effort: Effort, op: Fmac, data: Data) -> Case {
    Case::new(effort, op, move || {
        let mut source = Source::new((op.rows * 1000 + op.cols) as u64);
        let specs = op.operands();
        specs
            .iter()
            .enumerate()
            .map(|(at, spec)| data.of(at).words(&mut source, spec.words))
            .collect()
    })
}

fn matmul() -> Vec<Case> {
    let all = [small(), chunks(), layouts(), large()];
    all.into_iter().flatten().collect()
}

fn product_case(effort: Effort, op: FmacMatmul, data: Data) -> Case {
    Case::new(effort, op, move || {
        let mut source = Source::new((op.m * 1_000_000 + op.n * 1000 + op.k + op.chunk) as u64);
        let specs = op.operands();
        specs
            .iter()
            .enumerate()
            .map(|(at, spec)| match spec.is_written() && !op.add_c {
                true => Vec::new(),
                false => data.of(at).words(&mut source, spec.words),
            })
            .collect()
    })
}

fn small() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |effort, op: FmacMatmul, data: Data| cases.push(product_case(effort, op, data));
    // Nothing to sum, nothing to write, single elements.
    for (m, n, k, add_c) in [
        (3, 5, 0, false),
        (3, 5, 0, true),
        (0, 5, 3, false),
        (3, 0, 3, true),
        (1, 1, 1, false),
    ] {
        for (rounding, draw) in roundings(1) {
            let op = FmacMatmul {
                add_c,
                ..FmacMatmul::new(m, n, k).with_rounding(rounding, draw)
            };
            add(Effort::Quick, op, Data::Awkward);
        }
    }
    cases
}

fn chunks() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |effort, op: FmacMatmul, data: Data| cases.push(product_case(effort, op, data));
    // Chunks against an odd K: under it, not dividing it, over it.
    for (chunk, add_c) in [
        (1, false),
        (1, true),
        (2, true),
        (3, false),
        (8, false),
        (8, true),
        (100, true),
        (1000, false),
    ] {
        for (rounding, draw) in roundings((1 << 24) - 1) {
            if draw.generator == Generator::Philox && add_c {
                continue;
            }
            let op = FmacMatmul {
                chunk,
                add_c,
                ..FmacMatmul::new(7, 9, 131).with_rounding(rounding, draw)
            };
            add(Effort::Quick, op, Data::Wide);
            let awkward = FmacMatmul { k: 5, a_ld: 6, ..op };
            add(Effort::Quick, awkward, Data::Awkward);
        }
    }
    cases
}

fn layouts() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |effort, op: FmacMatmul, data: Data| cases.push(product_case(effort, op, data));
    // Transposed operands, two products, padded rows, K a multiple of 8 and not.
    for (trans_a, trans_b) in [(false, false), (true, false), (false, true), (true, true)] {
        for (which, k, chunk) in [(0, 24, 1), (1, 37, 5)] {
            let (rounding, draw) = roundings(3)[which];
            let op = FmacMatmul {
                batch: 2,
                trans_a,
                trans_b,
                a_ld: 48,
                b_ld: 42,
                c_ld: 36,
                chunk,
                add_c: trans_a,
                ..FmacMatmul::new(13, 35, k).with_rounding(rounding, draw)
            };
            add(Effort::Quick, op, Data::Ordinary);
            add(Effort::Quick, FmacMatmul { n: 34, ..op }, Data::Wide);
            add(Effort::Quick, FmacMatmul { m: 12, ..op }, Data::Awkward);
        }
    }
    // One operand with values for which no float step serves, in the second four steps of eight too.
    for awkward in [0, 1] {
        let op = FmacMatmul::new(9, 10, 40);
        add(Effort::Quick, op, Data::AwkwardIn(awkward));
    }
    let op = FmacMatmul {
        chunk: 4,
        ..FmacMatmul::new(4, 2, 4)
    };
    let ones = bf16::pack(bf16::from_f32(1.0), bf16::from_f32(1.0));
    cases.push(Case::new(Effort::Quick, op, move || {
        let b = op.operands()[1].words as usize;
        vec![Data::ties(), vec![ones; b], Vec::new()]
    }));
    let [a, _] = Data::chunks_of_four();
    let op = FmacMatmul {
        batch: a.len() / 2,
        trans_b: true,
        chunk: 4,
        b_ld: 4,
        ..FmacMatmul::new(1, 1, 4)
    };
    cases.push(Case::new(Effort::Quick, op, || {
        let [a, b] = Data::chunks_of_four();
        vec![a, b, Vec::new()]
    }));
    cases.extend(singled_out());
    let mut add = |effort, op: FmacMatmul, data: Data| cases.push(product_case(effort, op, data));
    // Behind the last step of one product lie NaN and infinities of the next.
    let op = FmacMatmul {
        batch: 3,
        trans_a: true,
        a_ld: 14,
        ..FmacMatmul::new(13, 9, 7)
    };
    add(Effort::Quick, op, Data::AwkwardIn(0));
    // Leading dimensions far wider than the rows; one row whose own is odd.
    for (trans_a, trans_b) in [(false, false), (true, true)] {
        let (rounding, draw) = roundings(3)[1];
        let op = FmacMatmul {
            trans_a,
            trans_b,
            a_ld: 200,
            b_ld: 250,
            c_ld: 500,
            add_c: true,
            ..FmacMatmul::new(5, 7, 19).with_rounding(rounding, draw)
        };
        add(Effort::Quick, op, Data::Wide);
    }
    let row = FmacMatmul {
        a_ld: 19,
        c_ld: 7,
        ..FmacMatmul::new(1, 7, 19)
    };
    add(Effort::Quick, row, Data::Wide);
    // Pieces whose indices carry: from tile to tile, and at every place of the four outputs that draw together.
    for n in 5..=8 {
        let (rounding, draw) = roundings(3)[1 + n % 2];
        let draw = Draw {
            first_block: FAR,
            ..draw
        };
        let op = FmacMatmul::new(5, n, 24).with_rounding(rounding, draw);
        add(Effort::Quick, FmacMatmul { add_c: true, ..op }, Data::Ordinary);
    }
    cases
}

/// One NaN among ordinary values, in every place of a tile's eight steps in turn, of A and of B: the float step is not
/// for it. Then infinities behind the last of 1 to 3 steps, of either operand, which no step reads.
fn singled_out() -> Vec<Case> {
    let nan = FmacMatmul {
        batch: 2 * 8 * 4,
        ..FmacMatmul::new(4, 4, 8)
    };
    let mut cases = vec![Case::new(Effort::Quick, nan, || {
        let mut source = Source::new(17);
        let mut operands = [0, 1].map(|_| -> Vec<u16> { (0..64 * 32).map(|_| source.bf16()).collect() });
        for (i, place) in (0..64 * 32).step_by(33).enumerate() {
            operands[i / 32][place] = 0xffc5;
        }
        let packed = |codes: &[u16]| codes.chunks(2).map(|pair| bf16::pack(pair[0], pair[1])).collect();
        vec![packed(&operands[0]), packed(&operands[1]), Vec::new()]
    })];
    for k in 1..4 {
        for operand in [0, 1] {
            let op = FmacMatmul {
                batch: 2,
                trans_a: true,
                a_ld: 4,
                ..FmacMatmul::new(4, 4, k)
            };
            cases.push(Case::new(Effort::Quick, op, move || {
                let code = |number, at| match (number == operand, at < 2 * k) {
                    (true, false) => 0x7f80_7f80,
                    _ => 0x3f80_4040 + at as u32,
                };
                let words = |number| (0..4 * k).map(|at| code(number, at)).collect();
                vec![words(0), words(1), Vec::new()]
            }));
        }
    }
    cases
}

fn large() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |effort, op: FmacMatmul, data: Data| cases.push(product_case(effort, op, data));
    let large = FmacMatmul::new(512, 512, 512);
    add(Effort::Full, large, Data::Ordinary);
    let draw = roundings(7)[1].1;
    let odd = FmacMatmul::new(257, 515, 129).with_rounding(Rounding::Stochastic, draw);
    add(Effort::Full, odd, Data::Ordinary);
    // Sums so long that an invocation's loops pass the cap on turns of software adapters: rounded at every step, in
    // chunks, and in one chunk longer than what one dispatch does.
    for (k, chunk, add_c) in [(180_001, 1, true), (180_000, 24, false), (180_003, 70_000, true)] {
        for (rounding, draw) in roundings(5).into_iter().take(2) {
            let op = FmacMatmul {
                chunk,
                add_c,
                ..FmacMatmul::new(2, 3, k).with_rounding(rounding, draw)
            };
            add(Effort::Full, op, Data::Wide);
        }
    }
    let two = FmacMatmul {
        batch: 2,
        trans_a: true,
        trans_b: true,
        a_ld: 6,
        b_ld: 20_002,
        chunk: 15_000,
        ..FmacMatmul::new(5, 7, 20_001).with_rounding(Rounding::Stochastic, draw)
    };
    add(Effort::Full, two, Data::Awkward);
    cases
}

/// What is measured at size `n`.
pub(crate) fn bench(n: usize) -> Vec<BenchCase> {
    let draw = Draw {
        seed: 1,
        ..Draw::default()
    };
    let (fmac, product) = (Fmac::contiguous(n * n), FmacMatmul::new(n, n, n));
    let stochastic = Rounding::Stochastic;
    let runs = [fmac, fmac.with_rounding(stochastic, draw)];
    let products = [product, product.with_rounding(stochastic, draw)];
    let runs = runs.map(|op| Case::timed(op, &[Fill::Bf16, Fill::Bf16, Fill::Bf16]).into());
    let products = products.map(|op| Case::timed(op, &[Fill::Bf16, Fill::Bf16, Fill::Out]).into());
    runs.into_iter().chain(products).collect()
}

/// What is measured beside that: see [`awkward_shapes`].
pub(crate) fn awkward(n: usize) -> Vec<BenchCase> {
    let case = |(rows, cols)| {
        let (fmac, product) = (Fmac::contiguous(rows * cols), FmacMatmul::new(rows, cols, cols));
        [
            Case::timed(fmac, &[Fill::Bf16, Fill::Bf16, Fill::Bf16]).into(),
            Case::timed(product, &[Fill::Bf16, Fill::Bf16, Fill::Out]).into(),
        ]
    };
    awkward_shapes(n).into_iter().flat_map(case).collect()
}
