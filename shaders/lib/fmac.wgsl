// One FMAC step, acc + x * y in f32, twice: by the device's f32 unit and in integers alone. x and y are bf16
// values as f32 bit patterns (low halves zero); acc and the result are f32 bit patterns. Neither rounds to
// bf16. Four at a time and without branches: they would diverge. src/kernels/fmac/integer.rs mirrors the
// integer step, with branches for clarity.

const FMAC_NAN: u32 = 0x7fc00000u; // the only NaN that a step makes
const FMAC_INF: u32 = 0x7f800000u;

// The products rounded to nearest even in f32. Two 8-bit significands give 16 bits, so they are exact unless
// they overflow or are subnormal; both are decided on integer exponents.
fn fmac_product(x: vec4<u32>, y: vec4<u32>) -> vec4<u32> {
    let zero = vec4<u32>();
    let one = vec4<u32>(1u);
    let inf = vec4<u32>(FMAC_INF);
    let sign = (x ^ y) & vec4<u32>(0x80000000u);
    let ax = x & vec4<u32>(0x7fffffffu);
    let ay = y & vec4<u32>(0x7fffffffu);
    // Biased exponents, 1 for subnormals, whose leading bit is 0 instead.
    let normal = vec4<u32>(0x00800000u);
    let ex = max(ax >> vec4<u32>(23u), one);
    let ey = max(ay >> vec4<u32>(23u), one);
    let mx = ((ax >> vec4<u32>(16u)) & vec4<u32>(0x7fu)) | select(zero, vec4<u32>(0x80u), ax >= normal);
    let my = ((ay >> vec4<u32>(16u)) & vec4<u32>(0x7fu)) | select(zero, vec4<u32>(0x80u), ay >= normal);
    let product = mx * my;
    // product * 2^(ex + ey - 268), shifted so that its leading bit is bit 23: then it reads
    // significand * 2^(exponent - 150), f32's own form.
    let shift = countLeadingZeros(product) - vec4<u32>(8u);
    let significand = product << shift;
    let exponent = vec4<i32>(ex + ey) - vec4<i32>(118) - vec4<i32>(shift);
    // Subnormal: bits are dropped until the exponent is 1. After 25 of them only zero is left, ties included.
    let drop = vec4<u32>(clamp(vec4<i32>(1) - exponent, vec4<i32>(0), vec4<i32>(25)));
    let half = (one << drop) >> one;
    let carry = select(zero, half - one + ((significand >> drop) & one), drop > zero);
    let kept = (significand + carry) >> drop;
    // The leading bit adds the 1 that is taken off. An exponent of 255 and more is Inf whatever is below it.
    let above = vec4<u32>(clamp(exponent, vec4<i32>(1), vec4<i32>(255)) - vec4<i32>(1));
    var bits = select(min((above << vec4<u32>(23u)) + kept, inf), zero, product == zero);
    // Inf * 0 is NaN, as is whatever a NaN touches.
    let largest = max(ax, ay);
    let nan = (largest > inf) | ((largest == inf) & (min(ax, ay) == zero));
    bits = sign | select(bits, inf, largest == inf);
    return select(bits, vec4<u32>(FMAC_NAN), nan);
}

// The sums of f32 bit patterns rounded to nearest even, subnormals kept.
fn fmac_sum(a: vec4<u32>, b: vec4<u32>) -> vec4<u32> {
    let zero = vec4<u32>();
    let one = vec4<u32>(1u);
    let three = vec4<u32>(3u);
    let magnitude = vec4<u32>(0x7fffffffu);
    let fraction = vec4<u32>(0x7fffffu);
    let normal = vec4<u32>(0x00800000u);
    let inf = vec4<u32>(FMAC_INF);
    // Magnitudes order like their bit patterns.
    let swap = (a & magnitude) < (b & magnitude);
    let big = select(a, b, swap);
    let small = select(b, a, swap);
    let abig = big & magnitude;
    let asmall = small & magnitude;
    let opposite = ((big ^ small) >> vec4<u32>(31u)) == one;
    // 24-bit significands with three bits below them: guard, round and sticky. With the last of the three an
    // OR of all that is shifted out the rounding below sees whether the true sum is under, on or over a tie:
    // a difference that loses more than one leading bit comes of a shift of at most 1, and that loses
    // nothing.
    let ebig = max(abig >> vec4<u32>(23u), one);
    let esmall = max(asmall >> vec4<u32>(23u), one);
    let mbig = ((abig & fraction) | select(zero, normal, abig >= normal)) << three;
    let msmall = ((asmall & fraction) | select(zero, normal, asmall >= normal)) << three;
    let align = min(ebig - esmall, vec4<u32>(27u));
    let lost = msmall & ((one << align) - one);
    let added = (msmall >> align) | min(lost, one);
    let sum = select(mbig + added, mbig - added, opposite);
    // The leading bit goes to bit 26: one to the right after a carry, else to the left as far as the
    // exponent, which ends at 1 (subnormals), allows.
    let carry = sum >> vec4<u32>(27u);
    let carried = (sum >> carry) | (sum & carry);
    let left = min(countLeadingZeros(carried) - vec4<u32>(5u), ebig + carry - one);
    let placed = carried << left;
    let rounded = (placed + three + ((placed >> three) & one)) >> three;
    // The leading bit adds the 1 taken off the exponent, and a subnormal has none. Carries, from the largest
    // finite to Inf too, come out right; an exponent of 255 is Inf whatever is below it.
    let exponent = ebig + carry - left - one;
    var bits = min((exponent << vec4<u32>(23u)) + rounded, inf) | (big & vec4<u32>(0x80000000u));
    bits = select(bits, zero, sum == zero);
    // Inf, NaN, and Inf - Inf.
    bits = select(bits, big, abig == inf);
    return select(bits, vec4<u32>(FMAC_NAN), (abig > inf) | ((asmall == inf) & opposite));
}

