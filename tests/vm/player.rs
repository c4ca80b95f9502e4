//! Playing a story on a guest.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nanozfs::lab::machine::Trouble;
use nanozfs::lab::play::STANDARD;
use nanozfs::lab::statement::{DiskTrouble, Expect, Start, Statement, Where};
use nanozfs::lab::story;

use super::disk;
use super::drives::Disk;
use super::maker::{self, Pool, Script, quote};
use super::qemu::Guest;
use super::shell;
use super::stories::{Line, Play};
use super::world::World;

/// The longest command by hand.
const COMMAND: Duration = Duration::from_secs(180);
/// How the machine starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct How {
    pub(crate) writable: bool,
    pub(crate) by_label: bool,
    pub(crate) slot: u32,
    pub(crate) memory: Option<u64>,
}

/// What the last run of nanozfs came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Last {
    pub(crate) exit: Option<u8>,
    pub(crate) output: String,
    /// Whether anything changed was looked at, and what it was.
    pub(crate) changed: Option<Option<String>>,
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
    pub(crate) site: &'a Site,
    pub(crate) name: String,
    pub(crate) directory: PathBuf,
    pub(crate) logs: PathBuf,
    pub(crate) disks: Vec<Disk>,
    pub(crate) how: How,
    /// As it was written to the slots.
    pub(crate) written: How,
    pub(crate) kenv: Vec<(String, String)>,
    pub(crate) script: Script,
    pub(crate) built: String,
    pub(crate) booted: bool,
    /// In the last boot, from the kernel's mounting the root until nanozfs was through.
    pub(crate) span: Option<Duration>,
    pub(crate) number: usize,
    pub(crate) labels: BTreeMap<PathBuf, Vec<u8>>,
    pub(crate) guest: Option<Guest>,
    pub(crate) last: Last,
    /// How far the console of this power-on was read.
    pub(crate) seen: usize,
    /// The next run is asked whether it changed anything: looking takes the guest a second.
    watches: bool,
    pub(crate) played: Played,
}

/// Plays it; what goes wrong with the machine itself is a failure of the story, too.
pub(crate) fn play(site: &Site, story: &Play) -> Result<Played> {
    let mut player = Player::new(site, &story.name)?;
    for (index, (number, line)) in story.lines.iter().enumerate() {
        let at = format!("{}:{number}", story.file);
        player.watches = is_compared(story.lines.get(index + 1..).unwrap_or_default());
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
            Line::DoAsTold => player.do_as_told(),
            Line::Release(version, change) => player.make_release(version, change),
            Line::StartUntil(word) => player.start_until(word),
            Line::LyingFlash(device) => player.lying_flash(device),
            Line::Lie(partition, offset) => player.lie(partition, *offset),
            Line::Again => player.again(),
            Line::CutsDuring(count, line) => player.cuts_during(*count, line),
            Line::Record(name, command) => player.record(name, command),
            Line::Console(name) => player.record_console(name),
        };
        if let Err(error) = done {
            // Nothing that follows would mean anything.
            player.played.failures.push(format!("{at}: {error:#}"));
            break;
        }
    }
    Ok(player.finish())
}

/// A run followed by these lines is asked whether it changed anything.
fn is_compared(rest: &[(usize, Line)]) -> bool {
    let expects = rest.iter().map_while(|(_, line)| match line {
        Line::Statement(Statement::Expect(expect)) => Some(expect),
        _ => None,
    });
    expects.into_iter().any(|expect| matches!(expect, Expect::Unchanged))
}

