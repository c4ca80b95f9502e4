//! What the suite needs of the system it runs on.
//!
//! [`Host`] is the seam between deciding and doing. Its calls are semantic ("import this pool from
//! these devices", "mount this dataset here"), so that a model of an appliance can stand in for
//! FreeBSD and *behave*, instead of expecting calls. [`Files`] is the part of it that deals in
//! files, [`Drives`], [`Snapshots`] and [`Services`] what upgrades need. `FreeBsd` is the real host; the lab (cargo feature `lab`) is the model.

pub mod command;
pub mod console;
mod drives;
mod error;
mod files;
#[cfg(target_os = "freebsd")]
mod freebsd;
mod holder;
#[cfg(any(target_os = "freebsd", test))]
#[cfg_attr(
    not(target_os = "freebsd"),
    allow(dead_code, reason = "its decision is tested everywhere")
)]
mod imported;
mod input;
mod inventory;
#[cfg(target_os = "freebsd")]
mod memory;
mod people;
pub mod programs;
mod services;
mod snapshots;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::format::manifest::Packing;
use crate::format::zfs::Dataset;
use crate::format::zpool::Pool;

pub use crate::sys::why;
pub use drives::{BlockDevice, Drives, Flag};
pub use error::{Error, Kind, Result};
pub use files::{Attributes, FileKind, Files, RealFiles, Stat, Timestamp, found};
#[cfg(target_os = "freebsd")]
pub use freebsd::FreeBsd;
pub use holder::Holder;
pub use input::Input;
pub use inventory::Inventory;
pub use people::{People, Terminal};
pub use services::{Ended, Interface, Services};
pub use snapshots::Snapshots;

/// A machine that nanozfs can run on.
///
/// Looking calls have no effect on the machine. Acting calls say in their comment what they change;
/// each either does the whole of it or returns an error that names what was not done.
pub trait Host: Send + Sync {
    /// The machine's files, `/` being its root directory.
    fn files(&self) -> &dyn Files;

    /// The machine's OS drive, to be written to.
    fn drives(&self) -> &dyn Drives;

    /// Snapshots and clones of the machine's datasets.
    fn snapshots(&self) -> &dyn Snapshots;

    /// The running system: its services, its network, its restart.
    fn services(&self) -> &dyn Services;

    /// Pools and datasets, for a person who waits for the answer.
    fn inventory(&self) -> &dyn Inventory;

    /// Whoever started this process.
    fn people(&self) -> &dyn People;

    // -- looking ----------------------------------------------------------------------------------

    /// `kern.geom.confxml`, as the kernel gives it (geom(4)). Waits for pending tasting.
    fn geom(&self) -> Result<Vec<u8>>;

    /// Reads `length` bytes at byte `offset` of the provider `name` (no `/dev/`). Short at the
    /// end of the device. Opens read-only, which disturbs no label.
    fn read_device(&self, name: &str, offset: u64, length: usize) -> std::io::Result<Vec<u8>>;

