//! Right operands that many products read.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::device::{product, slots};
use super::{Inputs, Matmul, MatmulOptions};
use crate::cpu::{Cpu, PackedB};
use crate::device::storage::Storage;
use crate::device::{Device, Kind, Tensor};
use crate::error::{Error, Result};
use crate::gpu::{OperandSpec, StepValues};
use crate::op::{Args, Contract, Op, Work};
use crate::tensor::{DType, Layout};

/// The right operand of many products, `[K, N]` or stored transposed as `[N, K]`, that will not change: weights. The
/// CPU device packs it once for its register tiles, which takes as much memory again (twice as much where bf16 must
/// be widened) and saves skinny products a quarter of their time; other devices keep the tensor alone.
#[derive(Debug)]
pub struct Weights {
    tensor: Tensor,
    transposed: bool,
    left: DType,
    packed: Option<Arc<PackedB>>,
}

impl Weights {
    /// The matrix itself.
    #[must_use]
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// Gives the matrix back and drops what was packed.
    #[must_use]
    pub fn into_tensor(self) -> Tensor {
        self.tensor
    }

    /// Bytes that packing took beside the matrix: 0 on a GPU.
    #[must_use]
    pub fn packed_bytes(&self) -> usize {
        self.packed.as_ref().map_or(0, |packed| packed.bytes())
    }
}

impl Device {
    /// Keeps a matrix `[K, N]` as the right operand of products whose left operand has type `left`. See
    /// [`Device::matmul_weights`].
    ///
    /// # Errors
    /// A matrix of other than two extents, types that are not f32, bf16 or f64, a foreign tensor, out of memory.
    pub fn keep_weights(&self, matrix: Tensor, left: DType) -> Result<Weights> {
        self.keep(matrix, false, left)
    }

    /// [`Device::keep_weights`] of a matrix that is stored transposed, as `[N, K]`.
    ///
    /// # Errors
    /// See [`Device::keep_weights`].
    pub fn keep_weights_transposed(&self, matrix: Tensor, left: DType) -> Result<Weights> {
        self.keep(matrix, true, left)
    }

    fn keep(&self, matrix: Tensor, transposed: bool, left: DType) -> Result<Weights> {
        const OP: &str = "keep_weights";
        let &[rows, cols] = matrix.shape().as_slice() else {
            return Err(Error::Shape {
                op: OP,
                operand: "b",
                expected: "two extents".to_string(),
                got: matrix.shape(),
            });
        };
        if !matrix.device().same(self) {
            return Err(Error::OtherDevice { op: OP, operand: "b" });
        }
        let (dtype, ld) = crate::device::dense(OP, "b", &matrix)?;
        let (k, n) = if transposed { (cols, rows) } else { (rows, cols) };
        let output = if dtype == DType::F64 {
            DType::F64
        } else {
            DType::F32
        };
        let mut op = Matmul::new(9, n, k).types(left, dtype, output);
        (op.b.ld, op.b.transposed, op.b.batch_stride) = (ld, transposed, 0);
        // What no product takes is refused here, not at the first product.
        op.check()?;
        let cpu = match self.kind() {
            Kind::Checked(inner) => inner.kind(),
            kind => kind,
        };
        let packed = match (cpu, matrix.parts.first().map(|part| &**part)) {
            (Kind::Cpu(cpu), Some(Storage::Host(words))) if dtype != DType::F64 && left != DType::F64 => {
                Some(Arc::new(super::cpu::pack_b(cpu, &op, words.words(), &[])?))
            }
            _ => None,
        };
        Ok(Weights {
            tensor: matrix,
            transposed,
            left,
            packed,
        })
    }

    /// [`Device::matmul_with`] with weights kept; `options.transpose_b` is theirs, whatever it says.
    ///
    /// # Errors
    /// See [`Device::matmul_with`].
    pub fn matmul_weights(
        &self,
        a: &Tensor,
        weights: &Weights,
        bias: Option<&Tensor>,
        options: &MatmulOptions,
    ) -> Result<Tensor> {
        let options = MatmulOptions {
            transpose_b: weights.transposed,
            ..*options
        };
        let packed = weights
            .packed
            .as_ref()
            .filter(|_| a.dtype() == Some(weights.left));
        let (Some(packed), true) = (packed, options.beta == 0.0) else {
            return self.matmul_with(a, &weights.tensor, bias, &options);
        };
        let b = &weights.tensor;
        let (matmul, shape) = product(a, b, bias, &options, options.output.unwrap_or(DType::F32))?;
        let mut c = self.zeros(Layout::dense(matmul.c.dtype(), &shape))?;
        let mut slots = slots(a, b, bias, &mut c);
        let packed = packed.clone();
        self.run(&Kept { matmul, packed }, &mut slots)?;
        Ok(c)
    }
}

