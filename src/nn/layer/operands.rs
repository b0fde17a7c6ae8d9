//! Operands of products as they are stored, or encoded along the axis that is summed.

use super::super::build::Build;
use super::super::model::Stage;
use super::super::network::{ENCODE, ld};
use super::super::places::{Places, Types};
use super::super::precision::{Measure, Place, Product};
use super::super::products::{Coding, Products};
use super::super::recipe::Recipe;
use crate::device::{CallId, Program, TensorId};
use crate::error::Result;
use crate::format::Elements;
use crate::format::random::Draw;
use crate::kernels::{Encode, Improvement, Matmul, Transpose};
use crate::tensor::{DType, Layout};

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
    dtype: DType,
    /// As stored.
    shape: [usize; 2],
    along: Along,
}

impl Factor {
    pub(super) const fn new(
        place: Place,
        (source, dtype): (TensorId, DType),
        shape: [usize; 2],
        along: Along,
    ) -> Self {
        Self {
            place,
            source,
            dtype,
            shape,
            along,
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
        let types = Types::new(recipe, stages);
        let with_weights = stages
            .iter()
            .enumerate()
            .filter(|(_, stage)| stage.weights().is_some());
        for (layer, (at, stage)) in with_weights.enumerate() {
            let (act, grad) = (types.values[at], types.gradients[at + 1]);
            let Places {
                weights, products, ..
            } = recipe.places_of(layer);
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
    /// The stage's product number `which` of two factors as they are stored or encoded; `rest` are the result and the
    /// bias. Where the precision is variable, once for every pairing of coarse and fine factors.
    pub(super) fn multiply(
        &mut self,
        number: usize,
        which: u32,
        product: Matmul,
        out: DType,
        factors: [Factor; 2],
        rest: &[TensorId],
    ) -> Result<CallId> {
        let products = self.products(number);
        let mut encodings = [None; 2];
        for (side, factor) in factors.iter().enumerate() {
            if let Some(coding) = factor.coding(&products) {
                // Of all pairings a step runs one, so that they share the stream.
                let draw = self.draw(coding.rounding, ENCODE, number, 2 * which + side as u32)?;
                encodings[side] = Some((coding, draw));
            }
        }
        let Some(variable) = self.recipe.variable else {
            return self.multiply_as(product, out, factors, encodings, rest);
        };
        let layer = self.layer_of(number);
        let places = factors.map(|factor| factor.place);
        let work = (product.m as u64)
            .saturating_mul(product.n as u64)
            .saturating_mul(product.k as u64);
        let evaluating = self.evaluating;
        if let Some(choices) = self.choices.as_mut().filter(|_| !evaluating) {
            choices.products.push(Product { layer, places, work });
        }
        let mut coarse = encodings;
        for (coding, _) in coarse.iter_mut().flatten() {
            *coding = variable.coarse(*coding)?;
        }
        let mut branch = |fine: [bool; 2]| {
            let encodings = [0, 1].map(|side| if fine[side] { encodings[side] } else { coarse[side] });
            let operands = [0, 1].map(|side| (places[side], fine[side]));
            let condition = self
                .choices
                .as_ref()
                .map(|choices| choices.condition(layer, operands));
            self.program.when(condition)?;
            let last = self.multiply_as(product, out, factors, encodings, rest)?;
            self.program.when(None)?;
            Ok(last)
        };
        branch([false, false])?;
        branch([false, true])?;
        branch([true, false])?;
        branch([true, true])
    }

    /// One product, with these encodings and what they draw from.
    fn multiply_as(
        &mut self,
        product: Matmul,
        out: DType,
        factors: [Factor; 2],
        encodings: [Option<(Coding, Draw)>; 2],
        rest: &[TensorId],
    ) -> Result<CallId> {
        let mut operands = Vec::new();
        let mut elements = [Elements::Plain(out); 2];
        for (side, factor) in factors.into_iter().enumerate() {
            let dtype = factor.dtype;
            elements[side] = match encodings[side] {
                Some(encoding) => {
                    operands.extend(self.encode(side, factor, dtype, encoding)?);
                    Elements::Coded(encoding.0.format)
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
        operands.extend_from_slice(rest);
        self.program.call(product, &operands)
    }

    /// Leaves behind how much finer codes of a stage's operands would change them, in the steps that measure.
    pub(super) fn measure(&mut self, number: usize, x: TensorId, dy: TensorId, rows: usize) -> Result<()> {
        let Some(variable) = self.recipe.variable else {
            return Ok(());
        };
        let layer = self.layer_of(number);
        let products = self.products(number);
        let (from, flow) = (self.types.values[number], self.types.gradients[number + 1]);
        let weights = self.places(number).weights;
        let [outputs, inputs] = self.stages[number].weights().unwrap_or_default();
        let w = self.parameters[self.parameters_of(number)[0]].values;
        let factors = [
            Factor::new(Place::Weights, (w, weights), [outputs, inputs], Along::Columns),
            Factor::new(Place::Activations, (x, from), [rows, inputs], Along::Columns),
            Factor::new(Place::Gradients, (dy, flow), [rows, outputs], Along::Columns),
        ];
        let before = self.program.len();
        for factor in factors {
            let Some(fine) = factor.coding(&products) else {
                continue;
            };
            let [rows, cols] = factor.shape;
            let layout = Layout::dense(DType::F32, &[1, 2 * rows]);
            self.memory.operands += layout.bytes();
            let sums = self.program.zeros(layout)?;
            let coarse = variable.coarse(fine)?;
            let measure = Improvement::new(rows, cols, coarse.format, fine.format, factor.dtype);
            self.program.call(measure, &[factor.source, sums])?;
            let (place, pairs) = (factor.place, rows);
            if let Some(choices) = &mut self.choices {
                choices.measures.push(Measure {
                    layer,
                    place,
                    pairs,
                    sums,
                });
            }
        }
        self.measured(before);
        Ok(())
    }

    /// Encodes a factor along the axis that is summed, into the memory of its side: what the product reads.
    fn encode(
        &mut self,
        side: usize,
        factor: Factor,
        dtype: DType,
        (coding, draw): (Coding, Draw),
    ) -> Result<Vec<TensorId>> {
        let [rows, cols] = factor.turned();
        let mut source = factor.source;
        if let (Along::Rows, Some(memory)) = (factor.along, self.encoded.turned) {
            // Rows and columns of what is turned, whose memory is as long as it needs.
            let turn = Transpose::new(cols, rows, dtype);
            self.program.call(turn, &[source, memory])?;
            source = memory;
        }
        let encode = Encode {
            rounding: coding.rounding,
            draw,
            ..Encode::new(rows, cols, coding.format, dtype)
        };
        let scales = self.encoded.scales[side].filter(|_| coding.format.has_scales());
        let parts: Vec<_> = self.encoded.codes[side].into_iter().chain(scales).collect();
        let operands: Vec<_> = std::iter::once(source).chain(parts.iter().copied()).collect();
        self.program.call(encode, &operands)?;
        Ok(parts)
    }
}
