//! Choosing variants: one that does not compile is dropped, a tuner's choice is preferred and kept, and damaged
//! or stale files mean defaults. Run on the best adapter present.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::path::PathBuf;

use common::Suite;

use fewbit::cpu::Cpu;
use fewbit::gpu::{
    AdapterChoice, Cache, Dispatch, Gpu, GpuOptions, Offsets, OperandSpec, Permutation, PlanRequest, Shader,
    Tuning, Words,
};
use fewbit::kernels::Matmul;
use fewbit::op::{Args, Op, Table, Variant, Variants};
use fewbit::{Device, Error, Result};

fn main() {
    let suite = Suite::new()
        .gpu(
            "a_variant_that_does_not_compile_is_dropped",
            a_variant_that_does_not_compile_is_dropped,
        )
        .gpu(
            "a_tuned_variant_is_preferred_and_an_unknown_one_ignored",
            a_tuned_variant_is_preferred_and_an_unknown_one_ignored,
        )
        .gpu(
            "lazy_tuning_finds_the_fast_variant_on_the_first_run",
            lazy_tuning_finds_the_fast_variant_on_the_first_run,
        )
        .gpu(
            "files_come_back_and_damaged_or_stale_ones_mean_defaults",
            files_come_back_and_damaged_or_stale_ones_mean_defaults,
        )
        .gpu(
            "programs_that_tune_at_once_lose_nothing",
            programs_that_tune_at_once_lose_nothing,
        )
        .gpu(
            "the_pool_keeps_no_more_than_its_cap",
            the_pool_keeps_no_more_than_its_cap,
        );
    #[cfg(unix)]
    let suite = suite.gpu(
        "a_fifo_in_a_caches_place_is_not_waited_for",
        a_fifo_in_a_caches_place_is_not_waited_for,
    );
    suite.run();
}

fn open(cache: Option<Cache>) -> Gpu {
    let mut options = GpuOptions::default();
    options.adapter = AdapterChoice::Any;
    options.cache = cache;
    common::open_with(&options)
}

/// A folder of this test's own, empty.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("fewbit-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

/// Counts to `spins` before it writes 7: by one invocation of a variant's own kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Sevens;

static BROKEN: Shader = Shader::new("sevens_broken", "this is no WGSL");

static SPIN: Shader = Shader::new(
    "sevens_spin",
    "
struct Params {
    spins: u32,
    y_offset: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@compute @workgroup_size(1)
fn main() {
    var x = 1u;
    for (var i = 0u; i < params.spins; i++) {
        x = (x ^ i) * 0x9e3779b9u + i;
    }
    // Always 7, which no compiler finds out.
    y[params.y_offset] = select(7u, 8u, x == 1u && params.spins == 77u);
}",
);

static VARIANTS: Variants<Sevens> = Variants(&[
    row("broken", |_, _| 0, |_, gpu, _| dispatches(gpu, &BROKEN, 0)),
    row("slow", |_, _| 1, |_, gpu, _| dispatches(gpu, &SPIN, 20_000_000)),
    row("fast", |_, _| 2, |_, gpu, _| dispatches(gpu, &SPIN, 0)),
]);

type Dispatches = fn(&Sevens, &Gpu, Offsets) -> Result<Vec<Dispatch>>;

const fn row(name: &'static str, rank: fn(&Sevens, &Gpu) -> u32, dispatches: Dispatches) -> Variant<Sevens> {
    Variant {
        name,
        serves: |_, _, _| true,
        rank,
        dispatches,
        permutations: Vec::new,
    }
}

fn dispatches(gpu: &Gpu, shader: &'static Shader, spins: u32) -> Result<Vec<Dispatch>> {
    let dispatch = Dispatch::new(&gpu.pipeline(&Permutation::new(shader))?)
        .set("spins", spins)
        .bind("y", Words::of("y", 0..1))
        .work(1);
    Ok(vec![dispatch])
}

impl Op for Sevens {
    fn name(&self) -> &'static str {
        "sevens"
    }
    fn operands(&self) -> Vec<OperandSpec> {
        vec![OperandSpec::write("y", 1)]
    }
    fn check(&self) -> Result<()> {
        Ok(())
    }
    fn table(&self) -> &'static dyn Table {
        &VARIANTS
    }
    fn cpu(&self, _: &Cpu, args: Args<'_>) -> Result<()> {
        self.reference(args)
    }
    fn reference(&self, args: Args<'_>) -> Result<()> {
        let [y] = args.take(self)?;
        y.write()?[0] = 7;
        Ok(())
    }
}

