//! `kernels::ALL` against the folders, the shaders and the README's table: a kernel is two folders, one row of the list
//! for each of its operations, and one row of the README.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use fewbit::gpu::LIBRARY;
use fewbit::kernels::ALL;
use fewbit::op::Effort;

fn entries(folder: &str) -> BTreeSet<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name().into_string();
    let all = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    all.map(|entry| name(entry).expect("a name in UTF-8")).collect()
}

fn folders() -> BTreeSet<String> {
    let mut all = entries("src/kernels");
    all.retain(|name| name != "shared" && Path::new("src/kernels").join(name).is_dir());
    all
}

/// The README's rows of operations: name, folder, class.
fn rows() -> Vec<[String; 3]> {
    let text = fs::read_to_string("README.md").expect("the README");
    let table = text.split("\n## Kernels\n").nth(1).expect("a section Kernels");
    let table = table.split("\n## ").next().unwrap_or_default();
    let cells = |line: &str| -> Option<[String; 3]> {
        let cells: Vec<_> = line.split('|').map(|cell| cell.trim().replace('`', "")).collect();
        match &cells[..] {
            [_, name, folder, _, class, _] if !name.starts_with('-') && name != "operation" => {
                Some([name.clone(), folder.clone(), class.clone()])
            }
            _ => None,
        }
    };
    table.lines().filter_map(cells).collect()
}

#[test]
fn a_kernel_is_two_folders() {
    for folder in folders() {
        let path = format!("src/kernels/{folder}");
        let mut files = entries(&path);
        // Operations that belong together may have folders of their own inside.
        let inner = entries(&path).into_iter().map(|name| format!("{path}/{name}"));
        for inner in inner.filter(|inner| Path::new(inner).is_dir()) {
            files.extend(entries(&inner));
        }
        for part in ["mod.rs", "gpu.rs", "cpu.rs", "reference.rs", "cases.rs"] {
            assert!(files.contains(part), "{folder} has no {part}");
        }
    }
    let mut shaders = entries("shaders");
    assert!(shaders.remove("lib"), "shaders/lib is missing");
    assert_eq!(folders(), shaders, "src/kernels/ and shaders/");
}

#[test]
fn the_readme_lists_every_operation() {
    let classes: BTreeMap<_, BTreeSet<_>> = ALL
        .iter()
        .map(|entry| {
            let cases = entry.cases(Effort::Quick);
            assert!(!cases.is_empty(), "{}: no quick case", entry.name);
            (
                entry.name,
                cases.iter().map(|case| case.op.class().to_string()).collect(),
            )
        })
        .collect();
    let listed: Vec<_> = rows().iter().map(|[name, ..]| name.clone()).collect();
    let names: Vec<_> = ALL.iter().map(|entry| entry.name).collect();
    assert_eq!(listed, names, "the README's table and kernels::ALL, in order");
    let mut used = BTreeSet::new();
    for [name, folder, class] in rows() {
        assert!(
            classes[name.as_str()].contains(&class),
            "{name} is {:?}, not {class}",
            classes[name.as_str()]
        );
        used.insert(folder);
    }
    assert_eq!(used, folders(), "the README's folders and src/kernels/");
}

#[test]
fn every_shader_is_used() {
    let mut files = BTreeSet::new();
    for folder in entries("shaders") {
        let all = entries(&format!("shaders/{folder}"));
        let wgsl = all.into_iter().filter(|name| name.ends_with(".wgsl"));
        files.extend(wgsl.map(|name| format!("{folder}/{name}")));
    }
    let library: BTreeSet<_> = LIBRARY.iter().map(|file| file.path.to_string()).collect();
    let lib: BTreeSet<_> = files
        .iter()
        .filter(|path| path.starts_with("lib/"))
        .cloned()
        .collect();
    // A pipeline of `gpu` itself is no file that shaders use.
    let own = BTreeSet::from(["lib/gate.wgsl", "lib/set_step.wgsl"].map(String::from));
    assert_eq!(&library | &own, lib, "gpu::LIBRARY and shaders/lib/");
    let mut used = own;
    for permutation in fewbit::kernels::permutations() {
        let paths = permutation
            .paths()
            .unwrap_or_else(|error| panic!("{}: {error}", permutation.label()));
        used.extend(paths.into_iter().map(str::to_string));
    }
    assert_eq!(
        used, files,
        "files that permutations are made of, and those of shaders/"
    );
}

/// CONTRIBUTING.md shows every file of examples/custom_kernel/axpby as it is.
#[test]
fn the_recipe_is_the_example() {
    let text = fs::read_to_string("CONTRIBUTING.md").expect("CONTRIBUTING.md");
    for file in entries("examples/custom_kernel/axpby") {
        let path = format!("examples/custom_kernel/axpby/{file}");
        let whole = fs::read_to_string(&path).expect("a file");
        let language = if file.ends_with(".wgsl") { "wgsl" } else { "rust" };
        let block = format!("```{language}\n{whole}```\n");
        assert!(
            text.contains(&block),
            "CONTRIBUTING.md does not show {path} as it is"
        );
    }
}
