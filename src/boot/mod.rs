//! The boot pipeline: what `nanozfs boot` does, in the order in which it does it.
//!
//! Each step looks (facts), decides (a pure function), then acts through [`Boot::perform`], so that
//! `-n` prints the very thing that would be done. A step that fails leaves its fallback in place
//! and says so; nothing here ends a boot.

pub mod action;
pub mod cfg;
pub mod etclocal;
pub mod laid;
pub mod layout;
pub mod osdrive;
pub mod overlay;
pub mod past;
pub mod pools;
pub mod record;
pub mod replace;
pub mod said;
pub mod tree;
pub mod var;

use std::time::Duration;

use crate::config::Config;
use crate::format::geom::Mesh;
use crate::host::{Host, Kind, Lock, Result};
use crate::report::{Code, Console, Exit, Finding, Impact, Mode};
use crate::upgrade::trial;

pub use action::Action;

/// The boot helpers, in the order of a boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Helper {
    /// Finds the OS drive.
    OsDrive,
    /// Imports the known pools.
    Pools,
    /// Mounts `/cfg` and lays it over `/etc`.
    Cfg,
    /// Mounts `/var`.
    Var,
    /// Makes `/usr/local/etc` lead to `/etc/local`.
    EtcLocal,
}

impl Helper {
    /// All of them, in order.
    pub const ALL: [Helper; 5] =
        [Helper::OsDrive, Helper::Pools, Helper::Cfg, Helper::Var, Helper::EtcLocal];

    /// The name of the command and of the link to the executable.
    pub fn name(self) -> &'static str {
        match self {
            Helper::OsDrive => "osdrive",
            Helper::Pools => "pools",
            Helper::Cfg => "cfg",
            Helper::Var => "var",
            Helper::EtcLocal => "etclocal",
        }
    }
}

/// What one helper came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Which helper.
    pub helper: Helper,
    /// Its line on the console.
    pub line: String,
    /// Effects it had on the machine; 0 when everything was already so.
    pub changes: usize,
    /// How long it took.
    pub took: Duration,
}

/// One run of one or all helpers on one machine.
pub struct Boot<'a, 'c> {
    /// The machine.
    pub host: &'a dyn Host,
    /// What the suite was told.
    pub config: &'a Config,
    /// Where lines go.
    pub console: &'a mut Console<'c>,
    /// False for `-n`: actions are shown, not done.
    pub act: bool,
    findings: Vec<Finding>,
    outcomes: Vec<Outcome>,
    changes: usize,
    cfg: Option<cfg::Origin>,
    past: past::Watch,
    /// The machine's storage as the helper `osdrive` saw it: true until somebody waits.
    mesh: Option<Mesh>,
    /// With `-n`: the pools would be imported, and what they hold is not known before.
    barrier: bool,
    /// A memory `/var` that is in use is mounted over.
    covers: bool,
    /// What a switch between slots has left until its data are mounted.
    rest: Option<trial::Rest>,
}

impl<'a, 'c> Boot<'a, 'c> {
    /// A run that has not begun.
    pub fn new(
        host: &'a dyn Host,
        config: &'a Config,
        console: &'a mut Console<'c>,
        act: bool,
    ) -> Self {
        let (findings, outcomes) = (Vec::new(), Vec::new());
        Boot {
            host,
            config,
            console,
            act,
            findings,
            outcomes,
            changes: 0,
            cfg: None,
            past: past::Watch::default(),
            mesh: None,
            barrier: false,
            covers: false,
            rest: None,
        }
    }

    /// All helpers, the record and the closing line. The mode that the machine is in.
    pub fn all(&mut self, found: Vec<Finding>) -> Mode {
        let began = self.host.uptime();
        for finding in found {
            self.find(finding);
        }
        let drive = self.helper(Helper::OsDrive, osdrive::step);
        past::watch(self, drive.as_ref());
        let started = trial::begin(self, drive.as_ref());
        let mut pools = self.helper(Helper::Pools, pools::step);
        if !self.barrier {
            pools = trial::step(self, started, pools);
        }
        if self.barrier {
            for helper in [Helper::Cfg, Helper::Var] {
                self.helper(helper, |_| ("known once the pools are imported".to_owned(), ()));
            }
        } else {
            let origin = self.helper(Helper::Cfg, |boot| cfg::step(boot, &drive, &pools));
            self.cfg = Some(origin);
            self.helper(Helper::Var, |boot| var::step(boot, &pools));
        }
        self.helper(Helper::EtcLocal, etclocal::step);
        self.finish_switch();
        let took = self.host.uptime().saturating_sub(began);
        record::step(self, took);
        said::write(self);
        self.mode()
    }

    /// One helper by itself, by hand.
    pub fn one(&mut self, helper: Helper, found: Vec<Finding>) -> Mode {
        for finding in found {
            self.find(finding);
        }
        match helper {
            Helper::OsDrive => {
                self.helper(helper, osdrive::step);
            }
            Helper::Pools => {
                self.helper(helper, pools::step);
            }
            Helper::Cfg => {
                let drive = osdrive::look(self);
                let pools = layout::imported(self);
                let origin = self.helper(helper, |boot| cfg::step(boot, &drive, &pools));
                self.cfg = Some(origin);
            }
            Helper::Var => {
                let pools = layout::imported(self);
                self.helper(helper, |boot| var::step(boot, &pools));
            }
            Helper::EtcLocal => self.helper(helper, etclocal::step),
        }
        self.mode()
    }

