// The end of coop.wgsl's tile: sums of the unit to C, with the products of the outliers in their order. Constants:
// those of coop.wgsl.

//!use matmul/coop_slabs.wgsl

// Puts the list into the order of (place, k): lanes append in any.
fn sort(lane: u32, count: u32) {
    var place = 0u;
    var k = 0u;
    var bits = 0u;
    var rank = 0u;
    if lane < count {
        place = outlier_at[lane];
        k = outlier_k[lane];
        bits = outlier_bits[lane];
        for (var o = 0u; o < count; o++) {
            let other = outlier_at[o];
            let before = other < place || (other == place && outlier_k[o] < k);
            rank += select(0u, 1u, before);
        }
    }
    workgroupBarrier();
    if lane < count {
        outlier_at[rank] = place;
        outlier_k[rank] = k;
        outlier_bits[rank] = bits;
    }
    workgroupBarrier();
}

// One element of A as f32 bits.
fn element_a(batch: u32, i: u32, k: u32) -> u32 {
    var row = i;
    var col = k;
    if A_TRANSPOSED {
        row = k;
        col = i;
    }
    let at = batch * params.a_batch + row * params.a_ld + col / 2u;
    let word = words_a(at & ~3u)[at & 3u];
    return select(word << 16u, word & 0xffff0000u, (col & 1u) == 1u);
}

fn element_b(batch: u32, k: u32, j: u32) -> u32 {
    var row = k;
    var col = j;
    if B_TRANSPOSED {
        row = j;
        col = k;
    }
    let at = batch * params.b_batch + row * params.b_ld + col / 2u;
    let word = words_b(at & ~3u)[at & 3u];
    return select(word << 16u, word & 0xffff0000u, (col & 1u) == 1u);
}

fn power_of_two(exponent: i32) -> f32 {
    return bitcast<f32>(u32(exponent + 127) << 23u);
}

// Sums of one matrix of this subgroup, from `from` in sums_out, to C: scales undone, outliers added.
// `row`, `col`: the tile's first; `at_row`, `at_col`: the matrix's first in it.
fn finish(
    batch: u32, row: u32, col: u32, at_row: u32, at_col: u32, first_sum: u32, lane: u32, a_scale: Scale, b_scale: Scale,
) {
    // Between -224 and 224: two factors that are normal numbers.
    let exponent = i32(a_scale.top + b_scale.top) - 284;
    let half = clamp(exponent, -126, 126);
    let scale = power_of_two(half);
    let rest = power_of_two(exponent - half);
    let outliers = atomicLoad(&counters[2]);
    for (var run = lane; run < UNIT * UNIT / 8u; run += SUBGROUP) {
        let i = at_row + run / (UNIT / 8u);
        let j = at_col + run % (UNIT / 8u) * 8u;
        if row + i >= params.m || col + j >= params.n {
            continue;
        }
        let s = first_sum + run * 8u;
        var lo = vec4<f32>(sums_out[s], sums_out[s + 1u], sums_out[s + 2u], sums_out[s + 3u]);
        var hi = vec4<f32>(sums_out[s + 4u], sums_out[s + 5u], sums_out[s + 6u], sums_out[s + 7u]);
        lo = lo * scale * rest;
        hi = hi * scale * rest;
        for (var o = 0u; o < outliers; o++) {
            let place = outlier_at[o];
            let k = outlier_k[o];
            let x = bitcast<f32>(outlier_bits[o]);
            if place == i {
                for (var t = 0u; t < 4u; t++) {
                    lo[t] += x * bitcast<f32>(element_b(batch, k, min(col + j + t, params.n - 1u)));
                    hi[t] += x * bitcast<f32>(element_b(batch, k, min(col + j + t + 4u, params.n - 1u)));
                }
            } else if place - (FROM_B | j) < 8u {
                // A's outliers have had their products. Zeros have not: they may meet a NaN.
                let bits = element_a(batch, row + i, k);
                if !any(outside(vec4<u32>(bits), a_scale)) {
                    let t = place - (FROM_B | j);
                    let product = bitcast<f32>(bits) * x;
                    if t < 4u {
                        lo[t] += product;
                    } else {
                        hi[t - 4u] += product;
                    }
                }
            }
        }
        emit(batch, row + i, col + j, Run(lo, hi));
    }
}
