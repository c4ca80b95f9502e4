//! The statements of the story language. Their fields are explained by the example above each.

#![allow(missing_docs)]

use std::path::PathBuf;
use std::time::Duration;

use super::disks::OsDrive;
use super::effects::{Cut, Fault};
use super::machine::{Damage, Flaw, Trouble};
use super::tree::Thing;
use crate::host::Interface;

/// One statement. Those that build the machine come first, then what happens, then what is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// `title "..."`: the story in one line.
    Title(String),
    /// `tell "..."`: what a person would say meanwhile.
    Tell(String),
    /// `use standard`: the common appliance; `use standard os-drive nda0 layout=gpt`: on another
    /// kind of drive.
    UseStandard(Option<OsDrive>),
    /// `os-drive ada0 serial=OS-1 layout=mbr label=nano`; `loader=gptboot.efi`, `loader.efi` or
    /// `mbr` in the place of gptboot and boot0.
    OsDrive(OsDrive),
    /// `start root=ro by=label slot=1 etc=memory etc-size=5m`: how the machine starts.
    Start(Vec<Start>),
    /// `disk ada1 serial=WD-1001 size=256m after=4s`
    Disk { device: String, serial: String, size: u64, after: Duration },
    /// `partition ada4 mirror-a size=200m`
    Partition { device: String, name: String, size: u64 },
    /// `pool tank raidz1 ada1 ada2 ada3 host=other exported guid=1`
    Pool {
        name: String,
        tops: Vec<TopWords>,
        guid: Option<u64>,
        host: Option<String>,
        exported: bool,
    },
    /// `add tank spare ada4`: one more top-level vdev.
    Add { pool: String, top: TopWords },
    /// `last-used tank host=other`, `exported`, or `by=diskid`: under other device names.
    LastUsed { pool: String, host: Option<String>, exported: bool, by_diskid: bool },
    /// `dataset tank/nano/var canmount=noauto mountpoint=/var encrypted`; without a mountpoint it has
    /// none, with `mountpoint=inherit` its parent's.
    Dataset { name: String, settings: Vec<(String, String)>, encrypted: bool, key: bool },
    /// `destroy tank/nano/cfg`: with what is below it.
    Destroy(String),
    /// `property tank/nano/var org.nanozfs:rollback off`; `available` is the space in the pool.
    Property { dataset: String, name: String, value: String },
    /// `snapshot tank/nano/var@daily`: somebody takes snapshots, all at once.
    Snapshot(Vec<String>),
    /// `file WHERE PATH "content" mode=0600 owner=0:0`, and `dir`, `link`,
    /// `name`, `fifo`, `device`.
    Put { place: Where, path: PathBuf, thing: Thing, mode: u32, owner: (u32, u32) },
    /// `remove WHERE PATH`
    Remove { place: Where, path: PathBuf },
    /// `config KEY VALUE`: in the image's nanozfs.conf.
    Config(String, String),
    /// `kenv NAME VALUE`: typed at the loader prompt, for the next start.
    Kenv(String, String),
    /// `fault ...`
    Fault(Fault),
    /// `fault disk ada2 unreadable`, `damaged`; of an OS drive also `drops-write 3`: the write to a
    /// slot after three more is forgotten; `fails-read 3`; `corrupt-table`;
    /// `recovery-unclean`, `recovery-mendable`, `recovery-hopeless`: its recovery copy.
    DiskFault { device: String, trouble: DiskTrouble },
    /// `image new`, `image bad from=new`: an image that is in no slot yet, with the files of the
    /// first slot, or of another image. `file @new /etc/motd "..."` changes it. One whose
    /// `/boot/kernel/kernel` contains the word `panics` does that when it starts.
    Image { name: String, from: Option<String> },
    /// `release new.nzr image=new version=2.1 pack=gz`: a release of an image, not signed. What is
    /// typed as `new.nzr` is this file, in any directory.
    Release { file: String, image: String, version: String, set: Vec<(String, String)> },
    /// `truncate new.nzr 1000`: the file ends there.
    Truncate { file: String, bytes: u64 },
    /// `in-use /var`: some program has files open there.
    InUse(PathBuf),
    /// `service-fails sshd`: rc cannot start it; `service-fails nothing`: it can start all.
    ServiceFails(String),
    /// `interface em0 up address`: an interface as it is now.
    Interface(Interface),
    /// `default-route yes`
    DefaultRoute(bool),
    /// `answers y n never`: somebody is at the terminal and types these, one line each.
    Answers(Vec<String>),
    /// `wait 600s`: time passes, and nobody does anything.
    Wait(Duration),
    /// `at-work 812 nanozfs upgrade install gate.nzr`: this process holds the lock from now on;
    /// `at-work nobody`: no more.
    AtWork(Option<(u32, Vec<String>)>),
    /// `mend`: nothing is wrong any more.
    Mend,
    /// `boot`: power on, and what rc does.
    Boot,
    /// `single-user`: power on, and no rc.
    SingleUser,
    /// `run nanozfs status`: by hand.
    Run(Vec<String>),
    /// `shutdown`
    Shutdown,
    /// `settle`: rc(8) is at its end, and rc.d/nanozfs_settle does what it does there. Without it rc is
    /// at its end when somebody types something, at a shutdown, and after a while.
    Settle,
    /// `boot-area ada0 "other bytes"`: where a drive remembers the last boots.
    BootArea { device: String, bytes: Vec<u8> },
    /// `cut lost`, `kept`, `torn`, `reordered`
    Cut(Cut),
    /// `detach ada2`
    Detach(String),
    /// `attach ada2 as=da0 after=4s`
    Attach { device: String, name: Option<String>, after: Duration },
    /// `rename-disk ada2 da0`: it is plugged in elsewhere.
    Rename { from: String, to: String },
    /// `swap os-drive da0 serial=OS-2`: another drive with the same image.
    Swap { device: String, serial: String },
    /// `expect ...`
    Expect(Expect),
}