    /// Runs one helper, which answers with its line, and shows the line.
    pub(crate) fn helper<T>(
        &mut self,
        helper: Helper,
        step: impl FnOnce(&mut Self) -> (String, T),
    ) -> T {
        let (began, changes) = (self.host.uptime(), self.changes);
        let (line, result) = step(self);
        self.console.say(&format!("{}: {line}", helper.name()));
        let took = self.host.uptime().saturating_sub(began);
        self.outcomes.push(Outcome { helper, line, changes: self.changes - changes, took });
        result
    }

    /// Reports a finding.
    pub fn find(&mut self, finding: Finding) {
        self.console.finding(&finding);
        self.findings.push(finding);
    }

    /// Does it, or, for `-n`, shows it. An action that changed the machine is counted.
    pub fn perform(&mut self, action: &Action) -> Result<()> {
        if !self.act {
            self.console.say(&format!("would {action}"));
            return Ok(());
        }
        self.console.detail(&action.to_string());
        action.perform(self.host)?;
        self.changes += 1;
        Ok(())
    }

    pub(crate) fn leave_to_finish(&mut self, rest: trial::Rest) {
        self.rest = Some(rest);
    }

    /// Ends a switch between slots whose data were exchanged: at the end of a boot, or before, where
    /// somebody needs their older snapshots.
    pub(crate) fn finish_switch(&mut self) {
        if let Some(rest) = self.rest.take() {
            rest.finish(self);
        }
    }

    /// Asks whoever is at the terminal, and waits for a line. `None` when nobody is there.
    pub fn ask(&mut self, question: &str) -> Option<String> {
        let people = self.host.people();
        if !people.is_there() {
            return None;
        }
        self.console.plain(question);
        people.answer()
    }

    /// Takes the lock for a command that did not begin with it. Somebody else's is a finding, and the
    /// exit code; a machine that cannot lock goes on without.
    ///
    /// # Errors
    ///
    /// [`Exit::Busy`].
    pub fn lock(&mut self) -> std::result::Result<Option<Box<dyn Lock>>, Exit> {
        match self.host.lock() {
            Ok(lock) => Ok(Some(lock)),
            Err(error) if error.kind == Kind::Busy => {
                self.find(Finding::busy(&error));
                Err(Exit::Busy)
            }
            Err(error) => {
                self.console.detail(&error.to_string());
                Ok(None)
            }
        }
    }

    /// Counts changes made in another way than by [`Boot::perform`].
    pub fn changed(&mut self, count: usize) {
        self.changes += count;
    }

    /// The machine's storage as the helper `osdrive` has just seen it.
    pub fn mesh(&self) -> Option<&Mesh> {
        self.mesh.as_ref()
    }

    /// The machine's storage has changed, or somebody else looked at it: it is read again.
    pub fn forget_mesh(&mut self) {
        self.mesh = None;
    }

    /// What follows can be decided only after what `-n` does not do.
    fn stop_at_barrier(&mut self) {
        self.barrier = true;
    }

    /// With `-n`: what pools hold that would be imported is not known.
    pub(crate) fn is_at_barrier(&self) -> bool {
        self.barrier
    }

    /// Where the configuration comes from, for whoever runs the steps of a boot by itself.
    pub(crate) fn configured_from(&mut self, origin: cfg::Origin) {
        self.cfg = Some(origin);
    }

    /// From now on, ZFS's `/var` is mounted over one in memory that is in use, which otherwise
    /// stays as it is.
    pub(crate) fn cover_memory(&mut self) {
        self.covers = true;
    }

    /// What was found so far.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// What the helpers that ran came to.
    pub fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    /// The mode, from what is known so far.
    pub fn mode(&self) -> Mode {
        let impaired = |finding: &Finding| finding.code.impact() == Impact::Degraded;
        match self.cfg {
            Some(cfg::Origin::Recovery | cfg::Origin::Image) => Mode::Recovery,
            _ if self.findings.iter().any(impaired) => Mode::Degraded,
            _ => Mode::Normal,
        }
    }

    /// A finding that follows from an earlier one, whose advice is the one to take.
    fn consequence(&self, finding: Finding) -> Finding {
        match self.findings.iter().find(|cause| cause.code.is_cause_of_recovery()) {
            Some(cause) => finding.next(format!("as for {}, above", cause.code.id())),
            None => finding,
        }
    }

    /// The directory at `path` is about to be mounted over: says so when that hides something.
    fn hides(&mut self, path: &std::path::Path) {
        if let Ok(false) = self.host.files().is_empty(path, &[".snap"]) {
            let what = format!("{}: the directory below the mount is not empty", path.display());
            self.find(Finding::new(Code::E35, what));
        }
    }
}
