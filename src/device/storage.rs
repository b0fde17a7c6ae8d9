//! Memory of tensors: host buffers, and pooled GPU buffers with the batch of commands that uses them.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::error::{Error, Result};
use crate::gpu::{Gpu, Offsets, Operand, Plan, PlanRequest, ReadBack};
use crate::op::Op;
use crate::tensor::HostBuffer;

/// Bytes of unused buffers that the pool keeps unless it is told otherwise.
pub(crate) const POOL_CAP: u64 = 512 << 20;
/// Plans kept; far more than a model has, so that a loop over ever new shapes cannot grow without end.
const PLAN_CAP: usize = 4096;

/// The memory of one part of a tensor.
#[derive(Debug)]
pub(crate) enum Storage {
    Host(HostBuffer),
    Gpu(GpuBuffer),
}

/// A piece of a buffer: of a pooled one, which goes back to its pool when dropped, or of a caller's.
#[derive(Debug)]
pub(crate) struct GpuBuffer {
    pub(crate) raw: wgpu::Buffer,
    /// Where the piece starts, in bytes: 0 in pooled buffers.
    pub(crate) offset: u64,
    pub(crate) words: u64,
    /// A caller's buffer has none.
    pool: Option<Weak<Mutex<Pool>>>,
}

impl GpuBuffer {
    /// A piece of a caller's buffer.
    pub(super) fn borrowed(piece: Operand<'_>, words: u64) -> Self {
        Self {
            raw: piece.buffer.clone(),
            offset: piece.offset,
            words,
            pool: None,
        }
    }

    pub(super) fn is_borrowed(&self) -> bool {
        self.pool.is_none()
    }

    /// The first `words` words as an operand.
    pub(super) fn operand(&self, words: u64) -> Operand<'_> {
        Operand::new(&self.raw, self.offset, words * 4)
    }
}

/// What kernels may assume of where these operands start: loads of four words at once need the last ones too.
pub(super) fn offsets_of(operands: &[Operand<'_>]) -> Offsets {
    let vec4 = |operand: &Operand<'_>| {
        let end = (operand.offset + operand.bytes).next_multiple_of(16);
        operand.offset.is_multiple_of(16) && end <= operand.buffer.size()
    };
    match operands.iter().all(vec4) {
        true => Offsets::Vec4,
        false => Offsets::Any,
    }
}

impl Drop for GpuBuffer {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.as_ref().and_then(Weak::upgrade) {
            let mut pool = lock(&pool);
            let size = self.raw.size();
            if pool.bytes + size <= pool.cap {
                pool.bytes += size;
                pool.free.entry(size).or_default().push(self.raw.clone());
            }
        }
    }
}

#[derive(Debug)]
struct Pool {
    free: HashMap<u64, Vec<wgpu::Buffer>>,
    bytes: u64,
    cap: u64,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            free: HashMap::new(),
            bytes: 0,
            cap: POOL_CAP,
        }
    }
}

impl Pool {
    /// Drops buffers, the largest first, until at most `bytes` are kept.
    fn shrink(&mut self, bytes: u64) {
        while self.bytes > bytes {
            let Some(&size) = self.free.keys().max() else {
                break;
            };
            if self.free.get_mut(&size).and_then(Vec::pop).is_some() {
                self.bytes -= size;
            }
            if self.free.get(&size).is_none_or(Vec::is_empty) {
                self.free.remove(&size);
            }
        }
    }
}

/// Commands recorded and not yet submitted.
#[derive(Default)]
pub(crate) struct Batch {
    encoder: Option<wgpu::CommandEncoder>,
    work: u64,
}

/// What plans depend on beside the operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct MadeFor {
    work_cap: u64,
    turn_cap: u64,
    group_cap: u64,
    tuning: u64,
}

/// The plans made so far; all are made anew when what they were made for changes.
#[derive(Debug, Default)]
struct Plans {
    made_for: MadeFor,
    /// For operands that start on 16 bytes, and for others.
    by_op: [HashMap<Box<dyn Op>, Plan>; 2],
}

/// A GPU device's state: the GPU, its pool, its batch, its plans.
pub(crate) struct GpuState {
    pub(crate) gpu: Gpu,
    pool: Arc<Mutex<Pool>>,
    batch: Mutex<Batch>,
    plans: Mutex<Plans>,
    /// Whether a case without a tuned variant is tuned at its first run.
    pub(crate) lazy_tuning: AtomicBool,
}

impl std::fmt::Debug for GpuState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.gpu.fmt(f)
    }
}

