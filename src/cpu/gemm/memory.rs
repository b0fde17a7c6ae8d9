//! Memory of products: what their size asks for may not be there.

use crate::cpu::CpuError;
use crate::tensor::alloc::{Line, room};
use bytemuck::{Pod, Zeroable};
use std::marker::PhantomData;

/// Elements of which the first begins a cache line.
#[derive(Clone)]
pub(super) struct Aligned<T> {
    lines: Vec<Line>,
    len: usize,
    of: PhantomData<T>,
}

impl<T: Pod> Aligned<T> {
    pub(super) fn zeroed(len: usize) -> Result<Self, CpuError> {
        Ok(Self {
            lines: filled(Line::holding::<T>(len), Line::zeroed())?,
            len,
            of: PhantomData,
        })
    }

    pub(super) fn all(&self) -> &[T] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }

    pub(super) fn all_mut(&mut self) -> &mut [T] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

impl<T> std::fmt::Debug for Aligned<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} elements", self.len)
    }
}

/// An empty vector with room for `len` elements.
pub(super) fn reserved<T>(len: usize) -> Result<Vec<T>, CpuError> {
    room(len).map_err(|bytes| CpuError::OutOfMemory { bytes })
}

/// `len` elements of one value.
pub(super) fn filled<T: Clone>(len: usize, value: T) -> Result<Vec<T>, CpuError> {
    let mut values = reserved(len)?;
    values.resize(len, value);
    Ok(values)
}

/// Whatever comes, of a length known beforehand.
pub(super) fn collected<T>(from: impl ExactSizeIterator<Item = T>) -> Result<Vec<T>, CpuError> {
    let mut values = reserved(from.len())?;
    values.extend(from);
    Ok(values)
}

/// Makes `values` at least `len` long.
pub(super) fn grow<T: Clone>(values: &mut Vec<T>, len: usize, value: T) -> Result<(), CpuError> {
    let more = len.saturating_sub(values.len());
    if more > 0 {
        values
            .try_reserve_exact(more)
            .map_err(|_| CpuError::OutOfMemory {
                bytes: (len as u64).saturating_mul(size_of::<T>() as u64),
            })?;
        values.resize(len, value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Aligned;

    #[test]
    fn elements_begin_on_a_cache_line() -> Result<(), crate::cpu::CpuError> {
        for len in [1, 31, 1 << 20] {
            let all = Aligned::<u16>::zeroed(len)?;
            assert_eq!(all.all().len(), len);
            assert_eq!(all.all().as_ptr().addr() % 64, 0);
        }
        Ok(())
    }
}
