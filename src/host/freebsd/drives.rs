//! Slots and partition tables of the real machine.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use super::FreeBsd;
use crate::host::programs::{gpart, ufs};
use crate::host::{BlockDevice, Drives, Error, Flag, Result};
use crate::sys::disk;

impl Drives for FreeBsd {
    fn open(&self, provider: &str) -> io::Result<Box<dyn BlockDevice + '_>> {
        let file = writable(provider)?;
        let (size, sector) = (disk::media_size(&file)?, disk::sector_size(&file)?);
        Ok(Box::new(Partition { file, size, sector }))
    }

    fn set_flag(&self, disk: &str, index: u32, flag: Flag) -> Result<()> {
        gpart::set(&*self.runner, disk, index, flag)?;
        settle(disk)
    }

    fn clear_flag(&self, disk: &str, index: u32, flag: Flag) -> Result<()> {
        gpart::unset(&*self.runner, disk, index, flag)?;
        settle(disk)
    }

    fn recover_table(&self, disk: &str) -> Result<()> {
        gpart::recover(&*self.runner, disk)?;
        settle(disk)
    }

    fn select_slice(&self, disk: &str, slice: u32) -> Result<()> {
        gpart::select_slice(&*self.runner, disk, slice)?;
        settle(disk)
    }

    fn name_volume(&self, provider: &str, name: &str) -> Result<()> {
        ufs::name(&*self.runner, provider, name)?;
        self.flush_volume(provider)
    }

    fn check_volume(&self, provider: &str) -> Result<()> {
        ufs::check(&*self.runner, provider)
    }

    fn repair_volume(&self, provider: &str, limit: Duration) -> Result<()> {
        ufs::repair(&*self.runner, provider, limit)
    }

    fn flush_volume(&self, provider: &str) -> Result<()> {
        let device =
            writable(provider).map_err(|error| Error::io(format!("flush {provider}"), &error))?;
        flush(provider, &device)
    }
}

/// What was written to the disk is on its medium. Neither GEOM nor a program sees to that.
///
/// The kernel takes the order from who may write only, and nobody may write to a disk of which a
/// partition is mounted; so it is given through a partition that is not. Where there is none, the
/// drive's cache is left to itself.
fn settle(disk: &str) -> Result<()> {
    let names = (1..=9).flat_map(|number| [format!("{disk}p{number}"), format!("{disk}s{number}")]);
    for name in names {
        if let Ok(partition) = writable(&name) {
            return flush(&name, &partition);
        }
    }
    log::warn!("{disk}: all of it is in use, its cache cannot be flushed");
    Ok(())
}

fn writable(provider: &str) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(format!("/dev/{provider}"))
}

fn flush(name: &str, device: &File) -> Result<()> {
    disk::flush(device).map_err(|error| Error::io(format!("flush {name}"), &error))
}

/// A partition, open.
struct Partition {
    file: File,
    size: u64,
    sector: u32,
}

impl BlockDevice for Partition {
    fn size(&self) -> u64 {
        self.size
    }

    fn sector(&self) -> u32 {
        self.sector
    }

    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn flush(&mut self) -> io::Result<()> {
        disk::flush(&self.file)
    }
}