/// What is wrong with a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskTrouble {
    /// Until it is mended.
    Lasting(Trouble),
    /// Once.
    Once(Flaw),
    /// One copy of its partition table is damaged.
    CorruptTable,
    /// The file system of its recovery copy: the power went while it was written to, or worse.
    RecoveryCopy(bool, Damage),
}

/// Part of how the machine starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// `root=rw`
    Writable(bool),
    /// `by=label`
    ByLabel(bool),
    /// `slot=2`: the index of the partition that is marked as the one to start.
    Slot(u32),
    /// `etc=memory`, of this size; `etc=root`.
    Etc(Option<u64>),
}

/// A top-level vdev in words: `raidz1`, and its disks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopWords {
    /// `disk`, `mirror`, `raidz1`, `spare`, `log`, `cache`.
    pub kind: String,
    /// Its disks.
    pub devices: Vec<String>,
}

/// A file system, from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Where {
    /// The image: both slots of every OS drive, `/etc` in both of its places.
    Image,
    /// The recovery copy of every OS drive.
    Recovery,
    /// `@new`: an image that is in no slot, `/etc` in both of its places.
    Made(String),
    /// A dataset.
    Dataset(String),
    /// What the running machine shows.
    Here,
}

/// What should be so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// `exit 0`: of the last run.
    Exit(u8),
    /// `mode degraded`
    Mode(String),
    /// `kenv NAME VALUE`
    Kenv(String, String),
    /// `mounted /cfg tank/nano/cfg`
    Mounted { at: PathBuf, source: String, read_only: bool },
    /// `not-mounted /cfg`
    NotMounted(PathBuf),
    /// `file PATH "content" mode=0600 owner=0:0`
    File { path: PathBuf, content: String, mode: Option<u32>, owner: Option<(u32, u32)> },
    /// `directory PATH mode=1777`
    Directory { path: PathBuf, mode: Option<u32> },
    /// `link PATH TARGET`
    Link { path: PathBuf, target: PathBuf },
    /// `absent PATH`
    Absent(PathBuf),
    /// `dataset tank/nano/var`: it is there.
    Dataset(String),
    /// `no-dataset tank/nano/var`: no such dataset or snapshot.
    NoDataset(String),
    /// `snapshot tank/nano/var@daily`
    Snapshot(String),
    /// `property tank/nano/var canmount noauto`: set on the dataset itself.
    Property { dataset: String, name: String, value: String },
    /// `imported tank`
    Imported(String),
    /// `untouched other`: never imported, nothing written to its disks.
    Untouched(String),
    /// `waited 4s..5s`: in the last run.
    Waited(Duration, Duration),
    /// `programs 6`: the last run ran no more than that, each a fork and exec on FreeBSD.
    Programs(usize),
    /// `restarting`: somebody asked for a restart. `not-restarting`: nobody did.
    Restarting(bool),
    /// `running B`: the slot that `/` is mounted from.
    Running(String),
    /// `slot B bootme bootonce`: marked so, and no more; `slot B invalid`: it holds no file system.
    Slot { slot: String, marks: Vec<String> },
    /// `logged "E21 pool tank"`: in the log of the boots.
    Logged(String),
    /// `syslog "warning: at boot: E21"`: syslogd was told so.
    Syslog(String),
    /// `unfinished 2`: so many boots in a row did not come to their end.
    Unfinished(u32),
    /// `past normal:finished recovery:finished`: the last boots, newest first.
    Past(Vec<String>),
    /// `unchanged`: by the last run.
    Unchanged,
    /// `says "text"`: the last run, wherever its lines are wrapped.
    Says(String),
    /// `silent "text"`: the last run did not say it.
    Silent(String),
}
