// What the kernel in SPIR-V (bf16.comp) is to the host: the bindings and the parameters of common.wgsl, with operands
// in vectors of four words. It is read and never compiled.

//!use matmul/common.wgsl
