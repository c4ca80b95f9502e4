//! What the machine is made of: plain data, written to the lab's directory as JSON.

mod pool;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::effects::Fault;
use super::slots::Pending;
use super::unsynced::Unsynced;
use crate::host::{Attributes, FileKind, Holder, Mount};

pub use pool::{Dataset, Leaf, Pool, Snapshot, Top};

/// Seconds since 1970 when the lab's clock starts: files and labels get times from here on.
pub const EPOCH: i64 = 1_700_000_000;

/// A whole machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// All disks, plugged in or not, in the order in which the kernel finds them.
    pub disks: Vec<Disk>,
    /// All pools whose labels are on these disks.
    pub pools: Vec<Pool>,
    /// File systems: the directory below the lab's own, and what is known about its files.
    pub trees: BTreeMap<String, Tree>,
    /// How the loader and the kernel start it.
    pub start: Start,
    /// What is mounted now, in the order of mounting.
    pub mounts: Vec<Mounted>,
    /// The kernel's environment.
    pub kenv: BTreeMap<String, String>,
    /// Variables typed at the loader prompt, for the next start.
    pub loader: BTreeMap<String, String>,
    /// Time since power-on.
    pub uptime: Duration,
    /// Time that passed before that.
    pub before: Duration,
    /// It has power.
    pub on: bool,
    /// rc(8) is running us.
    pub under_rc: bool,
    /// rc(8) has run nanozfs, and is not at its end: rc.d/nanozfs_settle was not started yet.
    pub rc_is_busy: bool,
    /// What syslogd has been told since power-on.
    pub syslog: Vec<String>,
    /// What would be lost if the power went now.
    pub unsynced: Vec<Unsynced>,
    /// What the drives have in their caches.
    pub pending: Vec<Pending>,
    /// What the loader and the kernel said before `/` was mounted.
    pub said: Vec<String>,
    /// Decides which writes a power cut reorders.
    pub seed: u64,
    /// Paths that some program uses, so that they cannot be unmounted.
    pub in_use: BTreeSet<PathBuf>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// Makes names and numbers that nothing else has.
    pub next: u64,
    /// Services that rc cannot start.
    pub failed_services: Vec<String>,
    /// Network interfaces.
    pub interfaces: Vec<crate::host::Interface>,
    /// There is a default route.
    pub default_route: bool,
    /// What the person at the terminal will type; without any, nobody is there.
    pub answers: VecDeque<String>,
    /// Uptime at which the guard of a trial restarts the machine.
    pub guard: Option<Duration>,
    /// The changes of `/cfg` that a process will take back.
    pub watches: Vec<(String, Duration)>,
    /// Somebody asked for a restart: it happens when what runs is at its end.
    pub restarting: bool,
    /// Another nanozfs that is at work.
    #[serde(default)]
    pub at_work: Option<Holder>,
}

impl Default for Machine {
    fn default() -> Self {
        Machine {
            disks: Vec::new(),
            pools: Vec::new(),
            trees: BTreeMap::new(),
            start: Start::default(),
            mounts: Vec::new(),
            kenv: BTreeMap::new(),
            loader: BTreeMap::new(),
            uptime: Duration::ZERO,
            before: Duration::ZERO,
            on: false,
            under_rc: false,
            rc_is_busy: false,
            syslog: Vec::new(),
            unsynced: Vec::new(),
            pending: Vec::new(),
            said: Vec::new(),
            seed: 0,
            in_use: BTreeSet::new(),
            faults: Vec::new(),
            next: 1,
            failed_services: Vec::new(),
            interfaces: Vec::new(),
            default_route: false,
            answers: VecDeque::new(),
            guard: None,
            watches: Vec::new(),
            restarting: false,
            at_work: None,
        }
    }
}

/// How the machine starts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Start {
    /// The disk (its id) that the firmware starts from.
    pub disk: String,
    /// `/` is mounted by its label; otherwise by the partition's own name.
    pub by_label: bool,
    /// `/` can be written to.
    pub root_writable: bool,
    /// Size of the memory `/etc` that rc.initdiskless makes; none: `/etc` is on `/`.
    pub memory_etc: Option<u64>,
    /// This machine's hostid.
    pub hostid: u32,
    /// This machine's name, as pools remember it: none yet, when they are imported at boot.
    pub hostname: String,
}

impl Default for Start {
    fn default() -> Self {
        Start {
            disk: String::new(),
            by_label: true,
            root_writable: false,
            memory_etc: Some(5 << 20),
            hostid: 0x2026_0001,
            hostname: String::new(),
        }
    }
}

/// A disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Disk {
    /// The model's own name for it, which stays.
    pub id: String,
    /// The kernel's name for it now: `ada0`.
    pub device: String,
    /// Serial number, empty when it has none.
    pub serial: String,
    /// Bytes.
    pub size: u64,
    /// Plugged in.
    pub attached: bool,
    /// The kernel finds it this long after power-on.
    pub after: Duration,
    /// Uptime at which it is there.
    pub appears: Duration,
    /// What is wrong with it.
    pub trouble: Trouble,
    /// Its partition table.
    pub scheme: Scheme,
    /// Its partitions, by index.
    pub parts: Vec<Part>,
    /// Both copies of its partition table are good.
    pub table_ok: bool,
    /// What starts a slot on it.
    pub loader: Loader,
    /// The slice that boot0 starts by itself.
    pub default_slice: u32,
    /// What is wrong with its flash.
    pub flaw: Option<Flaw>,
}

