//! What several kernels share.

pub(crate) mod coded;
pub(crate) mod coded_cases;
pub(crate) mod csr;
pub(crate) mod csr_cases;
