//! The disks of a machine that a story is played on.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nanozfs::lab::OsDrive;
use nanozfs::lab::machine::Scheme;

use super::disk;
use super::liar::Liar;
use super::player::Player;
use super::qemu::Drive;

/// A disk of the machine.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    pub(crate) device: String,
    pub(crate) serial: String,
    pub(crate) file: PathBuf,
    pub(crate) os: Option<OsDrive>,
    pub(crate) attached: bool,
    pub(crate) after: Duration,
    pub(crate) unreadable: bool,
    /// It is reached through somebody who may lie.
    pub(crate) liar: Option<Liar>,
    pub(crate) parts: Vec<(String, u64)>,
}

impl Player<'_> {
    pub(crate) fn os_drive(&mut self, drive: &OsDrive) -> Result<()> {
        let file = self.directory.join(format!("disk{}", self.disks.len()));
        let world = &self.site.world;
        let [mbr_a, mbr_b, gpt_a, gpt_b] = &world.slots;
        let gpt = drive.scheme == Scheme::Gpt;
        if drive.label != "nano" {
            bail!("the images have the label nano, not {}", drive.label);
        }
        let content = disk::Content {
            boot: &world.boot,
            slots: if gpt { [gpt_a, gpt_b] } else { [mbr_a, mbr_b] },
            recovery: if gpt { &world.recoveries[1] } else { &world.recoveries[0] },
            label: &drive.label,
            seed: &drive.serial,
        };
        match drive.scheme {
            Scheme::Gpt => disk::write_gpt(&file, &content)?,
            _ => disk::write_mbr(&file, &content)?,
        }
        if self.disks.iter().all(|disk| disk.os.is_none()) {
            self.how.slot = if gpt { 2 } else { 1 };
            self.written.slot = self.how.slot;
        }
        self.disks.push(Disk {
            device: drive.device.clone(),
            serial: drive.serial.clone(),
            file,
            os: Some(drive.clone()),
            attached: true,
            after: Duration::ZERO,
            unreadable: false,
            liar: None,
            parts: Vec::new(),
        });
        Ok(())
    }

    pub(crate) fn disk(&mut self, device: &str) -> Result<&mut Disk> {
        let attached = |disk: &Disk| disk.device == device && disk.attached;
        let at = self.disks.iter().position(attached);
        let at = at.or_else(|| self.disks.iter().position(|disk| disk.device == device));
        let disk = at.and_then(|at| self.disks.get_mut(at));
        disk.with_context(|| format!("there is no disk {device}"))
    }

    /// The image of what a story calls `ada1` or `gpt/NAME`.
    pub(crate) fn file_of(&self, word: &str) -> Option<PathBuf> {
        let named = |disk: &&Disk| match word.strip_prefix("gpt/") {
            Some(name) => disk.parts.iter().any(|(part, _)| part == name),
            None => disk.device == word,
        };
        self.disks.iter().find(named).map(|disk| disk.file.clone())
    }

    /// The slots of all OS drives as the kernel names them, and the recovery copies.
    pub(crate) fn slots(&self) -> Vec<(String, String, Scheme)> {
        let mut all = Vec::new();
        for disk in self.disks.iter().filter(|disk| disk.attached) {
            let Some(os) = &disk.os else { continue };
            let (slots, recovery) = match os.scheme {
                Scheme::Gpt => (["p2", "p3"], "p4"),
                _ => (["s1a", "s2a"], "s3"),
            };
            for slot in slots {
                let names =
                    (format!("{}{slot}", disk.device), format!("{}{recovery}", disk.device));
                all.push((names.0, names.1, os.scheme));
            }
        }
        all
    }

    /// A blank disk.
    pub(crate) fn add_disk(
        &mut self,
        device: &str,
        serial: &str,
        size: u64,
        after: Duration,
    ) -> Result<()> {
        let file = self.directory.join(format!("disk{}", self.disks.len()));
        disk::blank(&file, size)?;
        self.disks.push(Disk {
            device: device.to_owned(),
            serial: serial.to_owned(),
            file,
            os: None,
            attached: true,
            after,
            unreadable: false,
            liar: None,
            parts: Vec::new(),
        });
        Ok(())
    }

    /// Plugs it in, maybe elsewhere, into a machine that runs or not.
    pub(crate) fn attach(
        &mut self,
        device: &str,
        name: Option<&str>,
        after: Duration,
    ) -> Result<()> {
        if name.is_some() {
            self.flush()?;
        }
        let running = self.guest.is_some();
        let disk = self.disk(device)?;
        disk.attached = true;
        disk.after = if running { Duration::ZERO } else { after };
        if let Some(name) = name {
            name.clone_into(&mut disk.device);
        }
        let drive = drive_of(disk, "");
        if let Some(guest) = &mut self.guest {
            std::thread::sleep(after);
            guest.plug(&drive)?;
            // The kernel needs a moment to find it, and GEOM to taste it.
            std::thread::sleep(Duration::from_secs(2));
        }
        Ok(())
    }

    /// Another drive with the same image takes the place of the OS drive.
    pub(crate) fn swap(&mut self, device: &str, serial: &str) -> Result<()> {
        self.flush()?;
        let file = self.directory.join(format!("disk{}", self.disks.len()));
        let old = self.disks.iter_mut().find(|disk| disk.os.is_some());
        let old = old.context("there is no OS drive")?;
        old.attached = false;
        let mut new = old.clone();
        disk::copy(&old.file, &file)?;
        (new.device, new.serial) = (device.to_owned(), serial.to_owned());
        (new.file, new.attached) = (file, true);
        if let Some(os) = &mut new.os {
            device.clone_into(&mut os.device);
        }
        // The first one is the one that the firmware starts from.
        let at = self.disks.iter().position(|disk| disk.os.is_some()).unwrap_or(0);
        self.disks.insert(at, new);
        Ok(())
    }
}

/// The disk as QEMU gets it; `first` is the one that the firmware starts from.
pub(crate) fn drive_of(disk: &Disk, first: &str) -> Drive {
    Drive {
        device: disk.device.clone(),
        serial: disk.serial.clone(),
        file: disk.file.clone(),
        first: disk.device == first,
        unreadable: disk.unreadable,
        socket: disk.liar.as_ref().map(|liar| liar.socket.clone()),
    }
}