fn fmac_integer(acc: vec4<u32>, x: vec4<u32>, y: vec4<u32>) -> vec4<u32> {
    return fmac_sum(acc, fmac_product(x, y));
}

// The same by the f32 unit: for ordinary operands on devices whose additions round to nearest.
fn fmac_float(acc: vec4<u32>, x: vec4<u32>, y: vec4<u32>) -> vec4<u32> {
    return bitcast<vec4<u32>>(bitcast<vec4<f32>>(acc) + bitcast<vec4<f32>>(x) * bitcast<vec4<f32>>(y));
}

// Where the f32 unit may be trusted with up to eight steps in a row: factors that are 0 or in [2^-51, 2^60),
// and an accumulator that is 0 or in [2^-102, 2^126) before the first.
// - Nothing is NaN or Inf, and no sum reaches 2^126 + 8 * 2^120 < 2^127: nothing overflows.
// - Products are 0 or at least 2^-102 and whole multiples of 2^-116 (the last bit of a factor is 2^-58 or
//   more); the accumulator is a whole multiple of 2^-125 (24 bits from 2^-102 down). So every sum is one of
//   2^-125 as well, rounding only makes it coarser, and a sum that is not 0 is normal: nothing can be
//   flushed.
// - Products are exact, so fusing the multiplication and the addition changes nothing.
// What is left to the device is how one f32 addition rounds (and, inside a chunk, the order of several):
// that is what the probe in src/kernels/fmac/probe.rs looks at.
fn fmac_ordinary_factors(u: vec4<u32>) -> bool {
    let magnitude = u & vec4<u32>(0x7fffffffu);
    let low = vec4<u32>(0x26000000u);
    return all((magnitude == vec4<u32>()) | ((magnitude - low) < (vec4<u32>(0x5d800000u) - low)));
}

fn fmac_ordinary_sums(u: vec4<u32>) -> bool {
    let magnitude = u & vec4<u32>(0x7fffffffu);
    let low = vec4<u32>(0x0c800000u);
    return all((magnitude == vec4<u32>()) | ((magnitude - low) < (vec4<u32>(0x7e800000u) - low)));
}

// To bf16, left in the high half. Steps make no NaN but FMAC_NAN, which no carry reaches: no test is needed.
fn fmac_round_nearest(u: vec4<u32>) -> vec4<u32> {
    let odd = (u >> vec4<u32>(16u)) & vec4<u32>(1u);
    return (u + vec4<u32>(0x7fffu) + odd) & vec4<u32>(0xffff0000u);
}

fn fmac_round_stochastic(u: vec4<u32>, r: vec4<u32>) -> vec4<u32> {
    return (u + r) & vec4<u32>(0xffff0000u);
}

// Packed words as f32 bit patterns.
fn fmac_widen(first: u32, second: u32) -> vec4<u32> {
    return vec4<u32>(first << 16u, first & 0xffff0000u, second << 16u, second & 0xffff0000u);
}

// The two packed words of four rounded steps. A result whose magnitude is 0 is +0: the sign of a zero made by
// arithmetic is no device's promise.
fn fmac_pack(u: vec4<u32>) -> vec2<u32> {
    let codes = select(u >> vec4<u32>(16u), vec4<u32>(), (u & vec4<u32>(0x7fff0000u)) == vec4<u32>());
    return vec2<u32>(codes.x | (codes.y << 16u), codes.z | (codes.w << 16u));
}
