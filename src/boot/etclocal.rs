//! Makes `/usr/local/etc` lead to `/etc/local`, where `/cfg/local` ends up.

use std::path::{Component, Path, PathBuf};

use super::tree::{self, Existing};
use super::{Action, Boot, overlay};
use crate::host::{FileKind, Host, MountRequest, Source, mount_of, mounted_at, why};
use crate::report::{Code, Finding};

/// Where ports look for their configuration (hier(7)).
const USR_LOCAL_ETC: &str = "/usr/local/etc";
/// Where it really is.
const ETC_LOCAL: &str = "/etc/local";
/// What a directory that was in the way is renamed to.
const ASIDE: &str = "/usr/local/etc.image";

/// What to do about `/usr/local/etc`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Decision {
    /// It leads there.
    Already,
    /// Nothing is there, and the directory above can be written: make the link.
    Link,
    /// A link to somewhere else, which can be replaced.
    Relink(PathBuf),
    /// An empty directory that can be replaced by the link.
    ReplaceEmpty,
    /// A directory with content that can be renamed aside and replaced by the link.
    MoveAside,
    /// A directory that cannot be replaced: `/etc/local` is shown on it.
    ShowOver,
    /// It cannot be done, and why.
    Cannot(String),
}

/// What was seen of `/usr/local/etc`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Facts {
    /// What is there; of a link, what it reads.
    here: Option<(FileKind, Option<PathBuf>)>,
    empty: bool,
    /// What is mounted there.
    mounted: Option<String>,
    read_only: bool,
    above: bool,
    aside: bool,
}

/// The helper.
pub fn step(boot: &mut Boot<'_, '_>) -> (String, ()) {
    let line = match facts(boot.host).map(|facts| decide(&facts)) {
        Ok(decision) => carry_out(boot, &decision),
        Err(error) => {
            boot.find(Finding::new(Code::E50, format!("{USR_LOCAL_ETC}: {}", why(&error))));
            "not made".to_owned()
        }
    };
    (line, ())
}

/// Why `/usr/local/etc` does not lead to `/etc/local` now; nothing when it does.
pub fn problem(host: &dyn Host) -> Option<String> {
    match facts(host).map(|facts| decide(&facts)) {
        Ok(Decision::Already) => None,
        Ok(Decision::Cannot(why)) => Some(why),
        Ok(Decision::Link) => Some("nothing is there".to_owned()),
        Ok(Decision::Relink(reads)) => Some(format!("it is a link to {}", reads.display())),
        Ok(_) => Some("it is a directory of its own".to_owned()),
        Err(error) => Some(why(&error)),
    }
}

fn facts(host: &dyn Host) -> std::io::Result<Facts> {
    let files = host.files();
    let at = Path::new(USR_LOCAL_ETC);
    let mounts = host.mounts().unwrap_or_default();
    let here = match files.find(at)? {
        Some(stat) if stat.kind == FileKind::Link => Some((stat.kind, Some(files.read_link(at)?))),
        Some(stat) => Some((stat.kind, None)),
        None => None,
    };
    Ok(Facts {
        empty: matches!(here, Some((FileKind::Directory, _))) && files.is_empty(at, &[])?,
        mounted: mounted_at(&mounts, at).map(|mount| mount.source.clone()),
        read_only: mount_of(&mounts, Path::new("/usr/local")).is_some_and(|mount| mount.read_only),
        above: files.is_directory(Path::new("/usr/local")),
        aside: files.find(Path::new(ASIDE))?.is_some(),
        here,
    })
}

/// Decides what to do.
fn decide(facts: &Facts) -> Decision {
    match &facts.here {
        _ if facts.mounted.as_deref() == Some(ETC_LOCAL) => Decision::Already,
        _ if facts.mounted.is_some() => {
            Decision::Cannot("something else is mounted there".to_owned())
        }
        Some((FileKind::Link, Some(reads))) if leads_there(reads) => Decision::Already,
        Some((FileKind::Link, Some(reads))) if facts.read_only => {
            Decision::Cannot(format!("it is a link to {}, on a read-only system", reads.display()))
        }
        Some((FileKind::Link, reads)) => Decision::Relink(reads.clone().unwrap_or_default()),
        Some((FileKind::Directory, _)) if facts.read_only => Decision::ShowOver,
        Some((FileKind::Directory, _)) if facts.empty => Decision::ReplaceEmpty,
        Some((FileKind::Directory, _)) if facts.aside => Decision::ShowOver,
        Some((FileKind::Directory, _)) => Decision::MoveAside,
        Some((kind, _)) => Decision::Cannot(format!("it is a {}", kind.name())),
        None if !facts.above => Decision::Cannot("there is no /usr/local".to_owned()),
        None if facts.read_only => {
            Decision::Cannot("the image has none, and the system is read-only".to_owned())
        }
        None => Decision::Link,
    }
}

/// Does what a link reads, seen from `/usr/local`, name `/etc/local`?
fn leads_there(reads: &Path) -> bool {
    let mut path = PathBuf::from("/usr/local");
    for part in reads.components() {
        match part {
            Component::RootDir => path = PathBuf::from("/"),
            Component::ParentDir => {
                path.pop();
            }
            Component::Normal(name) => path.push(name),
            Component::CurDir | Component::Prefix(_) => {}
        }
    }
    path == Path::new(ETC_LOCAL)
}

