//! What `fewbit train --out` keeps, what runs of it go on from, and `fewbit eval` of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fewbit::io::safetensors::{self, Dtype, NamedTensor};
use serde_json::Value;

use super::{fewbit, files, folder, json, told};

/// A small training; 8 steps an epoch.
pub(crate) const SMALL: [&str; 13] = [
    "train",
    "--device",
    "cpu",
    "--layers",
    "784,16,10",
    "--epochs",
    "2",
    "--train-images",
    "256",
    "--test-images",
    "64",
    "--batch",
    "32",
];

pub(crate) fn small(dir: &Path, more: &[&str]) -> Command {
    fewbit(dir, &[&SMALL[..], more].concat())
}

pub(crate) fn done(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {stderr}", output.status);
    output
}

fn object(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_run_is_kept_and_not_repeated() {
    let dir = folder("out");
    let args = ["--formats", "bf16-mixed,bf16-sr", "--out", "out", "--json"];
    let first = object(&done(&mut small(&dir, &args)));
    let out = dir.join("out");
    assert_eq!(
        files(&out),
        [
            ".fewbit-lock",
            "accuracy.svg",
            "bf16-mixed",
            "bf16-sr",
            "config.json",
            "loss.svg",
            "updates.svg"
        ]
    );
    let run = out.join("bf16-mixed/seed-1");
    assert_eq!(
        files(&run),
        [
            "checkpoints",
            "config.json",
            "metrics.csv",
            "metrics.jsonl",
            "model.safetensors",
            "result.json"
        ]
    );
    let row = &first["results"][0];
    let text = |name: &str| std::fs::read_to_string(run.join(name)).unwrap();
    let csv: Vec<_> = text("metrics.csv").lines().map(str::to_string).collect();
    assert_eq!(
        csv[0],
        "epoch,step,loss,losses_read,accuracy_percent,applied_ratio,small_updates,seconds"
    );
    assert!(csv[1].split(',').all(|field| !field.is_empty()), "{csv:?}");
    assert_eq!(csv.len(), 3);
    let epochs: Vec<Value> = text("metrics.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for (at, epoch) in epochs.iter().enumerate() {
        assert_eq!(epoch["step"], 8 * (at + 1));
        // The mean of all steps, where to read a loss waits for nothing.
        assert_eq!(epoch["losses_read"], 8);
        assert_eq!(epoch["accuracy_percent"], row["accuracy_percent_by_epoch"][at]);
        let cells = [&epoch["epoch"], &epoch["step"], &epoch["loss"]].map(Value::to_string);
        assert!(csv[at + 1].starts_with(&cells.join(",")), "{csv:?}");
    }
    let config = json(&run.join("config.json"));
    assert_eq!(config["recipe"]["name"], "bf16-mixed");
    assert_eq!(config["training"]["learning_rate"], 0.1);
    assert_eq!(config["seed"], 1);
    // The master, where there is one.
    let types = |recipe: &str| -> Vec<Dtype> {
        let path = out.join(recipe).join("seed-1/model.safetensors");
        let tensors = safetensors::read(path).unwrap();
        let names: Vec<_> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        let want = [
            "layers.0.bias",
            "layers.0.weight",
            "layers.1.bias",
            "layers.1.weight",
        ];
        assert_eq!(names, want);
        assert_eq!(
            (&tensors[0].shape[..], &tensors[1].shape[..]),
            (&[16][..], &[16, 784][..])
        );
        tensors.iter().map(|tensor| tensor.dtype).collect()
    };
    assert_eq!(types("bf16-mixed"), [Dtype::F32; 4]);
    assert_eq!(types("bf16-sr"), [Dtype::Bf16; 4]);
    for name in ["loss.svg", "accuracy.svg"] {
        let svg = std::fs::read_to_string(out.join(name)).unwrap();
        assert!(svg.contains("bf16-mixed") && svg.contains("bf16-sr"), "{name}");
    }
    // Again, with one recipe more: the others are found as they are.
    let before = std::fs::metadata(run.join("result.json"))
        .unwrap()
        .modified()
        .unwrap();
    let args = ["--formats", "bf16-mixed,bf16-sr,f32", "--out", "out", "--json"];
    let again = done(&mut small(&dir, &args));
    let rows = object(&again)["results"].as_array().unwrap().clone();
    let earlier: Vec<_> = rows.iter().map(|row| row["trained_earlier"].clone()).collect();
    assert_eq!(earlier, [true, true, false]);
    assert_eq!(rows[0]["accuracy_percent"], row["accuracy_percent"]);
    assert_eq!(rows[0]["peak_bytes"], row["peak_bytes"]);
    assert!(stderr(&again).contains("not repeated"), "{}", stderr(&again));
    let after = std::fs::metadata(run.join("result.json"))
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(before, after);
    let svg = std::fs::read_to_string(out.join("loss.svg")).unwrap();
    assert!(svg.contains("f32"));
}

#[test]
fn a_folder_of_something_else_is_told() {
    let dir = folder("refuses");
    done(&mut small(&dir, &["--formats", "bf16-sr", "--out", "out"]));
    let kept = std::fs::read(dir.join("out/config.json")).unwrap();
    // A later option takes the place of an earlier one only where it is named once.
    for (option, value, words) in [
        ("--learning-rate", "0.2", ["training.learning_rate", "0.1", "0.2"]),
        ("--optimizer", "adamw", ["training.optimizer", "sgd", "adamw"]),
        ("--schedule", "cosine", ["training.schedule", "step", "cosine"]),
        ("--seed", "2", ["data", "fingerprint", "there"]),
        ("--holdout", "6", ["data", "test", "there"]),
        ("--device", "reference", ["device", "reference", "native"]),
    ] {
        let mut args: Vec<&str> = SMALL.to_vec();
        args.retain(|arg| !["--device", "cpu"].contains(arg));
        args.extend(["--formats", "bf16-sr", "--out", "out"]);
        args.extend([option, value]);
        if option != "--device" {
            args.extend(["--device", "cpu"]);
        }
        let output = fewbit(&dir, &args).output().unwrap();
        told(&output, &words);
        told(&output, &["out holds runs of another configuration"]);
    }
    assert_eq!(std::fs::read(dir.join("out/config.json")).unwrap(), kept);
    // A recipe of a name that is taken.
    std::fs::write(
        dir.join("mine.toml"),
        "name = \"bf16-sr\"\nlike = \"bf16-nearest\"\n",
    )
    .unwrap();
    let args = ["--formats", "mine.toml", "--out", "out"];
    told(
        &small(&dir, &args).output().unwrap(),
        &["bf16-sr", "recipe", "rounding"],
    );
    let args = ["--formats", "f32,f32", "--out", "new"];
    told(&small(&dir, &args).output().unwrap(), &["f32 twice"]);
    // No folder of ours, no folder, and none that can be made.
    std::fs::create_dir(dir.join("full")).unwrap();
    std::fs::write(dir.join("full/mine"), "x").unwrap();
    for (out, words) in [
        ("full", ["full is not empty", "config.json"]),
        ("full/mine", ["full/mine", "cannot be made"]),
        ("full/mine/x", ["full/mine/x", "cannot be made"]),
    ] {
        let args = ["--formats", "f32", "--out", out];
        told(&small(&dir, &args).output().unwrap(), &words);
    }
    assert_eq!(files(&dir.join("full")), ["mine"]);
    for (args, words) in [
        (&["--resume"][..], ["--resume", "--out"]),
        (&["--save-every", "3"], ["--save-every", "--out"]),
        (&["--save-every", "0", "--out", "new"], ["--save-every", "0"]),
        (&["--keep", "0", "--out", "new"], ["--keep", "0"]),
    ] {
        let args = [&["--formats", "f32"][..], args].concat();
        told(&small(&dir, &args).output().unwrap(), &words);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_and_nothing_is_lost() {
    let dir = folder("disk");
    done(&mut small(&dir, &["--formats", "f32", "--out", "out"]));
    let model = dir.join("out/f32/seed-1/model.safetensors");
    let kept = std::fs::read(&model).unwrap();
    for name in ["metrics.csv", "model.safetensors", "result.json"] {
        let run = dir.join("out/bf16-sr/seed-1");
        std::fs::create_dir_all(&run).unwrap();
        let path = run.join(name);
        if path.exists() {
            std::fs::remove_file(&path).unwrap();
        }
        // `result.json` is removed when a run begins: its folder is what cannot be written to.
        if name == "result.json" {
            std::fs::create_dir(&path).unwrap();
            let output = small(&dir, &["--formats", "bf16-sr", "--out", "out"])
                .output()
                .unwrap();
            told(&output, &["result.json"]);
            std::fs::remove_dir(&path).unwrap();
            continue;
        }
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let output = small(&dir, &["--formats", "bf16-sr", "--out", "out"])
            .output()
            .unwrap();
        told(&output, &[name, "cannot be written", "No space left"]);
        assert!(!run.join("result.json").exists());
        std::fs::remove_file(&path).unwrap();
    }
    assert_eq!(std::fs::read(&model).unwrap(), kept);
    // With room again it is trained.
    done(&mut small(&dir, &["--formats", "bf16-sr", "--out", "out"]));
}

#[test]
fn a_diverged_run_keeps_its_last_good_checkpoint() {
    let dir = folder("diverged");
    let args = [
        "--formats",
        "f32",
        "--learning-rate",
        "1e30",
        "--out",
        "out",
        "--save-every",
        "1",
        "--json",
    ];
    for earlier in [false, true] {
        let output = small(&dir, &args).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        let row = &object(&output)["results"][0];
        assert_eq!(row["trained_earlier"], earlier);
        let why = row["failure"].as_str().unwrap();
        for word in ["f32", "diverged", "epoch 1", "step 2", "layers.0."] {
            assert!(why.contains(word), "{why:?} lacks {word:?}");
        }
    }
    let run = dir.join("out/f32/seed-1");
    assert!(!run.join("model.safetensors").exists());
    let checkpoints = files(&run.join("checkpoints"));
    assert!(!checkpoints.is_empty());
    for name in checkpoints {
        for tensor in safetensors::read(run.join("checkpoints").join(&name)).unwrap() {
            let (words, _) = tensor.bytes.as_chunks();
            let finite = |&bytes: &[u8; 4]| f32::from_le_bytes(bytes).is_finite();
            assert!(words.iter().all(finite), "{name}: {}", tensor.name);
        }
    }
}

/// The accuracy that `fewbit eval` finds.
fn evaluated(dir: &Path, model: &str, more: &[&str]) -> Value {
    let args = ["eval", model, "--device", "cpu", "--json", "--test-images", "64"];
    object(&done(&mut fewbit(dir, &[&args[..], more].concat())))["results"][0].clone()
}

#[test]
fn a_stored_network_is_tested_and_trained_on() {
    let dir = folder("stored");
    let args = ["--formats", "f64,bf16-mixed,bf16-sr", "--out", "out", "--json"];
    let rows = object(&done(&mut small(&dir, &args)))["results"].clone();
    for (at, recipe) in ["f64", "bf16-mixed", "bf16-sr"].into_iter().enumerate() {
        let model = format!("out/{recipe}/seed-1/model.safetensors");
        let row = evaluated(&dir, &model, &[]);
        assert_eq!(row["accuracy_percent"], rows[at]["accuracy_percent"], "{recipe}");
        assert_eq!(row["weights_bytes"], rows[at]["weights_bytes"]);
        for key in ["latency_seconds", "images_per_second"] {
            assert!(row[key].as_f64().unwrap() > 0.0, "{row}");
        }
        // Weights, and the activations of one image and of a batch: input, hidden and logits in rows of 16 bytes.
        let bytes = |key: &str| row[key].as_u64().unwrap();
        let size = [8, 2, 2][at];
        let values = 784 + 16 + [10, 16, 16][at];
        assert_eq!(bytes("batch"), 64);
        for (key, batch) in [("forward_bytes_batch_1", 1), ("forward_bytes", 64)] {
            assert_eq!(
                bytes(key),
                bytes("weights_bytes") + batch * values * size,
                "{row}"
            );
        }
        // A rate of 0 changes nothing.
        let more = [
            "--learning-rate",
            "0",
            "--formats",
            recipe,
            "--init",
            &model,
            "--out",
            recipe,
            "--json",
        ];
        let again = object(&done(&mut small(&dir, &more)))["results"][0].clone();
        assert_eq!(again["accuracy_percent_by_epoch"][0], row["accuracy_percent"]);
        let same = |path: PathBuf| safetensors::read(path).unwrap();
        let copy = format!("{recipe}/{recipe}/seed-1/model.safetensors");
        assert_eq!(same(dir.join(copy)), same(dir.join(&model)));
    }
    // Another start is another configuration.
    let more = ["--formats", "bf16-sr", "--out", "out", "--init"];
    let init = "out/bf16-sr/seed-1/model.safetensors";
    let output = small(&dir, &[&more[..], &[init]].concat()).output().unwrap();
    told(&output, &["init", "another configuration"]);
    let table = done(&mut fewbit(
        &dir,
        &["eval", init, "--device", "cpu", "--test-images", "64"],
    ));
    let text = String::from_utf8_lossy(&table.stdout).into_owned();
    for word in [
        "Accuracy (%)",
        "Weights (MB)",
        "All, batch 1 (MB)",
        "Latency",
        "All, batch 64 (MB)",
        "Images/s",
        "bf16-sr",
    ] {
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn files_that_are_no_networks_are_named() {
    let dir = folder("networks");
    done(&mut small(
        &dir,
        &["--formats", "f32", "--out", "out", "--save-every", "8"],
    ));
    let tensor = |name: &str, shape: &[usize], value: f32| NamedTensor {
        name: name.into(),
        dtype: Dtype::F32,
        shape: shape.to_vec(),
        bytes: (0..shape.iter().product::<usize>())
            .flat_map(|_| value.to_le_bytes())
            .collect(),
    };
    let all = |width: usize, value: f32| {
        vec![
            tensor("layers.0.weight", &[width, 784], 0.0),
            tensor("layers.0.bias", &[width], value),
            tensor("layers.1.weight", &[10, width], 0.0),
            tensor("layers.1.bias", &[10], 0.0),
        ]
    };
    safetensors::write(dir.join("good.safetensors"), &all(16, 0.0)).unwrap();
    safetensors::write(dir.join("wide.safetensors"), &all(17, 0.0)).unwrap();
    safetensors::write(dir.join("nan.safetensors"), &all(16, f32::NAN)).unwrap();
    safetensors::write(dir.join("less.safetensors"), &all(16, 0.0)[1..]).unwrap();
    let mut more = all(16, 0.0);
    more.push(tensor("layers.2.bias", &[10], 0.0));
    safetensors::write(dir.join("more.safetensors"), &more).unwrap();
    std::fs::write(dir.join("text.safetensors"), "no tensors").unwrap();
    done(&mut small(
        &dir,
        &["--formats", "bf16-sr", "--init", "good.safetensors"],
    ));
    for (file, words) in [
        ("wide", &["layers.0.weight", "[17, 784]", "[16, 784]"][..]),
        ("nan", &["layers.0.bias", "NaN"]),
        ("less", &["layers.0.weight", "no tensor"]),
        ("more", &["layers.2.bias", "none"]),
        ("text", &["text.safetensors"]),
        ("nosuch", &["nosuch.safetensors", "No such file"]),
    ] {
        let file = format!("{file}.safetensors");
        let output = small(&dir, &["--formats", "f32", "--init", &file])
            .output()
            .unwrap();
        told(&output, &[words, &[file.as_str()]].concat());
    }
    let checkpoints = dir.join("out/f32/seed-1/checkpoints");
    let checkpoint = checkpoints.join(&files(&checkpoints)[0]);
    for (file, words) in [
        (
            Path::new("good.safetensors"),
            &["good.safetensors", "fewbit model"][..],
        ),
        (Path::new("text.safetensors"), &["text.safetensors"]),
        (Path::new("nosuch"), &["nosuch", "No such file"]),
        (Path::new("."), &["regular file"]),
        (&checkpoint, &["fewbit checkpoint"]),
    ] {
        let output = fewbit(&dir, &["eval", &file.to_string_lossy(), "--device", "cpu"]).output();
        told(&output.unwrap(), words);
    }
    // Images that do not fit it.
    std::fs::write(dir.join("tiny.csv"), "1,2,3\n").unwrap();
    let model = "out/f32/seed-1/model.safetensors";
    let output = fewbit(&dir, &["eval", model, "--device", "cpu", "--data", "tiny.csv"]).output();
    let stderr = stderr(&output.unwrap());
    assert!(stderr.contains("784"), "{stderr}");
}