/// A product that reads the packed operand. Nobody but the CPU device makes one (see [`Device::keep_weights`]): it has
/// no variants on GPUs.
#[derive(Clone, Debug)]
struct Kept {
    matmul: Matmul,
    packed: Arc<PackedB>,
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.matmul == other.matmul && Arc::ptr_eq(&self.packed, &other.packed)
    }
}

impl Eq for Kept {}

impl Hash for Kept {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.matmul.hash(state);
        Arc::as_ptr(&self.packed).hash(state);
    }
}

impl Op for Kept {
    fn name(&self) -> &'static str {
        self.matmul.name()
    }

    fn describe(&self) -> String {
        self.matmul.describe()
    }

    fn operands(&self) -> Vec<OperandSpec> {
        self.matmul.operands()
    }

    fn check(&self) -> Result<()> {
        self.matmul.check()
    }

    fn contract(&self) -> Contract<'_> {
        self.matmul.contract()
    }

    fn work(&self) -> Work {
        self.matmul.work()
    }

    fn step_values(&self) -> StepValues {
        self.matmul.step_values()
    }

    fn cpu(&self, cpu: &Cpu, args: Args<'_>) -> Result<()> {
        let op = self.matmul.at(&args.step);
        let mut args = args.named(self)?;
        let inputs = Inputs::of(&mut args);
        super::cpu::matmul(cpu, &op, &inputs, Some(&self.packed), args.write("c")?)
    }

    fn reference(&self, args: Args<'_>) -> Result<()> {
        self.matmul.reference(args)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_weights_give_the_same_products() -> Result<()> {
        let mut devices = vec![Device::reference(), Device::cpu(), Device::checked(Device::cpu())];
        devices.extend(Cpu::available().into_iter().map(Device::from_cpu));
        for device in devices {
            for (transposed, types) in [
                (false, [DType::F32, DType::F32]),
                (true, [DType::Bf16, DType::Bf16]),
                (false, [DType::Bf16, DType::F32]),
                (true, [DType::F32, DType::Bf16]),
                (false, [DType::Bf16, DType::Bf16]),
            ] {
                let (k, n) = (37, 29);
                let shape = if transposed { [n, k] } else { [k, n] };
                let numbers = |len: usize, step: usize| -> Vec<f32> {
                    (0..len).map(|i| (i * step % 13) as f32 - 6.0).collect()
                };
                let make = |shape: &[usize], step, dtype| {
                    let values = numbers(shape.iter().product(), step);
                    let tensor = device.from_f32(shape, &values)?;
                    match dtype {
                        DType::F32 => Ok(tensor),
                        _ => device.convert(&tensor, dtype),
                    }
                };
                let b = make(&shape, 5, types[1])?;
                let bias = make(&[n], 3, DType::F32)?;
                let weights = device.keep(b.clone(), transposed, types[0])?;
                let on_cpu = device.kind_name() == "cpu";
                assert_eq!(weights.packed_bytes() > 0, on_cpu, "{device:?}");
                for m in [1, 9, 70] {
                    let a = make(&[m, k], 7, types[0])?;
                    let options = MatmulOptions {
                        transpose_b: transposed,
                        relu: true,
                        ..MatmulOptions::default()
                    };
                    let kept = device.matmul_weights(&a, &weights, Some(&bias), &options)?;
                    let plain = device.matmul_with(&a, &b, Some(&bias), &options)?;
                    assert_eq!(kept.read_blocking()?, plain.read_blocking()?, "{device:?} {m}");
                }
                // A left operand of the other type is served too, from the matrix itself.
                let other = if types[0] == DType::F32 {
                    DType::Bf16
                } else {
                    DType::F32
                };
                let a = make(&[9, k], 7, other)?;
                let options = MatmulOptions::default();
                let kept = device.matmul_weights(&a, &weights, None, &options)?;
                let options = MatmulOptions {
                    transpose_b: transposed,
                    ..options
                };
                let plain = device.matmul_with(&a, &b, None, &options)?;
                assert_eq!(kept.read_blocking()?, plain.read_blocking()?, "{device:?}");
            }
            let three = device.from_f32(&[1, 2, 2], &[0.0; 4])?;
            let refused = device.keep_weights(three, DType::F32);
            assert!(matches!(refused, Err(Error::Shape { .. })), "{refused:?}");
            let floats = device.from_f32(&[2, 2], &[0.0; 4])?;
            for left in [DType::U32, DType::U16, DType::F64] {
                let refused = device.keep_weights(floats.clone(), left);
                assert!(matches!(refused, Err(Error::DType { .. })), "{left}: {refused:?}");
            }
            let integers = device.from_u32(&[2, 2], &[0; 4])?;
            let refused = device.keep_weights(integers, DType::F32);
            assert!(matches!(refused, Err(Error::DType { .. })), "{refused:?}");
        }
        Ok(())
    }
}
