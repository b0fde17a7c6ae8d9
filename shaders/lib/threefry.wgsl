// Threefry4x32-20 (Salmon et al. 2011): additions, exclusive ors and shifts only. The other two key words are 0.

fn threefry_rotate(x: u32, r: u32) -> u32 {
    return (x << r) | (x >> (32u - r));
}

fn threefry_even(x: vec4<u32>, r: u32, s: u32) -> vec4<u32> {
    let a = x.x + x.y;
    let c = x.z + x.w;
    return vec4<u32>(a, threefry_rotate(x.y, r) ^ a, c, threefry_rotate(x.w, s) ^ c);
}

fn threefry_odd(x: vec4<u32>, r: u32, s: u32) -> vec4<u32> {
    let a = x.x + x.w;
    let c = x.z + x.y;
    return vec4<u32>(a, threefry_rotate(x.y, s) ^ c, c, threefry_rotate(x.w, r) ^ a);
}

fn random_block(seed: vec2<u32>, counter: vec4<u32>) -> vec4<u32> {
    let k0 = seed.x;
    let k1 = seed.y;
    let k4 = 0x1bd11bdau ^ k0 ^ k1;
    var x = counter + vec4<u32>(k0, k1, 0u, 0u);
    x = threefry_odd(threefry_even(x, 10u, 26u), 11u, 21u);
    x = threefry_odd(threefry_even(x, 13u, 27u), 23u, 5u);
    x += vec4<u32>(k1, 0u, 0u, k4 + 1u);
    x = threefry_odd(threefry_even(x, 6u, 20u), 17u, 11u);
    x = threefry_odd(threefry_even(x, 25u, 10u), 18u, 20u);
    x += vec4<u32>(0u, 0u, k4, k0 + 2u);
    x = threefry_odd(threefry_even(x, 10u, 26u), 11u, 21u);
    x = threefry_odd(threefry_even(x, 13u, 27u), 23u, 5u);
    x += vec4<u32>(0u, k4, k0, k1 + 3u);
    x = threefry_odd(threefry_even(x, 6u, 20u), 17u, 11u);
    x = threefry_odd(threefry_even(x, 25u, 10u), 18u, 20u);
    x += vec4<u32>(k4, k0, k1, 4u);
    x = threefry_odd(threefry_even(x, 10u, 26u), 11u, 21u);
    x = threefry_odd(threefry_even(x, 13u, 27u), 23u, 5u);
    x += vec4<u32>(k0, k1, 0u, 5u);
    return x;
}
