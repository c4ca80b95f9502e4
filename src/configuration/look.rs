//! What `/etc`, `/cfg` and the image have, and how it differs, place by place: the facts of a save.

use std::io;
use std::path::{Path, PathBuf};

use super::names::Named;
use super::places::{Place, Places};
use crate::boot::tree::is_one_file;
use crate::host::{FileKind, Files, Stat, why};

/// The image's own `/etc`, the later over the earlier, as rc.initdiskless copies them.
pub(super) const IMAGE: [&str; 2] = ["/conf/base/etc", "/conf/default/etc"];

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
#[derive(Debug)]
pub(super) struct Look {
    /// What was compared.
    pub(super) trees: Trees,
    /// A directory stands before what is in it.
    pub(super) facts: Vec<Fact>,
    /// What could not be looked at, and why.
    pub(super) failed: Vec<(PathBuf, String)>,
}

/// Looks at every place that is meant.
pub(super) fn look(files: &dyn Files, trees: Trees, named: &Named) -> Look {
    let image: Vec<usize> = (2..2 + trees.image.len()).collect();
    let all = [trees.etc, trees.cfg].into_iter().chain(trees.image).collect();
    let places = Places::walk(files, all, named);
    compare(files, &places, (0, 1), &image, &[])
}

/// Compares some of the trees that were walked: that of `/etc`, that of `/cfg`, and those of the
/// image. `before`: what such a comparison with another `/cfg` found, by path.
pub(super) fn compare(
    files: &dyn Files,
    places: &Places,
    (etc, cfg): (usize, usize),
    image: &[usize],
    before: &[Fact],
) -> Look {
    let tree = |at: usize| places.tree(at).to_owned();
    let trees =
        Trees { etc: tree(etc), cfg: tree(cfg), image: image.iter().map(|at| tree(*at)).collect() };
    let all = [[etc, cfg].as_slice(), image].concat();
    let failed: Vec<_> = places.failed(&all).collect();
    let told = failed.iter().map(|failed| places.told(failed));
    let mut look = Look { trees, facts: Vec::new(), failed: told.collect() };
    // What none of these trees has as a directory has nothing in it.
    let mut closed: Option<&Path> = None;
    for place in &places.places {
        let unknown = failed.iter().any(|failed| failed.hides(&place.path));
        if unknown || closed.is_some_and(|top| place.path.starts_with(top)) {
            continue;
        }
        closed = None;
        let known = before.binary_search_by(|fact| fact.path.cmp(&place.path));
        let known = known.ok().and_then(|at| before.get(at)).filter(|fact| fact.cfg.is_none());
        if let (Some(fact), None) = (known, place.stat(cfg)) {
            closed = Some(place.path.as_path()).filter(|_| !fact.is_open());
            look.facts.push(fact.clone());
            continue;
        }
        match fact(files, places, place, (etc, cfg), image) {
            Ok(Some(fact)) => {
                closed = Some(place.path.as_path()).filter(|_| !fact.is_open());
                look.facts.push(fact);
            }
            Ok(None) => closed = Some(&place.path),
            Err(error) => look.failed.push((place.path.clone(), why(&error))),
        }
    }
    look
}

/// What is at one place, unless none of the trees has anything there.
fn fact(
    files: &dyn Files,
    places: &Places,
    place: &Place,
    (etc, cfg): (usize, usize),
    image: &[usize],
) -> io::Result<Option<Fact>> {
    let Place { path, .. } = place;
    let (etc_has, cfg_has) = (place.stat(etc), place.stat(cfg));
    let mut images = image.iter().enumerate().rev();
    let image_has = images.find_map(|(at, tree)| Some((place.stat(*tree)?, at)));
    if etc_has.is_none() && cfg_has.is_none() && image_has.is_none() {
        return Ok(None);
    }
    let other = match (cfg_has, image_has) {
        (Some(stat), _) => Some((stat, cfg)),
        (None, Some((stat, at))) => image.get(at).map(|tree| (stat, *tree)),
        (None, None) => None,
    };
    let differ = match (etc_has, other) {
        (Some(stat), Some((other, at))) => {
            let (etc, tree) = (places.tree(etc), places.tree(at));
            let of_one = is_one_file(tree, etc, &other, &stat);
            differ(files, (&etc.join(path), &stat), (&tree.join(path), &other), of_one)?
        }
        _ => Differ::Nothing,
    };
    Ok(Some(Fact { path: path.clone(), etc: etc_has, cfg: cfg_has, image: image_has, differ }))
}

impl Fact {
    /// It is a directory on one side at least.
    fn is_open(&self) -> bool {
        let all = [self.etc, self.cfg, self.image.map(|(stat, _)| stat)];
        all.iter().flatten().any(|stat| stat.kind == FileKind::Directory)
    }

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

/// Facts in letters, for the tables of decisions.
#[cfg(test)]
pub(super) mod letters {
    use crate::host::{Attributes, FileKind, Stat, Timestamp};

    /// What a letter stands for: a file changed at 50, 150 or 200, a directory, a link, a fifo,
    /// nothing.
    pub(in super::super) fn stat(letter: char) -> Option<Stat> {
        let (kind, changed) = match letter {
            'f' => (FileKind::File, 50),
            'n' => (FileKind::File, 150),
            'N' => (FileKind::File, 200),
            'd' => (FileKind::Directory, 50),
            'l' => (FileKind::Link, 50),
            'p' => (FileKind::Fifo, 50),
            _ => return None,
        };
        let time = |seconds| Timestamp { seconds, nanoseconds: 0 };
        let attributes = Attributes { mode: 0o644, uid: 0, gid: 0, modified: time(50) };
        Some(Stat { kind, attributes, size: 1, changed: time(changed) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Attributes, RealFiles, Timestamp};

    #[test]
    fn what_cannot_be_looked_at_is_unknown_there_and_nowhere_else() {
        let scratch = tempfile::tempdir().unwrap();
        let tree = |name: &str| scratch.path().join(name);
        for name in ["etc/ssh", "cfg/ssh"] {
            std::fs::create_dir_all(tree(name)).unwrap();
        }
        for name in ["etc/hosts", "etc/ssh/key", "cfg/hosts", "cfg/ssh/key", "damaged"] {
            std::fs::write(tree(name), "x").unwrap();
        }
        let trees = vec![tree("etc"), tree("damaged"), tree("cfg")];
        let places = Places::walk(&RealFiles, trees, &Named::default());
        let paths =
            |look: &Look| look.facts.iter().map(|fact| fact.path.clone()).collect::<Vec<_>>();
        let sound = compare(&RealFiles, &places, (0, 2), &[], &[]);
        assert_eq!(paths(&sound), ["hosts", "ssh", "ssh/key"].map(PathBuf::from));
        assert_eq!(sound.failed, []);
        let unknown = compare(&RealFiles, &places, (0, 1), &[], &[]);
        assert!(paths(&unknown).is_empty(), "nothing of it is taken for gone");
        assert_eq!(unknown.failed.len(), 1);
        assert_eq!(unknown.failed[0].0, tree("damaged"));
    }

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
