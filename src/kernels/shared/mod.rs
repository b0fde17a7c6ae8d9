//! What several kernels share.

pub(crate) mod csr;
pub(crate) mod csr_cases;
