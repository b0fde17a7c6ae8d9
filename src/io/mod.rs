//! File formats.
//!
//! Readers trust nothing: a header is checked against limits before memory is taken for what it announces.
//!
//! Matrix Market is not read here. The reader of `sprs` 0.11 loops for ever on a file that ends before its size
//! line, and panics on an entry outside the matrix or an absurd entry count, so it cannot be given a stranger's
//! file; a caller who trusts the file can read it with `sprs` and convert the matrix.

pub mod idx;
pub mod safetensors;
