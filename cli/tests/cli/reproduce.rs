//! `fewbit reproduce --quick` of every claim: it runs to its end, measures what it says, and draws it.

use std::path::Path;

use serde_json::Value;

use super::{fewbit, files, folder, told};

/// The program's object for a claim, and what it printed without --json.
fn quick(dir: &Path, name: &str, more: &[&str]) -> Value {
    let args = ["reproduce", name, "--device", "cpu", "--quick", "--json"];
    let output = fewbit(dir, &[&args[..], more].concat()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {:?}: {stderr}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn rows<'a>(object: &'a Value, key: &str) -> Vec<&'a Value> {
    let all = object["results"].as_array().unwrap();
    all.iter().filter(|row| !row[key].is_null()).collect()
}

/// Runs a claim; its rows with accuracies are those of `names`, and each chart is there.
fn measured(name: &str, charts: &[&str], names: &[&str]) -> Value {
    let dir = folder(&format!("reproduce-{name}"));
    let object = quick(&dir, name, &["--out", "charts"]);
    assert_eq!(object["passed"], true);
    let mut wanted: Vec<_> = charts.iter().map(ToString::to_string).collect();
    wanted.sort();
    assert_eq!(files(&dir.join("charts")), wanted);
    for chart in charts {
        let text = std::fs::read_to_string(dir.join("charts").join(chart)).unwrap();
        assert!(text.contains("</svg>") && text.contains("--quick"), "{chart}");
    }
    let trained: Vec<_> = rows(&object, "accuracy_percent_by_epoch")
        .iter()
        .map(|row| row["variant"].as_str().unwrap().to_string())
        .collect();
    assert_eq!(trained, names, "{name}");
    // What was measured decides: every claim says so, and none is empty.
    let claims = rows(&object, "claim");
    assert!(claims.len() >= 2, "{claims:?}");
    for claim in claims {
        assert!(claim["reproduced"].is_boolean(), "{claim}");
        assert!(!claim["measured"].as_str().unwrap().is_empty(), "{claim}");
    }
    object
}

fn claim<'a>(object: &'a Value, words: &str) -> &'a Value {
    let all = rows(object, "claim");
    let mut found = all
        .into_iter()
        .filter(|row| row["claim"].as_str().unwrap().contains(words));
    let first = found.next().unwrap_or_else(|| panic!("no claim has {words:?}"));
    assert!(found.next().is_none(), "{words:?}");
    first
}

