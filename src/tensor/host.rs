use bytemuck::Zeroable;

use super::alloc::Line;
use super::{MAX_WORDS, alloc};
use crate::error::{Error, Result};

const OP: &str = "host buffer";

/// Owned host memory in `u32` words, zeroed when made and aligned to 64 bytes, so that it can be viewed as
/// words, `f32`, packed 16-bit elements or `f64`. The bits are the same as in a GPU buffer.
///
/// It is no `Clone`: a copy may fail ([`HostBuffer::try_clone`]).
#[derive(Default)]
pub struct HostBuffer {
    lines: Vec<Line>,
    words: usize,
}

impl HostBuffer {
    /// Zeroed memory of `words` words.
    ///
    /// # Errors
    /// [`Error::Limit`] past [`MAX_WORDS`], [`Error::OutOfMemory`] when the host cannot give that much.
    pub fn zeroed(words: u64) -> Result<Self> {
        let limit = MAX_WORDS.min(usize::MAX as u64);
        if words > limit {
            return Err(Error::Limit {
                op: OP,
                what: "words",
                value: words,
                limit,
            });
        }
        let words = words as usize;
        let lines = alloc::filled(OP, Line::holding::<u32>(words), Line::zeroed())?;
        Ok(Self { lines, words })
    }

    /// A copy.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] when the host cannot give that much.
    pub fn try_clone(&self) -> Result<Self> {
        Ok(Self {
            lines: alloc::copied(OP, &self.lines)?,
            words: self.words,
        })
    }

    /// A copy of `words`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] when the host cannot give that much.
    pub fn from_words(words: &[u32]) -> Result<Self> {
        let mut buffer = Self::zeroed(words.len() as u64)?;
        buffer.words_mut().copy_from_slice(words);
        Ok(buffer)
    }

    /// Length in words.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words == 0
    }

    /// The words.
    #[must_use]
    pub fn words(&self) -> &[u32] {
        &bytemuck::cast_slice::<Line, u32>(&self.lines)[..self.words]
    }

    /// The words, to write.
    pub fn words_mut(&mut self) -> &mut [u32] {
        &mut bytemuck::cast_slice_mut::<Line, u32>(&mut self.lines)[..self.words]
    }
}

impl std::fmt::Debug for HostBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HostBuffer({} words)", self.words)
    }
}
