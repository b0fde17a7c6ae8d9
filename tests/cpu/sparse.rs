//! Sparse products.

use super::{Rng, gamma, levels, nearest, widen};
use fewbit::Error;
use fewbit::cpu::Cpu;
use fewbit::gpu::StepValues;
use fewbit::kernels::{Spmm, Spmv};
use fewbit::op::{Arg, Args, Op};
use fewbit::tensor::DType;

/// A matrix's words: row pointers, columns, values.
pub(crate) type Words = [Vec<u32>; 3];

/// The words of a matrix, with columns and values packed into halves or not.
pub(crate) fn words(ptr: &[u32], columns: &[u32], values: &[f32], types: [DType; 2]) -> Words {
    let halves = |halves: Vec<u16>| -> Vec<u32> {
        let word = |pair: &[u16]| u32::from(pair[0]) | u32::from(*pair.get(1).unwrap_or(&0)) << 16;
        halves.chunks(2).map(word).collect()
    };
    let columns = match types[0] {
        DType::U16 => halves(columns.iter().map(|&column| column as u16).collect()),
        _ => columns.to_vec(),
    };
    let values = match types[1] {
        DType::Bf16 => halves(values.iter().map(|&value| nearest(value)).collect()),
        _ => values.iter().map(|value| value.to_bits()).collect(),
    };
    [ptr.to_vec(), columns, values]
}

/// `rows` x `cols` elements, `nnz` of them stored, times an f32 vector.
pub(crate) fn product(rows: usize, cols: usize, nnz: usize, [index, values]: [DType; 2]) -> Spmv {
    Spmv::new(rows, cols, nnz, [index, values, DType::F32])
}

/// Runs a product on the CPU device, or on the reference.
pub(crate) fn run(
    cpu: Option<&Cpu>,
    op: &dyn Op,
    a: &Words,
    right: &[f32],
    out: &mut [f32],
) -> fewbit::Result<()> {
    let mut operands: Vec<_> = a.iter().map(|words| Arg::Read(words)).collect();
    operands.push(Arg::Read(bytemuck::cast_slice(right)));
    operands.push(Arg::Write(bytemuck::cast_slice_mut(out)));
    let args = Args::new(operands, StepValues::default());
    match cpu {
        Some(cpu) => op.cpu(cpu, args),
        None => op.reference(args),
    }
}

pub(crate) fn csr(
    rng: &mut Rng,
    rows: usize,
    cols: usize,
    length: impl Fn(usize) -> usize,
    integers: bool,
) -> (Vec<u32>, Vec<u32>, Vec<f32>) {
    let (mut ptr, mut columns, mut values) = (vec![0], vec![], vec![]);
    for row in 0..rows {
        for _ in 0..length(row) {
            columns.push(rng.below(cols) as u32);
            let value = if integers { rng.small() } else { rng.unit() } as f32;
            values.push(widen(nearest(value)) as f32);
        }
        ptr.push(columns.len() as u32);
    }
    (ptr, columns, values)
}