fn a_variant_that_does_not_compile_is_dropped() {
    let gpu = open(None);
    let plan = Sevens
        .plan(&gpu, &PlanRequest::default())
        .expect("the next variant");
    assert_eq!(plan.variant(), "slow");
    // Asked for by name, its error is not hidden.
    let request = PlanRequest::default().variant("broken").offsets(Offsets::Vec4);
    let error = Sevens.plan(&gpu, &request).expect_err("no WGSL");
    assert!(
        matches!(&error, Error::Compile { kernel, .. } if kernel == "sevens_broken"),
        "{error}"
    );
    assert_eq!(gpu.pipeline_count(), 1, "failures are not pipelines");
}

fn a_tuned_variant_is_preferred_and_an_unknown_one_ignored() {
    let gpu = open(None);
    let op = Matmul::new(100, 100, 100);
    let defaults = op.variants(&gpu, Offsets::Vec4);
    let chosen = |gpu: &Gpu| op.plan(gpu, &PlanRequest::default()).expect("a plan").variant();
    assert_eq!(chosen(&gpu), defaults[0]);
    for &variant in &defaults {
        let mut tuning = Tuning::default();
        tuning.set("matmul", &op.family(), variant);
        gpu.set_tuning(tuning);
        assert_eq!(chosen(&gpu), variant);
    }
    let mut tuning = Tuning::default();
    tuning.set("matmul", &op.family(), "of_a_later_version");
    gpu.set_tuning(tuning);
    assert_eq!(chosen(&gpu), defaults[0]);
}

fn lazy_tuning_finds_the_fast_variant_on_the_first_run() {
    let gpu = open(None);
    let device = Device::from_gpu(gpu.clone());
    let mut y = device.from_f32(&[1], &[0.0]).expect("y");
    device.run(&Sevens, &mut [(&mut y).into()]).expect("a run");
    assert!(gpu.tuning().is_empty(), "tuning is opt-in");
    device.start_lazy_tuning();
    device.run(&Sevens, &mut [(&mut y).into()]).expect("a run");
    assert_eq!(gpu.tuning().get("sevens", &Sevens.family()), Some("fast"));
    let value = y.read_blocking().expect("a value");
    assert_eq!(value[0].to_bits(), 7);
}

fn files_come_back_and_damaged_or_stale_ones_mean_defaults() {
    let folder = folder("tuning");
    let cache = Cache::at(folder.clone());
    let gpu = open(Some(cache.clone()));
    assert!(gpu.tuning().is_empty());
    let op = Matmul::new(100, 100, 100);
    let last = *op.variants(&gpu, Offsets::Vec4).last().expect("a variant");
    let mut tuning = Tuning::default();
    tuning.set("matmul", &op.family(), last);
    let path = cache.save_tuning(gpu.info(), &tuning).expect("saved");
    cache.save_pipelines(&gpu).expect("saved");

    let again = open(Some(cache.clone()));
    assert_eq!(again.tuning(), tuning);
    let plan = op.plan(&again, &PlanRequest::default()).expect("a plan");
    assert_eq!(plan.variant(), last);
    cache.save_pipelines(&again).expect("saved");

    let good = std::fs::read_to_string(&path).expect("text");
    let pipelines = cache.pipelines_path(gpu.info());
    for bad in [
        String::new(),
        "{".to_string(),
        "[1, 2]".to_string(),
        good[..good.len() / 2].to_string(),
        good.replace("\"version\": 1", "\"version\": 2"),
        good.replace(gpu.info().name.as_str(), "another adapter"),
        good.replace("\"variant\"", "\"varient\""),
    ] {
        assert_ne!(bad, good);
        std::fs::write(&path, &bad).expect("written");
        assert!(cache.tuning(gpu.info()).is_empty(), "{bad}");
        // A damaged pipeline file is not given to the driver, and opening goes on.
        if let Ok(mut bytes) = std::fs::read(&pipelines) {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(&pipelines, &bytes).expect("written");
            assert!(cache.pipelines(gpu.info()).is_none());
        }
        let opened = open(Some(cache.clone()));
        assert!(opened.tuning().is_empty());
        op.plan(&opened, &PlanRequest::default()).expect("a plan");
        cache.save_pipelines(&opened).expect("saved");
    }
    std::fs::remove_dir_all(&folder).expect("removed");

    // A folder that cannot be made is an error of saving alone.
    let blocked = Cache::at(PathBuf::from("/dev/null/fewbit"));
    blocked
        .save_tuning(gpu.info(), &tuning)
        .expect_err("not a folder");
    assert!(blocked.tuning(gpu.info()).is_empty());
}

