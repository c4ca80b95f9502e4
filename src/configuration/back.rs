//! What makes `/etc` as a snapshot of `/cfg`, laid over the image, would have it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::look::{Differ, Fact, Look};
use super::names::Named;
use super::plan::{what, with_parents};
use super::{act, lists};
use crate::boot::Boot;
use crate::boot::cfg::CFG;
use crate::boot::tree::What;
use crate::host::{FileKind, Stat, why};
use crate::report::Code;

/// Where something in `/etc` comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum From {
    /// This tree of the image.
    Image(PathBuf),
    /// The snapshot.
    Snapshot,
}

/// What becomes of `/etc`.
#[derive(Debug, Default)]
pub(super) struct Back {
    /// What is written, by where it comes from.
    pub(super) writes: BTreeMap<From, BTreeMap<PathBuf, What>>,
    /// What is removed, deepest first.
    pub(super) gone: Vec<(PathBuf, FileKind)>,
    /// The same in lines.
    pub(super) lines: BTreeMap<PathBuf, char>,
    /// What was named, and neither the snapshot nor the image has.
    pub(super) unknown: Vec<PathBuf>,
    /// What cannot be brought back, and why.
    pub(super) refused: Vec<(PathBuf, String)>,
}

/// What a place in `/etc` is to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aim {
    /// It is right.
    Nothing,
    /// As the snapshot has it.
    Snapshot(Stat),
    /// As the image has it.
    Image(Stat, usize),
    /// Nothing is there.
    Gone,
    /// It would have to be replaced by something of another kind.
    Clash,
}

/// What is known of a place beside the trees.
#[derive(Clone, Copy, Debug, Default)]
struct About {
    /// It is to stay deleted then.
    hidden: bool,
    /// `/cfg` has it now, or it was named: it was kept before.
    kept: bool,
    /// Nobody is asked about it.
    left_out: bool,
}

/// Decides. The `/cfg` of the fact is the snapshot.
fn aim(fact: &Fact, about: About) -> Aim {
    let directory = |stat: &Stat| stat.kind == FileKind::Directory;
    let special = |stat: &Stat| stat.kind.is_special();
    let clash = |other: &Stat| {
        fact.etc.is_some_and(|etc| special(&etc) || directory(&etc) != directory(other))
    };
    let right = fact.etc.is_some() && fact.differ == Differ::Nothing;
    match (fact.cfg, fact.image) {
        (Some(wanted), _) if right || special(&wanted) => Aim::Nothing,
        (Some(wanted), _) if clash(&wanted) => Aim::Clash,
        (Some(wanted), _) => Aim::Snapshot(wanted),
        (None, Some(_)) if about.left_out || about.hidden && fact.etc.is_none() => Aim::Nothing,
        (None, Some(_)) if about.hidden => Aim::Gone,
        (None, Some(_)) if right => Aim::Nothing,
        (None, Some((wanted, _))) if clash(&wanted) => Aim::Clash,
        (None, Some((wanted, tree))) => Aim::Image(wanted, tree),
        (None, None) if fact.etc.is_some_and(|etc| special(&etc)) => Aim::Nothing,
        // What nobody ever saved stays.
        (None, None) if about.kept && !about.left_out => Aim::Gone,
        (None, None) => Aim::Nothing,
    }
}

impl Back {
    /// What was named is below a directory that is none on one of the sides.
    fn below(&mut self, top: &Fact, fact: &Fact, named: &Named) {
        let told = self.refused.last().is_some_and(|(path, _)| *path == top.path);
        if !told && named.means(&fact.path) && !named.means(&top.path) {
            self.refused.push((top.path.clone(), "is of another kind in /etc".to_owned()));
        }
    }

