//! What a caller asks of a plan, and how work is spread over workgroups and dispatches.

use std::ops::Range;

use super::Gpu;

/// Where operands start in their buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Offsets {
    /// At multiples of 16 bytes, so that kernels may load `vec4<u32>`; the buffers reach to the end of the operand's
    /// last 16 bytes.
    #[default]
    Vec4,
    /// At any multiple of 4 bytes, in buffers that may end with the operand: variants with such loads are left out,
    /// which costs speed.
    Any,
}

impl Offsets {
    /// Whether an operand may start off 16 bytes.
    #[must_use]
    pub const fn any(self) -> bool {
        matches!(self, Self::Any)
    }
}

/// What a caller asks of a plan beside the operation itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PlanRequest {
    /// Take this variant instead of the one that fits the device best (tests and tuners do).
    pub variant: Option<&'static str>,
    /// Where operands will start in their buffers.
    pub offsets: Offsets,
}

impl PlanRequest {
    /// Takes this variant.
    #[must_use]
    pub fn variant(mut self, variant: &'static str) -> Self {
        self.variant = Some(variant);
        self
    }

    /// Operands will start at such offsets.
    #[must_use]
    pub fn offsets(mut self, offsets: Offsets) -> Self {
        self.offsets = offsets;
        self
    }
}

/// Workgroup counts in x and y for `groups` workgroups in a row (see `linear_group` in
/// `shaders/lib/index.wgsl`). Groups past the count exist where the rectangle does not divide evenly: kernels
/// check their index.
#[must_use]
pub fn spread_groups(gpu: &Gpu, groups: u64) -> [u32; 3] {
    let limit = gpu.group_cap();
    if groups <= limit {
        return [groups as u32, 1, 1];
    }
    let rows = groups.div_ceil(limit);
    // A count of rows past the limit is reported by `Plan::new`.
    [
        groups.div_ceil(rows) as u32,
        u32::try_from(rows).unwrap_or(u32::MAX),
        1,
    ]
}

/// Cuts `count` rows into runs whose work stays under the device's cap per dispatch and whose windows of
/// `row_bytes` (the widest operand's bytes per row) stay inside one binding. A single row is never cut.
#[must_use]
pub fn split_rows(
    gpu: &Gpu,
    count: u64,
    work_per_row: u64,
    row_bytes: u64,
    multiple: u64,
) -> Vec<Range<u64>> {
    // A window may start up to one alignment before its first word.
    let binding = gpu
        .limits()
        .max_storage_buffer_binding_size
        .saturating_sub(512)
        .max(1);
    let by_work = gpu.work_cap() / work_per_row.max(1);
    let by_bytes = binding / row_bytes.max(1);
    let rows = by_work.min(by_bytes).max(1);
    let rows = if rows >= multiple {
        rows / multiple * multiple
    } else {
        rows
    };
    (0..count.div_ceil(rows))
        .map(|i| i * rows..((i + 1) * rows).min(count))
        .collect()
}
