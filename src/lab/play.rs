//! Playing a story: what a person at the console would see, and whether it is as it should be.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use super::effects::Effect;
use super::statement::Statement;
use super::story::{self, Story};
use super::{Hung, Lab, Plan, PowerCut};
use crate::boot::{Boot, past};

/// The common appliance, in the language of the stories.
pub const STANDARD: &str = include_str!("standard.story");
/// A console has 80 columns.
const WIDTH: usize = 78;

/// What the last run of nanozfs did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Last {
    pub(crate) exit: Option<u8>,
    pub(crate) output: String,
    pub(crate) effects: Vec<Effect>,
    pub(crate) waited: Duration,
    pub(crate) programs: usize,
    /// The first thing that looks different after it.
    pub(crate) changed: Option<String>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With this exit code.
    Exit(u8),
    /// The power went.
    Cut,
    /// It never comes back.
    Hung,
    /// It panicked.
    Panic(String),
}

/// A story as it was played.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// The console, and what was told.
    pub text: String,
    /// What was not as it should be, with file and line.
    pub failures: Vec<String>,
    /// How many checks were made.
    pub checks: usize,
}

/// Somebody who plays stories on a lab machine.
#[derive(Debug)]
pub(crate) struct Player<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) played: Played,
    pub(crate) last: Last,
}

/// Plays the whole story in the empty directory `root`.
///
/// # Errors
///
/// When the lab's directory cannot be used.
pub fn play(story: &Story, root: &Path) -> io::Result<Played> {
    let lab = Lab::create(root)?;
    let mut player = Player::new(&lab);
    for (number, statement) in &story.lines {
        if let Err(error) = player.perform(statement) {
            player.played.failures.push(format!("{}:{number}: {error}", story.file));
        }
    }
    Ok(player.played)
}

/// Makes the common appliance in the empty directory `root`.
///
/// # Errors
///
/// When the lab's directory cannot be used.
pub fn standard(root: &Path) -> io::Result<Lab> {
    let lab = Lab::create(root)?;
    Player::new(&lab).perform(&Statement::UseStandard(None)).map_err(io::Error::other)?;
    Ok(lab)
}

/// Has these statements done on a machine; an error says which could not be.
#[cfg(test)]
pub(crate) fn tell(lab: &Lab, text: &str) -> Result<(), String> {
    let mut player = Player::new(lab);
    for (number, statement) in story::parse(text)? {
        player.perform(&statement).map_err(|error| format!("{number}: {error}"))?;
    }
    Ok(())
}

/// Switches the common appliance on and imports its pool.
#[cfg(test)]
pub(crate) fn with_pool(lab: &Lab) {
    use crate::host::{Host, Import};
    lab.power_on().expect("the power comes on");
    let import = Import {
        name: "tank".to_owned(),
        guid: 7_301_950_118_427_365_042,
        devices: ["ada1", "ada2", "ada3"].iter().map(|disk| format!("/dev/{disk}")).collect(),
        limit: Duration::from_secs(20),
    };
    lab.import(&[import]).remove(0).expect("the pool is imported");
}

/// Runs nanozfs on the machine: how it ended, and what it printed.
pub(crate) fn run(lab: &Lab, words: &[String], under_rc: bool, plan: Plan) -> (End, String) {
    lab.begin(plan);
    lab.lock().machine.under_rc = under_rc;
    let args: Vec<OsString> = words.iter().map(OsString::from).collect();
    let mut out = Vec::new();
    let ended = catch_unwind(AssertUnwindSafe(|| crate::cli::run(&args, lab, &mut out)));
    let end = match ended {
        Ok(code) => End::Exit(code),
        Err(payload) if payload.is::<PowerCut>() => End::Cut,
        Err(payload) if payload.is::<Hung>() => End::Hung,
        Err(payload) => {
            let text = payload.downcast_ref::<String>().cloned();
            let text = text.or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            End::Panic(text.unwrap_or_else(|| "no message".to_owned()))
        }
    };
    let mut inner = lab.lock();
    inner.machine.under_rc = false;
    if under_rc {
        inner.machine.rc_is_busy = *words == boot_command();
    }
    drop(inner);
    (end, as_on_freebsd(&String::from_utf8_lossy(&out)))
}

