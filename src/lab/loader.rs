//! From the firmware to the kernel: which slot is started, and what that changes on the drive.
//!
//! After FreeBSD's `stand/libsa/gpt.c` and `stand/i386/{gptboot,boot0,boot2}`.

use std::path::Path;

use super::Inner;
use super::machine::{Disk, Loader, Part, Scheme};
use super::providers::providers;
use crate::host::Flag;

/// A machine that panics as often does so for ever.
const PATIENCE: usize = 8;
/// Where the kernel is; one that contains the word panics.
const KERNEL: &str = "boot/kernel/kernel";
const PANICS: &str = "panics";

impl Part {
    fn has(&self, flag: Flag) -> bool {
        self.attributes.iter().any(|name| name == flag.name())
    }

    fn mark(&mut self, flag: Flag, on: bool) {
        self.attributes.retain(|name| name != flag.name());
        if on {
            self.attributes.push(flag.name().to_owned());
        }
    }

    /// There is something to load from.
    fn loads(&self) -> bool {
        self.tree.is_some() && !self.raw
    }

    fn is_ufs(&self) -> bool {
        self.kind == "freebsd-ufs"
    }
}

/// gptboot(8): the index of the partition that it loads from, after what it tried and wrote.
fn gptboot(disk: &mut Disk) -> Option<u32> {
    let parts = &mut disk.parts;
    for part in parts.iter_mut() {
        let tried = part.has(Flag::BootOnce) && !part.has(Flag::BootMe);
        if tried && !part.has(Flag::BootFailed) {
            part.mark(Flag::BootOnce, false);
            part.mark(Flag::BootFailed, true);
        }
    }
    let mut found = false;
    for part in parts.iter_mut().filter(|part| part.is_ufs()) {
        if !part.has(Flag::BootMe) || !part.has(Flag::BootOnce) {
            continue;
        }
        found = true;
        part.mark(Flag::BootMe, false);
        if part.loads() {
            return Some(part.index);
        }
        part.mark(Flag::BootOnce, false);
        part.mark(Flag::BootFailed, true);
    }
    for part in parts.iter().filter(|part| part.is_ufs()) {
        if part.has(Flag::BootMe) && !part.has(Flag::BootOnce) {
            found = true;
            if part.loads() {
                return Some(part.index);
            }
        }
    }
    let first = parts.iter().find(|part| part.is_ufs()).filter(|_| !found);
    first.filter(|part| part.loads()).map(|part| part.index)
}

/// boot0, then boot1 and boot2: the index of the slice.
fn boot0(disk: &Disk) -> Result<u32, String> {
    let slices = || disk.parts.iter().filter(|part| part.kind == "freebsd");
    let start = match disk.loader {
        Loader::Boot0 => slices().find(|part| part.index == disk.default_slice),
        _ => slices().find(|part| part.has(Flag::Active)),
    };
    // A boot sector is there when all of the slot is.
    if !start.is_some_and(Part::loads) {
        return Err(format!("boot0 waits for a key: F{} has no boot sector", disk.default_slice));
    }
    let slice = slices().find(|part| part.has(Flag::Active)).or_else(|| slices().next());
    let slice = slice.filter(|part| part.loads());
    slice.map(|part| part.index).ok_or_else(|| "boot1 has started, and found no boot2".to_owned())
}

impl Inner {
    /// Starts a kernel that does not panic: what it mounts as `/`, by device and file system.
    pub(crate) fn load(&mut self) -> Result<(String, String), String> {
        for _ in 0..PATIENCE {
            let (at, index) = self.slot_to_start()?;
            let disk = self.machine.disks.get(at).ok_or("the disk is gone")?;
            let efi = matches!(disk.loader, Loader::GptbootEfi | Loader::LoaderEfi);
            let part = disk.parts.iter().find(|part| part.index == index);
            let part = part.ok_or("the slot is gone")?.clone();
            let tree = part.tree.clone().unwrap_or_default();
            let kernel = std::fs::read(self.real(&tree, Path::new(KERNEL))).unwrap_or_default();
            if String::from_utf8_lossy(&kernel).contains(PANICS) {
                let letter = tree.rsplit('/').next().unwrap_or_default();
                self.machine.said.push(format!("the kernel in slot {letter} panics"));
                continue;
            }
            self.machine.kenv.clear();
            if efi {
                self.machine.kenv.insert("efi-version".to_owned(), "2.70".to_owned());
            }
            return self.root_device(at, &part).ok_or_else(|| "mountroot>".to_owned());
        }
        Err("every kernel panics".to_owned())
    }

    /// What the firmware and the loader make of the drives.
    fn slot_to_start(&mut self) -> Result<(usize, u32), String> {
        let machine = &self.machine;
        let has_slots = |disk: &Disk| disk.parts.iter().any(|part| part.tree.is_some());
        let disks = || machine.disks.iter().enumerate().filter(|(_, disk)| machine.present(disk));
        let first = disks().find(|(_, disk)| disk.id == machine.start.disk);
        // The firmware takes the next drive with slots.
        let at = first.or_else(|| disks().find(|(_, disk)| has_slots(disk))).map(|(at, _)| at);
        let none = || "nothing to start from: no OS drive is attached".to_owned();
        let at = at.ok_or_else(none)?;
        let disk = self.machine.disks.get_mut(at).ok_or_else(none)?;
        let index = match (disk.scheme, disk.loader) {
            (Scheme::Gpt, Loader::LoaderEfi) => {
                let first = disk.parts.iter().find(|part| part.is_ufs() && part.loads());
                first.map(|part| part.index).ok_or("loader.efi finds no loader")?
            }
            (Scheme::Gpt, _) => {
                gptboot(disk).ok_or("gptboot waits for a command: nothing loads")?
            }
            _ => boot0(disk)?,
        };
        Ok((at, index))
    }

    /// What the kernel from this slot mounts as `/`: the device and its file system. Another slot
    /// when fstab names it; by label it may be another drive's.
    fn root_device(&self, at: usize, part: &Part) -> Option<(String, String)> {
        let machine = &self.machine;
        let disk = machine.disks.get(at)?;
        let all = providers(machine);
        let fstab = self.real(part.tree.as_ref()?, Path::new("etc/fstab"));
        let fstab = std::fs::read_to_string(fstab).unwrap_or_default();
        let root = fstab.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            words.next()?.strip_prefix("/dev/").filter(|_| words.next() == Some("/"))
        });
        let other = all
            .iter()
            .find(|one| root == Some(&one.name) && one.disk == at && one.part != Some(part.index));
        let label = match disk.scheme {
            Scheme::Gpt => format!("gpt/{}", part.name),
            _ => format!("ufs/{}", part.ufs_label),
        };
        let labelled = all.iter().find(|one| one.name == label && machine.start.by_label);
        let plain = || {
            all.iter().find(|one| {
                let same = one.disk == at && one.part == Some(part.index) && one.class == "PART";
                same && one.inner == part.bsd
            })
        };
        let root = other.or(labelled).or_else(plain)?;
        let disk = machine.disks.get(root.disk)?;
        let part = disk.parts.iter().find(|part| Some(part.index) == root.part)?;
        Some((root.name.clone(), part.tree.clone().filter(|_| !part.raw)?))
    }
}
