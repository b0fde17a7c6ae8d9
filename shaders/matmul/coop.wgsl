// Matmul of two bf16 operands on f16 matrix units with f32 sums: a group of eight subgroups makes TILE by TILE
// outputs, each subgroup four by two of the unit's matrices.
// Constants: UNIT (8 or 16), SUBGROUP (lanes of each), and those of common.wgsl. $unit: unit8.wgsl or unit16.wgsl.
//
// WHY IT IS WITHIN THE BOUND. WGSL has no bf16 matrices. A bf16 has 8 significand bits, an f16 has 11 but only
// the exponents -14..15, and units may flush subnormal f16. So each operand of a group gets one factor 2^s, and
// an element x goes to the unit as the f16 2^s x if it is *inside*: its exponent e is among the 30 for which
// -14 <= e + s <= 15. Then 2^s x is a normal f16 and the conversion is exact. Zeros are exact, and subnormal x
// (below 2^-126) become zero, which the contract's term F pays for. Every other element, too small, too large,
// NaN or infinite, is an *outlier*: zero goes to the unit in its place and (where, k, bits) to a list in
// workgroup memory. With A = A' + A^, B = B' + B^ (inside and outliers),
//     A B = A' B' + A^ B + A' B^,
// of which the unit sums the first part, and `finish` adds the others in f32, product by product: each of the K
// products of an output is in exactly one of the parts.
// - The unit's products are exact in f32 (8 + 8 bits, between 2^-28 and 2^32), its sums stay below
//   2^32 K < 2^64: nothing over- or underflows there. Undoing both scales multiplies by powers of two, first one
//   and then the other in the same direction: exact, or a flush (F), or an overflow that sum |a b| has too, and
//   such outputs the contract leaves out.
// - What is assumed of the unit: a step adds n products and the sum so far. With n = 1 it rounds once, to either
//   neighbour (2 u' with u' = 2^-24: the contract's u). With n >= 2 it may truncate each nonzero term at the last bit
//   of the largest, and then the result: at most (nonzero products + 2) u S, S the sum of |a b| so far. A step
//   without nonzero products is exact, and the first has no sum before it: one less.
//   For K - L products in the unit and L outliers' in `finish`, whose products are exact and whose additions round
//   once each, that is at most (K - L) + 2 ceil(K / n) - 1 + L <= 2 K roundings by u (K = 1: exact; n = 2: 2 K;
//   larger n: less), and no unit at all where L = K. alpha, C and bias are the contract's further three: 2 K + 4.
// - NaN and Inf reach only `finish`, for outputs whose own sum has them. Zeros times NaN are summed there too.
// - `plain`, the f32 path of a group with too many outliers, has K + 4, as every f32 variant.
// - The list's order is that of the elements, not of the lanes: results are the same from run to run.
// Any s is right. It is chosen from a sample, so that 6 exponents lie above the largest seen and 23 below. What the
// sample missed becomes outliers, and where those pass CAPACITY the group starts again with f32 arithmetic.

//!use $unit
//!use matmul/coop_slabs.wgsl
//!use matmul/coop_finish.wgsl

