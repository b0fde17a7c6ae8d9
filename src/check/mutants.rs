//! What mutants of shaders are tried with: the cases that one shader's text has to do with.

use std::collections::HashMap;

use super::{Case, Expected, Report, labels, run_wanted};
use crate::device::Device;
use crate::error::Result;

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
