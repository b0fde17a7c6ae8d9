use super::Improvement;
use crate::format::{Format, NAN_BITS, Rounding, UNIT_SCALE};

/// Each row through both formats; the sums are taken in f64 and rounded to f32.
pub(crate) fn improvement(op: &Improvement, x: &[u32], sums: &mut [u32]) {
    let to = op.sums();
    for row in 0..op.rows {
        let mut both = [0.0; 2];
        for terms in terms(op, x, row) {
            both[0] += terms[0];
            both[1] += terms[1];
        }
        for (col, sum) in both.into_iter().enumerate() {
            let bits = match sum.is_nan() {
                true => NAN_BITS,
                false => (sum as f32).to_bits(),
            };
            to.store_bits(sums, row, col, bits);
        }
    }
}

/// What each element of a row adds to its two sums.
pub(super) fn terms(op: &Improvement, x: &[u32], row: usize) -> Vec<[f64; 2]> {
    let from = op.x();
    let values: Vec<u32> = (0..op.cols).map(|col| from.load_bits(x, row, col)).collect();
    let [coarse, fine] = [op.coarse, op.fine].map(|format| through(format, &values));
    let each = coarse.into_iter().zip(fine);
    each.map(|(coarse, fine)| [(fine - coarse).abs(), coarse.abs()])
        .collect()
}

/// The values that the codes of a row stand for.
fn through(format: Format, values: &[u32]) -> Vec<f64> {
    let cols = values.len();
    let mut codes = vec![0; format.codes_words_per_row(cols)];
    let mut scales = vec![0; format.scale_words_per_row(cols)];
    let mut back = vec![0; cols];
    format.encode_row(
        values,
        UNIT_SCALE,
        Rounding::Nearest,
        |_| 0,
        &mut codes,
        &mut scales,
    );
    format.decode_row(&codes, &scales, UNIT_SCALE, &mut back);
    back.into_iter()
        .map(|bits| f64::from(f32::from_bits(bits)))
        .collect()
}
