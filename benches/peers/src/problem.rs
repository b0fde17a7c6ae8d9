//! The shapes, their data, and what a right result is.

use fewbit::kernels::{Matmul, Spmm, Spmv};
use fewbit::op::Op;
use fewbit::tensor::DType::{Bf16, F32, U16, U32};

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// `C = A B^T`, A of `m` x `k`, B stored as `n` x `k` like a layer's weights; `m` = 1 is a matvec.
    Matmul { m: usize, n: usize, k: usize },
    /// `Y = A X`, A sparse of `rows` x `cols`, X of `n` columns; `n` = 1 is a matvec.
    Sparse {
        rows: usize,
        cols: usize,
        n: usize,
        fill: Fill,
    },
}

/// Where a sparse matrix has entries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    /// So many in a thousand elements, anywhere.
    PerMille(u32),
    /// So many in every row.
    PerRow(u32),
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub name: &'static str,
    pub shape: Shape,
    /// Whether fewbit's operands are bf16: the values of every peer are the same, in the type it has.
    pub bf16: bool,
    /// Whether fewbit keeps B as weights, packed before (on the CPU).
    pub kept: bool,
    pub effort: Effort,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// Small shapes: to see whether it works.
    Quick,
    Default,
    /// Those that take minutes, or gigabytes.
    Full,
}

const fn matmul(name: &'static str, [m, n, k]: [usize; 3], bf16: bool, effort: Effort) -> Case {
    Case {
        name,
        shape: Shape::Matmul { m, n, k },
        bf16,
        kept: false,
        effort,
    }
}

const fn kept(name: &'static str, extents: [usize; 3], bf16: bool, effort: Effort) -> Case {
    Case {
        kept: true,
        ..matmul(name, extents, bf16, effort)
    }
}

const fn spmv(name: &'static str, size: usize, fill: Fill, bf16: bool, effort: Effort) -> Case {
    Case {
        name,
        shape: Shape::Sparse {
            rows: size,
            cols: size,
            n: 1,
            fill,
        },
        bf16,
        kept: false,
        effort,
    }
}

const fn spmm(name: &'static str, size: usize, n: usize, bf16: bool, effort: Effort) -> Case {
    Case {
        shape: Shape::Sparse {
            rows: size,
            cols: size,
            n,
            fill: Fill::PerMille(100),
        },
        ..spmv(name, size, Fill::PerMille(100), bf16, effort)
    }
}

