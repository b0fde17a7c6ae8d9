//! The integer step of `shaders/lib/fmac.wgsl`, the same arithmetic with branches, so that it can be held
//! against f32 arithmetic over many more operands than a dispatch would take.

const NAN: u32 = 0x7fc0_0000;
const INF: u32 = 0x7f80_0000;

/// The product of two bf16 (as f32 bit patterns) rounded to nearest even in f32.
#[must_use]
pub fn fmac_product_bits(x: u32, y: u32) -> u32 {
    let sign = (x ^ y) & 0x8000_0000;
    let (ax, ay) = (x & 0x7fff_ffff, y & 0x7fff_ffff);
    if ax.max(ay) >= INF {
        if ax.max(ay) > INF || ax.min(ay) == 0 {
            return NAN;
        }
        return sign | INF;
    }
    let (ex, ey) = ((ax >> 23).max(1), (ay >> 23).max(1));
    let mx = ((ax >> 16) & 0x7f) | if ax >= 0x0080_0000 { 0x80 } else { 0 };
    let my = ((ay >> 16) & 0x7f) | if ay >= 0x0080_0000 { 0x80 } else { 0 };
    let product = mx * my;
    if product == 0 {
        return sign;
    }
    let shift = product.leading_zeros() - 8;
    let significand = product << shift;
    let exponent = (ex + ey) as i32 - 118 - shift as i32;
    if exponent >= 255 {
        return sign | INF;
    }
    if exponent >= 1 {
        return sign | ((((exponent - 1) as u32) << 23) + significand);
    }
    let drop = (1 - exponent).min(25) as u32;
    sign | ((significand + (1 << (drop - 1)) - 1 + ((significand >> drop) & 1)) >> drop)
}

/// The sum of two f32 bit patterns rounded to nearest even.
#[must_use]
pub fn fmac_sum_bits(a: u32, b: u32) -> u32 {
    let swap = (a & 0x7fff_ffff) < (b & 0x7fff_ffff);
    let (big, small) = if swap { (b, a) } else { (a, b) };
    let (abig, asmall) = (big & 0x7fff_ffff, small & 0x7fff_ffff);
    let sign = big & 0x8000_0000;
    let opposite = (big ^ small) >> 31;
    if abig >= INF {
        if abig > INF || (asmall == INF && opposite == 1) {
            return NAN;
        }
        return big;
    }
    let (ebig, esmall) = ((abig >> 23).max(1), (asmall >> 23).max(1));
    let mbig = ((abig & 0x7f_ffff) | if abig >= 0x0080_0000 { 0x80_0000 } else { 0 }) << 3;
    let mut msmall = ((asmall & 0x7f_ffff) | if asmall >= 0x0080_0000 { 0x80_0000 } else { 0 }) << 3;
    let align = (ebig - esmall).min(27);
    msmall = (msmall >> align) | u32::from(msmall & ((1 << align) - 1) != 0);
    let mut sum = if opposite == 1 {
        mbig - msmall
    } else {
        mbig + msmall
    };
    if sum == 0 {
        return 0;
    }
    let mut exponent = ebig;
    if sum >= 0x0800_0000 {
        sum = (sum >> 1) | (sum & 1);
        exponent += 1;
    } else {
        let left = (sum.leading_zeros() - 5).min(exponent - 1);
        sum <<= left;
        exponent -= left;
    }
    let rounded = (sum + 3 + ((sum >> 3) & 1)) >> 3;
    sign | (((exponent - 1) << 23) + rounded).min(INF)
}
