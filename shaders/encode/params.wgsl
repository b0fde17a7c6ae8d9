// What the kernels that encode share: parameters, the element, and the scale where no block has its own.
// Constants: ELEMENT (its kind), TENSOR_SCALE (the tensor has a scale).

//!use lib/index.wgsl
//!use lib/step.wgsl
//!use lib/element.wgsl
//!use lib/random.wgsl

struct Params {
    rows: u32,
    cols: u32,
    block: u32, // elements that share a scale; 0: none do
    rule: u32,
    largest_exponent: u32, // of the element's largest value
    largest_significand: u32,
    bits: u32, // of the element, as lib/element.wgsl has it
    fraction: u32,
    bias: u32,
    max_code: u32,
    infinity: u32,
    nan_code: u32,
    limit: u32,
    rounding: u32,
    stream: u32,
    src_ld: u32, // words from one row to the next
    codes_ld: u32,
    scales_ld: u32,
    base_lo: u32, // logical index of the first element
    base_hi: u32,
    src_offset: u32,
    codes_offset: u32,
    scales_offset: u32,
    head_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(3) var<storage, read_write> codes: array<u32>;
@group(0) @binding(4) var<storage, read_write> scales: array<u32>;
// The scale of the tensor, where it has one.
@group(0) @binding(5) var<storage, read_write> head: array<u32>;

fn element() -> Element {
    return Element(
        ELEMENT, params.bits, params.fraction, params.bias, params.max_code, params.infinity, params.nan_code,
        params.limit,
    );
}

fn block_scale(most: u32) -> u32 {
    return scale_byte_for(most, params.rule, params.largest_exponent, params.largest_significand);
}

// The byte of the scale that all elements share.
fn common_scale() -> u32 {
    if TENSOR_SCALE {
        return (head[params.head_offset] >> 23u) & 0xffu;
    }
    return UNIT_SCALE;
}