#[test]
fn help_lists_every_claim() {
    let output = fewbit(&folder("reproduce-help"), &["reproduce", "--help"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    for name in [
        "table1",
        "range",
        "revisiting-bf16",
        "fmac",
        "fast",
        "distillation",
        "hinton",
    ] {
        assert!(text.contains(&format!("- {name}:")), "{name}: {text}");
    }
}

#[test]
fn rates_are_tried_on_validation_images() {
    let dir = folder("reproduce-tune");
    let object = quick(&dir, "hinton", &["--tune", "--seeds", "3"]);
    let all = rows(&object, "learning_rate");
    assert_eq!(all.len(), 10);
    for what in ["teacher", "student"] {
        let own: Vec<_> = all.iter().filter(|row| row["variant"] == what).collect();
        let of = |key: &str| own.iter().filter(|row| row[key] == true).count();
        assert_eq!((own.len(), of("stored"), of("best")), (5, 1, 1), "{own:?}");
        let stored = own.iter().find(|row| row["stored"] == true).unwrap();
        assert_eq!(stored["learning_rate"], 0.05);
        // 64 images.
        let right = stored["validation_accuracy_percent"].as_f64().unwrap();
        assert_eq!((right * 0.64).fract(), 0.0, "{right}");
    }
    assert!(rows(&object, "claim").is_empty());
    let args = ["reproduce", "table1", "--device", "cpu", "--quick", "--tune"];
    let output = fewbit(&dir, &args).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    for words in [
        "stored",
        "best",
        "no test image",
        "0.02",
        "Right of validation images (%)",
    ] {
        assert!(text.contains(words), "{words:?}: {text}");
    }
    told(
        &fewbit(&dir, &[&args[..], &["--out", "x"]].concat())
            .output()
            .unwrap(),
        &["--tune", "--out"],
    );
}

#[test]
fn table1() {
    let names = ["f64", "f32", "bf16-mixed", "bf16-sr"];
    let object = measured("table1", &["table1.svg"], &names);
    let bytes = |i: usize| {
        rows(&object, "weights_bytes")[i]["weights_bytes"]
            .as_u64()
            .unwrap()
    };
    // Rows are filled up to whole words of 16 bytes.
    assert!(bytes(0).abs_diff(2 * bytes(1)) < bytes(0) / 500);
    assert!(bytes(1).abs_diff(2 * bytes(2)) < bytes(1) / 500);
    assert_eq!(claim(&object, "f32 weights take half")["reproduced"], true);
}

#[test]
fn range() {
    let names = [
        "f32",
        "bf16-mixed",
        "f16",
        "f16-mixed",
        "bfp-2",
        "bfp-3",
        "bfp-4",
        "bfp-5",
        "bfp-6",
        "bfp-7",
        "bfp-8",
    ];
    let object = measured("range", &["range.svg"], &names);
    // This much is arithmetic: no training decides it.
    assert_eq!(claim(&object, "f16 overflows")["reproduced"], true);
    let scaled = rows(&object, "accuracy_percent");
    let of =
        |name: &str| scaled.iter().find(|row| row["variant"] == name).unwrap()["accuracy_percent"].clone();
    for format in ["f32", "bf16-mixed"] {
        assert_eq!(of(&format!("{format} at 2^18")), of(&format!("{format} at 2^0")));
        assert_eq!(of(&format!("{format} at 2^-26")), of(&format!("{format} at 2^0")));
    }
}

#[test]
fn revisiting_bf16() {
    let charts = ["revisiting-bf16-least-squares.svg", "revisiting-bf16-lenet-5.svg"];
    let names = ["f32", "bf16-nearest", "bf16-sr", "bf16-kahan"];
    let object = measured("revisiting-bf16", &charts, &names);
    assert_eq!(rows(&object, "loss_floor").len(), 4);
}

#[test]
fn fmac() {
    let names = [
        "f32",
        "bf16-nearest",
        "bf16-sr",
        "bf16-fmac-1",
        "bf16-pure-1",
        "bf16-fmac-8",
        "bf16-pure-8",
        "bf16-fmac",
        "bf16-pure",
        "bf16-fmac-128",
        "bf16-pure-128",
        "bf16-fmac-k",
        "bf16-pure-k",
    ];
    let object = measured("fmac", &["fmac-accuracy.svg", "fmac-error.svg"], &names);
    let errors: Vec<_> = rows(&object, "relative_rms_error")
        .iter()
        .map(|row| row["relative_rms_error"].as_f64().unwrap())
        .collect();
    // One rounding of a sum to bf16 is off by at most 2^-8 of it; stochastically by 2^-7.
    assert!(errors[8] > 1e-4 && errors[8] < 1.0 / 256.0, "{errors:?}");
    assert!(errors[9] > 1e-4 && errors[9] < 1.0 / 128.0, "{errors:?}");
    assert!(errors[0] > errors[8] && errors[1] > errors[9], "{errors:?}");
}

#[test]
fn fast() {
    let names = ["f32", "bfp-3", "bfp-5", "fast"];
    let object = measured("fast", &["fast.svg"], &names);
    let shares: Vec<_> = rows(&object, "work_share")
        .iter()
        .map(|row| row["work_share"].as_f64().unwrap())
        .collect();
    assert_eq!(shares[..2], [0.25, 1.0]);
    assert!((0.25..=1.0).contains(&shares[2]), "{shares:?}");
}

#[test]
fn distillation() {
    let teachers = [["teacher, 64 labels"; 3], ["teacher, 224 labels"; 3]];
    let object = measured("distillation", &["distillation.svg"], teachers.as_flattened());
    let students = rows(&object, "learning_rate");
    let kinds: Vec<_> = students
        .iter()
        .map(|row| row["variant"].as_str().unwrap())
        .collect();
    let once = ["labels alone", "one teacher", "three teachers", "itself"];
    assert_eq!(kinds, [once, once].concat());
    assert!(students[0]["temperature"].is_null() && students[1]["temperature"].is_number());
    assert_eq!(
        (&students[0]["labels"], &students[4]["labels"]),
        (&64.into(), &224.into())
    );
}

#[test]
fn hinton() {
    let names = ["teacher", "student alone", "student of the teacher"];
    let object = measured("hinton", &["hinton.svg"], &[names; 3].concat());
    let unseen = rows(&object, "threes");
    assert_eq!(unseen.len(), 3, "a seed each");
    // The test images are the same.
    assert!(unseen.iter().all(|row| row["threes"] == unseen[0]["threes"]));
}

#[test]
fn the_last_lines_say_what_does_not_reproduce() {
    let dir = folder("reproduce-lines");
    let args = [
        "reproduce",
        "table1",
        "--device",
        "cpu",
        "--quick",
        "--seeds",
        "4,5",
    ];
    let output = fewbit(&dir, &args).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let object = quick(&dir, "table1", &["--seeds", "4,5"]);
    assert_eq!(rows(&object, "accuracy_percent_by_epoch").len(), 8, "two seeds");
    let mut lines = text
        .lines()
        .skip_while(|line| !line.starts_with("Reproduced: ") && !line.starts_with("NOT reproduced: "))
        .skip_while(|line| line.starts_with("Reproduced: "));
    assert!(lines.all(|line| line.starts_with("NOT reproduced: ")), "{text}");
    let said = |words: &str| text.lines().filter(|line| line.starts_with(words)).count();
    let all = said("Reproduced: ") + said("NOT reproduced: ");
    assert_eq!(all, rows(&object, "claim").len(), "{text}");
}

#[test]
fn what_it_cannot_do_is_said() {
    let dir = folder("reproduce-told");
    let told_of = |args: &[&str], words: &[&str]| {
        let all = [&["reproduce"], args, &["--device", "cpu", "--quick"]].concat();
        told(&fewbit(&dir, &all).output().unwrap(), words);
    };
    told_of(&["table2"], &["table2", "revisiting-bf16"]);
    told_of(&["table1", "--seeds", "3,3"], &["3 twice"]);
    told_of(&["table1", "--holdout", "60000"], &["60000", "leave none"]);
    std::fs::write(dir.join("file"), "").unwrap();
    told_of(&["table1", "--out", "file"], &["file", "cannot be made"]);
    told_of(&["table1", "--data", "nowhere"], &["nowhere"]);
}
