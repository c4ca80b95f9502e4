//! What `/etc`, `/cfg` and the image have, place by place: the facts of a save.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::lists::OURS;
use super::names::Named;
use crate::boot::tree::{is_one_file, is_reserved};
use crate::host::{FileKind, Files, Stat, why};

/// The image's own `/etc`, the later over the earlier, as rc.initdiskless copies them.
pub(super) const IMAGE: [&str; 2] = ["/conf/base/etc", "/conf/default/etc"];
/// In `/etc`, and always the image's: it is read before `/cfg` is there.
const CONF: &str = "nanozfs.conf";

/// The trees that are compared.
#[derive(Clone, Debug)]
pub(super) struct Trees {
    /// The `/etc` that is in use.
    pub(super) etc: PathBuf,
    /// The `/cfg`, or a snapshot of it.
    pub(super) cfg: PathBuf,
    /// The image's, those that are there.
    pub(super) image: Vec<PathBuf>,
}

/// How two files differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Differ {
    /// Not at all, but maybe in their times.
    #[default]
    Nothing,
    /// In owner or mode.
    Attributes,
    /// In what they hold, or what they are.
    Content,
}

/// One place, which at least one of the trees has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fact {
    /// Below each of the trees.
    pub(super) path: PathBuf,
    /// What `/etc` has.
    pub(super) etc: Option<Stat>,
    /// What `/cfg` has.
    pub(super) cfg: Option<Stat>,
    /// What the image has, and in which of its trees.
    pub(super) image: Option<(Stat, usize)>,
    /// How `/etc` differs from `/cfg`, or, where that has nothing, from the image.
    pub(super) differ: Differ,
}

/// All places.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// A directory stands before what is in it.
    pub(super) facts: Vec<Fact>,
    /// What could not be looked at, and why.
    pub(super) failed: Vec<(PathBuf, String)>,
}

/// Looks at every place that is meant.
pub(super) fn look(files: &dyn Files, trees: &Trees, named: &Named) -> Look {
    let mut look = Look::default();
    let mut open = vec![PathBuf::new()];
    while let Some(directory) = open.pop() {
        if let Err(error) = look.level(files, trees, named, &directory, &mut open) {
            look.failed.push((directory, why(&error)));
        }
    }
    look.facts.sort_by(|a, b| a.path.cmp(&b.path));
    look
}

impl Look {
    /// Looks at one directory, which may be missing in some of the trees.
    fn level(
        &mut self,
        files: &dyn Files,
        trees: &Trees,
        named: &Named,
        directory: &Path,
        open: &mut Vec<PathBuf>,
    ) -> io::Result<()> {
        let meant = |name: &OsString| {
            let path = directory.join(name);
            let top = directory.as_os_str().is_empty();
            let ours = top && (name == OURS || name == CONF);
            !ours && !is_reserved(directory, name) && named.leads(&path)
        };
        let mut of_trees = Vec::new();
        for tree in [&trees.etc, &trees.cfg].into_iter().chain(&trees.image) {
            let place = tree.join(directory);
            let names = match is_inside(files, tree, directory) {
                true => files.list(&place)?.into_iter().filter(meant).collect(),
                false => Vec::new(),
            };
            let stats = files.stat_in(&place, &names);
            let stats: io::Result<Vec<Stat>> = stats.into_iter().collect();
            of_trees.push(names.into_iter().zip(stats?).collect::<Vec<_>>());
        }
        let names: BTreeSet<&OsString> = of_trees.iter().flatten().map(|(name, _)| name).collect();
        let stat = |tree: usize, name: &OsString| {
            let tree = of_trees.get(tree)?;
            let at = tree.binary_search_by(|(other, _)| other.cmp(name)).ok()?;
            tree.get(at).map(|(_, stat)| *stat)
        };
        for name in names {
            let path = directory.join(name);
            let (etc, cfg) = (stat(0, name), stat(1, name));
            let image = (0..trees.image.len()).rev().find_map(|at| Some((stat(at + 2, name)?, at)));
            let all = [etc, cfg, image.map(|(stat, _)| stat)];
            if all.into_iter().flatten().any(|stat| stat.kind == FileKind::Directory) {
                open.push(path.clone());
            }
            let other = match (cfg, image) {
                (Some(cfg), _) => Some((cfg, &trees.cfg)),
                (None, Some((image, at))) => trees.image.get(at).map(|tree| (image, tree)),
                (None, None) => None,
            };
            let differ = match (&etc, other) {
                (Some(etc), Some((other, tree))) => {
                    let (one, two) = (trees.etc.join(&path), tree.join(&path));
                    let of_one = is_one_file(tree, &trees.etc, &other, etc);
                    differ(files, (&one, etc), (&two, &other), of_one)
                }
                _ => Ok(Differ::Nothing),
            };
            match differ {
                Ok(differ) => self.facts.push(Fact { path, etc, cfg, image, differ }),
                Err(error) => self.failed.push((path, why(&error))),
            }
        }
        Ok(())
    }
}

