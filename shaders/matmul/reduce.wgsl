// The end of a matmul whose K was split over groups: adds each output's partial sums in ascending order, then does
// what `emit` does. A group makes eight rows by 64 columns. Constants: those of common.wgsl, all but STOCHASTIC false.

//!use matmul/common.wgsl

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let batch = group.z;
    let row = group.x * 8u + lane / 8u;
    let col = (group.y * 8u + lane % 8u) * 8u;
    if row >= params.m || col >= params.n {
        return;
    }
    var sums = Run();
    for (var part = 0u; part < params.splits; part++) {
        let at = params.partials_offset + ((batch * params.splits + part) * params.m + row) * params.n + col;
        // Past the last column lie other rows' sums, or nothing: they reach outputs that are not stored.
        sums.lo += bitcast<vec4<f32>>(
            vec4<u32>(partials[at], partials[at + 1u], partials[at + 2u], partials[at + 3u]),
        );
        sums.hi += bitcast<vec4<f32>>(
            vec4<u32>(partials[at + 4u], partials[at + 5u], partials[at + 6u], partials[at + 7u]),
        );
    }
    emit(batch, row, col, sums);
}
