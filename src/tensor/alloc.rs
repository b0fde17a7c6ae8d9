//! Host memory whose size comes from a caller: a request that cannot be met is an error, never an abort.

use bytemuck::{Pod, Zeroable};

use crate::error::{Error, Result};

/// One cache line, the unit of memory that vectors are read from and written to: allocations that begin anywhere let
/// every vector of 512 bits lie across two lines (large ones begin 16 bytes into a page), which costs up to a third of a
/// kernel's speed.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Line([u32; 16]);

impl Line {
    /// Lines that hold so many elements.
    pub(crate) fn holding<T>(len: usize) -> usize {
        len.saturating_mul(size_of::<T>()).div_ceil(size_of::<Self>())
    }
}

/// An empty vector with room for `len` elements, or the bytes that could not be had.
pub(crate) fn room<T>(len: usize) -> std::result::Result<Vec<T>, u64> {
    let mut values = Vec::new();
    match values.try_reserve_exact(len) {
        Ok(()) => Ok(values),
        Err(_) => Err((len as u64).saturating_mul(size_of::<T>() as u64)),
    }
}

/// An empty vector with room for `len` elements.
pub(crate) fn reserved<T>(op: &'static str, len: usize) -> Result<Vec<T>> {
    room(len).map_err(|bytes| Error::OutOfMemory { op, bytes })
}

/// `len` elements of one value.
pub(crate) fn filled<T: Clone>(op: &'static str, len: usize, value: T) -> Result<Vec<T>> {
    let mut values = reserved(op, len)?;
    values.resize(len, value);
    Ok(values)
}

/// A copy.
pub(crate) fn copied<T: Clone>(op: &'static str, from: &[T]) -> Result<Vec<T>> {
    let mut values = reserved(op, from.len())?;
    values.extend_from_slice(from);
    Ok(values)
}

/// Whatever comes, of a length known beforehand.
pub(crate) fn collected<T>(op: &'static str, from: impl ExactSizeIterator<Item = T>) -> Result<Vec<T>> {
    let mut values = reserved(op, from.len())?;
    values.extend(from);
    Ok(values)
}
