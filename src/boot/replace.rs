//! Replaces a file in one atomic step: made beside its place under a temporary name, then renamed.

use std::io;
use std::path::{Path, PathBuf};

use crate::host::{Attributes, Files};

/// The temporary name, in the directory of the file that is being replaced; further workers add
/// their number. One left behind by a power cut is replaced by the next run, which finds the same
/// file to write.
const TEMPORARY: &str = ".nanozfs.tmp";

/// Has `make` make something beside `path`, and puts it in the place of `path`. `durable` has its
/// content reach the disk before that. When it fails, `path` is as it was and nothing is beside it.
pub(crate) fn with(
    files: &dyn Files,
    path: &Path,
    durable: bool,
    worker: usize,
    make: impl Fn(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let temporary = temporary(path, worker);
    let make = || {
        make(&temporary)?;
        if durable { files.sync(&temporary) } else { Ok(()) }
    };
    let made = match make() {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
            files.remove_file(&temporary)?;
            make()
        }
        made => made,
    };
    let done = made.and_then(|()| files.rename(&temporary, path));
    if done.is_err() {
        match files.remove_file(&temporary) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => log::warn!("remove {}: {error}", temporary.display()),
        }
    }
    done
}

/// Puts a symbolic link that reads `target` at `path`.
pub fn link(files: &dyn Files, target: &Path, path: &Path) -> io::Result<()> {
    with(files, path, false, 0, |temporary| files.symlink(target, temporary))
}

/// Writes `content` to `path`, with mode 0644.
pub fn write(files: &dyn Files, path: &Path, content: &[u8], durable: bool) -> io::Result<()> {
    with(files, path, durable, 0, |temporary| {
        files.create(temporary, content)?;
        let attributes = files.stat(temporary)?.attributes;
        files.set_attributes(temporary, &Attributes { mode: 0o644, ..attributes })
    })
}

/// Where worker number `worker` makes what will be at `path`.
fn temporary(path: &Path, worker: usize) -> PathBuf {
    match worker {
        0 => path.with_file_name(TEMPORARY),
        worker => path.with_file_name(format!("{TEMPORARY}{worker}")),
    }
}
