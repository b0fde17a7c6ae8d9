//! Sparse products.

use super::{Rng, gamma, levels, nearest, widen};
use fewbit::cpu::{CpuError, Data};
use fewbit::kernels::{Columns, CsrSlices as Csr, spmv_slices as spmv};

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
                let bits: Vec<u16> = values.iter().map(|&x| nearest(x)).collect();
                let narrow: Vec<u16> = columns.iter().map(|&c| c as u16).collect();
                let mut x: Vec<f32> = (0..cols)
                    .map(|_| if integers { rng.small() } else { rng.unit() } as f32)
                    .collect();
                if !integers && cols > 700 {
                    // Only rows with an entry there may see it.
                    x[0] = f32::INFINITY;
                }
                for variant in 0..4 {
                    let a = Csr {
                        row_ptr: &ptr,
                        columns: if variant & 1 == 0 {
                            Columns::U32(&columns)
                        } else {
                            Columns::U16(&narrow)
                        },
                        values: if variant & 2 == 0 {
                            Data::F32(&values)
                        } else {
                            Data::Bf16(&bits)
                        },
                    };
                    let (mut y, mut z) = (vec![f32::NAN; rows], vec![f32::NAN; rows]);
                    spmv(&one, a, &x, &mut y).unwrap();
                    spmv(&two, a, &x, &mut z).unwrap();
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

#[test]
fn spmv_refuses_bad_matrices() {
    for cpu in levels() {
        let (ptr, columns, values) = ([0, 2, 20], [1_u32; 20], [1.0; 20]);
        let run = |ptr: &[u32], columns: &[u32], x: &[f32]| {
            let a = Csr {
                row_ptr: ptr,
                columns: Columns::U32(columns),
                values: Data::F32(&values),
            };
            spmv(&cpu, a, x, &mut [0.0; 2])
        };
        assert_eq!(run(&ptr, &columns, &[1.0; 2]), Ok(()));
        for at in [0, 1, 2, 9, 19] {
            for bad in [2, 1 << 31, u32::MAX] {
                let mut columns = columns;
                columns[at] = bad;
                let want = Err(CpuError::ColumnIndex {
                    first: 0,
                    end: 2,
                    columns: 2,
                });
                assert_eq!(run(&ptr, &columns, &[1.0; 2]), want);
            }
        }
        assert_eq!(
            run(&[0, 21, 20], &columns, &[1.0; 2]),
            Err(CpuError::RowPointer { row: 1 })
        );
        assert_eq!(
            run(&[1, 2, 20], &columns, &[1.0; 2]),
            Err(CpuError::RowPointer { row: 0 })
        );
        assert_eq!(
            run(&[0, 2, 19], &columns, &[1.0; 2]),
            Err(CpuError::RowPointer { row: 2 })
        );
        assert!(matches!(
            run(&[0, 20], &columns, &[1.0; 2]),
            Err(CpuError::Length {
                operand: "row_ptr",
                ..
            })
        ));
    }
}
