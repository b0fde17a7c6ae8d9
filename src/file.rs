//! The one writer of files. What lies at a path is replaced whole or not at all; links are followed, and what is
//! no regular file (a device node, a FIFO) is written to, never replaced.
//!
//! Errors are the system's; whoever calls knows the path and names it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Error, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Links followed before a path counts as a loop, as Linux does.
const MOST_LINKS: usize = 40;
/// Names tried for a temporary file; others than the first are needed only where another machine or container
/// shares the folder and has a process of this number.
const MOST_NAMES: usize = 1000;

/// Writes a file: the old one stays until the new one is complete and on the disk.
///
/// # Errors
/// The path names a folder, or something cannot be opened, written, synced or renamed. A regular file is then as
/// it was, and nothing is left beside it.
pub fn write(path: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
    write_with(path, |writer| writer.write_all(bytes))
}

/// [`write()`] with what `fill` writes.
///
/// # Errors
/// See [`write()`]; and whatever `fill` finds.
pub fn write_with<E: From<Error>>(
    path: impl AsRef<Path>,
    fill: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<(), E> {
    let mut writer = match place(path.as_ref())? {
        Place::Stream(path) => {
            let mut stream = io::BufWriter::new(OpenOptions::new().append(true).open(path)?);
            fill(&mut stream)?;
            return Ok(stream.flush()?);
        }
        Place::Regular(path) => Replacement::new(path)?,
    };
    {
        let mut buffered = io::BufWriter::new(&mut writer.file);
        fill(&mut buffered)?;
        buffered.flush()?;
    }
    Ok(writer.finish()?)
}

/// Finds out whether [`write()`] could write here, and changes nothing: for long work whose result is to be kept.
///
/// # Errors
/// See [`write()`].
pub fn probe(path: impl AsRef<Path>) -> io::Result<()> {
    match place(path.as_ref())? {
        // To open a FIFO is to wait for its reader.
        Place::Stream(_) => Ok(()),
        Place::Regular(path) => Replacement::new(path).map(drop),
    }
}

/// Reads a regular file: a FIFO, which might never end or never begin, is refused.
///
/// # Errors
/// There is none, it cannot be read, or it is something else.
pub fn read_regular(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let path = path.as_ref();
    only_regular(path)?;
    fs::read(path)
}

/// Refuses what is there and is no regular file.
///
/// # Errors
/// It is something else, or there is nothing.
pub fn only_regular(path: impl AsRef<Path>) -> io::Result<()> {
    match fs::metadata(path)?.is_file() {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::InvalidInput, "this is no regular file")),
    }
}

/// What a path leads to.
enum Place {
    /// A regular file, or nothing yet. The path is no link.
    Regular(PathBuf),
    /// Something that is written to as it stands.
    Stream(PathBuf),
}

fn place(path: &Path) -> io::Result<Place> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            let message = "this is a folder, not a file";
            Err(Error::new(ErrorKind::IsADirectory, message))
        }
        Ok(found) if !found.is_file() => Ok(Place::Stream(path.to_path_buf())),
        Ok(_) => Ok(Place::Regular(fs::canonicalize(path)?)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Place::Regular(end_of_links(path)?)),
        Err(error) => Err(error),
    }
}

/// Where links that lead to nothing lead: the file is made there.
fn end_of_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&path) {
            Ok(link) => path = path.parent().map(|folder| folder.join(&link)).unwrap_or(link),
            // No link, or nothing there.
            Err(_) if path.file_name().is_some() => return Ok(path),
            Err(_) => return Err(Error::new(ErrorKind::InvalidInput, "this names no file")),
        }
    }
    Err(Error::other("too many links"))
}

/// A file that takes a place once it is complete; until then it has a name of its own beside it.
struct Replacement {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    /// The file has taken its place.
    done: bool,
}

impl Replacement {
    fn new(path: PathBuf) -> io::Result<Self> {
        let old = match OpenOptions::new().write(true).open(&path) {
            Ok(file) => Some(file.metadata()?),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            // Renaming asks the folder alone: what the owner has locked is left alone all the same.
            Err(error) => return Err(error),
        };
        let (file, temporary) = create_beside(&path)?;
        let replacement = Self {
            file,
            temporary,
            path,
            done: false,
        };
        if let Some(old) = old {
            replacement.resemble(&old)?;
        }
        Ok(replacement)
    }

