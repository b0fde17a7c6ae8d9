//! Images and labels: from a folder, from a table, or drawn.

mod columns;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use fewbit::nn::data::{Dataset, Split};
use fewbit::nn::{digits, mnist};
use serde_json::{Value, json};

use super::{Stop, interrupted};
use columns::Table;

/// Where images come from.
#[derive(Args, Clone, Debug)]
pub(crate) struct DataArgs {
    /// A directory with MNIST as IDX or IDX.gz files, or a CSV file: a line for every image, its label and its pixels
    /// (0 to 255), without a header. Without it, digits drawn by the program itself.
    #[arg(long, value_name = "DIR|FILE.csv")]
    pub(crate) data: Option<PathBuf>,
    /// Where the label stands in the lines of a CSV file.
    #[arg(long, value_enum, default_value_t = Label::First)]
    pub(crate) label: Label,
}

/// Where a label stands.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    /// Before the pixels
    First,
    /// Behind the pixels
    Last,
}

/// What of the images is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// Of the drawn digits.
    pub(crate) seed: u64,
    /// Digits drawn to train on, and to test on.
    pub(crate) drawn: [usize; 2],
    /// Images to train on that are moved behind those to test on.
    pub(crate) holdout: usize,
    /// Images to train on that take the place of those to test on.
    pub(crate) validation: usize,
    /// Rows and columns of the network's images, where it says: what the lines of a table are.
    pub(crate) image: [usize; 2],
    /// The network's classes.
    pub(crate) classes: usize,
    /// Nothing is trained on: all lines of a table are tested on.
    pub(crate) test_alone: bool,
}

/// Images, and their source in words.
pub(crate) struct Data {
    pub(crate) set: Dataset,
    pub(crate) name: String,
}

impl DataArgs {
    /// # Errors
    /// What cannot be read, is damaged, or leaves nothing to train or test on; interrupted.
    pub(crate) fn load(&self, wanted: &Wanted) -> Result<Data, Stop> {
        let input = |error: &dyn std::fmt::Display| Stop::Input(error.to_string());
        let (mut set, name) = match &self.data {
            Some(file) if file.extension().is_some_and(|end| end == "csv") => {
                return self.table(&Table::read(file, self.label, wanted.classes)?, wanted);
            }
            Some(dir) => (
                mnist::load(dir).map_err(|error| input(&error))?,
                format!("IDX files in {}", dir.display()),
            ),
            None => {
                let go_on = || interrupted().is_ok();
                let [train, test] = wanted.drawn;
                let drawn = digits::dataset_while(wanted.seed, train, test, go_on);
                (
                    drawn.map_err(|error| input(&error))?.ok_or(Stop::Interrupted)?,
                    "digits drawn by fewbit itself".to_string(),
                )
            }
        };
        if wanted.holdout > 0 {
            set = set.hold_out(wanted.holdout).map_err(|error| input(&error))?;
        }
        if wanted.validation > 0 {
            set = set.validation(wanted.validation).map_err(|error| input(&error))?;
        }
        Ok(Data { set, name })
    }

    /// A table has no part to test on but what is taken off it.
    fn table(&self, table: &Table, wanted: &Wanted) -> Result<Data, Stop> {
        let (lines, columns) = (table.labels.len(), table.columns);
        let path = table.path.display();
        let off = wanted.holdout.saturating_add(wanted.validation);
        if !wanted.test_alone && (off == 0 || off >= lines) {
            return Err(Stop::Input(match off {
                0 => format!(
                    "{path} has no images to test on: --holdout N takes its last N lines, --validation N those before them"
                ),
                _ => format!("{path} has {lines} lines: {off} of them to test on leave none to train on"),
            }));
        }
        let part = |from: usize, to: usize| Split {
            images: table.pixels[from * columns..to * columns].to_vec(),
            labels: table.labels[from..to].to_vec(),
        };
        let left = lines - wanted.holdout.min(lines);
        let (train, test) = match wanted.validation {
            _ if wanted.test_alone => (part(0, 1), part(0, lines)),
            0 => (part(0, left), part(left, lines)),
            count => (part(0, left - count), part(left - count, left)),
        };
        let [rows, cols] = image(columns, wanted.image);
        let set = Dataset::new(train, test, rows, cols, wanted.classes)
            .map_err(|error| Stop::Input(error.to_string()))?;
        Ok(Data {
            set,
            name: format!("the table {path}"),
        })
    }
}

/// Rows and columns of an image of so many pixels: the network's if they are as many, else a square if it can be one.
fn image(pixels: usize, [rows, cols]: [usize; 2]) -> [usize; 2] {
    if rows > 1 && rows.checked_mul(cols) == Some(pixels) {
        return [rows, cols];
    }
    let side = pixels.isqrt();
    match side * side == pixels {
        true => [side, side],
        false => [1, pixels],
    }
}

impl Data {
    /// What it is in a line; what it is not trained on is for `purpose`.
    pub(crate) fn line(&self, purpose: &str) -> String {
        format!(
            "{}: {} to train on, {} to {purpose} on",
            self.name,
            self.set.train().len(),
            self.set.test().len(),
        )
    }

    /// What tells these images from others.
    pub(crate) fn identity(&self) -> Value {
        let of = |split: &Split| {
            json!({
                "images": split.len(),
                "fingerprint": format!("{:016x}", split.fingerprint()),
            })
        };
        json!({
            "rows": self.set.rows(),
            "columns": self.set.cols(),
            "classes": self.set.classes(),
            "train": of(self.set.train()),
            "test": of(self.set.test()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_pixels_become_images() {
        assert_eq!(image(784, [28, 28]), [28, 28]);
        assert_eq!(image(784, [14, 56]), [14, 56]);
        // A perceptron says nothing of rows.
        assert_eq!(image(784, [1, 1]), [28, 28]);
        assert_eq!(image(6, [1, 1]), [1, 6]);
    }
}
