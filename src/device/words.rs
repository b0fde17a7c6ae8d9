//! An operation run over given words, for testers outside the crate.

use super::storage::GpuState;
use super::{Device, Kind};
use crate::error::{Error, Result};
use crate::gpu::{Offsets, PlanRequest};
use crate::op::Op;
use crate::op::run::{self, Host, copies};
use crate::tensor::HostBuffer;

impl Device {
    /// Runs an operation over these words, operand by operand in its order, with the step values it was made with, and
    /// gives back every operand's words as they then are: what was read unchanged, what was written with its padding.
    /// An operand may be longer than its layout. `variant` names one of [`Op::variants`] on a GPU, and the instruction
    /// set on the CPU device, which has no other; none takes what a run would take.
    ///
    /// On an owned device this drives polling itself; on a borrowed one the caller polls.
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
        let after = self.run_buffers(op, &before, variant).await?;
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

    async fn run_buffers(
        &self,
        op: &dyn Op,
        before: &[HostBuffer],
        variant: Option<&str>,
    ) -> Result<Vec<HostBuffer>> {
        match self.kind() {
            Kind::Gpu(state) => on_gpu(state, op, before, variant).await,
            Kind::Cpu(cpu) => {
                only(op, variant, &cpu.to_string())?;
                on_host(op, before, Host::Cpu(cpu))
            }
            Kind::Reference => {
                only(op, variant, "reference")?;
                on_host(op, before, Host::Reference)
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
                let after = Box::pin(inner.run_buffers(op, before, variant)).await?;
                let want = on_host(op, before, Host::Reference)?;
                let step = op.step_values();
                super::checked::check_against(inner, op, before, &want, &after, &step, variant)?;
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
        expected: "one that serves this case on this device",
    }
}

fn on_host(op: &dyn Op, before: &[HostBuffer], host: Host<'_>) -> Result<Vec<HostBuffer>> {
    let mut buffers = copies(before)?;
    host.run(op, &mut buffers, &op.step_values())?;
    Ok(buffers)
}

async fn on_gpu(
    state: &GpuState,
    op: &dyn Op,
    before: &[HostBuffer],
    variant: Option<&str>,
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
    Ok(run::on_gpu(gpu, op, &request, before, 0).await?.operands)
}
