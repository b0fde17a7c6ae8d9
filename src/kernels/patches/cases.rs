use crate::kernels::{Patches, PatchesGrad};
use crate::op::data::Source;
use crate::op::{BenchCase, Case, Effort, Fill};
use crate::tensor::{DType, View};

/// Images, pixels and channels; windows; from one to the next; zeros around; what rows are longer by.
struct Shape {
    image: [usize; 4],
    window: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    more: usize,
    effort: Effort,
}

/// Densely placed windows, as tensors lie.
const fn shape(image: [usize; 4], window: [usize; 2]) -> Shape {
    Shape {
        image,
        window,
        stride: [1; 2],
        padding: [0; 2],
        more: 0,
        effort: Effort::Quick,
    }
}

impl Shape {
    const fn by(mut self, stride: [usize; 2]) -> Self {
        self.stride = stride;
        self
    }

    const fn padded(mut self, padding: [usize; 2]) -> Self {
        self.padding = padding;
        self
    }

    const fn more(mut self, more: usize) -> Self {
        self.more = more;
        self
    }

    const fn full(mut self) -> Self {
        self.effort = Effort::Full;
        self
    }

    fn patches(&self, dtype: DType) -> Patches {
        let [batch, height, width, channels] = self.image;
        let patches = Patches::new(batch, [height, width, channels], self.window, dtype);
        let pixel_ld = channels.next_multiple_of(2) + self.more;
        Patches {
            pixel_ld,
            image_ld: height * width * pixel_ld + self.more,
            y_ld: patches.cols().next_multiple_of(2) + self.more,
            ..patches.strided(self.stride).padded(self.padding)
        }
    }
}

/// Nothing at all; a single number; windows of one pixel, of the whole image and of more than it; pixels that no window
/// holds, on each side and between; windows in the padding alone; odd channels, odd patches; runs of up to eight numbers
/// and longer ones; images past a small binding or the cap on
/// work, of which some lines reach no window; and sums of more than one whole bf16 can hold.
const SHAPES: [Shape; 19] = [
    shape([0, 4, 4, 3], [2, 2]),
    shape([2, 4, 4, 0], [2, 2]),
    shape([1, 1, 1, 1], [1, 1]),
    shape([2, 5, 4, 3], [1, 1]).more(2),
    shape([3, 9, 8, 1], [5, 5]),
    shape([3, 7, 9, 1], [5, 5]).padded([2, 1]).more(4),
    shape([2, 5, 6, 20], [2, 3]),
    shape([2, 4, 5, 20], [3, 2]).by([2, 1]).padded([1, 0]).more(2),
    shape([3, 6, 7, 3], [2, 3]).by([2, 2]).padded([0, 2]),
    shape([2, 9, 10, 3], [2, 2]).by([3, 4]),
    shape([2, 5, 9, 1], [1, 2]).by([2, 5]).padded([2, 3]).more(6),
    shape([2, 3, 2, 5], [5, 4]).padded([2, 1]),
    shape([3, 2, 3, 1], [2, 1]).by([1, 2]).padded([3, 2]),
    shape([2, 12, 9, 1], [9, 9]).padded([4, 4]).by([2, 1]),
    shape([70, 6, 6, 3], [3, 3]).padded([1, 1]),
    shape([2, 60, 9, 1], [3, 3]).padded([2, 0]),
    shape([1, 200, 9, 1], [2, 3]).by([100, 1]),
    shape([128, 28, 28, 1], [5, 5]).full(),
    shape([128, 12, 12, 20], [5, 5]).full(),
];

pub(crate) fn cases(_: Effort) -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in [DType::F32, DType::Bf16, DType::F64] {
        for shape in &SHAPES {
            let patches = shape.patches(dtype);
            let numbers = patches.height * patches.width * patches.channels;
            let rows = patches.of_rows(numbers.next_multiple_of(2) + shape.more);
            for op in [patches, rows] {
                cases.push(Case::new(shape.effort, op, move || {
                    let mut source = Source::new(23);
                    // Also what lies between pixels.
                    let words = crate::op::Op::operands(&op)[0].words;
                    vec![(0..words).map(|_| halves(&mut source)).collect(), Vec::new()]
                }));
            }
            let grad = PatchesGrad {
                patches,
                dx_ld: patches.channels.next_multiple_of(2) + 2 * shape.more,
            };
            for values in [
                Values::Magnitudes,
                Values::Integers,
                Values::Positive,
                Values::Specials,
            ] {
                cases.push(of_grad(shape.effort, grad, values));
            }
        }
    }
    cases
}