const CASES: &[Case] = {
    use Effort::{Default, Full, Quick};
    &[
        matmul("matmul f32 192x160x256", [192, 160, 256], false, Quick),
        matmul("matmul bf16 192x160x256", [192, 160, 256], true, Quick),
        matmul("matvec f32 512x512", [1, 512, 512], false, Quick),
        matmul("matvec bf16 512x512", [1, 512, 512], true, Quick),
        spmv("spmv f32 512x512 10 %", 512, Fill::PerMille(100), false, Quick),
        spmv("spmv bf16 512x512 10 %", 512, Fill::PerMille(100), true, Quick),
        kept("matmul bf16 kept 40x160x256", [40, 160, 256], true, Quick),
        spmm("spmm f32 256x256 10 % x 256x40", 256, 40, false, Quick),
        spmm("spmm bf16 256x256 10 % x 256x40", 256, 40, true, Quick),
        matmul("matmul f32 1024x1024x1024", [1024; 3], false, Default),
        matmul("matmul bf16 1024x1024x1024", [1024; 3], true, Default),
        matmul("matmul f32 128x1024x1024", [128, 1024, 1024], false, Default),
        matmul("matmul bf16 128x1024x1024", [128, 1024, 1024], true, Default),
        kept("matmul bf16 kept 1024x1024x1024", [1024; 3], true, Default),
        kept("matmul bf16 kept 128x1024x1024", [128, 1024, 1024], true, Default),
        // Inference and small batches of training; sizes that no tile divides; a product that ends before threads wake.
        matmul("matmul f32 8x1024x1024", [8, 1024, 1024], false, Default),
        matmul("matmul bf16 8x1024x1024", [8, 1024, 1024], true, Default),
        kept("matmul bf16 kept 8x1024x1024", [8, 1024, 1024], true, Default),
        matmul("matmul f32 32x1024x1024", [32, 1024, 1024], false, Default),
        matmul("matmul bf16 32x1024x1024", [32, 1024, 1024], true, Default),
        kept("matmul bf16 kept 32x1024x1024", [32, 1024, 1024], true, Default),
        matmul("matmul f32 256x1024x1024", [256, 1024, 1024], false, Default),
        matmul("matmul bf16 256x1024x1024", [256, 1024, 1024], true, Default),
        kept("matmul bf16 kept 256x1024x1024", [256, 1024, 1024], true, Default),
        matmul("matmul f32 333x257x501", [333, 257, 501], false, Default),
        matmul("matmul bf16 333x257x501", [333, 257, 501], true, Default),
        matmul("matmul f32 2000x72x333", [2000, 72, 333], false, Default),
        matmul("matmul bf16 2000x72x333", [2000, 72, 333], true, Default),
        matmul("matmul f32 256x256x256", [256; 3], false, Default),
        matmul("matmul bf16 256x256x256", [256; 3], true, Default),
        matmul("matvec f32 1024x1024", [1, 1024, 1024], false, Default),
        matmul("matvec bf16 1024x1024", [1, 1024, 1024], true, Default),
        matmul("matvec f32 4096x4096", [1, 4096, 4096], false, Default),
        matmul("matvec bf16 4096x4096", [1, 4096, 4096], true, Default),
        spmv(
            "spmv f32 4096x4096 10 %",
            4096,
            Fill::PerMille(100),
            false,
            Default,
        ),
        spmv(
            "spmv bf16 4096x4096 10 %",
            4096,
            Fill::PerMille(100),
            true,
            Default,
        ),
        spmm("spmm f32 4096x4096 10 % x 4096x256", 4096, 256, false, Default),
        spmm("spmm bf16 4096x4096 10 % x 4096x256", 4096, 256, true, Default),
        // The dense product that spmm stands for.
        matmul("matmul f32 4096x256x4096", [4096, 256, 4096], false, Default),
        matmul("matmul bf16 4096x256x4096", [4096, 256, 4096], true, Default),
        kept("matmul bf16 kept 4096x4096x4096", [4096; 3], true, Full),
        spmv(
            "spmv f32 16384x16384 10 %",
            16384,
            Fill::PerMille(100),
            false,
            Full,
        ),
        spmv(
            "spmv bf16 16384x16384 10 %",
            16384,
            Fill::PerMille(100),
            true,
            Full,
        ),
        matmul("matmul f32 4096x4096x4096", [4096; 3], false, Full),
        matmul("matmul bf16 4096x4096x4096", [4096; 3], true, Full),
        matmul("matmul f32 128x4096x4096", [128, 4096, 4096], false, Full),
        matmul("matmul bf16 128x4096x4096", [128, 4096, 4096], true, Full),
        spmv("spmv f32 1Mx1M 16 a row", 1 << 20, Fill::PerRow(16), false, Full),
        spmv("spmv bf16 1Mx1M 16 a row", 1 << 20, Fill::PerRow(16), true, Full),
    ]
};

/// The cases of an effort: `Full` has those of `Default` too.
pub fn cases(effort: Effort) -> Vec<Case> {
    let wanted = |case: &&Case| match effort {
        Effort::Quick => case.effort == Effort::Quick,
        _ => case.effort != Effort::Quick && case.effort <= effort,
    };
    CASES.iter().filter(wanted).copied().collect()
}

/// A case by its name.
pub fn find(name: &str) -> Option<Case> {
    CASES.iter().find(|case| case.name == name).copied()
}

/// Its operands in f32. Where the case is of bf16 every value is one that bf16 has, so that the product is the
/// same for whoever has no bf16.
pub enum Data {
    Dense {
        a: Vec<f32>,
        b: Vec<f32>,
    },
    Sparse {
        row_ptr: Vec<u32>,
        col_idx: Vec<u32>,
        values: Vec<f32>,
        x: Vec<f32>,
    },
}

pub struct Problem {
    pub case: Case,
    pub data: Data,
}

/// SplitMix64.
struct Source(u64);

impl Source {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u32) -> u32 {
        (((self.next() >> 32) * u64::from(end)) >> 32) as u32
    }

    /// Values in -1..1; of bf16 the lower half of the word is cut off.
    fn values(&mut self, len: usize, bf16: bool) -> Vec<f32> {
        let mask = if bf16 { 0xffff_0000 } else { u32::MAX };
        let unit = |bits: u64| (bits >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
        (0..len)
            .map(|_| f32::from_bits(unit(self.next()).to_bits() & mask))
            .collect()
    }
}

