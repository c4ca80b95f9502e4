//! One tree made exactly like another: what is written, and what goes.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use crate::boot::tree::{self, Change, Existing, What};
use crate::host::{FileKind, Files, why};

/// What a file system takes space in.
const BLOCK: u64 = 4096;

/// Which files are meant; what is not is left alone on both sides.
pub(super) trait Scope {
    /// The file at this path, relative to both trees, is meant.
    fn holds(&self, path: &Path) -> bool;

    /// Something at or below this path may be meant.
    fn leads_to(&self, path: &Path) -> bool;
}

/// How one tree differs from another.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// What is to be written.
    pub(super) changes: Vec<Change>,
    /// What only the target has; what is in a directory before the directory.
    pub(super) gone: Vec<PathBuf>,
    /// Files that a power cut left half-written, under a name of their own.
    pub(super) leftovers: Vec<PathBuf>,
    /// Files, links and directories that are the same.
    pub(super) same: usize,
    /// What cannot be compared, and why.
    pub(super) failed: Vec<(PathBuf, String)>,
    /// What is never taken over, and why: no file, or a directory on one side only. It stays on both
    /// sides as it is, with all that is in it.
    pub(super) refused: Vec<(PathBuf, String)>,
}

/// What came of making the trees alike.
#[derive(Debug, Default)]
pub(super) struct Mirrored {
    /// What was written.
    pub(super) written: Vec<Change>,
    /// How many files and directories were removed.
    pub(super) removed: usize,
    /// What could not be done, and why; what was there is there still.
    pub(super) failed: Vec<(PathBuf, String)>,
    /// What is never done, and why: doing it again helps nothing.
    pub(super) refused: Vec<(PathBuf, String)>,
}

impl Difference {
    /// Compares `target` with `source`.
    pub(super) fn find(
        files: &dyn Files,
        scope: &dyn Scope,
        source: &Path,
        target: &Path,
    ) -> Difference {
        let wanted = |directory: &Path, name: &OsStr| scope.leads_to(&directory.join(name));
        let comparison = tree::compare_some(files, source, target, Existing::Replace, &wanted);
        let mut found = Difference { same: comparison.same, ..Difference::default() };
        let refused = comparison.refused.into_iter();
        let refused = refused.map(|(path, kind)| (path, format!("it is a {}", kind.name())));
        let meant = |(path, _): &(PathBuf, String)| scope.holds(path) || path == Path::new("");
        let failed = comparison.failed.into_iter().filter(meant);
        (found.refused, found.failed) =
            failed.partition(|(path, _)| is_clash(files, &source.join(path), &target.join(path)));
        found.refused.extend(refused.filter(meant));
        // A directory on the way is needed for what is in it only.
        let held = comparison.changes.iter().map(|change| &change.path);
        let held: Vec<_> = held.filter(|path| scope.holds(path)).cloned().collect();
        found.changes = comparison.changes;
        found.changes.retain(|change| {
            let leads = matches!(change.what, What::Directory(_) | What::Attributes(_));
            scope.holds(&change.path)
                || leads && held.iter().any(|path| path.starts_with(&change.path))
        });
        found.surplus(files, scope, (source, target), Path::new(""));
        found
    }

