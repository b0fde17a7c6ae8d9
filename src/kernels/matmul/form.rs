//! The variants of matmul and their forms: which tile a workgroup makes, and how many turns its loops take.

use super::{Matmul, OP, bf16, coop, decoded};
use crate::gpu::{Bf16Unit, Gpu, Offsets, Turns, looped};
use crate::tensor::DType;
use coop::Unit;

/// Lanes per group of the direct variant, each with eight columns.
pub(super) const GROUP: u64 = 64;

/// Turns of `emit` in shaders/matmul/common.wgsl for eight columns: partial sums read, then stored, or C instead.
pub(super) const EMIT: u64 = 2 * looped(8, 0);
/// The same for eight rows.
pub(super) const EMIT_ROWS: u64 = looped(8, EMIT);

/// The variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    VecSubgroup,
    Vec,
    VecSerial,
    Direct,
    Tiled128,
    Tiled64,
    SplitK,
    Blocks,
    Coop,
    Bf16,
    Decoded,
}

/// Whether few rows or few columns make a product one of a matrix and vectors.
pub(super) fn is_thin(op: &Matmul) -> bool {
    op.m <= 8 || op.n <= 8
}

/// Whether the thick operand lies along K, with A thick or B.
pub(super) fn along_k(a_thick: bool, [a_transposed, b_transposed]: [bool; 2]) -> bool {
    if a_thick { !a_transposed } else { b_transposed }
}

/// Whether both operands are integers in blocks of one size along K.
fn is_integer_blocks(op: &Matmul) -> bool {
    let block = |matrix: &super::MatrixLayout| {
        let format = matrix.format()?;
        format.element().fraction().and(format.block_size())
    };
    block(&op.a).is_some() && block(&op.a) == block(&op.b)
}

/// Whether kernels may ask for a subgroup's number: browsers have that behind an extension of their own.
fn has_subgroups(gpu: &Gpu) -> bool {
    gpu.features().contains(wgpu::Features::SUBGROUP) && cfg!(not(target_arch = "wasm32"))
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::VecSubgroup,
        Self::Vec,
        Self::VecSerial,
        Self::Direct,
        Self::Tiled128,
        Self::Tiled64,
        Self::SplitK,
        Self::Blocks,
        Self::Coop,
        Self::Bf16,
        Self::Decoded,
    ];

    /// Whether the variant can run this product on this GPU.
    pub(super) fn serves(self, op: &Matmul, gpu: &Gpu, offsets: Offsets) -> bool {
        let fits = |kind: Self| kind.fits(op, gpu, offsets);
        // A cap on turns below what is usual leaves no room for some. Where it leaves none, planning says so.
        let runs = |kind: Self| {
            let form = kind.form(op, gpu);
            form.is_some_and(|form| form.turns().deepest(OP, gpu).is_ok())
        };
        fits(self) && (runs(self) || !Self::ALL.into_iter().any(|kind| fits(kind) && runs(kind)))
    }

    pub(super) fn fits(self, op: &Matmul, gpu: &Gpu, offsets: Offsets) -> bool {
        // WGSL has no f64.
        op.c.dtype() != DType::F64
            && match self {
                // Lanes side by side along K read side by side only where the thick operand lies along it.
                Self::VecSubgroup => {
                    let transposed = [op.a.transposed, op.b.transposed];
                    is_thin(op) && along_k(op.m > 8, transposed) && has_subgroups(gpu)
                }
                Self::Vec | Self::VecSerial => is_thin(op),
                // Many runs in registers: with codes to take apart they are long to compile, and `decoded` is faster.
                Self::Direct | Self::Tiled128 => !op.is_coded(),
                Self::Tiled64 | Self::SplitK => true,
                Self::Blocks => is_integer_blocks(op),
                Self::Coop => coop::serves(op, gpu),
                Self::Bf16 => bf16::serves(op, gpu, offsets),
                Self::Decoded => decoded::serves(op, gpu, offsets),
            }
    }

    /// The form that the variant takes for this product on this GPU; none without the matrix unit that it is for.
    pub(super) fn form(self, op: &Matmul, gpu: &Gpu) -> Option<Form> {
        let swap = op.m > 8;
        let vectors = (if swap { op.n } else { op.m }).next_power_of_two() as u32;
        let limits = gpu.limits();
        Some(match self {
            Self::VecSubgroup => {
                let lanes = 64;
                let subgroups = lanes / gpu.info().subgroup_min_size.clamp(1, lanes);
                Form::vec_subgroup(swap, vectors, subgroups)
            }
            Self::Vec => Form::vec(swap, vectors),
            Self::VecSerial => Form::vec_serial(swap, vectors),
            Self::Direct => Form::Direct,
            Self::Blocks => Form::Blocks,
            Self::Tiled128 if limits.max_compute_workgroup_storage_size >= 32 << 10 => Form::tiled(128, 16),
            Self::Tiled128 => Form::tiled(128, 8),
            Self::Tiled64 | Self::SplitK => Form::tiled(64, 16),
            Self::Coop => Form::Coop(Unit::of(gpu)?),
            Self::Bf16 => Form::Bf16(gpu.bf16_unit()?),
            Self::Decoded => decoded::inner(op, gpu, Offsets::default())?.form(op, gpu)?,
        })
    }

    /// Every form that the variant takes for some product on some GPU.
    pub(super) fn forms(self) -> Vec<Form> {
        let vectors = |form: &dyn Fn(bool, u32) -> Form| {
            let both = [false, true].into_iter();
            let all = both.flat_map(|swap| [1, 2, 4, 8].map(|vectors| form(swap, vectors)));
            all.collect::<Vec<_>>()
        };
        match self {
            Self::VecSubgroup => vectors(&|swap, vectors| Form::vec_subgroup(swap, vectors, 1)),
            Self::Vec => vectors(&Form::vec),
            Self::VecSerial => vectors(&Form::vec_serial),
            Self::Direct => vec![Form::Direct],
            Self::Blocks => vec![Form::Blocks],
            Self::Tiled128 => vec![Form::tiled(128, 8), Form::tiled(128, 16)],
            Self::Tiled64 | Self::SplitK => vec![Form::tiled(64, 16)],
            Self::Coop => Unit::ALL.map(Form::Coop).to_vec(),
            Self::Bf16 => Bf16Unit::ALL.iter().copied().map(Form::Bf16).collect(),
            Self::Decoded => decoded::KINDS.into_iter().flat_map(Self::forms).collect(),
        }
    }
}

