//! Doing the statements that build or change the machine from outside.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Inner;
use super::disks::number_of;
use super::machine::{Scheme, Top, Trouble};
use super::slots::image_tree;
use super::statement::{DiskTrouble, Start, Statement, TopWords, Where};
use super::tree::{Thing, plain};
use crate::host::Holder;

/// The lab's hostid for a host of this name.
fn hostid(name: &str) -> u32 {
    (number_of(name) & 0xffff_ffff) as u32
}

impl Inner {
    /// Does a statement that builds or changes the machine; false when it is another one.
    ///
    /// # Errors
    ///
    /// When it names something that is not there.
    pub(crate) fn build(&mut self, statement: &Statement) -> io::Result<bool> {
        match statement {
            Statement::OsDrive(drive) => self.add_os_drive(drive)?,
            Statement::Start(parts) => parts.iter().for_each(|part| self.start(part)),
            Statement::Disk { device, serial, size, after } => {
                self.add_disk(device, serial, *size, *after);
            }
            Statement::Partition { device, name, size } => {
                self.add_part(device, name, *size).ok_or_else(|| no_disk(device))?;
            }
            Statement::Pool { name, tops, guid, host, exported } => {
                let tops = tops.iter().map(|top| self.top(name, top)).collect::<io::Result<_>>()?;
                self.add_pool(name, *guid, tops);
                self.add_dataset(name)?;
                self.last_used(name, host.as_deref(), *exported)?;
            }
            Statement::Add { pool, top } => {
                let top = self.top(pool, top)?;
                let meant = self.machine.pools.iter_mut().rfind(|one| one.name == *pool);
                meant.ok_or_else(|| no_pool(pool))?.tops.push(top);
            }
            Statement::LastUsed { pool, host, exported, by_diskid } => {
                self.last_used(pool, host.as_deref(), *exported)?;
                if *by_diskid {
                    self.by_diskid(pool)?;
                }
            }
            Statement::Dataset { name, settings, encrypted, key } => {
                let dataset = self.add_dataset(name)?;
                (dataset.encrypted, dataset.key) = (*encrypted, *key);
                dataset.local.entry("mountpoint".to_owned()).or_insert("none".to_owned());
                dataset.local.extend(settings.iter().cloned());
                dataset.local.retain(|_, value| value != "inherit");
            }
            Statement::Property { dataset, name, value } => {
                self.change_property(dataset, name, value)?;
            }
            Statement::Snapshot(names) => self.snapshot(names)?,
            Statement::Destroy(name) => {
                let gone = |one: &super::machine::Dataset| Path::new(&one.name).starts_with(name);
                let mut trees = Vec::new();
                for pool in &mut self.machine.pools {
                    let datasets = pool.datasets.iter().filter(|one| gone(one));
                    for one in datasets {
                        trees.extend(one.snapshots.iter().map(|one| one.tree.clone()));
                        trees.push(one.tree.clone());
                    }
                    pool.datasets.retain(|one| !gone(one));
                }
                self.drop_trees(&trees)?;
            }
            Statement::Put { place, path, thing, mode, owner } => {
                for (tree, below) in self.places(place, path)? {
                    let thing = &in_its_slot(thing, &tree, &below);
                    let mut attributes = plain(*mode);
                    (attributes.uid, attributes.gid) = *owner;
                    if self.machine.on {
                        attributes.modified = self.machine.now();
                    }
                    if matches!(place, Where::Dataset(_)) {
                        // What people and programs write has fractions of a second, images have not.
                        attributes.modified.nanoseconds = 123_456_789;
                    }
                    self.put(&tree, &below, thing, attributes)?;
                }
            }
            Statement::Remove { place, path } => {
                for (tree, below) in self.places(place, path)? {
                    self.take(&tree, &below)?;
                }
            }
            Statement::Config(key, value) => self.config(key, value)?,
            Statement::Kenv(name, value) => {
                self.machine.loader.insert(name.clone(), value.clone());
            }
            Statement::Fault(fault) => self.machine.faults.push(fault.clone()),
            Statement::DiskFault { device, trouble } => {
                let disk = self.machine.disk_mut(device).ok_or_else(|| no_disk(device))?;
                match trouble {
                    DiskTrouble::Lasting(trouble) => disk.trouble = *trouble,
                    DiskTrouble::Once(flaw) => disk.flaw = Some(*flaw),
                    DiskTrouble::CorruptTable => disk.table_ok = false,
                    DiskTrouble::RecoveryCopy(unclean, damage) => {
                        let of_copy = |tree: &&String| tree.ends_with("/recovery");
                        let trees = disk.parts.iter().filter_map(|part| part.tree.as_ref());
                        let trees: Vec<_> = trees.filter(of_copy).cloned().collect();
                        for tree in trees {
                            if let Some(tree) = self.machine.trees.get_mut(&tree) {
                                (tree.unclean, tree.damage) = (*unclean, *damage);
                            }
                        }
                    }
                }
            }
            Statement::BootArea { device, bytes } => self.put_in_boot_area(device, bytes)?,
            Statement::Image { name, from } => self.make_image(name, from.as_deref())?,
            Statement::InUse(path) => drop(self.machine.in_use.insert(path.clone())),
            Statement::ServiceFails(name) if name == "nothing" => {
                self.machine.failed_services.clear();
            }
            Statement::ServiceFails(name) => self.machine.failed_services.push(name.clone()),
            Statement::Interface(interface) => {
                self.machine.interfaces.retain(|one| one.name != interface.name);
                self.machine.interfaces.push(interface.clone());
            }
            Statement::DefaultRoute(there) => self.machine.default_route = *there,
            Statement::Answers(lines) => self.machine.answers.extend(lines.iter().cloned()),
            Statement::Wait(time) => self.time_passes(*time),
            Statement::AtWork(None) => self.machine.at_work = None,
            Statement::AtWork(Some((process, words))) => {
                let words = words.iter().map(String::as_str);
                self.machine.at_work = Some(Holder::new(*process, self.machine.uptime, words));
            }
            Statement::Mend => {
                self.machine.faults.clear();
                for disk in &mut self.machine.disks {
                    (disk.trouble, disk.flaw) = (Trouble::None, None);
                }
            }
            Statement::Detach(device) => {
                let disk = self.machine.disk_mut(device).ok_or_else(|| no_disk(device))?;
                disk.attached = false;
            }
            Statement::Attach { device, name, after } => self.attach(device, name, *after)?,
            Statement::Rename { from, to } => {
                let disk = self.machine.disk_mut(from).ok_or_else(|| no_disk(from))?;
                disk.device.clone_from(to);
            }
            Statement::Swap { device, serial } => self.swap(device, serial)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// A property from outside: `available` is the space in the pool.
    fn change_property(&mut self, dataset: &str, name: &str, value: &str) -> io::Result<()> {
        let missing = || io::Error::other(format!("there is no dataset {dataset}"));
        let has =
            |pool: &&mut super::machine::Pool| pool.datasets.iter().any(|one| one.name == dataset);
        let mut pools: Vec<_> = self.machine.pools.iter_mut().filter(has).collect();
        // The imported one is meant, else the newest.
        pools.sort_by_key(|pool| pool.imported);
        let pool = pools.pop().ok_or_else(missing)?;
        if name == "available" {
            pool.available = value.parse().map_err(|_| io::Error::other("not a number"))?;
            return Ok(());
        }
        let found = pool.datasets.iter_mut().find(|one| one.name == dataset);
        found.ok_or_else(missing)?.local.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    fn start(&mut self, part: &Start) {
        let start = &mut self.machine.start;
        match part {
            Start::Writable(writable) => start.root_writable = *writable,
            Start::ByLabel(by_label) => start.by_label = *by_label,
            Start::Etc(memory) => start.memory_etc = *memory,
            Start::Slot(slot) => self.start_slot(*slot),
        }
    }

    /// A machine that has been running from this slot.
    fn start_slot(&mut self, slot: u32) {
        let id = self.machine.start.disk.clone();
        let Some(disk) = self.machine.disks.iter_mut().find(|disk| disk.id == id) else { return };
        let mark = if disk.scheme == Scheme::Gpt { "bootme" } else { "active" };
        disk.default_slice = slot;
        for part in &mut disk.parts {
            part.attributes.retain(|name| name != mark);
            if part.index == slot {
                part.attributes.push(mark.to_owned());
            }
        }
    }

    pub(crate) fn top(&self, pool: &str, words: &TopWords) -> io::Result<Top> {
        let leaf = |word: &String| self.leaf(pool, word).ok_or_else(|| no_disk(word));
        let leaves: Vec<_> = words.devices.iter().map(leaf).collect::<io::Result<_>>()?;
        let (kind, parity) = match words.kind.strip_prefix("raidz") {
            Some(digits) => ("raidz", digits.parse().unwrap_or(1)),
            None if words.kind == "mirror" => ("mirror", 0),
            None => ("disk", 0),
        };
        let only = leaves.first().filter(|_| kind == "disk").map(|leaf| leaf.guid);
        let name = format!("{pool} {} {}", words.kind, words.devices.join(" "));
        let aside = matches!(words.kind.as_str(), "spare" | "cache").then(|| words.kind.clone());
        Ok(Top {
            kind: kind.to_owned(),
            parity,
            guid: only.unwrap_or_else(|| number_of(&name)),
            leaves,
            log: words.kind == "log",
            aside,
        })
    }

    fn last_used(&mut self, name: &str, host: Option<&str>, exported: bool) -> io::Result<()> {
        let pool = self.machine.pools.iter_mut().rfind(|pool| pool.name == name);
        let pool = pool.ok_or_else(|| no_pool(name))?;
        for leaf in pool.tops.iter_mut().flat_map(|top| &mut top.leaves) {
            leaf.state = u64::from(exported);
            if let Some(host) = host {
                leaf.hostid = hostid(host);
                host.clone_into(&mut leaf.hostname);
            }
        }
        Ok(())
    }

    /// The labels say that the disks were last seen under their names below `diskid/`.
    fn by_diskid(&mut self, name: &str) -> io::Result<()> {
        let disks = &self.machine.disks;
        let pool = self.machine.pools.iter_mut().rfind(|pool| pool.name == name);
        let pool = pool.ok_or_else(|| no_pool(name))?;
        for leaf in pool.tops.iter_mut().flat_map(|top| &mut top.leaves) {
            if let Some(disk) = disks.iter().find(|disk| disk.id == leaf.disk) {
                leaf.path = format!("/dev/diskid/DISK-{}", disk.serial);
            }
        }
        Ok(())
    }

    /// The file systems and places in them that a story means.
    fn places(&self, place: &Where, path: &Path) -> io::Result<Vec<(String, PathBuf)>> {
        let below = path.strip_prefix("/").unwrap_or(path).to_path_buf();
        Ok(match place {
            Where::Here => {
                let place = self.place(path)?;
                vec![(place.tree, place.below)]
            }
            Where::Dataset(name) => {
                let missing = || io::Error::other(format!("there is no dataset {name}"));
                vec![(self.machine.dataset(name).ok_or_else(missing)?.tree.clone(), below)]
            }
            Where::Made(name) => {
                let tree = image_tree(name);
                if !self.machine.trees.contains_key(&tree) {
                    return Err(io::Error::other(format!("there is no image {name}")));
                }
                let mut all = vec![(tree.clone(), below.clone())];
                // As for the slots: /etc is in both of its places.
                if let (Ok(rest), true) =
                    (below.strip_prefix("etc"), self.machine.start.memory_etc.is_some())
                {
                    all.push((tree, Path::new("conf/base/etc").join(rest)));
                }
                all
            }
            Where::Recovery => {
                self.os_trees("recovery").into_iter().map(|tree| (tree, below.clone())).collect()
            }
            Where::Image => {
                let mut all = Vec::new();
                for tree in self.os_trees("A").into_iter().chain(self.os_trees("B")) {
                    if let (Ok(rest), true) =
                        (below.strip_prefix("etc"), self.machine.start.memory_etc.is_some())
                    {
                        all.push((tree.clone(), Path::new("conf/base/etc").join(rest)));
                    }
                    all.push((tree, below.clone()));
                }
                all
            }
        })
    }

    /// An image that is in no slot: that of slot A of the drive that the machine starts from, or
    /// another one.
    fn make_image(&mut self, name: &str, from: Option<&str>) -> io::Result<()> {
        let of_slot = || {
            let start = &self.machine.start.disk;
            let disk = self.machine.disks.iter().find(|disk| disk.id == *start)?;
            disk.parts.iter().find_map(|part| part.tree.clone())
        };
        let tree = from.map(image_tree).or_else(of_slot);
        let tree = tree.ok_or_else(|| io::Error::other("there is no OS drive"))?;
        let entries = self.entries(&tree)?;
        self.lay_entries(&image_tree(name), entries)
    }

    /// The file systems of this kind on all OS drives.
    fn os_trees(&self, what: &str) -> Vec<String> {
        let parts = self.machine.disks.iter().flat_map(|disk| &disk.parts);
        let trees = parts.filter_map(|part| part.tree.clone());
        trees.filter(|tree| tree.rsplit('/').next() == Some(what)).collect()
    }

    /// Sets a key in the image's nanozfs.conf, as sysrc(8) does: another line of that key goes.
    fn config(&mut self, key: &str, value: &str) -> io::Result<()> {
        for (tree, below) in self.places(&Where::Image, Path::new("/etc/nanozfs.conf"))? {
            let old = std::fs::read_to_string(self.real(&tree, &below)).unwrap_or_default();
            let start = format!("{key}=");
            let mut text: String = old
                .lines()
                .filter(|line| !line.starts_with(&start))
                .map(|line| format!("{line}\n"))
                .collect();
            text.push_str(&format!("{key}=\"{value}\"\n"));
            self.put(&tree, &below, &Thing::File(text.into_bytes()), plain(0o644))?;
        }
        Ok(())
    }

    fn attach(&mut self, device: &str, name: &Option<String>, after: Duration) -> io::Result<()> {
        let (on, now) = (self.machine.on, self.machine.uptime);
        let disk = self.machine.disk_mut(device).ok_or_else(|| no_disk(device))?;
        disk.attached = true;
        if let Some(name) = name {
            disk.device.clone_from(name);
        }
        if on {
            disk.appears = now + after;
        } else {
            disk.after = after;
        }
        Ok(())
    }

    /// Takes the OS drive out and puts another one in, written with the same image.
    fn swap(&mut self, device: &str, serial: &str) -> io::Result<()> {
        let old = self.machine.start.disk.clone();
        let disk = self.machine.disks.iter_mut().find(|disk| disk.id == old);
        let disk = disk.ok_or_else(|| no_disk(&old))?;
        disk.attached = false;
        let mut new = disk.clone();
        let was = std::mem::replace(&mut new.id, format!("{serial}.os"));
        device.clone_into(&mut new.device);
        serial.clone_into(&mut new.serial);
        new.attached = true;
        let was = was.trim_end_matches(".os").to_owned();
        for part in &mut new.parts {
            let Some(tree) = part.tree.clone() else { continue };
            let renamed = tree.replace(&format!("os/{was}/"), &format!("os/{serial}/"));
            self.make_tree(&renamed, false)?;
            self.copy_tree((&tree, Path::new("")), (&renamed, Path::new("")))?;
            part.tree = Some(renamed);
        }
        self.machine.start.disk.clone_from(&new.id);
        debug_assert_ne!(new.scheme, Scheme::None);
        self.machine.disks.push(new);
        Ok(())
    }
}

/// Whoever fills the second slot of a new drive has fstab name it.
fn in_its_slot(thing: &Thing, tree: &str, below: &Path) -> Thing {
    match thing {
        Thing::File(content) if tree.ends_with("/B") && below.ends_with("etc/fstab") => {
            let text = String::from_utf8_lossy(content).replace("s1a /", "s2a /");
            Thing::File(text.into_bytes())
        }
        other => other.clone(),
    }
}

fn no_disk(name: &str) -> io::Error {
    io::Error::other(format!("there is no disk {name}"))
}

fn no_pool(name: &str) -> io::Error {
    io::Error::other(format!("there is no pool {name}"))
}