impl<'a> Player<'a> {
    /// Somebody who has no machine yet; `name` is that of the directories below `target/vm`.
    pub(crate) fn new(site: &'a Site, name: &str) -> Result<Player<'a>> {
        let directory = site.work.join("run").join(name);
        let logs = site.work.join("logs").join(name);
        for path in [&directory, &logs] {
            let _ = fs::remove_dir_all(path);
            fs::create_dir_all(path)?;
        }
        let how = How { writable: false, by_label: true, slot: 0, memory: Some(5 << 20) };
        Ok(Player {
            site,
            name: name.to_owned(),
            directory,
            logs,
            disks: Vec::new(),
            written: how.clone(),
            how,
            kenv: Vec::new(),
            script: Script::default(),
            built: String::new(),
            booted: false,
            span: None,
            number: 0,
            labels: BTreeMap::new(),
            guest: None,
            last: Last::default(),
            seen: 0,
            watches: false,
            played: Played::default(),
        })
    }

    /// The machine is thrown away, unless KEEP is set.
    pub(crate) fn finish(mut self) -> Played {
        self.guest = None;
        if std::env::var_os("KEEP").is_none_or(|word| word.is_empty()) {
            let _ = fs::remove_dir_all(&self.directory);
        }
        self.played
    }

    /// Does one statement.
    pub(crate) fn perform(&mut self, statement: &Statement) -> Result<()> {
        match statement {
            Statement::Boot => return self.boot(),
            Statement::SingleUser => return self.single_user(),
            Statement::Run(words) => return self.run(words),
            Statement::Shutdown => return self.shutdown(),
            Statement::Cut(_) => {
                self.guest.take().context("it has no power")?.cut();
                return Ok(());
            }
            // rc of a guest does that by itself.
            Statement::Title(_) | Statement::Tell(_) => return Ok(()),
            Statement::Wait(time) => return self.wait(*time),
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
                self.add_disk(device, serial, *size, *after)?;
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
                // Where it can: with a file open.
                let line = format!(
                    "( cd {}; if ( : >in-use ); then exec sleep 100000 3>in-use; fi; \
                     exec sleep 100000 ) >/dev/null 2>&1 </dev/null & :",
                    quote(path.as_os_str().as_encoded_bytes())
                );
                self.sh(&line)?;
            }
            Statement::Detach(device) => {
                if let Some(guest) = &mut self.guest {
                    guest.pull(device)?;
                }
                self.disk(device)?.attached = false;
            }
            Statement::Attach { device, name, after } => {
                self.attach(device, name.as_deref(), *after)?;
            }
            Statement::Rename { from, to } => {
                self.flush()?;
                self.disk(from)?.device.clone_from(to);
            }
            Statement::Swap { device, serial } => self.swap(device, serial)?,
            other => bail!("cannot be played on a guest: {other:?}"),
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

    fn run(&mut self, words: &[String]) -> Result<()> {
        let before = self.watched_state()?;
        let line: Vec<String> = words.iter().map(|word| quote(word.as_bytes())).collect();
        let ran = self.sh(&line.join(" "))?;
        let after = self.watched_state()?;
        let changed = before.lines().zip(after.lines()).find(|(one, other)| one != other);
        let changed = changed.map(|(one, other)| format!("{one} -> {other}"));
        let changed = changed.or_else(|| {
            let (one, other) = (before.lines().count(), after.lines().count());
            (one != other).then(|| format!("{one} lines of state, then {other}"))
        });
        let changed = self.watches.then_some(changed);
        self.last = Last { exit: Some(ran.exit), output: ran.output, changed, waited: None };
        if words.first().is_some_and(|word| word == "nanozfs") {
            self.played.runs.push(self.last.output.clone());
        }
        Ok(())
    }

    /// One line of sh(1) in the guest.
    pub(crate) fn sh(&self, line: &str) -> Result<shell::Ran> {
        self.sh_for(line, COMMAND)
    }

    /// The same, when it may take longer.
    pub(crate) fn sh_for(&self, line: &str, limit: Duration) -> Result<shell::Ran> {
        let guest = self.guest.as_ref().context("it has no power")?;
        shell::run(guest, &self.directory.join("command"), line, limit)
    }

    /// What nanozfs could change, without its own record; nothing when nobody asks.
    fn watched_state(&self) -> Result<String> {
        Ok(if self.watches { self.sh("state")?.output } else { String::new() })
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
}