    /// Nothing is to be done.
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.gone.is_empty() && self.leftovers.is_empty()
    }

    /// Nothing is to be done, and nothing is unknown.
    pub(super) fn is_surely_empty(&self) -> bool {
        self.is_empty() && self.failed.is_empty()
    }

    /// What making the target like the source changes, times left out: `+` new, `M` changed, `-`
    /// gone.
    pub(super) fn lines(&self, files: &dyn Files, target: &Path) -> Vec<(char, &Path)> {
        let there = |path: &Path| matches!(files.find(&target.join(path)), Ok(Some(_)));
        let changes = self.changes.iter().filter(|change| !is_of_time(files, change, target));
        let changes = changes.map(|change| change.path.as_path());
        let changes = changes.map(|path| (if there(path) { 'M' } else { '+' }, path));
        changes.chain(self.gone.iter().map(|path| ('-', path.as_path()))).collect()
    }

    /// Looks for what only the target has.
    fn surplus(
        &mut self,
        files: &dyn Files,
        scope: &dyn Scope,
        (source, target): (&Path, &Path),
        below: &Path,
    ) {
        let names = match files.list(&target.join(below)) {
            Ok(names) => names,
            Err(error) => return self.failed.push((below.to_owned(), why(&error))),
        };
        for name in names {
            let path = below.join(&name);
            if name.as_encoded_bytes().starts_with(tree::OURS.as_bytes()) {
                self.leftovers.push(path);
                continue;
            }
            if tree::is_reserved(below, &name) || !scope.leads_to(&path) {
                continue;
            }
            if files.is_directory(&target.join(&path)) {
                if is_clash(files, &source.join(&path), &target.join(&path)) {
                    continue;
                }
                self.surplus(files, scope, (source, target), &path);
            }
            if scope.holds(&path) && matches!(files.find(&source.join(&path)), Ok(None)) {
                self.gone.push(path);
            }
        }
    }

    /// Bytes that writing the changes takes at most, each file being written before its old one
    /// goes.
    pub(super) fn room(&self, files: &dyn Files, source: &Path, target: &Path) -> u64 {
        let (mut growth, mut largest): (u64, u64) = (0, 0);
        for change in &self.changes {
            let size = |tree: &Path| match files.find(&tree.join(&change.path)) {
                Ok(Some(stat)) if stat.kind == FileKind::File => {
                    stat.size.div_ceil(BLOCK).saturating_mul(BLOCK)
                }
                _ => 0,
            };
            let (new, old) = match change.what {
                What::File(_) => (size(source), size(target)),
                What::Directory(_) | What::Link(_) => (BLOCK, 0),
                What::Attributes(_) => (0, 0),
            };
            growth = growth.saturating_add(new.saturating_sub(old));
            largest = largest.max(new);
        }
        growth.saturating_add(largest)
    }

    /// Makes the target like the source, on disk when it comes back. Each file is written beside its
    /// place and renamed into it; what goes is removed last.
    pub(super) fn mirror(self, files: &dyn Files, source: &Path, target: &Path) -> Mirrored {
        let (failed, refused) = (self.failed, self.refused);
        let mut done = Mirrored { failed, refused, ..Mirrored::default() };
        for path in self.leftovers {
            if let Err(error) = remove(files, &target.join(&path)) {
                done.failed.push((path, why(&error)));
            }
        }
        let laid = tree::lay(files, source, target, self.changes, true);
        done.written = laid.made;
        done.failed.extend(laid.failed);
        for path in self.gone {
            match remove(files, &target.join(&path)) {
                Ok(()) => done.removed += 1,
                Err(error) => done.failed.push((path, why(&error))),
            }
        }
        // What has a flag of chflags(1) on it stays, however often it is tried.
        let held = why(&io::Error::from_raw_os_error(libc::EPERM));
        let (held, failed) = done.failed.into_iter().partition(|(_, why)| *why == held);
        done.failed = failed;
        done.refused.extend::<Vec<_>>(held);
        done
    }
}

/// A change sets nothing but the time.
pub(super) fn is_of_time(files: &dyn Files, change: &Change, target: &Path) -> bool {
    let What::Attributes(wanted) = &change.what else { return false };
    let there = files.stat(&target.join(&change.path));
    there.is_ok_and(|there| there.attributes.same_owner_and_mode(wanted))
}

/// One is a directory, and the other something else.
fn is_clash(files: &dyn Files, one: &Path, other: &Path) -> bool {
    let (Ok(one), Ok(other)) = (files.stat(one), files.stat(other)) else { return false };
    (one.kind == FileKind::Directory) != (other.kind == FileKind::Directory)
}

/// Removes a file or an empty directory, for good.
fn remove(files: &dyn Files, path: &Path) -> io::Result<()> {
    match files.is_directory(path) {
        true => files.remove_directory(path)?,
        false => files.remove_file(path)?,
    }
    path.parent().map_or(Ok(()), |parent| files.sync(parent))
}
