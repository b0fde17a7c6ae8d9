//! What a network is made of, as data: a list of layers from an image to the classes' logits.

use crate::error::{Error, Result};
use crate::op::Scalar;

const OP: &str = "model";

/// One layer of a [`Model`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Layer {
    /// `y = x W^T + b` over all numbers of an image, W of `outputs` rows.
    Linear {
        /// Numbers of one image of `y`.
        outputs: usize,
    },
    /// A 2-D cross-correlation with a bias for each filter, as a product over patches (im2col).
    Conv2d {
        /// Channels of `y`.
        filters: usize,
        /// Rows and columns of a filter.
        window: [usize; 2],
        /// Rows and columns from one place of a filter to the next.
        stride: [usize; 2],
        /// Rows of zeros above and below the image, columns left and right of it.
        padding: [usize; 2],
    },
    /// The largest number of every window, channel by channel; windows stand beside one another, and what is left at
    /// the right and below is in none. Of equal numbers the first in row-major order gets the gradient.
    MaxPool {
        /// Rows and columns of a window.
        window: [usize; 2],
    },
    /// `max(x, 0)`.
    Relu,
    /// In training every number is 0 with a probability of `p` and otherwise larger by 1 / (1 - p); in evaluation all
    /// stay, and nothing is drawn. See [`Dropout`](crate::kernels::Dropout) for `p` as the bits have it. The bits are
    /// those of stream 7 (the purpose) and the layer's number from 0, anew in every step, at the number's place in the
    /// batch.
    Dropout {
        /// The probability, 0 or more and below 1.
        p: f32,
    },
}

impl Layer {
    /// Filters of `size` x `size` pixels at every place where they fit.
    #[must_use]
    pub const fn conv(filters: usize, size: usize) -> Self {
        Self::Conv2d {
            filters,
            window: [size; 2],
            stride: [1; 2],
            padding: [0; 2],
        }
    }

    /// Windows of `size` x `size` pixels.
    #[must_use]
    pub const fn max_pool(size: usize) -> Self {
        Self::MaxPool { window: [size; 2] }
    }

    /// Its name in messages.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Linear { .. } => "linear",
            Self::Conv2d { .. } => "conv2d",
            Self::MaxPool { .. } => "max_pool",
            Self::Relu => "relu",
            Self::Dropout { .. } => "dropout",
        }
    }
}

/// A network: what it reads, and its layers from there to the logits.
///
/// ```
/// use fewbit::nn::{Layer, Model};
///
/// let model = Model::new("small", [28, 28, 1])
///     .with(Layer::conv(8, 5))
///     .with(Layer::Relu)
///     .with(Layer::max_pool(2))
///     .with(Layer::Linear { outputs: 10 });
/// assert_eq!(model.classes()?, 10);
/// assert_eq!(model.weights()?, 8 * 25 + 12 * 12 * 8 * 10);
/// # Ok::<(), fewbit::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Model {
    /// Its name in tables.
    pub name: String,
    /// Rows of pixels of an image, pixels of a row, and channels of a pixel.
    pub input: [usize; 3],
    /// From the image to the logits.
    pub layers: Vec<Layer>,
}

impl Model {
    /// Without layers.
    #[must_use]
    pub fn new(name: impl Into<String>, input: [usize; 3]) -> Self {
        Self {
            name: name.into(),
            input,
            layers: Vec::new(),
        }
    }

    /// With one more layer, above the others.
    #[must_use]
    pub fn with(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// Linear layers of these widths, from the pixels to the classes, with a ReLU between any two.
    #[must_use]
    pub fn mlp(widths: &[usize]) -> Self {
        let names: Vec<_> = widths.iter().map(ToString::to_string).collect();
        let pixels = widths.first().copied().unwrap_or(0);
        let mut model = Self::new(names.join("-"), [1, 1, pixels]);
        for (i, &outputs) in widths.iter().enumerate().skip(1) {
            if i > 1 {
                model.layers.push(Layer::Relu);
            }
            model.layers.push(Layer::Linear { outputs });
        }
        model
    }

    /// LeNet-5 as pruning and quantization are measured on it (Caffe's, with a ReLU after each convolution): 20 and 50
    /// filters of 5 x 5, each with max pooling by 2 x 2, then 500 hidden units; 430,500 weights.
    #[must_use]
    pub fn lenet_5() -> Self {
        [
            Layer::conv(20, 5),
            Layer::Relu,
            Layer::max_pool(2),
            Layer::conv(50, 5),
            Layer::Relu,
            Layer::max_pool(2),
            Layer::Linear { outputs: 500 },
            Layer::Relu,
            Layer::Linear { outputs: 10 },
        ]
        .into_iter()
        .fold(Self::new("lenet-5", [28, 28, 1]), Self::with)
    }

    /// Every model that has a name, for images of 28 x 28 pixels and ten classes: `mlp` (784-2800-2670-10),
    /// `mlp-small` (784-512-512-10), `lenet-300-100` and `lenet-5`.
    pub fn known() -> impl Iterator<Item = Self> {
        let named = |name: &str, widths: &[usize]| Self {
            name: name.into(),
            ..Self::mlp(widths)
        };
        [
            named("mlp", &[784, 2800, 2670, 10]),
            named("mlp-small", &[784, 512, 512, 10]),
            named("lenet-300-100", &[784, 300, 100, 10]),
            Self::lenet_5(),
        ]
        .into_iter()
    }

    /// The model of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::known().find(|model| model.name == name)
    }

