// bf16 weights that a compensation keeps beside them; why every rounding is there is in src/kernels/shared/kahan.rs.
// Needs bf16.wgsl. Sums of two bf16 round to the same bf16 whichever neighbour an adapter's f32 takes.

// The bits of w + y and of the new compensation, (w + y) - w - y, each sum rounded to bf16.
fn kahan_add(w: f32, y_bits: u32) -> vec2<u32> {
    let y = bf16_low(y_bits);
    let sum = bf16_round_nearest(bitcast<u32>(w + y));
    // The integers in between keep compilers from what holds for real numbers: that it is always 0.
    let moved = bf16_round_nearest(bitcast<u32>(bf16_low(sum) - w));
    return vec2<u32>(sum, bf16_round_nearest(bitcast<u32>(bf16_low(moved) - y)));
}
