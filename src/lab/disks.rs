//! Building the machine: drives, disks, pools and datasets.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::Inner;
use super::machine::{Dataset, Disk, Leaf, Loader, Part, Pool, Scheme, Top, Trouble};

/// Bytes in a MiB.
const MIB: u64 = 1 << 20;
/// Size of an OS drive, unless told otherwise.
const OS_SIZE: u64 = 1024 * MIB;
/// Size of a slot.
const SLOT_SIZE: u64 = 256 * MIB;
/// Size of the recovery copy's partition.
const RECOVERY_SIZE: u64 = 4 * MIB;

/// Bytes in front of a UFS that belong to boot code.
const BOOT_AREA: usize = 8192;

/// What a story says about an OS drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OsDrive {
    /// The kernel's name for it.
    pub device: String,
    /// Serial number, may be empty.
    pub serial: String,
    /// How its labels begin.
    pub label: String,
    /// Its partition table.
    pub scheme: Scheme,
    /// What starts a slot on it; none: the usual one for the table.
    pub loader: Option<Loader>,
}

/// A number that stays the same for the same name (FNV-1a), never 0.
pub(crate) fn number_of(name: &str) -> u64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // Spread over all digits, as real GUIDs are.
    (hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) | 1
}

fn part(index: u32, kind: &str, (offset, size): (u64, u64)) -> Part {
    Part {
        index,
        kind: kind.to_owned(),
        offset,
        size,
        name: String::new(),
        attributes: Vec::new(),
        bsd: false,
        ufs_label: String::new(),
        tree: None,
        boot_area: None,
        raw: false,
        open: None,
        tasted: Duration::ZERO,
    }
}

fn blank(device: &str, serial: &str, size: u64) -> Disk {
    Disk {
        id: device.to_owned(),
        device: device.to_owned(),
        serial: serial.to_owned(),
        size,
        attached: true,
        after: Duration::ZERO,
        appears: Duration::ZERO,
        trouble: Trouble::None,
        scheme: Scheme::None,
        parts: Vec::new(),
        table_ok: true,
        loader: Loader::Mbr,
        default_slice: 1,
        flaw: None,
    }
}

impl Inner {
    /// Puts bytes where a boot leaves its record: in front of the recovery copy on a drive.
    pub(crate) fn put_in_boot_area(&mut self, device: &str, bytes: &[u8]) -> io::Result<()> {
        let none = || io::Error::other(format!("{device} has no recovery copy"));
        let disk = self.machine.disk_mut(device).ok_or_else(none)?;
        let area = disk.parts.iter_mut().find_map(|part| part.boot_area.as_mut());
        let at = usize::try_from(crate::format::boots::OFFSET).unwrap_or(usize::MAX);
        let place = area.ok_or_else(none)?.get_mut(at..at + bytes.len());
        place.ok_or_else(|| io::Error::other("too many bytes"))?.copy_from_slice(bytes);
        Ok(())
    }

    /// A data disk.
    pub(crate) fn add_disk(&mut self, device: &str, serial: &str, size: u64, after: Duration) {
        let mut disk = blank(device, serial, size);
        while self.machine.disks.iter().any(|other| other.id == disk.id) {
            disk.id.push('+');
        }
        disk.after = after;
        self.machine.disks.push(disk);
    }

    /// A drive with two slots and a recovery copy, each an empty file system. The first one is the
    /// one that the machine starts from.
    pub(crate) fn add_os_drive(&mut self, drive: &OsDrive) -> io::Result<()> {
        let mut disk = blank(&drive.device, &drive.serial, OS_SIZE);
        disk.scheme = drive.scheme;
        let usual = if drive.scheme == Scheme::Gpt { Loader::Gptboot } else { Loader::Boot0 };
        disk.loader = drive.loader.unwrap_or(usual);
        let id = if drive.serial.is_empty() { &drive.device } else { &drive.serial };
        disk.id = format!("{id}.os");
        let label = &drive.label;
        let tree = |what: &str| Some(format!("os/{id}/{what}"));
        match drive.scheme {
            Scheme::Gpt => {
                let kind = if disk.loader == Loader::Gptboot { "freebsd-boot" } else { "efi" };
                let boot = part(1, kind, (20 << 10, 64 << 10));
                let mut at = MIB;
                let mut next = |index, what: &str, store: &str, size| {
                    let mut part = part(index, "freebsd-ufs", (at, size));
                    at += size;
                    part.name = format!("{label}{what}");
                    part.ufs_label.clone_from(&part.name);
                    part.tree = tree(store);
                    part
                };
                let mut a = next(2, "A", "A", SLOT_SIZE);
                a.attributes.push("bootme".to_owned());
                let b = next(3, "B", "B", SLOT_SIZE);
                let cfg = next(4, "cfg", "recovery", RECOVERY_SIZE);
                disk.parts = vec![boot, a, b, cfg];
            }
            Scheme::Mbr | Scheme::None => {
                let mut at = 512;
                let mut next = |index, label: String, store: Option<String>, size| {
                    let mut part = part(index, "freebsd", (at, size));
                    at += size + 512;
                    part.ufs_label = label;
                    part.tree = store;
                    part
                };
                let mut a = next(1, format!("{label}s1a"), tree("A"), SLOT_SIZE);
                a.attributes.push("active".to_owned());
                let mut b = next(2, format!("{label}s2a"), tree("B"), SLOT_SIZE);
                (a.bsd, b.bsd) = (true, true);
                let cfg = next(3, format!("{label}s3"), tree("recovery"), RECOVERY_SIZE);
                let data = next(4, format!("{label}s4"), None, 64 * MIB);
                disk.parts = vec![a, b, cfg, data];
            }
        }
        for part in &mut disk.parts {
            let is_recovery = part.tree.as_ref().is_some_and(|tree| tree.ends_with("/recovery"));
            part.boot_area = is_recovery.then(|| vec![0; BOOT_AREA]);
        }
        let trees: Vec<String> = disk.parts.iter().filter_map(|part| part.tree.clone()).collect();
        for tree in trees {
            self.make_tree(&tree, false)?;
        }
        if self.machine.start.disk.is_empty() {
            self.machine.start.disk.clone_from(&disk.id);
        }
        self.machine.disks.push(disk);
        Ok(())
    }

