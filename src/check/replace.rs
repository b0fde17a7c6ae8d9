//! Other text in the place of shaders: faults that the cases must find, or a shader that is being worked on.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Error, Result};
use crate::gpu::{File, LIBRARY, REPLACED};
use crate::kernels;

const OP: &str = "replace_shaders";

/// Text that is kept for good.
fn leak(text: &str) -> &'static str {
    Box::leak(text.into())
}

fn replace(op: &'static str, what: &str, files: Vec<File>) -> Result<()> {
    REPLACED.set(files).map_err(|_| Error::Value {
        op,
        what: "shader",
        value: what.to_string(),
        expected: "a call before any other that looks at shaders, once",
    })
}

/// Puts `text` into the place of the shader file at `path` (below `shaders/`), in every pipeline that this process
/// makes from now on. For processes that a test starts for one planted fault: it can be done once, before the text of
/// any shader was looked at, and not undone; the text is kept for good.
///
/// # Errors
/// [`Error::Value`] where shaders were looked at before, or texts were replaced already.
pub fn replace_shader(path: &str, text: &str) -> Result<()> {
    let file = File::new(leak(path), leak(text));
    replace("replace_shader", path, vec![file])
}

/// The same with every WGSL file below `folder` whose path from there is that of a shader, such as `spmv/vector.wgsl` or
/// `lib/bf16.wgsl`: a shader is worked on without building the crate anew. Returns the paths of those whose text is another
/// than the one compiled in. Files that are no shader's are passed over, with a warning in the log.
///
/// # Errors
/// [`Error::Value`] where no file is a shader's, or where a file cannot be read, or where shaders were
/// looked at before.
pub fn replace_shaders(folder: impl AsRef<Path>) -> Result<Vec<&'static str>> {
    let folder = folder.as_ref();
    let mut found = BTreeMap::new();
    read(folder, "", &mut found)?;
    let permutations = kernels::permutations();
    let own = permutations.iter().flat_map(crate::gpu::Permutation::own_files);
    let known: BTreeMap<_, _> = own
        .chain(LIBRARY.iter().copied())
        .map(|file| (file.path, file.text))
        .collect();
    let (mut files, mut some) = (Vec::new(), false);
    for (path, text) in &found {
        match known.get_key_value(path.as_str()) {
            None => log::warn!("{}: {path} is no shader's file", folder.display()),
            Some((path, own)) => {
                some = true;
                if text != own {
                    files.push(File::new(path, leak(text)));
                }
            }
        }
    }
    if !some {
        return Err(Error::Value {
            op: OP,
            what: "folder",
            value: folder.display().to_string(),
            expected: "one with WGSL files by their paths below shaders/, such as lib/bf16.wgsl",
        });
    }
    let changed = files.iter().map(|file| file.path).collect();
    replace(OP, &folder.display().to_string(), files)?;
    Ok(changed)
}

/// The WGSL files of a folder and of those in it, by their paths with slashes.
fn read(folder: &Path, prefix: &str, found: &mut BTreeMap<String, String>) -> Result<()> {
    let failed = |path: &Path, error: std::io::Error| Error::Value {
        op: OP,
        what: "file or folder",
        value: format!("{} ({error})", path.display()),
        expected: "one that can be read",
    };
    for entry in std::fs::read_dir(folder).map_err(|error| failed(folder, error))? {
        let path = entry.map_err(|error| failed(folder, error))?.path();
        let name = format!(
            "{prefix}{}",
            path.file_name().unwrap_or_default().to_string_lossy()
        );
        if path.is_dir() {
            read(&path, &format!("{name}/"), found)?;
        } else if path.extension().is_some_and(|end| end == "wgsl") {
            let text = std::fs::read_to_string(&path).map_err(|error| failed(&path, error))?;
            found.insert(name, text);
        }
    }
    Ok(())
}
