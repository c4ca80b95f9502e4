//! What happens to a machine's disks while it is off: statements become a script of the maker's,
//! which does it all at once before the next start.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nanozfs::lab::machine::Scheme;
use nanozfs::lab::statement::Where;
use nanozfs::lab::{Failure, Target};

use super::disk;
use super::drives::drive_of;
use super::maker::quote;
use super::player::Player;
use super::qemu::Drive;
use super::world;

impl Player<'_> {
    /// Where in the maker, or in the running guest, a story means.
    pub(crate) fn places(&mut self, place: &Where, path: &Path) -> Result<Vec<(String, PathBuf)>> {
        Ok(match place {
            Where::Here => vec![(String::new(), path.to_path_buf())],
            Where::Made(name) => bail!("@{name}: images are made by the lab only"),
            Where::Dataset(name) if self.guest.is_some() => {
                let line = format!("mount -p | awk '$1 == {:?} {{ print $2 }}'", name);
                let at = self.sh(&line)?.output.trim().to_owned();
                if at.is_empty() {
                    bail!("{name} is not mounted");
                }
                vec![(at, path.to_path_buf())]
            }
            Where::Dataset(name) => vec![(self.script.mounted(name)?, path.to_path_buf())],
            Where::Recovery => {
                let mut names: Vec<_> = self.slots().into_iter().map(|slot| slot.1).collect();
                names.dedup();
                names.iter().for_each(|name| self.script.line(&format!("slot {name}")));
                names.iter().map(|name| (format!("/s/{name}"), path.to_path_buf())).collect()
            }
            Where::Image => {
                let mut all = Vec::new();
                if world::is_real(path) && matches!(path.to_str(), Some("/etc/fstab" | "/dev")) {
                    return Ok(all);
                }
                for (slot, _, _) in self.slots() {
                    self.script.line(&format!("slot {slot}"));
                    for path in world::image_places(path) {
                        all.push((format!("/s/{slot}"), Path::new("/").join(path)));
                    }
                }
                all
            }
        })
    }

    /// Does it in the running guest when it is meant there, else in the maker.
    pub(crate) fn root(&mut self, place: &Where, line: &str) -> Result<()> {
        let here = match place {
            Where::Here => true,
            Where::Dataset(_) => self.guest.is_some(),
            _ => false,
        };
        if !here {
            self.script.line(line);
            return Ok(());
        }
        let ran = self.sh(line)?;
        if ran.exit != 0 {
            bail!("{line}: exit {}: {}", ran.exit, ran.output.trim());
        }
        Ok(())
    }

    /// A program of the image that fails in the way that the story wants.
    pub(crate) fn fault(&mut self, at: &Target, how: &Failure) -> Result<()> {
        let (program, when) = match at {
            Target::Import(_) => ("zpool", "*' import '*"),
            Target::Program(program) => (program.as_str(), "*"),
            _ => bail!("a fault that only the lab can make"),
        };
        let act = match how {
            Failure::Hang => "exec /bin/sleep 100000".to_owned(),
            Failure::Nonsense => "echo '%$ this is no answer'; exit 0".to_owned(),
            Failure::Says(words) => format!("echo {} >&2; exit 1", quote(words.as_bytes())),
            Failure::Missing => String::new(),
            Failure::Errno(_) => bail!("a fault that only the lab can make"),
        };
        for (slot, _, _) in self.slots() {
            let real = format!("/s/{slot}/sbin/{program}");
            self.script.line(&format!(
                "slot {slot}; chflags noschg {real} 2>/dev/null; mv {real} {real}.real"
            ));
            if act.is_empty() {
                continue;
            }
            let text = format!(
                "#!/bin/sh\ncase \" $* \" in {when}) {act} ;; esac\nexec /sbin/{program}.real \"$@\"\n"
            );
            self.script
                .line(&format!("printf %s {} > {real}; chmod 555 {real}", quote(text.as_bytes())));
        }
        Ok(())
    }

    /// Everything that the story said about the disks so far is done by the maker.
    pub(crate) fn flush(&mut self) -> Result<()> {
        if self.how != self.written {
            self.write_how()?;
        }
        if self.script.is_empty() {
            return Ok(());
        }
        if self.guest.is_some() {
            bail!("the disks are in use: this can only be said while the machine is off");
        }
        let key = format!(
            "{:016x}",
            super::hash(&format!("{}{}{}", self.site.world.id, self.built, self.script.text()))
        );
        let cache = self.site.world.prepared.join(key);
        let fresh = !self.booted && self.number == 0;
        if fresh && self.take_cached(&cache)? {
            return Ok(());
        }
        self.number += 1;
        let log = self.logs.join(format!("{}-maker", self.number));
        let mut drives: Vec<Drive> = Vec::new();
        for disk in &self.disks {
            if drives.iter().all(|drive| drive.device != disk.device) {
                drives.push(drive_of(disk, ""));
            }
        }
        let site = self.site;
        self.script.perform(&site.world, &drives, site.kvm, &self.directory, &log)?;
        if fresh {
            self.keep_cached(&cache)?;
        }
        Ok(())
    }

    pub(crate) fn take_cached(&mut self, cache: &Path) -> Result<bool> {
        let Ok(guids) = fs::read_to_string(cache.join("guids")) else { return Ok(false) };
        for disk in &self.disks {
            let name = disk.file.file_name().context("a disk without a name")?;
            disk::copy(&cache.join(name), &disk.file)?;
        }
        let words = guids.lines().filter_map(|line| line.split_once(' '));
        self.script.guids = words.map(|(one, two)| (one.to_owned(), two.to_owned())).collect();
        self.script.forget();
        Ok(true)
    }

    /// Keeps the disks as they are now; whoever comes second finds them.
    pub(crate) fn keep_cached(&self, cache: &Path) -> Result<()> {
        let new = cache.with_extension(&self.name);
        let _ = fs::remove_dir_all(&new);
        fs::create_dir_all(&new)?;
        for disk in &self.disks {
            let name = disk.file.file_name().context("a disk without a name")?;
            disk::copy(&disk.file, &new.join(name))?;
        }
        let guids = self.script.guids.iter().map(|(core, guid)| format!("{core} {guid}\n"));
        fs::write(new.join("guids"), guids.collect::<String>())?;
        if fs::rename(&new, cache).is_err() {
            let _ = fs::remove_dir_all(&new);
        }
        Ok(())
    }

    /// Writes to the slots how the machine starts: fstab, rc.conf, /etc/diskless.
    pub(crate) fn write_how(&mut self) -> Result<()> {
        let how = self.how.clone();
        let memory = how.memory.unwrap_or(0).div_ceil(512);
        for (slot, _, scheme) in self.slots() {
            let other = slot.ends_with("s2a") || slot.ends_with("p3");
            let label = match (scheme, other) {
                (Scheme::Gpt, false) => "gpt/nanoA",
                (Scheme::Gpt, true) => "gpt/nanoB",
                (_, false) => "ufs/nanos1a",
                (_, true) => "ufs/nanos2a",
            };
            let device = if how.by_label { label } else { slot.as_str() };
            self.script.line(&format!(
                "slot {slot}; how /s/{slot} /dev/{device} {} {} {memory}",
                if how.writable { "rw" } else { "ro" },
                if how.memory.is_some() { "memory" } else { "root" },
            ));
        }
        if how.slot != self.written.slot {
            for disk in self.disks.iter().filter(|disk| disk.attached) {
                match disk.os.as_ref().map(|os| os.scheme) {
                    Some(Scheme::Gpt) => disk::select_gpt(&disk.file, how.slot)?,
                    Some(_) => disk::select_mbr(&disk.file, how.slot)?,
                    None => {}
                }
            }
        }
        self.written = how;
        Ok(())
    }
}
