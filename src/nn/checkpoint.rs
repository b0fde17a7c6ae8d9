//! What a [`Trainer`] has come to, as plain data: all that the next step depends on beside the options, the recipe and
//! the images. How it is kept is the caller's.

use super::network::{self, Parameter};
use super::train::Trainer;
use crate::device::TensorId;
use crate::error::{Error, Result};
use crate::tensor::{DType, Layout, View};

const OP: &str = "restore";

/// A tensor of a [`State`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stored {
    /// [`Parameter::name`], and what of it this is: `layers.0.weight.momentum`.
    pub name: String,
    /// The type of its elements.
    pub dtype: DType,
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub cols: usize,
    /// Its words as the device holds them, the padding of rows included.
    pub words: Vec<u32>,
}

impl Stored {
    /// A tensor from its words.
    #[must_use]
    pub fn new(name: impl Into<String>, dtype: DType, [rows, cols]: [usize; 2], words: Vec<u32>) -> Self {
        Self {
            name: name.into(),
            dtype,
            rows,
            cols,
            words,
        }
    }

    /// How its elements lie in its words.
    #[must_use]
    pub fn view(&self) -> View {
        View::new(
            self.dtype,
            self.rows,
            self.cols,
            network::ld(self.dtype, self.cols),
        )
    }

    /// Its elements, row by row.
    pub fn values(&self) -> impl Iterator<Item = f64> + '_ {
        let view = self.view();
        let places = (0..self.rows).flat_map(|row| (0..self.cols).map(move |col| (row, col)));
        places.map(move |(row, col)| view.load(&self.words, row, col))
    }

    /// Whether all of its elements are finite numbers.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.values().all(f64::is_finite)
    }
}

/// All that a training's next step depends on beside its options, its recipe and its images; made by
/// [`Trainer::state`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct State {
    /// Weights, their master copies, and what the optimizer keeps.
    pub tensors: Vec<Stored>,
    /// Epochs done.
    pub epoch: usize,
    /// Steps done of the epoch after them.
    pub position: usize,
    /// Steps done of all epochs.
    pub steps: u32,
    /// What steps have decided: the loss scale, the steps left out, and what variable precision has chosen. The next steps
    /// go by it; its numbers mean nothing to anyone else.
    pub decided: Vec<u32>,
    /// [`Trainer::variants`]: others may add in another order.
    pub variants: Vec<String>,
}

impl Trainer {
    /// Epochs done, and steps done of the one after them.
    #[must_use]
    pub fn position(&self) -> [usize; 2] {
        [self.epochs, self.position]
    }

    /// What runs: the device, and on a GPU the variant of every operation of a step, in order.
    #[must_use]
    pub fn variants(&self) -> Vec<String> {
        let program = &self.network.program;
        let calls = program
            .variants()
            .map(|(op, variant)| format!("{op} [{variant}]"));
        std::iter::once(program.device().describe())
            .chain(calls)
            .collect()
    }

    /// The weights and biases, layer by layer: the master copy where there is one.
    ///
    /// # Errors
    /// Device lost, or out of memory.
    pub async fn weights(&self) -> Result<Vec<Stored>> {
        let mut all = Vec::new();
        for parameter in self.parameters() {
            let id = parameter.master.unwrap_or(parameter.values);
            all.push(self.stored(parameter.name(), id).await?);
        }
        Ok(all)
    }

    /// Sets a parameter to values, row by row, rounded to nearest; where the recipe has a master copy, that takes them
    /// too, each in its own format.
    ///
    /// # Errors
    /// Another number of values, device lost, or out of memory.
    pub fn set_parameter(&mut self, parameter: &Parameter, values: &[f64]) -> Result<()> {
        let (rows, cols) = (parameter.rows, parameter.cols);
        if values.len() != rows * cols {
            return Err(Error::Shape {
                op: "set_parameter",
                operand: "values",
                expected: format!("{rows} x {cols}"),
                got: vec![values.len()],
            });
        }
        for id in [Some(parameter.values), parameter.master].into_iter().flatten() {
            let (dtype, _) = dense(self.network.program.layout(id)?)?;
            let packed = network::pack(dtype, rows, cols, |at| values[at])?;
            self.network.program.write_words(id, &[&packed])?;
        }
        Ok(())
    }

