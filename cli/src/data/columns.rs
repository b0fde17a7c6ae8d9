//! CSV files of images: a line for each, its label and its pixels.

use std::path::{Path, PathBuf};

use csv::{ErrorKind, ReaderBuilder, StringRecord, Trim};

use super::{Label, Stop};

/// A file's labels and pixels.
pub(super) struct Table {
    pub(super) path: PathBuf,
    /// Pixels of a line.
    pub(super) columns: usize,
    /// Line after line.
    pub(super) pixels: Vec<u8>,
    pub(super) labels: Vec<u8>,
}

impl Table {
    /// # Errors
    /// A file that cannot be read, has no lines, or has one that is no label below `classes` and pixels, as many as the
    /// first.
    pub(super) fn read(path: &Path, label: Label, classes: usize) -> Result<Self, Stop> {
        let failed = |why: String| Stop::Input(format!("{}: {why}", path.display()));
        // A folder opens as a file does, and is told of at the first read.
        fewbit::file::only_regular(path).map_err(|error| failed(error.to_string()))?;
        let file = std::fs::File::open(path).map_err(|error| failed(error.to_string()))?;
        let mut reader = ReaderBuilder::new()
            .has_headers(false)
            .trim(Trim::All)
            .from_reader(file);
        let mut table = Self {
            path: path.to_path_buf(),
            columns: 0,
            pixels: Vec::new(),
            labels: Vec::new(),
        };
        let mut record = StringRecord::new();
        loop {
            match reader.read_record(&mut record) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return Err(failed(explain(&error))),
            }
            let line = record.position().map_or(0, csv::Position::line);
            table
                .line(&record, label, classes)
                .map_err(|why| failed(format!("line {line}: {why}")))?;
        }
        match table.labels.is_empty() {
            true => Err(failed("it has no lines".into())),
            false => Ok(table),
        }
    }

    fn line(&mut self, record: &StringRecord, label: Label, classes: usize) -> Result<(), String> {
        if record.len() < 2 {
            return Err("a label and at least one pixel are needed".into());
        }
        let first = self.labels.is_empty();
        let at = match label {
            Label::First => 0,
            Label::Last => record.len() - 1,
        };
        self.columns = record.len() - 1;
        for (column, field) in record.iter().enumerate() {
            let number = field.parse::<u64>().ok();
            let Some(number) = number else {
                // Names in the first line are a header; a pixel of 0.5 is none.
                let hint = match first && field.parse::<f64>().is_err() {
                    true => " (a header? it is to be removed)",
                    false => "",
                };
                let what = if column == at { "a label" } else { "a pixel" };
                return Err(format!(
                    "column {} is {field:?}, and {what} is a whole number, 0 or more{hint}",
                    column + 1
                ));
            };
            if column == at {
                let own = u8::try_from(number)
                    .ok()
                    .filter(|&own| usize::from(own) < classes);
                let Some(own) = own else {
                    return Err(format!(
                        "the label {number} (column {}, by --label) is none of the network's {classes} classes, which are 0 \
                         to {}",
                        column + 1,
                        classes.saturating_sub(1)
                    ));
                };
                self.labels.push(own);
            } else {
                let Ok(own) = u8::try_from(number) else {
                    return Err(format!(
                        "column {} is {number}, and a pixel is 0 to 255",
                        column + 1
                    ));
                };
                self.pixels.push(own);
            }
        }
        Ok(())
    }
}

/// The crate's error, with its line.
fn explain(error: &csv::Error) -> String {
    let line = |position: &Option<csv::Position>| {
        let line = position.as_ref().map(csv::Position::line);
        line.map_or(String::new(), |line| format!("line {line}: "))
    };
    match error.kind() {
        ErrorKind::UnequalLengths {
            pos,
            expected_len,
            len,
        } => format!(
            "{}{len} columns, where the lines before have {expected_len}",
            line(pos)
        ),
        ErrorKind::Utf8 { pos, .. } => format!("{}no UTF-8 text", line(pos)),
        _ => error.to_string(),
    }
}