/// The output with errors named as FreeBSD's strerror(3) does, whatever system plays.
fn as_on_freebsd(output: &str) -> String {
    output.replace("Device or resource busy", "Device busy")
}

/// The command that rc gives at boot.
pub(crate) fn boot_command() -> Vec<String> {
    vec!["nanozfs".to_owned(), "boot".to_owned()]
}

/// The command that rc gives at its end.
pub(crate) fn settle_command() -> Vec<String> {
    vec!["nanozfs".to_owned(), "settle".to_owned()]
}

impl Lab {
    /// rc(8) comes to its end, if it has not yet: this boot is over. What else nanozfs does there is
    /// about trials, and stories have it typed.
    pub(crate) fn rc_ends(&self) {
        if !std::mem::take(&mut self.lock().machine.rc_is_busy) {
            return;
        }
        self.begin(Plan::Nothing);
        let (config, mut out) = (crate::config::Config::load(self).0, Vec::new());
        let mut console = crate::report::Console::new(&mut out, false);
        past::finish(&mut Boot::new(self, &config, &mut console, true));
    }
}

impl<'a> Player<'a> {
    pub(crate) fn new(lab: &'a Lab) -> Self {
        Player { lab, played: Played::default(), last: Last::default() }
    }

    /// Does one statement; the error says what is not as it should be.
    pub(crate) fn perform(&mut self, statement: &Statement) -> Result<(), String> {
        let failed = |error: io::Error| error.to_string();
        match statement {
            Statement::Title(title) => {
                self.say(title);
                self.say(&"-".repeat(title.chars().count()));
                self.gap();
            }
            Statement::Tell(text) => {
                self.gap();
                self.wrap(text);
            }
            Statement::UseStandard(drive) => {
                for (number, statement) in story::parse(STANDARD)? {
                    let statement = match (statement, drive) {
                        (Statement::OsDrive(_), Some(drive)) => Statement::OsDrive(drive.clone()),
                        // The loader knows which slot is the first one of such a drive.
                        (Statement::Start(_), Some(_)) => continue,
                        (statement, _) => statement,
                    };
                    self.perform(&statement)
                        .map_err(|error| format!("standard:{number}: {error}"))?;
                }
            }
            Statement::Boot => {
                if !self.lab.lock().machine.on {
                    self.lab.power_on().map_err(failed)?;
                    self.gap();
                    let line = self.power_line();
                    self.event(&line);
                }
                self.run(&boot_command(), true)?;
            }
            Statement::SingleUser => {
                self.lab.single_user().map_err(failed)?;
                self.gap();
                let line = self.power_line();
                self.event(&format!("{line}; single-user"));
            }
            Statement::Settle => {
                self.gap();
                self.event("rc is at its end");
                self.run(&settle_command(), true)?;
            }
            Statement::Run(words) => {
                self.lab.rc_ends();
                self.gap();
                self.say(&format!("# {}", words.join(" ")));
                self.run(words, false)?;
            }
            Statement::Shutdown => {
                self.lab.rc_ends();
                self.lab.shutdown().map_err(failed)?;
                self.gap();
                self.event("shutdown");
            }
            Statement::Release { file, image, version, set } => {
                self.lab.make_release(file, image, version, set).map_err(failed)?;
            }
            Statement::Truncate { file, bytes } => {
                self.lab.truncate_release(file, *bytes).map_err(failed)?;
            }
            Statement::Cut(cut) => {
                self.lab.power_cut(*cut).map_err(failed)?;
                self.gap();
                self.event(&format!("the power goes; what was not synced is {}", cut.name()));
            }
            Statement::Wait(time) => {
                let due = self.lab.lock().due(*time);
                self.lab.lock().build(statement).map_err(failed)?;
                if let Some(words) = due {
                    self.gap();
                    self.event(&format!("{} s later, in the background:", time.as_secs()));
                    self.run(&words, false)?;
                }
            }
            Statement::Expect(expect) => {
                self.played.checks += 1;
                if let Some(why) = self.lab.check(expect, &self.last) {
                    return Err(why);
                }
            }
            other => {
                if matches!(other, Statement::Wait(_)) {
                    self.lab.rc_ends();
                }
                self.lab.lock().build(other).map_err(failed)?;
                if let Some(line) = event_of(other) {
                    self.event(&line);
                }
            }
        }
        Ok(())
    }