impl Problem {
    pub fn new(case: Case) -> Self {
        let mut source = Source(1);
        let data = match case.shape {
            Shape::Matmul { m, n, k } => Data::Dense {
                a: source.values(m * k, case.bf16),
                b: source.values(n * k, case.bf16),
            },
            Shape::Sparse { rows, cols, n, fill } => {
                let (mut row_ptr, mut col_idx) = (vec![0u32], Vec::new());
                for _ in 0..rows {
                    let from = col_idx.len();
                    match fill {
                        Fill::PerMille(share) => {
                            col_idx.extend((0..cols as u32).filter(|_| source.below(1000) < share));
                        }
                        Fill::PerRow(count) => {
                            // Ascending, and none twice: what every library takes.
                            let mut row = std::collections::BTreeSet::new();
                            while row.len() < count as usize {
                                row.insert(source.below(cols as u32));
                            }
                            col_idx.extend(row);
                        }
                    }
                    debug_assert!(col_idx.len() >= from);
                    row_ptr.push(col_idx.len() as u32);
                }
                Data::Sparse {
                    values: source.values(col_idx.len(), case.bf16),
                    // A vector is f32 for everyone.
                    x: source.values(cols * n, case.bf16 && n > 1),
                    row_ptr,
                    col_idx,
                }
            }
        };
        Self { case, data }
    }

    /// fewbit's operation and its operands' words, the result's last or, for a product, third.
    pub fn operation(&self) -> (Box<dyn Op>, Vec<Vec<u32>>) {
        let bits = |values: &[f32]| -> Vec<u32> { values.iter().map(|value| value.to_bits()).collect() };
        // Rows of bf16 begin on a word each.
        let packed = |values: &[f32], row: usize| -> Vec<u32> {
            let half = |value: Option<&f32>| value.map_or(0, |value| value.to_bits() >> 16);
            values
                .chunks(row)
                .flat_map(|row| row.chunks(2))
                .map(|pair| half(pair.first()) | (half(pair.get(1)) << 16))
                .collect()
        };
        let floats = |values: &[f32], row: usize| {
            if self.case.bf16 {
                packed(values, row)
            } else {
                bits(values)
            }
        };
        let dtype = if self.case.bf16 { Bf16 } else { F32 };
        match (&self.data, self.case.shape) {
            (Data::Dense { a, b }, Shape::Matmul { m, n, k }) => {
                let op = Matmul::new(m, n, k).types(dtype, dtype, F32).transpose_b();
                let ld = if self.case.bf16 { k.next_multiple_of(2) } else { k };
                let op = op.ld(ld, ld, n);
                (Box::new(op), vec![floats(a, k), floats(b, k), vec![0; m * n]])
            }
            (
                Data::Sparse {
                    row_ptr,
                    col_idx,
                    values,
                    x,
                },
                Shape::Sparse { rows, cols, n, .. },
            ) => {
                let narrow = self.case.bf16 && cols <= 1 << 16;
                let columns = if narrow {
                    let columns = col_idx.chunks(2);
                    columns
                        .map(|pair| pair[0] | (pair.get(1).copied().unwrap_or(0) << 16))
                        .collect()
                } else {
                    col_idx.clone()
                };
                if n > 1 {
                    let types = [if narrow { U16 } else { U32 }, dtype, dtype, F32];
                    let mut op = Spmm::new(rows, cols, col_idx.len(), n, types);
                    (op.b_ld, op.c_ld) = (n, n);
                    op.longest_row = row_ptr.windows(2).map(|ends| (ends[1] - ends[0]) as usize).max();
                    let result = vec![0; rows * n];
                    let words = vec![
                        row_ptr.clone(),
                        columns,
                        floats(values, values.len()),
                        floats(x, n),
                        result,
                    ];
                    return (Box::new(op), words);
                }
                let types = [if narrow { U16 } else { U32 }, dtype, F32];
                let mut op = Spmv::new(rows, cols, col_idx.len(), types);
                op.longest_row = row_ptr.windows(2).map(|ends| (ends[1] - ends[0]) as usize).max();
                let words = vec![
                    row_ptr.clone(),
                    columns,
                    floats(values, values.len()),
                    bits(x),
                    vec![0; rows],
                ];
                (Box::new(op), words)
            }
            _ => unreachable!("data and shape are made together"),
        }
    }

    /// Where the result stands among fewbit's operands.
    pub fn result_operand(&self) -> usize {
        match self.data {
            Data::Dense { .. } => 2,
            Data::Sparse { .. } => 4,
        }
    }

    /// Products times two.
    pub fn flops(&self) -> f64 {
        match (&self.data, self.case.shape) {
            (Data::Sparse { values, .. }, Shape::Sparse { n, .. }) => 2.0 * values.len() as f64 * n as f64,
            (_, Shape::Matmul { m, n, k }) => 2.0 * m as f64 * n as f64 * k as f64,
            _ => 0.0,
        }
    }