    /// Numbers of an image.
    #[must_use]
    pub fn pixels(&self) -> usize {
        numbers(self.input)
    }

    /// Logits of an image.
    ///
    /// # Errors
    /// Layers that do not fit one another.
    pub fn classes(&self) -> Result<usize> {
        let stages = self.stages()?;
        Ok(stages.last().map_or(0, |stage| stage.to.numbers()))
    }

    /// Weights of all layers, biases apart.
    ///
    /// # Errors
    /// Layers that do not fit one another.
    pub fn weights(&self) -> Result<usize> {
        let shapes = self.stages()?.into_iter().filter_map(|stage| stage.weights());
        Ok(shapes.fold(0, |sum, [rows, cols]| {
            sum.saturating_add(rows.saturating_mul(cols))
        }))
    }

    /// What runs, in order: the layers, each with the ReLU above it, and what changes how images lie between them.
    pub(super) fn stages(&self) -> Result<Vec<Stage>> {
        if self.pixels() == 0 {
            return Err(self.refuse(
                "images",
                format!("{:?}", self.input),
                "at least one pixel and channel",
            ));
        }
        let mut flow = Shape::input(self.input);
        let mut stages: Vec<Stage> = Vec::new();
        for (number, layer) in self.layers.iter().enumerate() {
            let wanted = match layer {
                Layer::Linear { .. } => Some(Lying::Rows),
                Layer::MaxPool { .. } => Some(Lying::Pixels),
                Layer::Conv2d { .. } | Layer::Relu | Layer::Dropout { .. } => None,
            };
            if let Some(lying) = wanted.filter(|lying| !flow.lies(*lying)) {
                let to = Shape { lying, ..flow };
                stages.push(Stage::new(number, Work::Reshape, flow, to));
                flow = to;
            }
            let (work, to) = match layer {
                Layer::Linear { outputs } => (Work::Linear, Shape::row(*outputs)),
                Layer::Conv2d {
                    filters,
                    window,
                    stride,
                    padding,
                } => {
                    let conv = Conv {
                        window: *window,
                        stride: *stride,
                        padding: *padding,
                    };
                    let [height, width] = conv.places(flow.image);
                    let to = Shape {
                        image: [height, width, *filters],
                        lying: Lying::Pixels,
                    };
                    (Work::Conv2d(conv), to)
                }
                Layer::MaxPool { window } => {
                    let [height, width, channels] = flow.image;
                    let along = |len: usize, window: usize| len.checked_div(window).unwrap_or(0);
                    let to = Shape {
                        image: [along(height, window[0]), along(width, window[1]), channels],
                        lying: Lying::Rows,
                    };
                    (Work::MaxPool(*window), to)
                }
                Layer::Relu => {
                    // It is the last step of the product below, or a stage of its own.
                    if let Some(below) = stages.last_mut().filter(|below| below.weights().is_some()) {
                        below.relu = true;
                        continue;
                    }
                    (Work::Relu, flow)
                }
                Layer::Dropout { p } => (Work::Dropout((*p).into()), flow),
            };
            if to.numbers() == 0 {
                let [height, width, channels] = flow.image;
                return Err(self.refuse(
                    "layers",
                    format!(
                        "{} (layer {number}) of {height} x {width} pixels of {channels}",
                        layer.name()
                    ),
                    "a layer that leaves at least one number",
                ));
            }
            stages.push(Stage::new(number, work, flow, to));
            flow = to;
        }
        match stages.last() {
            Some(last) if last.work == Work::Linear && !last.relu => Ok(stages),
            _ => Err(self.refuse(
                "layers",
                self.layers.last().map_or("none", Layer::name).to_string(),
                "a linear layer last, whose outputs are the logits",
            )),
        }
    }

