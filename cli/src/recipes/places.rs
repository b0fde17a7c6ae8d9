//! What a recipe, or one layer of it, stores its tensors in, read and written.

use fewbit::format::Rounding;
use fewbit::nn::Places;
use fewbit::tensor::DType;
use serde_json::{Map, Value, json};

use super::products::{products, products_tree};
use super::{NONE, keys, rounding, text};

/// Formats by name.
const FORMATS: [DType; 3] = [DType::F64, DType::F32, DType::Bf16];

/// The keys of places.
pub(super) const KEYS: [&str; 11] = [
    "weights",
    "master",
    "activations",
    "gradients",
    "weight-gradients",
    "gradient-sum",
    "momentum",
    "second-moment",
    "compensation",
    "second-compensation",
    "products",
];

/// What a table says of places, the rest as in `base`; `within` is what stands before a key in messages. A second moment
/// that is not named follows a momentum that is, and gradients of weights those of activations.
pub(super) fn places(table: &Map<String, Value>, within: &str, base: Places) -> Result<Places, String> {
    let mut places = base;
    let place = |key: &str| {
        let named = format!("{within}{key}");
        let parsed = table.get(key).map(|value| Place::parse(value, named));
        parsed.transpose()
    };
    if let Some(place) = place("weights")? {
        places.weights = place.there()?;
        places.rounding = place.rounding.unwrap_or(places.rounding);
    }
    for (key, to) in [
        ("master", &mut places.master),
        ("compensation", &mut places.compensation),
        ("second-compensation", &mut places.second_compensation),
    ] {
        if let Some(place) = place(key)? {
            place.unrounded()?;
            *to = place.format;
        }
    }
    if let Some(place) = place("activations")? {
        place.unrounded()?;
        places.activations = place.there()?;
    }
    if let Some(place) = place("gradients")? {
        place.unrounded()?;
        places.gradients = place.there()?;
        places.weight_gradients = places.gradients;
    }
    if let Some(place) = place("weight-gradients")? {
        place.unrounded()?;
        places.weight_gradients = place.there()?;
    }
    if let Some(place) = place("gradient-sum")? {
        places.gradient_sum = place.there()?;
        places.gradient_sum_rounding = place.rounding.unwrap_or(places.gradient_sum_rounding);
    }
    if let Some(place) = place("momentum")? {
        places.momentum = place.there()?;
        places.second = places.momentum;
        places.momentum_rounding = place.rounding.unwrap_or(places.momentum_rounding);
    }
    if let Some(place) = place("second-moment")? {
        places.second = place.there()?;
        places.second_rounding = place.rounding.unwrap_or(places.second_rounding);
    }
    if let Some(own) = table.get("products") {
        places.products = products(own, &format!("{within}products"), places.products)?;
    }
    Ok(places)
}

/// The keys and values of places, which [`places`] reads.
pub(super) fn places_tree(places: &Places) -> Map<String, Value> {
    let rounded = |format: DType, rounding: Rounding| {
        json!({
            "format": format.to_string(),
            "rounding": rounding.to_string(),
        })
    };
    let values = [
        rounded(places.weights, places.rounding),
        named(places.master),
        named(Some(places.activations)),
        named(Some(places.gradients)),
        named(Some(places.weight_gradients)),
        rounded(places.gradient_sum, places.gradient_sum_rounding),
        rounded(places.momentum, places.momentum_rounding),
        rounded(places.second, places.second_rounding),
        named(places.compensation),
        named(places.second_compensation),
        products_tree(&places.products),
    ];
    KEYS.into_iter().map(String::from).zip(values).collect()
}

/// The name of a format, or of none.
pub(super) fn named(format: Option<DType>) -> Value {
    json!(format.map_or(NONE.to_string(), |format| format.to_string()))
}

/// What stands in a place: a format's name, or a table of a format and a rounding.
pub(super) struct Place {
    /// Its name in messages.
    key: String,
    /// `None`: nothing.
    format: Option<DType>,
    rounding: Option<Rounding>,
}

impl Place {
    pub(super) fn parse(value: &Value, key: String) -> Result<Self, String> {
        let format = |value: &Value| -> Result<Option<DType>, String> {
            let name = text(value, &key)?;
            if name == NONE {
                return Ok(None);
            }
            let found = FORMATS.into_iter().find(|format| format.to_string() == name);
            found.map(Some).ok_or_else(|| {
                let known: Vec<_> = FORMATS.iter().map(ToString::to_string).collect();
                format!(
                    "{key}: no kernel serves the format {name:?} there; there are {} and, where it may be left out, {NONE}",
                    known.join(", ")
                )
            })
        };
        let (format, rounding) = match value {
            Value::String(_) => (format(value)?, None),
            value => {
                let table = keys(value, &key, &["format", "rounding"])?;
                let own = table.get("format");
                let own = own.ok_or_else(|| format!("{key}: it names no format"))?;
                let rounding = table.get("rounding").map(|value| rounding(value, &key));
                (format(own)?, rounding.transpose()?)
            }
        };
        Ok(Self {
            key,
            format,
            rounding,
        })
    }

    pub(super) fn there(&self) -> Result<DType, String> {
        self.format
            .ok_or_else(|| format!("{}: it cannot be left out", self.key))
    }

    pub(super) fn unrounded(&self) -> Result<(), String> {
        match self.rounding {
            None | Some(Rounding::Nearest) => Ok(()),
            Some(other) => Err(format!("{}: no kernel rounds {other} there", self.key)),
        }
    }
}
