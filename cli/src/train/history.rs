//! What is known of a training epoch by epoch, as tables and as data.

use fewbit::nn::Updates;
use serde_json::{Value, json};

/// An epoch that was trained and tested.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Epoch {
    /// Steps of all epochs until its end.
    pub(super) steps: u32,
    /// The mean of the losses that were read in it: on CPU devices of all steps, on GPUs of every 50th and the last.
    pub(super) loss: f64,
    /// How many were.
    pub(super) read: u64,
    /// Percent of the test images.
    pub(super) accuracy: f64,
    /// While it trained, not while it was tested.
    pub(super) seconds: f64,
    /// What rounding did to the updates of all layers together, and of each.
    pub(super) updates: Vec<Updates>,
}

impl Epoch {
    /// The updates of all layers together.
    pub(super) fn all_updates(&self) -> Updates {
        self.updates
            .iter()
            .copied()
            .fold(Updates::default(), Updates::and)
    }
}

/// A training until now.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct History {
    pub(super) epochs: Vec<Epoch>,
    /// Of the epoch that is not done: the sum of the losses that were read, their count, and seconds.
    pub(super) losses: f64,
    pub(super) read: u64,
    pub(super) seconds: f64,
}

impl History {
    /// The epoch in progress is done and tested.
    pub(super) fn end_epoch(&mut self, steps: u32, accuracy: f64, updates: &[Updates]) {
        self.epochs.push(Epoch {
            steps,
            loss: self.losses / self.read.max(1) as f64,
            read: self.read,
            accuracy,
            seconds: self.seconds,
            updates: updates.to_vec(),
        });
        (self.losses, self.read, self.seconds) = (0.0, 0, 0.0);
    }

    /// Seconds of all training.
    pub(super) fn time(&self) -> f64 {
        self.epochs.iter().map(|epoch| epoch.seconds).sum::<f64>() + self.seconds
    }

    /// Percent of the test images after each epoch.
    pub(super) fn curve(&self) -> Vec<f64> {
        self.epochs.iter().map(|epoch| epoch.accuracy).collect()
    }

    fn rows(&self) -> impl Iterator<Item = Value> + '_ {
        (1..).zip(&self.epochs).map(|(number, epoch): (usize, _)| {
            let all = epoch.all_updates();
            let sums = |updates: &Updates| [updates.product, updates.square, updates.small, updates.nonzero];
            json!({
                "epoch": number,
                "step": epoch.steps,
                "loss": epoch.loss,
                "losses_read": epoch.read,
                "accuracy_percent": epoch.accuracy,
                "seconds": epoch.seconds,
                "applied_ratio": all.applied(),
                "small_updates": all.small_share(),
                "applied_ratio_by_layer": epoch.updates.iter().map(Updates::applied).collect::<Vec<_>>(),
                "small_updates_by_layer": epoch.updates.iter().map(Updates::small_share).collect::<Vec<_>>(),
                "update_sums_by_layer": epoch.updates.iter().map(sums).collect::<Vec<_>>(),
            })
        })
    }

    /// A line for every epoch under the names of the columns.
    pub(super) fn csv(&self) -> String {
        const COLUMNS: [&str; 8] = [
            "epoch",
            "step",
            "loss",
            "losses_read",
            "accuracy_percent",
            "applied_ratio",
            "small_updates",
            "seconds",
        ];
        // What there is not is an empty field.
        let field = |value: &Value| {
            if value.is_null() {
                String::new()
            } else {
                value.to_string()
            }
        };
        let lines = self
            .rows()
            .map(|row| COLUMNS.map(|key| field(&row[key])).join(","));
        std::iter::once(COLUMNS.join(","))
            .chain(lines)
            .map(|line| line + "\n")
            .collect()
    }

    /// An object on a line for every epoch.
    pub(super) fn jsonl(&self) -> String {
        self.rows().map(|row| format!("{row}\n")).collect()
    }

    pub(super) fn tree(&self) -> Value {
        json!({
            "epochs": self.rows().collect::<Vec<_>>(),
            "unfinished": {"losses": self.losses, "read": self.read, "seconds": self.seconds},
        })
    }

    pub(super) fn parse(tree: &Value) -> Option<Self> {
        let updates = |sums: &Value| {
            Some(Updates {
                product: sums[0].as_f64()?,
                square: sums[1].as_f64()?,
                small: sums[2].as_f64()?,
                nonzero: sums[3].as_f64()?,
            })
        };
        let epoch = |row: &Value| {
            Some(Epoch {
                steps: row["step"].as_u64()?.try_into().ok()?,
                loss: row["loss"].as_f64()?,
                read: row["losses_read"].as_u64()?,
                accuracy: row["accuracy_percent"].as_f64()?,
                seconds: row["seconds"].as_f64()?,
                updates: row["update_sums_by_layer"]
                    .as_array()?
                    .iter()
                    .map(updates)
                    .collect::<Option<_>>()?,
            })
        };
        let rest = &tree["unfinished"];
        Some(Self {
            epochs: tree["epochs"]
                .as_array()?
                .iter()
                .map(epoch)
                .collect::<Option<_>>()?,
            losses: rest["losses"].as_f64()?,
            read: rest["read"].as_u64()?,
            seconds: rest["seconds"].as_f64()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_written_and_read() {
        let mut history = History::default();
        (history.losses, history.read, history.seconds) = (0.7, 2, 0.25);
        let updates = Updates {
            product: 0.5,
            square: 2.0,
            small: 3.0,
            nonzero: 4.0,
        };
        history.end_epoch(11, 90.5, &[updates, Updates::default()]);
        history.losses = 0.1;
        history.read = 1;
        assert_eq!(
            history.csv(),
            "epoch,step,loss,losses_read,accuracy_percent,applied_ratio,small_updates,seconds\n1,11,0.35,2,90.5,0.25,0.75,0.25\n"
        );
        assert_eq!(history.jsonl().lines().count(), 1);
        assert_eq!(History::parse(&history.tree()), Some(history.clone()));
        assert_eq!((history.time(), history.curve()), (0.25, vec![90.5]));
        assert_eq!(History::parse(&json!({"epochs": []})), None);
    }
}
