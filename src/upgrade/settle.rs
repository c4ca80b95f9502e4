//! The end of a boot: it is written down, a trial that is healthy is kept, another one is given up.

use std::time::Duration;

use super::health::{self, Check};
use super::machine::{self, Verdict};
use super::trial::{self, Started};
use super::work::{self, Work};
use super::{journal::Journal, select};
use crate::boot::layout::{self, KnownPool};
use crate::boot::{Boot, osdrive, past, said};
use crate::host::Kind;
use crate::report::{Code, Exit, Finding};

/// Characters of the reason that the journal gets.
const REASON: usize = 120;
/// Between two looks at what is not healthy yet.
const AGAIN: Duration = Duration::from_secs(5);

/// `nanozfs settle`: waits for rc to end, and then this boot is at its end. With a trial: checks
/// until all is well and keeps the new system, or restarts into the old one when the time is over.
pub fn run(boot: &mut Boot<'_, '_>) -> Exit {
    let trial = state(boot)
        .filter(|(verdict, _)| matches!(verdict, Verdict::Trial | Verdict::UnknownTrial));
    let Some((_, slot)) = trial else {
        end(boot, Duration::MAX);
        return Exit::Nothing;
    };
    if !boot.act {
        boot.console.say(&format!("would check {slot}, and keep it or restart"));
        return Exit::Trial;
    }
    let deadline = boot.config.trial_limit;
    end(boot, deadline);
    let mut told = Vec::new();
    loop {
        let checks = health::examine(boot.host, boot.config);
        let problems: Vec<Check> =
            checks.into_iter().filter(|check| check.problem.is_some()).collect();
        if problems.is_empty() {
            // Somebody else's command is no reason to lose the new system.
            if await_lock(boot, deadline) {
                return keep(boot);
            }
            return give_up(boot, &slot, &told);
        }
        if problems != told {
            tell(boot, &slot, &problems);
            told = problems;
        }
        if boot.host.uptime() >= deadline {
            return give_up(boot, &slot, &told);
        }
        let left = deadline.saturating_sub(boot.host.uptime());
        boot.host.services().sleep(AGAIN.min(left).max(Duration::from_millis(1)));
    }
}

/// Waits until no other nanozfs is at work. False when the deadline came first.
fn await_lock(boot: &Boot<'_, '_>, deadline: Duration) -> bool {
    loop {
        match boot.host.lock() {
            Err(error) if error.kind == Kind::Busy => {}
            _ => return true,
        }
        if boot.host.uptime() >= deadline {
            return false;
        }
        boot.host.services().sleep(Duration::from_secs(1));
    }
}

/// Waits for rc(8) to end, for a trial until `deadline` only. Then this boot is at its end: the next
/// one gets to know it, and syslogd(8) what was said before it listened. By hand there is nothing to
/// wait for, and nothing ends.
fn end(boot: &mut Boot<'_, '_>, deadline: Duration) {
    let services = boot.host.services();
    if !boot.act || !services.started_by_rc() {
        return;
    }
    while services.rc_is_running() {
        if boot.host.uptime() >= deadline {
            return;
        }
        services.sleep(Duration::from_secs(1));
    }
    past::finish(boot);
    said::replay(boot);
}

/// What this boot is, and the name of its slot. Without a word: most machines are on no trial, and
/// what is wrong with them the boot has said. Without a journal the drive's marks tell.
fn state(boot: &mut Boot<'_, '_>) -> Option<(Verdict, String)> {
    let drive = osdrive::look(boot)?;
    let started = trial::look(boot.host, &drive).ok()??;
    let (pools, parent) = (layout::imported(boot), &boot.config.dataset);
    let journal = trial::home(&pools, parent).map(|pool| trial::journal(pool, parent));
    let journal = journal.and_then(Result::ok).unwrap_or_default();
    let verdict = trial::decide(&started, &journal).verdict;
    let image = journal.switch.as_ref().map(trial::image_name).unwrap_or_default();
    Some((verdict, format!("{}{image}", started.running.name())))
}

fn tell(boot: &mut Boot<'_, '_>, slot: &str, problems: &[Check]) {
    let mut finding = Finding::new(Code::E78, format!("the trial of {slot} is not healthy yet"));
    for check in problems {
        let problem = check.problem.as_deref().unwrap_or_default();
        finding = finding.detail("check", format!("{}: {problem}", check.name));
    }
    boot.find(finding);
}

/// Restarts into the old system. The journal is told why, as far as it can be.
fn give_up(boot: &mut Boot<'_, '_>, slot: &str, problems: &[Check]) -> Exit {
    let why = problems
        .iter()
        .map(|check| format!("{}: {}", check.name, check.problem.as_deref().unwrap_or_default()));
    if let Some((_, pool, mut journal)) = trial::machine_now(boot) {
        if let Some(switch) = &mut journal.switch {
            switch.why = why.collect::<Vec<_>>().join("; ").chars().take(REASON).collect();
        }
        work::write(boot, &format!("{}/{}", pool.name, boot.config.dataset), &journal);
    }
    let limit = boot.config.trial_limit.as_secs();
    boot.console.say(&format!("settle: {slot} is not kept: {limit} s are over; restarting"));
    match boot.host.services().reboot(true) {
        Ok(()) => Exit::Failed,
        Err(error) => {
            let what = "the machine could not be restarted";
            boot.find(Finding::failed(Code::E71, what, &error).next("reboot"));
            Exit::Failed
        }
    }
}

/// Keeps the system that is running: by `settle`, or by hand.
pub fn keep(boot: &mut Boot<'_, '_>) -> Exit {
    let lock = if boot.act { boot.lock() } else { Ok(None) };
    let lock = match lock {
        Ok(lock) => lock,
        Err(exit) => return exit,
    };
    let Some((started, pool, journal)) = trial::machine_now(boot) else {
        return Exit::Failed;
    };
    let exit = keep_now(boot, started, &pool, journal);
    drop(lock);
    exit
}

fn keep_now(boot: &mut Boot<'_, '_>, started: Started, pool: &KnownPool, journal: Journal) -> Exit {
    let decision = trial::decide(&started, &journal);
    let steps = match (decision.verdict, &journal.switch) {
        (Verdict::Trial, Some(switch)) => machine::keep(switch),
        (Verdict::UnknownTrial, _) => vec![machine::Step::Settle(started.running)],
        _ => {
            boot.console.say("no system is on trial");
            return Exit::Nothing;
        }
    };
    let image = journal.switch.as_ref().map(trial::image_name).unwrap_or_default();
    let root = format!("{}/{}", pool.name, boot.config.dataset);
    let running = started.running;
    if !Work::new(started, root, journal).take(boot, &steps) {
        return Exit::Failed;
    }
    if boot.act {
        if let Err(error) = boot.host.services().stand_down() {
            let what = "the guard of the trial could not be ended: it restarts this machine";
            boot.find(Finding::failed(Code::E71, what, &error));
        }
        let (slot, other) = (running.name(), select::opposite(running).name());
        boot.console
            .say(&format!("{slot}{image} is kept; {other} and the data of before are, too"));
    }
    Exit::Done
}