    /// A GPT partition on a data disk, which becomes `DISKpN` and `gpt/NAME`.
    pub(crate) fn add_part(&mut self, device: &str, name: &str, size: u64) -> Option<u32> {
        let disk = self.machine.disk_mut(device)?;
        disk.scheme = Scheme::Gpt;
        let used = disk.parts.iter().map(|part| part.offset + part.size).max().unwrap_or(MIB);
        let index = u32::try_from(disk.parts.len()).ok()? + 1;
        let mut made = part(index, "freebsd-zfs", (used, size));
        made.name = name.to_owned();
        disk.parts.push(made);
        Some(index)
    }

    /// A pool on these tops, made by this host or another, not imported. Its root dataset is there.
    pub(crate) fn add_pool(&mut self, name: &str, guid: Option<u64>, tops: Vec<Top>) {
        let same = self.machine.pools.iter().filter(|pool| pool.name == name).count();
        let store = if same == 0 { name.to_owned() } else { format!("{name}.{}", same + 1) };
        let guid = guid.unwrap_or_else(|| number_of(&store));
        self.machine.pools.push(Pool {
            name: name.to_owned(),
            guid,
            store,
            tops,
            txg: 100,
            imported: false,
            datasets: Vec::new(),
            available: 1 << 30,
        });
    }

    /// A leaf on what the story calls `word`: `ada1`, or `gpt/NAME`.
    pub(crate) fn leaf(&self, pool: &str, word: &str) -> Option<Leaf> {
        let by_name = |disk: &&Disk| disk.attached && disk.device == word;
        let whole = self.machine.disks.iter().find(by_name);
        let (disk, part) = match (whole, word.strip_prefix("gpt/")) {
            (Some(disk), _) => (disk, None),
            (None, Some(name)) => self.machine.disks.iter().find_map(|disk| {
                let part = disk.parts.iter().find(|part| part.name == name)?;
                Some((disk, Some(part.index)))
            })?,
            (None, None) => {
                let serial = word.strip_prefix("diskid/DISK-")?;
                (self.machine.disks.iter().find(|disk| disk.serial == serial)?, None)
            }
        };
        Some(Leaf {
            guid: number_of(&format!("{pool} {word} {}", disk.serial)),
            disk: disk.id.clone(),
            part,
            path: format!("/dev/{word}"),
            opened: None,
            txg: 100,
            state: 0,
            hostid: self.machine.start.hostid,
            hostname: self.machine.start.hostname.clone(),
        })
    }

    /// A dataset, with those above it; mounted only when somebody asks. The newest pool of that
    /// name gets it.
    pub(crate) fn add_dataset(&mut self, name: &str) -> io::Result<&mut Dataset> {
        let missing = || io::Error::other(format!("no pool has {name}"));
        let pool_name = name.split('/').next().unwrap_or(name);
        let at = self.machine.pools.iter().rposition(|pool| pool.name == pool_name);
        let at = at.ok_or_else(missing)?;
        let store = self.machine.pools.get(at).map(|pool| pool.store.clone()).unwrap_or_default();
        let above: Vec<&Path> = Path::new(name).ancestors().collect();
        for part in above.into_iter().rev().filter_map(Path::to_str).filter(|n| !n.is_empty()) {
            let pool = self.machine.pools.get(at).ok_or_else(missing)?;
            if pool.datasets.iter().any(|dataset| dataset.name == part) {
                continue;
            }
            let rest = part.strip_prefix(pool_name).unwrap_or(part).trim_start_matches('/');
            let tree = format!("pools/{store}/@{}", rest.replace('/', "+"));
            self.make_tree(&tree, false)?;
            let made = Dataset {
                name: part.to_owned(),
                local: match part == pool_name {
                    true => [("mountpoint".to_owned(), "none".to_owned())].into(),
                    false => [("canmount".to_owned(), "noauto".to_owned())].into(),
                },
                encrypted: false,
                key: true,
                tree,
                origin: None,
                snapshots: Vec::new(),
            };
            let pool = self.machine.pools.get_mut(at).ok_or_else(missing)?;
            pool.datasets.push(made);
            pool.sort();
        }
        let pool = self.machine.pools.get_mut(at).ok_or_else(missing)?;
        pool.datasets.iter_mut().find(|dataset| dataset.name == name).ok_or_else(missing)
    }
}
