//! What an operation takes: the operands of its signature, and the pieces of buffers that stand for them.

/// One operand of an operation, as its signature lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OperandSpec {
    /// The field's name: `a`, `b`, `c`, `row_ptr`.
    pub name: &'static str,
    /// What the operation does to it.
    pub access: Access,
    /// `u32` words that its layout spans; the operand may be longer.
    pub words: u64,
}

/// What an operation does to an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Only read.
    Read,
    /// Written without being read. Words of padding inside it keep what they held.
    Write,
    /// Read and written in place.
    Update,
}

impl OperandSpec {
    /// An operand that is only read.
    #[must_use]
    pub fn read(name: &'static str, words: u64) -> Self {
        Self {
            name,
            access: Access::Read,
            words,
        }
    }

    /// An operand that is only written.
    #[must_use]
    pub fn write(name: &'static str, words: u64) -> Self {
        Self {
            name,
            access: Access::Write,
            words,
        }
    }

    /// An operand that is updated in place.
    #[must_use]
    pub fn update(name: &'static str, words: u64) -> Self {
        Self {
            name,
            access: Access::Update,
            words,
        }
    }

    /// Whether the operation writes it.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.access != Access::Read
    }
}

/// A piece of a buffer that stands for an operand: any byte offset that is a multiple of 4.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    /// The buffer, created with usage `STORAGE`.
    pub buffer: &'a wgpu::Buffer,
    /// Where the operand starts, in bytes.
    pub offset: u64,
    /// How many bytes belong to it.
    pub bytes: u64,
}

impl<'a> Operand<'a> {
    /// All of `buffer`.
    #[must_use]
    pub fn whole(buffer: &'a wgpu::Buffer) -> Self {
        Self {
            buffer,
            offset: 0,
            bytes: buffer.size(),
        }
    }

    /// `bytes` bytes of `buffer` from `offset` on.
    #[must_use]
    pub fn new(buffer: &'a wgpu::Buffer, offset: u64, bytes: u64) -> Self {
        Self {
            buffer,
            offset,
            bytes,
        }
    }
}
