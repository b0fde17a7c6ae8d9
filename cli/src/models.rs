//! Networks as data: read from a TOML file, and from the JSON that stored models and configurations hold.

use std::path::Path;

use fewbit::nn::{Layer, Model};
use serde_json::{Map, Value, json};

use super::Stop;
use super::recipes::{keys, read_toml, text};

/// The network of that name, or in that file if the name ends in `.toml`.
pub(crate) fn find(name: &str) -> Result<Model, Stop> {
    if name.ends_with(".toml") {
        let path = Path::new(name);
        let stem = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let model = parse(&read_toml(path)?, &stem).map_err(|why| Stop::Input(format!("{name}: {why}")))?;
        // Layers that do not fit one another are told of before anything is drawn or read.
        model.classes()?;
        return Ok(model);
    }
    Model::named(name).ok_or_else(|| {
        let known: Vec<_> = Model::known().map(|model| model.name).collect();
        Stop::Input(format!(
            "no model is called {name:?}; there are: {}, and files that end in .toml",
            known.join(", ")
        ))
    })
}

/// The network of a tree; `name` is what it is called if it does not say.
pub(crate) fn parse(tree: &Value, name: &str) -> Result<Model, String> {
    let keys = keys(tree, "the model", &["name", "input", "layers"])?;
    let name = keys.get("name").map_or(Ok(name), |own| text(own, "name"))?;
    // Channels first, as papers write it.
    let [channels, rows, cols] = list(keys.get("input"), "input: [channels, rows, columns]")?;
    let Some(Value::Array(layers)) = keys.get("layers") else {
        return Err("it lists no layers".into());
    };
    let mut model = Model::new(name, [rows, cols, channels]);
    for (number, tree) in layers.iter().enumerate() {
        model = model.with(layer(tree).map_err(|why| format!("layer {number}: {why}"))?);
    }
    Ok(model)
}

/// The tree of a network, which [`parse`] reads.
pub(crate) fn tree(model: &Model) -> Result<Value, String> {
    let [rows, cols, channels] = model.input;
    let layers: Vec<_> = model.layers.iter().map(layer_tree).collect::<Result<_, _>>()?;
    Ok(json!({
        "name": model.name,
        "input": [channels, rows, cols],
        "layers": layers,
    }))
}

fn layer(tree: &Value) -> Result<Layer, String> {
    let Some(kind) = tree.get("type") else {
        return Err("it has no type".into());
    };
    match text(kind, "type")? {
        "linear" => {
            let own = keys(tree, "linear", &["type", "outputs"])?;
            Ok(Layer::Linear {
                outputs: count(own.get("outputs"), "outputs")?,
            })
        }
        "conv2d" => {
            let known = ["type", "filters", "window", "stride", "padding"];
            let own = keys(tree, "conv2d", &known)?;
            Ok(Layer::Conv2d {
                filters: count(own.get("filters"), "filters")?,
                window: pair(own, "window", None)?,
                stride: pair(own, "stride", Some(1))?,
                padding: pair(own, "padding", Some(0))?,
            })
        }
        "max-pool" => {
            let own = keys(tree, "max-pool", &["type", "window"])?;
            Ok(Layer::MaxPool {
                window: pair(own, "window", None)?,
            })
        }
        "relu" => keys(tree, "relu", &["type"]).map(|_| Layer::Relu),
        "dropout" => {
            let own = keys(tree, "dropout", &["type", "p"])?;
            let p = own.get("p").ok_or("p is missing")?;
            let number = p.as_f64().filter(|p| (0.0..1.0).contains(p));
            let number = number.ok_or_else(|| format!("p: this is no probability below 1: {p}"))?;
            Ok(Layer::Dropout { p: number as f32 })
        }
        other => Err(format!(
            "no layer is called {other:?}; there are: linear, conv2d, max-pool, relu, dropout"
        )),
    }
}

fn layer_tree(layer: &Layer) -> Result<Value, String> {
    Ok(match layer {
        Layer::Linear { outputs } => json!({"type": "linear", "outputs": outputs}),
        Layer::Conv2d {
            filters,
            window,
            stride,
            padding,
        } => json!({
            "type": "conv2d",
            "filters": filters,
            "window": window,
            "stride": stride,
            "padding": padding,
        }),
        Layer::MaxPool { window } => json!({"type": "max-pool", "window": window}),
        Layer::Relu => json!({"type": "relu"}),
        Layer::Dropout { p } => json!({"type": "dropout", "p": p}),
        other => return Err(format!("{other:?} has no name in files")),
    })
}