    /// Opens the provider `name` as [`Host::read_device`] does, to read from it more than once.
    fn device(&self, name: &str) -> std::io::Result<Box<ReadAt<'_>>> {
        let name = name.to_owned();
        Ok(Box::new(move |offset, length| self.read_device(&name, offset, length)))
    }

    /// What is mounted, in the order of mounting (getfsstat(2)).
    fn mounts(&self) -> Result<Vec<Mount>>;

    /// The imported pools (`zpool list`). A system without any answers an empty list.
    fn pools(&self) -> Result<Vec<Pool>>;

    /// The file systems at and below `root` (`zfs list -r`), parents before children; empty when
    /// `root` does not exist.
    fn datasets(&self, root: &str) -> Result<Vec<Dataset>>;

    /// A variable of the kernel's environment (kenv(1)); `None` when it is not set.
    fn kenv(&self, name: &str) -> Option<String>;

    /// Time since the machine started. Never goes back.
    fn uptime(&self) -> Duration;

    /// Sleeps until the set of devices may have changed, or until [`Host::uptime`] reaches
    /// `until`. True when devices may have changed.
    fn wait_for_devices(&self, until: Duration) -> bool;

    /// Opens a file of the machine as a stream, or standard input for `-`. A read that gets no byte
    /// for a minute fails with [`std::io::ErrorKind::TimedOut`].
    fn input(&self, name: &str) -> std::io::Result<Box<dyn Read + Send>>;

    /// Lets `consume` take what is packed in `input`, to its end, by the base system's own program
    /// for that packing ([`command::unpack`] says what is promised). Without temporary space.
    fn unpack(
        &self,
        packing: Packing,
        input: &mut (dyn Read + Send),
        consume: &mut command::Consume<'_>,
    ) -> Result<()>;

    /// True once after somebody asked for progress (SIGINFO, ^T).
    fn progress_asked(&self) -> bool {
        false
    }

    // -- acting -----------------------------------------------------------------------------------

    /// Keeps every other nanozfs from acting on this machine while the guard lives.
    /// [`Kind::Busy`] when another one holds it; the error says who that is, as far as it is known.
    /// Leaves nothing on disk.
    fn lock(&self) -> Result<Box<dyn Lock>>;

    /// Imports pools, side by side, one answer each in the order of `imports`. Mounts nothing and
    /// writes no cache file (`zpool import -N -o cachefile=none`); the pool's labels record this
    /// host. Each is given up after its time limit with [`Kind::TimedOut`].
    fn import(&self, imports: &[Import]) -> Vec<Result<()>>;

    /// Mounts `request.source` on `request.at`, which must be a directory (nmount(2)).
    fn mount(&self, request: &MountRequest) -> Result<()>;

    /// Mounts a file system in memory of at most `bytes` on `at`; its content is gone when the
    /// machine stops or it is unmounted (tmpfs(5), else md(4) with a new UFS).
    fn mount_memory(&self, at: &Path, bytes: u64) -> Result<()>;

    /// Unmounts what is on `at`; [`Kind::Busy`] when it is in use, and nothing has changed then.
    fn unmount(&self, at: &Path) -> Result<()>;

    /// Keeps hold of a directory, so that it can be shown elsewhere after something was mounted
    /// over it.
    fn hold(&self, directory: &Path) -> Result<Box<dyn HeldDirectory + '_>>;

    /// Makes a pool, which is imported then, mounts nothing and writes no cache file
    /// (`zpool create`, never with force: ZFS refuses devices that look used). Not one transaction:
    /// when the power goes, devices may have the labels of a pool that is not there.
    fn create_pool(&self, pool: &NewPool) -> Result<()>;

    /// Sets a property of a dataset (`zfs set`), one transaction on the pool.
    fn set_property(&self, dataset: &str, name: &str, value: &str) -> Result<()>;

    /// Sets a variable of the kernel's environment, until the machine stops.
    fn set_kenv(&self, name: &str, value: &str) -> Result<()>;

    /// Rebuilds a database that libc reads in place of the text file it is made from.
    fn rebuild(&self, database: Database) -> Result<()>;

    /// Makes rc(8) read rc.conf again after the script it is running, by SIGALRM. False when rc is
    /// not running us.
    fn reread_rc_conf(&self) -> Result<bool>;
}

/// Reads so many bytes at a byte offset; short at the end of the device.
pub type ReadAt<'a> = dyn Fn(u64, usize) -> std::io::Result<Vec<u8>> + 'a;

/// The environment variable by which rc.d/nanozfs and rc.d/nanozfs_settle pass rc(8)'s process on.
pub const RC_PID: &str = "NANOZFS_RC_PID";

/// Held while a nanozfs acts; dropping it lets the next one in.
pub trait Lock: Send {}

/// A directory that stays within reach when something is mounted over it.
pub trait HeldDirectory {
    /// Mounts `part` of it, a relative path which may be empty, on `at`, by nullfs(5). Programs that
    /// have files open in it go on with them.
    fn show(&self, part: &Path, at: &Path, read_only: bool) -> Result<()>;
}

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "lab", derive(serde::Serialize, serde::Deserialize))]
pub struct Mount {
    /// `ufs`, `zfs`, `tmpfs`, `nullfs`, `devfs`, …
    pub fstype: String,
    /// What is mounted: `/dev/ufs/nanos1a`, `tank/nano/cfg`, a directory.
    pub source: String,
    /// The mount point.
    pub at: PathBuf,
    /// True when nothing can be written to it.
    pub read_only: bool,
}

