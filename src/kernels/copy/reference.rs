/// Copies the first `words` words of `src` to `dst`, bit for bit.
pub(crate) fn copy(src: &[u32], dst: &mut [u32], words: usize) {
    dst[..words].copy_from_slice(&src[..words]);
}
