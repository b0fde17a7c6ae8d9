//! One process at a time in a folder of --out.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::Path;

use super::super::Stop;
use super::folder::failed;

/// It stays in the folder: to remove it would let two processes hold locks of two files of that name.
pub(super) const NAME: &str = ".fewbit-lock";

/// The folder is this process's until this is dropped. The system lets go of the lock of a process that ends, however it
/// ends.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "what counts is that it is open")] File);

impl Lock {
    /// # Errors
    /// Another process has it; the file cannot be made.
    pub(super) fn take(folder: &Path) -> Result<Self, Stop> {
        let path = folder.join(NAME);
        let mut options = OpenOptions::new();
        let opened = options.create(true).truncate(false).read(true).write(true);
        let mut file = opened
            .open(&path)
            .map_err(|error| failed(&path, "cannot be made", &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Who it is, if the system lets that be read.
                let _ = file.read_to_string(&mut holder);
                let holder = match holder.trim() {
                    "" => String::new(),
                    number => format!(" (process {number})"),
                };
                return Err(Stop::Input(format!(
                    "{} is in use by another fewbit{holder}: one at a time trains into a folder",
                    folder.display()
                )));
            }
            // Some file systems of networks have no locks.
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(failed(&path, "cannot be locked", &error)),
        }
        // Only the message above needs it: a full disk is told of where it matters.
        let _ = file
            .set_len(0)
            .and_then(|()| file.write_all(std::process::id().to_string().as_bytes()));
        Ok(Self(file))
    }
}
