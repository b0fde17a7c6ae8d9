use super::Encode;

/// Encodes row by row; the draw's index is the element's logical row-major index.
pub(crate) fn encode(op: &Encode, src: &[u32], codes: &mut [u32], scales: &mut [u32]) {
    let element = |index| op.src().load_bits(src, index / op.cols, index % op.cols);
    let values: Vec<u32> = (0..op.rows * op.cols).map(element).collect();
    let draw = |index: usize| op.draw.bits(index as u64);
    op.format
        .encode(&values, op.cols, op.rounding, draw, codes, scales);
}
