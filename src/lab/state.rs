//! What a machine looks like, in lines that can be compared: files, mounts, pools, environment.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::disks::number_of;
use super::machine::{Damage, Dataset, Loader, Pool};
use super::tree;
use super::{Inner, Lab};
use crate::boot::past;
use crate::format::boots::{self, Found};
use crate::host::{FileKind, RealFiles, Stat};

/// Where nanozfs records each boot: durations differ, so it is not compared.
const RECORD: &str = "db/nanozfs";
/// What it said, with the time.
const LOG: &str = "log/nanozfs.log";

/// Everything that can be seen of a machine, without times: not the variable that is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// What is where: `A etc/rc.conf` and how it looks.
    pub lines: BTreeMap<String, String>,
}

impl State {
    /// The first few differences to `later`, one line each; empty when there are none.
    pub fn differences(&self, later: &State) -> Vec<String> {
        let names = self.lines.keys().chain(later.lines.keys());
        let names: std::collections::BTreeSet<&String> = names.collect();
        let mut found = Vec::new();
        for name in names {
            match (self.lines.get(name), later.lines.get(name)) {
                (Some(one), Some(other)) if one == other => {}
                (Some(one), Some(other)) => found.push(format!("{name}: {one} -> {other}")),
                (Some(one), None) => found.push(format!("{name}: {one} -> gone")),
                (None, Some(other)) => found.push(format!("{name}: new: {other}")),
                (None, None) => {}
            }
        }
        found
    }
}

impl Lab {
    /// Everything that can be seen of the machine: what is on its disks, and what is in memory.
    ///
    /// # Errors
    ///
    /// When the lab's directory cannot be read.
    pub fn state(&self) -> io::Result<State> {
        let inner = self.lock();
        let mut state = inner.disk_state()?;
        for (number, mounted) in inner.machine.mounts.iter().enumerate() {
            let mount = &mounted.mount;
            let how = if mount.read_only { "read-only" } else { "read-write" };
            let line = format!("{} {} {how}", mount.fstype, mount.source);
            state.lines.insert(format!("mount {number} {}", mount.at.display()), line);
            if inner.machine.trees.get(&mounted.tree).is_some_and(|tree| tree.memory) {
                let at = mount.at.to_string_lossy();
                inner.tree_state(&mut state, &mounted.tree, &at)?;
            }
        }
        // These tell when a boot began and when /cfg was laid: another time each time.
        let steady = |(name, _): &(&String, &String)| {
            ![past::BOOT, crate::boot::laid::VARIABLE].contains(&name.as_str())
        };
        for (name, value) in inner.machine.kenv.iter().filter(steady) {
            state.lines.insert(format!("kenv {name}"), value.clone());
        }
        Ok(state)
    }

    /// The content of a dataset or snapshot, as one number; none when it is not there. The record of
    /// the boots does not count.
    ///
    /// # Errors
    ///
    /// When the lab's directory cannot be read.
    pub fn content(&self, name: &str) -> io::Result<Option<String>> {
        let inner = self.lock();
        let (dataset, snapshot) = name.split_once('@').unwrap_or((name, ""));
        let Some(found) = inner.machine.dataset(dataset) else { return Ok(None) };
        let taken = found.snapshots.iter().find(|taken| taken.name == snapshot);
        let tree = match (taken, snapshot) {
            (Some(taken), _) => &taken.tree,
            (None, "") => &found.tree,
            (None, _) => return Ok(None),
        };
        let mut files = State::default();
        inner.tree_state(&mut files, tree, &found.name.replace('/', "+"))?;
        Ok(Some(digest(files.lines.iter())))
    }

    /// What is on the machine's disks, and would be there after an orderly shutdown.
    ///
    /// # Errors
    ///
    /// When the lab's directory cannot be read.
    pub fn disk_state(&self) -> io::Result<State> {
        self.lock().disk_state()
    }
}

