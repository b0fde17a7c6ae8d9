//! Recipes, networks and images from files.

use std::path::Path;

use serde_json::Value;

use super::keeping::small;
use super::{fewbit, folder, told};

const LINES: usize = 60;

/// Images of 4 x 4 pixels in four classes: the class's row is inked.
fn table(first: bool) -> String {
    (0..LINES)
        .map(|line| {
            let class = line % 4;
            let pixel = |at: usize| if at / 4 == class { 255 - line % 7 } else { line % 5 };
            let mut cells: Vec<_> = (0..16).map(|at| pixel(at).to_string()).collect();
            let at = if first { 0 } else { 16 };
            cells.insert(at, class.to_string());
            cells.join(", ") + "\n"
        })
        .collect()
}

fn train(dir: &Path, more: &[&str]) -> std::process::Output {
    let args = [
        "train",
        "--device",
        "cpu",
        "--formats",
        "f32",
        "--layers",
        "16,8,4",
        "--batch",
        "8",
        "--epochs",
        "8",
        "--json",
        "--data",
    ];
    fewbit(dir, &[&args[..], more].concat()).output().unwrap()
}

fn object(output: &std::process::Output) -> Value {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn tables_of_images_are_trained_on() {
    let dir = folder("tables");
    std::fs::write(dir.join("first.csv"), table(true)).unwrap();
    std::fs::write(dir.join("last.csv"), table(false)).unwrap();
    let first = object(&train(&dir, &["first.csv", "--holdout", "20", "--out", "out"]));
    let row = &first["results"][0];
    assert!(row["accuracy_percent"].as_f64().unwrap() > 90.0, "{row}");
    let case = row["case"].as_str().unwrap();
    assert!(case.contains("40 to train on, 20 to test on"), "{case}");
    let last = object(&train(&dir, &["last.csv", "--label", "last", "--holdout", "20"]));
    assert_eq!(
        last["results"][0]["accuracy_percent_by_epoch"],
        row["accuracy_percent_by_epoch"]
    );
    let both = object(&train(
        &dir,
        &["first.csv", "--holdout", "20", "--validation", "10"],
    ));
    let case = both["results"][0]["case"].as_str().unwrap();
    assert!(case.contains("30 to train on, 10 to validate on"), "{case}");
    // A network of theirs is tested on all lines.
    let model = "out/f32/seed-1/model.safetensors";
    let args = ["eval", model, "--device", "cpu", "--data", "first.csv", "--json"];
    let tested = object(&fewbit(&dir, &args).output().unwrap());
    assert_eq!(tested["results"][0]["images"], LINES);
}

#[test]
fn tables_that_are_none_are_refused_by_line() {
    let dir = folder("bad-tables");
    let good = table(true);
    let changed = |line: usize, from: &str, to: &str| {
        let lines = good.lines().enumerate();
        let line = |(at, own): (usize, &str)| match at + 1 == line {
            true => own.replacen(from, to, 1) + "\n",
            false => own.to_string() + "\n",
        };
        lines.map(line).collect::<String>()
    };
    let header = format!("label,{}\n{good}", vec!["pixel"; 16].join(","));
    let holdout = ["--holdout", "20"];
    for (text, more, words) in [
        (
            changed(7, ", ", ", 3, "),
            &holdout[..],
            &["line 7", "18 columns", "17"][..],
        ),
        (changed(9, ", ", " "), &holdout, &["line 9", "16 columns"]),
        (changed(5, ", ", ", x"), &holdout, &["line 5", "column 2", "\"x"]),
        (
            changed(5, ", ", ", 0.5"),
            &holdout,
            &["line 5", "column 2", "whole"],
        ),
        (changed(5, ", ", ", -"), &holdout, &["line 5", "column 2", "\"-"]),
        (changed(4, "252", "256"), &holdout, &["line 4", "256", "0 to 255"]),
        (
            changed(4, "3, ", "4, "),
            &holdout,
            &["line 4", "label 4", "0 to 3"],
        ),
        (header, &holdout, &["line 1", "label", "header"]),
        (String::new(), &holdout, &["no lines"]),
        ("1\n2\n".into(), &holdout, &["line 1", "at least one pixel"]),
        (
            good.clone(),
            &["--label", "last", "--holdout", "20"],
            &["line 4", "label 252", "--label"],
        ),
        (good.clone(), &[], &["--holdout", "--validation"]),
        (
            good.clone(),
            &["--holdout", "60"],
            &["60 lines", "none to train on"],
        ),
        (good.clone(), &["--holdout", "50", "--validation", "10"], &["60"]),
        (good.clone(), &["--holdout", "55"], &["batch"]),
    ] {
        std::fs::write(dir.join("a.csv"), text).unwrap();
        let output = train(&dir, &[&["a.csv"], more].concat());
        told(&output, words);
    }
    std::fs::create_dir(dir.join("folder.csv")).unwrap();
    for (name, word) in [("nosuch.csv", "No such file"), ("folder.csv", "regular file")] {
        let output = train(&dir, &[name, "--holdout", "20"]);
        told(&output, &[name, word]);
    }
    // Lines that the network does not read.
    std::fs::write(dir.join("a.csv"), "1,2,3\n0,1,2\n").unwrap();
    let output = train(&dir, &["a.csv", "--holdout", "1", "--batch", "1"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn examples_of_recipes_and_networks_are_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let args = [
        "train",
        "--device",
        "cpu",
        "--model",
        "examples/model.toml",
        "--formats",
        "examples/recipe.toml,f32",
        "--epochs",
        "1",
        "--train-images",
        "256",
        "--test-images",
        "64",
        "--batch",
        "32",
        "--accumulate",
        "2",
        "--json",
    ];
    let rows = object(&fewbit(root, &args).output().unwrap())["results"].clone();
    assert_eq!(rows[0]["variant"], "bf16-lean");
    // bf16 beside an f32 master, and momentum in bf16.
    let bytes = |row: usize, key: &str| rows[row][key].as_u64().unwrap();
    let all = bytes(1, "weights_bytes");
    assert!(bytes(0, "weights_bytes") < 3 * all / 5 && bytes(0, "master_bytes") == all);
    assert!(bytes(0, "optimizer_bytes") < 3 * all / 5);
}

#[test]
fn files_that_are_no_recipes_or_networks_are_named() {
    let dir = folder("mistakes");
    let linear = "[[layers]]\ntype = \"linear\"\noutputs = 10\n";
    for (option, text, words) in [
        (
            "--formats",
            "weigths = \"bf16\"",
            &["bad.toml", "weigths", "weights"][..],
        ),
        ("--formats", "like = ", &["bad.toml", "line 1"]),
        ("--formats", "like = \"x\"", &["bad.toml", "\"x\"", "bf16-sr"]),
        ("--formats", "activations = \"mxfp4\"", &["activations", "mxfp4"]),
        // What the library refuses: bf16 accumulators of what is f32, and one place of f64 alone.
        (
            "--formats",
            "like = \"bf16-pure\"\nlogits = \"f32\"",
            &["logits", "f32", "accumulators"],
        ),
        (
            "--formats",
            "[layers.1]\nweight-gradients = \"f64\"",
            &["weight gradients", "f64"],
        ),
        ("--model", "layers = []", &["bad.toml", "input"]),
        ("--model", "input = [1, 28, 28]\nlayers = []", &["layers", "none"]),
        (
            "--model",
            "input = [1, 28, 28]\n[[layers]]\ntype = \"max-pool\"\nwindow = 30\n",
            &["max_pool", "28 x 28"],
        ),
        ("--model", "input = [1, 28, 28]\nlayer = 3", &["layer"]),
    ] {
        std::fs::write(dir.join("bad.toml"), text).unwrap();
        let args = [
            "train",
            "--device",
            "cpu",
            "--train-images",
            "256",
            option,
            "bad.toml",
        ];
        told(&fewbit(&dir, &args).output().unwrap(), words);
    }
    // Images of 27 rows; digits have 28.
    std::fs::write(dir.join("bad.toml"), format!("input = [1, 27, 28]\n{linear}")).unwrap();
    let args = ["train", "--device", "cpu", "--train-images", "256", "--json"];
    let model = ["--test-images", "64", "--model", "bad.toml"];
    let output = fewbit(&dir, &[&args[..], &model].concat()).output().unwrap();
    told(&output, &["784"]);
    for option in ["--formats", "--model"] {
        let args = ["train", "--device", "cpu", option, "nosuch.toml"];
        told(
            &fewbit(&dir, &args).output().unwrap(),
            &["nosuch.toml", "No such file"],
        );
    }
    let layers = ["--model", "bad.toml"];
    told(&small(&dir, &layers).output().unwrap(), &["--layers", "bad.toml"]);
}

#[test]
fn trainings_that_cannot_be_leave_nothing() {
    let dir = folder("cannot");
    let args = [
        "train",
        "--device",
        "cpu",
        "--layers",
        "784,8,10",
        "--formats",
        "f32",
    ];
    let images = ["--train-images", "256", "--test-images", "64", "--out", "out"];
    for (more, words) in [
        (
            &["--holdout", "256"][..],
            &["256", "to hold out", "leave none"][..],
        ),
        (&["--validation", "256"], &["256", "to validate on", "leave none"]),
        (&["--holdout", "200", "--validation", "56"], &["56", "leave none"]),
        (&["--batch", "257"], &["batch", "257", "256"]),
        (&["--seeds", "1,1"], &["--seeds", "1"]),
        (&["--epochs", "2", "--warm-up", "5"], &["warm-up", "5", "of 4"]),
        (&["--init", "nosuch.safetensors"], &["nosuch.safetensors"]),
    ] {
        let output = fewbit(&dir, &[&args[..], &images, more].concat())
            .output()
            .unwrap();
        told(&output, words);
        assert!(!dir.join("out/f32/seed-1/result.json").exists(), "{words:?}");
        assert!(
            !dir.join("out/f32/seed-1/model.safetensors").exists(),
            "{words:?}"
        );
        if dir.join("out").exists() {
            std::fs::remove_dir_all(dir.join("out")).unwrap();
        }
    }
}
