//! What the program prints: tables for people, one JSON object for programs, bars on stderr.

use std::cell::RefCell;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::time::Duration;

use comfy_table::{CellAlignment, Table};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};

/// One row of results: figures keep their units in the key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row(Map<String, Value>);

impl Row {
    pub(crate) fn new(kernel: &str, variant: &str, case: &str, passed: bool) -> Self {
        let mut row = Self::default();
        row.0.insert("kernel".into(), kernel.into());
        row.0.insert("variant".into(), variant.into());
        row.0.insert("case".into(), case.into());
        row.0.insert("passed".into(), passed.into());
        row
    }

    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.insert(key.into(), value.into());
        self
    }

    /// With the other's fields, which take the place of its own.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    pub(crate) fn value(&self) -> Value {
        Value::Object(self.0.clone())
    }
}

/// Collects what a command found, and prints it.
pub(crate) struct Output {
    json: bool,
    device: Value,
    results: Vec<Value>,
    bars: MultiProgress,
    /// What the JSON object says of the first thing that went wrong.
    error: RefCell<Option<String>>,
    /// Why stdout could not be written to, the first time.
    unwritten: RefCell<Option<std::io::Error>>,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            device: Value::Null,
            results: Vec::new(),
            bars: MultiProgress::new(),
            error: RefCell::default(),
            unwritten: RefCell::default(),
        }
    }

    /// Names the device, and why it was taken.
    pub(crate) fn device(&mut self, kind: &str, description: &str, why: &str) {
        self.device = json!({ "kind": kind, "name": description, "why": why });
        self.line(&format!("Device: {description} ({why})"));
    }

    /// The device as the JSON object names it.
    pub(crate) fn device_value(&self) -> &Value {
        &self.device
    }

    /// Adds a row to the JSON results.
    pub(crate) fn row(&mut self, row: Row) {
        self.results.push(Value::Object(row.0));
    }

    /// Prints a line for people.
    pub(crate) fn line(&self, text: &str) {
        if !self.json {
            self.write_out(text);
        }
    }

    fn write_out(&self, text: &str) {
        let written = self.bars.suspend(|| {
            let mut out = std::io::stdout().lock();
            writeln!(out, "{text}").and_then(|()| out.flush())
        });
        if let Err(error) = written {
            self.not_written(error);
        }
    }

    /// Remembers that stdout could not be written to.
    pub(crate) fn not_written(&self, error: std::io::Error) {
        // A reader that went away (`fewbit | head`) is no error of ours.
        if error.kind() != ErrorKind::BrokenPipe {
            self.unwritten.borrow_mut().get_or_insert(error);
        }
    }

    /// Says in the JSON object what went wrong; of several things, the first.
    pub(crate) fn fail(&self, message: &str) {
        self.error.borrow_mut().get_or_insert_with(|| message.to_string());
    }

    /// Whether some row did not pass.
    pub(crate) fn any_failed(&self) -> bool {
        self.results.iter().any(|row| row["passed"] == false)
    }

    /// Prints a line on stderr, in both modes.
    pub(crate) fn complain(&self, text: &str) {
        self.bars.suspend(|| {
            // Nobody is left to tell when stderr is closed.
            let _ = writeln!(std::io::stderr().lock(), "{text}");
        });
    }

    /// Prints a table for people. Columns whose name is in `right` are aligned to the right.
    pub(crate) fn table(&self, header: &[&str], right: &[&str], rows: &[Vec<String>]) {
        if self.json {
            return;
        }
        let mut table = Table::new();
        table
            .load_style(comfy_table::presets::ASCII_MARKDOWN)
            .set_header(header.iter().copied());
        for row in rows {
            table.add_row(row);
        }
        for (i, name) in header.iter().enumerate() {
            if right.contains(name)
                && let Some(column) = table.column_mut(i)
            {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        self.line(&table.to_string());
    }

    /// A progress bar of `length` steps on stderr; hidden when stderr is no terminal.
    pub(crate) fn bar(&self, length: u64, what: &str) -> ProgressBar {
        let bar = if std::io::stderr().is_terminal() {
            self.bars.add(ProgressBar::new(length))
        } else {
            ProgressBar::hidden()
        };
        let style = ProgressStyle::with_template("{prefix} [{bar:40}] {pos}/{len} {elapsed} {wide_msg}");
        if let Ok(style) = style {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(what.to_string());
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }

    pub(crate) fn clear_bars(&self) {
        // A closed stderr has no bars to clear.
        let _ = self.bars.clear();
    }

    /// Prints the JSON object, if that is what was asked for.
    ///
    /// # Errors
    /// Something of this command's output could not be written.
    pub(crate) fn finish(self, passed: bool) -> std::io::Result<()> {
        if self.json {
            let mut object = json!({ "device": self.device, "results": self.results, "passed": passed });
            if let Some(error) = self.error.take() {
                object["error"] = error.into();
            }
            self.write_out(&object.to_string());
        }
        self.unwritten.into_inner().map_or(Ok(()), Err)
    }
}

/// Seconds in the unit that fits.
pub(crate) fn seconds(value: f64) -> String {
    match value {
        v if v >= 1.0 => format!("{v:.2} s"),
        v if v >= 1e-3 => format!("{:.2} ms", v * 1e3),
        v => format!("{:.1} us", v * 1e6),
    }
}

/// A rate in 10^9 per second.
pub(crate) fn giga(value: f64) -> String {
    match value / 1e9 {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}
