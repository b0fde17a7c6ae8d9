//! Recipes as data: read from a TOML file, and from the JSON that stored models and configurations hold.
//!
//! Both are one tree of keys and values, so one parser serves.

mod places;
mod products;

use std::path::Path;

use fewbit::format::Rounding;
use fewbit::nn::{LossScale, Recipe, Variable};
use serde_json::{Map, Value, json};

use super::Stop;
use places::{KEYS, Place, named as named_format, places, places_tree};

const ROUNDINGS: [Rounding; 3] = [Rounding::Nearest, Rounding::Stochastic, Rounding::TowardZero];
/// What stands for a place that is not there.
const NONE: &str = "none";

/// The recipe of that name, or in that file if the name ends in `.toml`.
pub(crate) fn find(name: &str) -> Result<Recipe, Stop> {
    if name.ends_with(".toml") {
        let path = Path::new(name);
        let stem = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        return parse(&read_toml(path)?, &stem).map_err(|why| Stop::Input(format!("{name}: {why}")));
    }
    named(name).map_err(Stop::Input)
}

fn named(name: &str) -> Result<Recipe, String> {
    Recipe::named(name).ok_or_else(|| {
        format!(
            "no format is called {name:?}; there are: {}, and files that end in .toml",
            names()
        )
    })
}

/// Recipes that are named with a number.
const FAMILIES: &str = "bfp-2 to bfp-8; bf16-fmac-C and bf16-pure-C, whose accumulators are rounded after every C products \
                        (k: once)";

/// The names of all recipes.
fn names() -> String {
    let known: Vec<_> = Recipe::known().map(|recipe| recipe.name).collect();
    format!("{}; {FAMILIES}", known.join(", "))
}

/// The help of an option that takes recipes.
pub(crate) fn help() -> String {
    format!(
        "Recipes to train by, each by its name or as a TOML file (examples/recipe.toml): {}. By default f64, f32, bf16-mixed \
         and bf16-sr (without f64 on a GPU, whose shading language has none), and f32 for fewbit distill",
        names()
    )
}

