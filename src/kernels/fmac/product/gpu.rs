use std::ops::Range;

use super::super::gpu::{Adder, drawn, roundings};
use super::{FmacMatmul, OP};
use crate::error::Result;
use crate::format::Rounding;
use crate::gpu::{Dispatch, Gpu, Permutation, Shader, Turns, Words, generator, looped, split_rows};
use crate::op::{Variant, Variants};

const FIRST: u32 = 1;
const LAST: u32 = 2;
const GROUP: u32 = 64;
/// Outputs of one invocation: rows and columns (fixed in the shader).
const ROWS: u32 = 4;
const COLS: u32 = 4;
/// Words that carry an invocation's sums from one dispatch to the next.
const TILE_WORDS: u64 = 16;

// SAFETY: loops go through `k`, of which A has a row or a column each, in steps of 8, through eight steps, four rows
// and the rows of a tile in steps of 1; no array.
static PRODUCT: Shader = unsafe {
    Shader::new(
        "fmac/product.wgsl",
        include_str!("../../../../shaders/fmac/product.wgsl"),
    )
    .trusted()
};

pub(in crate::kernels) static VARIANTS: Variants<FmacMatmul> = Variants(&[
    Variant {
        name: Adder::Float.variant(),
        serves: |_, gpu, _| Adder::Float.serves(gpu),
        rank: |_, _| 0,
        dispatches: |op, gpu, _| dispatches(op, gpu, Adder::Float),
        permutations: || permutations(Adder::Float),
    },
    Variant {
        name: Adder::Integer.variant(),
        serves: |_, gpu, _| Adder::Integer.serves(gpu),
        rank: |_, _| 1,
        dispatches: |op, gpu, _| dispatches(op, gpu, Adder::Integer),
        permutations: || permutations(Adder::Integer),
    },
]);

/// What one dispatch does.
struct Part {
    /// Products; only one if it does not take all rows of it.
    products: Range<u64>,
    /// Rows of each product.
    rows: Range<u64>,
    /// The steps of each sum: from one multiple of eight to another, or to the end.
    ks: Range<u64>,
}

impl Part {
    /// Of matrices that follow each other without a gap, `per` rows each: from the first product's first row of `rows`
    /// to the last one's last.
    fn span(&self, per: u64, rows: &Range<u64>) -> Range<u64> {
        let last = self.products.end - 1;
        self.products.start * per + rows.start..last * per + rows.end
    }

    /// Products and the rows of each.
    fn extents(&self) -> [u64; 2] {
        [&self.products, &self.rows].map(|range| range.end - range.start)
    }
}

fn tiles([products, rows]: [u64; 2], n: u64) -> u64 {
    products * rows.div_ceil(u64::from(ROWS)) * n.div_ceil(u64::from(COLS))
}

/// The turns of the kernel's loops: for eight k the step itself, the steps that end a chunk, and four rows of eight
/// steps in integers; at the end the rows.
fn turns(op: &FmacMatmul) -> Turns {
    let ends = if op.chunk > 1 { looped(8, 0) } else { 0 };
    Turns {
        fixed: 1 + looped(u64::from(ROWS), 0),
        per_slab: 1 + ends + looped(u64::from(ROWS), looped(8, 0)),
        slab: 8,
    }
}

pub(in crate::kernels::fmac) fn dispatches(
    op: &FmacMatmul,
    gpu: &Gpu,
    adder: Adder,
) -> Result<Vec<Dispatch>> {
    if op.empty() {
        return Ok(Vec::new());
    }
    let k = op.k as u64;
    let depth = k.min(turns(op).deepest(OP, gpu)?);
    let mut dispatches = Vec::new();
    for (products, rows) in parts(op, gpu, depth) {
        // K = 0 still writes C.
        for piece in 0..k.div_ceil(depth.max(1)).max(1) {
            let part = Part {
                products: products.clone(),
                rows: rows.clone(),
                ks: piece * depth..((piece + 1) * depth).min(k),
            };
            dispatches.push(dispatch(op, gpu, adder, &part)?);
        }
    }
    Ok(dispatches)
}

