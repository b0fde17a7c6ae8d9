use super::{BfpMatmul, OP};
use crate::error::{Error, Result};
use crate::format::Rounding;
use crate::format::random::Generator;
use crate::gpu::{Dispatch, Gpu, Permutation, Shader, Words, generator, looped, split_rows};
use crate::op::{Variant, Variants};
use crate::tensor::DType;

const GROUP: u32 = 64;

static PRODUCT: Shader = Shader::new(
    "bfp/product.wgsl",
    include_str!("../../../../shaders/bfp/product.wgsl"),
);

pub(in crate::kernels) static VARIANTS: Variants<BfpMatmul> = Variants(&[Variant {
    name: "tiles",
    serves: |_, _, _| true,
    rank: |_, _| 0,
    dispatches: |op, gpu, _| dispatches(op, gpu),
    permutations: || {
        vec![
            permutation(DType::F32, Rounding::Nearest, Generator::Threefry),
            permutation(DType::Bf16, Rounding::Nearest, Generator::Threefry),
            permutation(DType::Bf16, Rounding::Stochastic, Generator::Threefry),
            permutation(DType::Bf16, Rounding::Stochastic, Generator::Philox),
        ]
    },
}]);

/// The turns of the kernel's loops: the blocks, each by four codes at a time; then four rows of four columns, twice.
fn turns(op: &BfpMatmul) -> u64 {
    let fours = op.format.block().min(op.k as u32).div_ceil(4);
    let blocks = op.format.blocks_per_row(op.k) as u64;
    looped(blocks, looped(fours.into(), 0)) + looped(4, 2 * looped(4, 0))
}

fn dispatches(op: &BfpMatmul, gpu: &Gpu) -> Result<Vec<Dispatch>> {
    let [a_codes, a_exponents, b_codes, b_exponents] = op.blocks();
    let c = op.c();
    let (codes, exponents) = (a_codes.row_words(), a_exponents.row_words());
    let pipeline = gpu.pipeline(&permutation(op.out, op.rounding, op.draw.generator))?;
    let rows = if op.n == 0 { 0 } else { op.m as u64 };
    let mut dispatches = Vec::new();
    // Rows of B are C's columns: they are cut where they pass a binding, and what is left of the cap on work
    // is C's rows. Runs of both start at multiples of four.
    for cols in split_rows(gpu, op.n as u64, 1, codes * 4, 4) {
        let wide = cols.end - cols.start;
        if op.out == DType::Bf16 && cols.start % 2 == 1 {
            return Err(Error::Limit {
                op: OP,
                what: "bytes of four rows of B's codes",
                value: 16 * codes,
                limit: gpu.limits().max_storage_buffer_binding_size,
            });
        }
        let widest = codes.max(c.row_words()) * 4;
        for range in split_rows(gpu, rows, wide * op.k.max(1) as u64, widest, 4) {
            let count = range.end - range.start;
            let tiles = count.div_ceil(4) * wide.div_ceil(4);
            let dispatch = Dispatch::new(&pipeline)
                .set("m", count)
                .set("n", wide)
                .set("k", op.k)
                .set("block", op.format.block())
                .set("bits", op.format.bits())
                .set("stream", op.draw.stream)
                .set("codes_ld", codes)
                .set("exponents_ld", exponents)
                .set("c_ld", c.row_words())
                .set_wide(["base_lo", "base_hi"], range.start * op.n as u64 + cols.start)
                .set("index_row", op.n)
                .bind("a_codes", Words::of("a_codes", a_codes.part(&range, &(0..codes))))
                .bind(
                    "a_exponents",
                    Words::of("a_exponents", a_exponents.part(&range, &(0..exponents))),
                )
                .bind("b_codes", Words::of("b_codes", b_codes.part(&cols, &(0..codes))))
                .bind(
                    "b_exponents",
                    Words::of("b_exponents", b_exponents.part(&cols, &(0..exponents))),
                )
                .bind("c", Words::of("c", c.part(&range, &cols)))
                .linear_groups(gpu, tiles.div_ceil(u64::from(GROUP)))
                .work(count * wide * op.k.max(1) as u64)
                .turns(turns(op));
            dispatches.push(dispatch);
        }
    }
    Ok(dispatches)
}

fn permutation(out: DType, rounding: Rounding, drawn: Generator) -> Permutation {
    let stochastic = out == DType::Bf16 && rounding == Rounding::Stochastic;
    // The text names a generator even where nothing is drawn.
    let drawn = if stochastic { drawn } else { Generator::Threefry };
    Permutation::new(&PRODUCT)
        .fill("generator", generator(drawn))
        .constant("GROUP", GROUP)
        .constant("C_BF16", out == DType::Bf16)
        .constant("STOCHASTIC", stochastic)
}