/// A TOML file as a tree.
pub(crate) fn read_toml(path: &Path) -> Result<Value, Stop> {
    let failed = |why: &dyn std::fmt::Display| Stop::Input(format!("{}: {why}", path.display()));
    let bytes = fewbit::file::read_regular(path)
        .map_err(|error| failed(&format_args!("it cannot be read: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|_| failed(&"it is no UTF-8 text"))?;
    toml::from_str(&text).map_err(|error| failed(&error.to_string().trim_end()))
}

/// The recipe of a tree; `name` is what it is called if it does not say.
pub(crate) fn parse(tree: &Value, name: &str) -> Result<Recipe, String> {
    const OWN: [&str; 7] = [
        "name",
        "like",
        "logits",
        "allow-ratchet",
        "layers",
        "loss-scale",
        "variable",
    ];
    let known: Vec<_> = OWN.into_iter().chain(KEYS).collect();
    let keys = keys(tree, "the recipe", &known)?;
    let mut recipe = match keys.get("like") {
        Some(like) => named(text(like, "like")?)?,
        None => Recipe::f32(),
    };
    recipe.name = match keys.get("name") {
        Some(own) => text(own, "name")?.to_string(),
        None => name.to_string(),
    };
    let letter = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    // It names a folder of --out too.
    if recipe.name.is_empty() || recipe.name.starts_with('.') || !recipe.name.chars().all(letter) {
        return Err(format!(
            "a recipe's name is made of letters, digits and - _ . + and begins with no dot; this is {:?}",
            recipe.name
        ));
    }
    let common = places(keys, "", recipe.places())?;
    recipe = recipe.throughout(common);
    if keys.contains_key("activations") {
        // Logits that are not named follow.
        recipe.logits = common.activations;
    }
    if let Some(value) = keys.get("logits") {
        let place = Place::parse(value, "logits".into())?;
        place.unrounded()?;
        recipe.logits = place.there()?;
    }
    if let Some(value) = keys.get("allow-ratchet") {
        recipe.allow_ratchet = value
            .as_bool()
            .ok_or_else(|| format!("allow-ratchet: this is neither true nor false: {value}"))?;
    }
    if let Some(own) = keys.get("loss-scale") {
        recipe.loss_scale = loss_scale(own)?;
    }
    if let Some(own) = keys.get("variable") {
        recipe.variable = variable(own)?;
    }
    let Some(layers) = keys.get("layers") else {
        return Ok(recipe);
    };
    let Value::Object(layers) = layers else {
        return Err(format!("layers: this is no table of layers: {layers}"));
    };
    for (number, own) in layers {
        let key = format!("layers.{number}");
        let layer = number
            .parse()
            .map_err(|_| format!("{key}: layers with weights are numbered, from 0"))?;
        let table = self::keys(own, &key, &KEYS)?;
        let of = places(table, &format!("{key}."), recipe.places_of(layer))?;
        recipe = recipe.with_places(layer, of);
    }
    Ok(recipe)
}

/// A count of a table, from 1, or `base` where it has none.
fn count(table: &Map<String, Value>, key: &str, base: u32) -> Result<u32, String> {
    let Some(value) = table.get(key) else {
        return Ok(base);
    };
    let count = value.as_u64().and_then(|count| u32::try_from(count).ok());
    count
        .filter(|&count| count > 0)
        .ok_or_else(|| format!("{key}: this is no whole number from 1 on: {value}"))
}

/// Loss scaling: a table, or none.
fn loss_scale(value: &Value) -> Result<Option<LossScale>, String> {
    if value.as_str() == Some(NONE) {
        return Ok(None);
    }
    let table = keys(value, "loss-scale", &["exponent", "growth"])?;
    let mut scale = LossScale::default();
    scale.exponent = count(table, "exponent", scale.exponent)?;
    scale.growth = count(table, "growth", scale.growth)?;
    Ok(Some(scale))
}

/// Variable precision: a table, or none.
fn variable(value: &Value) -> Result<Option<Variable>, String> {
    if value.as_str() == Some(NONE) {
        return Ok(None);
    }
    let table = keys(value, "variable", &["coarse", "alpha", "beta", "every"])?;
    let mut variable = Variable::default();
    variable.coarse = count(table, "coarse", variable.coarse)?;
    variable.every = count(table, "every", variable.every)?;
    for (key, to) in [("alpha", &mut variable.alpha), ("beta", &mut variable.beta)] {
        if let Some(value) = table.get(key) {
            let number = value.as_f64().map(|number| number as f32);
            let number = number.filter(|number| number.is_finite());
            *to = number
                .ok_or_else(|| format!("{key}: this is no number: {value}"))?
                .into();
        }
    }
    Ok(Some(variable))
}

/// The name of a rounding.
fn rounding(value: &Value, key: &str) -> Result<Rounding, String> {
    let name = text(value, key)?;
    let found = ROUNDINGS
        .into_iter()
        .find(|rounding| rounding.to_string() == name);
    found.ok_or_else(|| format!("{key}: no rounding is called {name:?}; there are nearest and stochastic"))
}

/// The tree of a recipe, which [`parse`] reads.
pub(crate) fn tree(recipe: &Recipe) -> Value {
    let mut tree = places_tree(&recipe.places());
    let layers = recipe.layers.iter();
    let more = json!({
        "name": recipe.name,
        "logits": named_format(Some(recipe.logits)),
        "allow-ratchet": recipe.allow_ratchet,
        "layers": layers
            .map(|(layer, places)| (layer.to_string(), Value::Object(places_tree(places))))
            .collect::<Map<_, _>>(),
        "loss-scale": recipe.loss_scale.map_or(json!(NONE), |scale| json!({
            "exponent": scale.exponent,
            "growth": scale.growth,
        })),
        "variable": recipe.variable.map_or(json!(NONE), |variable| json!({
            "coarse": variable.coarse,
            "alpha": variable.alpha.get(),
            "beta": variable.beta.get(),
            "every": variable.every,
        })),
    });
    if let Value::Object(more) = more {
        tree.extend(more);
    }
    Value::Object(tree)
}

/// A table without other keys than these.
pub(crate) fn keys<'a>(
    value: &'a Value,
    what: &str,
    known: &[&str],
) -> Result<&'a Map<String, Value>, String> {
    let Value::Object(table) = value else {
        return Err(format!("{what}: this is no table: {value}"));
    };
    match table.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(table),
        Some(key) => Err(format!(
            "{what}: unknown key {key:?}; there are: {}",
            known.join(", ")
        )),
    }
}

