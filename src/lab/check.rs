//! Checking what a story expects.

use std::path::Path;

use super::Lab;
use super::machine::EPOCH;
use super::play::Last;
use super::statement::Expect;
use crate::boot::osdrive;
use crate::boot::past::{self, PastBoot};
use crate::host::{FileKind, Files, Host, mounted_at};

/// More than any file of a story.
const LIMIT: u64 = 1 << 26;
/// The transaction group of a pool that nobody has touched.
const UNTOUCHED: u64 = 100;
/// Where the record of a boot may be written although nothing changes.
const RECORD: [&str; 1] = ["/var/db/nanozfs"];

impl Lab {
    /// Why it is not so; nothing when it is.
    pub(crate) fn check(&self, expect: &Expect, last: &Last) -> Option<String> {
        match expect {
            Expect::Exit(code) => differ("exit", &Some(*code), &last.exit),
            Expect::Mode(mode) => {
                differ("mode", &Some(mode.clone()), &self.kenv(crate::boot::record::STATE))
            }
            Expect::Kenv(name, value) => differ(name, &Some(value.clone()), &self.kenv(name)),
            Expect::Mounted { at, source, read_only } => {
                let mounts = self.mounts().unwrap_or_default();
                let found = mounted_at(&mounts, at).map(|one| (one.source.clone(), one.read_only));
                match found {
                    Some((found, ro)) if found == *source && (ro || !read_only) => None,
                    found => Some(format!("{} shows {found:?}, not {source}", at.display())),
                }
            }
            Expect::NotMounted(at) => {
                let mounts = self.mounts().unwrap_or_default();
                let found = mounted_at(&mounts, at)?;
                Some(format!("{} is mounted: {}", at.display(), found.source))
            }
            Expect::File { path, content, mode, owner } => {
                let found = match self.read(path, LIMIT) {
                    Ok(found) => String::from_utf8_lossy(&found).into_owned(),
                    Err(error) => return Some(format!("{}: {error}", path.display())),
                };
                differ(&path.display().to_string(), content, &found)
                    .or_else(|| self.check_attributes(path, *mode, *owner))
            }
            Expect::Directory { path, mode } => match self.stat(path) {
                Ok(stat) if stat.kind == FileKind::Directory => {
                    self.check_attributes(path, *mode, None)
                }
                found => Some(format!("{}: not a directory: {found:?}", path.display())),
            },
            Expect::Link { path, target } => match self.read_link(path) {
                Ok(found) => differ(&path.display().to_string(), target, &found),
                Err(error) => Some(format!("{}: {error}", path.display())),
            },
            Expect::Absent(path) => {
                self.stat(path).ok().map(|_| format!("{} is there", path.display()))
            }
            Expect::Dataset(name) | Expect::Snapshot(name) => {
                (!self.lock().machine.has(name)).then(|| format!("there is no {name}"))
            }
            Expect::NoDataset(name) => {
                self.lock().machine.has(name).then(|| format!("{name} is there"))
            }
            Expect::Property { dataset, name, value } => {
                let inner = self.lock();
                let found = inner.machine.dataset(dataset);
                let found = found.and_then(|one| one.local.get(name).cloned());
                differ(&format!("{name} of {dataset}"), &Some(value.clone()), &found)
            }
            Expect::Imported(pool) => {
                let pools = &self.lock().machine.pools;
                let found = pools.iter().any(|one| one.name == *pool && one.imported);
                (!found).then(|| format!("pool {pool} is not imported"))
            }
            Expect::Untouched(pool) => self.check_untouched(pool),
            Expect::Waited(from, to) => {
                let waited = last.waited;
                let good = (*from..=*to).contains(&waited);
                (!good).then(|| format!("waited {waited:?}, not {from:?} to {to:?}"))
            }
            Expect::Programs(most) => {
                let count = last.programs;
                (count > *most).then(|| format!("ran {count} programs, more than {most}"))
            }
            Expect::Restarting(wanted) => {
                let found = self.lock().machine.restarting;
                differ("restarting", wanted, &found)
            }
            Expect::Running(slot) => {
                let inner = self.lock();
                let root = inner.machine.mounts.first().map(|one| one.tree.clone());
                let found = root.as_deref().and_then(|tree| tree.rsplit('/').next());
                let found = found.unwrap_or("nothing").to_owned();
                differ("running", slot, &found)
            }
            Expect::Slot { slot, marks } => self.check_slot(slot, marks),
            Expect::Unchanged => {
                let effect = last
                    .effects
                    .iter()
                    .find(|effect| !RECORD.iter().any(|record| effect.object.starts_with(record)));
                let effect = effect.map(|effect| format!("the last run changed: {effect}"));
                effect.or_else(|| last.changed.clone())
            }
            Expect::Logged(words) => {
                let found = self.read(Path::new(crate::boot::said::LOG), LIMIT);
                let found = String::from_utf8_lossy(&found.unwrap_or_default()).into_owned();
                (!found.contains(words)).then(|| format!("not logged: {words:?}, but {found}"))
            }
            Expect::Syslog(words) => {
                let inner = self.lock();
                let found = inner.machine.syslog.iter().any(|line| line.contains(words));
                let told = &inner.machine.syslog;
                (!found).then(|| format!("syslogd was not told {words:?}, but {told:?}"))
            }
            Expect::Unfinished(count) => {
                let found = past::unfinished(self, self.os_drive().as_ref());
                differ("boots without an end", count, &found)
            }
            Expect::Past(wanted) => {
                let found = past::recent(self, self.os_drive().as_ref());
                let found: Vec<_> = found.iter().map(word_of).collect();
                differ("the last boots", wanted, &found)
            }
            Expect::Says(words) => {
                (!said(&last.output, words)).then(|| format!("it did not say {words:?}"))
            }
            Expect::Silent(words) => {
                said(&last.output, words).then(|| format!("it did say {words:?}"))
            }
        }
    }

