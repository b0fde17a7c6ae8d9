use super::*;

#[test]
fn lenet_5_is_what_papers_count() -> Result<()> {
    let model = Model::lenet_5();
    assert_eq!(model.weights()?, 430_500);
    assert_eq!((model.pixels(), model.classes()?), (784, 10));
    let works: Vec<_> = model
        .stages()?
        .iter()
        .map(|stage| (stage.layer, stage.relu))
        .collect();
    let want = [
        (0, true),
        (2, false),
        (3, true),
        (5, false),
        (6, true),
        (8, false),
    ];
    assert_eq!(works, want);
    Ok(())
}

#[test]
fn images_change_how_they_lie_where_a_layer_asks_for_it() -> Result<()> {
    let model = Model::new("twice", [12, 12, 3])
        .with(Layer::max_pool(2))
        .with(Layer::Relu)
        .with(Layer::max_pool(2))
        .with(Layer::conv(4, 2))
        .with(Layer::Linear { outputs: 7 });
    let stages = model.stages()?;
    let work: Vec<_> = stages.iter().map(|stage| stage.work == Work::Reshape).collect();
    assert_eq!(work, [true, false, false, true, false, false, true, false]);
    for pair in stages.windows(2) {
        assert_eq!(pair[0].to, pair[1].from);
    }
    assert_eq!(model.weights()?, 4 * 2 * 2 * 3 + 7 * 2 * 2 * 4);
    Ok(())
}

#[test]
fn layers_that_fit_nothing_are_refused() {
    let image = || Model::new("bad", [5, 5, 1]);
    let linear = Layer::Linear { outputs: 2 };
    let far = Layer::Conv2d {
        filters: 1,
        window: [3, 3],
        stride: [0, 1],
        padding: [0, 0],
    };
    for model in [
        Model::new("none", [0, 5, 1]).with(linear.clone()),
        image(),
        image().with(linear.clone()).with(Layer::Relu),
        image().with(Layer::conv(3, 6)).with(linear.clone()),
        image().with(Layer::conv(0, 3)).with(linear.clone()),
        image().with(Layer::conv(3, 0)).with(linear.clone()),
        image().with(far).with(linear.clone()),
        image().with(Layer::max_pool(0)).with(linear.clone()),
        image().with(Layer::max_pool(6)).with(linear),
        image().with(Layer::Linear { outputs: 0 }),
    ] {
        assert!(
            matches!(model.stages(), Err(Error::Value { op: OP, .. })),
            "{model:?}"
        );
    }
}
