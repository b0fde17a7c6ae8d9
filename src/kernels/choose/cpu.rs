//! Two passes over the sums: there are too few of them for more than one thread.

use super::Choose;

/// A magnitude in steps of 2^(top - 158), cut off.
fn counted(bits: u32, top: u32) -> u64 {
    let (field, low) = ((bits >> 23) & 0xff, bits & 0x7f_ffff);
    let steps = match field {
        0 => low << 8,
        _ => (low | 0x80_0000) << 8,
    };
    u64::from(steps.checked_shr(top - field.max(1)).unwrap_or(0))
}

pub(crate) fn choose(op: &Choose, (threshold, number): (f32, u32), sums: &[u32], state: &mut [u32]) {
    let sums = &sums[..2 * op.pairs];
    let top = sums.iter().fold(1, |top, bits| top.max(bits >> 23 & 0xff));
    let totals = sums.as_chunks::<2>().0.iter().fold([0u64; 2], |[a, b], pair| {
        [a + counted(pair[0], top), b + counted(pair[1], top)]
    });
    let down = 32u32.saturating_sub((totals[0] | totals[1]).leading_zeros());
    let [a, b] = totals.map(|total| total >> down);
    let threshold = Choose::steps(threshold) - Choose::steps(op.lower.get());
    let is_above = match u64::try_from(threshold) {
        Ok(threshold) => a << 16 > threshold * b,
        Err(_) => true,
    };
    let is_fine = top < 0xff && (a | b) > 0 && is_above;

    let own = &mut state[op.first() as usize..][..Choose::STATE];
    let (flags, since) = (own[0], number.wrapping_sub(own[1]));
    let steps = &mut own[2 + (flags & 7) as usize];
    *steps = steps.wrapping_add(since);
    own[1] = number;
    own[0] = (flags & !(1 << op.place)) | u32::from(is_fine) << op.place;
}
