//! What a person or a script sees: exit codes, the JSON object, stderr.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{fewbit, folder, refused};

fn run(args: &[&str]) -> Output {
    fewbit(Path::new("."), args).output().unwrap()
}

/// The one object on stdout.
fn object(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_refusal_is_an_object_too() {
    for (args, words) in [
        (
            &["train", "--formats", "nosuch"][..],
            &["nosuch", "bf16-nearest", "bf16-sr"][..],
        ),
        (&["train", "--batch", "-1"], &["--batch", "-1"]),
        (
            &["train", "--learning-rate", "-0.1"],
            &["--learning-rate", "0 or more"],
        ),
        (&["train", "--momentum", "inf"], &["--momentum", "finite"]),
        (
            &["train", "--data", "no-such-folder"],
            &["no-such-folder", "No such file"],
        ),
        (
            &["train", "--layers", "784,8,11", "--device", "cpu"],
            &["784", "10", "classes"],
        ),
        (&["bench", "nosuch", "--sizes", "8192"], &["nosuch", "spmv"]),
        (&["check", "nosuch"], &["nosuch", "spmv"]),
        (&["check", "copy", "--case", "nosuch"], &["--case", "nosuch"]),
        (
            &["check", "copy", "--variant", "nosuch", "--device", "cpu"],
            &["nosuch", "variant"],
        ),
        (&["check", "copy", "--device", "cpu", "--core"], &["--device gpu"]),
        (
            &["check", "copy", "--device", "cpu", "--checked-shaders"],
            &["--device gpu"],
        ),
        (&["info", "--adapter", ""], &["--adapter"]),
        (&["info", "--adapter", "no such adapter"], &["no such adapter"]),
        (&["bench", "--nosuch"], &["--nosuch"]),
        (&["formats", "--", "x"], &["no format is called"]),
        (&["formats", "mxfp4", "x"], &["no number"]),
        (&["formats", "mxfp5"], &["mxfp4"]),
        (&["nosuch"], &["nosuch"]),
    ] {
        // Before `--`, behind which there are no options.
        let args = [&["--json"][..], args].concat();
        let output = run(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        let object = object(&output);
        assert_eq!(object["passed"], false, "{object}");
        let error = object["error"].as_str().unwrap();
        for word in words {
            assert!(
                stderr(&output).contains(word),
                "{:?} lacks {word:?}",
                stderr(&output)
            );
        }
        assert!(stderr(&output).contains(error), "{error:?}");
    }
    let help = run(&["--help", "--json"]);
    assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("Usage"));
}

#[test]
fn numbers_of_every_kind_are_shown() {
    for value in ["-inf", "-1", "-1e-30", "nan", "0.1"] {
        let output = run(&["formats", value, "--json"]);
        assert!(output.status.success(), "{value}: {}", stderr(&output));
        assert_eq!(object(&output)["passed"], true);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_an_error() {
    let into = |target: Stdio, args: &[&str]| fewbit(Path::new("."), args).stdout(target).output().unwrap();
    for args in [
        &["formats"][..],
        &["formats", "--json"],
        &["--help"],
        &["--version"],
        &["nosuch", "--json"],
    ] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = into(full.into(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(
            stderr(&output).contains("cannot be written"),
            "{}",
            stderr(&output)
        );
        // A reader that went away is forgiven.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let expected = if args[0] == "nosuch" { 2 } else { 0 };
        let output = into(writer.into(), args);
        assert_eq!(
            output.status.code(),
            Some(expected),
            "{args:?}: {}",
            stderr(&output)
        );
        assert!(
            !stderr(&output).contains("cannot be written"),
            "{}",
            stderr(&output)
        );
    }
}

/// A small perceptron trained at this rate.
fn train(rate: &str, formats: &str) -> Output {
    let args = [
        "train",
        "--device",
        "cpu",
        "--epochs",
        "1",
        "--train-images",
        "512",
    ];
    let more = ["--test-images", "100", "--layers", "784,16,10", "--json"];
    let own = ["--learning-rate", rate, "--formats", formats];
    run(&[&args[..], &more, &own].concat())
}

#[test]
fn a_diverged_training_is_told() {
    let output = train("1e30", "f32,bf16-sr");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let object = object(&output);
    assert_eq!(object["passed"], false);
    let rows = object["results"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    for (row, recipe) in rows.iter().zip(["f32", "bf16-sr"]) {
        assert_eq!(row["passed"], false);
        let failure = row["failure"].as_str().unwrap();
        for word in [recipe, "diverged", "epoch 1", "step "] {
            assert!(failure.contains(word), "{failure:?} lacks {word:?}");
        }
        assert!(stderr(&output).contains(failure), "{}", stderr(&output));
    }
    let output = train("0.1", "f32");
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn check_repeats_one_case_of_one_variant() {
    let args = ["check", "copy", "--device", "cpu", "--quick", "--json"];
    let all = object(&run(&args));
    let row = &all["results"][0];
    let (case, variant) = (row["case"].as_str().unwrap(), row["variant"].as_str().unwrap());
    let more = ["--case", case, "--variant", variant];
    let output = run(&[&args[..], &more].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let one = object(&output);
    assert_eq!(
        one["results"].as_array().unwrap().as_slice(),
        std::slice::from_ref(row)
    );
    // Every instruction set is a variant of the CPU device, not only the best.
    let more = ["--case", case, "--variant", "portable"];
    let output = run(&[&args[..], &more].concat());
    assert_eq!(
        object(&output)["results"][0]["variant"],
        "portable",
        "{}",
        stderr(&output)
    );
}

/// The line that a failed case is told with runs that case and no other, whatever stands in its description.
#[cfg(unix)]
#[test]
fn the_command_that_repeats_a_case_runs_it_alone() {
    use fewbit::check::{self, Effort};
    let device = fewbit::Device::cpu();
    let all = check::cases(Effort::Quick);
    let mut kernels = std::collections::BTreeSet::new();
    let firsts: Vec<_> = all.iter().filter(|case| kernels.insert(case.op.name())).collect();
    let repeat = |case: &check::Case| {
        let command = check::repeat_command(&device, case, "portable");
        let arguments = command.strip_prefix("fewbit ").unwrap();
        let script = format!("{} {arguments} --json", env!("CARGO_BIN_EXE_fewbit"));
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert!(output.status.success(), "{command}: {}", stderr(&output));
        let rows = object(&output)["results"].take();
        for row in rows.as_array().unwrap() {
            assert_eq!(row["case"], case.op.describe(), "{command}");
            assert_eq!(
                (&row["kernel"], &row["variant"]),
                (&case.op.name().into(), &"portable".into())
            );
        }
        assert!(!rows.as_array().unwrap().is_empty(), "{command}");
    };
    // Each is a process.
    std::thread::scope(|scope| {
        for share in firsts.chunks(firsts.len().div_ceil(2)) {
            scope.spawn(move || share.iter().copied().for_each(repeat));
        }
    });
    assert!(kernels.len() >= 15, "{kernels:?}");
}

/// What drivers print is theirs; what the program makes them print is not wanted.
#[test]
fn info_is_quiet_and_agrees_with_its_rows() {
    let output = run(&["info", "--json"]);
    assert_eq!(stderr(&output), "");
    let object = object(&output);
    let rows = object["results"].as_array().unwrap();
    let all = rows.iter().all(|row| row["passed"] == true);
    assert_eq!(object["passed"], all, "{object}");
    assert_eq!(output.status.code(), Some(i32::from(!all)));
    // Each adapter can be named by its number.
    for row in rows
        .iter()
        .filter(|row| row["adapter"].is_u64() && row["passed"] == true)
    {
        let number = row["adapter"].to_string();
        // As it is, and weaker.
        for flags in [
            &[][..],
            &["--max-binding", "16384"],
            &["--core", "--work-cap", "3000"],
            &["--checked-shaders"],
        ] {
            let check = ["check", "copy", "--quick", "--json", "--adapter", &number];
            let output = run(&[&check[..], flags].concat());
            assert!(output.status.success(), "{}", stderr(&output));
            let opened = self::object(&output)["device"]["name"].to_string();
            assert!(opened.contains(row["case"].as_str().unwrap()), "{opened}: {row}");
        }
    }
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStrExt as _;
    let bad = std::ffi::OsStr::from_bytes(b"\xff");
    for name in ["FEWBIT_DEVICE", "WGPU_ADAPTER_NAME"] {
        let mut command = fewbit(Path::new("."), &["check", "copy", "--quick"]);
        refused(&command.env(name, bad).output().unwrap(), &[name]);
    }
}

/// Starts the program and presses Ctrl-C: how long it then takes, and how it ends.
#[cfg(unix)]
fn interrupt(args: &[&str], after: Duration) -> (Duration, Option<i32>) {
    let mut child = fewbit(Path::new("."), args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(after);
    assert_eq!(child.try_wait().unwrap(), None, "it should still be at work");
    let start = Instant::now();
    let pressed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(pressed.unwrap().success());
    let status = child.wait().unwrap();
    (start.elapsed(), status.code())
}

#[cfg(unix)]
#[test]
fn drawing_digits_and_making_cases_listen_to_ctrl_c() {
    // Half a minute of drawing, or more.
    let draw = [
        "train",
        "--device",
        "cpu",
        "--train-images",
        "3000000",
        "--formats",
        "f32",
    ];
    let (took, code) = interrupt(&draw, Duration::from_secs(2));
    assert!(
        code == Some(130) && took < Duration::from_secs(20),
        "{code:?} after {took:?}"
    );
    let bench = ["bench", "--device", "cpu", "--sizes", "2048"];
    let (took, code) = interrupt(&bench, Duration::from_secs(2));
    assert!(
        code == Some(130) && took < Duration::from_secs(20),
        "{code:?} after {took:?}"
    );
}

/// What it times is made when it is timed: of an unknown kernel nothing, of a dense one no sparse matrix.
#[test]
fn an_unknown_kernel_is_refused_at_once() {
    let start = Instant::now();
    refused(
        &run(&["bench", "nosuch", "--sizes", "32768"]),
        &["nosuch", "there are: "],
    );
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[cfg(unix)]
#[test]
fn results_are_written_through_what_is_no_file() {
    use std::os::unix::fs::{FileTypeExt as _, symlink};
    let folder = folder("results_through");
    let pipe = folder.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    symlink("real.json", folder.join("link.json")).unwrap();
    let quick = [
        "bench",
        "copy",
        "--quick",
        "--repetitions",
        "3",
        "--device",
        "cpu",
        "--save",
    ];
    let reader = {
        let pipe = pipe.clone();
        std::thread::spawn(move || std::fs::read_to_string(pipe).unwrap())
    };
    super::ran(&fewbit(&folder, &quick).arg("pipe").output().unwrap());
    assert!(reader.join().unwrap().contains("fewbit bench"));
    assert!(std::fs::metadata(&pipe).unwrap().file_type().is_fifo());
    super::ran(&fewbit(&folder, &quick).arg("link.json").output().unwrap());
    assert!(folder.join("link.json").is_symlink());
    assert_eq!(super::json(&folder.join("real.json"))["format"], "fewbit bench");
    super::ran(&fewbit(&folder, &quick).arg("/dev/null").output().unwrap());
    assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
    assert_eq!(super::files(&folder), ["link.json", "pipe", "real.json"]);
}

/// OpenGL before 4.3 has no compute shaders, or has them as an extension: wgpu opens it, fails at a pipeline of its own
/// and reports a lost device. Mesa's OpenGL can be made such a one.
#[test]
fn an_adapter_without_compute_shaders_is_none() {
    without_compute_shaders(&[("MESA_EXTENSION_OVERRIDE", "-GL_ARB_compute_shader")]);
    without_compute_shaders(&[
        ("MESA_GL_VERSION_OVERRIDE", "3.3"),
        ("MESA_GLSL_VERSION_OVERRIDE", "330"),
    ]);
}

fn without_compute_shaders(made: &[(&str, &str)]) {
    let old = |args: &[&str]| {
        let mut command = fewbit(Path::new("."), args);
        command
            .envs(made.iter().copied())
            .env("VK_DRIVER_FILES", "/nowhere")
            .env("VK_ICD_FILENAMES", "/nowhere");
        command.output().unwrap()
    };
    let listed = old(&["info"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let refused = old(&["bench", "copy", "--quick", "--device", "gpu"]);
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    let words = stderr(&refused);
    assert!(!words.contains("lost") && !words.contains("panicked"), "{words}");
    match listed.contains("llvmpipe") {
        true => {
            assert!(listed.contains("it has no compute shaders"), "{listed}");
            assert!(words.contains("none has compute shaders"), "{words}");
        }
        false => assert!(words.contains("none was found"), "{words}"),
    }
    let chosen = old(&["bench", "copy", "--quick"]);
    assert_eq!(
        chosen.status.code().map(|code| code < 2),
        Some(true),
        "{}",
        stderr(&chosen)
    );
}
