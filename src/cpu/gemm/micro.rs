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
    /// The tile that reads A where it lies, at levels where that is faster than to pack it (with AVX2 it is about even:
    /// eight streams of A beside B's are more than sixteen registers' worth of addressing).
    const IN_PLACE: Option<InPlace<Self>> = None;

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

/// [`Micro::tile`] with rows of A that lie in their matrix, and the steps of k that B's panel holds.
pub(crate) type InPlace<M> =
    fn(M, Rows<'_>, usize, &[<M as Micro>::Elem], &mut [<M as Micro>::Acc], usize, bool);

/// Rows of an operand as they lie, if a row holds, one after the other, the elements that a panel would hold for it.
/// Bytes, because a pair of bf16 may begin at any of them.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) bytes: &'a [u8],
    /// Bytes from one row to the next.
    pub(crate) stride: usize,
    /// Bytes of a row: those of whole elements, but for an odd last half of a pair.
    pub(crate) width: usize,
    pub(crate) count: usize,
}

impl<'a> Rows<'a> {
    /// At most `most` rows from `first` on, without their first `skip` bytes.
    #[inline(always)]
    pub(crate) fn part(self, first: usize, most: usize, skip: usize) -> Rows<'a> {
        Rows {
            bytes: &self.bytes[first * self.stride + skip..],
            stride: self.stride,
            width: self.width - skip,
            count: most.min(self.count - first),
        }
    }

    /// Where `N` rows begin; those past the last are the last once more, so that a tile may read them for nothing.
    ///
    /// # Panics
    /// If there is no row, or one has fewer than `len` bytes.
    #[inline(always)]
    #[cfg_attr(
        not(target_arch = "x86_64"),
        allow(dead_code, reason = "only x86-64 has tiles that read rows in place today")
    )]
    pub(crate) fn starts<const N: usize>(&self, len: usize) -> [*const u8; N] {
        let last = self.count - 1;
        std::array::from_fn(|i| self.bytes[i.min(last) * self.stride..][..len].as_ptr())
    }
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
