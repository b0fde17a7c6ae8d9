//! What is known of a permutation once the driver has compiled it.

use std::collections::HashMap;

use fewbit::gpu::Permutation;
use serde::{Deserialize, Serialize};

use crate::driver::Compiled;
use crate::isa::Program;
use crate::loops::{self, Cost, Loop};

/// A permutation that was compiled.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Row {
    /// The operation in `kernels::ALL` whose permutation it is, the first of several.
    pub kernel: String,
    /// Its shader, constants, entry point and slots: see [`name`].
    pub permutation: String,
    /// Lanes of a wave.
    pub lanes: u32,
    /// Invocations of a workgroup.
    pub group: u32,
    pub vgprs: u32,
    pub sgprs: u32,
    /// Registers of both kinds that went to memory.
    pub spills: u32,
    /// Bytes of scratch memory a lane.
    pub scratch: u32,
    /// Bytes of workgroup memory.
    pub lds: u32,
    /// Waves that fit on one SIMD, as the driver counts them.
    pub waves: u32,
    /// Bytes of code.
    pub bytes: u32,
    /// Seconds that the driver's compiler took, of processor time.
    pub seconds: f64,
    /// The whole program, every instruction once; nothing where its text could not be read.
    pub program: Option<Cost>,
    pub loops: Vec<Loop>,
    /// The text, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// Permutations that no run compiles, and those that failed: what, and why.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Without {
    pub kernel: String,
    pub permutation: String,
    pub why: String,
}

impl Row {
    /// The loops that nothing stands in, those that cost most.
    pub fn hot(&self) -> impl Iterator<Item = &Loop> {
        self.loops.iter().filter(|each| each.innermost)
    }

    /// The innermost loop with the most multiply-adds; without any, with the most instructions.
    pub fn hottest(&self) -> Option<&Loop> {
        self.hot()
            .max_by_key(|each| (each.cost.multiply_adds, each.cost.instructions))
    }
}

/// The name of a permutation that no other has: its label, and what a label leaves out.
pub fn name(permutation: &Permutation) -> String {
    let mut name = permutation.label();
    if permutation.entry != "main" {
        name.push_str(&format!(" entry={}", permutation.entry));
    }
    for (slot, path) in &permutation.slots {
        name.push_str(&format!(" {slot}={}", path.strip_suffix(".wgsl").unwrap_or(path)));
    }
    if permutation.spirv_module().is_some() {
        name.push_str(" spirv");
    }
    name
}

/// The row of what the driver answered.
pub fn row(
    kernel: &str,
    permutation: &str,
    group: u32,
    generation: u32,
    compiled: &Compiled,
    seconds: f64,
) -> Row {
    let known: HashMap<&str, u64> = compiled
        .statistics
        .iter()
        .map(|(name, value)| (name.as_str(), *value))
        .collect();
    let get = |name: &str| known.get(name).copied().unwrap_or_default() as u32;
    let program = Program::read(&compiled.assembly, generation);
    let readable = program.instructions.iter().any(|each| each.name == "s_endpgm");
    Row {
        kernel: kernel.to_string(),
        permutation: permutation.to_string(),
        lanes: compiled.lanes,
        group,
        vgprs: get("VGPRs"),
        sgprs: get("SGPRs"),
        spills: get("Spilled VGPRs") + get("Spilled SGPRs"),
        scratch: get("Scratch size"),
        lds: get("LDS size"),
        waves: get("Subgroups per SIMD"),
        bytes: get("Code size"),
        seconds,
        program: readable.then(|| Cost::of(&program.instructions)),
        loops: if readable {
            loops::find(&program)
        } else {
            Vec::new()
        },
        code: None,
    }
}
