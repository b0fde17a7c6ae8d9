// Philox4x32-10 of Random123; src/format/random.rs. Defines random_block (threefry.wgsl is the other choice).

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

fn philox4x32_10(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
    var c = counter;
    var k = key;
    for (var i = 0u; i < 10u; i++) {
        let p0 = mul_wide(c.x, 0xd2511f53u);
        let p1 = mul_wide(c.z, 0xcd9e8d57u);
        c = vec4<u32>(p1.x ^ c.y ^ k.x, p1.y, p0.x ^ c.w ^ k.y, p0.y);
        k += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
    }
    return c;
}

// 128 random bits; seed is (low, high).
fn random_block(seed: vec2<u32>, counter: vec4<u32>) -> vec4<u32> {
    return philox4x32_10(counter, seed);
}
