//! What changes from step to step: seed, step number and scalars such as the learning rate.

use super::{Dispatch, Gpu, Operand, OperandSpec, Permutation, Plan, Shader, Words};
use crate::error::{Error, Result};
use crate::format::random::Draw;

/// The values a plan reads anew at every step. Everything else about a plan never changes.
///
/// In WGSL `struct Step { seed: vec2<u32>, number: u32, .. }`, followed by the scalars that the shader declares, by
/// their names: `learning_rate: f32,`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct StepValues {
    /// Seed of every stochastic rounding of the step.
    pub seed: u64,
    /// The step's number, the fourth word of the random counter.
    pub number: u32,
    /// Name and bits of every scalar.
    scalars: Vec<(&'static str, u32)>,
}

impl StepValues {
    /// A seed and a step number; no scalars.
    #[must_use]
    pub fn new(seed: u64, number: u32) -> Self {
        Self {
            seed,
            number,
            scalars: Vec::new(),
        }
    }

    /// A draw with this seed and step number in place of its own.
    #[must_use]
    pub fn draw(&self, draw: Draw) -> Draw {
        Draw {
            seed: self.seed,
            step: self.number,
            ..draw
        }
    }

    /// The same with a scalar, in place of one that had its name.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: f32) -> Self {
        self.set(name, value);
        self
    }

    /// Sets a scalar.
    pub fn set(&mut self, name: &'static str, value: f32) {
        let bits = value.to_bits();
        match self.scalars.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = bits,
            None => self.scalars.push((name, bits)),
        }
    }

    /// A scalar.
    ///
    /// # Errors
    /// [`Error::Value`] where it was never set.
    pub fn get(&self, op: &'static str, name: &'static str) -> Result<f32> {
        match self.scalars.iter().find(|(known, _)| *known == name) {
            Some((_, bits)) => Ok(f32::from_bits(*bits)),
            None => Err(Error::Value {
                op,
                what: name,
                value: "not set".to_string(),
                expected: "a scalar among the step values (StepValues::with)",
            }),
        }
    }

    /// The words that shaders read, with these scalars after seed and number.
    fn words(&self, scalars: &[&'static str]) -> Result<Vec<u32>> {
        let mut words = vec![self.seed as u32, (self.seed >> 32) as u32, self.number];
        for name in scalars {
            words.push(self.get("step values", name)?.to_bits());
        }
        words.resize(words.len().next_multiple_of(4), 0);
        Ok(words)
    }
}

/// A small uniform buffer of [`StepValues`] that any number of plans may share: every plan whose scalars are the first
/// of the buffer's, plans that read none among them.
///
/// Its contents change by commands in the caller's encoder, never by `queue.write_buffer`: a queue write
/// lands before the whole submit, so two steps recorded into one submit would both see the last value.
#[derive(Clone, Debug)]
pub struct StepBuffer {
    pub(crate) buffer: wgpu::Buffer,
    scalars: Vec<&'static str>,
    gpu: Gpu,
}

/// Scalars that a step buffer holds at most: one workgroup writes them.
const MOST_SCALARS: usize = 28;

// SAFETY: no loop, no array.
static SET_STEP: Shader = unsafe {
    Shader::new(
        "lib/set_step.wgsl",
        include_str!("../../shaders/lib/set_step.wgsl"),
    )
    .trusted()
};

impl StepBuffer {
    /// A buffer for these scalars ([`Plan::scalars`](super::Plan::scalars)) that holds `values`.
    ///
    /// # Errors
    /// A scalar that `values` lacks, more than 28 of them, out of memory, or device lost.
    pub fn new(gpu: &Gpu, scalars: &[&'static str], values: &StepValues) -> Result<Self> {
        let usage = wgpu::BufferUsages::UNIFORM
            | wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_DST
            | wgpu::BufferUsages::COPY_SRC;
        if scalars.len() > MOST_SCALARS {
            let (value, limit) = (scalars.len() as u64, MOST_SCALARS as u64);
            return Err(Error::Limit {
                op: "step values",
                what: "scalars",
                value,
                limit,
            });
        }
        let buffer = gpu.buffer_with("step values", &values.words(scalars)?, usage)?;
        Ok(Self {
            buffer,
            scalars: scalars.to_vec(),
            gpu: gpu.clone(),
        })
    }

    /// A buffer whose seed, number and scalars are all zero until they are updated.
    ///
    /// # Errors
    /// Out of memory, or device lost.
    pub fn zeroed(gpu: &Gpu, scalars: &[&'static str]) -> Result<Self> {
        let zero = |values: StepValues, name: &&'static str| values.with(name, 0.0);
        let values = scalars.iter().fold(StepValues::default(), zero);
        Self::new(gpu, scalars, &values)
    }

    /// The wgpu buffer: the seed's low and high word, the number, and the scalars as bits.
    #[must_use]
    pub fn raw(&self) -> &wgpu::Buffer {
        &self.buffer
    }

    /// The scalars it holds, in order.
    #[must_use]
    pub fn scalars(&self) -> &[&'static str] {
        &self.scalars
    }

    /// Whether plans on `gpu` that read `scalars` may use it.
    pub(super) fn serves(&self, op: &'static str, gpu: &Gpu, scalars: &[&'static str]) -> Result<()> {
        gpu.check_same(op, "step values", &self.gpu)?;
        if !self.scalars.starts_with(scalars) {
            return Err(Error::Value {
                op,
                what: "step buffer",
                value: format!("{:?}", self.scalars),
                expected: "a buffer whose first scalars are the plan's (Plan::scalars)",
            });
        }
        Ok(())
    }

    /// Records the change to `values` into `encoder`: passes begun after it see them.
    ///
    /// # Errors
    /// A scalar that `values` lacks, out of memory, or device lost.
    pub fn update(&self, encoder: &mut wgpu::CommandEncoder, values: &StepValues) -> Result<()> {
        let words = values.words(&self.scalars)?;
        let usage = wgpu::BufferUsages::COPY_SRC;
        let staging = self.gpu.buffer_with("step values (staging)", &words, usage)?;
        encoder.copy_buffer_to_buffer(&staging, 0, &self.buffer, 0, words.len() as u64 * 4);
        Ok(())
    }

    /// Records the change to `values` into a compute pass that has already begun, as a dispatch of one
    /// workgroup: for callers that must not leave their pass.
    ///
    /// # Errors
    /// A scalar that `values` lacks, out of memory, device lost, or the kernel does not compile.
    pub fn update_in_pass(&self, pass: &mut wgpu::ComputePass<'_>, values: &StepValues) -> Result<()> {
        let words = values.words(&self.scalars)?;
        let usage = wgpu::BufferUsages::STORAGE;
        let source = self.gpu.buffer_with("step values", &words, usage)?;
        let pipeline = self.gpu.pipeline(&Permutation::new(&SET_STEP))?;
        let len = words.len() as u64;
        let dispatch = Dispatch::new(&pipeline)
            .bind("values", Words::of("values", 0..len))
            .bind("step", Words::of("step", 0..len));
        let operands = vec![OperandSpec::read("values", len), OperandSpec::write("step", len)];
        let (name, none) = ("step values", StepValues::default());
        let plan = Plan::new(&self.gpu, name, "word", operands, vec![dispatch], none)?;
        let bound = plan.bind(&[Operand::whole(&source), Operand::whole(&self.buffer)])?;
        bound.record(pass);
        Ok(())
    }
}
