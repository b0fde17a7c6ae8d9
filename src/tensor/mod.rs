//! Host data only: data types, layouts, packed storage. No GPU here.

pub(crate) mod alloc;
mod csr;
mod host;
mod layout;
#[cfg(feature = "nn")]
pub(crate) mod stored;
mod view;

pub use crate::format::DType;
pub use csr::{Csr, RowStats};
pub use host::HostBuffer;
pub use layout::{Layout, MAX_WORDS, Part};
pub use view::View;
