//! Sparse products of buffers that hold no matrix: they end, write what is theirs alone, and leave the device as it was.

use fewbit::check::data::Source;
use fewbit::gpu::{Gpu, Offsets, PlanRequest};
use fewbit::kernels::{Spmm, Spmv};
use fewbit::op::Op;
use fewbit::op::run::on_gpu_blocking;
use fewbit::tensor::DType::{self, Bf16, F32, U16, U32};
use fewbit::tensor::HostBuffer;
use libtest_mimic::Failed;

/// What stands behind every operand, and must stay.
const GUARD: u32 = 0xfee1_dead;
const GUARDS: usize = 16;

/// Rows, columns and entries: of few rows, of several shares of the merge path, of long rows, of nothing.
const SHAPES: [[usize; 3]; 6] = [
    [5, 7, 20],
    [300, 1000, 9000],
    [7000, 90, 4000],
    [2, 500, 5000],
    [40, 1, 0],
    [9, 0, 30],
];

/// What row_ptr holds: `at` of `rows` rows of a matrix of `nnz` entries.
type Ends = fn(&mut Source, at: usize, rows: usize, nnz: usize) -> u32;
const ENDS: [(&str, Ends); 8] = [
    ("a matrix's ends", |_, at, rows, nnz| (at * nnz / rows) as u32),
    ("any words", |source, _, _, _| source.bits()),
    ("all ones", |_, _, _, _| u32::MAX),
    ("zeros", |_, _, _, _| 0),
    ("decreasing", |_, at, rows, nnz| ((rows - at) * nnz / rows) as u32),
    ("inside, in no order", |source, _, _, nnz| {
        source.below(nnz as u32 + 1)
    }),
    ("past the entries", |_, at, rows, nnz| {
        (nnz + at * nnz / rows) as u32
    }),
    ("around 2^32", |_, at, _, _| {
        0u32.wrapping_sub(200).wrapping_add(7 * at as u32)
    }),
];

/// All of it, or each kind of ends with every shape, of types that take turns.
pub(crate) fn all(whole: bool) -> Result<(), Failed> {
    for weak in [false, true] {
        let gpu = super::open(weak)?;
        for checked in [false, true] {
            gpu.set_checked_shaders(checked);
            for (at, (kind, ends)) in ENDS.iter().enumerate() {
                for (number, shape) in SHAPES.into_iter().enumerate() {
                    for (turn, types) in [[U32, F32, F32], [U16, Bf16, Bf16]].into_iter().enumerate() {
                        if !whole && (at + number + usize::from(checked)) % 2 != turn {
                            continue;
                        }
                        // Small devices cut large products into thousands of dispatches.
                        if weak && (shape[2] > 5000 || at % 3 > 0) {
                            continue;
                        }
                        run(&gpu, shape, types, *ends).map_err(|error| {
                            format!("{kind}, {shape:?}, {types:?}, checked {checked}: {error}")
                        })?;
                    }
                }
            }
        }
        still_right(&gpu)?;
    }
    Ok(())
}

/// Both products of such buffers, on every variant.
fn run(gpu: &Gpu, [rows, cols, nnz]: [usize; 3], types: [DType; 3], ends: Ends) -> Result<(), String> {
    const N: usize = 11;
    let [index, values, dense] = types;
    let mut source = Source::new((rows * 31 + nnz) as u64);
    let row_ptr: Vec<u32> = (0..=rows).map(|at| ends(&mut source, at, rows, nnz)).collect();
    let mut words = |count: u64| -> Vec<u32> { (0..count).map(|_| source.bits()).collect() };
    let half = |dtype: DType, count: usize| dtype.words(count as u64);
    // Column indices of any bits too.
    let (col_idx, values_of) = (words(half(index, nnz)), words(half(values, nnz)));
    let spmv = Spmv::new(rows, cols, nnz, [index, values, dense]);
    let spmm = Spmm::new(rows, cols, nnz, N, [index, values, dense, F32]);
    for op in [&spmv as &dyn Op, &spmm] {
        let specs = op.operands();
        let mut operands = vec![row_ptr.clone(), col_idx.clone(), values_of.clone()];
        operands.extend(specs[3..].iter().map(|spec| words(spec.words)));
        for operand in &mut operands {
            operand.extend([GUARD; GUARDS]);
        }
        let before = operands
            .iter()
            .map(|words| HostBuffer::from_words(words))
            .collect::<fewbit::Result<Vec<_>>>()
            .map_err(|error| error.to_string())?;
        for variant in op.variants(gpu, Offsets::Any) {
            let request = PlanRequest::default().variant(variant).offsets(Offsets::Any);
            let said = |what: String| format!("{} {variant}: {what}", op.name());
            let ran =
                on_gpu_blocking(gpu, op, &request, &before, 5).map_err(|error| said(error.to_string()))?;
            for ((spec, before), after) in specs.iter().zip(&operands).zip(&ran.operands) {
                let kept = if spec.is_written() { spec.words as usize } else { 0 };
                if before[kept..] != after.words()[kept..] {
                    return Err(said(format!("{} was written outside of the result", spec.name)));
                }
            }
        }
    }
    Ok(())
}

/// The device is not lost, and multiplies.
fn still_right(gpu: &Gpu) -> Result<(), Failed> {
    let op = Spmv::new(2, 2, 2, [U32, F32, F32]);
    let (one, two) = (1f32.to_bits(), 2f32.to_bits());
    let operands = [
        vec![0, 1, 2],
        vec![1, 0],
        vec![two, one],
        vec![one, two],
        vec![0, 0],
    ];
    let operands = operands
        .iter()
        .map(|words| HostBuffer::from_words(words))
        .collect::<fewbit::Result<Vec<_>>>()?;
    let ran = on_gpu_blocking(gpu, &op, &PlanRequest::default(), &operands, 0)?;
    match ran.operands[4].words() == [4f32.to_bits(), one] {
        true => Ok(()),
        false => Err(format!("{:?}", ran.operands[4].words()).into()),
    }
}
