//! What changes from step to step: seed, step number and scalars such as the learning rate.

use super::Gpu;
use crate::error::Result;

/// The values a plan reads anew at every step. Everything else about a plan never changes.
///
/// In WGSL: `struct Step { seed: vec2<u32>, number: u32, flags: u32, scalars: vec4<f32> }`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepValues {
    /// Seed of every stochastic rounding of the step.
    pub seed: u64,
    /// The step's number, the fourth word of the random counter.
    pub number: u32,
    /// Scalars whose meaning is the operation's: for SGD `[learning rate, momentum, weight decay, 0]`.
    pub scalars: [f32; 4],
}

impl StepValues {
    /// The eight words the shaders read.
    #[must_use]
    pub fn words(&self) -> [u32; 8] {
        let [a, b, c, d] = self.scalars.map(f32::to_bits);
        [
            self.seed as u32,
            (self.seed >> 32) as u32,
            self.number,
            0,
            a,
            b,
            c,
            d,
        ]
    }
}

/// A small uniform buffer of [`StepValues`] that any number of plans may share.
///
/// Its contents change by commands in the caller's encoder, never by `queue.write_buffer`: a queue write
/// lands before the whole submit, so two steps recorded into one submit would both see the last value.
#[derive(Clone, Debug)]
pub struct StepBuffer {
    pub(crate) buffer: wgpu::Buffer,
    gpu: Gpu,
}

impl StepBuffer {
    /// A buffer that holds `values`.
    ///
    /// # Errors
    /// Out of memory, or device lost.
    pub fn new(gpu: &Gpu, values: &StepValues) -> Result<Self> {
        let usage = wgpu::BufferUsages::UNIFORM
            | wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_DST
            | wgpu::BufferUsages::COPY_SRC;
        let buffer = gpu.buffer_with("step values", &values.words(), usage)?;
        Ok(Self {
            buffer,
            gpu: gpu.clone(),
        })
    }

    /// The GPU it was made for.
    pub(super) fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Records the change to `values` into `encoder`: passes begun after it see them.
    ///
    /// # Errors
    /// Out of memory, or device lost.
    pub fn update(&self, encoder: &mut wgpu::CommandEncoder, values: &StepValues) -> Result<()> {
        let staging = self.gpu.buffer_with(
            "step values (staging)",
            &values.words(),
            wgpu::BufferUsages::COPY_SRC,
        )?;
        encoder.copy_buffer_to_buffer(&staging, 0, &self.buffer, 0, 32);
        Ok(())
    }

    /// Records the change to `values` into a compute pass that has already begun, as a dispatch of one
    /// invocation: for callers that must not leave their pass.
    ///
    /// # Errors
    /// Out of memory, device lost, or the kernel does not compile.
    pub fn update_in_pass(&self, pass: &mut wgpu::ComputePass<'_>, values: &StepValues) -> Result<()> {
        let source = self
            .gpu
            .buffer_with("step values", &values.words(), wgpu::BufferUsages::STORAGE)?;
        let plan = super::copy::plan_words(&self.gpu, 8)?;
        let bound = plan.bind(&[
            super::Operand::whole(&source),
            super::Operand::whole(&self.buffer),
        ])?;
        bound.record(pass);
        Ok(())
    }
}
