//! An operation run over given words, for testers outside the crate.

use super::storage::GpuState;
use super::{Device, Kind};
use crate::error::{Error, Result};
use crate::gpu::{Offsets, PlanRequest, StepValues};
use crate::op::Op;
use crate::op::run::{self, Host, copies};
use crate::tensor::HostBuffer;

/// The reference's one variant.
const REFERENCE: &str = "reference";

impl Device {
    /// The names of the variants that run this operation here, the one that a run prefers first: on a GPU those of
    /// [`Op::variants`] (a tuner's choice goes before them, see [`Gpu::set_tuning`](crate::gpu::Gpu::set_tuning)); on
    /// the CPU device its instruction set alone, `avx2` say ([`Cpu::available`](crate::cpu::Cpu::available) gives a
    /// device for each); on the reference `reference`. What [`Device::run_words`] takes.
    ///
    /// # Errors
    /// Whatever the operation's check finds, and what no variant can do on this device.
    pub fn variants(&self, op: &dyn Op) -> Result<Vec<String>> {
        op.check()?;
        match self.kind() {
            Kind::Gpu(state) => {
                op.check_gpu(&state.gpu)?;
                let names = op.variants(&state.gpu, Offsets::Vec4);
                Ok(names.into_iter().map(str::to_string).collect())
            }
            Kind::Cpu(cpu) => Ok(vec![cpu.to_string()]),
            Kind::Reference => Ok(vec![REFERENCE.to_string()]),
            Kind::Checked(inner) => inner.variants(op),
        }
    }

    /// Runs an operation over these words, operand by operand in its order, with the step values it was made with, and
    /// gives back every operand's words as they then are: what was read unchanged, what was written with its padding.
    /// An operand may be longer than its layout. `variant` names one of [`Device::variants`]; none takes what a run
    /// would take.
    ///
    /// On an owned device this drives polling itself; on a borrowed one the caller polls.
    ///
    /// ```
    /// # fn main() -> fewbit::Result<()> {
    /// use fewbit::{Device, kernels::Convert, op::Op as _, tensor::DType};
    ///
    /// // 1 + 2^-9 and -0 to bf16, two codes in a word. What is longer than the operand stays as it is.
    /// let op = Convert::contiguous(DType::F32, DType::Bf16, 2);
    /// assert_eq!(op.operands()[1].words, 1);
    /// for device in [Device::reference(), Device::cpu()] {
    ///     for variant in device.variants(&op)? {
    ///         let words: [&[u32]; 2] = [&[0x3f80_4000, 0x8000_0000], &[0, 7]];
    ///         let after = device.run_words_blocking(&op, &words, Some(&variant))?;
    ///         assert_eq!(after, [vec![0x3f80_4000, 0x8000_0000], vec![0x8000_3f80, 7]]);
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Whatever the operation's check, plan or run finds; [`Error::Operands`]; [`Error::TooSmall`]; [`Error::Value`]
    /// for a variant that does not serve this case here; [`Error::Wrong`] on a checked device, from the words that the
    /// inner device gave; out of memory; device lost.
    pub async fn run_words(
        &self,
        op: &dyn Op,
        operands: &[&[u32]],
        variant: Option<&str>,
    ) -> Result<Vec<Vec<u32>>> {
        self.run_words_step(op, operands, variant, &op.step_values())
            .await
    }

    /// [`Device::run_words`] with the step values of this step: another seed, step number or learning rate than the
    /// operation was made with.
    ///
    /// # Errors
    /// See there; [`Error::Value`] for a scalar that the operation reads and `step` lacks.
    pub async fn run_words_step(
        &self,
        op: &dyn Op,
        operands: &[&[u32]],
        variant: Option<&str>,
        step: &StepValues,
    ) -> Result<Vec<Vec<u32>>> {
        op.check()?;
        let specs = op.operands();
        if specs.len() != operands.len() {
            return Err(Error::Operands {
                op: op.name(),
                expected: specs.len(),
                got: operands.len(),
            });
        }
        for (spec, words) in specs.iter().zip(operands) {
            if (words.len() as u64) < spec.words {
                return Err(Error::TooSmall {
                    op: op.name(),
                    operand: spec.name,
                    needed: spec.words.saturating_mul(4),
                    got: words.len() as u64 * 4,
                });
            }
        }
        let before = operands
            .iter()
            .map(|words| HostBuffer::from_words(words))
            .collect::<Result<Vec<_>>>()?;
        let after = self.run_buffers(op, &before, variant, step).await?;
        after
            .iter()
            .map(|buffer| crate::tensor::alloc::copied(op.name(), buffer.words()))
            .collect()
    }

