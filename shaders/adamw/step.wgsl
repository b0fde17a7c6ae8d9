// The step values of adamw, and the gradient as it is.

struct Step {
    seed: vec2<u32>,
    number: u32,
    learning_rate: f32,
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    weight_decay: f32,
    correction1: f32,
    correction2: f32,
}

fn scaled(gradient: f32) -> f32 {
    return gradient;
}
