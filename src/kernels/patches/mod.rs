//! `patches` and `patches_grad`: what a convolution reads at every place, a row each, so that the convolution is a product
//! (im2col), and the gradient back to the image (col2im). f32 and packed bf16 (f64 on the CPU device and the reference).
//! Patches are bits that are copied; their gradient is a sum in f32 (f64), rounded once.

pub(crate) mod cases;
mod cpu;
mod device;
pub(super) mod gpu;
mod reference;

use crate::cpu::Cpu;
use crate::error::{Error, Result};
use crate::gpu::{Gpu, OperandSpec};
use crate::op::{Args, Contract, Judge, Op, Output, Stored, Sum, Table, Work, check_floats, check_limit};
use crate::tensor::{DType, View};

/// A row of `y` is what a window holds of `x` at one place. Operands: `x`, `y`.
///
/// `x` holds images: pixels row by row, the channels of each beside one another; `pixel_ld` and `image_ld` say where.
/// [`Patches::new`] has a row for every pixel, what a product over patches makes; [`Patches::of_rows`] a row for every
/// image. `y` has a row for every place of the window, image by image, the places of each row by row, and in it the
/// numbers of the patch by window row, window column and channel. What a window holds outside of the image is +0.
///
/// With weights of `[outputs, window rows * window columns * channels]` the product `y W^T` is the convolution, with a row
/// for every pixel of its result.
///
/// Exact class, on bits: numbers are copied, never computed.
///
/// | variant | when | why |
/// |---|---|---|
/// | `word` | f32, bf16 | one word of the output per invocation, any leading dimension, any offset |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Patches {
    /// Type of both operands: `F32`, `Bf16` or `F64`.
    pub dtype: DType,
    /// Images.
    pub batch: usize,
    /// Rows of pixels of an image: at least 1.
    pub height: usize,
    /// Pixels of a row: at least 1.
    pub width: usize,
    /// Numbers of a pixel.
    pub channels: usize,
    /// Rows and columns of a window: at least 1, at most the padded image's.
    pub window: [usize; 2],
    /// Rows and columns from one place of the window to the next: at least 1.
    pub stride: [usize; 2],
    /// Rows of zeros above and below an image, and columns left and right of it.
    pub padding: [usize; 2],
    /// Elements from one pixel of `x` to the next: at least `channels`.
    pub pixel_ld: usize,
    /// Elements from one image of `x` to the next: at least those that an image spans, even for bf16.
    pub image_ld: usize,
    /// Elements from one patch of `y` to the next: at least [`Patches::cols`], even for bf16.
    pub y_ld: usize,
}

/// `dx` is the sum of `dy` over all patches that hold the pixel. Operands: `dy`, `dx`.
///
/// `dy` is laid out as `y` of the forward pass; `dx` has a row for every pixel. A pixel that no patch holds gets +0.
///
/// Bounded class with as many terms as patches hold the pixel: sums from +0 on in f32 (f64 for `F64`), rounded once to
/// nearest where `dx` is bf16. The CPU device and the reference add by place of the window, row by row.
///
/// | variant | when | why |
/// |---|---|---|
/// | `word` | f32, bf16 | one word of the output per invocation, any leading dimension, any offset |
///
/// On a GPU the patches that hold one row of pixels must fit a binding: there is no smaller piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PatchesGrad {
    /// The forward pass, whose `y_ld` is that of `dy`. Where its images lie does not matter.
    pub patches: Patches,
    /// Elements from one pixel of `dx` to the next: at least the channels, even for bf16.
    pub dx_ld: usize,
}

/// The most rows or columns of a padded image, so that places of windows are whole numbers of 32 bits with a sign.
const MOST: u64 = (1 << 31) - 1;

impl Patches {
    /// Windows at every place of images of `[height, width, channels]`, nothing padded; rows of pixels and of patches as
    /// far apart as those of tensors.
    #[must_use]
    pub fn new(batch: usize, image: [usize; 3], window: [usize; 2], dtype: DType) -> Self {
        let [height, width, channels] = image;
        let pixel_ld = dtype.row_ld(channels);
        let mut patches = Self {
            dtype,
            batch,
            height,
            width,
            channels,
            window,
            stride: [1; 2],
            padding: [0; 2],
            pixel_ld,
            image_ld: height.saturating_mul(width).saturating_mul(pixel_ld),
            y_ld: 0,
        };
        patches.y_ld = dtype.row_ld(patches.cols());
        patches
    }

    /// The same with other rows and columns from one place of the window to the next.
    #[must_use]
    pub fn strided(self, stride: [usize; 2]) -> Self {
        Self { stride, ..self }
    }

