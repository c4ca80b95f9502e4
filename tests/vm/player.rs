//! Playing a story on a guest.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nanozfs::lab::machine::{Scheme, Trouble};
use nanozfs::lab::play::STANDARD;
use nanozfs::lab::statement::{DiskTrouble, Start, Statement, Where};
use nanozfs::lab::{Failure, OsDrive, Target, story};

use super::disk;
use super::maker::{self, Pool, Script, quote};
use super::qemu::{Drive, Guest};
use super::shell::{self, READY};
use super::stories::{Line, Play};
use super::world::{self, World};

/// From power-on to the shell, without what a story waits for.
const BOOT: Duration = Duration::from_secs(240);
/// The longest command by hand.
const COMMAND: Duration = Duration::from_secs(180);
/// An orderly shutdown.
const SHUTDOWN: Duration = Duration::from_secs(120);
/// What a boot must not come to.
const STOPPED: [&str; 4] =
    ["mountroot>", "panic:", "Enter full pathname of shell", "can't load 'kernel'"];

/// A disk of the machine.
#[derive(Clone, Debug)]
struct Disk {
    device: String,
    serial: String,
    file: PathBuf,
    os: Option<OsDrive>,
    attached: bool,
    after: Duration,
    unreadable: bool,
    parts: Vec<(String, u64)>,
}

/// How the machine starts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct How {
    writable: bool,
    by_label: bool,
    slot: u32,
    memory: Option<u64>,
}

/// What the last run of nanozfs came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Last {
    pub(crate) exit: Option<u8>,
    pub(crate) output: String,
    pub(crate) changed: Option<String>,
    pub(crate) waited: Option<Duration>,
}

/// Where the harness works.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) world: World,
    pub(crate) kvm: bool,
    /// `target/vm`.
    pub(crate) work: PathBuf,
}

/// A story as it was played.
#[derive(Debug, Default)]
pub(crate) struct Played {
    pub(crate) failures: Vec<String>,
    pub(crate) checks: usize,
    /// What nanozfs said, run by run.
    pub(crate) runs: Vec<String>,
    pub(crate) boots: Vec<Duration>,
}

/// Somebody who plays a story.
pub(crate) struct Player<'a> {
    site: &'a Site,
    name: String,
    directory: PathBuf,
    logs: PathBuf,
    disks: Vec<Disk>,
    how: How,
    /// As it was written to the slots.
    written: How,
    kenv: Vec<(String, String)>,
    script: Script,
    built: String,
    booted: bool,
    number: usize,
    labels: BTreeMap<PathBuf, Vec<u8>>,
    pub(crate) guest: Option<Guest>,
    pub(crate) last: Last,
    pub(crate) played: Played,
}

/// Plays it; what goes wrong with the machine itself is a failure of the story, too.
pub(crate) fn play(site: &Site, story: &Play) -> Result<Played> {
    let directory = site.work.join("run").join(&story.name);
    let logs = site.work.join("logs").join(&story.name);
    for path in [&directory, &logs] {
        let _ = fs::remove_dir_all(path);
        fs::create_dir_all(path)?;
    }
    let how = How { writable: false, by_label: true, slot: 0, memory: Some(5 << 20) };
    let mut player = Player {
        site,
        name: story.name.clone(),
        directory,
        logs,
        disks: Vec::new(),
        written: how.clone(),
        how,
        kenv: Vec::new(),
        script: Script::default(),
        built: String::new(),
        booted: false,
        number: 0,
        labels: BTreeMap::new(),
        guest: None,
        last: Last::default(),
        played: Played::default(),
    };
    for (number, line) in &story.lines {
        let at = format!("{}:{number}", story.file);
        let done = match line {
            Line::Statement(Statement::Expect(expect)) => {
                player.played.checks += 1;
                match player.check(expect) {
                    Ok(None) => Ok(()),
                    Ok(Some(why)) | Err(why) => {
                        player.played.failures.push(format!("{at}: {why}"));
                        Ok(())
                    }
                }
            }
            Line::Statement(statement) => player.perform(statement),
            Line::RandomCuts(count) => player.random_cuts(*count),
        };
        if let Err(error) = done {
            // Nothing that follows would mean anything.
            player.played.failures.push(format!("{at}: {error:#}"));
            break;
        }
    }
    player.guest = None;
    if std::env::var_os("KEEP").is_none() {
        let _ = fs::remove_dir_all(&player.directory);
    }
    Ok(player.played)
}

