// Philox4x32-10 of Random123; src/format/random.rs. Defines random_block (threefry.wgsl is the other choice).

//!use lib/wide.wgsl

// Four words and the round's key.
struct Philox {
    c: vec4<u32>,
    k: vec2<u32>,
}

fn philox_round(x: Philox) -> Philox {
    let p0 = mul_wide(x.c.x, 0xd2511f53u);
    let p1 = mul_wide(x.c.z, 0xcd9e8d57u);
    let c = vec4<u32>(p1.x ^ x.c.y ^ x.k.x, p1.y, p0.x ^ x.c.w ^ x.k.y, p0.y);
    return Philox(c, x.k + vec2<u32>(0x9e3779b9u, 0xbb67ae85u));
}

// No loop: its turns would count for every draw that an invocation makes.
fn philox4x32_10(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
    var x = philox_round(Philox(counter, key));
    x = philox_round(x);
    x = philox_round(x);
    x = philox_round(x);
    x = philox_round(x);
    x = philox_round(x);
    x = philox_round(x);
    x = philox_round(x);
    x = philox_round(x);
    return philox_round(x).c;
}

// 128 random bits; seed is (low, high).
fn random_block(seed: vec2<u32>, counter: vec4<u32>) -> vec4<u32> {
    return philox4x32_10(counter, seed);
}
