//! Power on and off, and what a boot came to.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::disk;
use super::drives::{Disk, drive_of};
use super::player::{Last, Player};
use super::qemu::{Drive, Guest};
use super::shell::{self, READY};

/// From power-on to the shell, without what a story waits for.
pub(crate) const BOOT: Duration = Duration::from_secs(240);
/// An orderly shutdown.
const SHUTDOWN: Duration = Duration::from_secs(120);
/// What a boot must not come to.
const STOPPED: [&str; 4] =
    ["mountroot>", "panic:", "Enter full pathname of shell", "can't load 'kernel'"];

/// What the kernel says when it is done with itself.
const MOUNT_ROOT: &str = "Trying to mount root";
/// Random power cuts go on until so long after nanozfs is through.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// Waits until the end of the boot is written down.
const SETTLED: &str = "\
for second in $(jot 60); do
	pgrep -qf 'nanozfs settle' && ! kenv -q nanozfs.guard >/dev/null || break
	sleep 1
done";

/// Who waits that long waits for something to begin.
const LONG: Duration = Duration::from_secs(60);
/// How often it is looked at then, every two seconds.
const LOOKS: u32 = 15;
/// Has syslogd(8), which rc does not start here, write down what is said from now on.
const SYSLOGD: &str = "\
cd /var/tmp
: >vm-syslog
pgrep -q syslogd || {
	echo 'daemon.* /var/tmp/vm-syslog' >vm-syslog.conf
	syslogd -ss -f /var/tmp/vm-syslog.conf
}";