/// Carries the decision out; the helper's line.
fn carry_out(boot: &mut Boot<'_, '_>, decision: &Decision) -> String {
    let at = PathBuf::from(USR_LOCAL_ETC);
    let link = Action::Link { at: at.clone(), target: PathBuf::from(ETC_LOCAL) };
    let (actions, done) = match decision {
        Decision::Already => return format!("{USR_LOCAL_ETC} leads to {ETC_LOCAL} already"),
        Decision::Cannot(why) => {
            boot.find(Finding::new(Code::E50, format!("{USR_LOCAL_ETC}: {why}")));
            return "not made".to_owned();
        }
        Decision::Link => (vec![link], String::new()),
        Decision::Relink(old) => {
            let relink = Action::Relink { at, target: PathBuf::from(ETC_LOCAL) };
            (vec![relink], format!(", it led to {} before", old.display()))
        }
        Decision::ReplaceEmpty => (vec![Action::RemoveDirectory(at), link], String::new()),
        Decision::MoveAside => {
            if !take_over(boot) {
                return "not made; the directory stays until all of it is in /etc/local".to_owned();
            }
            let aside = Action::Rename { from: at, to: PathBuf::from(ASIDE) };
            (vec![aside, link], format!(", the directory is now {ASIDE}"))
        }
        Decision::ShowOver => {
            take_over(boot);
            let source = Source::Directory(PathBuf::from(ETC_LOCAL));
            let request = MountRequest { source, at, read_only: false };
            (vec![Action::Mount(request)], " by nullfs".to_owned())
        }
    };
    if let Err(error) = ensure_etc_local(boot) {
        boot.find(Finding::new(Code::E50, format!("{error:#}")));
        return "not made".to_owned();
    }
    for action in &actions {
        if let Err(error) = boot.perform(action) {
            boot.find(Finding::new(Code::E50, error.to_string()));
            return "not made".to_owned();
        }
    }
    format!("{USR_LOCAL_ETC} leads to {ETC_LOCAL}{done}")
}

/// Makes `/etc/local`, if `/cfg` did not bring one.
fn ensure_etc_local(boot: &mut Boot<'_, '_>) -> anyhow::Result<()> {
    super::cfg::mount_point(boot, Path::new(ETC_LOCAL))
}

/// Copies what the image ships in `/usr/local/etc` and `/etc/local` lacks, so that it is still seen
/// behind the link. What `/etc/local` has stays. False, with a finding, when some of it could not
/// be copied.
fn take_over(boot: &mut Boot<'_, '_>) -> bool {
    if let Err(error) = ensure_etc_local(boot) {
        boot.find(Finding::new(Code::E51, format!("{error:#}")));
        return false;
    }
    let (source, target) = (Path::new(USR_LOCAL_ETC), Path::new(ETC_LOCAL));
    let mut comparison = tree::compare(boot.host.files(), source, target, Existing::Keep, &[]);
    if !boot.act {
        let count = comparison.changes.len();
        boot.console.say(&format!("would copy {count} files to {ETC_LOCAL}"));
        return true;
    }
    let mounts = boot.host.mounts().unwrap_or_default();
    let durable = mount_of(&mounts, target).is_none_or(|mount| !mount.in_memory());
    overlay::write(boot, source, target, &mut comparison, durable);
    let failed: Vec<_> = comparison
        .failed
        .iter()
        .map(|(path, why)| format!("{}: {why}", source.join(path).display()))
        .collect();
    overlay::tell(boot, Code::E51, "not copied to /etc/local", &failed);
    failed.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_of_usr_local_etc_has_its_decision() {
        let link = |to: &str| Some((FileKind::Link, Some(PathBuf::from(to))));
        let directory = Some((FileKind::Directory, None));
        let cannot = |why: &str| Decision::Cannot(why.to_owned());
        let (ro, empty, aside) = (1, 2, 4);
        let table = [
            (link("/etc/local"), ro, Decision::Already),
            (link("../../etc/local"), 0, Decision::Already),
            (link("../../etc/local/"), ro, Decision::Already),
            (link("/elsewhere"), 0, Decision::Relink(PathBuf::from("/elsewhere"))),
            (link("/elsewhere"), ro, cannot("it is a link to /elsewhere, on a read-only system")),
            (directory.clone(), ro, Decision::ShowOver),
            (directory.clone(), ro | empty, Decision::ShowOver),
            (directory.clone(), empty, Decision::ReplaceEmpty),
            (directory.clone(), 0, Decision::MoveAside),
            (directory, aside, Decision::ShowOver),
            (Some((FileKind::File, None)), 0, cannot("it is a file")),
            (None, 0, Decision::Link),
            (None, ro, cannot("the image has none, and the system is read-only")),
        ];
        for (here, bits, decision) in table {
            let facts = Facts {
                here,
                read_only: bits & ro != 0,
                empty: bits & empty != 0,
                aside: bits & aside != 0,
                mounted: None,
                above: true,
            };
            assert_eq!(decide(&facts), decision, "{facts:?}");
        }
    }
}
