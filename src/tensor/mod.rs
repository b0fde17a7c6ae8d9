//! Host data only: data types, layouts, packed storage. No GPU here.

mod csr;
mod dtype;
pub(crate) mod element;
mod host;
mod layout;

pub use csr::{Csr, RowStats};
pub use dtype::DType;
pub use host::HostBuffer;
pub use layout::{Layout, Part};