    /// The largest difference of two results as a share of what is allowed: each f32 sum of K products in any
    /// order is within K 2^-23 sum |a b| of the truth (2^-23, not 2^-24: bf16 units may return either neighbour),
    /// and by Cauchy and Schwarz that sum is at most |a| |b|. NaN anywhere is infinitely wrong.
    pub fn worst(&self, one: &[f32], other: &[f32]) -> f64 {
        self.bounds()
            .zip(one.iter().zip(other))
            .map(|(bound, (one, other))| {
                let difference = (f64::from(*one) - f64::from(*other)).abs();
                match difference {
                    0.0 => 0.0,
                    d if d.is_nan() => f64::INFINITY,
                    d => d / (2.0 * bound),
                }
            })
            .fold(
                if one.len() == other.len() {
                    0.0
                } else {
                    f64::INFINITY
                },
                f64::max,
            )
    }

    /// How far fewbit's result is from sums in f64, for a few elements spread over it, as a share of the bound.
    pub fn truth(&self, result: &[f32]) -> f64 {
        let places = (0..64).map(|i| i * result.len() / 64);
        let bounds: Vec<f64> = self.bounds().collect();
        places
            .map(|place| {
                let want: f64 = match (&self.data, self.case.shape) {
                    (Data::Dense { a, b }, Shape::Matmul { n, k, .. }) => {
                        let (row, column) = (&a[place / n * k..][..k], &b[place % n * k..][..k]);
                        row.iter()
                            .zip(column)
                            .map(|(a, b)| f64::from(*a) * f64::from(*b))
                            .sum()
                    }
                    (
                        Data::Sparse {
                            row_ptr,
                            col_idx,
                            values,
                            x,
                        },
                        Shape::Sparse { n, .. },
                    ) => (row_ptr[place / n]..row_ptr[place / n + 1])
                        .map(|entry| entry as usize)
                        .map(|entry| {
                            f64::from(values[entry]) * f64::from(x[col_idx[entry] as usize * n + place % n])
                        })
                        .sum(),
                    _ => unreachable!("data and shape are made together"),
                };
                match (f64::from(result[place]) - want).abs() {
                    0.0 => 0.0,
                    d if d.is_nan() => f64::INFINITY,
                    d => d / bounds[place],
                }
            })
            .fold(0.0, f64::max)
    }

    /// For every element of the result, how far an f32 sum in any order may be from the truth.
    pub fn bounds(&self) -> impl Iterator<Item = f64> + '_ {
        const UNIT: f64 = 1.0 / (1u32 << 23) as f64;
        let lengths: Box<dyn Iterator<Item = f64>> = match (&self.data, self.case.shape) {
            (Data::Sparse { row_ptr, .. }, Shape::Sparse { n, .. }) => Box::new(
                row_ptr
                    .windows(2)
                    .flat_map(move |ends| std::iter::repeat_n(f64::from(ends[1] - ends[0]).max(1.0), n)),
            ),
            (_, Shape::Matmul { k, .. }) => Box::new(std::iter::repeat(k as f64)),
            _ => unreachable!("data and shape are made together"),
        };
        self.sizes()
            .zip(lengths)
            .map(|(size, length)| length * UNIT * size)
    }

    /// For every element of the result, what the sum of its products' magnitudes is at most.
    pub fn sizes(&self) -> Box<dyn Iterator<Item = f64> + '_> {
        let norm = |values: &[f32]| values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        match (&self.data, self.case.shape) {
            (Data::Dense { a, b }, Shape::Matmul { n, k, .. }) => {
                let rows: Vec<f64> = a.chunks(k).map(norm).collect();
                let columns: Vec<f64> = b.chunks(k).map(norm).collect();
                Box::new((0..rows.len() * n).map(move |place| rows[place / n] * columns[place % n]))
            }
            (
                Data::Sparse {
                    row_ptr,
                    col_idx,
                    values,
                    x,
                },
                Shape::Sparse { n, .. },
            ) => Box::new(row_ptr.windows(2).flat_map(move |ends| {
                let mut sums = vec![0.0; n];
                for entry in ends[0] as usize..ends[1] as usize {
                    let row = &x[col_idx[entry] as usize * n..][..n];
                    for (sum, x) in sums.iter_mut().zip(row) {
                        *sum += f64::from(values[entry] * x).abs();
                    }
                }
                sums
            })),
            _ => unreachable!("data and shape are made together"),
        }
    }
}