    /// The same with so many rows of zeros above and below an image and columns of them left and right of it.
    #[must_use]
    pub fn padded(self, padding: [usize; 2]) -> Self {
        Self { padding, ..self }
    }

    /// The same with `x` in rows of whole images, so many elements apart, their pixels without gaps: `[batch, height *
    /// width * channels]`.
    #[must_use]
    pub fn of_rows(self, image_ld: usize) -> Self {
        Self {
            pixel_ld: self.channels,
            image_ld,
            ..self
        }
    }

    /// Rows and columns of places of the window; 0 where it does not fit.
    #[must_use]
    pub fn places(&self) -> [usize; 2] {
        let along = |len: usize, i: usize| match padded(len, self.padding[i]).checked_sub(self.window[i]) {
            Some(rest) => rest / self.stride[i].max(1) + 1,
            None => 0,
        };
        [along(self.height, 0), along(self.width, 1)]
    }

    /// Rows of `y`: patches of all images.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.batch.saturating_mul(self.image_rows())
    }

    /// Columns of `y`: numbers of a patch.
    #[must_use]
    pub fn cols(&self) -> usize {
        let [height, width] = self.window;
        height.saturating_mul(width).saturating_mul(self.channels)
    }

    /// Patches of an image.
    fn image_rows(&self) -> usize {
        let [height, width] = self.places();
        height.saturating_mul(width)
    }

    /// Pixels of an image.
    fn pixels(&self) -> usize {
        self.height.saturating_mul(self.width)
    }

    /// A row for every image, from its first number to its last: nobody writes `x`, so that gaps between pixels may count
    /// as numbers of it.
    fn x(&self) -> View {
        let spanned = match (self.channels, self.pixels().checked_sub(1)) {
            (0, _) | (_, None) => 0,
            (channels, Some(gaps)) => gaps.saturating_mul(self.pixel_ld).saturating_add(channels),
        };
        View::new(self.dtype, self.batch, spanned, self.image_ld)
    }

    fn y(&self) -> View {
        View::new(self.dtype, self.rows(), self.cols(), self.y_ld)
    }

    fn is_empty(&self) -> bool {
        self.x().is_empty() || self.y().is_empty()
    }

    /// Shapes, without the images of `x`.
    fn check(&self, op: &'static str, operands: &[(&'static str, View)]) -> Result<()> {
        let sides = [
            ("window rows", "rows of a padded image", self.height),
            ("window columns", "columns of a padded image", self.width),
        ];
        let refuse = |what, value: String, expected| {
            Err(Error::Value {
                op,
                what,
                value,
                expected,
            })
        };
        for (i, (what, sum, len)) in sides.into_iter().enumerate() {
            let (window, padding) = (self.window[i], self.padding[i]);
            if len == 0 || window == 0 || window > padded(len, padding) {
                let value = format!("{window} (of {len} pixels, {padding} of padding on either side)");
                let expected = "at least 1 and at most those of the padded image, which has pixels";
                return refuse(what, value, expected);
            }
            if self.stride[i] == 0 {
                return refuse("stride", "0".to_string(), "at least 1");
            }
            check_limit(op, sum, padded(len, padding) as u64, MOST)?;
            check_limit(op, "stride", self.stride[i] as u64, MOST)?;
        }
        for (operand, view) in operands {
            check_floats(op, &[(operand, view.dtype)])?;
            view.check(op, operand)?;
        }
        Ok(())
    }

    fn check_pixels(&self, op: &'static str) -> Result<()> {
        if self.pixel_ld < self.channels {
            return Err(Error::Value {
                op,
                what: "leading dimension",
                value: format!("{} (a pixel of x has {} channels)", self.pixel_ld, self.channels),
                expected: "at least the channels",
            });
        }
        Ok(())
    }

    fn describe(&self) -> String {
        let Self {
            batch,
            height,
            width,
            channels,
            dtype,
            ..
        } = self;
        let pair = |name: &str, [rows, cols]: [usize; 2], plain: usize| match [rows, cols] == [plain; 2] {
            true => String::new(),
            false => format!(" {name} {rows}x{cols}"),
        };
        let (stride, padding) = (pair("stride", self.stride, 1), pair("padding", self.padding, 0));
        let [rows, cols] = self.window;
        format!("{batch}x{height}x{width}x{channels} {dtype} window {rows}x{cols}{stride}{padding}")
    }
}

/// Pixels of a side with those of padding.
fn padded(len: usize, padding: usize) -> usize {
    len.saturating_add(padding.saturating_mul(2))
}

impl PatchesGrad {
    /// Of a forward pass, with pixels of `dx` as far apart as those of tensors.
    #[must_use]
    pub fn new(patches: Patches) -> Self {
        Self {
            patches,
            dx_ld: patches.dtype.row_ld(patches.channels),
        }
    }

