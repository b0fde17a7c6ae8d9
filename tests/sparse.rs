//! Sparse matrices on the host, pruning, and sparse and block tensors through the high door.

#![cfg(feature = "compress")]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;
#[path = "common/hints.rs"]
mod hints;

use common::{Suite, gpu, open};

use fewbit::check::data::Source;
use fewbit::compress::{Amount, Magnitude, Mask, PruningMethod, prune};
use fewbit::cpu::Cpu;
use fewbit::format::Format;
use fewbit::format::Rounding;
use fewbit::format::random::Draw;
use fewbit::gpu::StepValues;
use fewbit::kernels::{Decode, MatmulOptions};
use fewbit::op::{Arg, Args, Op};
use fewbit::tensor::{Csr, DType};
use fewbit::{Device, Error};
use proptest::prelude::*;

fn main() {
    Suite::new()
        .cpu("bad_matrices_are_typed_errors", bad_matrices_are_typed_errors)
        .cpu(
            "dense_and_back_drops_zeros_of_either_sign_and_keeps_nan",
            dense_and_back_drops_zeros_of_either_sign_and_keeps_nan,
        )
        .cpu(
            "pruning_follows_the_written_rules",
            pruning_follows_the_written_rules,
        )
        .cpu("a_custom_heuristic_decides", a_custom_heuristic_decides)
        .cpu(
            "decoding_leaves_what_lies_past_its_rows",
            decoding_leaves_what_lies_past_its_rows,
        )
        .cpu("pruning_equals_a_sort", pruning_equals_a_sort)
        .cpu("csr_round_trips", csr_round_trips)
        .cpu("a_pruned_layer_multiplies_on_the_host", || {
            a_pruned_layer_multiplies(host())
        })
        .gpu("a_pruned_layer_multiplies_on_a_gpu", || {
            a_pruned_layer_multiplies(vec![Device::checked(Device::from_gpu(gpu()))])
        })
        .cpu("block_tensors_encode_decode_and_multiply_on_the_host", || {
            block_tensors_encode_decode_and_multiply(host())
        })
        .gpu(
            "understated_rows_are_right_or_nan",
            understated_rows_are_right_or_nan,
        )
        .gpu("block_tensors_encode_decode_and_multiply_on_a_gpu", || {
            block_tensors_encode_decode_and_multiply(vec![Device::checked(Device::from_gpu(gpu()))])
        })
        .run();
}

fn host() -> Vec<Device> {
    vec![Device::checked(Device::cpu()), Device::reference()]
}

fn bad_matrices_are_typed_errors() {
    let new = |row_ptr: &[u32], col_idx: &[u32], values: usize| {
        Csr::new(2, 3, row_ptr.to_vec(), col_idx.to_vec(), vec![1.0; values])
    };
    assert!(new(&[0, 1, 2], &[0, 2], 2).is_ok());
    assert!(matches!(
        new(&[0, 2], &[0, 2], 2),
        Err(Error::Dimension {
            dimension: "rows + 1",
            ..
        })
    ));
    assert!(matches!(
        new(&[0, 1, 2], &[0], 2),
        Err(Error::Dimension {
            dimension: "entries",
            ..
        })
    ));
    assert!(matches!(
        new(&[0, 1, 1], &[0, 2], 2),
        Err(Error::Dimension {
            dimension: "entries",
            ..
        })
    ));
    assert!(matches!(
        new(&[0, 3, 2], &[0, 2], 2),
        Err(Error::Value { what: "row_ptr", .. })
    ));
    assert!(matches!(
        new(&[1, 1, 2], &[0, 2], 2),
        Err(Error::Value { what: "row_ptr", .. })
    ));
    assert!(matches!(
        new(&[0, 1, 2], &[0, 3], 2),
        Err(Error::Limit {
            value: 3,
            limit: 2,
            ..
        })
    ));
    let wide = Csr::new(1, 70_000, vec![0, 0], vec![], vec![]).unwrap();
    assert!(matches!(
        wide.words(DType::U16, DType::F32),
        Err(Error::Limit { limit: 65_536, .. })
    ));
}

