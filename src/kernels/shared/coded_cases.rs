//! Formats, and matrices in them, for the cases of kernels that work on codes.

use crate::format::{Format, NAMED, Rounding};

/// Every format that has a name, and some that have none: another rule, another block, other widths.
pub(crate) fn formats() -> Vec<Format> {
    let mut formats: Vec<_> = NAMED.iter().map(|named| named.format).collect();
    let more = [
        "q4.4",
        "q1.8",
        "q2.11",
        "mxfp8-e4m3-up",
        "fp4-e2m1-16",
        "fp6-e2m3-128",
        "int8-8-up",
        "bfp6-tensor",
    ];
    formats.extend(more.iter().filter_map(|name| name.parse::<Format>().ok()));
    formats
}

/// A matrix in a format, to nearest: the words of its codes, and of its scales if it has any.
pub(crate) fn matrix(format: Format, values: &[u32], rows: usize, cols: usize) -> Vec<Vec<u32>> {
    let mut codes = vec![0; rows * format.codes_words_per_row(cols)];
    let mut scales = vec![0; format.scales_words(rows, cols)];
    format.encode(values, cols, Rounding::Nearest, |_| 0, &mut codes, &mut scales);
    match format.has_scales() {
        true => vec![codes, scales],
        false => vec![codes],
    }
}
