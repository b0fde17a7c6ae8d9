// Philox4x32-10 (Salmon et al. 2011), for interoperability.

// The high half of x * m. Halves of 16 bits: every partial product and sum below fits 32 bits, no carry is lost.
fn philox_high(x: u32, m: u32) -> u32 {
    let xl = x & 0xffffu;
    let xh = x >> 16u;
    let ml = m & 0xffffu;
    let mh = m >> 16u;
    let mid = xh * ml + ((xl * ml) >> 16u);
    let mid2 = xl * mh + (mid & 0xffffu);
    return xh * mh + (mid >> 16u) + (mid2 >> 16u);
}

fn random_block(seed: vec2<u32>, counter: vec4<u32>) -> vec4<u32> {
    var c = counter;
    var k = seed;
    for (var round = 0u; round < 10u; round++) {
        c = vec4<u32>(
            philox_high(c.z, 0xcd9e8d57u) ^ c.y ^ k.x,
            c.z * 0xcd9e8d57u,
            philox_high(c.x, 0xd2511f53u) ^ c.w ^ k.y,
            c.x * 0xd2511f53u,
        );
        k += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
    }
    return c;
}
