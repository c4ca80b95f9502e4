//! Puts one directory tree over another: compared first, then only what differs is written, each
//! file in one atomic step.

mod lay;

pub use lay::{Laid, lay};

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use crate::host::{Attributes, FileKind, Files, Stat, found, why};

/// Names at the top of a file system that belong to the file system.
const RESERVED: [&str; 3] = [".zfs", ".snap", "lost+found"];
/// Names of ours begin like this and are never part of a tree.
pub(crate) const OURS: &str = ".nanozfs.";

/// What to do with a file that is there already and differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Put the source's in its place.
    Replace,
    /// Leave it as it is.
    Keep,
    /// Leave files as they are; directories get the source's owner and mode, because they may have
    /// been made and then the power went.
    Complete,
}

/// One difference, at a path relative to both trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub path: PathBuf,
    /// What is to be done there.
    pub what: What,
}

/// What makes the target like the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A directory is to be made.
    Directory(Attributes),
    /// The content differs, or nothing is there.
    File(Attributes),
    /// A symbolic link is to be made or replaced; what it reads.
    Link(PathBuf),
    /// Only owner, mode or time differ.
    Attributes(Attributes),
}

/// What a comparison of two trees comes to.
#[derive(Debug, Default)]
pub struct Comparison {
    /// What differs, directories before what is in them.
    pub changes: Vec<Change>,
    /// Files, links and directories that are the same.
    pub same: usize,
    /// Fifos, sockets and device nodes in the source.
    pub refused: Vec<(PathBuf, FileKind)>,
    /// What cannot be done, and why.
    pub failed: Vec<(PathBuf, String)>,
}

/// Compares `source` with `target`. `skip` names directories that are left out, relative to both.
pub fn compare(
    files: &dyn Files,
    source: &Path,
    target: &Path,
    existing: Existing,
    skip: &[PathBuf],
) -> Comparison {
    let wanted = |directory: &Path, name: &OsStr| {
        skip.is_empty() || !skip.iter().any(|one| *one == directory.join(name))
    };
    compare_some(files, source, target, existing, &wanted)
}

/// The files are one file, seen in a snapshot of `tree` and in `tree`: nobody can set the time of the
/// last change. In trees that have nothing to do with each other equal times prove nothing: a clock
/// ticks slower than files are written.
pub fn is_one_file(snapshot: &Path, tree: &Path, one: &Stat, other: &Stat) -> bool {
    one.kind == FileKind::File
        && one == other
        && snapshot.strip_prefix(tree).is_ok_and(|below| below.starts_with(".zfs/snapshot"))
}

/// [`compare`], of those names in a directory that are `wanted`; the directory is relative to both.
pub fn compare_some(
    files: &dyn Files,
    source: &Path,
    target: &Path,
    existing: Existing,
    wanted: &dyn Fn(&Path, &OsStr) -> bool,
) -> Comparison {
    let mut comparison = Comparison::default();
    // Directories still to be entered, and whether the target has them.
    let mut open = vec![(PathBuf::new(), true)];
    while let Some((directory, present)) = open.pop() {
        let names = match files.list(&source.join(&directory)) {
            Ok(names) => names,
            Err(error) => {
                comparison.failed.push((directory, why(&error)));
                continue;
            }
        };
        let wanted = |name: &OsString| !is_reserved(&directory, name) && wanted(&directory, name);
        let names: Vec<_> = names.into_iter().filter(wanted).collect();
        let want = files.stat_in(&source.join(&directory), &names);
        let have = match present {
            true => {
                files.stat_in(&target.join(&directory), &names).into_iter().map(found).collect()
            }
            false => names.iter().map(|_| Ok(None)).collect::<Vec<_>>(),
        };
        let mut below = Vec::new();
        for ((name, want), have) in names.iter().zip(want).zip(have) {
            let place = Place { files, source, target, directory: &directory, name };
            let compared = want.and_then(|want| comparison.one(&place, &want, have?, existing));
            match compared {
                Ok(None) => {}
                Ok(Some(inside)) => below.push((place.path(), inside)),
                Err(error) => comparison.failed.push((place.path(), why(&error))),
            }
        }
        open.extend(below.into_iter().rev());
    }
    comparison
}

