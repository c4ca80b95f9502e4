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
pub(super) const CONF: &str = "nanozfs.conf";

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
    /// What could not be looked at, and why.
    pub(super) failed: Vec<(PathBuf, String)>,
}

impl Place {
    /// What the tree has here; none, too, when there is no such tree.
    pub(super) fn stat(&self, tree: usize) -> Option<Stat> {
        self.stats.get(tree).copied().flatten()
    }
}

impl Places {
    /// Looks at every place that is meant. A tree may be missing.
    pub(super) fn walk(files: &dyn Files, trees: Vec<PathBuf>, named: &Named) -> Places {
        let mut places = Places { trees, ..Places::default() };
        let mut open = vec![PathBuf::new()];
        while let Some(directory) = open.pop() {
            if let Err(error) = places.level(files, named, &directory, &mut open) {
                places.failed.push((directory, why(&error)));
            }
        }
        places.places.sort_by(|a, b| a.path.cmp(&b.path));
        places
    }

    /// Where a tree is; nowhere when there is no such tree.
    pub(super) fn tree(&self, tree: usize) -> &Path {
        self.trees.get(tree).map_or(Path::new(""), PathBuf::as_path)
    }

    /// Looks at one directory, which may be missing in some of the trees.
    fn level(
        &mut self,
        files: &dyn Files,
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
        for tree in &self.trees {
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
        Ok(())
    }
}

/// It is a directory of the tree itself; what a link leads to is another tree.
fn is_inside(files: &dyn Files, tree: &Path, directory: &Path) -> bool {
    let mut above = directory.ancestors().filter(|one| !one.as_os_str().is_empty());
    above.all(|one| files.is_directory(&tree.join(one)))
}