impl Fact {
    /// It is a directory on one side and something else on another. What is below it cannot be
    /// told apart from what is gone: it is neither written, nor removed, nor hidden.
    pub(super) fn is_clash(&self) -> bool {
        let directory = |stat: &Stat| stat.kind == FileKind::Directory;
        let image = self.image.map(|(stat, _)| stat);
        match &self.etc {
            None => false,
            Some(etc) if directory(etc) => self.cfg.or(image).is_some_and(|one| !directory(&one)),
            Some(_) => [self.cfg, image].iter().flatten().any(directory),
        }
    }
}

/// It is a directory of the tree itself; what a link leads to is another tree.
fn is_inside(files: &dyn Files, tree: &Path, directory: &Path) -> bool {
    let mut above = directory.ancestors().filter(|one| !one.as_os_str().is_empty());
    above.all(|one| files.is_directory(&tree.join(one)))
}

/// How two files differ; what they hold is read only where it has to be.
///
/// One of two files with the same size and the same time, to the nanosecond, is a copy of the other
/// when the time of one of them was *set*: it changed after it. A time in whole seconds proves
/// nothing. `of_one`: they are known to be one file.
pub(super) fn differ(
    files: &dyn Files,
    (one, a): (&Path, &Stat),
    (two, b): (&Path, &Stat),
    of_one: bool,
) -> io::Result<Differ> {
    let same = match (a.kind, b.kind) {
        (FileKind::Link, FileKind::Link) => {
            let same = files.read_link(one)? == files.read_link(two)?;
            return Ok(if same { Differ::Nothing } else { Differ::Content });
        }
        (FileKind::File, FileKind::File) => {
            let time = a.attributes.modified;
            let copied = time == b.attributes.modified
                && time.nanoseconds != 0
                && (a.changed > time || b.changed > time);
            let known = copied || of_one;
            a.size == b.size && (known || files.same_content(one, two)?)
        }
        (one, two) => one == two,
    };
    Ok(match (same, a.attributes.same_owner_and_mode(&b.attributes)) {
        (false, _) => Differ::Content,
        (true, false) => Differ::Attributes,
        (true, true) => Differ::Nothing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Attributes, RealFiles, Timestamp};

    #[test]
    fn a_file_and_its_snapshot_are_not_read() {
        let at = |nanoseconds| Timestamp { seconds: 1_700_000_000, nanoseconds };
        let stat = |changed| {
            let attributes = Attributes { mode: 0o644, uid: 0, gid: 0, modified: changed };
            Stat { kind: FileKind::File, attributes, size: 9, changed }
        };
        // There are no such files: whoever reads them fails.
        let between = |cfg: &str, one: &Stat, other: &Stat| {
            let [etc, cfg] = ["/nowhere", cfg].map(Path::new);
            let of_one = is_one_file(cfg, etc, other, one);
            differ(&RealFiles, (&etc.join("a"), one), (&cfg.join("a"), other), of_one).ok()
        };
        let snapshot = "/nowhere/.zfs/snapshot/cfg-1";
        assert_eq!(between(snapshot, &stat(at(5)), &stat(at(5))), Some(Differ::Nothing));
        assert_eq!(between(snapshot, &stat(at(5)), &stat(at(6))), None);
        assert_eq!(between("/elsewhere", &stat(at(5)), &stat(at(5))), None);
    }
}
