//! Trainings that are killed at any moment, and gone on with to the same bits.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::{fewbit, files, folder};

/// Kills at random moments; scripts/full.sh asks for more.
fn kills() -> u32 {
    let asked = std::env::var("FEWBIT_KILLS").ok();
    asked.map_or(3, |count| count.parse().expect("FEWBIT_KILLS is a count"))
}

/// 64 steps an epoch, two recipes. The second moment, the master and the shuffles all have something to lose.
fn training(dir: &Path, out: &str, more: &[&str]) -> Command {
    let args = [
        "train",
        "--device",
        "cpu",
        "--layers",
        "784,48,10",
        "--epochs",
        "3",
        "--train-images",
        "2048",
        "--test-images",
        "64",
        "--batch",
        "32",
        "--formats",
        "bf16-mixed,bf16-sr",
        "--optimizer",
        "adamw",
        "--learning-rate",
        "0.001",
        "--schedule",
        "cosine",
        "--augment",
        "shift1",
        "--out",
        out,
    ];
    let mut command = fewbit(dir, &[&args[..], more].concat());
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

const RUNS: [&str; 2] = ["bf16-mixed/seed-1", "bf16-sr/seed-1"];

/// Trains without a break, and says how long it took.
fn whole(dir: &Path) -> Duration {
    let start = Instant::now();
    assert!(
        training(dir, "whole", &["--save-every", "5"])
            .status()
            .unwrap()
            .success()
    );
    start.elapsed()
}

/// The networks, to the bit, and all metrics but how long it took.
fn assert_same(dir: &Path, out: &str) {
    for run in RUNS {
        let read = |out: &str, name: &str| std::fs::read(dir.join(out).join(run).join(name)).unwrap();
        let [model, metrics] = ["model.safetensors", "metrics.csv"];
        assert!(
            read(out, model) == read("whole", model),
            "{out}/{run}: other bits"
        );
        let rows = |out: &str| -> Vec<String> {
            let text = String::from_utf8(read(out, metrics)).unwrap();
            let timeless = |line: &str| line.rsplit_once(',').unwrap().0.to_string();
            text.lines().map(timeless).collect()
        };
        assert_eq!(rows(out), rows("whole"), "{out}/{run}");
    }
}

/// A number in 0..1 that is another one each time.
fn random() -> f64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}

/// How far a training has come: its finished runs and its newest checkpoints.
fn progress(dir: &Path, out: &str) -> Vec<Option<String>> {
    let newest = |run: &str| {
        let folder = dir.join(out).join(run).join("checkpoints");
        let names = if folder.is_dir() {
            files(&folder)
        } else {
            Vec::new()
        };
        names.into_iter().rfind(|name| name.starts_with("step-"))
    };
    RUNS.map(newest).to_vec()
}

fn signal(child: &Child, name: &str) {
    let number = child.id().to_string();
    let sent = Command::new("kill").args(["-s", name, &number]).status().unwrap();
    assert!(sent.success());
}

fn end(child: Child) -> (ExitStatus, String) {
    let output = child.wait_with_output().unwrap();
    (
        output.status,
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// Whether a condition came true before the program ended.
fn reached(child: &mut Child, condition: impl Fn() -> bool) -> bool {
    loop {
        if condition() {
            return true;
        }
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(unix)]
#[test]
fn killed_runs_go_on_to_the_same_bits() {
    let dir = folder("kills");
    let whole = whole(&dir);
    let (mut left, mut round) = (kills(), 0);
    let mut resumed = 0;
    while left > 0 {
        round += 1;
        let out = format!("killed-{round}");
        loop {
            let mut child = training(&dir, &out, &["--save-every", "5", "--resume"])
                .spawn()
                .unwrap();
            // Every second one once there is a new checkpoint, the others at any moment.
            let (before, wait) = (progress(&dir, &out), whole.mul_f64(0.6 * random()));
            let start = Instant::now();
            let came = reached(&mut child, || {
                let waited = left % 2 == 0 || progress(&dir, &out) != before;
                left > 0 && waited && start.elapsed() > wait
            });
            if came {
                child.kill().unwrap();
                left -= 1;
            }
            let (status, stderr) = end(child);
            resumed += u32::from(stderr.contains("goes on from"));
            if status.success() {
                break;
            }
            assert!(status.code().is_none(), "{before:?}: {status:?} {stderr}");
        }
        assert_same(&dir, &out);
        let rest = |folder: &Path| {
            let names = files(folder);
            let rest = |name: &String| name.starts_with('.') && name != ".fewbit-lock";
            assert!(!names.iter().any(rest), "{names:?}");
        };
        rest(&dir.join(&out));
        for run in RUNS.map(|run| dir.join(&out).join(run)) {
            rest(&run);
            rest(&run.join("checkpoints"));
        }
    }
    assert!(resumed > kills() / 4, "{resumed} runs went on from a checkpoint");
}

#[cfg(unix)]
#[test]
fn signals_leave_a_checkpoint() {
    let dir = folder("signals");
    whole(&dir);
    // No --save-every: the only checkpoints are those of signals.
    for name in ["TERM", "INT"] {
        let mut child = training(&dir, name, &[]).spawn().unwrap();
        let metrics = dir.join(name).join(RUNS[0]).join("metrics.csv");
        assert!(reached(&mut child, || metrics.exists()), "{:?}", end(child));
        signal(&child, name);
        let (status, stderr) = end(child);
        assert_eq!(status.code(), Some(130), "{stderr}");
        for word in ["--resume goes on from", "step-", "interrupted"] {
            assert!(stderr.contains(word), "{stderr:?} lacks {word:?}");
        }
        assert!(progress(&dir, name)[0].is_some());
        // What another call begins anew has no checkpoint of the old one.
        let (status, stderr) = end(training(&dir, name, &["--resume"]).spawn().unwrap());
        assert!(status.success(), "{stderr}");
        assert!(stderr.contains("goes on from"), "{stderr}");
        assert_same(&dir, name);
    }
    // Without --resume an unfinished run starts anew.
    std::fs::remove_file(dir.join("TERM").join(RUNS[1]).join("result.json")).unwrap();
    let (status, stderr) = end(training(&dir, "TERM", &[]).spawn().unwrap());
    assert!(status.success() && !stderr.contains("goes on from"), "{stderr}");
    assert_same(&dir, "TERM");
}
