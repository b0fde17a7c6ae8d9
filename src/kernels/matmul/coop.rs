//! The matrix-unit variant of matmul: which GPUs have a unit that WGSL can name, and its kernels.

use super::Matmul;
use super::form::{EMIT, EMIT_ROWS};
use super::gpu::COOP;
use crate::gpu::{Gpu, Permutation, Turns, looped};
use crate::tensor::DType;

/// The subgroups of one workgroup, each four by two of the unit's matrices: tiles of eight by eight.
const SUBGROUPS: u32 = 8;

/// An f16 matrix unit with f32 sums, and the lanes that drive it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    /// Rows, columns and depth: 8 or 16.
    size: u32,
    /// Lanes of every subgroup.
    subgroup: u32,
}

impl Unit {
    /// Every unit that the kernel is written for: a group's lanes, at most 256, must serve its f32 path too.
    pub(super) const ALL: [Self; 4] = [
        Self::new(16, 32),
        Self::new(8, 8),
        Self::new(8, 16),
        Self::new(8, 32),
    ];

    const fn new(size: u32, subgroup: u32) -> Self {
        Self { size, subgroup }
    }

    /// The unit of this GPU, if the variant can run there. Only Vulkan's are known to load matrices from
    /// vectors in workgroup memory. Subgroups must have one size, for the kernel is compiled for it.
    pub(super) fn of(gpu: &Gpu) -> Option<Self> {
        let (info, limits) = (gpu.info(), gpu.limits());
        if info.backend != wgpu::Backend::Vulkan
            || !gpu
                .features()
                .contains(wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP)
            || info.subgroup_min_size != info.subgroup_max_size
        {
            return None;
        }
        let has = |size| {
            gpu.matrix_units().iter().any(|unit| {
                [unit.m_size, unit.n_size, unit.k_size] == [size; 3]
                    && unit.ab_type == wgpu::CooperativeScalarType::F16
                    && unit.cr_type == wgpu::CooperativeScalarType::F32
            })
        };
        Self::ALL.into_iter().find(|unit| {
            unit.subgroup == info.subgroup_max_size
                && has(unit.size)
                && unit.workgroup_bytes() <= limits.max_compute_workgroup_storage_size
                && unit.subgroup * SUBGROUPS <= limits.max_compute_invocations_per_workgroup
        })
    }

    /// Rows and columns that one workgroup makes.
    pub(super) fn tile(self) -> u32 {
        8 * self.size
    }

    /// The turns of the kernel's loops, where a group fills its list in the last slab and starts again without it.
    pub(super) fn turns(self) -> Turns {
        /// Outliers that the list holds, and k of a slab: CAPACITY and TILE_K in the shader.
        const CAPACITY: u64 = 64;
        const DEPTH: u64 = 32;
        let (size, subgroup) = (u64::from(self.size), u64::from(self.subgroup));
        let each = (4 * size).div_ceil(subgroup);
        // Of each operand's runs both halves are listed; then the unit's steps.
        let slab = 1 + 2 * each * 2 * looped(4, 0) + looped(DEPTH / size, 0);
        // `plain`, eight k a turn: runs of both operands, eight elements each; then the k.
        let plain = 1 + looped((2 * size).div_ceil(subgroup), looped(4, 0)) + looped(8, 0);
        // `finish`: runs of a matrix, for each the outliers.
        let runs = (size * size / 8).div_ceil(subgroup);
        let finish = looped(runs, looped(CAPACITY, looped(4, 0)) + EMIT);
        Turns {
            // The sample, both loops' ends, the list's order, eight matrices, and the rows of `plain`.
            fixed: looped(each, 0) + 2 + looped(CAPACITY, 0) + 8 * finish + EMIT_ROWS,
            per_slab: slab + DEPTH / 8 * plain,
            slab: DEPTH,
        }
    }

    /// What the kernel's variables take: two f16 slabs, f32 sums, counters, outliers. wgpu does not check.
    fn workgroup_bytes(self) -> u32 {
        let slab = self.tile() * 10 * 8;
        2 * slab + self.tile() * 16 * 4 + 4 * 4 + 3 * 64 * 4
    }

    /// The kernel for this unit, to be completed with the slots and constants of every matmul.
    pub(super) fn permutation(self) -> Permutation {
        let names = if self.size == 8 {
            "matmul/unit8.wgsl"
        } else {
            "matmul/unit16.wgsl"
        };
        Permutation::new(&COOP)
            .enable("f16")
            .enable("wgpu_cooperative_matrix")
            .fill("unit", names)
            .constant("UNIT", self.size)
            .constant("SUBGROUP", self.subgroup)
            .workgroup_memory(self.workgroup_bytes())
    }
}

/// Whether the variant serves this product on this GPU.
pub(super) fn serves(op: &Matmul, gpu: &Gpu) -> bool {
    [op.a, op.b].iter().all(|matrix| matrix.elements.is(DType::Bf16)) && Unit::of(gpu).is_some()
}