/// What a variant's kernel is compiled for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    Direct,
    /// Four rows by eight columns a lane.
    Blocks,
    Tiled {
        tile: u32,
        /// Depth of the slabs. Two of each operand are kept: 16 KiB of f32 for 64 x 16 and 128 x 8.
        depth: u32,
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

impl Form {
    const fn tiled(tile: u32, depth: u32) -> Self {
        Self::Tiled { tile, depth }
    }

    const fn vec(swap: bool, vectors: u32) -> Self {
        Self::Vec {
            swap,
            vectors,
            out_lanes: 4,
            k_lanes: 64,
            subgroups: 0,
        }
    }

    const fn vec_serial(swap: bool, vectors: u32) -> Self {
        Self::Vec {
            swap,
            vectors,
            out_lanes: 16,
            k_lanes: 1,
            subgroups: 0,
        }
    }

    const fn vec_subgroup(swap: bool, vectors: u32, subgroups: u32) -> Self {
        Self::Vec {
            swap,
            vectors,
            out_lanes: 1,
            k_lanes: 64,
            subgroups,
        }
    }

    /// Rows and columns that one workgroup makes.
    pub(super) fn tile(self) -> [u64; 2] {
        match self {
            Self::Direct => [8, 8 * GROUP],
            Self::Blocks => [4, 8 * GROUP],
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

    /// Workgroups of a dispatch.
    pub(super) fn groups(self, rows: u64, cols: u64, batches: u64) -> [u64; 3] {
        let [tall, wide] = self.tile();
        let (x, y) = (rows.div_ceil(tall), cols.div_ceil(wide));
        match self {
            // The vec kernel counts its groups along x, whichever operand is thick.
            Self::Vec { swap: false, .. } => [y, x, batches],
            Self::Direct
            | Self::Blocks
            | Self::Tiled { .. }
            | Self::Coop(_)
            | Self::Bf16(_)
            | Self::Vec { .. } => [x, y, batches],
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
            // A block a turn, of eight k at least: its runs, for each the columns, and the columns; the rows.
            Self::Blocks => Turns {
                fixed: 1 + looped(4, EMIT),
                per_slab: 1 + looped(1, looped(8, 0)) + looped(8, 0),
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