    /// What has to be done in `/etc`, so that it is as with the `/cfg` that was looked
    /// at. `kept`: what was named is kept before it goes.
    pub(super) fn find(
        boot: &mut Boot<'_, '_>,
        look: &Look,
        named: &Named,
        kept: bool,
    ) -> Option<Back> {
        let (files, trees) = (boot.host.files(), &look.trees);
        let source = trees.cfg.as_path();
        let (deleted, _) = lists::deleted(files, source);
        let (ignore, _) = lists::ignore(files, Path::new(CFG));
        if !look.failed.is_empty() {
            act::tell(boot, Code::E95, "not looked at", &look.failed);
            return None;
        }
        let mut back = Back::default();
        let mut clash: Option<&Fact> = None;
        for fact in &look.facts {
            let path = &fact.path;
            if let Some(top) = clash.filter(|top| path.starts_with(&top.path)) {
                back.below(top, fact, named);
                continue;
            }
            clash = Some(fact).filter(|fact| fact.is_clash());
            if !named.means(path) {
                continue;
            }
            let in_cfg =
                fact.cfg.is_some() || matches!(files.find(&Path::new(CFG).join(path)), Ok(Some(_)));
            let exact = named.0.contains(path);
            let unwanted = || lists::default_of(path).is_some() || ignore.matches(path);
            let about = About {
                hidden: deleted.contains(path),
                kept: in_cfg || kept && named.names(path),
                left_out: !exact && !in_cfg && unwanted(),
            };
            if !kept && exact && !in_cfg && fact.image.is_none() {
                back.unknown.push(path.clone());
            }
            let (from, tree, wanted) = match aim(fact, about) {
                Aim::Nothing => continue,
                Aim::Clash => {
                    back.refused.push((path.clone(), "is of another kind in /etc".to_owned()));
                    continue;
                }
                Aim::Gone => {
                    // It goes with all that is in it.
                    clash = None;
                    let kind = fact.etc.map_or(FileKind::File, |stat| stat.kind);
                    back.gone.push((path.clone(), kind));
                    back.lines.insert(path.clone(), '-');
                    continue;
                }
                Aim::Snapshot(wanted) => (From::Snapshot, source, wanted),
                Aim::Image(wanted, at) => {
                    let tree = trees.image.get(at)?;
                    (From::Image(tree.clone()), tree.as_path(), wanted)
                }
            };
            let differ = fact.etc.map(|_| fact.differ);
            match what(files, &tree.join(path), &wanted, differ) {
                Ok(what) => {
                    back.writes.entry(from).or_default().insert(path.clone(), what);
                    let sign = if fact.etc.is_some() { 'M' } else { '+' };
                    back.lines.insert(path.clone(), sign);
                }
                Err(error) => back.refused.push((path.clone(), why(&error))),
            }
        }
        back.gone.reverse();
        let lacks = |path: &Path| {
            let at = look.facts.binary_search_by(|fact| fact.path.as_path().cmp(path)).ok()?;
            let fact = look.facts.get(at).filter(|fact| fact.etc.is_none())?;
            let wanted = fact.cfg.or(fact.image.map(|(stat, _)| stat))?;
            (wanted.kind == FileKind::Directory).then_some(wanted.attributes)
        };
        back.writes.values_mut().for_each(|changes| with_parents(changes, &lacks));
        Some(back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::look::letters::stat;

    /// `etc snapshot image`, then `!` it differs, `h` hidden, `k` kept, `o` left out.
    fn aimed(line: &str) -> &'static str {
        let letters: Vec<char> = line.chars().collect();
        let fact = Fact {
            path: "x".into(),
            etc: stat(letters[0]),
            cfg: stat(letters[1]),
            image: stat(letters[2]).map(|stat| (stat, 0)),
            differ: if line.contains('!') { Differ::Content } else { Differ::Nothing },
        };
        let has = |letter| letters.iter().skip(3).any(|one| *one == letter);
        let about = About { hidden: has('h'), kept: has('k'), left_out: has('o') };
        match aim(&fact, about) {
            Aim::Nothing => "nothing",
            Aim::Snapshot(_) => "snapshot",
            Aim::Image(..) => "image",
            Aim::Gone => "gone",
            Aim::Clash => "clash",
        }
    }

    #[test]
    fn the_table_of_ways_back() {
        for (line, wanted) in [
            ("fff", "nothing"),
            ("ff-!", "snapshot"),
            ("-f-", "snapshot"),
            ("df-!", "clash"),
            ("-p-", "nothing"),
            ("f-f", "nothing"),
            ("f-f!", "image"),
            ("f-f!o", "nothing"),
            ("--f", "image"),
            ("--fh", "nothing"),
            ("f-fh", "gone"),
            ("d-f!", "clash"),
            ("f--", "nothing"),
            ("f--k", "gone"),
            ("f--ko", "nothing"),
            ("p--k", "nothing"),
        ] {
            assert_eq!(aimed(line), wanted, "{line}");
        }
    }
}
