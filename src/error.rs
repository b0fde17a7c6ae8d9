//! The one error type: every variant names the operation, the offending value and the limit it broke.

use crate::format::DType;

/// What every fallible function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong. Nothing is lost when an error is returned: operands keep their contents
/// unless the variant says otherwise.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two operands disagree about a dimension.
    #[error("{op}: {dimension} is {left} in {left_name} but {right} in {right_name}")]
    Dimension {
        /// The operation.
        op: &'static str,
        /// The dimension's name, such as `K`.
        dimension: &'static str,
        /// The first operand's name.
        left_name: &'static str,
        /// Its extent.
        left: u64,
        /// The second operand's name.
        right_name: &'static str,
        /// Its extent.
        right: u64,
    },
    /// A shape of another rank, or with other extents, than the operation takes.
    #[error("{op}: {operand} has shape {got:?}, expected {expected}")]
    Shape {
        /// The operation.
        op: &'static str,
        /// The operand's name.
        operand: &'static str,
        /// What the operation takes, in words.
        expected: String,
        /// The shape given.
        got: Vec<usize>,
    },
    /// A data type the operation does not take there.
    #[error("{op}: {operand} is {got}, expected {expected}")]
    DType {
        /// The operation.
        op: &'static str,
        /// The operand's name.
        operand: &'static str,
        /// The types it takes, in words.
        expected: &'static str,
        /// The type given.
        got: DType,
    },
    /// A kernel that this device's compiler refuses.
    #[error("compile {kernel}: {message}")]
    Compile {
        /// The kernel and its constants.
        kernel: String,
        /// What the compiler says.
        message: String,
    },
    /// A size past a limit of the device or of the operation.
    #[error("{op}: {what} is {value}, the limit is {limit}")]
    Limit {
        /// The operation.
        op: &'static str,
        /// What is too large.
        what: &'static str,
        /// Its value.
        value: u64,
        /// The largest value allowed.
        limit: u64,
    },
    /// A scalar, index or option outside what the operation takes.
    #[error("{op}: {what} is {value}, expected {expected}")]
    Value {
        /// The operation.
        op: &'static str,
        /// Which value.
        what: &'static str,
        /// The value given, printed.
        value: String,
        /// What is allowed, in words.
        expected: &'static str,
    },
    /// A dispatch names what its shader does not have, or leaves out what it has: a fault of the operation's code.
    #[error("{op}: {kernel}: {name} {problem}")]
    Parameter {
        /// The operation.
        op: &'static str,
        /// The kernel and its constants.
        kernel: String,
        /// The parameter, binding or operand.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An operand's memory is smaller than its layout needs.
    #[error("{op}: {operand} holds {got} bytes, its layout needs {needed}")]
    TooSmall {
        /// The operation.
        op: &'static str,
        /// The operand's name.
        operand: &'static str,
        /// Bytes its layout spans.
        needed: u64,
        /// Bytes given.
        got: u64,
    },
    /// An operand's byte offset or leading dimension is not the multiple the plan was made for.
    #[error("{op}: {what} of {operand} is {value}, expected a multiple of {multiple}")]
    Alignment {
        /// The operation.
        op: &'static str,
        /// The operand's name.
        operand: &'static str,
        /// `byte offset` or `leading dimension`.
        what: &'static str,
        /// The value given.
        value: u64,
        /// What it must be a multiple of.
        multiple: u64,
    },
    /// One buffer stands behind an output and another operand of the same plan.
    #[error("{op}: {first} and {second} share one buffer and one of them is written")]
    Aliased {
        /// The operation.
        op: &'static str,
        /// The first operand's name.
        first: &'static str,
        /// The second operand's name.
        second: &'static str,
    },
    /// Another number of operands than the operation has.
    #[error("{op}: {got} operands given, expected {expected}")]
    Operands {
        /// The operation.
        op: &'static str,
        /// How many it has.
        expected: usize,
        /// How many were given.
        got: usize,
    },
    /// A buffer was created without a usage that the operation needs.
    #[error("{op}: the buffer behind {operand} lacks usage {usage}")]
    Usage {
        /// The operation.
        op: &'static str,
        /// The operand's name.
        operand: &'static str,
        /// The missing usage, such as `STORAGE`.
        usage: &'static str,
    },
    /// The operation, in this form, does not exist on this device.
    #[error("{op}: {what} is not supported on {device}")]
    Unsupported {
        /// The operation.
        op: &'static str,
        /// What is not supported.
        what: String,
        /// The device, in words.
        device: &'static str,
    },
    /// Tensors of different devices met in one call.
    #[error("{op}: {operand} lives on another device")]
    OtherDevice {
        /// The operation.
        op: &'static str,
        /// The operand's name.
        operand: &'static str,
    },
    /// No usable GPU adapter.
    #[error("no GPU adapter: {reason}")]
    NoAdapter {
        /// Why: no back end compiled in, none found, none of that name.
        reason: String,
    },
    /// The adapter refused to open a device.
    #[error("adapter {adapter:?} opened no device: {reason}")]
    NoDevice {
        /// The adapter's name.
        adapter: String,
        /// wgpu's words.
        reason: String,
    },
    /// The GPU device is gone (reset, unplugged, destroyed, or a watchdog struck). Its buffers are lost;
    /// open a new one and upload again.
    #[error("{op}: the GPU device was lost: {reason}")]
    DeviceLost {
        /// The operation that found out.
        op: &'static str,
        /// The driver's words.
        reason: String,
    },
    /// Memory ran out on the device or the host; nothing was allocated.
    #[error("{op}: out of memory allocating {bytes} bytes")]
    OutOfMemory {
        /// The operation.
        op: &'static str,
        /// The size of the allocation that failed.
        bytes: u64,
    },
    /// wgpu or the driver reported an error that our own checks did not foresee.
    #[error("{op}: GPU error: {message}")]
    Gpu {
        /// The operation.
        op: &'static str,
        /// wgpu's message.
        message: String,
    },
    /// [`Device::checked`](crate::device::Device::checked) found a result outside the operation's class.
    #[error("{op}: {device} is outside its class: {detail}")]
    Wrong {
        /// The operation.
        op: &'static str,
        /// The device whose result is wrong.
        device: String,
        /// Worst index, expected, got, bound.
        detail: String,
    },
    /// A training whose loss, or whose network's outputs, are no finite numbers any more.
    #[error("{op}: {recipe} diverged: {what} is {value} in epoch {epoch}, step {step}")]
    Diverged {
        /// The operation.
        op: &'static str,
        /// The recipe's name.
        recipe: String,
        /// What is not finite.
        what: &'static str,
        /// Its value, printed.
        value: String,
        /// The epoch, from 1.
        epoch: usize,
        /// The step in it, from 1, after which this was found.
        step: usize,
    },
    /// A number format's parameters are outside what the format defines.
    #[error("{0}")]
    Format(#[from] crate::format::FormatError),
    /// A name that no format has.
    #[error(transparent)]
    FormatName(#[from] crate::format::ParseFormatError),
    /// A CPU instruction-set level that this machine does not have.
    #[error("{0}")]
    Cpu(#[source] CpuError),
}

impl From<CpuError> for Error {
    fn from(error: CpuError) -> Self {
        match error {
            CpuError::OutOfMemory { bytes } => Self::OutOfMemory { op: "cpu", bytes },
            other => Self::Cpu(other),
        }
    }
}

/// What a CPU kernel, or the choice of a CPU device, refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CpuError {
    /// The machine, or the target this was compiled for, lacks the level's instructions.
    #[error("this machine has no {0} instructions")]
    LevelUnavailable(&'static str),
    /// The operating system refused to start the threads.
    #[error("cannot start {threads} threads: {reason}")]
    Threads {
        /// Threads asked for.
        threads: usize,
        /// What the thread library said.
        reason: String,
    },
    /// A leading dimension is shorter than the rows it separates.
    #[error("{operand}: leading dimension {ld} is less than the row length {columns}")]
    LeadingDimension {
        /// Which operand.
        operand: &'static str,
        /// Elements from one row to the next.
        ld: usize,
        /// Elements in a row.
        columns: usize,
    },
    /// A slice is shorter than its shape and leading dimension need.
    #[error("{operand}: {len} elements, but {rows} x {columns} needs {needed}")]
    TooShort {
        /// Which operand.
        operand: &'static str,
        /// Rows as stored.
        rows: usize,
        /// Columns as stored.
        columns: usize,
        /// Elements needed (`usize::MAX` where the product overflows).
        needed: usize,
        /// Elements given.
        len: usize,
    },
    /// Two lengths that must be equal differ.
    #[error("{operand}: {len} elements, expected {expected}")]
    Length {
        /// Which operand.
        operand: &'static str,
        /// Elements expected.
        expected: usize,
        /// Elements given.
        len: usize,
    },
    /// The host has no memory for packed operands; nothing was computed. [`Error`] makes it
    /// [`OutOfMemory`](crate::Error::OutOfMemory).
    #[error("out of memory allocating {bytes} bytes for packed operands")]
    OutOfMemory {
        /// The size of the allocation that failed.
        bytes: u64,
    },
    /// An operand was packed for other products than this one.
    #[error("B was packed as {k} x {n} at level {level} for a left operand of {left}")]
    Packed {
        /// Rows packed.
        k: usize,
        /// Columns packed.
        n: usize,
        /// The level packed for.
        level: &'static str,
        /// What the left operand may be.
        left: &'static str,
    },
}
