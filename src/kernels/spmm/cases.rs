use crate::kernels::Spmm;
use crate::kernels::shared::csr_cases::Rows::{self, *};
use crate::kernels::shared::csr_cases::Values::{self, *};
use crate::kernels::shared::csr_cases::{dense, generate, sparse};
use crate::op::Effort::{self, Full, Quick};
use crate::op::{BenchCase, Case};
use crate::tensor::DType::{self, Bf16, F32, U16, U32};

/// Extents of a case: rows and columns of A, columns of B, and what the leading dimensions have beyond them.
type Shape = ([usize; 3], [usize; 2]);

const PLAIN: [DType; 4] = [U32, F32, F32, F32];
const PACKED: [DType; 4] = [U16, Bf16, Bf16, Bf16];

/// As those of spmv; Miri takes the small ones.
pub(crate) fn cases(most: Effort) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |effort, shape: Shape, fill, types, values| {
        let large = shape.0[0].max(shape.0[1]) > 100 || matches!(fill, Regular(1000..));
        if effort <= most && !(cfg!(miri) && large) {
            cases.push(case(effort, shape, fill, types, values));
        }
    };
    for (extents, fill) in [
        ([0, 5, 3], Regular(2)),
        ([5, 0, 3], Regular(0)),
        ([3, 5, 0], Regular(2)),
        ([1, 1, 1], Regular(1)),
        ([33, 65, 7], Regular(0)),
        ([40, 50, 8], Banded(2)),
        ([60, 90, 17], PowerLaw),
        ([31, 64, 65], Holes(7)),
        ([20, 511, 33], OneFull),
        ([13, 200, 257], AroundLanes),
        ([9, 70, 520], Regular(67)),
        ([7, 30, 13], Regular(5)),
    ] {
        add(Quick, (extents, [0, 0]), fill, PLAIN, Unit);
        add(Quick, (extents, [3, 5]), fill, PLAIN, Integers);
        add(Quick, (extents, [2, 6]), fill, PACKED, Unit);
        add(Quick, (extents, [0, 0]), fill, PACKED, Integers);
    }
    for bits in 0..16 {
        let bit = |at: u32| bits >> at & 1 == 1;
        let float = |at| if bit(at) { Bf16 } else { F32 };
        let types = [if bit(3) { U16 } else { U32 }, float(2), float(1), float(0)];
        add(Quick, ([23, 57, 40], [8, 0]), Regular(11), types, Unit);
    }
    // As in spmv: as many entries as one part has at 256 turns; more than software adapters' turns, lengths unknown, known.
    add(Quick, ([2, 150, 3], [0, 0]), Regular(246), PLAIN, Integers);
    add(Quick, ([2, 150, 3], [3, 5]), Regular(70_000), PLAIN, Integers);
    add(Quick, ([2, 150, 3], [0, 0]), Regular(70_000), PACKED, Integers);
    add(Quick, ([50, 90, 24], [0, 0]), Regular(9), PLAIN, InfinitiesAside);
    // NaN, infinities, zeros and subnormals; rows of B and C far apart.
    for types in [PLAIN, PACKED, [U16, F32, Bf16, F32]] {
        add(Quick, ([40, 60, 19], [0, 0]), Holes(3), types, Awkward);
        add(Quick, ([30, 90, 24], [40, 100]), PowerLaw, types, Awkward);
        add(Quick, ([30, 90, 65], [131, 67]), Holes(5), types, Unit);
    }
    add(Full, ([1030, 1024, 520], [0, 0]), Tenth, PLAIN, Unit);
    add(Full, ([1030, 1024, 520], [0, 0]), Tenth, PACKED, Unit);
    // More rows than one dispatch dimension has workgroups.
    add(Full, ([70_001, 300, 9], [0, 0]), Holes(2), PLAIN, Unit);
    cases
}

/// What is measured at size `n`: one element in ten of 4n x 4n, times 256 columns.
pub(crate) fn bench(n: usize) -> Vec<BenchCase> {
    let types = [PLAIN, [U16, Bf16, Bf16, F32]];
    types.map(|types| later([4 * n, 4 * n, 256], types)).into()
}

/// What is measured beside that: odd shapes, a single row, a single column of B, and a tiny product.
pub(crate) fn awkward(n: usize) -> Vec<BenchCase> {
    let n = 4 * n;
    let shapes = [[n + 1, n - 1, 127], [1, n, 256], [n, n, 1], [5, 30, 3]];
    shapes.map(|extents| later(extents, PLAIN)).into()
}

/// A matrix that is made when it is measured: how many entries it has is known only then.
fn later(extents: [usize; 3], types: [DType; 4]) -> BenchCase {
    let make = move || case(Full, (extents, [0, 0]), Tenth, types, Unit);
    BenchCase::new("spmm", make)
}

fn case(effort: Effort, shape: Shape, fill: Rows, types: [DType; 4], values: Values) -> Case {
    let ([rows, cols, n], pad) = shape;
    let [index, value, b, c] = types;
    let ld = |dtype: DType, pad: usize| (n + pad).next_multiple_of(dtype.row_multiple());
    let (b_ld, c_ld) = (ld(b, pad[0]), ld(c, pad[1]));
    let made = move || generate(rows, cols, fill, [index, value, F32], values);
    let a = sparse(rows, cols, fill, [index, value, F32], values);
    let mut op = Spmm::of(a, n, (b, b_ld), (c, c_ld));
    // Where it is not known, each row may be as long as all together.
    op.longest_row = op.longest_row.filter(|_| pad == [0, 0]);
    Case::new(effort, op, move || {
        let [row_ptr, col_idx, entries, x] = made();
        let b = dense(&op.b(), &x, values, (rows + 7 * n) as u64);
        vec![row_ptr, col_idx, entries, b, Vec::new()]
    })
}
