//! What an instruction set provides to the blocked product.

/// A register tile: the product of one packed panel of A and one of B.
///
/// A panel holds, for each step of k in turn, `MR` (or `NR`) elements. One element stands for one
/// k, except for [`Pairs`], where a word holds two. The last panel of B may be narrower.
pub(crate) trait Micro: Copy + Send + Sync {
    /// Element of a packed panel.
    type Elem: bytemuck::Pod + Send + Sync;
    /// Accumulator.
    type Acc: bytemuck::Pod + Send + Sync;
    /// Rows of the tile.
    const MR: usize;
    /// Columns of the tile.
    const NR: usize;
    /// What the width of B's last panel is a multiple of.
    const STEP: usize = Self::NR;

    /// acc[MR x width] = (first ? 0 : acc) + a b, the products of one call summed in ascending k
    /// from zero before they are added to `acc`, whose rows start `ld` apart. `width` is NR or, for a
    /// last panel, a smaller multiple of STEP.
    fn tile(
        self,
        a: &[Self::Elem],
        b: &[Self::Elem],
        width: usize,
        acc: &mut [Self::Acc],
        ld: usize,
        first: bool,
    );
}

/// The f32 tile of an instruction set.
#[derive(Clone, Copy)]
pub(crate) struct F32<T>(pub(crate) T);

/// The f64 tile of an instruction set.
#[derive(Clone, Copy)]
pub(crate) struct F64<T>(pub(crate) T);

/// The bf16-pair tile of an instruction set, where it has one.
#[derive(Clone, Copy)]
#[cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, reason = "only x86-64 has such a tile today")
)]
pub(crate) struct Pairs<T>(pub(crate) T);
