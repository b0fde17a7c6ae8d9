// One FMAC step, acc + x * y in f32, twice: by the device's f32 unit and in integers alone. x and y are bf16
// values as f32 bit patterns (low halves zero); acc and the result are f32 bit patterns. Neither rounds to bf16.
// src/cpu/fmac_integer.rs mirrors the integer step line by line.

const FMAC_NAN: u32 = 0x7fc00000u; // the only NaN that a step makes
const FMAC_INF: u32 = 0x7f800000u;

// The product rounded to nearest even in f32. Two 8-bit significands give 16 bits, so it is exact unless it
// overflows or is subnormal; both are decided on integer exponents.
fn fmac_product(x: u32, y: u32) -> u32 {
    let sign = (x ^ y) & 0x80000000u;
    let ax = x & 0x7fffffffu;
    let ay = y & 0x7fffffffu;
    if max(ax, ay) >= FMAC_INF {
        // Inf * 0 is NaN, as is whatever a NaN touches.
        if max(ax, ay) > FMAC_INF || min(ax, ay) == 0u {
            return FMAC_NAN;
        }
        return sign | FMAC_INF;
    }
    // Biased exponents, 1 for subnormals, whose leading bit is 0 instead.
    let ex = max(ax >> 23u, 1u);
    let ey = max(ay >> 23u, 1u);
    let mx = ((ax >> 16u) & 0x7fu) | select(0u, 0x80u, ax >= 0x00800000u);
    let my = ((ay >> 16u) & 0x7fu) | select(0u, 0x80u, ay >= 0x00800000u);
    let product = mx * my;
    if product == 0u {
        return sign;
    }
    // product * 2^(ex + ey - 268), shifted so that its leading bit is bit 23: then it reads
    // significand * 2^(exponent - 150), f32's own form.
    let shift = countLeadingZeros(product) - 8u;
    let significand = product << shift;
    let exponent = i32(ex + ey) - 118 - i32(shift);
    if exponent >= 255 {
        return sign | FMAC_INF;
    }
    if exponent >= 1 {
        // The leading bit adds the 1 that was taken off.
        return sign | ((u32(exponent - 1) << 23u) + significand);
    }
    // Subnormal: drop bits until the exponent is 1. After 25 of them only zero is left, ties included.
    let drop = u32(min(1 - exponent, 25));
    return sign | ((significand + (1u << (drop - 1u)) - 1u + ((significand >> drop) & 1u)) >> drop);
}

// The sum of two f32 bit patterns rounded to nearest even, subnormals kept.
fn fmac_sum(a: u32, b: u32) -> u32 {
    // Magnitudes order like their bit patterns.
    let swap = (a & 0x7fffffffu) < (b & 0x7fffffffu);
    let big = select(a, b, swap);
    let small = select(b, a, swap);
    let abig = big & 0x7fffffffu;
    let asmall = small & 0x7fffffffu;
    let sign = big & 0x80000000u;
    let opposite = (big ^ small) >> 31u;
    if abig >= FMAC_INF {
        // NaN, and Inf - Inf.
        if abig > FMAC_INF || (asmall == FMAC_INF && opposite == 1u) {
            return FMAC_NAN;
        }
        return big;
    }
    // 24-bit significands with three bits below them: guard, round and sticky. With the last of the three an OR
    // of all that is shifted out the rounding below sees whether the true sum is under, on or over a tie: a
    // difference that loses more than one leading bit comes of a shift of at most 1, and that loses nothing.
    let ebig = max(abig >> 23u, 1u);
    let esmall = max(asmall >> 23u, 1u);
    let mbig = ((abig & 0x7fffffu) | select(0u, 0x800000u, abig >= 0x00800000u)) << 3u;
    var msmall = ((asmall & 0x7fffffu) | select(0u, 0x800000u, asmall >= 0x00800000u)) << 3u;
    let align = min(ebig - esmall, 27u);
    msmall = (msmall >> align) | select(0u, 1u, (msmall & ((1u << align) - 1u)) != 0u);
    var sum = select(mbig + msmall, mbig - msmall, opposite == 1u);
    if sum == 0u {
        return 0u;
    }
    var exponent = ebig;
    // The leading bit goes to bit 26: one to the right after a carry, else to the left as far as the exponent,
    // which ends at 1 (subnormals), allows.
    if sum >= 0x08000000u {
        sum = (sum >> 1u) | (sum & 1u);
        exponent += 1u;
    } else {
        let left = min(countLeadingZeros(sum) - 5u, exponent - 1u);
        sum = sum << left;
        exponent -= left;
    }
    let rounded = (sum + 3u + ((sum >> 3u) & 1u)) >> 3u;
    // The leading bit adds the 1 taken off the exponent, and a subnormal has none. Carries, from the largest
    // finite to Inf too, come out right; an exponent of 255 is Inf whatever is below it.
    return sign | min(((exponent - 1u) << 23u) + rounded, FMAC_INF);
}

fn fmac_integer(acc: u32, x: u32, y: u32) -> u32 {
    return fmac_sum(acc, fmac_product(x, y));
}

// The same by the f32 unit: for ordinary operands on devices whose additions round to nearest.
fn fmac_float(acc: u32, x: u32, y: u32) -> u32 {
    return bitcast<u32>(bitcast<f32>(acc) + bitcast<f32>(x) * bitcast<f32>(y));
}

// Where the f32 unit may be trusted with up to eight steps in a row: factors that are 0 or in [2^-51, 2^60),
// and an accumulator that is 0 or in [2^-102, 2^126) before the first.
// - Nothing is NaN or Inf, and no sum reaches 2^126 + 8 * 2^120 < 2^127: nothing overflows.
// - Products are 0 or at least 2^-102 and whole multiples of 2^-116 (the last bit of a factor is 2^-58 or
//   more); the accumulator is a whole multiple of 2^-125 (24 bits from 2^-102 down). So every sum is one of
//   2^-125 as well, rounding only makes it coarser, and a sum that is not 0 is normal: nothing can be flushed.
// - Products are exact, so fusing the multiplication and the addition changes nothing.
// What is left to the device is how one f32 addition rounds (and, inside a chunk, the order of several):
// that is what the probe in src/ops/fmac/probe.rs looks at.
fn fmac_ordinary_factor(u: u32) -> bool {
    let magnitude = u & 0x7fffffffu;
    return magnitude == 0u || (magnitude - 0x26000000u) < (0x5d800000u - 0x26000000u);
}

fn fmac_ordinary_sum(u: u32) -> bool {
    let magnitude = u & 0x7fffffffu;
    return magnitude == 0u || (magnitude - 0x0c800000u) < (0x7e800000u - 0x0c800000u);
}

// To bf16, left in the high half. Steps make no NaN but FMAC_NAN, which no carry reaches: no test is needed.
fn fmac_round_nearest(u: u32) -> u32 {
    return (u + 0x7fffu + ((u >> 16u) & 1u)) & 0xffff0000u;
}

fn fmac_round_stochastic(u: u32, r: u32) -> u32 {
    return (u + r) & 0xffff0000u;
}

// The stored half-word of a rounded step. A result whose magnitude is 0 is +0: the sign of a zero made by
// arithmetic is no device's promise.
fn fmac_result(u: u32) -> u32 {
    return select(u >> 16u, 0u, (u & 0x7fff0000u) == 0u);
}
