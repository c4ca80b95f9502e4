//! The OS drive as upgrades need it: writing a slot, and saying which slot boots.

use std::io;
use std::time::Duration;

use super::Result;

/// What a partition table keeps that decides which slot boots (gpart(8), gptboot(8)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "lab", derive(serde::Serialize, serde::Deserialize))]
pub enum Flag {
    /// GPT: may be booted.
    BootMe,
    /// GPT: is booted once, before all others. Setting it sets [`Flag::BootMe`] too.
    BootOnce,
    /// GPT: a boot-once start of it failed.
    BootFailed,
    /// MBR: the slice that boot1 loads from. Setting it takes it from the slice that had it.
    Active,
}

impl Flag {
    /// As gpart(8) and `kern.geom.confxml` name it.
    pub fn name(self) -> &'static str {
        match self {
            Flag::BootMe => "bootme",
            Flag::BootOnce => "bootonce",
            Flag::BootFailed => "bootfailed",
            Flag::Active => "active",
        }
    }
}

/// Writing to drives. Nothing here looks whether it should: deciding is the caller's. What changes
/// a table or a name is on the medium when the call comes back without an error; after an error it
/// may be there or not.
pub trait Drives: Send + Sync {
    /// Opens a partition for reading and writing, and for no other writer; provider name without
    /// `/dev/`. Fails with `EPERM` or `EBUSY` when it is mounted, unless that is read-only and by
    /// this very name. Labels of what lies on the same disk may vanish until the kernel has looked
    /// at it again.
    fn open(&self, provider: &str) -> io::Result<Box<dyn BlockDevice + '_>>;

    /// Sets an attribute of a partition (`gpart set -a`). One write of the table.
    fn set_flag(&self, disk: &str, index: u32, flag: Flag) -> Result<()>;

    /// Takes an attribute from a partition (`gpart unset -a`). One write of the table.
    fn clear_flag(&self, disk: &str, index: u32, flag: Flag) -> Result<()>;

    /// Makes a GPT whole again of which one copy is damaged (`gpart recover`). Until then the
    /// kernel refuses every other change.
    fn recover_table(&self, disk: &str) -> Result<()>;

    /// Makes a slice the one that boot0 starts when nobody presses a key (`boot0cfg -s`).
    fn select_slice(&self, disk: &str, slice: u32) -> Result<()>;

    /// Gives the UFS on a partition that is not mounted a volume name (`tunefs -L`).
    fn name_volume(&self, provider: &str, name: &str) -> Result<()>;

    /// Checks the UFS on a partition without changing it (`fsck_ffs -n`).
    fn check_volume(&self, provider: &str) -> Result<()>;

    /// Checks all of the UFS on a partition that is not mounted, and puts right what a crash leaves
    /// (`fsck_ffs -p`), without a question to anybody; given up after `limit`. An error when the
    /// file system is not in order afterwards: then somebody has to decide what may be lost.
    fn repair_volume(&self, provider: &str, limit: Duration) -> Result<()>;

    /// Returns when everything written to the partition, which is not mounted, is on the medium.
    fn flush_volume(&self, provider: &str) -> Result<()>;
}

/// A partition that is open for writing. Offsets and lengths are in bytes and must be multiples
/// of the sector size.
pub trait BlockDevice: Send {
    /// Bytes in it.
    fn size(&self) -> u64;

    /// Bytes of a sector.
    fn sector(&self) -> u32;

    /// Fills `buffer` from byte `offset` on; an error when the partition ends before.
    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at byte `offset`. Not durable before [`BlockDevice::flush`].
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Returns when everything written is on the medium.
    fn flush(&mut self) -> io::Result<()>;
}