    /// Gives the new file the old one's owner, where that is allowed, and its permissions.
    fn resemble(&self, old: &fs::Metadata) -> io::Result<()> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::{MetadataExt as _, fchown};
            // Only root may give files away: anybody else's new file stays their own.
            let _ = fchown(&self.file, Some(old.uid()), Some(old.gid()));
        }
        // After the owner: a change of that takes bits away.
        self.file.set_permissions(old.permissions())
    }

    fn finish(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.temporary, &self.path)?;
        self.done = true;
        // The new name is on the disk once the folder is. Not every system opens folders.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Ok(folder) = File::open(folder.unwrap_or(Path::new("."))) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.done {
            // Best effort: the error that matters is the one that led here.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// A new file in the folder of `path`, under a name of this process, thread and call. The name does not grow with
/// the file's, which may be as long as names can be.
fn create_beside(path: &Path) -> io::Result<(File, PathBuf)> {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    for _ in 0..MOST_NAMES {
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        // The count is the whole process's, so no two threads share one.
        let temporary = path.with_file_name(format!(".fewbit-{}-{call}.tmp", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            Ok(file) => return Ok((file, temporary)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::new(
        ErrorKind::AlreadyExists,
        "too many unfinished files (.fewbit-*.tmp) lie beside it",
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("fewbit-file-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let folder = folder("whole");
        let path = folder.join("a");
        write(&path, b"old").unwrap();
        let failed = write_with(&path, |writer| {
            writer.write_all(b"half")?;
            Err(Error::other("no more"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "no more");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        probe(&path).unwrap();
        probe(folder.join("b")).unwrap();
        assert_eq!(names(&folder), ["a"], "a probe leaves nothing, a failure neither");
        for bad in [folder.clone(), folder.join("none/a"), path.join("a")] {
            probe(&bad).unwrap_err();
            write(&bad, b"x").unwrap_err();
        }
        // As long as names get.
        let long = folder.join("n".repeat(255));
        write(&long, b"x").unwrap();
        assert_eq!(fs::read(&long).unwrap(), b"x");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn writers_of_one_file_do_not_mix() {
        let folder = folder("mix");
        let path = folder.join("a");
        let texts: Vec<Vec<u8>> = (0..8u8)
            .map(|i| vec![b'a' + i; 100_000 + usize::from(i)])
            .collect();
        std::thread::scope(|scope| {
            for text in &texts {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..10 {
                        write(path, text).unwrap();
                        let seen = fs::read(path).unwrap();
                        assert!(seen.len() >= 100_000 && seen.iter().all(|byte| *byte == seen[0]));
                    }
                });
            }
        });
        assert!(texts.contains(&fs::read(&path).unwrap()));
        assert_eq!(names(&folder), ["a"]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_permissions_kept() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let folder = folder("links");
        fs::create_dir(folder.join("there")).unwrap();
        let real = folder.join("there/real");
        fs::write(&real, b"old").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("there/real", folder.join("link")).unwrap();
        write(folder.join("link"), b"new").unwrap();
        assert!(folder.join("link").is_symlink());
        assert_eq!(fs::read(&real).unwrap(), b"new");
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
        // A link to what is not there yet.
        symlink("there/later", folder.join("dangling")).unwrap();
        write(folder.join("dangling"), b"made").unwrap();
        assert_eq!(fs::read(folder.join("there/later")).unwrap(), b"made");
        symlink("round", folder.join("round")).unwrap();
        write(folder.join("round"), b"x").unwrap_err();
        assert_eq!(names(&folder.join("there")), ["later", "real"]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_written_to_and_stays() {
        use std::os::unix::fs::FileTypeExt as _;
        let folder = folder("stream");
        let pipe = folder.join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        probe(&pipe).unwrap();
        read_regular(&pipe).unwrap_err();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| fs::read(&pipe).unwrap());
            write(&pipe, b"through").unwrap();
            assert_eq!(reader.join().unwrap(), b"through");
        });
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
        write("/dev/null", b"gone").unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        assert_eq!(names(&folder), ["pipe"]);
        fs::remove_dir_all(folder).unwrap();
    }
}