    /// All that the next step depends on. [`Trainer::restore`] takes it up, bit for bit on the same device.
    ///
    /// # Errors
    /// Device lost, or out of memory.
    pub async fn state(&self) -> Result<State> {
        let mut tensors = Vec::new();
        for (name, id) in self.kept() {
            tensors.push(self.stored(name, id).await?);
        }
        Ok(State {
            tensors,
            epoch: self.epochs,
            position: self.position,
            steps: self.steps,
            decided: self.decided().await?,
            variants: self.variants(),
        })
    }

    /// Goes on from where a trainer of the same recipe and options was: from the middle of an epoch too. Nothing is
    /// changed unless all of it fits.
    ///
    /// # Errors
    /// [`Error::Value`] for a state of other tensors, of another device or of other variants; device lost, or out of
    /// memory.
    pub fn restore(&mut self, state: &State) -> Result<()> {
        let refuse = |what, value: &str, expected| {
            Err(Error::Value {
                op: OP,
                what,
                value: value.to_string(),
                expected,
            })
        };
        let kept = self.kept();
        if kept.len() != state.tensors.len() {
            let count = format!("{} (of {})", state.tensors.len(), kept.len());
            return refuse("tensors", &count, "those of this recipe and model");
        }
        for ((name, id), stored) in kept.iter().zip(&state.tensors) {
            let layout = self.network.program.layout(*id)?;
            let words: u64 = layout.parts().iter().map(|part| part.words).sum();
            let shape = (stored.dtype, [stored.rows, stored.cols]);
            let fits = dense(layout)? == shape && words == stored.words.len() as u64;
            if *name != stored.name || !fits {
                let text = format!("{} of {} x {}", stored.name, stored.rows, stored.cols);
                return refuse("tensor", &text, "that of this recipe and model");
            }
        }
        let own = self.variants();
        if let Some((_, other)) = own.iter().zip(&state.variants).find(|(a, b)| a != b) {
            return refuse("variant", other, "what runs here, for the same bits");
        }
        if own.len() != state.variants.len() {
            let count = state.variants.len().to_string();
            return refuse("variants", &count, "as many as run here");
        }
        self.decide(&state.decided, state.steps)?;
        for ((_, id), stored) in kept.into_iter().zip(&state.tensors) {
            self.network.program.write_words(id, &[&stored.words])?;
        }
        (self.epochs, self.position, self.steps) = (state.epoch, state.position, state.steps);
        self.last = [state.epoch + 1, state.position];
        Ok(())
    }

    /// Every tensor that a step reads and a later step reads again.
    fn kept(&self) -> Vec<(String, TensorId)> {
        let of = |parameter: &Parameter| {
            let parts = [
                ("", Some(parameter.values)),
                (".master", parameter.master),
                (".momentum", Some(parameter.momentum)),
                (".second", parameter.second),
                (".compensation", parameter.compensation),
            ];
            let name = parameter.name();
            parts.map(|(part, id)| Some((format!("{name}{part}"), id?)))
        };
        self.parameters().iter().flat_map(of).flatten().collect()
    }

    pub(super) async fn stored(&self, name: String, id: TensorId) -> Result<Stored> {
        let (dtype, shape) = dense(self.network.program.layout(id)?)?;
        let words = self.read(id).await?.words().to_vec();
        Ok(Stored::new(name, dtype, shape, words))
    }

    /// [`Trainer::state`] for threads that may block.
    ///
    /// # Errors
    /// See [`Trainer::state`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn state_blocking(&self) -> Result<State> {
        pollster::block_on(self.state())
    }

    /// [`Trainer::weights`] for threads that may block.
    ///
    /// # Errors
    /// See [`Trainer::weights`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn weights_blocking(&self) -> Result<Vec<Stored>> {
        pollster::block_on(self.weights())
    }
}

/// Type, rows and columns of a dense matrix, as every tensor here is.
fn dense(layout: &Layout) -> Result<(DType, [usize; 2])> {
    match layout {
        Layout::Dense { dtype, shape, .. } if shape.len() == 2 => Ok((*dtype, [shape[0], shape[1]])),
        other => Err(Error::Shape {
            op: OP,
            operand: "a tensor",
            expected: "a dense matrix".into(),
            got: other.shape(),
        }),
    }
}
