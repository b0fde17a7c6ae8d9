use crate::cpu::Cpu;

/// Words in one task: large enough that `memcpy` streams.
const CHUNK: usize = 1 << 18;

pub(crate) fn copy(cpu: &Cpu, src: &[u32], dst: &mut [u32]) {
    cpu.chunks_mut(dst, CHUNK, |i, dst| {
        let first = i * CHUNK;
        dst.copy_from_slice(&src[first..first + dst.len()]);
    });
}
