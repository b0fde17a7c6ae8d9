//! Operands of products as they are stored, or encoded along the axis that is summed.

use super::super::build::Build;
use super::super::model::Stage;
use super::super::network::{ENCODE, ld};
use super::super::products::{Coding, Products};
use super::super::recipe::Recipe;
use crate::device::{Program, TensorId};
use crate::error::Result;
use crate::format::random::Draw;
use crate::format::{Elements, Rounding};
use crate::kernels::{Encode, Matmul, Transpose};
use crate::tensor::{DType, Layout};

/// What an operand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Weights,
    Activations,
    Gradients,
}

/// The axis that a product sums along, in a stored matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Along {
    /// From column to column: the products of a sum lie side by side.
    Columns,
    /// From row to row.
    Rows,
}

/// An operand before it is encoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Factor {
    place: Place,
    source: TensorId,
    /// As stored.
    shape: [usize; 2],
    along: Along,
}

impl Factor {
    pub(super) const fn new(place: Place, source: TensorId, shape: [usize; 2], along: Along) -> Self {
        Self {
            place,
            source,
            shape,
            along,
        }
    }

    fn dtype(&self, recipe: &Recipe) -> DType {
        match self.place {
            Place::Weights => recipe.weights,
            Place::Activations => recipe.activations,
            Place::Gradients => recipe.gradients,
        }
    }

    fn coding(&self, products: &Products) -> Option<Coding> {
        match self.place {
            Place::Weights => products.weights,
            Place::Activations => products.activations,
            Place::Gradients => products.gradients,
        }
    }

    /// Its shape with the axis that is summed along rows.
    fn turned(&self) -> [usize; 2] {
        let [rows, cols] = self.shape;
        match self.along {
            Along::Columns => [rows, cols],
            Along::Rows => [cols, rows],
        }
    }
}

/// Memory for the two operands of a product, encoded, and for what is turned before it is. All products take turns.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::nn) struct Encoded {
    codes: [Option<TensorId>; 2],
    scales: [Option<TensorId>; 2],
    turned: Option<TensorId>,
}

/// Words that the two sides need at most.
#[derive(Clone, Copy, Debug, Default)]
struct Needed {
    codes: [u64; 2],
    scales: [u64; 2],
    turned: u64,
}

impl Needed {
    fn add(&mut self, side: usize, coding: Option<Coding>, [rows, cols]: [usize; 2], turned: Option<DType>) {
        let Some(Coding { format, .. }) = coding else {
            return;
        };
        let codes = (rows as u64).saturating_mul(format.codes_words_per_row(cols) as u64);
        self.codes[side] = self.codes[side].max(codes);
        self.scales[side] = self.scales[side].max(format.scales_words(rows, cols) as u64);
        if let Some(dtype) = turned {
            let elements = (rows as u64).saturating_mul(ld(dtype, cols) as u64);
            self.turned = self.turned.max(dtype.words(elements));
        }
    }
}

impl Encoded {
    /// For a network's stages, each over so many rows of images.
    pub(in crate::nn) fn new(
        program: &mut Program,
        bytes: &mut u64,
        recipe: &Recipe,
        batch: usize,
        stages: &[Stage],
    ) -> Result<Self> {
        let mut needed = Needed::default();
        let (act, grad, weights) = (recipe.activations, recipe.gradients, recipe.weights);
        let with_weights = stages.iter().filter(|stage| stage.weights().is_some());
        for (layer, stage) in with_weights.enumerate() {
            let products = recipe.products_of(layer);
            let [outputs, inputs] = stage.weights().unwrap_or_default();
            let rows = stage.patches(batch).map_or(batch, |[rows, _]| rows);
            needed.add(0, products.activations, [rows, inputs], None);
            needed.add(1, products.weights, [outputs, inputs], None);
            if layer > 0 {
                needed.add(0, products.gradients, [rows, outputs], None);
                needed.add(1, products.weights, [inputs, outputs], Some(weights));
            }
            needed.add(0, products.gradients, [outputs, rows], Some(grad));
            needed.add(1, products.activations, [inputs, rows], Some(act));
        }
        let mut memory = |words: u64| -> Result<Option<TensorId>> {
            if words == 0 {
                return Ok(None);
            }
            let layout = Layout::dense(DType::U32, &[1, words as usize]);
            *bytes += layout.bytes();
            program.zeros(layout).map(Some)
        };
        Ok(Self {
            codes: [memory(needed.codes[0])?, memory(needed.codes[1])?],
            scales: [memory(needed.scales[0])?, memory(needed.scales[1])?],
            turned: memory(needed.turned)?,
        })
    }
}

impl Build<'_> {
    /// The stage's product number `which` of two factors, with its types and what it reads: A and B as they are stored
    /// or encoded.
    pub(super) fn factors(
        &mut self,
        number: usize,
        which: u32,
        product: Matmul,
        out: DType,
        factors: [Factor; 2],
    ) -> Result<(Matmul, Vec<TensorId>)> {
        let products = self.products(number);
        let mut operands = Vec::new();
        let mut elements = [Elements::Plain(out); 2];
        for (side, factor) in factors.into_iter().enumerate() {
            let dtype = factor.dtype(self.recipe);
            elements[side] = match factor.coding(&products) {
                Some(coding) => {
                    let stream = 2 * which + side as u32;
                    self.encode(number, (side, stream), factor, dtype, coding, &mut operands)?;
                    Elements::Coded(coding.format)
                }
                None => {
                    operands.push(factor.source);
                    Elements::Plain(dtype)
                }
            };
        }
        let plain = |side: usize| matches!(elements[side], Elements::Plain(_));
        let mut product = product.types(elements[0], elements[1], out);
        if plain(0) && factors[0].along == Along::Rows {
            product = product.transpose_a();
        }
        if !plain(1) || factors[1].along == Along::Columns {
            product = product.transpose_b();
        }
        Ok((product, operands))
    }

    /// Encodes a factor along the axis that is summed, into the memory of its side.
    fn encode(
        &mut self,
        number: usize,
        (side, stream): (usize, u32),
        factor: Factor,
        dtype: DType,
        coding: Coding,
        operands: &mut Vec<TensorId>,
    ) -> Result<()> {
        let [rows, cols] = factor.turned();
        let mut source = factor.source;
        if let (Along::Rows, Some(memory)) = (factor.along, self.encoded.turned) {
            let [rows, cols] = factor.shape;
            let turned = self.program.view(
                memory,
                Layout::dense(
                    DType::U32,
                    &[1, dtype.words((cols * ld(dtype, rows)) as u64) as usize],
                ),
            )?;
            self.program
                .call(Transpose::new(rows, cols, dtype), &[source, turned])?;
            source = turned;
        }
        let draw = match coding.rounding {
            Rounding::Stochastic => Draw {
                stream: self.claim(ENCODE, number, stream)?,
                generator: self.options.generator,
                ..Draw::default()
            },
            Rounding::Nearest | Rounding::TowardZero => Draw::default(),
        };
        let encode = Encode {
            rounding: coding.rounding,
            draw,
            ..Encode::new(rows, cols, coding.format, dtype)
        };
        let parts = [
            self.encoded.codes[side],
            self.encoded.scales[side].filter(|_| coding.format.has_scales()),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        let mut all = vec![source];
        all.extend(&parts);
        self.program.call(encode, &all)?;
        operands.extend(parts);
        Ok(())
    }
}