    /// [`Device::run_words`] for threads that may block; polls on borrowed devices too.
    ///
    /// # Errors
    /// See [`Device::run_words`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_words_blocking(
        &self,
        op: &dyn Op,
        operands: &[&[u32]],
        variant: Option<&str>,
    ) -> Result<Vec<Vec<u32>>> {
        self.block_on(self.run_words(op, operands, variant))
    }

    /// [`Device::run_words_step`] for threads that may block; polls on borrowed devices too.
    ///
    /// # Errors
    /// See there.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_words_step_blocking(
        &self,
        op: &dyn Op,
        operands: &[&[u32]],
        variant: Option<&str>,
        step: &StepValues,
    ) -> Result<Vec<Vec<u32>>> {
        self.block_on(self.run_words_step(op, operands, variant, step))
    }

    async fn run_buffers(
        &self,
        op: &dyn Op,
        before: &[HostBuffer],
        variant: Option<&str>,
        step: &StepValues,
    ) -> Result<Vec<HostBuffer>> {
        match self.kind() {
            Kind::Gpu(state) => on_gpu(state, op, before, variant, step).await,
            Kind::Cpu(cpu) => {
                only(op, variant, &cpu.to_string())?;
                on_host(op, before, Host::Cpu(cpu), step)
            }
            Kind::Reference => {
                only(op, variant, REFERENCE)?;
                on_host(op, before, Host::Reference, step)
            }
            #[cfg(target_arch = "wasm32")]
            Kind::Checked(_) => {
                let what = "a checked device".to_string();
                Err(Error::Unsupported {
                    op: op.name(),
                    what,
                    device: "wasm32 (it needs threads that may block)",
                })
            }
            #[cfg(not(target_arch = "wasm32"))]
            Kind::Checked(inner) => {
                let after = Box::pin(inner.run_buffers(op, before, variant, step)).await?;
                let want = on_host(op, before, Host::Reference, step)?;
                super::checked::check_against(inner, op, before, &want, &after, step, variant)?;
                Ok(after)
            }
        }
    }
}

/// A device with one variant knows no other name.
fn only(op: &dyn Op, variant: Option<&str>, name: &str) -> Result<()> {
    match variant {
        Some(variant) if variant != name => Err(unknown(op, variant)),
        _ => Ok(()),
    }
}

fn unknown(op: &dyn Op, variant: &str) -> Error {
    Error::Value {
        op: op.name(),
        what: "variant",
        value: variant.to_string(),
        expected: "one that serves this case on this device (see Device::variants)",
    }
}

fn on_host(op: &dyn Op, before: &[HostBuffer], host: Host<'_>, step: &StepValues) -> Result<Vec<HostBuffer>> {
    let mut buffers = copies(before)?;
    host.run(op, &mut buffers, step)?;
    Ok(buffers)
}

async fn on_gpu(
    state: &GpuState,
    op: &dyn Op,
    before: &[HostBuffer],
    variant: Option<&str>,
    step: &StepValues,
) -> Result<Vec<HostBuffer>> {
    let gpu = &state.gpu;
    op.check_gpu(gpu)?;
    let offsets = Offsets::Vec4;
    let served = op.variants(gpu, offsets);
    let variant = match variant {
        None => None,
        Some(name) => match served.into_iter().find(|served| *served == name) {
            Some(name) => Some(name),
            None => return Err(unknown(op, name)),
        },
    };
    let request = PlanRequest { variant, offsets };
    Ok(run::on_gpu_step(gpu, op, &request, before, 0, step)
        .await?
        .operands)
}
