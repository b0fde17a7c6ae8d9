//! The dispatches that decode a matrix of codes: the kernel decode is made of them, and products whose codes are decoded
//! into scratch memory first.

use std::ops::Range;

use super::coded::{ElementWords, KINDS, kind, tensor_scaled};
use crate::error::Result;
use crate::format::Format;
use crate::gpu::{Dispatch, Gpu, Permutation, Shader, Words, looped, split_rows};
use crate::tensor::{DType, View};

const GROUP: u32 = 64;

// SAFETY: four turns, and `words` is indexed below 3: a code has 16 bits at most, so that four begin within 31 + 48
// bits.
static DECODE: Shader = unsafe {
    Shader::new(
        "decode/decode.wgsl",
        include_str!("../../../shaders/decode/decode.wgsl"),
    )
    .trusted()
};

/// Every permutation that decodes.
pub(crate) fn permutations() -> Vec<Permutation> {
    let mut all = Vec::new();
    for to in [DType::F32, DType::Bf16] {
        for vec4 in [true, false] {
            for kind in KINDS {
                all.extend([true, false].map(|tensor| permutation(to, vec4, kind, tensor)));
            }
        }
    }
    all
}

fn permutation(to: DType, vec4: bool, kind: u32, tensor: bool) -> Permutation {
    let dst = match vec4 {
        true => "lib/dst_vec4.wgsl",
        false => "lib/dst_word.wgsl",
    };
    Permutation::new(&DECODE)
        .fill("dst", dst)
        .constant("GROUP", GROUP)
        .constant("DST_BF16", to == DType::Bf16)
        .constant("WIDTH", width(to))
        .constant("ELEMENT", kind)
        .constant("TENSOR_SCALE", tensor)
}

/// Columns in four words of output.
fn width(to: DType) -> u32 {
    128 / to.bits()
}

/// A matrix of codes that is to be decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decoding {
    pub(crate) format: Format,
    /// What comes out, f32 or bf16: its rows and columns are the codes'.
    pub(crate) dst: View,
    /// The operands with the codes and with the scales.
    pub(crate) names: [&'static str; 2],
    /// Whether `dst` may begin where no 16 bytes do.
    pub(crate) offset: bool,
}

impl Decoding {
    /// The dispatches; `dst` says where words of the result lie.
    pub(crate) fn dispatches(&self, gpu: &Gpu, dst: impl Fn(Range<u64>) -> Words) -> Result<Vec<Dispatch>> {
        let (format, [rows, cols]) = (self.format, [self.dst.rows, self.dst.cols]);
        let view = |words| View::new(DType::U32, rows, words, words);
        let codes = view(format.codes_words_per_row(cols));
        let scales = view(format.scale_words_per_row(cols));
        let head = format.head_words() as u64;
        let width = width(self.dst.dtype);
        // A row's last vector must end where the row does: padding is not written.
        let whole = self.dst.row_words().is_multiple_of(4) && cols.is_multiple_of(width as usize);
        let pipeline = gpu.pipeline(&permutation(
            self.dst.dtype,
            whole && !self.offset,
            kind(format.element()),
            tensor_scaled(format),
        ))?;
        let dispatch = |rows: Range<u64>| {
            let count = rows.end - rows.start;
            let part = |view: &View| view.part(&rows, &(0..view.cols as u64));
            let quads = (cols as u64).div_ceil(u64::from(width));
            let blocks = part(&scales);
            parameters(Dispatch::new(&pipeline), format)
                .set("rows", count)
                .set("cols", cols)
                .set("dst_ld", self.dst.row_words())
                .set("codes_ld", codes.row_words())
                .set("scales_ld", scales.row_words())
                .bind("codes", Words::of(self.names[0], part(&codes)))
                .bind(
                    "scales",
                    words(self.names[1], head + blocks.start..head + blocks.end),
                )
                .bind("head", words(self.names[1], 0..head))
                .bind("dst", dst(part(&self.dst)))
                .linear_groups(gpu, (count * quads).div_ceil(u64::from(GROUP)))
                .work(count * cols as u64)
                // Four codes, of each of two halves.
                .turns(2 * looped(4, 0))
        };
        let rows = if cols == 0 { 0 } else { rows as u64 };
        let widest = self.dst.row_words().max(codes.row_words()) * 4;
        let ranges = split_rows(gpu, rows, cols as u64, widest, 1);
        Ok(ranges.into_iter().map(dispatch).collect())
    }
}

/// Sets what kernels that decode are told of a format.
pub(crate) fn parameters(dispatch: Dispatch, format: Format) -> Dispatch {
    let words = ElementWords::of(format.element());
    dispatch
        .set("block", format.block_size().unwrap_or(0))
        .set("bits", words.bits)
        .set("fraction", words.fraction)
        .set("bias", words.bias)
        .set("max_code", words.max_code)
        .set("infinity", words.infinity)
}

/// Words of an operand; nothing where there are none, for then the operand may not be there.
pub(crate) fn words(operand: &'static str, range: Range<u64>) -> Words {
    match range.is_empty() {
        true => Words::absent(),
        false => Words::of(operand, range),
    }
}
