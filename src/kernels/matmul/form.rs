//! The forms of matmul's variants: which tile a workgroup makes, and how many turns its loops take.

use super::Matmul;
use super::coop::Unit;
use crate::gpu::{Bf16Unit, Gpu};
use crate::gpu::{Turns, looped};

/// Lanes per group of the direct variant, each with eight columns.
pub(super) const GROUP: u64 = 64;

/// Turns of `emit` in matmul_common.wgsl for eight columns: partial sums read, then stored, or C instead.
pub(super) const EMIT: u64 = 2 * looped(8, 0);
/// The same for eight rows.
pub(super) const EMIT_ROWS: u64 = looped(8, EMIT);

/// The form of one variant.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    Direct,
    Tiled {
        tile: u32,
        /// Depth of the slabs. Two of each operand are kept: 16 KiB of f32 for 64 x 16 and 128 x 8.
        depth: u32,
        /// Whether K may be split over groups.
        split: bool,
    },
    Coop(Unit),
    Bf16(Bf16Unit),
    Vec {
        swap: bool,
        vectors: u32,
        out_lanes: u32,
        k_lanes: u32,
        /// The most subgroups of a group where lanes add up within them (OUT_LANES is 1 then), else 0.
        subgroups: u32,
    },
}

pub(super) const TILED64: Form = Form::Tiled {
    tile: 64,
    depth: 16,
    split: false,
};

impl Form {
    pub(super) fn of(op: &Matmul, variant: &'static str, gpu: &Gpu) -> Self {
        let swap = op.m > 8;
        let vectors = (if swap { op.n } else { op.m }).next_power_of_two() as u32;
        let vec = |out_lanes, k_lanes| Self::Vec {
            swap,
            vectors,
            out_lanes,
            k_lanes,
            subgroups: match variant {
                "vec_subgroup" => k_lanes / gpu.info().subgroup_min_size.clamp(1, k_lanes),
                _ => 0,
            },
        };
        match variant {
            "tiled64" => TILED64,
            "split_k" => Self::Tiled {
                tile: 64,
                depth: 16,
                split: true,
            },
            "tiled128" if gpu.limits().max_compute_workgroup_storage_size >= 32 << 10 => Self::Tiled {
                tile: 128,
                depth: 16,
                split: false,
            },
            "tiled128" => Self::Tiled {
                tile: 128,
                depth: 8,
                split: false,
            },
            "vec" => vec(4, 64),
            "vec_serial" => vec(16, 1),
            "vec_subgroup" => vec(1, 64),
            "coop" => Unit::of(gpu).map_or(Self::Direct, Self::Coop),
            "bf16" => gpu.bf16_unit().map_or(Self::Direct, Self::Bf16),
            _ => Self::Direct,
        }
    }

    /// Rows and columns that one workgroup makes.
    pub(super) fn tile(self) -> [u64; 2] {
        match self {
            Self::Direct => [8, 8 * GROUP],
            Self::Tiled { tile, .. } => [tile.into(); 2],
            Self::Coop(unit) => [unit.tile().into(); 2],
            Self::Bf16(unit) => [(8 * unit.size).into(); 2],
            Self::Vec {
                swap: true,
                out_lanes,
                ..
            } => [8 * u64::from(out_lanes), 8],
            Self::Vec { out_lanes, .. } => [8, 8 * u64::from(out_lanes)],
        }
    }

    pub(super) fn groups(self, rows: u64, cols: u64, batches: u64) -> [u32; 3] {
        let [tall, wide] = self.tile();
        let (x, y) = (rows.div_ceil(tall) as u32, cols.div_ceil(wide) as u32);
        match self {
            // The vec kernel counts its groups along x, whichever operand is thick.
            Self::Vec { swap: false, .. } => [y, x, batches as u32],
            _ => [x, y, batches as u32],
        }
    }

    /// The turns of its loops: the shaders' loops, one by one.
    pub(super) fn turns(self) -> Turns {
        match self {
            // Eight k a turn, and the rows.
            Self::Direct => Turns {
                fixed: 1 + EMIT_ROWS,
                per_slab: 1,
                slab: 8,
            },
            // A slab a turn, and one for each of its k; the rows.
            Self::Tiled { depth, .. } => Turns {
                fixed: 1 + EMIT_ROWS,
                per_slab: 1 + looped(depth.into(), 0),
                slab: depth.into(),
            },
            Self::Coop(unit) => unit.turns(),
            // Its path without matrices: the outputs that a lane makes, one k a turn. With matrices there are fewer.
            Self::Bf16(unit) => {
                let outputs = u64::from(8 * unit.size * unit.size / unit.subgroup);
                Turns {
                    fixed: looped(outputs, 1),
                    per_slab: 8 * outputs,
                    slab: 8,
                }
            }
            Self::Vec {
                swap,
                vectors,
                k_lanes,
                subgroups,
                ..
            } => {
                let vectors = u64::from(vectors);
                let shared = match (subgroups, k_lanes) {
                    (0, 1) => 0,
                    // The tree of each vector.
                    (0, lanes) => looped(vectors, looped(lanes.ilog2().into(), 0)),
                    // The vectors, then the subgroups after the first for each.
                    (subgroups, _) => looped(vectors, 0) + looped(vectors, looped(subgroups.into(), 0)),
                };
                Turns {
                    fixed: 1 + shared + if swap { EMIT_ROWS } else { looped(vectors, EMIT) },
                    per_slab: 1,
                    slab: 8 * u64::from(k_lanes),
                }
            }
        }
    }
}
