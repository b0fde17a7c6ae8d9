//! What `fewbit train --resume` goes on with, and what it refuses.

use std::path::Path;

use fewbit::io::safetensors;

use super::keeping::{SMALL, done, small, stderr};
use super::{fewbit, files, folder, told};

/// A small training into `out` that is refused with these words.
fn refuses(dir: &Path, more: &[&str], words: &[&str]) {
    let args = [&["--formats", "bf16-sr", "--out", "out"][..], more].concat();
    told(&small(dir, &args).output().unwrap(), words);
}

/// A small training into `out` with one value in the place of another.
fn edited(from: [&'static str; 2], to: &'static str) -> Vec<&'static str> {
    let mut args = SMALL.to_vec();
    let at = args.iter().position(|arg| *arg == from[0]).unwrap();
    assert_eq!(args[at + 1], from[1]);
    args[at + 1] = to;
    args.extend(["--formats", "bf16-sr", "--out", "out"]);
    args
}

#[test]
fn a_resumed_run_refuses_what_it_is_not() {
    let dir = folder("resumed");
    let begin = [
        "--formats",
        "bf16-sr",
        "--out",
        "out",
        "--save-every",
        "3",
        "--schedule",
    ];
    done(&mut small(&dir, &[&begin[..], &["constant"]].concat()));
    let checkpoints = dir.join("out/bf16-sr/seed-1/checkpoints");
    assert_eq!(files(&checkpoints).len(), 2, "{:?}", files(&checkpoints));
    let own = ["--schedule", "constant", "--resume"];
    // A recipe and a seed that were never begun.
    let other = [
        "--formats",
        "f32",
        "--out",
        "out",
        "--schedule",
        "constant",
        "--resume",
    ];
    told(&small(&dir, &other).output().unwrap(), &["f32", "resume"]);
    std::fs::write(
        dir.join("mine.toml"),
        "name = \"bf16-sr\"\nlike = \"bf16-nearest\"\n",
    )
    .unwrap();
    let other = [
        "--formats",
        "mine.toml",
        "--out",
        "out",
        "--schedule",
        "constant",
        "--resume",
    ];
    told(&small(&dir, &other).output().unwrap(), &["bf16-sr", "recipe"]);
    refuses(&dir, &[&own[..], &["--seed", "2"]].concat(), &["data", "there"]);
    refuses(&dir, &[&own[..], &["--holdout", "5"]].concat(), &["data"]);
    refuses(
        &dir,
        &["--schedule", "cosine", "--resume"],
        &["training.schedule"],
    );
    refuses(
        &dir,
        &[&own[..], &["--momentum", "0.5"]].concat(),
        &["training.momentum"],
    );
    // Several seeds train on the same digits.
    let seeds = |list, more: &[&'static str]| {
        let args = ["--formats", "bf16-sr,f32", "--out", "seeds", "--seeds", list];
        small(&dir, &[&args[..], more].concat()).output().unwrap()
    };
    assert!(seeds("1,2", &[]).status.success());
    told(&seeds("1,3", &["--resume"]), &["seeds", "seed 3", "resume"]);
    assert!(seeds("2,1", &["--resume"]).status.success());
    assert!(seeds("1,3", &[]).status.success());
    assert!(dir.join("seeds/f32/seed-3/result.json").exists());
    // Other layers.
    let wide = [&edited(["--layers", "784,16,10"], "784,17,10")[..], &own].concat();
    told(&fewbit(&dir, &wide).output().unwrap(), &["model.", "17"]);
}

#[test]
fn only_a_rate_that_knows_no_end_goes_on_past_it() {
    let dir = folder("longer");
    let begin = ["--out", "out", "--save-every", "3", "--schedule", "constant"];
    done(&mut small(
        &dir,
        &[&["--formats", "bf16-sr"][..], &begin].concat(),
    ));
    let own = ["--schedule", "constant", "--resume"];
    let fewer = [&edited(["--epochs", "2"], "1")[..], &own].concat();
    told(&fewbit(&dir, &fewer).output().unwrap(), &["2 epochs", "1"]);
    let more = edited(["--epochs", "2"], "3");
    let anew = [&more[..], &own[..2]].concat();
    told(
        &fewbit(&dir, &anew).output().unwrap(),
        &["training.epochs", "2", "3"],
    );
    // A rate that knows no end goes on past it, as if it had been meant from the start.
    let on = [&more[..], &own, &["--save-every", "3"]].concat();
    let output = done(&mut fewbit(&dir, &on));
    assert!(stderr(&output).contains("goes on from"), "{}", stderr(&output));
    let mut whole = more.clone();
    let at = whole.iter().position(|arg| *arg == "out").unwrap();
    whole[at] = "whole";
    done(&mut fewbit(&dir, &[&whole[..], &own[..2]].concat()));
    let model = |out: &str| safetensors::read(dir.join(out).join("bf16-sr/seed-1/model.safetensors"));
    assert_eq!(model("out").unwrap(), model("whole").unwrap());
    // Half a cosine does not.
    let begin = [
        "--formats",
        "bf16-sr",
        "--out",
        "cos",
        "--save-every",
        "3",
        "--schedule",
        "cosine",
    ];
    done(&mut small(&dir, &begin));
    let mut more = edited(["--epochs", "2"], "3");
    let at = more.iter().position(|arg| *arg == "out").unwrap();
    more[at] = "cos";
    more.extend(["--schedule", "cosine", "--resume"]);
    told(
        &fewbit(&dir, &more).output().unwrap(),
        &["cosine", "2 epochs", "3"],
    );
}

#[test]
fn a_checkpoint_that_does_not_fit_is_told() {
    let dir = folder("checkpoint");
    let args = ["--formats", "bf16-sr", "--out", "out", "--save-every", "3"];
    done(&mut small(&dir, &args));
    let run = dir.join("out/bf16-sr/seed-1");
    let newest = run.join("checkpoints").join(&files(&run.join("checkpoints"))[1]);
    let good = std::fs::read(&newest).unwrap();
    let result = std::fs::read(run.join("result.json")).unwrap();
    let resume = [&args[..], &["--resume"]].concat();
    // As if it had not been finished.
    let text = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = good
            .windows(from.len())
            .position(|window| window == from.as_bytes());
        let mut bytes = good.clone();
        bytes[at.unwrap()..][..to.len()].copy_from_slice(to.as_bytes());
        bytes
    };
    for (bytes, words) in [
        (
            good[..good.len() / 2].to_vec(),
            &["step-", "no sound checkpoint"][..],
        ),
        (b"x".to_vec(), &["step-"]),
        (
            text("fewbit checkpoint", "fewbit_checkpoint"),
            &["fewbit_checkpoint"],
        ),
        (text("native CPU", "another CP"), &["another CP", "configuration"]),
        (
            text("layers.0.weight", "layers.9.weight"),
            &["step-", "checkpoint"],
        ),
        (text("stochastic", "stochastiK"), &["recipe", "stochastiK"]),
    ] {
        std::fs::remove_file(run.join("result.json")).ok();
        std::fs::write(&newest, &bytes).unwrap();
        let output = small(&dir, &resume).output().unwrap();
        told(&output, words);
        assert_eq!(std::fs::read(&newest).unwrap(), bytes, "it stays");
    }
    std::fs::write(&newest, &good).unwrap();
    std::fs::write(run.join("result.json"), result).unwrap();
    done(&mut small(&dir, &resume));
}