fn count(value: Option<&Value>, key: &str) -> Result<usize, String> {
    let number = value
        .and_then(Value::as_u64)
        .and_then(|n| usize::try_from(n).ok());
    number.ok_or_else(|| match value {
        Some(value) => format!("{key}: this is no count: {value}"),
        None => format!("{key} is missing"),
    })
}

fn list<const N: usize>(value: Option<&Value>, key: &str) -> Result<[usize; N], String> {
    let numbers = value.and_then(Value::as_array);
    let numbers = numbers.filter(|numbers| numbers.len() == N);
    let Some(numbers) = numbers else {
        return Err(format!("{key}: a list of {N} counts is needed"));
    };
    let mut own = [0; N];
    for (own, number) in own.iter_mut().zip(numbers) {
        *own = count(Some(number), key)?;
    }
    Ok(own)
}

/// Rows and columns: a list of both, or one number for both.
fn pair(own: &Map<String, Value>, key: &str, default: Option<usize>) -> Result<[usize; 2], String> {
    match (own.get(key), default) {
        (None, Some(default)) => Ok([default; 2]),
        (value @ Some(Value::Array(_)), _) => list(value, key),
        (value, _) => count(value, key).map(|both| [both; 2]),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Model, String> {
        let tree: Value = toml::from_str(text).map_err(|error| error.to_string())?;
        parse(&tree, "file")
    }

    #[test]
    fn every_known_model_survives_its_tree() {
        for model in Model::known() {
            assert_eq!(parse(&tree(&model).unwrap(), "x").unwrap(), model);
        }
    }

    #[test]
    fn a_model_is_read() {
        let layers = "[[layers]]\ntype = \"conv2d\"\nfilters = 4\nwindow = [5, 3]\nstride = 2\n\
                      [[layers]]\ntype = \"relu\"\n[[layers]]\ntype = \"dropout\"\np = 0.25\n\
                      [[layers]]\ntype = \"max-pool\"\nwindow = 2\n\
                      [[layers]]\ntype = \"linear\"\noutputs = 10\n";
        let own = of(&format!("input = [1, 28, 27]\n{layers}")).unwrap();
        let want = Model::new("file", [28, 27, 1])
            .with(Layer::Conv2d {
                filters: 4,
                window: [5, 3],
                stride: [2, 2],
                padding: [0, 0],
            })
            .with(Layer::Relu)
            .with(Layer::Dropout { p: 0.25 })
            .with(Layer::max_pool(2))
            .with(Layer::Linear { outputs: 10 });
        assert_eq!(own, want);
    }

    #[test]
    fn mistakes_are_named() {
        let with = |layer: &str| format!("input = [1, 28, 28]\n[[layers]]\n{layer}\n");
        for (text, words) in [
            ("input = [1, 28, 28]".into(), &["layers"][..]),
            ("layers = []".into(), &["input", "channels"]),
            ("input = [28, 28]\nlayers = []".into(), &["input", "3"]),
            ("inputs = 3".into(), &["inputs", "input"]),
            (with("outputs = 3"), &["layer 0", "type"]),
            (with("type = \"dense\""), &["dense", "linear"]),
            (with("type = \"linear\""), &["outputs", "missing"]),
            (with("type = \"linear\"\noutputs = -3"), &["outputs", "-3"]),
            (with("type = \"linear\"\noutputs = 3\nbias = false"), &["bias"]),
            (with("type = \"conv2d\"\nfilters = 3"), &["window", "missing"]),
            (
                with("type = \"conv2d\"\nfilters = 3\nwindow = [1, 2, 3]"),
                &["window", "2"],
            ),
            (with("type = \"relu\"\nwindow = 2"), &["relu", "window"]),
            (with("type = \"dropout\"\np = 1.0"), &["p", "1.0"]),
            (with("type = \"dropout\""), &["p", "missing"]),
        ] {
            let why = of(&text).unwrap_err();
            for word in words {
                assert!(why.contains(word), "{why:?} lacks {word:?}");
            }
        }
    }
}