/// Names that are no content of ours to carry over.
pub(crate) fn is_reserved(directory: &Path, name: &OsStr) -> bool {
    let top = directory.as_os_str().is_empty() && RESERVED.iter().any(|reserved| name == *reserved);
    top || name.as_encoded_bytes().starts_with(OURS.as_bytes())
}

/// One name in both trees.
struct Place<'a> {
    files: &'a dyn Files,
    source: &'a Path,
    target: &'a Path,
    directory: &'a Path,
    name: &'a OsStr,
}

impl Place<'_> {
    /// Relative to both trees.
    fn path(&self) -> PathBuf {
        self.directory.join(self.name)
    }

    fn from(&self) -> PathBuf {
        self.source.join(self.path())
    }

    fn to(&self) -> PathBuf {
        self.target.join(self.path())
    }
}

impl Comparison {
    /// Compares one entry. For a directory to be entered: whether the target has it.
    fn one(
        &mut self,
        place: &Place<'_>,
        want: &Stat,
        have: Option<Stat>,
        existing: Existing,
    ) -> io::Result<Option<bool>> {
        let what = match (want.kind, have) {
            (FileKind::Fifo | FileKind::Socket | FileKind::Device, _) => {
                self.refused.push((place.path(), want.kind));
                return Ok(None);
            }
            (FileKind::Directory, None) => {
                self.change(place, What::Directory(want.attributes));
                return Ok(Some(false));
            }
            (FileKind::Directory, Some(have)) if have.kind == FileKind::Directory => {
                let differs = !want.attributes.same_owner_and_mode(&have.attributes);
                match differs && existing != Existing::Keep {
                    true => self.change(place, What::Attributes(want.attributes)),
                    false => self.same += 1,
                }
                return Ok(Some(true));
            }
            (_, Some(_)) if existing != Existing::Replace => None,
            (FileKind::Directory, Some(have))
            | (_, Some(have @ Stat { kind: FileKind::Directory, .. })) => {
                let why = format!("is a {}, and a {} there", want.kind.name(), have.kind.name());
                self.failed.push((place.path(), why));
                return Ok(None);
            }
            (FileKind::Link, have) => {
                let reads = place.files.read_link(&place.from())?;
                let same = have.is_some_and(|have| have.kind == FileKind::Link)
                    && place.files.read_link(&place.to())? == reads;
                (!same).then_some(What::Link(reads))
            }
            (FileKind::File, have) => file_difference(place, want, have.as_ref())?,
        };
        match what {
            Some(what) => self.change(place, what),
            None => self.same += 1,
        }
        Ok(None)
    }

    fn change(&mut self, place: &Place<'_>, what: What) {
        self.changes.push(Change { path: place.path(), what });
    }
}

/// How a regular file differs from what is at its place.
///
/// Equal size and equal time are taken as equal content when the time in the target was *set*, as
/// only a copy's is: it has a fraction of a second, and the file changed after it. A time in whole
/// seconds is what image builders set, and proves nothing; two files that were written in the same
/// tick of the clock differ in that neither changed later.
fn file_difference(
    place: &Place<'_>,
    want: &Stat,
    have: Option<&Stat>,
) -> io::Result<Option<What>> {
    let new = Some(What::File(want.attributes));
    let Some(have) = have.filter(|have| have.kind == FileKind::File && have.size == want.size)
    else {
        return Ok(new);
    };
    let copied = want.attributes.modified == have.attributes.modified
        && have.attributes.modified.nanoseconds != 0
        && have.changed > have.attributes.modified;
    if !copied
        && !is_one_file(place.source, place.target, want, have)
        && !place.files.same_content(&place.from(), &place.to())?
    {
        return Ok(new);
    }
    let same = want.attributes == have.attributes;
    Ok((!same).then_some(What::Attributes(want.attributes)))
}

#[cfg(test)]
mod tests;