    fn run(&mut self, words: &[String], under_rc: bool) -> Result<(), String> {
        let before = self.lab.state().map_err(|error| error.to_string())?;
        let (end, output) = run(self.lab, words, under_rc, Plan::Nothing);
        let after = self.lab.state().map_err(|error| error.to_string())?;
        self.played.text.push_str(&output);
        self.last = Last {
            exit: None,
            output,
            effects: self.lab.effects(),
            waited: self.lab.waited(),
            programs: self.lab.programs(),
            changed: before.differences(&after).into_iter().next(),
        };
        match end {
            End::Exit(code) => {
                self.last.exit = Some(code);
                self.event(&format!("exit {code}"));
                Ok(())
            }
            End::Cut => Err("the power went".to_owned()),
            End::Hung => Err("nanozfs hangs".to_owned()),
            End::Panic(message) => Err(format!("nanozfs panicked: {message}")),
        }
    }

    /// What the machine starts with.
    fn power_line(&self) -> String {
        let inner = self.lab.lock();
        let root = inner.machine.mounts.first().map(|one| one.mount.clone());
        let root = root.map_or_else(String::new, |root| {
            let how = if root.read_only { "read-only" } else { "writable" };
            format!("/ is {}, {how}", root.source)
        });
        let disks: Vec<&str> = inner
            .machine
            .disks
            .iter()
            .filter(|disk| inner.machine.present(disk))
            .map(|disk| disk.device.as_str())
            .collect();
        let kenv = inner.machine.kenv.iter().filter(|(name, _)| name.starts_with("nanozfs."));
        let typed: String = kenv.map(|(name, value)| format!("; loader: {name}={value}")).collect();
        let said: String = inner.machine.said.iter().map(|line| format!("{line}; ")).collect();
        format!("power on: {said}{root}; disks: {}{typed}", disks.join(" "))
    }

    /// Something that happens to the machine, in brackets.
    fn event(&mut self, text: &str) {
        self.wrap(&format!("[{text}]"));
    }

    /// An empty line, unless there is one.
    fn gap(&mut self) {
        let text = &mut self.played.text;
        if !text.is_empty() && !text.ends_with("\n\n") {
            text.push('\n');
        }
    }

    fn say(&mut self, line: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.played.text, "{line}");
    }

    fn wrap(&mut self, text: &str) {
        let mut line = String::new();
        for word in text.split_whitespace() {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WIDTH {
                self.say(&line);
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.say(&line);
    }
}

/// How a change of the running machine is shown, if it is worth a line.
fn event_of(statement: &Statement) -> Option<String> {
    Some(match statement {
        Statement::Detach(device) => format!("{device} is unplugged"),
        Statement::Attach { device, name, after } => {
            let place = name.as_deref().unwrap_or(device);
            match after.as_secs() {
                0 => format!("{place} is plugged in"),
                seconds => format!("{place} is plugged in, and needs {seconds} s to start"),
            }
        }
        Statement::Rename { from, to } => format!("the disk {from} is now {to}"),
        Statement::Swap { device, serial } => {
            format!("another OS drive is plugged in: {device}, serial {serial}")
        }
        Statement::AtWork(Some((process, words))) => {
            format!("meanwhile, process {process}: {}", words.join(" "))
        }
        Statement::AtWork(None) => "that process has ended".to_owned(),
        Statement::Mend => "everything is mended".to_owned(),
        _ => return None,
    })
}
