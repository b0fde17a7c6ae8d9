// What changes from step to step; the rest of a plan never does. See gpu::StepValues.
struct Step {
    seed: vec2<u32>,
    number: u32,
    flags: u32,
    scalars: vec4<f32>,
}
