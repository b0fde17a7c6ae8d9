//! How the products of a recipe are made, read and written.

use fewbit::format::{Format, Rounding};
use fewbit::nn::{Accumulator, Accumulators, Coding, Products};

use serde_json::{Value, json};

use super::{NONE, keys, rounding, text};

/// The three products by what they make.
const THREE: [&str; 3] = ["outputs", "input-gradients", "weight-gradients"];

fn three(products: &mut Products) -> [&mut Accumulator; 3] {
    let all = &mut products.accumulators;
    [
        &mut all.outputs,
        &mut all.input_gradients,
        &mut all.weight_gradients,
    ]
}

/// How products are made: what a tree says, the rest as in `base`.
pub(super) fn products(tree: &Value, key: &str, base: Products) -> Result<Products, String> {
    let places = [
        "weights",
        "activations",
        "gradients",
        "accumulator",
        "accumulators",
    ];
    let keys = keys(tree, key, &places)?;
    let mut products = base;
    for (place, to) in [
        ("weights", &mut products.weights),
        ("activations", &mut products.activations),
        ("gradients", &mut products.gradients),
    ] {
        if let Some(value) = keys.get(place) {
            *to = coding(value, &format!("{key}.{place}"))?;
        }
    }
    if let Some(value) = keys.get("accumulator") {
        products.accumulators = Accumulators::all(accumulator(value, &format!("{key}.accumulator"))?);
    }
    if let Some(value) = keys.get("accumulators") {
        let key = format!("{key}.accumulators");
        let table = super::keys(value, &key, &THREE)?;
        for (name, to) in THREE.into_iter().zip(three(&mut products)) {
            if let Some(value) = table.get(name) {
                *to = accumulator(value, &format!("{key}.{name}"))?;
            }
        }
    }
    Ok(products)
}

/// An encoded operand: a format's name, a table of one and a rounding, or none.
fn coding(value: &Value, key: &str) -> Result<Option<Coding>, String> {
    let (name, rounded) = match value {
        Value::Object(_) => {
            let table = keys(value, key, &["format", "rounding"])?;
            let name = table.get("format");
            let name = name.ok_or_else(|| format!("{key}: it names no format"))?;
            let rounded = table.get("rounding").map(|name| rounding(name, key));
            (text(name, key)?, rounded.transpose()?.unwrap_or_default())
        }
        value => (text(value, key)?, Rounding::Nearest),
    };
    if name == NONE {
        return Ok(None);
    }
    let format: Format = name.parse().map_err(|why| format!("{key}: {why}"))?;
    Ok(Some(match rounded {
        Rounding::Stochastic => Coding::stochastic(format),
        Rounding::Nearest => Coding::nearest(format),
        Rounding::TowardZero => Coding::truncated(format),
    }))
}

/// `f32`, or a table of bf16, a chunk and a rounding.
fn accumulator(value: &Value, key: &str) -> Result<Accumulator, String> {
    if value.as_str() == Some("f32") {
        return Ok(Accumulator::Wide);
    }
    let form =
        || format!("{key}: it is \"f32\" or {{ format = \"bf16\", chunk = 32, rounding = \"nearest\" }}");
    let Value::Object(_) = value else {
        return Err(form());
    };
    let table = keys(value, key, &["format", "chunk", "rounding"])?;
    if table.get("format").and_then(Value::as_str) != Some("bf16") {
        return Err(form());
    }
    let chunk = match table.get("chunk") {
        // The sum's whole length.
        None => usize::MAX,
        Some(chunk) => {
            let chunk = chunk.as_u64().filter(|&chunk| chunk > 0);
            chunk
                .and_then(|chunk| usize::try_from(chunk).ok())
                .ok_or_else(form)?
        }
    };
    let rounded = table.get("rounding").map(|name| rounding(name, key));
    match Products::fmac(chunk, rounded.transpose()?.unwrap_or_default())
        .accumulators
        .outputs
    {
        Accumulator::Bf16 {
            rounding: Rounding::TowardZero,
            ..
        } => Err(format!("{key}: no kernel rounds {} there", Rounding::TowardZero)),
        accumulator => Ok(accumulator),
    }
}

/// The tree of products.
pub(super) fn products_tree(products: &Products) -> Value {
    let coding = |coding: Option<Coding>| match coding {
        None => json!(NONE),
        Some(coding) => json!({
            "format": coding.format.to_string(),
            "rounding": coding.rounding.to_string(),
        }),
    };
    let tree_of = |accumulator| match accumulator {
        Accumulator::Bf16 { chunk, rounding } => {
            let mut tree = json!({ "format": "bf16", "rounding": rounding.to_string() });
            if chunk != usize::MAX {
                tree["chunk"] = json!(chunk);
            }
            tree
        }
        _ => json!("f32"),
    };
    let mut tree = json!({
        "weights": coding(products.weights),
        "activations": coding(products.activations),
        "gradients": coding(products.gradients),
    });
    let mut own = *products;
    let all = three(&mut own).map(|accumulator| *accumulator);
    match all.iter().all(|accumulator| *accumulator == all[0]) {
        true => tree["accumulator"] = tree_of(all[0]),
        false => {
            for (name, accumulator) in THREE.into_iter().zip(all) {
                tree["accumulators"][name] = tree_of(accumulator);
            }
        }
    }
    tree
}