    /// The OS drive, as nanozfs finds it.
    pub(crate) fn os_drive(&self) -> Option<osdrive::OsDrive> {
        let (config, mut out) = (crate::config::Config::load(self).0, Vec::new());
        let mut console = crate::report::Console::new(&mut out, false);
        osdrive::look(&mut crate::boot::Boot::new(self, &config, &mut console, false))
    }

    fn check_attributes(
        &self,
        path: &Path,
        mode: Option<u32>,
        owner: Option<(u32, u32)>,
    ) -> Option<String> {
        let found = match self.stat(path) {
            Ok(stat) => stat.attributes,
            Err(error) => return Some(format!("{}: {error}", path.display())),
        };
        let wrong_mode = mode.filter(|mode| *mode != found.mode);
        let wrong_owner = owner.filter(|owner| *owner != (found.uid, found.gid));
        (wrong_mode.is_some() || wrong_owner.is_some())
            .then(|| format!("{}: {:04o} {}:{}", path.display(), found.mode, found.uid, found.gid))
    }

    /// What the table says about a slot of the drive that the machine starts from.
    fn check_slot(&self, slot: &str, wanted: &[String]) -> Option<String> {
        let inner = self.lock();
        let machine = &inner.machine;
        let disk = machine.disks.iter().find(|disk| disk.id == machine.start.disk);
        let here = |part: &&super::machine::Part| {
            part.tree.as_ref().is_some_and(|tree| tree.ends_with(&format!("/{slot}")))
        };
        let Some(part) = disk.and_then(|disk| disk.parts.iter().find(here)) else {
            return Some(format!("there is no slot {slot}"));
        };
        let mut found = part.attributes.clone();
        if part.raw {
            found.push("invalid".to_owned());
        }
        let mut wanted = wanted.to_vec();
        found.sort();
        wanted.sort();
        differ(&format!("slot {slot}"), &wanted, &found)
    }

    /// Never imported, and nothing in its datasets is younger than the story.
    fn check_untouched(&self, name: &str) -> Option<String> {
        let inner = self.lock();
        let number = name.parse::<u64>().ok();
        let meant = |pool: &&super::machine::Pool| pool.name == name || Some(pool.guid) == number;
        let mut found = false;
        for pool in inner.machine.pools.iter().filter(meant) {
            found = true;
            let leaves = pool.tops.iter().flat_map(|top| &top.leaves);
            if pool.imported || pool.txg != UNTOUCHED || leaves.clone().any(|l| l.txg != UNTOUCHED)
            {
                return Some(format!("pool {name} was imported"));
            }
            for dataset in &pool.datasets {
                let tree = inner.machine.trees.get(&dataset.tree);
                let mut nodes = tree.iter().flat_map(|tree| &tree.nodes);
                if nodes.any(|(_, node)| node.attributes.modified.seconds != EPOCH) {
                    return Some(format!("{} was written to", dataset.name));
                }
            }
        }
        (!found).then(|| format!("there is no pool {name}"))
    }
}

/// `normal:finished`
fn word_of(past: &PastBoot) -> String {
    let mode = past.mode.map_or("unknown", crate::report::Mode::name);
    let end = if past.finished { "finished" } else { "unfinished" };
    format!("{mode}:{end}")
}

/// Says what is different.
fn differ<T: PartialEq + std::fmt::Debug>(what: &str, wanted: &T, found: &T) -> Option<String> {
    (wanted != found).then(|| format!("{what}: {found:?}, not {wanted:?}"))
}

/// True when the words are there, however the lines are wrapped.
fn said(output: &str, words: &str) -> bool {
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    flat(output).contains(&flat(words))
}
