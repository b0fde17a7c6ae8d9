//! `fewbit distill`: students of networks that `fewbit train --out` left.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::keeping::{done, stderr};
use super::{fewbit, files, folder, told};

const TEACHER: &str = "out/f32/seed-1/model.safetensors";

fn distill(dir: &Path, more: &[&str]) -> Command {
    let args = [
        "distill",
        "--device",
        "cpu",
        "--teacher",
        TEACHER,
        "--layers",
        "784,12,10",
        "--epochs",
        "20",
        "--schedule",
        "constant",
        "--train-images",
        "256",
        "--test-images",
        "64",
        "--batch",
        "32",
    ];
    fewbit(dir, &[&args[..], more].concat())
}

fn train(dir: &Path, more: &[&str]) {
    let args = ["train", "--device", "cpu", "--formats", "f32", "--batch", "16"];
    done(&mut fewbit(dir, &[&args[..], more].concat()));
}

fn accuracy(output: &Output) -> f64 {
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    object["results"][0]["accuracy_percent"].as_f64().unwrap()
}

#[test]
fn students_learn_from_teachers() {
    let dir = folder("distill");
    let epochs = [
        "--epochs",
        "20",
        "--schedule",
        "constant",
        "--train-images",
        "256",
        "--test-images",
        "64",
    ];
    train(
        &dir,
        &[&epochs[..], &["--layers", "784,16,10", "--out", "out"]].concat(),
    );
    // A teacher of other classes.
    let lines = (0..22).map(|i| format!("{},1,2,3,{i}\n", i % 11));
    std::fs::write(dir.join("eleven.csv"), lines.collect::<String>()).unwrap();
    let table = [
        "--data",
        "eleven.csv",
        "--holdout",
        "2",
        "--layers",
        "4,11",
        "--out",
        "other",
    ];
    train(&dir, &table);
    // Without a label the teacher is all that is learned from.
    let args = ["--student", "mlp", "--labelled", "0", "--cache", "kept", "--json"];
    let first = done(&mut distill(&dir, &args));
    assert!(accuracy(&first) > 40.0, "{}", accuracy(&first));
    let kept = files(&dir.join("kept"));
    assert!(kept.len() == 1 && kept[0].starts_with("logits-"), "{kept:?}");
    // The second time they are read.
    let again = done(&mut distill(&dir, &args));
    assert_eq!(accuracy(&again), accuracy(&first));
    std::fs::write(dir.join("kept").join(&kept[0]), "nothing").unwrap();
    told(&distill(&dir, &args).output().unwrap(), &["kept/logits-"]);

    // Two teachers, and a folder that knows what was learned from.
    let two = ["--teacher", TEACHER, "--weights", "2,1", "--out", "student"];
    done(&mut distill(&dir, &two));
    let more = [&two[..], &["--temperature", "7"]].concat();
    told(&distill(&dir, &more).output().unwrap(), &["student"]);
    let student = "student/f32/seed-1/model.safetensors";
    done(&mut fewbit(
        &dir,
        &["eval", student, "--device", "cpu", "--test-images", "64"],
    ));

    let (none, other) = (
        ["--teacher", "none"],
        ["--teacher", "other/f32/seed-1/model.safetensors"],
    );
    for (args, words) in [
        (&none[..], &["none"][..]),
        (&other, &["other", "11", "10"]),
        (&["--weights", "1,2"], &["weights"]),
        (&["--weights", "-1"], &["weights"]),
        (&["--temperature", "0"], &["temperature"]),
        (&["--temperature", "nan"], &["temperature"]),
        (&["--alpha", "1.5"], &["labels"]),
        (&["--labelled", "257"], &["257", "256"]),
        (&["--augment", "shift1"], &["--augment"]),
    ] {
        let output = distill(&dir, args).output().unwrap();
        told(&output, words);
        assert!(!stderr(&output).contains("panicked"));
    }
}
