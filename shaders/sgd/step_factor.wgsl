// The step values of sgd with a factor of the gradient, which is applied before anything else.

struct Step {
    seed: vec2<u32>,
    number: u32,
    learning_rate: f32,
    momentum: f32,
    weight_decay: f32,
    gradient_factor: f32,
}

fn scaled(gradient: f32) -> f32 {
    return step.gradient_factor * gradient;
}
