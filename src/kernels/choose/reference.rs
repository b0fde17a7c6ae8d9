use super::Choose;

/// The largest exponent first, then both sums in whole numbers, then the comparison.
pub(crate) fn choose(op: &Choose, threshold: f32, number: u32, sums: &[u32], state: &mut [u32]) {
    // Subnormal numbers have the exponent 1 too, without the hidden bit.
    let exponent = |bits: u32| ((bits >> 23) & 0xff).max(1);
    let mut top = 1;
    for bits in &sums[..2 * op.pairs] {
        top = top.max(exponent(*bits));
    }
    let (mut a, mut b) = (0u64, 0u64);
    for pair in sums[..2 * op.pairs].chunks_exact(2) {
        for (sum, bits) in [(&mut a, pair[0]), (&mut b, pair[1])] {
            let mut significand = u64::from(bits & 0x7f_ffff);
            if (bits >> 23) & 0xff != 0 {
                significand += 1 << 23;
            }
            let down = top - exponent(bits);
            if down < 32 {
                *sum += (significand << 8) >> down;
            }
        }
    }
    while a.max(b) > u64::from(u32::MAX) {
        a /= 2;
        b /= 2;
    }
    let threshold = Choose::steps(threshold) - Choose::steps(op.lower.get());
    let is_above = i128::from(a) * 65536 > i128::from(threshold) * i128::from(b);
    let is_fine = top < 255 && a + b > 0 && (threshold < 0 || is_above);

    let layer = op.layer * Choose::STATE;
    let flags = state[layer];
    let since = number.wrapping_sub(state[layer + 1]);
    let count = layer + 2 + (flags % 8) as usize;
    state[count] = state[count].wrapping_add(since);
    state[layer + 1] = number;
    if is_fine {
        state[layer] = flags | 1 << op.place;
    } else {
        state[layer] = flags & !(1 << op.place);
    }
}
