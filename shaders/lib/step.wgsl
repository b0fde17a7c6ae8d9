// What changes from step to step; the rest of a plan never does. See gpu::StepValues. Kernels that read scalars declare
// a structure of their own, with the scalars' names after these.
struct Step {
    seed: vec2<u32>,
    number: u32,
}