fn dense_and_back_drops_zeros_of_either_sign_and_keeps_nan() {
    let dense = [0.0, -0.0, 1.5, f32::NAN, 0.0, -2.0];
    let csr = Csr::from_dense(2, 3, &dense).unwrap();
    assert_eq!(csr.row_ptr(), [0, 1, 3]);
    assert_eq!(csr.col_idx(), [2, 0, 2]);
    let back = csr.to_dense().unwrap();
    assert!(back[3].is_nan() && back[2] == 1.5 && back[5] == -2.0 && back[0] == 0.0);
    // Duplicates add up, in any order, and survive a transposition.
    let twice = Csr::new(1, 4, vec![0, 3], vec![3, 1, 3], vec![1.0, 2.0, 4.0]).unwrap();
    assert_eq!(twice.to_dense().unwrap(), [0.0, 2.0, 0.0, 5.0]);
    assert_eq!(twice.transpose().unwrap().values(), [2.0, 1.0, 4.0]);
    let there_and_back = twice.transpose().unwrap().transpose().unwrap();
    assert_eq!(there_and_back.to_dense().unwrap(), twice.to_dense().unwrap());
}

fn pruning_follows_the_written_rules() {
    let values = [3.0, -0.0, f32::NAN, -1.0, 0.0, f32::INFINITY, 1.0];
    let mut mask = Mask::full(7);
    // Half of 7 is 3.5: to even, 4. Both zeros, then the two ones by index.
    prune(&Magnitude, Amount::Fraction(0.5), &values, &mut mask).unwrap();
    assert_eq!(mask.kept(), [true, false, true, false, false, true, false]);
    // A second call sees only what is kept; NaN goes last.
    prune(&Magnitude, Amount::Count(2), &values, &mut mask).unwrap();
    assert_eq!(mask.kept(), [false, false, true, false, false, false, false]);
    let before = mask.clone();
    assert!(matches!(
        prune(&Magnitude, Amount::Count(2), &values, &mut mask),
        Err(Error::Limit {
            value: 2,
            limit: 1,
            ..
        })
    ));
    for share in [-0.1, 1.1, f64::NAN] {
        assert!(matches!(
            prune(&Magnitude, Amount::Fraction(share), &values, &mut mask),
            Err(Error::Value { .. })
        ));
    }
    assert_eq!(mask, before, "an error leaves the mask alone");
    let mut pruned = [-1.0f32; 7];
    mask.apply(&mut pruned).unwrap();
    assert_eq!(pruned[0].to_bits(), 0, "pruned elements are +0");
    assert!(matches!(mask.apply(&mut [0.0; 3]), Err(Error::Dimension { .. })));
}

struct LastFirst;

impl PruningMethod for LastFirst {
    fn scores(&self, values: &[f32]) -> Vec<u32> {
        (0..values.len() as u32).rev().collect()
    }
}

fn a_custom_heuristic_decides() {
    let mut mask = Mask::full(4);
    prune(&LastFirst, Amount::Count(1), &[9.0, 0.0, 0.0, 5.0], &mut mask).unwrap();
    assert_eq!(mask.kept(), [true, true, true, false]);
}

proptest! {
    fn pruning_equals_a_sort(bits in prop::collection::vec(any::<u32>(), 0..200), share in 0.0..=1.0f64) {
        let values: Vec<f32> = bits.iter().map(|&bits| f32::from_bits(bits % 97 * 0x0123_4567)).collect();
        let mut mask = Mask::full(values.len());
        prune(&Magnitude, Amount::Fraction(share), &values, &mut mask).unwrap();
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by_key(|&i| (values[i].to_bits() & 0x7fff_ffff, i));
        let count = (share * values.len() as f64).round_ties_even() as usize;
        for (rank, &i) in order.iter().enumerate() {
            prop_assert_eq!(mask.kept()[i], rank >= count);
        }
    }

    fn csr_round_trips(rows in 0usize..9, cols in 0usize..9, seed in any::<u64>()) {
        let mut source = Source::new(seed);
        let dense: Vec<f32> =
            (0..rows * cols).map(|_| if source.below(3) == 0 { source.unit() } else { 0.0 }).collect();
        let csr = Csr::from_dense(rows, cols, &dense).unwrap();
        prop_assert_eq!(csr.to_dense().unwrap(), dense.clone());
        prop_assert_eq!(csr.transpose().unwrap().transpose().unwrap(), csr.clone());
        let stats = csr.row_stats();
        prop_assert_eq!(stats.max, csr.row_ptr().windows(2).map(|p| (p[1] - p[0]) as usize).max().unwrap_or(0));
    }
}