/// Refuses a buffer that its maker has not given a usage: wgpu would find out when all that is pending is lost.
pub(super) fn needs(
    buffer: &wgpu::Buffer,
    usage: wgpu::BufferUsages,
    op: &'static str,
    name: &'static str,
) -> Result<()> {
    match buffer.usage().contains(usage) {
        true => Ok(()),
        false => Err(Error::Usage {
            op,
            operand: "tensor",
            usage: name,
        }),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sizes of which the pool keeps buffers: four steps per power of two, so that at most a fifth is waste and
/// nearby sizes share.
fn size_class(bytes: u64) -> u64 {
    let bytes = bytes.max(256);
    let step = 1u64 << bytes.ilog2().saturating_sub(2);
    bytes.next_multiple_of(step.max(16))
}

impl GpuState {
    pub(crate) fn new(gpu: Gpu) -> Self {
        Self {
            gpu,
            pool: Arc::default(),
            batch: Mutex::default(),
            plans: Mutex::default(),
            lazy_tuning: AtomicBool::new(false),
        }
    }

    /// A buffer of at least `words` words. Its contents are whatever its last user left, unless `zeroed`.
    pub(crate) fn allocate(&self, words: u64, zeroed: bool) -> Result<GpuBuffer> {
        // What wraps is past every device's limit, and refused as such below.
        let bytes = words.saturating_mul(4);
        let limit = self.gpu.limits().max_buffer_size;
        if bytes > limit {
            return Err(Error::Limit {
                op: "buffer",
                what: "bytes in one buffer",
                value: bytes,
                limit,
            });
        }
        let class = size_class(bytes).min(limit);
        let pooled = {
            let mut pool = lock(&self.pool);
            let found = pool.free.get_mut(&class).and_then(Vec::pop);
            if found.is_some() {
                pool.bytes -= class;
            }
            found
        };
        let raw = match pooled {
            Some(buffer) => {
                if zeroed {
                    self.record(0, |encoder| {
                        encoder.clear_buffer(&buffer, 0, None);
                        Ok(())
                    })?;
                }
                buffer
            }
            None => self.gpu.buffer("tensor", class)?,
        };
        Ok(GpuBuffer {
            raw,
            offset: 0,
            words,
            pool: Some(Arc::downgrade(&self.pool)),
        })
    }

    /// A buffer that holds `words`.
    pub(crate) fn upload(&self, words: &[u32]) -> Result<GpuBuffer> {
        let buffer = self.allocate(words.len() as u64, false)?;
        self.write(&buffer, words)?;
        Ok(buffer)
    }

    /// Overwrites a buffer's first words. What was recorded before is submitted first: a queue write would
    /// otherwise land ahead of commands that still expect the old contents.
    pub(crate) fn write(&self, buffer: &GpuBuffer, words: &[u32]) -> Result<()> {
        if words.is_empty() {
            return Ok(());
        }
        needs(&buffer.raw, wgpu::BufferUsages::COPY_DST, "upload", "COPY_DST")?;
        self.flush()?;
        self.gpu.check_lost("upload")?;
        self.gpu.scoped("upload", words.len() as u64 * 4, || {
            self.gpu
                .queue()
                .write_buffer(&buffer.raw, buffer.offset, bytemuck::cast_slice(words));
        })
    }

    /// A buffer of its own with the same words.
    pub(super) fn duplicate(&self, buffer: &GpuBuffer) -> Result<GpuBuffer> {
        needs(&buffer.raw, wgpu::BufferUsages::COPY_SRC, "copy", "COPY_SRC")?;
        let copy = self.allocate(buffer.words, false)?;
        if buffer.words > 0 {
            self.record(buffer.words, |encoder| {
                let bytes = buffer.words * 4;
                encoder.copy_buffer_to_buffer(&buffer.raw, buffer.offset, &copy.raw, 0, bytes);
                Ok(())
            })?;
        }
        Ok(copy)
    }

    /// Records into the batch; submits it when the work recorded passes the cap.
    pub(crate) fn record<T>(
        &self,
        work: u64,
        body: impl FnOnce(&mut wgpu::CommandEncoder) -> Result<T>,
    ) -> Result<T> {
        self.gpu.check_lost("record")?;
        let mut batch = lock(&self.batch);
        if batch.work > 0 && batch.work.saturating_add(work) > self.gpu.work_cap() {
            self.submit(&mut batch)?;
        }
        let encoder = batch
            .encoder
            .get_or_insert_with(|| self.gpu.encoder("fewbit batch"));
        let value = body(encoder)?;
        batch.work = batch.work.saturating_add(work);
        Ok(value)
    }

    pub(crate) fn flush(&self) -> Result<()> {
        self.submit(&mut lock(&self.batch))
    }

    fn submit(&self, batch: &mut Batch) -> Result<()> {
        batch.work = 0;
        match batch.encoder.take() {
            Some(encoder) => self.gpu.submit("batch", encoder),
            None => Ok(()),
        }
    }

    /// Records a copy of the first `words` words for the host and submits everything.
    pub(crate) fn read_back(&self, buffer: &GpuBuffer, words: u64) -> Result<ReadBack> {
        let back = self.record(0, |encoder| {
            ReadBack::record(&self.gpu, encoder, &buffer.raw, buffer.offset, words)
        })?;
        self.flush()?;
        Ok(back)
    }

    /// The plan of an operation over operands that start at such offsets, made once.
    pub(crate) fn plan(&self, op: &dyn Op, offsets: Offsets) -> Result<Plan> {
        let kept = usize::from(offsets.any());
        // A plan is a function of the operation, of the caps, and of what is tuned.
        let made_for = MadeFor {
            work_cap: self.gpu.work_cap(),
            turn_cap: self.gpu.turn_cap(),
            group_cap: self.gpu.group_cap(),
            tuning: self.gpu.tuning_generation(),
        };
        let mut plans = lock(&self.plans);
        if plans.made_for != made_for {
            plans.made_for = made_for;
            plans.by_op = Default::default();
        }
        if let Some(plan) = plans.by_op[kept].get(op) {
            return Ok(plan.clone());
        }
        drop(plans);
        let plan = op.plan(&self.gpu, &PlanRequest::default().offsets(offsets))?;
        let mut plans = lock(&self.plans);
        let by_op = &mut plans.by_op[kept];
        if by_op.len() >= PLAN_CAP {
            by_op.clear();
        }
        if plans.made_for == made_for {
            plans.by_op[kept].insert(op.boxed(), plan.clone());
        }
        Ok(plan)
    }

    pub(crate) fn trim(&self) {
        lock(&self.pool).shrink(0);
    }

    pub(crate) fn pooled(&self) -> u64 {
        lock(&self.pool).bytes
    }

    pub(crate) fn set_pool_cap(&self, bytes: u64) {
        let mut pool = lock(&self.pool);
        pool.cap = bytes;
        pool.shrink(bytes);
    }
}
