//! Images of a batch: varied, and as rows of a type.

use super::network;
use crate::error::Result;
use crate::format::random::{Draw, stream};
use crate::tensor::{DType, alloc};

const OP: &str = "train";

/// How images are varied before they are trained on; images to test on never are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Augment {
    /// Not at all.
    #[default]
    None,
    /// Moved by at most one pixel to each side, blank where they come from; drawn for each image in each epoch.
    Shift1,
}

impl Augment {
    /// Rows down and columns right that an image moves in an epoch: -1, 0 or 1 each.
    pub(super) fn shift(self, seed: u64, epoch: usize, image: u32) -> [isize; 2] {
        match self {
            Self::None => [0, 0],
            Self::Shift1 => {
                let draw = Draw {
                    seed,
                    stream: stream(network::AUGMENT, 0),
                    step: epoch as u32,
                    ..Draw::default()
                };
                let [down, right, ..] = draw.block(u64::from(image));
                // The remainder's bias is below 2^-30.
                [down, right].map(|bits| (bits % 3) as isize - 1)
            }
        }
    }
}

/// An image of rows of `cols` pixels, moved down and right by so many; what comes in is blank, as `to` is.
pub(super) fn shift(image: &[u8], cols: usize, [down, right]: [isize; 2], to: &mut [u8]) {
    let rows = image.len() / cols.max(1);
    for row in 0..rows {
        let Some(below) = row.checked_add_signed(down).filter(|below| *below < rows) else {
            continue;
        };
        let (from, to) = (&image[row * cols..][..cols], &mut to[below * cols..][..cols]);
        let by = right.unsigned_abs().min(cols);
        match right >= 0 {
            true => to[by..].copy_from_slice(&from[..cols - by]),
            false => to[..cols - by].copy_from_slice(&from[by..]),
        }
    }
}

/// Pixels of the named images as rows of a type, from a table of the 256 values.
pub(super) fn batch(
    dtype: DType,
    all: &[u8],
    pixels: usize,
    images: &[u32],
    rows: usize,
) -> Result<Vec<u32>> {
    let level = |level: u32| f64::from(level) / 255.0;
    let ld = network::ld(dtype, pixels);
    let mut packed = alloc::filled(OP, dtype.words((rows * ld) as u64) as usize, 0u32)?;
    let row_words = dtype.words(ld as u64) as usize;
    let mut table = Vec::new();
    for value in 0..256 {
        let packed = network::pack(dtype, 1, 1, |_| level(value))?;
        table.extend_from_slice(&packed[..dtype.words(1) as usize]);
    }
    for (row, &image) in packed.chunks_mut(row_words).zip(images) {
        let source = &all[image as usize * pixels..][..pixels];
        match dtype {
            DType::F64 => {
                for (to, &value) in row.chunks_exact_mut(2).zip(source) {
                    to.copy_from_slice(&table[2 * usize::from(value)..][..2]);
                }
            }
            DType::Bf16 => {
                for (to, pair) in row.iter_mut().zip(source.chunks(2)) {
                    let high = pair.get(1).map_or(0, |&value| table[usize::from(value)]);
                    *to = table[usize::from(pair[0])] | (high << 16);
                }
            }
            DType::F32 | DType::U32 | DType::U16 => {
                for (to, &value) in row.iter_mut().zip(source) {
                    *to = table[usize::from(value)];
                }
            }
        }
    }
    Ok(packed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::bf16;
    use crate::tensor::View;

    #[test]
    fn an_image_moves_and_leaves_blanks() {
        let image = [1, 2, 3, 4, 5, 6];
        for (by, want) in [
            ([0, 0], [1, 2, 3, 4, 5, 6]),
            ([1, 0], [0, 0, 0, 1, 2, 3]),
            ([-1, 0], [4, 5, 6, 0, 0, 0]),
            ([0, 1], [0, 1, 2, 0, 4, 5]),
            ([0, -1], [2, 3, 0, 5, 6, 0]),
            ([-1, 1], [0, 4, 5, 0, 0, 0]),
        ] {
            let mut to = [0; 6];
            shift(&image, 3, by, &mut to);
            assert_eq!(to, want, "{by:?}");
        }
        let mut seen = std::collections::HashMap::new();
        for image in 0..9000 {
            *seen.entry(Augment::Shift1.shift(1, 2, image)).or_insert(0) += 1;
        }
        // 1000 of each, six standard deviations.
        assert_eq!(seen.len(), 9);
        assert!(seen.values().all(|count| (820..1180).contains(count)), "{seen:?}");
        assert_ne!(
            (0..50)
                .map(|i| Augment::Shift1.shift(1, 2, i))
                .collect::<Vec<_>>(),
            (0..50)
                .map(|i| Augment::Shift1.shift(1, 3, i))
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_batch_is_scaled_pixels() -> Result<()> {
        let all = [0u8, 255, 51, 9, 8, 7];
        let floats = batch(DType::F32, &all, 3, &[1, 0], 3)?;
        let value = |i: usize| f32::from_bits(floats[i]);
        assert_eq!(floats.len(), 12);
        assert_eq!([value(4), value(5), value(6), value(7)], [0.0, 1.0, 0.2, 0.0]);
        assert_eq!(value(0), 9.0 / 255.0);
        assert!(floats[8..].iter().all(|&word| word == 0));
        let halves = batch(DType::Bf16, &all, 3, &[0], 1)?;
        assert_eq!(halves, [0x3f80_0000, u32::from(bf16::from_f32(0.2)), 0, 0]);
        let doubles = batch(DType::F64, &all, 3, &[0], 1)?;
        assert_eq!(View::vector(DType::F64, 4).load(&doubles, 0, 2), 0.2);
        assert_eq!(View::vector(DType::F64, 4).load(&doubles, 0, 3), 0.0);
        Ok(())
    }
}