/// Products, and rows of each, of one dispatch or of those along K: whole products where one fits.
fn parts(op: &FmacMatmul, gpu: &Gpu, depth: u64) -> Vec<(Range<u64>, Range<u64>)> {
    let (batch, m, n, k) = (op.batch as u64, op.m as u64, op.n as u64, op.k as u64);
    let work_per_row = n * (depth + 1);
    let bytes = |rows: u64, row_words: u64| rows * row_words * 4;
    let [a_row, b_row, c_row] = op.views().map(|view| view.row_words());
    let (a_bytes, b_bytes) = (bytes(op.a_shape().0, a_row), bytes(op.b_shape().0, b_row));
    // Where K is cut, what lies between dispatches must fit a binding too.
    let sums = |rows: u64| match depth < k {
        true => tiles([1, rows], n) * TILE_WORDS * 4,
        false => 0,
    };
    let widest = a_bytes.max(b_bytes).max(bytes(m, c_row)).max(sums(m));
    let whole =
        m * work_per_row <= gpu.work_cap() && widest + 512 <= gpu.limits().max_storage_buffer_binding_size;
    if whole {
        let ranges = split_rows(gpu, batch, m * work_per_row, widest, 1);
        return ranges.into_iter().map(|products| (products, 0..m)).collect();
    }
    // A transposed A is seen whole by every run of rows.
    let a_row = if op.trans_a { 0 } else { a_row };
    let pair_bytes = bytes(2, a_row.max(c_row)).max(sums(2));
    // In pairs of rows: a column of a transposed A is half a word.
    let pairs = split_rows(
        gpu,
        m.div_ceil(2),
        2 * work_per_row,
        pair_bytes,
        u64::from(ROWS / 2),
    );
    let rows = |pairs: &Range<u64>| pairs.start * 2..(pairs.end * 2).min(m);
    (0..batch)
        .flat_map(|product| pairs.iter().map(move |pairs| (product..product + 1, rows(pairs))))
        .collect()
}

fn dispatch(op: &FmacMatmul, gpu: &Gpu, adder: Adder, part: &Part) -> Result<Dispatch> {
    let (m, n, k) = (op.m as u64, op.n as u64, op.k as u64);
    let [a, b, c] = op.views();
    let extents = part.extents();
    let [products, rows] = extents;
    let (ks, depth) = (&part.ks, part.ks.end - part.ks.start);
    // Pieces of K start at multiples of eight: at whole words where K lies along rows.
    let a_part = match op.trans_a {
        false => a.part(&part.span(m, &part.rows), ks),
        true => a.part(&part.span(k, ks), &part.rows),
    };
    let b_part = match op.trans_b {
        false => b.part(&part.span(k, ks), &(0..n)),
        true => b.part(&part.span(n, &(0..n)), ks),
    };
    let c_part = c.part(&part.span(m, &part.rows), &(0..n));
    let (starts, ends) = (ks.start == 0, ks.end == k);
    let sums = match starts && ends {
        true => Words::absent(),
        false => Words::scratch(0..tiles(extents, n) * TILE_WORDS),
    };
    let pipeline = gpu.pipeline(&permutation(op, adder))?;
    Ok(Dispatch::new(&pipeline)
        .set("batch", products)
        .set("rows", rows)
        .set("n", n)
        .set("k", depth)
        .set("a_ld", a.row_words())
        .set("b_ld", b.row_words())
        .set("c_ld", c.row_words())
        .set("chunk", op.chunk.min(u32::MAX as usize))
        .set("a_batch", op.a_shape().0 * a.row_words())
        .set("b_batch", op.b_shape().0 * b.row_words())
        .set("c_batch", m * c.row_words())
        .set("c_rows", m)
        .set_wide(
            ["base_lo", "base_hi"],
            op.draw.index((part.products.start * m + part.rows.start) * n),
        )
        .set("stream", op.draw.stream)
        .set("first_k", ks.start)
        .set(
            "flags",
            if starts { FIRST } else { 0 } | if ends { LAST } else { 0 },
        )
        .bind("a", Words::of("a", a_part))
        .bind("b", Words::of("b", b_part))
        .bind("c", Words::of("c", c_part))
        .bind("sums", sums)
        .linear_groups(gpu, tiles(extents, n).div_ceil(u64::from(GROUP)))
        .work(products * rows * n * (depth + 1))
        .turns(turns(op).of(depth)))
}

fn permutation(op: &FmacMatmul, adder: Adder) -> Permutation {
    Permutation::new(&PRODUCT)
        .fill("generator", generator(drawn(op.rounding, &op.draw)))
        .constant("GROUP", GROUP)
        .constant("INTEGER", adder == Adder::Integer)
        .constant("STOCHASTIC", op.rounding == Rounding::Stochastic)
        .constant("CHUNKED", op.chunk > 1)
        .constant("TRANS_A", op.trans_a)
        .constant("TRANS_B", op.trans_b)
        .constant("ADD_C", op.add_c)
}

fn permutations(adder: Adder) -> Vec<Permutation> {
    let mut all = Vec::new();
    for (rounding, draw) in roundings() {
        for bits in 0..16 {
            let bit = |i: u32| (bits >> i) & 1 == 1;
            let op = FmacMatmul {
                chunk: if bit(0) { 2 } else { 1 },
                trans_a: bit(1),
                trans_b: bit(2),
                add_c: bit(3),
                ..FmacMatmul::new(1, 1, 1).with_rounding(rounding, draw)
            };
            all.push(permutation(&op, adder));
        }
    }
    all
}