/// Awkward values in both halves of a word.
fn halves(source: &mut Source) -> u32 {
    (source.awkward() & 0xffff_0000) | (source.awkward() >> 16)
}

#[derive(Clone, Copy, Debug)]
enum Values {
    /// Magnitudes far apart, so that the order of the sum shows.
    Magnitudes,
    /// Small whole numbers, whose sums are exact.
    Integers,
    /// None of them below zero: sums need more bits than bf16 has.
    Positive,
    /// By channel: NaNs, infinities of one sign or both, zeros, subnormals, and what overflows.
    Specials,
}

impl Values {
    fn value(self, source: &mut Source, channel: usize) -> f32 {
        let (now, plain) = (source.below(8) == 0, source.unit());
        match self {
            Self::Magnitudes => plain * 2f32.powi(source.below(24) as i32 - 12),
            Self::Integers => source.small_integer(),
            Self::Positive => source.small_integer().abs().max(5.0),
            Self::Specials => match channel % 7 {
                0 if now => f32::INFINITY.copysign(plain),
                1 if now => f32::NAN,
                2 if now => f32::NEG_INFINITY,
                3 => -0.0,
                4 => f32::from_bits(source.bits() & 0x807f_ffff),
                5 if now => f32::MAX.copysign(plain),
                6 if now => plain * f32::MIN_POSITIVE,
                _ => plain,
            },
        }
    }
}

/// NaN between rows: a sum that takes some of it shows.
fn of_grad(effort: Effort, grad: PatchesGrad, values: Values) -> Case {
    Case::new(effort, grad, move || {
        let mut source = Source::new(29);
        let dy = grad.patches.y();
        let View { rows, cols, ld, .. } = dy;
        let mut words = vec![0x7fff_7fff; dy.words() as usize];
        for at in (0..rows).flat_map(|row| (0..cols).map(move |col| (row, col))) {
            let value = values.value(&mut source, at.1 % grad.patches.channels);
            match dy.dtype {
                DType::F64 => dy.store_f64(&mut words, at.0, at.1, value.into()),
                DType::F32 | DType::U32 | DType::U16 => {
                    dy.store_bits(&mut words, at.0, at.1, value.to_bits())
                }
                DType::Bf16 => {
                    let code = crate::format::bf16::from_f32(value);
                    dy.store_bits(&mut words, at.0, at.1, code.into());
                    // The spare half beside an odd count as well.
                    if cols % 2 == 1 && at.1 + 1 == cols {
                        words[(at.0 * ld + at.1) / 2] |= 0x7fff_0000;
                    }
                }
            }
        }
        vec![words, Vec::new()]
    })
}

/// What is measured at size `n`: LeNet-5's two convolutions, of about `n * n` numbers of patches.
pub(crate) fn bench(n: usize) -> Vec<BenchCase> {
    let of = |image: [usize; 3], dtype| {
        let patches = Patches::new(1, image, [5, 5], dtype);
        let numbers = patches.rows() * patches.cols();
        Patches::new((n * n / numbers).max(1), image, [5, 5], dtype)
    };
    let (first, second) = ([28, 28, 1], [12, 12, 20]);
    let images = of(first, DType::Bf16).of_rows(28 * 28);
    let grad = |dtype| PatchesGrad::new(of(second, dtype));
    vec![
        Case::timed(images, &[Fill::Bf16, Fill::Out]).into(),
        Case::timed(of(second, DType::F32), &[Fill::F32, Fill::Out]).into(),
        Case::timed(of(second, DType::Bf16), &[Fill::Bf16, Fill::Out]).into(),
        Case::timed(grad(DType::F32), &[Fill::F32, Fill::Out]).into(),
        Case::timed(grad(DType::Bf16), &[Fill::Bf16, Fill::Out]).into(),
    ]
}
