//! What mutants of shaders are tried with: faults planted in a shader's text, which the cases must find.

use std::collections::HashMap;

use super::{Case, Expected, Report, labels, run_wanted};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::gpu::{File, REPLACED};

/// Puts `text` into the place of the shader file at `path` (below `shaders/`), in every pipeline that this process
/// makes from now on. For processes that a test starts for one planted fault: it can be done once, before the text of
/// any shader was looked at, and not undone; the text is kept for good.
///
/// # Errors
/// [`Error::Value`] where shaders were looked at before, or a text was replaced already.
pub fn replace_shader(path: &str, text: &str) -> Result<()> {
    let leak = |text: &str| -> &'static str { Box::leak(text.into()) };
    let file = File::new(leak(path), leak(text));
    REPLACED.set(Some(file)).map_err(|_| Error::Value {
        op: "replace_shader",
        what: "shader",
        value: path.to_string(),
        expected: "a call before any other that looks at shaders, once",
    })
}

/// Runs cases on those variants alone that are made of one shader file.
#[derive(Debug)]
pub struct Using {
    path: String,
    /// By operation and variant, whether any of its permutations is made of the file.
    listed: HashMap<(&'static str, &'static str), bool>,
}

impl Using {
    /// For the file at `path`, below `shaders/`.
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self {
            path: path.to_string(),
            listed: HashMap::new(),
        }
    }

    /// [`run`](super::run) on those variants whose plan for this case has a pipeline that is made of the file; on none
    /// where the device is no GPU.
    ///
    /// # Errors
    /// See [`run`](super::run).
    pub fn run(&mut self, device: &Device, case: &Case) -> Result<Vec<Report>> {
        let Some(gpu) = device.as_gpu() else {
            return Ok(Vec::new());
        };
        let mut using = Vec::new();
        for (label, request) in labels(gpu, case) {
            let variant = request.variant.unwrap_or_default();
            // Lists of permutations are cheap beside plans, which compile.
            if self.lists(case, variant) && case.op.plan(gpu, &request)?.uses(&self.path) {
                using.push(label);
            }
        }
        if using.is_empty() {
            return Ok(Vec::new());
        }
        let wanted = |label: &str| using.iter().any(|using| using == label);
        run_wanted(device, case, &Expected::new(case)?, &wanted)
    }

    fn lists(&mut self, case: &Case, variant: &'static str) -> bool {
        let path = self.path.as_str();
        let known = self.listed.entry((case.op.name(), variant));
        *known.or_insert_with(|| {
            let permutations = case.op.table().permutations_of(variant);
            let uses = |paths: Vec<&str>| paths.contains(&path);
            permutations
                .iter()
                .any(|permutation| permutation.paths().is_ok_and(uses))
        })
    }
}