fn programs_that_tune_at_once_lose_nothing() {
    let folder = folder("together");
    let cache = Cache::at(folder.clone());
    let gpu = open(None);
    std::thread::scope(|scope| {
        for op in 0..8 {
            let (cache, info) = (&cache, gpu.info());
            scope.spawn(move || {
                for family in 0..5 {
                    let mut found = Tuning::default();
                    found.set(&format!("op{op}"), &format!("family{family}"), "fast");
                    cache.add_tuning(info, &found).expect("added");
                }
            });
        }
    });
    assert_eq!(cache.tuning(gpu.info()).len(), 40);
    // To find out whether it could be written leaves a file of another version as it is.
    let path = cache.tuning_path(gpu.info());
    std::fs::write(&path, "of another version").expect("written");
    cache.probe_tuning(gpu.info()).expect("writable");
    assert_eq!(std::fs::read(&path).expect("bytes"), b"of another version");
    std::fs::remove_dir_all(&folder).expect("removed");
}

/// Whoever opens a FIFO waits for its other end.
#[cfg(unix)]
fn a_fifo_in_a_caches_place_is_not_waited_for() {
    let folder = folder("fifo");
    let cache = Cache::at(folder.clone());
    let gpu = open(None);
    std::fs::create_dir_all(&folder).expect("made");
    let (tuning, pipelines) = (cache.tuning_path(gpu.info()), cache.pipelines_path(gpu.info()));
    for path in [&tuning, &pipelines, &tuning.with_extension("lock")] {
        let made = std::process::Command::new("mkfifo").arg(path).status();
        assert!(made.expect("mkfifo").success());
    }
    let (done, told) = std::sync::mpsc::channel();
    let (at, of) = (cache.clone(), gpu.clone());
    std::thread::spawn(move || {
        let opened = open(Some(at.clone()));
        let refused = [
            at.save_tuning(of.info(), &Tuning::default()).is_err(),
            at.add_tuning(of.info(), &Tuning::default()).is_err(),
            at.probe_tuning(of.info()).is_err(),
        ];
        // Where the driver keeps no cache there is nothing to save.
        let _ = at.save_pipelines(&opened);
        let _ = done.send((opened.tuning(), refused));
    });
    let (found, refused) = told
        .recv_timeout(std::time::Duration::from_secs(60))
        .expect("an answer");
    assert!(found.is_empty());
    assert_eq!(refused, [true; 3]);
    std::fs::remove_dir_all(&folder).expect("removed");
}

fn the_pool_keeps_no_more_than_its_cap() {
    let gpu = open(None);
    let device = Device::from_gpu(gpu);
    let tensors: Vec<_> = (1..=4)
        .map(|i| {
            device
                .from_f32(&[i * 1000], &vec![1.0; i * 1000])
                .expect("a tensor")
        })
        .collect();
    assert_eq!(device.pooled_bytes(), 0);
    drop(tensors);
    let all = device.pooled_bytes();
    assert!(all >= 40_000, "{all}");
    device.set_pool_cap(10_000);
    let kept = device.pooled_bytes();
    assert!(kept <= 10_000 && kept > 0, "{kept}");
    drop(
        device
            .from_f32(&[100_000], &vec![1.0; 100_000])
            .expect("a tensor"),
    );
    assert!(device.pooled_bytes() <= 10_000);
    device.trim();
    assert_eq!(device.pooled_bytes(), 0);
}