impl Inner {
    fn disk_state(&self) -> io::Result<State> {
        let mut state = State::default();
        let mut names: BTreeMap<&String, Option<String>> = BTreeMap::new();
        for pool in &self.machine.pools {
            for dataset in &pool.datasets {
                names.insert(&dataset.tree, Some(shown(pool, dataset)));
                names.extend(dataset.snapshots.iter().map(|taken| (&taken.tree, None)));
            }
        }
        for (name, tree) in &self.machine.trees {
            match names.get(name) {
                _ if tree.memory => {}
                None => self.tree_state(&mut state, name, name)?,
                Some(Some(shown)) => self.tree_state(&mut state, name, shown)?,
                // One line says it all, below.
                Some(None) => {}
            }
        }
        for (name, tree) in &self.machine.trees {
            if tree.unclean || tree.damage != Damage::None {
                let line = format!("unclean {}, damage {:?}", tree.unclean, tree.damage);
                state.lines.insert(format!("volume {name}"), line);
            }
        }
        for disk in &self.machine.disks {
            if !disk.table_ok {
                state.lines.insert(format!("table {}", disk.id), "corrupt".to_owned());
            }
            if disk.loader == Loader::Boot0 {
                let line = disk.default_slice.to_string();
                state.lines.insert(format!("boot0 {}", disk.id), line);
            }
            for part in disk.parts.iter().filter(|part| part.tree.is_some()) {
                let place = format!("slot {} {}", disk.id, part.index);
                let mut marks = part.attributes.clone();
                marks.sort();
                let holds = if part.raw { "no file system" } else { &part.ufs_label };
                let at = usize::try_from(boots::OFFSET).unwrap_or(usize::MAX);
                let front = part.boot_area.as_ref().and_then(|area| area.get(at..));
                // Our own record differs from boot to boot.
                if let Some(front) = front.filter(|front| boots::parse(front) == Found::Foreign) {
                    let text: String = front.iter().map(|byte| char::from(*byte)).collect();
                    let line = format!("{:016x}", number_of(&text));
                    state.lines.insert(format!("boot area {} {}", disk.id, part.index), line);
                }
                state.lines.insert(place, format!("{holds} {}", marks.join(",")));
            }
        }
        for pool in &self.machine.pools {
            let place = format!("pool {}", pool.store);
            let word = if pool.imported { self.health(pool) } else { "not imported" };
            state.lines.insert(place.clone(), word.to_owned());
            for leaf in pool.tops.iter().flat_map(|top| &top.leaves) {
                let line = format!("{} host {:x} state {}", leaf.path, leaf.hostid, leaf.state);
                state.lines.insert(format!("{place} disk {}", leaf.guid), line);
            }
            for dataset in &pool.datasets {
                let local = dataset.local.iter().map(|(name, value)| format!("{name}={value}"));
                let origin = dataset.origin.iter().map(|origin| format!("origin={origin}"));
                let line = local.chain(origin).collect::<Vec<_>>().join(" ");
                state.lines.insert(format!("dataset {} {}", pool.store, dataset.name), line);
                for taken in &dataset.snapshots {
                    let mut files = State::default();
                    self.tree_state(&mut files, &taken.tree, &shown(pool, dataset))?;
                    let place = format!("snapshot {} {}@{}", pool.store, dataset.name, taken.name);
                    let digest = digest(files.lines.iter());
                    state.lines.insert(place, format!("{} files, {digest}", files.lines.len()));
                }
            }
        }
        Ok(state)
    }

    fn tree_state(&self, state: &mut State, tree: &str, shown: &str) -> io::Result<()> {
        for path in tree::paths(&self.root.join(tree))? {
            if is_record(shown, &path) {
                continue;
            }
            let line = self.file_state(tree, &path)?;
            state.lines.insert(format!("{shown} {}", path.display()), line);
        }
        Ok(())
    }

    /// One file in one line: kind, owner, mode, content.
    fn file_state(&self, tree: &str, path: &Path) -> io::Result<String> {
        use crate::host::Files;
        let real = self.real(tree, path);
        let node = self.node(tree, path)?;
        let Stat { kind, .. } = RealFiles.stat(&real)?;
        let attributes = node.attributes;
        let owner = format!("{}:{} {:04o}", attributes.uid, attributes.gid, attributes.mode);
        Ok(match node.kind.unwrap_or(kind) {
            FileKind::File => {
                let content = std::fs::read(&real)?;
                let text: String = content.iter().map(|byte| char::from(*byte)).collect();
                format!("file {owner} {} bytes {:016x}", content.len(), number_of(&text))
            }
            FileKind::Link => format!("link to {}", std::fs::read_link(&real)?.display()),
            other => format!("{} {owner}", other.name()),
        })
    }
}

/// How the files of a dataset are shown.
fn shown(pool: &Pool, dataset: &Dataset) -> String {
    let rest = dataset.name.strip_prefix(&pool.name).unwrap_or(&dataset.name);
    format!("pools/{}/@{}", pool.store, rest.trim_start_matches('/').replace('/', "+"))
}

/// One number for all the lines; paths count without what they are shown below.
fn digest<'a>(lines: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    let line = |(name, line): (&'a String, &'a String)| {
        format!("{} {line}\n", name.split_once(' ').map_or("", |(_, path)| path))
    };
    format!("{:016x}", number_of(&lines.map(line).collect::<String>()))
}

/// True for the record of the boot and for what it said, wherever `/var` is.
fn is_record(shown: &str, path: &Path) -> bool {
    let is_var = shown.ends_with("+var") || shown.ends_with("-var") || shown == "/var";
    let is_log = shown.ends_with("+var+log") || shown.ends_with("-var+log");
    let log = Path::new(LOG);
    is_var && (path.starts_with(RECORD) || path == log)
        || is_log && Some(path.as_os_str()) == log.file_name()
}