impl Mount {
    /// True when its content lives in memory only, so that nothing needs to reach a disk.
    pub fn in_memory(&self) -> bool {
        self.fstype == "tmpfs" || self.fstype == "mfs" || self.source.starts_with("/dev/md")
    }
}

/// The mount that is seen at `path`: the last one made there, unless a later one hides it.
pub fn mounted_at<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    mount_of(mounts, path).filter(|mount| mount.at == path)
}

/// The mount that `path` belongs to: the last one made there or above it.
pub fn mount_of<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    mounts.iter().rev().find(|mount| path.starts_with(&mount.at))
}

/// A pool to import: which, and from which devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The pool's name, for messages.
    pub name: String,
    /// The pool's GUID: what it is asked for by.
    pub guid: u64,
    /// The devices to look at (`/dev/…`), and no others.
    pub devices: Vec<String>,
    /// Given up after this long.
    pub limit: Duration,
}

/// A pool to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPool {
    /// Its name.
    pub name: String,
    /// The kind of its only vdev, as zpoolconcepts(7) names it: `mirror`, `raidz2`; empty for a
    /// single disk.
    pub kind: String,
    /// The devices (`/dev/…`).
    pub devices: Vec<String>,
}

/// What to mount, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountRequest {
    /// What to mount.
    pub source: Source,
    /// The mount point, a directory.
    pub at: PathBuf,
    /// Mount it so that nothing can be written.
    pub read_only: bool,
}

/// Something that can be mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A ZFS dataset, by name.
    Dataset(String),
    /// A UFS on a provider, by the provider's name without `/dev/`.
    Ufs(String),
    /// Another directory, shown a second time (nullfs(5)).
    Directory(PathBuf),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Dataset(name) => f.write_str(name),
            Source::Ufs(provider) => write!(f, "/dev/{provider}"),
            Source::Directory(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A database made from a text file in `/etc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    /// `pwd.db` and `spwd.db` from `master.passwd` (pwd_mkdb(8)); rewrites `passwd` too.
    Passwords,
    /// `login.conf.db` from `login.conf` (cap_mkdb(1)).
    LoginClasses,
}

impl Database {
    /// All of them.
    pub const ALL: [Database; 2] = [Database::Passwords, Database::LoginClasses];

    /// The text file, relative to `/etc`.
    pub fn text(self) -> &'static str {
        match self {
            Database::Passwords => "master.passwd",
            Database::LoginClasses => "login.conf",
        }
    }

    /// False when libc reads the text where there is no database.
    pub fn required(self) -> bool {
        self == Database::Passwords
    }

    /// The files made from it, relative to `/etc`.
    pub fn files(self) -> &'static [&'static str] {
        match self {
            Database::Passwords => &["pwd.db", "spwd.db"],
            Database::LoginClasses => &["login.conf.db"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_mount_hides_what_was_mounted_below_its_place() {
        let mount = |source: &str, at: &str| Mount {
            fstype: "x".to_owned(),
            source: source.to_owned(),
            at: PathBuf::from(at),
            read_only: false,
        };
        let mut mounts = vec![mount("root", "/"), mount("memory", "/var"), mount("pkg", "/var/db")];
        let at = |mounts: &[Mount], path: &str| {
            mounted_at(mounts, Path::new(path)).map(|mount| mount.source.clone())
        };
        let of = |mounts: &[Mount], path: &str| {
            mount_of(mounts, Path::new(path)).map(|mount| mount.source.clone())
        };
        assert_eq!(at(&mounts, "/var/db").as_deref(), Some("pkg"));
        assert_eq!(of(&mounts, "/var/log").as_deref(), Some("memory"));
        mounts.push(mount("zfs", "/var"));
        assert_eq!(at(&mounts, "/var").as_deref(), Some("zfs"));
        assert_eq!(at(&mounts, "/var/db"), None);
        assert_eq!(of(&mounts, "/var/db/x").as_deref(), Some("zfs"));
        assert_eq!(of(&mounts, "/etc").as_deref(), Some("root"));
    }
}
