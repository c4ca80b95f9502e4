//! Several trees that are alike, walked once: what each of them has, place by place.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::lists::OURS;
use super::names::Named;
use crate::boot::tree::is_reserved;
use crate::host::{FileKind, Files, Stat, why};

/// In `/etc`, and always the image's: it is read before `/cfg` is there.
const CONF: &str = "nanozfs.conf";

/// One place, which at least one of the trees has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Below each of the trees.
    pub(super) path: PathBuf,
    /// What each of them has.
    stats: Vec<Option<Stat>>,
}

/// All places.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    trees: Vec<PathBuf>,
    /// By path: a directory stands before what is in it.
    pub(super) places: Vec<Place>,
    /// What could not be looked at.
    failed: Vec<Failed>,
}

/// A directory of one tree that could not be looked at.
#[derive(Clone, Debug)]
struct Failed {
    tree: usize,
    path: PathBuf,
    why: String,
}

impl Place {
    /// What the tree has here; none, too, when there is no such tree.
    pub(super) fn stat(&self, tree: usize) -> Option<Stat> {
        self.stats.get(tree).copied().flatten()
    }
}

impl Places {
    /// Looks at every place that is meant. What cannot be looked at in one tree is looked at in the
    /// others.
    pub(super) fn walk(files: &dyn Files, trees: Vec<PathBuf>, named: &Named) -> Places {
        let mut places = Places { trees, ..Places::default() };
        let mut open = vec![PathBuf::new()];
        while let Some(directory) = open.pop() {
            places.level(files, named, &directory, &mut open);
        }
        places.places.sort_by(|a, b| a.path.cmp(&b.path));
        places
    }

    /// Where a tree is; nowhere when there is no such tree.
    pub(super) fn tree(&self, tree: usize) -> &Path {
        self.trees.get(tree).map_or(Path::new(""), PathBuf::as_path)
    }

    /// What could not be looked at in one of these trees, and why: directories, relative to it.
    pub(super) fn failed(&self, trees: &[usize]) -> impl Iterator<Item = (usize, &Path, &str)> {
        let of_these = move |failed: &&Failed| trees.contains(&failed.tree);
        let failed = self.failed.iter().filter(of_these);
        failed.map(|failed| (failed.tree, failed.path.as_path(), failed.why.as_str()))
    }

    /// Looks at one directory, which may be missing in some of the trees.
    fn level(
        &mut self,
        files: &dyn Files,
        named: &Named,
        directory: &Path,
        open: &mut Vec<PathBuf>,
    ) {
        let meant = |name: &OsString| {
            let path = directory.join(name);
            let top = directory.as_os_str().is_empty();
            let ours = top && (name == OURS || name == CONF);
            !ours && !is_reserved(directory, name) && named.leads(&path)
        };
        let has = |tree: &Path| -> io::Result<Vec<(OsString, Stat)>> {
            if !is_inside(files, tree, directory) {
                return Ok(Vec::new());
            }
            let place = tree.join(directory);
            let names: Vec<_> = files.list(&place)?.into_iter().filter(meant).collect();
            let stats: io::Result<Vec<Stat>> = files.stat_in(&place, &names).into_iter().collect();
            Ok(names.into_iter().zip(stats?).collect())
        };
        let mut of_trees = Vec::new();
        for (tree, top) in self.trees.iter().enumerate() {
            of_trees.push(has(top).unwrap_or_else(|error| {
                let (path, why) = (directory.to_owned(), why(&error));
                self.failed.push(Failed { tree, path, why });
                Vec::new()
            }));
        }
        let names: BTreeSet<&OsString> = of_trees.iter().flatten().map(|(name, _)| name).collect();
        for name in names {
            let stat = |tree: &Vec<(OsString, Stat)>| {
                let at = tree.binary_search_by(|(other, _)| other.cmp(name)).ok()?;
                tree.get(at).map(|(_, stat)| *stat)
            };
            let path = directory.join(name);
            let stats: Vec<Option<Stat>> = of_trees.iter().map(stat).collect();
            if stats.iter().flatten().any(|stat| stat.kind == FileKind::Directory) {
                open.push(path.clone());
            }
            self.places.push(Place { path, stats });
        }
    }
}

/// It is a directory of the tree itself; what a link leads to is another tree.
fn is_inside(files: &dyn Files, tree: &Path, directory: &Path) -> bool {
    let mut above = directory.ancestors().filter(|one| !one.as_os_str().is_empty());
    above.all(|one| files.is_directory(&tree.join(one)))
}