    fn refuse(&self, what: &'static str, value: String, expected: &'static str) -> Error {
        Error::Value {
            op: OP,
            what,
            value: format!("{value}, in {:?}", self.name),
            expected,
        }
    }
}

fn numbers(image: [usize; 3]) -> usize {
    image.into_iter().fold(1, usize::saturating_mul)
}

/// How the numbers of images lie in a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lying {
    /// A row for every image: what a linear layer reads and max pooling makes.
    Rows,
    /// A row for every pixel: what a convolution makes and max pooling reads.
    Pixels,
}

/// What flows from one layer to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Rows of pixels, pixels of a row, channels.
    pub(super) image: [usize; 3],
    pub(super) lying: Lying,
}

impl Shape {
    /// What a network reads.
    pub(super) const fn input(image: [usize; 3]) -> Self {
        Self {
            image,
            lying: Lying::Rows,
        }
    }

    const fn row(numbers: usize) -> Self {
        Self {
            image: [1, 1, numbers],
            lying: Lying::Rows,
        }
    }

    /// Numbers of an image.
    pub(super) fn numbers(&self) -> usize {
        numbers(self.image)
    }

    /// Whether it lies so already: an image of one pixel lies both ways.
    pub(super) fn lies(&self, lying: Lying) -> bool {
        self.lying == lying || self.image[..2] == [1, 1]
    }

    /// Rows and columns of a tensor of so many images.
    pub(super) fn tensor(&self, batch: usize) -> [usize; 2] {
        let [height, width, channels] = self.image;
        match self.lying {
            Lying::Rows => [batch, self.numbers()],
            Lying::Pixels => [batch.saturating_mul(height.saturating_mul(width)), channels],
        }
    }
}

/// Where filters stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Conv {
    pub(super) window: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) padding: [usize; 2],
}

impl Conv {
    /// Rows and columns of places; 0 where the filter does not fit.
    fn places(&self, image: [usize; 3]) -> [usize; 2] {
        [0, 1].map(|side| {
            let len = image[side].saturating_add(self.padding[side].saturating_mul(2));
            match (len.checked_sub(self.window[side]), self.window[side]) {
                (None, _) | (_, 0) => 0,
                (Some(rest), _) => rest.checked_div(self.stride[side]).map_or(0, |steps| steps + 1),
            }
        })
    }
}

/// What a stage does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Linear,
    Conv2d(Conv),
    MaxPool([usize; 2]),
    Relu,
    /// With this probability.
    Dropout(Scalar),
    /// Rows of images to rows of pixels, or back.
    Reshape,
}

/// A step of the forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stage {
    /// The layer of the model that it belongs to, from 0.
    pub(super) layer: usize,
    pub(super) work: Work,
    pub(super) from: Shape,
    pub(super) to: Shape,
    /// Whether a ReLU ends it.
    pub(super) relu: bool,
}

impl Stage {
    const fn new(layer: usize, work: Work, from: Shape, to: Shape) -> Self {
        Self {
            layer,
            work,
            from,
            to,
            relu: false,
        }
    }

    /// Rows and columns of its weights: outputs, and the numbers each of them is a product of.
    pub(super) fn weights(&self) -> Option<[usize; 2]> {
        match self.work {
            Work::Linear => Some([self.to.numbers(), self.from.numbers()]),
            Work::Conv2d(conv) => {
                let of_patch = numbers([conv.window[0], conv.window[1], self.from.image[2]]);
                Some([self.to.image[2], of_patch])
            }
            Work::MaxPool(_) | Work::Relu | Work::Dropout(_) | Work::Reshape => None,
        }
    }

    /// Rows and columns of the patches of so many images, of a convolution.
    pub(super) fn patches(&self, batch: usize) -> Option<[usize; 2]> {
        match (self.work, self.weights()) {
            (Work::Conv2d(_), Some([_, of_patch])) => Some([self.to.tensor(batch)[0], of_patch]),
            _ => None,
        }
    }
}

/// How many stages have weights.
pub(super) fn with_weights(stages: &[Stage]) -> usize {
    stages.iter().filter(|stage| stage.weights().is_some()).count()
}

#[cfg(test)]
mod tests;