    fn dx(&self) -> View {
        let Patches { dtype, channels, .. } = self.patches;
        let rows = self.patches.batch.saturating_mul(self.patches.pixels());
        View::new(dtype, rows, channels, self.dx_ld)
    }

    fn stored(&self) -> Stored {
        match self.patches.dtype {
            DType::F64 => Stored::F64,
            DType::F32 | DType::U32 | DType::U16 => Stored::F32,
            DType::Bf16 => Stored::Bf16Nearest,
        }
    }

    /// Holds every sum to the bound.
    fn judge<'j>(&self, judge: Judge<'j>) -> Judge<'j> {
        let (op, dx) = (&self.patches, self.dx());
        let (dy, words) = (op.y(), judge.before("dy"));
        let spread = || {
            let mut sums = vec![Sum::default(); dx.rows * dx.cols];
            let [_, across] = op.places();
            for row in 0..dy.rows {
                let (image, place) = (row / op.image_rows(), row % op.image_rows());
                let (top, left) = (place / across * op.stride[0], place % across * op.stride[1]);
                for col in 0..dy.cols {
                    let (inside, channel) = (col / op.channels, col % op.channels);
                    let (i, j) = (top + inside / op.window[1], left + inside % op.window[1]);
                    let (Some(i), Some(j)) = (i.checked_sub(op.padding[0]), j.checked_sub(op.padding[1]))
                    else {
                        continue;
                    };
                    if i < op.height && j < op.width {
                        let pixel = (image * op.height + i) * op.width + j;
                        sums[pixel * op.channels + channel].term(dy.load(words, row, col));
                    }
                }
            }
            sums
        };
        judge.bounded(&[Output::new("dx", dx)], self.stored(), spread)
    }
}

impl Op for Patches {
    fn name(&self) -> &'static str {
        "patches"
    }

    fn describe(&self) -> String {
        let apart = match self.pixel_ld == self.dtype.row_ld(self.channels) {
            true => String::new(),
            false => format!(" pixels {} apart", self.pixel_ld),
        };
        self.describe() + &apart
    }

    fn operands(&self) -> Vec<OperandSpec> {
        vec![
            OperandSpec::read("x", self.x().words()),
            OperandSpec::write("y", self.y().words()),
        ]
    }

    fn check(&self) -> Result<()> {
        self.check("patches", &[("x", self.x()), ("y", self.y())])?;
        self.check_pixels("patches")
    }

    fn work(&self) -> Work {
        Work::new(0.0, bytes(self))
    }

    fn table(&self) -> &'static dyn Table {
        &gpu::FORWARD
    }

    fn check_gpu(&self, _gpu: &Gpu) -> Result<()> {
        crate::op::no_f64_on_gpu("patches", &[("x", self.dtype)])
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        let [x, y] = args.take(self)?;
        cpu::patches(cpu, self, x.read(), y.write()?);
        Ok(())
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let [x, y] = args.take(self)?;
        reference::patches(self, x.read(), y.write()?);
        Ok(())
    }
}

impl Op for PatchesGrad {
    fn name(&self) -> &'static str {
        "patches_grad"
    }

    fn describe(&self) -> String {
        self.patches.describe()
    }

    fn operands(&self) -> Vec<OperandSpec> {
        vec![
            OperandSpec::read("dy", self.patches.y().words()),
            OperandSpec::write("dx", self.dx().words()),
        ]
    }

    fn check(&self) -> Result<()> {
        self.patches
            .check("patches_grad", &[("dy", self.patches.y()), ("dx", self.dx())])
    }

    fn contract(&self) -> Contract<'_> {
        Contract::bounded(|judge| self.judge(judge))
    }

    fn work(&self) -> Work {
        Work::new(self.patches.y().len() as f64, bytes(&self.patches))
    }

    fn table(&self) -> &'static dyn Table {
        &gpu::BACKWARD
    }

    fn check_gpu(&self, _gpu: &Gpu) -> Result<()> {
        crate::op::no_f64_on_gpu("patches_grad", &[("dy", self.patches.dtype)])
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        let [dy, dx] = args.take(self)?;
        cpu::patches_grad(cpu, self, dy.read(), dx.write()?)
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        let [dy, dx] = args.take(self)?;
        reference::patches_grad(self, dy.read(), dx.write()?);
        Ok(())
    }
}

/// Of every pixel and every patch once.
fn bytes(op: &Patches) -> f64 {
    let pixels = op.batch as f64 * op.pixels() as f64 * op.channels as f64;
    (pixels + op.y().len() as f64) * f64::from(op.dtype.bits()) / 8.0
}
