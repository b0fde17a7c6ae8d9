//! The house keeps its order: a room uses the rooms before it, never those after, and a kernel no other kernel but
//! what they share. Comments, doc links and the unit tests of `format` and `tensor` do not count.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms of `src/`, in their order; `gpu` and `cpu` do not know each other.
const ROOMS: [&str; 15] = [
    "format", "error", "file", "tensor", "gpu", "cpu", "op", "device", "kernels", "check", "io", "nn",
    "compress", "model", "lib",
];

/// What a specification may use: its formats, its operands' layouts, what an operation is, and its own folder.
const SPECIFICATION: [&str; 5] = ["format", "tensor", "op", "error", "kernels"];

/// Imports that still go the wrong way. The list only shrinks.
const EXCEPTIONS: &[&str] = &[];

fn rank(room: &str) -> Option<usize> {
    ROOMS.iter().position(|known| *known == room)
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
}

/// The text without comments; string literals with slashes lose their ends, which no path of a module has.
fn code(text: &str) -> String {
    let line = |line: &'_ str| line.split("//").next().unwrap_or_default().to_string();
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// The paths that follow every occurrence of `prefix`, braces of one level opened: two segments each.
fn paths(code: &str, prefix: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        let rest = &code[at + prefix.len()..];
        let starts: Vec<&str> = match rest.strip_prefix('{') {
            None => vec![rest],
            Some(inside) => {
                let (mut depth, mut starts, mut begin) = (0, Vec::new(), true);
                for (at, c) in inside.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => begin = true,
                        c if begin && !c.is_whitespace() => {
                            starts.push(&inside[at..]);
                            begin = false;
                        }
                        _ => {}
                    }
                }
                starts
            }
        };
        let word = |text: &str| {
            let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
            text[..end.unwrap_or(text.len())].to_string()
        };
        for start in starts {
            let mut path = vec![word(start)];
            if let Some(next) = start[path[0].len()..].strip_prefix("::") {
                path.push(word(next));
            }
            found.push(path);
        }
    }
    found
}

/// Every import of one file that goes the wrong way.
fn wrong(path: &Path, kernels: &BTreeSet<String>, found: &mut BTreeSet<String>) {
    let name = path.display().to_string();
    let mut parts = name.split('/').skip(1).map(|part| part.trim_end_matches(".rs"));
    let (room, folder) = (parts.next().unwrap_or_default(), parts.next());
    let own = rank(room).unwrap_or_else(|| panic!("{name} is in no room"));
    let mut code = code(&fs::read_to_string(path).expect("a file"));
    if room == "format" || room == "tensor" {
        code.truncate(code.find("#[cfg(test)]\nmod test").unwrap_or(code.len()));
    }
    let specification = path.file_name().is_some_and(|file| file == "reference.rs");
    for path in paths(&code, "crate::") {
        let Some(used) = rank(&path[0]) else { continue };
        if used > own || (room == "cpu" && path[0] == "gpu") {
            found.insert(format!("{name}: {}", path[0]));
        }
        let other = path.get(1).filter(|_| path[0] == "kernels");
        if let Some(other) = other.filter(|other| kernels.contains(*other) && Some(other.as_str()) != folder)
            && room == "kernels"
            && folder.is_some_and(|folder| folder != "mod")
            && other != "shared"
        {
            found.insert(format!("{name}: kernels::{other}"));
        }
        if specification && !SPECIFICATION.contains(&path[0].as_str()) {
            found.insert(format!("{name}: {} in a specification", path[0]));
        }
        // Not what kernels share either: the CPU device's kernels may use that.
        if specification && path[0] == "kernels" && path.get(1).map(String::as_str) != folder {
            found.insert(format!("{name}: another folder of kernels in a specification"));
        }
    }
    if room == "kernels" && folder.is_some_and(|folder| folder != "mod") {
        for path in paths(&code, "super::super::") {
            if kernels.contains(&path[0]) && path[0] != "shared" && Some(path[0].as_str()) != folder {
                found.insert(format!("{name}: kernels::{}", path[0]));
            }
        }
    }
    if specification
        && ["cpu", "gpu", "cases"]
            .iter()
            .any(|file| code.contains(&format!("super::{file}")))
    {
        found.insert(format!("{name}: a sibling in a specification"));
    }
}

#[test]
fn imports_follow_the_rooms() {
    let mut files = Vec::new();
    rust_files(Path::new("src"), &mut files);
    assert!(files.len() > 50, "the sources are not here");
    let folders = fs::read_dir("src/kernels").expect("the kernels");
    let kernels: BTreeSet<_> = folders
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_dir())
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_string()))
        .collect();
    let mut found = BTreeSet::new();
    for path in &files {
        wrong(path, &kernels, &mut found);
    }
    let known: BTreeSet<_> = EXCEPTIONS.iter().map(|line| (*line).to_string()).collect();
    let fresh: Vec<_> = found.difference(&known).collect();
    assert!(
        fresh.is_empty(),
        "imports against the order of the rooms: {fresh:#?}"
    );
    let gone: Vec<_> = known.difference(&found).collect();
    assert!(
        gone.is_empty(),
        "these exceptions are gone: strike them: {gone:#?}"
    );
}

/// What is longer than a person reads at once is two things.
#[test]
fn files_end_before_500_lines() {
    let mut files = Vec::new();
    for folder in ["src", "tests", "cli", "examples", "benches"] {
        rust_files(Path::new(folder), &mut files);
    }
    files.retain(|path| !path.components().any(|part| part.as_os_str() == "target"));
    assert!(files.len() > 100, "the sources are not here");
    let lines = |path: &PathBuf| fs::read_to_string(path).expect("a file").lines().count();
    let long: Vec<_> = files.iter().filter(|path| lines(path) > 500).collect();
    assert!(long.is_empty(), "files of more than 500 lines: {long:?}");
}
