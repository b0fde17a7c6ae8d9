//! [`Format`] by its name, one row at a time.

use super::exact::Row;
use fewbit::format::{Format, Rounding};

pub(crate) fn format(name: &str) -> Format {
    name.parse().unwrap_or_else(|error| panic!("{name}: {error}"))
}

pub(crate) fn bits(name: &str) -> u32 {
    format(name).bits()
}

/// One row that is a whole tensor.
pub(crate) fn encode(name: &str, values: &[u32], rounding: Rounding, r16: &[u32]) -> Row {
    encode_rows(name, values, values.len(), rounding, r16)
}

/// A tensor's rows of `cols` values, into words that held rubbish.
pub(crate) fn encode_rows(name: &str, values: &[u32], cols: usize, rounding: Rounding, r16: &[u32]) -> Row {
    let (format, rows) = (format(name), values.len() / cols);
    let mut codes = vec![u32::MAX; rows * format.codes_words_per_row(cols)];
    let mut scales = vec![u32::MAX; format.scales_words(rows, cols)];
    format.encode(values, cols, rounding, |i| r16[i], &mut codes, &mut scales);
    Row { scales, codes }
}

pub(crate) fn decode(name: &str, row: &Row, cols: usize) -> Vec<u32> {
    decode_rows(name, row, cols, cols)
}

/// `count` values in rows of `cols`.
pub(crate) fn decode_rows(name: &str, rows: &Row, cols: usize, count: usize) -> Vec<u32> {
    let mut values = vec![0xdead_beef; count];
    format(name).decode(&rows.codes, &rows.scales, cols, &mut values);
    values
}
