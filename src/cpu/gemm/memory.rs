//! Memory of products: what their size asks for may not be there.

use crate::cpu::CpuError;
use crate::tensor::alloc::room;

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
