//! Who holds a part's memory, and who may write it.

use std::ops::Deref;
use std::sync::Arc;

use super::Device;
use super::storage::Storage;
use crate::error::{Error, Result};
use crate::tensor::HostBuffer;

/// One holder of a part's memory. Clones hold the same memory until one of them is written.
///
/// A caller's buffer stays the first holder's: what is written there is meant to land there, and clones get memory of
/// their own instead. Without the difference either a clone's writer would change the caller's buffer, or the first
/// holder would quietly move away from it.
#[derive(Debug)]
pub(crate) struct Memory {
    storage: Arc<Storage>,
    first: bool,
}

impl Clone for Memory {
    fn clone(&self) -> Self {
        Self {
            storage: self.storage.clone(),
            first: false,
        }
    }
}

impl Deref for Memory {
    type Target = Storage;

    fn deref(&self) -> &Storage {
        &self.storage
    }
}

impl From<Storage> for Memory {
    fn from(storage: Storage) -> Self {
        Self {
            storage: Arc::new(storage),
            first: true,
        }
    }
}

impl Memory {
    /// What stands in the place of memory that is lent elsewhere.
    pub(super) fn none() -> Self {
        Self::from(Storage::Host(HostBuffer::default()))
    }

    /// The memory to write on the host, where nobody else holds it.
    pub(super) fn get_mut(&mut self) -> Option<&mut Storage> {
        Arc::get_mut(&mut self.storage)
    }
}

impl Device {
    pub(super) fn allocate(&self, words: u64, zeroed: bool) -> Result<Memory> {
        Ok(Memory::from(match self.gpu_state() {
            Some(state) => Storage::Gpu(state.allocate(words, zeroed)?),
            None => Storage::Host(HostBuffer::zeroed(words)?),
        }))
    }

    /// The same words in memory that nobody else holds.
    pub(super) fn duplicate(&self, memory: &Storage) -> Result<Memory> {
        Ok(Memory::from(match (memory, self.gpu_state()) {
            (Storage::Host(buffer), _) => Storage::Host(buffer.try_clone()?),
            (Storage::Gpu(buffer), Some(state)) => Storage::Gpu(state.duplicate(buffer)?),
            (Storage::Gpu(_), None) => {
                return Err(Error::OtherDevice {
                    op: "copy",
                    operand: "tensor",
                });
            }
        }))
    }

    /// Sees to it that writing `memory` changes no other holder's: by a copy, where one is needed. Says whether the
    /// memory is another now.
    ///
    /// # Errors
    /// [`Error::Aliased`] for a caller's buffer that clones still hold; whatever copying finds.
    pub(super) fn unshare(
        &self,
        op: &'static str,
        operand: &'static str,
        memory: &mut Memory,
    ) -> Result<bool> {
        let borrowed = matches!(&**memory, Storage::Gpu(buffer) if buffer.is_borrowed());
        let alone = memory.get_mut().is_some();
        match (borrowed, memory.first, alone) {
            (true, true, true) | (false, _, true) => Ok(false),
            (true, true, false) => Err(Error::Aliased {
                op,
                first: operand,
                second: "a clone of it",
            }),
            (true, false, _) | (false, _, false) => {
                *memory = self.duplicate(memory)?;
                Ok(true)
            }
        }
    }

    /// Overwrites the first words of memory that nobody else holds.
    pub(super) fn overwrite(&self, memory: &mut Memory, words: &[u32]) -> Result<()> {
        let state = self.gpu_state();
        match (memory.get_mut(), state) {
            (Some(Storage::Host(buffer)), _) => {
                let got = buffer.len() as u64 * 4;
                let target = buffer.words_mut().get_mut(..words.len());
                let target = target.ok_or(Error::TooSmall {
                    op: "write",
                    operand: "tensor",
                    needed: words.len() as u64 * 4,
                    got,
                })?;
                target.copy_from_slice(words);
                Ok(())
            }
            (Some(Storage::Gpu(buffer)), Some(state)) => state.write(buffer, words),
            (Some(Storage::Gpu(_)) | None, _) => Err(Error::OtherDevice {
                op: "write",
                operand: "tensor",
            }),
        }
    }

    /// The first `words` words of a part. On an owned device this drives polling itself; on a borrowed one the caller
    /// polls.
    pub(super) async fn read_memory(&self, memory: &Storage, words: u64) -> Result<HostBuffer> {
        match (memory, self.gpu_state()) {
            (Storage::Host(buffer), _) if buffer.len() as u64 == words => buffer.try_clone(),
            (Storage::Host(buffer), _) => {
                let all = buffer.words();
                HostBuffer::from_words(all.get(..words as usize).unwrap_or(all))
            }
            (Storage::Gpu(buffer), Some(state)) => state.read_back(buffer, words)?.read().await,
            (Storage::Gpu(_), None) => Err(Error::OtherDevice {
                op: "read",
                operand: "tensor",
            }),
        }
    }
}