// The whole tile in f32, by slabs eight k deep: lanes 0 .. UNIT^2 make eight by eight outputs each.
fn plain(batch: u32, row: u32, col: u32, lane: u32) {
    let x = lane % UNIT * 8u;
    let y = lane / UNIT * 8u;
    let works = lane < UNIT * UNIT;
    var sums = Sums();
    for (var k0 = 0u; k0 < params.k; k0 += 8u) {
        workgroupBarrier();
        for (var unit = lane; unit < 2u * TILE; unit += LANES) {
            let from_b = unit >= TILE;
            let u = unit % TILE;
            var w: vec4<u32>;
            if from_b {
                w = fetch_b(u, 8u, batch, col, k0);
            } else {
                w = fetch_a(u, 8u, batch, row, k0);
            }
            // Along the tile for one k, or along K: neighbours are 1 or TILE apart.
            let along_tile = select(A_TRANSPOSED, !B_TRANSPOSED, from_b);
            let stride = select(TILE, 1u, along_tile);
            var to = select(u, u / UNIT * TILE + u % UNIT * 8u, along_tile);
            to += select(0u, TILE * 8u, from_b);
            let lo = bitcast<vec4<f32>>(first_half(w));
            let hi = bitcast<vec4<f32>>(second_half(w));
            for (var t = 0u; t < 4u; t++) {
                sums_out[to + t * stride] = lo[t];
                sums_out[to + (t + 4u) * stride] = hi[t];
            }
        }
        workgroupBarrier();
        if works {
            for (var k = 0u; k < 8u; k++) {
                let a = k * TILE + y;
                let b = (k + 8u) * TILE + x;
                rank_one(
                    &sums,
                    vec4<f32>(sums_out[a], sums_out[a + 1u], sums_out[a + 2u], sums_out[a + 3u]),
                    vec4<f32>(sums_out[a + 4u], sums_out[a + 5u], sums_out[a + 6u], sums_out[a + 7u]),
                    vec4<f32>(sums_out[b], sums_out[b + 1u], sums_out[b + 2u], sums_out[b + 3u]),
                    vec4<f32>(sums_out[b + 4u], sums_out[b + 5u], sums_out[b + 6u], sums_out[b + 7u]),
                );
            }
        }
    }
    if works {
        var rows = sums;
        for (var i = 0u; i < 8u; i++) {
            emit(batch, row + y + i, col + x, Run(rows[2u * i], rows[2u * i + 1u]));
        }
    }
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(num_subgroups) subgroups: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
    let batch = group.z;
    let row = group.x * TILE;
    let col = group.y * TILE;
    if lane < 4u {
        // Through memory, for naga to see that all lanes agree.
        atomicStore(&counters[lane], select(0u, subgroups, lane == 3u));
    }
    workgroupBarrier();
    if atomicLoad(&counters[3]) != SUBGROUPS {
        // The driver cut the group some other way than it announced: no matrix would be whole.
        plain(batch, row, col, lane);
        return;
    }

    // The sample: one slab's worth of runs, each from a slab of its own choice.
    let slabs = (params.k + TILE_K - 1u) / TILE_K;
    if slabs > 0u {
        for (var unit = lane; unit < UNITS; unit += LANES) {
            let k0 = ((unit * 0x9e3779b1u) >> 16u) % slabs * TILE_K;
            atomicMax(&counters[0], largest(fetch_a(unit, TILE_K, batch, row, k0)));
            atomicMax(&counters[1], largest(fetch_b(unit, TILE_K, batch, col, k0)));
        }
    }
    workgroupBarrier();
    let a_scale = scale_for(atomicLoad(&counters[0]));
    let b_scale = scale_for(atomicLoad(&counters[1]));

    // Named one by one: a matrix chosen by a variable index would leave the registers.
    var sum00 = UnitC();
    var sum01 = UnitC();
    var sum10 = UnitC();
    var sum11 = UnitC();
    var sum20 = UnitC();
    var sum21 = UnitC();
    var sum30 = UnitC();
    var sum31 = UnitC();
    let at_row = subgroup / 4u * 4u * UNIT;
    let at_col = subgroup % 4u * 2u * UNIT;
    // Slab k + 1 is on its way while slab k is multiplied.
    var a0 = fetch_a(lane, TILE_K, batch, row, 0u);
    var b0 = fetch_b(lane, TILE_K, batch, col, 0u);
    var a1: vec4<u32>;
    var b1: vec4<u32>;
    var a2: vec4<u32>;
    var b2: vec4<u32>;
    var a3: vec4<u32>;
    var b3: vec4<u32>;
    if EACH > 1u {
        a1 = fetch_a(lane + LANES, TILE_K, batch, row, 0u);
        b1 = fetch_b(lane + LANES, TILE_K, batch, col, 0u);
    }
    if EACH > 2u {
        a2 = fetch_a(lane + 2u * LANES, TILE_K, batch, row, 0u);
        b2 = fetch_b(lane + 2u * LANES, TILE_K, batch, col, 0u);
        a3 = fetch_a(lane + 3u * LANES, TILE_K, batch, row, 0u);
        b3 = fetch_b(lane + 3u * LANES, TILE_K, batch, col, 0u);
    }
    for (var k0 = 0u; k0 < params.k; k0 += TILE_K) {
        store_a(lane, a0, k0, a_scale);
        store_b(lane, b0, k0, b_scale);
        if EACH > 1u {
            store_a(lane + LANES, a1, k0, a_scale);
            store_b(lane + LANES, b1, k0, b_scale);
        }
        if EACH > 2u {
            store_a(lane + 2u * LANES, a2, k0, a_scale);
            store_b(lane + 2u * LANES, b2, k0, b_scale);
            store_a(lane + 3u * LANES, a3, k0, a_scale);
            store_b(lane + 3u * LANES, b3, k0, b_scale);
        }
        workgroupBarrier();
        // The same for every lane: the count stands still until the next barrier.
        if atomicLoad(&counters[2]) > CAPACITY {
            break;
        }
        let next = k0 + TILE_K;
        if next < params.k {
            a0 = fetch_a(lane, TILE_K, batch, row, next);
            b0 = fetch_b(lane, TILE_K, batch, col, next);
            if EACH > 1u {
                a1 = fetch_a(lane + LANES, TILE_K, batch, row, next);
                b1 = fetch_b(lane + LANES, TILE_K, batch, col, next);
            }
            if EACH > 2u {
                a2 = fetch_a(lane + 2u * LANES, TILE_K, batch, row, next);
                b2 = fetch_b(lane + 2u * LANES, TILE_K, batch, col, next);
                a3 = fetch_a(lane + 3u * LANES, TILE_K, batch, row, next);
                b3 = fetch_b(lane + 3u * LANES, TILE_K, batch, col, next);
            }
        }
        for (var k = 0u; k < TILE_K; k += UNIT) {
            var ma0: UnitA;
            var ma1: UnitA;
            var ma2: UnitA;
            var ma3: UnitA;
            var mb0: UnitB;
            var mb1: UnitB;
            if A_TRANSPOSED {
                let at = k * A_PITCH + at_row / 4u;
                ma0 = coopLoad<UnitA>(&slab_a[at], A_PITCH);
                ma1 = coopLoad<UnitA>(&slab_a[at + UNIT / 4u], A_PITCH);
                ma2 = coopLoad<UnitA>(&slab_a[at + UNIT / 2u], A_PITCH);
                ma3 = coopLoad<UnitA>(&slab_a[at + UNIT / 4u * 3u], A_PITCH);
            } else {
                let at = at_row * A_PITCH + k / 4u;
                ma0 = coopLoadT<UnitA>(&slab_a[at], A_PITCH);
                ma1 = coopLoadT<UnitA>(&slab_a[at + UNIT * A_PITCH], A_PITCH);
                ma2 = coopLoadT<UnitA>(&slab_a[at + 2u * UNIT * A_PITCH], A_PITCH);
                ma3 = coopLoadT<UnitA>(&slab_a[at + 3u * UNIT * A_PITCH], A_PITCH);
            }
            if B_TRANSPOSED {
                let at = at_col * B_PITCH + k / 4u;
                mb0 = coopLoad<UnitB>(&slab_b[at], B_PITCH);
                mb1 = coopLoad<UnitB>(&slab_b[at + UNIT * B_PITCH], B_PITCH);
            } else {
                let at = k * B_PITCH + at_col / 4u;
                mb0 = coopLoadT<UnitB>(&slab_b[at], B_PITCH);
                mb1 = coopLoadT<UnitB>(&slab_b[at + UNIT / 4u], B_PITCH);
            }
            sum00 = coopMultiplyAdd(ma0, mb0, sum00);
            sum01 = coopMultiplyAdd(ma0, mb1, sum01);
            sum10 = coopMultiplyAdd(ma1, mb0, sum10);
            sum11 = coopMultiplyAdd(ma1, mb1, sum11);
            sum20 = coopMultiplyAdd(ma2, mb0, sum20);
            sum21 = coopMultiplyAdd(ma2, mb1, sum21);
            sum30 = coopMultiplyAdd(ma3, mb0, sum30);
            sum31 = coopMultiplyAdd(ma3, mb1, sum31);
        }
        workgroupBarrier();
    }
    let outliers = atomicLoad(&counters[2]);
    if outliers > CAPACITY {
        plain(batch, row, col, lane);
        return;
    }
    sort(lane, outliers);

    let first_sum = subgroup * UNIT * UNIT;
    let stage = &sums_out[first_sum];
    coopStoreT(sum00, stage, UNIT);
    workgroupBarrier();
    finish(batch, row, col, at_row, at_col, first_sum, subgroup_lane, a_scale, b_scale);
    workgroupBarrier();
    coopStoreT(sum01, stage, UNIT);
    workgroupBarrier();
    finish(batch, row, col, at_row, at_col + UNIT, first_sum, subgroup_lane, a_scale, b_scale);
    workgroupBarrier();
    coopStoreT(sum10, stage, UNIT);
    workgroupBarrier();
    finish(batch, row, col, at_row + UNIT, at_col, first_sum, subgroup_lane, a_scale, b_scale);
    workgroupBarrier();
    coopStoreT(sum11, stage, UNIT);
    workgroupBarrier();
    finish(batch, row, col, at_row + UNIT, at_col + UNIT, first_sum, subgroup_lane, a_scale, b_scale);
    workgroupBarrier();
    coopStoreT(sum20, stage, UNIT);
    workgroupBarrier();
    finish(batch, row, col, at_row + 2u * UNIT, at_col, first_sum, subgroup_lane, a_scale, b_scale);
    workgroupBarrier();
    coopStoreT(sum21, stage, UNIT);
    workgroupBarrier();
    finish(batch, row, col, at_row + 2u * UNIT, at_col + UNIT, first_sum, subgroup_lane, a_scale, b_scale);
    workgroupBarrier();
    coopStoreT(sum30, stage, UNIT);
    workgroupBarrier();
    finish(batch, row, col, at_row + 3u * UNIT, at_col, first_sum, subgroup_lane, a_scale, b_scale);
    workgroupBarrier();
    coopStoreT(sum31, stage, UNIT);
    workgroupBarrier();
    finish(batch, row, col, at_row + 3u * UNIT, at_col + UNIT, first_sum, subgroup_lane, a_scale, b_scale);
}