impl Player<'_> {
    fn perform(&mut self, statement: &Statement) -> Result<()> {
        match statement {
            Statement::Boot => return self.boot(),
            Statement::SingleUser => return self.single_user(),
            Statement::Run(words) => return self.run(words),
            Statement::Shutdown => return self.shutdown(),
            Statement::Cut(_) => {
                self.guest.take().context("it has no power")?.cut();
                return Ok(());
            }
            Statement::Title(_) | Statement::Tell(_) => return Ok(()),
            _ => {}
        }
        if !self.booted {
            self.built.push_str(&format!("{statement:?}\n"));
        }
        match statement {
            Statement::UseStandard(drive) => {
                for (_, statement) in story::parse(STANDARD).map_err(anyhow::Error::msg)? {
                    match (statement, drive) {
                        (Statement::OsDrive(_), Some(drive)) => {
                            self.perform(&Statement::OsDrive(drive.clone()))?;
                        }
                        // The slots and the recovery copy have it already.
                        (Statement::Put { place: Where::Image | Where::Recovery, .. }, _)
                        | (Statement::Config(..), _) => {}
                        (Statement::Start(_), Some(_)) => {}
                        (statement, _) => self.perform(&statement)?,
                    }
                }
            }
            Statement::OsDrive(drive) => self.os_drive(drive)?,
            Statement::Start(parts) => {
                for part in parts {
                    match part {
                        Start::Writable(writable) => self.how.writable = *writable,
                        Start::ByLabel(by_label) => self.how.by_label = *by_label,
                        Start::Slot(slot) => self.how.slot = *slot,
                        Start::Etc(memory) => self.how.memory = *memory,
                    }
                }
            }
            Statement::Disk { device, serial, size, after } => {
                let file = self.directory.join(format!("disk{}", self.disks.len()));
                disk::blank(&file, *size)?;
                self.disks.push(Disk {
                    device: device.clone(),
                    serial: serial.clone(),
                    file,
                    os: None,
                    attached: true,
                    after: *after,
                    unreadable: false,
                    parts: Vec::new(),
                });
            }
            Statement::Partition { device, name, size } => {
                let disk = self.disk(device)?;
                disk.parts.push((name.clone(), *size));
                disk::partition(&disk.file, &disk.parts, &format!("{} {name}", disk.serial))?;
            }
            Statement::Pool { name, tops, guid, host, exported } => {
                let same = self.script.pools.iter().filter(|pool| pool.name == *name).count();
                let core = if same == 0 { name.clone() } else { format!("{name}_{}", same + 1) };
                let words = tops.iter().flat_map(|top| &top.devices);
                let files = words.filter_map(|word| self.file_of(word)).collect();
                let pool = Pool { name: name.clone(), core, files, number: *guid };
                self.script.make_pool(&pool, tops, host.as_deref());
                if *exported {
                    self.script.last_used(name, None, true, false)?;
                }
            }
            Statement::Add { pool, top } => self.script.add(pool, top)?,
            Statement::LastUsed { pool, host, exported, by_diskid } => {
                self.script.last_used(pool, host.as_deref(), *exported, *by_diskid)?;
            }
            Statement::Dataset { name, settings, encrypted, .. } => {
                self.script.dataset(name, settings, *encrypted)?;
            }
            Statement::Property { dataset, name, value } => {
                let setting = quote(format!("{name}={value}").as_bytes());
                self.zfs(&format!("set {setting}"), std::slice::from_ref(dataset))?;
            }
            Statement::Snapshot(names) => self.zfs("snapshot", names)?,
            Statement::Destroy(name) => self.script.destroy(name)?,
            Statement::Put { place, path, thing, mode, owner } => {
                for (below, path) in self.places(place, path)? {
                    let line = maker::put(&below, &path, thing, *mode, *owner);
                    self.root(place, &line)?;
                }
            }
            Statement::Remove { place, path } => {
                for (below, path) in self.places(place, path)? {
                    let at = quote(format!("{below}{}", path.display()).as_bytes());
                    self.root(place, &format!("chflags -R noschg {at} 2>/dev/null; rm -rf {at}"))?;
                }
            }
            Statement::Config(key, value) => {
                let value = self.script.with_guids(value);
                for (below, path) in self.places(&Where::Image, Path::new("/etc/nanozfs.conf"))? {
                    self.script.line(&format!("set_key {below}{} {key} {value}", path.display()));
                }
            }
            Statement::Kenv(name, value) => self.kenv.push((name.clone(), value.clone())),
            Statement::Fault(fault) => self.fault(&fault.at, &fault.how)?,
            Statement::DiskFault { device, trouble } => match trouble {
                DiskTrouble::Lasting(Trouble::Damaged) => {
                    self.flush()?;
                    disk::damage(&self.disk(device)?.file)?;
                }
                DiskTrouble::Lasting(Trouble::Unreadable) => self.disk(device)?.unreadable = true,
                other => bail!("{device}: {other:?} is for the lab only"),
            },
            Statement::InUse(path) => {
                let file = quote(format!("{}/in-use", path.display()).as_bytes());
                let line = format!("sleep 100000 > {file} 2>/dev/null </dev/null & :");
                self.sh(&line)?;
            }
            Statement::Detach(device) => {
                if let Some(guest) = &mut self.guest {
                    guest.pull(device)?;
                }
                self.disk(device)?.attached = false;
            }
            Statement::Attach { device, name, after } => {
                if name.is_some() {
                    self.flush()?;
                }
                let running = self.guest.is_some();
                let disk = self.disk(device)?;
                disk.attached = true;
                disk.after = if running { Duration::ZERO } else { *after };
                if let Some(name) = name {
                    disk.device.clone_from(name);
                }
                let drive = drive_of(disk, "");
                if let Some(guest) = &mut self.guest {
                    std::thread::sleep(*after);
                    guest.plug(&drive)?;
                    // The kernel needs a moment to find it, and GEOM to taste it.
                    std::thread::sleep(Duration::from_secs(2));
                }
            }
            Statement::Rename { from, to } => {
                self.flush()?;
                self.disk(from)?.device.clone_from(to);
            }
            Statement::Swap { device, serial } => {
                self.flush()?;
                let file = self.directory.join(format!("disk{}", self.disks.len()));
                let old = self.disks.iter_mut().find(|disk| disk.os.is_some());
                let old = old.context("there is no OS drive")?;
                old.attached = false;
                let mut new = old.clone();
                disk::copy(&old.file, &file)?;
                (new.device, new.serial) = (device.clone(), serial.clone());
                (new.file, new.attached) = (file, true);
                if let Some(os) = &mut new.os {
                    os.device.clone_from(device);
                }
                // The first one is the one that the firmware starts from.
                let at = self.disks.iter().position(|disk| disk.os.is_some()).unwrap_or(0);
                self.disks.insert(at, new);
            }
            other => bail!("cannot be played on a guest: {other:?}"),
        }
        Ok(())
    }

    fn os_drive(&mut self, drive: &OsDrive) -> Result<()> {
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
            parts: Vec::new(),
        });
        Ok(())
    }

    fn disk(&mut self, device: &str) -> Result<&mut Disk> {
        let attached = |disk: &Disk| disk.device == device && disk.attached;
        let at = self.disks.iter().position(attached);
        let at = at.or_else(|| self.disks.iter().position(|disk| disk.device == device));
        let disk = at.and_then(|at| self.disks.get_mut(at));
        disk.with_context(|| format!("there is no disk {device}"))
    }

    /// The image of what a story calls `ada1` or `gpt/NAME`.
    fn file_of(&self, word: &str) -> Option<PathBuf> {
        let named = |disk: &&Disk| match word.strip_prefix("gpt/") {
            Some(name) => disk.parts.iter().any(|(part, _)| part == name),
            None => disk.device == word,
        };
        self.disks.iter().find(named).map(|disk| disk.file.clone())
    }

    /// The slots of all OS drives as the kernel names them, and the recovery copies.
    fn slots(&self) -> Vec<(String, String, Scheme)> {
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

    /// Where in the maker, or in the running guest, a story means.
    fn places(&mut self, place: &Where, path: &Path) -> Result<Vec<(String, PathBuf)>> {
        Ok(match place {
            Where::Here => vec![(String::new(), path.to_path_buf())],
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
            Where::Made(name) => bail!("@{name}: images are made by the lab only"),
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
    fn root(&mut self, place: &Where, line: &str) -> Result<()> {
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

    /// zfs(8) with these datasets or snapshots, on the running guest or before its next start.
    fn zfs(&mut self, arguments: &str, names: &[String]) -> Result<()> {
        match self.guest.is_some() {
            true => self.root(&Where::Here, &format!("zfs {arguments} {}", names.join(" "))),
            false => self.script.zfs(arguments, names),
        }
    }

    /// A program of the image that fails in the way that the story wants.
    fn fault(&mut self, at: &Target, how: &Failure) -> Result<()> {
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
    fn flush(&mut self) -> Result<()> {
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
        let cache = self.site.work.join("cache").join(key);
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

    fn take_cached(&mut self, cache: &Path) -> Result<bool> {
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
    fn keep_cached(&self, cache: &Path) -> Result<()> {
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
    fn write_how(&mut self) -> Result<()> {
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

    /// Power on, until the shell is there.
    fn boot(&mut self) -> Result<()> {
        self.ready()?;
        self.start("boot")?;
        self.come_up()
    }

    /// Power on without rc(8): the shell that init(8) offers starts ours.
    fn single_user(&mut self) -> Result<()> {
        self.ready()?;
        self.start("boot -s")?;
        let guest = self.guest.as_ref().context("it has no power")?;
        let (_, at) = guest.console.wait(&["RETURN for /bin/sh"], 0, BOOT)?;
        guest.console.send("\r")?;
        guest.console.wait(&["# "], at, BOOT)?;
        guest.console.send("/bin/sh /etc/vm-shell ttyu1 &\r")?;
        guest.commands.wait(&[READY], 0, BOOT)?;
        Ok(())
    }

    /// Everything about the disks is done, and written down for those that must not be touched.
    fn ready(&mut self) -> Result<()> {
        if self.guest.is_some() {
            bail!("it is on already");
        }
        self.flush()?;
        if !self.booted {
            for disk in &self.disks {
                self.labels.insert(disk.file.clone(), disk::labels(&disk.file)?);
            }
        }
        self.booted = true;
        Ok(())
    }

    /// Switches it on: what is typed at the loader prompt, if anything, ends with `command`.
    fn start(&mut self, command: &str) -> Result<()> {
        self.number += 1;
        let log = self.logs.join(format!("{}-boot", self.number));
        let first = self.disks.iter().find(|disk| disk.os.is_some() && disk.attached);
        let first = first.context("there is no OS drive")?.device.clone();
        let now = |disk: &&Disk| disk.attached && disk.after.is_zero();
        let mut drives: Vec<Drive> =
            self.disks.iter().filter(now).map(|disk| drive_of(disk, &first)).collect();
        let script = self.directory.join("command");
        shell::write(&script, "")?;
        drives.push(Drive {
            device: "vtbd99".to_owned(),
            serial: "script".to_owned(),
            file: script,
            first: false,
            unreadable: false,
        });
        let guest = Guest::start(&drives, self.site.kvm, &self.directory, &log)?;
        let kenv = std::mem::take(&mut self.kenv);
        if !kenv.is_empty() || command != "boot" {
            guest.console.wait(&["any other key for command prompt", "Hit [Enter]"], 0, BOOT)?;
            guest.console.send(" ")?;
            let (_, mut at) = guest.console.wait(&["OK "], 0, BOOT)?;
            for (name, value) in kenv {
                guest.console.send(&format!("set {name}=\"{value}\"\r"))?;
                (_, at) = guest.console.wait(&["OK "], at, BOOT)?;
            }
            guest.console.send(&format!("{command}\r"))?;
        }
        self.guest = Some(guest);
        Ok(())
    }

    /// Waits for the shell, and plugs in what comes late.
    fn come_up(&mut self) -> Result<()> {
        let began = Instant::now();
        let guest = self.guest.as_mut().context("it has no power")?;
        let mut late: Vec<&mut Disk> =
            self.disks.iter_mut().filter(|disk| disk.attached && !disk.after.is_zero()).collect();
        late.sort_by_key(|disk| disk.after);
        let mut words = vec!["nanozfs: "];
        words.extend(STOPPED);
        let from = match guest.console.wait(&words, 0, BOOT)? {
            (0, _) => Instant::now(),
            (which, _) => bail!("the boot stopped: {:?}", words.get(which)),
        };
        for disk in late {
            std::thread::sleep(disk.after.saturating_sub(from.elapsed()));
            guest.plug(&drive_of(disk, ""))?;
            disk.after = Duration::ZERO;
        }
        let deadline = Instant::now() + BOOT;
        loop {
            if guest.commands.wait(&[READY], 0, Duration::from_millis(500)).is_ok() {
                break;
            }
            if let Ok((which, _)) = guest.console.wait(&STOPPED, 0, Duration::ZERO) {
                bail!("the boot stopped: {:?}", STOPPED.get(which));
            }
            if Instant::now() > deadline {
                bail!("no shell after {} s", BOOT.as_secs());
            }
        }
        self.played.boots.push(began.elapsed());
        let output = nanozfs_lines(&guest.console.text(0));
        self.last = Last { output: output.clone(), ..Last::default() };
        self.played.runs.push(output);
        let state = self.sh("kenv -q nanozfs.state")?.output;
        let console = self.guest.as_ref().map(|guest| guest.console.text(0)).unwrap_or_default();
        let other = console.split("nanozfs boot: exit status ").nth(1);
        let other = other.and_then(|rest| rest.split(':').next()?.trim().parse().ok());
        self.last.exit = other.or(match state.trim() {
            "normal" => Some(0),
            "degraded" => Some(4),
            "recovery" => Some(5),
            _ => None,
        });
        let record = self.sh("cat /var/db/nanozfs/boot.json")?.output;
        self.last.waited = waited(&record, &self.last.output);
        Ok(())
    }

    fn shutdown(&mut self) -> Result<()> {
        self.sh("( sleep 1; shutdown -p now ) >/dev/null 2>&1 &")?;
        let mut guest = self.guest.take().context("it has no power")?;
        guest.wait_off(SHUTDOWN)
    }

    fn run(&mut self, words: &[String]) -> Result<()> {
        let before = self.state()?;
        let line: Vec<String> = words.iter().map(|word| quote(word.as_bytes())).collect();
        let ran = self.sh(&line.join(" "))?;
        let after = self.state()?;
        let changed = before.lines().zip(after.lines()).find(|(one, other)| one != other);
        let changed = changed.map(|(one, other)| format!("{one} -> {other}"));
        let changed = changed.or_else(|| {
            let (one, other) = (before.lines().count(), after.lines().count());
            (one != other).then(|| format!("{one} lines of state, then {other}"))
        });
        self.last = Last { exit: Some(ran.exit), output: ran.output, changed, waited: None };
        if words.first().is_some_and(|word| word == "nanozfs") {
            self.played.runs.push(self.last.output.clone());
        }
        Ok(())
    }

    /// One line of sh(1) in the guest.
    pub(crate) fn sh(&self, line: &str) -> Result<shell::Ran> {
        let guest = self.guest.as_ref().context("it has no power")?;
        shell::run(guest, &self.directory.join("command"), line, COMMAND)
    }

    /// What nanozfs could change, without its own record.
    fn state(&self) -> Result<String> {
        Ok(self.sh("state")?.output)
    }

    /// The labels of a pool's disks are as they were before the first boot.
    pub(crate) fn untouched(&self, name: &str) -> Result<Option<String>> {
        let number = name.parse::<u64>().ok();
        let meant =
            |pool: &&Pool| pool.name == name || number.is_some_and(|n| pool.number == Some(n));
        let pools: Vec<&Pool> = self.script.pools.iter().filter(meant).collect();
        if pools.is_empty() {
            return Err(anyhow!("there is no pool {name}"));
        }
        for file in pools.iter().flat_map(|pool| &pool.files) {
            if self
                .labels
                .get(file)
                .is_some_and(|before| disk::labels(file).ok().as_ref() != Some(before))
            {
                return Ok(Some(format!("pool {name} was written to")));
            }
        }
        Ok(None)
    }

    /// A text with the real GUIDs in place of the story's.
    pub(crate) fn real_guids(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for pool in &self.script.pools {
            if let (Some(number), Some(real)) = (pool.number, self.script.guids.get(&pool.core)) {
                text = text.replace(&number.to_string(), real);
            }
        }
        text
    }

    /// Power cuts at random moments of a boot.
    fn random_cuts(&mut self, count: u32) -> Result<()> {
        self.flush()?;
        self.booted = true;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos();
        let seed = match std::env::var("SEED") {
            Ok(word) => word.parse().context("SEED")?,
            Err(_) => (now & 0xffff_ffff) as u64,
        };
        println!("{}: SEED={seed}", self.name);
        for round in 0..count {
            let random = super::hash(&format!("{seed} {round}"));
            self.start("boot")?;
            let guest = self.guest.as_ref().context("it has no power")?;
            // From the kernel's first lines until a little after nanozfs is through.
            guest.console.wait(&["Trying to mount root"], 0, BOOT)?;
            std::thread::sleep(Duration::from_millis(random % 4000));
            if let Some(guest) = self.guest.take() {
                guest.cut();
            }
        }
        Ok(())
    }
}

fn drive_of(disk: &Disk, first: &str) -> Drive {
    Drive {
        device: disk.device.clone(),
        serial: disk.serial.clone(),
        file: disk.file.clone(),
        first: disk.device == first,
        unreadable: disk.unreadable,
    }
}

/// The lines of nanozfs on a console, without what others say between them.
pub(crate) fn nanozfs_lines(console: &str) -> String {
    let mut out = String::new();
    let (mut follows, mut screen) = (false, false);
    for line in console.lines() {
        let rule = line.len() > 40 && line.chars().all(|c| c == '-');
        let keep = match (rule, screen) {
            (true, _) => {
                screen = !screen;
                true
            }
            (false, true) => line.starts_with(' '),
            _ => line.starts_with("nanozfs: ") || (follows && line.starts_with("         ")),
        };
        // The kernel may speak between a line and what belongs to it.
        follows = keep || follows;
        if keep {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// How long the pools helper waited: what it took, without the import itself.
fn waited(record: &str, output: &str) -> Option<Duration> {
    let record: serde_json::Value = serde_json::from_str(record.trim()).ok()?;
    let helpers = record.get("helpers")?.as_array()?;
    let pools = helpers.iter().find(|helper| helper.get("helper").is_some_and(|h| h == "pools"))?;
    let took = pools.get("seconds")?.as_f64()?;
    let import: f64 = output
        .lines()
        .filter(|line| line.starts_with("nanozfs: pools:"))
        .filter_map(|line| line.rsplit_once(", ")?.1.strip_suffix(" s")?.parse::<f64>().ok())
        .sum();
    Some(Duration::from_secs_f64((took - import).max(0.0)))
}
