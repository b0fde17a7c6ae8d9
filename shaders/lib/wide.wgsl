// (high, low) half of a product, which WGSL cannot give. With 16-bit halves a*b = ah*bh*2^32 +
// (ah*bl + al*bh)*2^16 + al*bl; each partial sum below stays under 2^32 ((2^16-1)^2 + 2^16-1 < 2^32), so no
// carry is lost.
fn mul_wide(a: u32, b: u32) -> vec2<u32> {
    let al = a & 0xffffu;
    let ah = a >> 16u;
    let bl = b & 0xffffu;
    let bh = b >> 16u;
    let mid = ah * bl + ((al * bl) >> 16u);
    let mid2 = al * bh + (mid & 0xffffu);
    return vec2<u32>(ah * bh + (mid >> 16u) + (mid2 >> 16u), a * b);
}