/// A text.
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str, String> {
    value
        .as_str()
        .ok_or_else(|| format!("{key}: this is no text: {value}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use fewbit::nn::{Coding, Products};

    use super::*;

    fn of(text: &str) -> Result<Recipe, String> {
        let tree: Value = toml::from_str(text).map_err(|error| error.to_string())?;
        parse(&tree, "file")
    }

    #[test]
    fn every_known_recipe_survives_its_tree() {
        for recipe in Recipe::known() {
            assert_eq!(parse(&tree(&recipe), "x").unwrap(), recipe);
        }
    }

    #[test]
    fn a_recipe_is_another_with_changes() {
        let own = of("like = \"bf16-sr\"\nmomentum = { format = \"bf16\", rounding = \"nearest\" }").unwrap();
        let mut want = Recipe::bf16_sr();
        want.name = "file".into();
        want.momentum_rounding = Rounding::Nearest;
        assert_eq!(own, want);
        let own = of("name = \"mine\"\nlike = \"bf16-mixed\"\nmaster = \"none\"\n").unwrap();
        assert_eq!((own.name.as_str(), own.master), ("mine", None));
    }

    #[test]
    fn places_are_read_and_follow() {
        let own = of(
            "like = \"bf16-sr\"\nlogits = \"f32\"\nweight-gradients = \"f32\"\n\
                      gradient-sum = { format = \"bf16\", rounding = \"nearest\" }\n\
                      second-moment = { format = \"bf16\", rounding = \"nearest\" }\nallow-ratchet = true\n\
                      [layers.1]\nweights = \"f32\"\nmomentum = \"f32\"\nsecond-compensation = \"none\"",
        )
        .unwrap();
        let (f32, bf16) = (fewbit::tensor::DType::F32, fewbit::tensor::DType::Bf16);
        assert_eq!(
            (own.logits, own.weight_gradients, own.gradients),
            (f32, f32, bf16)
        );
        assert_eq!(
            (own.gradient_sum, own.gradient_sum_rounding),
            (bf16, Rounding::Nearest)
        );
        assert_eq!(
            (own.second_rounding, own.allow_ratchet),
            (Rounding::Nearest, true)
        );
        let one = own.places_of(1);
        assert_eq!((one.weights, one.momentum, one.second), (f32, f32, f32));
        assert_eq!((one.activations, one.second_rounding), (bf16, Rounding::Nearest));
        assert_eq!(own.places_of(0), own.places());
        assert_eq!(parse(&tree(&own), "x").unwrap(), own);
        let follows = of("activations = \"bf16\"\ngradients = \"bf16\"\nmomentum = \"bf16\"").unwrap();
        assert_eq!(
            [follows.logits, follows.weight_gradients, follows.second],
            [bf16; 3]
        );
        assert_eq!(follows.gradient_sum, f32);
    }

    #[test]
    fn products_and_layers_are_read() {
        let own = of("like = \"bfp-5\"\n[products]\ngradients = { format = \"bfp5-16-up\", rounding = \"stochastic\" }\n\
                      [layers.0.products]\nweights = \"none\"\naccumulator = { format = \"bf16\", chunk = 8, rounding = \"stochastic\" }")
        .unwrap();
        let up = Coding::stochastic("bfp5-16-up".parse().unwrap());
        assert_eq!(own.products.gradients, Some(up));
        assert_eq!(own.products.weights, Recipe::bfp(5).unwrap().products.weights);
        let first = own.products_of(0);
        assert_eq!((first.weights, first.gradients), (None, Some(up)));
        assert_eq!(
            first.accumulators,
            Products::fmac(8, Rounding::Stochastic).accumulators
        );
        assert_eq!(parse(&tree(&own), "x").unwrap(), own);
        let own = of("like = \"bf16-sr\"\n[products.accumulators]\nweight-gradients = { format = \"bf16\", chunk = 4 }").unwrap();
        let all = own.products.accumulators;
        assert_eq!((all.outputs, all.input_gradients), Default::default());
        assert_eq!(
            all.weight_gradients,
            Products::fmac(4, Rounding::Nearest).accumulators.outputs
        );
        assert_eq!(parse(&tree(&own), "x").unwrap(), own);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, words) in [
            ("weigths = \"bf16\"", &["weigths", "weights"][..]),
            ("like = \"nosuch\"", &["nosuch", "bf16-sr"]),
            ("weights = \"bf17\"", &["weights", "bf17", "bf16"]),
            ("weights = \"none\"", &["weights", "left out"]),
            ("weights = 16", &["weights", "16"]),
            ("weights = { rounding = \"nearest\" }", &["weights", "no format"]),
            (
                "weights = { format = \"bf16\", round = \"nearest\" }",
                &["weights", "round", "rounding"],
            ),
            (
                "momentum = { format = \"bf16\", rounding = \"up\" }",
                &["momentum", "up", "nearest"],
            ),
            (
                "activations = { format = \"bf16\", rounding = \"stochastic\" }",
                &["activations", "stochastic"],
            ),
            (
                "[products]\nweight = \"bfp5-16\"",
                &["products", "weight", "weights"],
            ),
            ("[products]\nweights = \"bfp9-16\"", &["products.weights", "9"]),
            (
                "[products]\nweights = \"mxfp8-e4m2\"",
                &["products.weights", "mxfp8-e4m3"],
            ),
            (
                "[products]\naccumulator = { format = \"bf16\", chunk = 0 }",
                &["products.accumulator", "chunk"],
            ),
            (
                "[products.accumulators]\nweights = \"f32\"",
                &["weights", "input-gradients"],
            ),
            ("[loss-scale]\ngrowth = 0", &["growth", "0"]),
            ("[variable]\nalpha = \"much\"", &["alpha", "much"]),
            ("layers = 3", &["layers", "3"]),
            ("[layers.first]\nweights = \"int8\"", &["layers.first", "from 0"]),
            (
                "[layers.0]\nweights = \"mxfp8-e4m3\"",
                &["layers.0.weights", "mxfp8-e4m3"],
            ),
            ("[layers.0]\nlogits = \"f32\"", &["layers.0", "logits"]),
            (
                "[layers.0.products]\nweights = \"bfp9-16\"",
                &["layers.0.products.weights"],
            ),
            ("logits = \"mxfp4\"", &["logits", "mxfp4"]),
            (
                "weight-gradients = { format = \"bf16\", rounding = \"stochastic\" }",
                &["weight-gradients", "stochastic"],
            ),
            ("second-moment = \"none\"", &["second-moment", "left out"]),
            ("allow-ratchet = \"yes\"", &["allow-ratchet", "yes"]),
            ("name = \"../x\"", &["name", "../x"]),
            ("name = \"\"", &["name"]),
            ("name = ", &["line 1"]),
        ] {
            let why = of(text).unwrap_err();
            for word in words {
                assert!(why.contains(word), "{why:?} lacks {word:?}");
            }
        }
    }
}
