//! Formats and data for the cases of kernels that work on codes.

use crate::format::{Format, NAMED, Rounding, bf16};
use crate::op::data::Source;
use crate::tensor::DType;

/// Block floating point of every block size with every width.
pub(crate) fn bfp() -> impl Iterator<Item = Format> {
    let sizes = [8, 16, 32, 64, 128].into_iter();
    sizes.flat_map(|block| (2..=8).filter_map(move |bits| Format::bfp(block, bits).ok()))
}

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

/// f32 bits in blocks of very different sizes: tiny, huge, all zero, with NaN and Inf now and then.
pub(crate) fn values(rows: usize, cols: usize, seed: u64, specials: bool) -> Vec<u32> {
    let mut source = Source::new(seed);
    let mut scale = 0;
    (0..rows * cols)
        .map(|i| {
            if i % 40 == 0 {
                scale = source.below(if specials { 8 } else { 4 });
            }
            let value = source.unit();
            match scale {
                4 => (value * 1e-39).to_bits(),
                5 => (value * 3e38).to_bits(),
                6 => {
                    if value < 0.0 {
                        0x8000_0000
                    } else {
                        0
                    }
                }
                7 => source.awkward(),
                _ => (value * (1 << scale) as f32).to_bits(),
            }
        })
        .collect()
}

/// f32 bits that hit what rounding has to decide: halves of steps of every kind of element, their neighbours, and
/// largest values at, just below and just above powers of two and the elements' own largest.
pub(crate) fn boundaries(count: usize, seed: u64) -> Vec<u32> {
    let mut source = Source::new(seed);
    let tops = [
        1.0f32, 1.5, 1.75, 1.875, 1.9375, 6.0, 7.0, 7.5, 7.75, 28.0, 30.0, 448.0, 464.0, 57344.0, 61440.0,
        65520.0,
    ];
    let mut binade = 1.0f32;
    (0..count)
        .map(|i| {
            if i % 32 == 0 {
                binade =
                    [1.0, 0.25, 1e-37, 2f32.powi(100), 1024.0, 2f32.powi(-126)][source.below(6) as usize];
            }
            let top = tops[source.below(tops.len() as u32) as usize];
            // Sixteenths and 2^-9ths of a power of two: ties of every mantissa width.
            let fraction = match source.below(3) {
                0 => top / 8.0,
                1 => (1 + source.below(512)) as f32 / 512.0,
                _ => (1 + source.below(32)) as f32 / 16.0,
            };
            let bits = (fraction * binade).to_bits();
            let near = [bits, bits + 1, bits.saturating_sub(1)][source.below(3) as usize];
            near | (source.below(2) as u32) << 31
        })
        .collect()
}

/// The same in the words of a plain operand.
pub(crate) fn stored(values: &[u32], dtype: DType) -> Vec<u32> {
    match dtype {
        DType::Bf16 => {
            let pair = |pair: &[u32]| {
                let high = pair.get(1).copied().unwrap_or_default();
                bf16::pack((pair[0] >> 16) as u16, (high >> 16) as u16)
            };
            values.chunks(2).map(pair).collect()
        }
        DType::F32 | DType::F64 | DType::U32 | DType::U16 => values.to_vec(),
    }
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

/// Rows of every code of a format, one after the other, over scales of every kind: none, the smallest, the largest,
/// NaN.
pub(crate) fn every_code(format: Format, rows: usize, cols: usize, seed: u64) -> Vec<Vec<u32>> {
    let mut source = Source::new(seed);
    let words = format.codes_words_per_row(cols);
    let mut codes = vec![0; rows * words];
    for index in 0..rows * cols {
        let code = (index as u32 & ((1 << format.bits()) - 1)) as u16;
        format.put(&mut codes[index / cols * words..][..words], index % cols, code);
    }
    let mut parts = vec![codes];
    if format.has_scales() {
        let mut scales = vec![0; format.scales_words(rows, cols)];
        let blocks = format.blocks_per_row(cols);
        let row_bytes = 4 * format.scale_words_per_row(cols);
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut scales);
        let head = 4 * format.head_words();
        for block in 0..rows * blocks {
            let byte = [0, 1, 2, 127, 253, 254, 255, source.below(255) as u8][source.below(8) as usize];
            bytes[head + block / blocks * row_bytes + block % blocks] = byte;
        }
        if head > 0 {
            bytes[..4].copy_from_slice(&2f32.powi(3).to_le_bytes());
        }
        parts.push(scales);
    }
    parts
}