fn a_pruned_layer_multiplies(devices: Vec<Device>) {
    let mut source = Source::new(5);
    let weights: Vec<f32> = (0..40 * 60).map(|_| source.small_integer()).collect();
    let mut mask = Mask::full(weights.len());
    prune(&Magnitude, Amount::Fraction(0.9), &weights, &mut mask).unwrap();
    let csr = mask.to_csr(40, 60, &weights).unwrap();
    assert!(csr.nnz() <= 240);
    let x: Vec<f32> = (0..60).map(|_| source.small_integer()).collect();
    let dense = csr.to_dense().unwrap();
    let want: Vec<f32> = dense
        .chunks(60)
        .map(|row| row.iter().zip(&x).map(|(a, b)| a * b).sum())
        .collect();
    for device in devices {
        for (index, values) in [(DType::U32, DType::F32), (DType::U16, DType::Bf16)] {
            let a = device.from_csr(&csr, index, values).unwrap();
            let x = device.from_f32(&[60], &x).unwrap();
            let y = device.spmv(&a, &x).unwrap();
            assert_eq!(y.read_blocking().unwrap(), want, "{}", device.describe());
            assert!(matches!(device.spmv(&x, &x), Err(Error::Shape { .. })));
            let short = device.from_f32(&[3], &[0.0; 3]).unwrap();
            assert!(matches!(device.spmv(&a, &short), Err(Error::Dimension { .. })));
        }
    }
}

/// A hint that says too little of the longest row costs no entry silently: what the row makes is right, or NaN.
fn understated_rows_are_right_or_nan() {
    assert_eq!(hints::lost(&open()).unwrap(), None);
}

fn block_tensors_encode_decode_and_multiply(devices: Vec<Device>) {
    let format = Format::bfp(16, 8).unwrap();
    let mut source = Source::new(6);
    let mut values = |len: usize| -> Vec<f32> { (0..len).map(|_| source.small_integer()).collect() };
    let (a, b) = (values(5 * 50), values(7 * 50));
    for device in devices {
        let tensor = |shape: &[usize], values| {
            let dense = device.from_f32(shape, values).unwrap();
            device
                .encode(&dense, format, Rounding::Nearest, Draw::default())
                .unwrap()
        };
        let (a_block, b_block) = (tensor(&[5, 50], &a), tensor(&[7, 50], &b));
        let back = device.decode(&a_block, DType::F32).unwrap();
        assert_eq!(
            back.read_blocking().unwrap(),
            a,
            "small integers survive 8 bits on {}",
            device.describe()
        );
        let mut transposed = MatmulOptions::default();
        transposed.transpose_b = true;
        let c = device
            .matmul_with(&a_block, &b_block, None, &transposed)
            .unwrap()
            .read_blocking()
            .unwrap();
        for (i, c) in c.iter().enumerate() {
            let (row, col) = (i / 7, i % 7);
            let want: f32 = (0..50).map(|k| a[row * 50 + k] * b[col * 50 + k]).sum();
            assert_eq!(*c, want, "{row}, {col} on {}", device.describe());
        }
        // Blocks of another size beside them, and weights as they are.
        let other = Format::bfp(32, 8).unwrap();
        let dense = device.from_f32(&[7, 50], &b).unwrap();
        let blocks = device
            .encode(&dense, other, Rounding::Nearest, Draw::default())
            .unwrap();
        for b in [&blocks, &dense] {
            let mixed = device.matmul_with(&a_block, b, None, &transposed).unwrap();
            assert_eq!(mixed.read_blocking().unwrap(), c, "{}", device.describe());
        }
        // Rows of codes that do not lie along K.
        let wrong = device.matmul(&a_block, &blocks);
        assert!(
            matches!(
                wrong,
                Err(Error::Dimension { dimension: "K", .. } | Error::Axis { operand: "b", .. })
            ),
            "{wrong:?}"
        );
        let square = device.from_f32(&[50, 50], &vec![1.0; 2500]).unwrap();
        let square = device
            .encode(&square, format, Rounding::Nearest, Draw::default())
            .unwrap();
        let wrong = device.matmul(&a_block, &square);
        assert!(
            matches!(wrong, Err(Error::Axis { operand: "b", .. })),
            "{wrong:?}"
        );
    }
}

fn decoding_leaves_what_lies_past_its_rows() {
    const COLS: usize = 40_000;
    let op = Decode::new(1, COLS, Format::bfp(16, 8).unwrap(), DType::F32);
    assert_eq!(op.dst_ld, COLS);
    let zeros = |at: usize| vec![0u32; op.operands()[at].words as usize];
    let (codes, exponents, mut dst) = (zeros(0), zeros(1), vec![7; 4 * COLS]);
    let operands = vec![Arg::Read(&codes), Arg::Read(&exponents), Arg::Write(&mut dst)];
    let cpu = Cpu::available().pop().unwrap();
    op.cpu(&cpu, Args::new(operands, StepValues::default())).unwrap();
    assert!(dst[..COLS].iter().all(|word| *word == 0));
    assert!(dst[COLS..].iter().all(|word| *word == 7));
}
