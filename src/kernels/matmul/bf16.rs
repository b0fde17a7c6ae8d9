//! The variant of matmul on native bf16 matrix units: a kernel in SPIR-V makes sums, and the reduction of the split
//! variant does the rest.

use super::Matmul;
use super::gpu::BF16;
use crate::format::random::Generator;
use crate::gpu::{Bf16Unit, Gpu, Offsets, Permutation, generator};
use crate::tensor::DType;

/// Whether the variant serves this product on this GPU. It has 16-byte loads only.
pub(super) fn serves(op: &Matmul, gpu: &Gpu, offsets: Offsets) -> bool {
    let operands = [op.a, op.b];
    !offsets.any()
        && operands
            .iter()
            .all(|matrix| matrix.elements.is(DType::Bf16) && matrix.suits_vec4())
        && gpu.bf16_unit().is_some()
}

pub(super) fn permutation(unit: Bf16Unit, [a_transposed, b_transposed]: [bool; 2]) -> Permutation {
    let permutation = Permutation::new(&BF16)
        .fill("load", "matmul/load_vec4.wgsl")
        .fill("codes", "matmul/plain.wgsl")
        .fill("generator", generator(Generator::default()))
        .constant("A_TRANSPOSED", a_transposed)
        .constant("B_TRANSPOSED", b_transposed)
        .workgroup_memory(unit.workgroup_bytes());
    // SAFETY: the modules of `Bf16Unit` are compiled and validated by scripts/spirv.sh. A device has a unit where
    // Vulkan reports what the module needs, or where its owner vouched for that (`Gpu::from_wgpu_with_bf16_unit`).
    // The argument that it stays inside its bindings stands in the source.
    unsafe { permutation.spirv(unit.spirv) }
}
