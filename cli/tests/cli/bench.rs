//! What `fewbit bench` writes, compares and draws, and what it refuses.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use super::{fewbit, files, folder, json, ran, refused};

/// `fewbit bench copy --quick` on the CPU device with these arguments in a folder.
fn bench(folder: &Path, args: &[&str]) -> Output {
    let quick = [
        "bench",
        "copy",
        "--quick",
        "--repetitions",
        "3",
        "--device",
        "cpu",
    ];
    fewbit(folder, &quick).args(args).output().unwrap()
}

#[test]
fn bench_saves_and_compares() {
    let folder = folder("bench_saves_and_compares");
    ran(&bench(&folder, &["--save", "a.json"]));
    assert_eq!(files(&folder), ["a.json"], "and nothing beside it");
    let saved = json(&folder.join("a.json"));
    assert_eq!(saved["format"], "fewbit bench");
    assert_eq!(saved["fewbit"], env!("CARGO_PKG_VERSION"));
    let results = saved["results"].as_array().unwrap();
    let cases: Vec<_> = results.iter().map(|row| row["case"].as_str().unwrap()).collect();
    assert_eq!(cases, ["4096 words", "4095 words", "64 words", "15 words"]);
    for row in results {
        assert!(row["seconds"].as_f64().unwrap() > 0.0, "{row}");
        assert!(row["seconds_spread"].as_f64().unwrap() >= 0.0, "{row}");
        assert!(row["ceiling"].is_string(), "{row}");
    }

    // Against itself, replacing it: no warning, every case has its counterpart.
    let again = bench(&folder, &["--compare", "a.json", "--save", "a.json", "--json"]);
    assert!(!ran(&again).contains("warning"));
    let report: Value = serde_json::from_slice(&again.stdout).unwrap();
    let compared = report["results"].as_array().unwrap();
    assert_eq!(compared.len(), results.len());
    for (row, earlier) in compared.iter().zip(results) {
        assert_eq!(row["earlier_seconds"], earlier["seconds"]);
        assert_eq!(row["earlier_seconds_spread"], earlier["seconds_spread"]);
        let change = row["seconds"].as_f64().unwrap() / earlier["seconds"].as_f64().unwrap() - 1.0;
        assert!((row["change"].as_f64().unwrap() - change).abs() < 1e-9, "{row}");
    }
    assert_ne!(json(&folder.join("a.json")), saved, "it was replaced");
    let table = bench(&folder, &["--compare", "a.json"]);
    ran(&table);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(
        table.contains("| change") || table.contains(" change |"),
        "{table}"
    );
}

#[test]
fn bench_warns_of_another_device_or_version_and_sees_changes() {
    let folder = folder("bench_warns");
    ran(&bench(&folder, &["--save", "a.json"]));
    let mut saved = json(&folder.join("a.json"));
    saved["device"]["name"] = "some other CPU".into();
    saved["fewbit"] = "0.0.0".into();
    // A thousand times slower, half as certain, and one that is gone.
    for row in saved["results"].as_array_mut().unwrap() {
        row["seconds"] = (row["seconds"].as_f64().unwrap() * 1000.0).into();
        row["passed"] = true.into();
    }
    saved["results"].as_array_mut().unwrap().pop();
    std::fs::write(folder.join("b.json"), saved.to_string()).unwrap();
    let output = bench(&folder, &["--compare", "b.json", "--json"]);
    let stderr = ran(&output);
    assert!(
        stderr.contains("some other CPU") && stderr.contains("0.0.0"),
        "{stderr}"
    );
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = report["results"].as_array().unwrap();
    let (last, others) = rows.split_last().unwrap();
    for row in others.iter().filter(|row| row["passed"] == true) {
        assert_eq!(row["compared"], "faster", "{row}");
        assert!(row["change"].as_f64().unwrap() < -0.9, "{row}");
    }
    assert_eq!(last["compared"], "new");
}

#[test]
fn bench_refuses_bad_files_before_timing() {
    let folder = folder("bench_refuses");
    refused(
        &bench(&folder, &["--compare", "none.json"]),
        &["none.json", "cannot be read"],
    );
    for (name, text) in [
        ("empty.json", ""),
        ("text.json", "not json"),
        ("other.json", "{\"format\": \"fewbit tuning\"}"),
        ("future.json", "{\"format\": \"fewbit bench\", \"version\": 99}"),
        (
            "cut.json",
            "{\"format\": \"fewbit bench\", \"version\": 1, \"results\": [{\"kernel\": \"copy\"}]}",
        ),
    ] {
        std::fs::write(folder.join(name), text).unwrap();
        refused(&bench(&folder, &["--compare", name]), &[name, "holds no results"]);
    }
    refused(
        &bench(&folder, &["--save", "no-such-folder/a.json"]),
        &["no-such-folder", "cannot be written"],
    );
    refused(&bench(&folder, &["--save", "."]), &["folder"]);
    // A file where the folder of the charts should be.
    refused(
        &bench(&folder, &["--plot", "text.json"]),
        &["text.json", "cannot be made"],
    );
    let before = files(&folder);
    assert_eq!(before.len(), 5, "nothing was left behind: {before:?}");
}

#[test]
fn bench_draws_charts() {
    let folder = folder("bench_draws_charts");
    // Another kernel first: nothing of `copy` multiplies, so it has no roofline.
    let output = bench(&folder, &["--plot", "charts"]);
    ran(&output);
    assert!(String::from_utf8_lossy(&output.stdout).contains("roofline.svg is not drawn"));
    let charts = folder.join("charts");
    assert_eq!(files(&charts), ["elements.svg", "matmul.svg", "spmv.svg"]);
    for (name, words) in [
        ("elements.svg", ["nanoseconds per element (median)", "KiB"]),
        ("matmul.svg", ["GFLOP/s (median)", "multiply-add ceiling"]),
        ("spmv.svg", ["microseconds (median)", "dense bf16 matrix"]),
    ] {
        let text = std::fs::read_to_string(charts.join(name)).unwrap();
        assert!(
            text.starts_with("<svg") && text.trim_end().ends_with("</svg>"),
            "{name}"
        );
        assert!(!text.contains("NaN") && !text.contains("inf"), "{name}");
        for word in words {
            assert!(text.contains(word), "{name} lacks {word:?}");
        }
    }
    let quick = [
        "bench",
        "fmac_",
        "--quick",
        "--repetitions",
        "3",
        "--device",
        "cpu",
        "--plot",
        ".",
    ];
    let output = fewbit(&folder, &quick).output().unwrap();
    ran(&output);
    let text = std::fs::read_to_string(folder.join("roofline.svg")).unwrap();
    assert!(
        text.contains("fmac_matmul") && text.contains("memory, "),
        "{text}"
    );
}
