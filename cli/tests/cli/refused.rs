//! What `fewbit train` refuses before anything is trained or written, and that a folder is one process's at a time.

use std::fs::OpenOptions;

use super::keeping::{done, small, stderr};
use super::{files, folder, told};

/// What stays of a call that was refused.
const NOTHING: [&str; 1] = [".fewbit-lock"];

#[test]
fn the_last_recipe_is_refused_before_the_first_is_trained() {
    let dir = folder("refused-recipes");
    for (name, text, words) in [
        (
            "types",
            "like = \"bf16-mixed\"\nweights = \"f32\"",
            "of bf16 weights",
        ),
        (
            "momentum",
            "like = \"bf16-sr\"\nmomentum = { format = \"bf16\", rounding = \"nearest\" }",
            "rounded as the weights",
        ),
        ("far", "[layers.2.products]\nweights = \"mxfp8-e4m3\"", "layer"),
    ] {
        let file = format!("{name}.toml");
        std::fs::write(dir.join(&file), format!("{text}\n")).unwrap();
        let recipes = format!("f32,{file}");
        let output = small(&dir, &["--formats", &recipes, "--out", "out"])
            .output()
            .unwrap();
        told(&output, &[name, words]);
        assert!(!stderr(&output).contains("f32: "), "{}", stderr(&output));
        assert_eq!(files(&dir.join("out")), NOTHING, "{name}");
    }
    // The folder is free still, for any configuration.
    done(&mut small(
        &dir,
        &["--formats", "f32", "--learning-rate", "0.3", "--out", "out"],
    ));
}

#[test]
fn options_are_refused_before_a_folder_is_begun() {
    let dir = folder("refused-options");
    done(&mut small(&dir, &["--formats", "f32", "--out", "kept"]));
    std::fs::write(dir.join("tiny.csv"), "1,2,3\n4,5,6\n").unwrap();
    let init = "kept/f32/seed-1/model.safetensors";
    for (args, words) in [
        (&["--warm-up", "17"][..], &["warm-up", "17 steps (of 16)"][..]),
        (&["--holdout", "240"], &["batch", "16 images to train on"]),
        (&["--holdout", "256"], &["256", "leave none"]),
        (&["--data", "tiny.csv", "--holdout", "1"], &["784", "2 numbers"]),
        (&["--seeds", "1,2,1"], &["1 twice"]),
        (
            &["--init", init, "--layers", "10"],
            &["layers.2.weight", "no tensor"],
        ),
    ] {
        let args = [&["--formats", "f32", "--out", "out"], args].concat();
        told(&small(&dir, &args).output().unwrap(), words);
        let left = dir.join("out");
        assert!(
            !left.exists() || files(&left) == NOTHING,
            "{args:?}: {:?}",
            files(&left)
        );
    }
}

#[test]
fn a_folder_is_one_process_s_at_a_time() {
    let dir = folder("locked");
    let args = ["--formats", "f32", "--out", "out"];
    done(&mut small(&dir, &args));
    let out = dir.join("out");
    let kept = std::fs::read(out.join("config.json")).unwrap();
    let lock = out.join(".fewbit-lock");
    // What a process leaves that was killed is no lock.
    assert!(lock.exists());
    let held = OpenOptions::new().write(true).open(&lock).unwrap();
    held.try_lock().unwrap();
    let more = ["--formats", "bf16-sr", "--out", "out"];
    for args in [&args[..], &more] {
        told(
            &small(&dir, args).output().unwrap(),
            &["out is in use by another fewbit (process ", "one at a time"],
        );
    }
    assert_eq!(std::fs::read(out.join("config.json")).unwrap(), kept);
    assert!(!out.join("bf16-sr").exists());
    drop(held);
    done(&mut small(&dir, &more));
}