/// What starts a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Loader {
    /// gptboot, in a partition of type `freebsd-boot`.
    Gptboot,
    /// gptboot.efi, in the EFI system partition.
    GptbootEfi,
    /// loader.efi, in the EFI system partition: it looks at no mark.
    LoaderEfi,
    /// boot0, in sector 0.
    Boot0,
    /// The plain boot code for an MBR: it starts the active slice.
    Mbr,
}

/// Something that goes wrong once, silently or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Flaw {
    /// The write to a slot after so many more is forgotten.
    DropsWrite(u64),
    /// The read from a slot after so many more fails.
    FailsRead(u64),
}

/// What is wrong with a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trouble {
    /// Nothing.
    None,
    /// Reading fails with EIO.
    Unreadable,
    /// Its ZFS labels hold other bytes than they should.
    Damaged,
}

/// A partition table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scheme {
    /// None: the whole disk is used.
    None,
    /// Slices, those with a UFS slot holding a BSD label with one partition `a`.
    Mbr,
    /// GPT.
    Gpt,
}

/// A partition.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Part {
    /// Its index, from 1.
    pub index: u32,
    /// Type, as gpart(8) names it.
    pub kind: String,
    /// Bytes from the start of the disk.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
    /// GPT name.
    pub name: String,
    /// Attributes: `active`, `bootme`, …
    pub attributes: Vec<String>,
    /// It is a slice with a BSD label, the file system is in its partition `a`.
    pub bsd: bool,
    /// UFS volume label.
    pub ufs_label: String,
    /// The UFS on it: a key of [`Machine::trees`].
    pub tree: Option<String>,
    /// What lies in front of the superblock, where no boot code is: the first bytes of a partition
    /// that nobody boots from. Those of a slot are part of its image.
    pub boot_area: Option<Vec<u8>>,
    /// What it holds is bytes, in a file of their own: it is open for writing, or it holds no UFS.
    pub raw: bool,
    /// The provider by which it is open for writing.
    pub open: Option<String>,
    /// Uptime at which the kernel has looked at it again after it was closed.
    pub tasted: Duration,
}

/// A file system's files, as far as real files cannot say it: an unprivileged user owns them all.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Tree {
    /// Attributes by path below the root of the file system, which is the empty path.
    pub nodes: BTreeMap<PathBuf, Node>,
    /// Bytes that fit.
    pub capacity: Option<u64>,
    /// Bytes in it.
    pub used: u64,
    /// It vanishes when the power goes.
    pub memory: bool,
    /// A UFS that was mounted to be written to and not unmounted since.
    pub unclean: bool,
    /// What is wrong with a UFS.
    pub damage: Damage,
}

/// What is wrong with a UFS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Damage {
    /// Nothing.
    #[default]
    None,
    /// It cannot be mounted before `fsck_ffs -p` has put it right.
    Mendable,
    /// It cannot be mounted, and `fsck_ffs -p` wants a person.
    Hopeless,
}

/// What the model knows about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Owner, mode, time.
    pub attributes: Attributes,
    /// When content or attributes changed last.
    pub changed: crate::host::Timestamp,
    /// A kind that only root can make; the real file is an empty one.
    pub kind: Option<FileKind>,
}

/// A mounted file system and where its files are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mounted {
    /// As the kernel tells it.
    pub mount: Mount,
    /// A key of [`Machine::trees`].
    pub tree: String,
    /// The directory in it that is shown, for nullfs.
    pub below: PathBuf,
}

impl Machine {
    /// Seconds and nanoseconds since 1970, by the machine's own clock.
    pub fn now(&self) -> crate::host::Timestamp {
        let time = self.before + self.uptime;
        crate::host::Timestamp {
            seconds: EPOCH.saturating_add_unsigned(time.as_secs()),
            nanoseconds: time.subsec_nanos().into(),
        }
    }

    /// A number that was not given before.
    pub fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// True when the kernel has this disk now.
    pub fn present(&self, disk: &Disk) -> bool {
        self.on && disk.attached && disk.appears <= self.uptime
    }

    /// The disk with this name: a device that is plugged in, else the model's own name.
    pub fn disk_mut(&mut self, name: &str) -> Option<&mut Disk> {
        let at = self
            .disks
            .iter()
            .position(|disk| disk.attached && disk.device == name)
            .or_else(|| self.disks.iter().position(|disk| disk.id == name))?;
        self.disks.get_mut(at)
    }

    /// True when there is a dataset or snapshot with this name.
    pub fn has(&self, name: &str) -> bool {
        let (dataset, snapshot) = match name.split_once('@') {
            Some((dataset, snapshot)) => (dataset, Some(snapshot)),
            None => (name, None),
        };
        self.dataset(dataset).is_some_and(|dataset| {
            snapshot.is_none_or(|name| dataset.snapshots.iter().any(|one| one.name == name))
        })
    }

    /// The dataset with this name, of an imported pool.
    pub fn open(&self, name: &str) -> Option<&Dataset> {
        let pools = self.pools.iter().filter(|pool| pool.imported);
        pools.flat_map(|pool| &pool.datasets).find(|dataset| dataset.name == name)
    }

    /// The same, to be changed.
    pub fn open_mut(&mut self, name: &str) -> Option<&mut Dataset> {
        let pools = self.pools.iter_mut().filter(|pool| pool.imported);
        pools.flat_map(|pool| &mut pool.datasets).find(|dataset| dataset.name == name)
    }

    /// The dataset with this name: that of an imported pool, else that of the newest.
    pub fn dataset(&self, name: &str) -> Option<&Dataset> {
        let of = |imported: bool| {
            self.pools
                .iter()
                .rev()
                .filter(move |pool| pool.imported == imported)
                .flat_map(|pool| &pool.datasets)
                .find(|dataset| dataset.name == name)
        };
        of(true).or_else(|| of(false))
    }
}
