// The step values of sgd, and the gradient as it is.

struct Step {
    seed: vec2<u32>,
    number: u32,
    learning_rate: f32,
    momentum: f32,
    weight_decay: f32,
}

fn scaled(gradient: f32) -> f32 {
    return gradient;
}
