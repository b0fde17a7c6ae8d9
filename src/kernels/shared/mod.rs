//! What several kernels share.

#[cfg(feature = "nn")]
pub(crate) mod class_rows;
pub(crate) mod coded;
pub(crate) mod coded_cases;
#[cfg(feature = "quant")]
pub(crate) mod codes;
#[cfg(feature = "quant")]
pub(crate) mod codes_cases;
pub(crate) mod csr;
pub(crate) mod csr_cases;
pub(crate) mod decoding;
#[cfg(feature = "nn")]
pub(crate) mod elements;
#[cfg(feature = "nn")]
pub(crate) mod kahan;
#[cfg(feature = "nn")]
pub(crate) mod updates;
