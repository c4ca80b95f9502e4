//! Makes the changes that a comparison found.

use std::io;
use std::path::{Path, PathBuf};

use super::{Change, What};
use crate::boot::replace;
use crate::host::{Files, why};

/// Fewer files than this are not worth a second thread.
const MANY: usize = 64;

/// What came of a list of changes.
#[derive(Debug, Default)]
pub struct Laid {
    /// Those that were made.
    pub made: Vec<Change>,
    /// Those that could not be made, and why; what was at their place is there still.
    pub failed: Vec<(PathBuf, String)>,
}

/// Makes `target` like `source` where `changes` say so: directories, links and attributes in their
/// order, then the files, several at a time. `durable` has each file reach the disk before it takes
/// its place, and the directories at the end.
pub fn lay(
    files: &dyn Files,
    source: &Path,
    target: &Path,
    changes: Vec<Change>,
    durable: bool,
) -> Laid {
    let mut laid = Laid::default();
    let mut done = |change: Change, result: io::Result<()>| match result {
        Ok(()) => laid.made.push(change),
        Err(error) => laid.failed.push((change.path, why(&error))),
    };
    let is_file = |change: &Change| matches!(change.what, What::File(_));
    let (contents, others): (Vec<_>, Vec<_>) = changes.into_iter().partition(is_file);
    for change in others {
        let result = apply(files, source, target, &change, durable, 0);
        done(change, result);
    }
    // A temporary name left behind by a power cut must be found again: one worker where that
    // matters.
    let workers = if durable || contents.len() < MANY { 1 } else { files.workers() };
    let share = contents.len().div_ceil(workers.max(1)).max(1);
    let work = |worker: usize, part: &[Change]| {
        let one = |change| apply(files, source, target, change, durable, worker);
        part.iter().map(one).collect::<Vec<_>>()
    };
    let results: Vec<_> = match workers {
        1 => work(0, &contents),
        _ => std::thread::scope(|scope| {
            let work = &work;
            let running: Vec<_> = contents
                .chunks(share)
                .enumerate()
                .map(|(worker, part)| (part.len(), scope.spawn(move || work(worker, part))))
                .collect();
            let lost = || Err(io::Error::other("its thread was lost"));
            running
                .into_iter()
                .flat_map(|(length, part)| {
                    part.join().unwrap_or_else(|_| (0..length).map(|_| lost()).collect())
                })
                .collect()
        }),
    };
    for (change, result) in contents.into_iter().zip(results) {
        done(change, result);
    }
    if durable {
        sync(files, target, &laid.made);
    }
    laid
}

/// Makes one change. A file is written beside its place and renamed into it: whatever happens, the
/// place holds the old content or the new.
fn apply(
    files: &dyn Files,
    source: &Path,
    target: &Path,
    change: &Change,
    durable: bool,
    worker: usize,
) -> io::Result<()> {
    let to = target.join(&change.path);
    match &change.what {
        What::Directory(attributes) => {
            files.make_directory(&to)?;
            files.set_attributes(&to, attributes)
        }
        What::Attributes(attributes) => files.set_attributes(&to, attributes),
        What::File(attributes) => replace::with(files, &to, durable, worker, |temporary| {
            files.copy(&source.join(&change.path), temporary, attributes)
        }),
        What::Link(reads) => replace::link(files, reads, &to),
    }
}

/// Has the entries of every directory that changed reach the disk, and the attributes of what got
/// new ones.
fn sync(files: &dyn Files, target: &Path, changes: &[Change]) {
    let mut paths = Vec::new();
    for change in changes {
        let path = target.join(&change.path);
        if let What::Directory(_) | What::Attributes(_) = change.what {
            paths.push(path.clone());
        }
        if !matches!(change.what, What::Attributes(_)) {
            paths.extend(path.parent().map(Path::to_owned));
        }
    }
    paths.sort();
    paths.dedup();
    for path in paths {
        // What is lost without it, the next boot writes again.
        if let Err(error) = files.sync(&path) {
            log::warn!("sync {}: {error}", path.display());
        }
    }
}