#[test]
fn spmv_every_type() {
    type Length = Box<dyn Fn(usize) -> usize>;
    for cpu in levels() {
        let (one, two) = (cpu.with_threads(1).unwrap(), cpu.with_threads(2).unwrap());
        let mut rng = Rng(3);
        let cases: Vec<(usize, usize, Length)> = vec![
            (0, 5, Box::new(|_| 0)),
            (1, 1, Box::new(|_| 1)),
            (5, 3, Box::new(|_| 0)),
            (100, 50, Box::new(|row| row)),
            (
                3000,
                777,
                Box::new(|row| if row % 3 == 0 { 0 } else { 13 + row % 40 }),
            ),
            // Long rows first, last and side by side: threads share each.
            (
                6,
                900,
                Box::new(|row| {
                    if [0, 3, 4, 5].contains(&row) {
                        70_000 + row
                    } else {
                        3
                    }
                }),
            ),
            (300, 9000, Box::new(|row| if row == 150 { 80_000 } else { 2 })),
        ];
        for (rows, cols, length) in cases {
            for integers in [true, false] {
                let (ptr, columns, values) = csr(&mut rng, rows, cols, &length, integers);
                let mut x: Vec<f32> = (0..cols)
                    .map(|_| if integers { rng.small() } else { rng.unit() } as f32)
                    .collect();
                if !integers && cols > 700 {
                    // Only rows with an entry there may see it.
                    x[0] = f32::INFINITY;
                }
                for variant in 0..4 {
                    let index = [DType::U32, DType::U16][variant & 1];
                    let types = [index, [DType::F32, DType::Bf16][variant >> 1]];
                    let a = words(&ptr, &columns, &values, types);
                    let op = product(rows, cols, columns.len(), types);
                    let (mut y, mut z) = (vec![f32::NAN; rows], vec![f32::NAN; rows]);
                    run(Some(&one), &op, &a, &x, &mut y).unwrap();
                    run(Some(&two), &op, &a, &x, &mut z).unwrap();
                    let as_bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                    assert_eq!(as_bits(&y), as_bits(&z));
                    for row in 0..rows {
                        let range = ptr[row] as usize..ptr[row + 1] as usize;
                        let (mut sum, mut abs, k) = (0.0, 0.0, range.len());
                        for e in range {
                            let product = f64::from(values[e]) * f64::from(x[columns[e] as usize]);
                            sum += product;
                            abs += product.abs();
                        }
                        if abs.is_infinite() {
                            assert!(!y[row].is_finite());
                            continue;
                        }
                        let bound = if integers {
                            0.0
                        } else {
                            gamma(2.0_f64.powi(-24), k) * abs
                        };
                        assert!(
                            (f64::from(y[row]) - sum).abs() <= bound || (sum.is_nan() && y[row].is_nan()),
                            "row {row} of {rows}: {} {sum} at {}",
                            y[row],
                            cpu.level()
                        );
                    }
                }
            }
        }
    }
}

/// Words need not form a matrix: on every device that can look at them that is a typed error, in both products.
#[test]
fn bad_matrices_are_refused() {
    let types = [DType::U32, DType::F32];
    let spmv = product(2, 2, 20, types);
    let [index, values] = types;
    let mut spmm = Spmm::new(2, 2, 20, 1, [index, values, DType::F32, DType::F32]);
    (spmm.b_ld, spmm.c_ld) = (1, 1);
    let hosts: Vec<_> = levels().into_iter().map(Some).chain([None]).collect();
    for (op, host) in [&spmv as &dyn Op, &spmm]
        .iter()
        .flat_map(|op| hosts.iter().map(move |host| (*op, host)))
    {
        let (ptr, columns, values) = ([0, 2, 20], [1_u32; 20], [1.0; 20]);
        let run = |ptr: &[u32], columns: &[u32]| {
            let a = words(ptr, columns, &values, types);
            run(host.as_ref(), op, &a, &[1.0; 2], &mut [0.0; 2])
        };
        assert!(run(&ptr, &columns).is_ok());
        for at in [0, 1, 2, 9, 19] {
            for bad in [2, 1 << 31, u32::MAX] {
                let mut columns = columns;
                columns[at] = bad;
                let error = run(&ptr, &columns).unwrap_err();
                let named = u64::from(bad);
                let right = matches!(&error, Error::Limit { what: "column index", value, limit: 1, .. } if *value == named);
                assert!(right, "{error}");
            }
        }
        for (bad, at) in [
            ([0, 21, 20], "20 at row 2"),
            ([1, 2, 20], "1 at row 0"),
            ([0, 2, 19], "19 at row 2"),
            ([0, 2, 21], "21 at row 2"),
        ] {
            let error = run(&bad, &columns).unwrap_err();
            let right = matches!(&error, Error::Value { what: "row_ptr", value, .. } if value == at);
            assert!(right, "{error}");
        }
        let short = run(&[0, 20], &columns);
        assert!(matches!(
            short,
            Err(Error::TooSmall {
                operand: "row_ptr",
                ..
            })
        ));
    }
}