impl Player<'_> {
    /// Power on, until the shell is there.
    pub(crate) fn boot(&mut self) -> Result<()> {
        self.ready()?;
        self.start("boot")?;
        self.come_up(0)
    }

    /// Power on without rc(8): the shell that init(8) offers starts ours.
    pub(crate) fn single_user(&mut self) -> Result<()> {
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
    pub(crate) fn ready(&mut self) -> Result<()> {
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
    pub(crate) fn start(&mut self, command: &str) -> Result<()> {
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
            socket: None,
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

    /// Waits for the shell, and plugs in what comes late. The boot is on the console from `from` on.
    pub(crate) fn come_up(&mut self, from: usize) -> Result<()> {
        let began = Instant::now();
        let guest = self.guest.as_mut().context("it has no power")?;
        // A shell of before a restart has said so, too.
        let shell = if from == 0 { 0 } else { guest.commands.length() };
        let mut late: Vec<&mut Disk> =
            self.disks.iter_mut().filter(|disk| disk.attached && !disk.after.is_zero()).collect();
        late.sort_by_key(|disk| disk.after);
        let mut words = vec!["nanozfs: "];
        words.extend(STOPPED);
        let came = guest.console.wait(&words, from, BOOT);
        if came.is_err()
            && let Err(error) = guest.write_state()
        {
            println!("{}: what the processor is at is not known: {error:#}", self.name);
        }
        let first = match came? {
            (0, _) => Instant::now(),
            (which, _) => bail!("the boot stopped: {:?}", words.get(which)),
        };

        for disk in late {
            std::thread::sleep(disk.after.saturating_sub(first.elapsed()));
            guest.plug(&drive_of(disk, ""))?;
            disk.after = Duration::ZERO;
        }
        let deadline = Instant::now() + BOOT;
        loop {
            if guest.commands.wait(&[READY], shell, Duration::from_millis(500)).is_ok() {
                break;
            }
            if let Ok((which, _)) = guest.console.wait(&STOPPED, from, Duration::ZERO) {
                bail!("the boot stopped: {:?}", STOPPED.get(which));
            }
            if Instant::now() > deadline {
                bail!("no shell after {} s", BOOT.as_secs());
            }
        }
        self.played.boots.push(began.elapsed());
        let said = |word: &str| {
            let (_, at) = guest.console.wait(&[word], from, Duration::ZERO).ok()?;
            guest.console.when(at)
        };
        self.span = said(MOUNT_ROOT).zip(said("nanozfs: boot: mode")).map(|(from, to)| to - from);
        let output = nanozfs_lines(&guest.console.text(from));
        self.last = Last { output: output.clone(), ..Last::default() };
        self.played.runs.push(output);
        // Nobody types that fast. A trial goes on for minutes, and is no reason to wait.
        self.sh(SETTLED)?;
        let state = self.sh("kenv -q nanozfs.state")?.output;
        let console = self.guest.as_ref().map(|guest| guest.console.text(from)).unwrap_or_default();
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

    /// Lets time pass. What nanozfs tells syslogd(8) in the background meanwhile is what was said
    /// last.
    pub(crate) fn wait(&mut self, time: Duration) -> Result<()> {
        self.sh(SYSLOGD)?;
        std::thread::sleep(time);
        let mut said = self.sh("cat /var/tmp/vm-syslog")?.output;
        // What began when the time was over takes a moment on an emulated processor.
        for _ in 0..if time < LONG { 0 } else { LOOKS } {
            std::thread::sleep(Duration::from_secs(2));
            let before = std::mem::replace(&mut said, self.sh("cat /var/tmp/vm-syslog")?.output);
            if !before.is_empty() && before == said {
                break;
            }
        }
        let said =
            said.lines().filter_map(|line| line.split_once(" nanozfs[")?.1.split_once("]: "));
        let output: String = said.map(|(_, line)| format!("nanozfs: {line}\n")).collect();
        if !output.is_empty() {
            self.last = Last { output: output.clone(), ..Last::default() };
            self.played.runs.push(output);
        }
        Ok(())
    }

    /// Switches it off as an administrator does.
    pub(crate) fn shutdown(&mut self) -> Result<()> {
        self.sh("( sleep 1; shutdown -p now ) >/dev/null 2>&1 &")?;
        let mut guest = self.guest.take().context("it has no power")?;
        guest.wait_off(SHUTDOWN)
    }

    /// What random moments come from: SEED, so that a run can be repeated, or the time.
    pub(crate) fn seed(&self) -> Result<u64> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos();
        let seed = match std::env::var("SEED") {
            Ok(word) if !word.is_empty() => word.parse().context("SEED")?,
            _ => (now & 0xffff_ffff) as u64,
        };
        println!("{}: SEED={seed}", self.name);
        Ok(seed)
    }

    /// Power cuts at random moments of a boot, from where the kernel mounts the root until a little
    /// after nanozfs is through. How long that takes is that of the boot before, on the same host.
    pub(crate) fn random_cuts(&mut self, count: u32) -> Result<()> {
        let span = self.span.context("no boot came before the random cuts")? + AFTERWARDS;
        let span = u64::try_from(span.as_millis())?;
        let seed = self.seed()?;
        let mut begun = 0;
        for round in 0..count {
            self.start("boot")?;
            let guest = self.guest.take().context("it has no power")?;
            guest.console.wait(&[MOUNT_ROOT], 0, BOOT)?;
            std::thread::sleep(Duration::from_millis(random(seed, round) % span));
            begun += u32::from(guest.console.text(0).contains("nanozfs: "));
            guest.cut();
        }
        println!("{}: {begun} of {count} cuts came after nanozfs had begun", self.name);
        Ok(())
    }

    /// Two boots in a row that were cut off while they imported make the next one leave the pools
    /// alone: types what that asks for, if the last boot was such a one.
    pub(crate) fn do_as_told(&mut self) -> Result<()> {
        if !self.last.output.contains("nanozfs: E15 ") {
            return Ok(());
        }
        println!("{}: two cuts in a row in an import", self.name);
        let typed = self.sh("nanozfs boot --clear")?;
        if typed.exit != 0 {
            bail!("boot --clear: exit {}: {}", typed.exit, typed.output);
        }
        self.shutdown()?;
        self.boot()
    }
}

/// A number for a round.
pub(crate) fn random(seed: u64, round: u32) -> u64 {
    super::hash(&format!("{seed} {round}"))
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

#[cfg(test)]
mod tests {
    use super::nanozfs_lines;

    fn console(name: &str) -> String {
        let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/freebsd-13.2/guest");
        std::fs::read_to_string(format!("{fixtures}/{name}.console")).unwrap()
    }

    #[test]
    fn what_nanozfs_said_is_told_from_what_the_kernel_and_rc_said() {
        let healthy = nanozfs_lines(&console("healthy"));
        assert!(healthy.starts_with("nanozfs: osdrive: ada0 (serial OS-1)"), "{healthy}");
        assert!(healthy.lines().last().unwrap().starts_with("nanozfs: boot: mode normal"));
        assert!(!healthy.contains("Mounting local filesystems"));
        let degraded = nanozfs_lines(&console("degraded"));
        assert!(degraded.contains("\n         missing: disk 2 of raidz1-0, serial WD-1002"));
        let recovery = nanozfs_lines(&console("recovery"));
        let rules = recovery.lines().filter(|line| line.starts_with("-----"));
        assert_eq!(rules.count(), 2, "{recovery}");
        assert!(recovery.contains(" To do: connect the disks, then: reboot\n"));
    }
}
