// Writes new step values inside a pass: one word an invocation, one workgroup.

@group(0) @binding(0) var<storage, read> values: array<u32>;
@group(0) @binding(1) var<storage, read_write> step: array<u32>;

@compute @workgroup_size(32)
fn main(@builtin(local_invocation_index) lane: u32) {
    if lane < arrayLength(&values) {
        step[lane] = values[lane];
    }
}
