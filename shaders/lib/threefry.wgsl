// Threefry4x32-20 of Random123; src/format/random.rs. Defines random_block (philox.wgsl is the other choice).

// s is 1..31.
fn threefry_rotl(x: vec2<u32>, s: vec2<u32>) -> vec2<u32> {
    return (x << s) | (x >> (vec2<u32>(32u, 32u) - s));
}

// One round; y and w change places, so that odd rounds have the form of even ones.
fn threefry_round(x: vec4<u32>, rotations: vec2<u32>) -> vec4<u32> {
    let s = x.xz + x.yw;
    let y = threefry_rotl(x.yw, rotations) ^ s;
    return vec4<u32>(s.x, y.y, s.y, y.x);
}

// Rounds 0-3, 8-11 and 16-19.
fn threefry_first(x: vec4<u32>) -> vec4<u32> {
    var v = threefry_round(x, vec2<u32>(10u, 26u));
    v = threefry_round(v, vec2<u32>(11u, 21u));
    v = threefry_round(v, vec2<u32>(13u, 27u));
    return threefry_round(v, vec2<u32>(23u, 5u));
}

// Rounds 4-7 and 12-15.
fn threefry_second(x: vec4<u32>) -> vec4<u32> {
    var v = threefry_round(x, vec2<u32>(6u, 20u));
    v = threefry_round(v, vec2<u32>(17u, 11u));
    v = threefry_round(v, vec2<u32>(25u, 10u));
    return threefry_round(v, vec2<u32>(18u, 20u));
}

fn threefry4x32_20(counter: vec4<u32>, k: vec4<u32>) -> vec4<u32> {
    let k4 = k.x ^ k.y ^ k.z ^ k.w ^ 0x1bd11bdau;
    var x = counter + k;
    x = threefry_first(x) + vec4<u32>(k.y, k.z, k.w, k4 + 1u);
    x = threefry_second(x) + vec4<u32>(k.z, k.w, k4, k.x + 2u);
    x = threefry_first(x) + vec4<u32>(k.w, k4, k.x, k.y + 3u);
    x = threefry_second(x) + vec4<u32>(k4, k.x, k.y, k.z + 4u);
    return threefry_first(x) + vec4<u32>(k.x, k.y, k.z, k.w + 5u);
}

// 128 random bits; seed is (low, high).
fn random_block(seed: vec2<u32>, counter: vec4<u32>) -> vec4<u32> {
    return threefry4x32_20(counter, vec4<u32>(seed.x, seed.y, 0u, 0u));
}
