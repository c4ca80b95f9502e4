//! Changes made from afar: `nanozfs cfg apply --confirm 5m`, `nanozfs cfg confirm`.
//!
//! Whoever changes the address of a machine that is a day's journey away wants it to go back by
//! itself. So a change is applied with a time in which it has to be confirmed:
//!
//! ```text
//! apply    snapshot of /cfg with the change, and one of /cfg without it; the record; /etc
//! confirm  the record says so: it stays
//! watch    a process that the time ends: /cfg and /etc as before, the record says so
//! boot     finds a change that nobody confirmed: /cfg as before, then over /etc
//! ```
//!
//! Time is counted by the machine's uptime, which no clock changes. A restart means that nobody
//! confirmed, however short it took. What was applied stays in its snapshot.

mod apply;
mod record;
mod services;
mod stage;
mod undo;
mod watch;

use std::path::{Path, PathBuf};

use super::history;
use crate::boot::Boot;
use crate::boot::cfg::CFG;
use crate::host::{mounted_at, why};
use crate::report::{Code, Exit, Finding};
use record::{Record, State};

pub(super) use apply::{Request, run as apply};
pub(super) use watch::run as watch;

/// The variable of the kernel's environment that names the change that was applied since the machine
/// started.
pub const VARIABLE: &str = "nanozfs.confirm";

/// What is remembered; what cannot be read is a finding.
fn read(boot: &mut Boot<'_, '_>) -> Option<Record> {
    Record::read(boot.host.files(), Path::new(CFG)).unwrap_or_else(|error| {
        let place = record::place(Path::new(CFG));
        let what = format!("{}: {}", place.display(), why(&error));
        boot.find(Finding::new(Code::E89, what).next(format!("rm {}", place.display())));
        None
    })
}

/// The finding that a change waits, when one does.
pub(crate) fn waiting(boot: &mut Boot<'_, '_>) -> Option<Finding> {
    let waits_still = |record: &Record| matches!(record.state, State::Preparing | State::Pending);
    read(boot).filter(waits_still).map(|record| waits(&record))
}

/// It was applied since this machine started, and its time is not over.
fn is_running(boot: &Boot<'_, '_>, record: &Record) -> bool {
    record.state == State::Pending
        && boot.host.kenv(VARIABLE).is_some_and(|id| id == record.id)
        && boot.host.uptime() < record.until
}

/// That a change waits.
fn waits(record: &Record) -> Finding {
    let Record { id, who, .. } = record;
    let what = format!("the change of {id} by {who} waits to be confirmed");
    Finding::new(Code::E86, what)
}

/// Before `/cfg` is laid over `/etc`: takes back what nobody confirmed before the machine restarted.
/// What is to be laid over `/etc`.
pub(crate) fn before_laying(boot: &mut Boot<'_, '_>) -> PathBuf {
    let cfg = PathBuf::from(CFG);
    let mounts = boot.host.mounts().unwrap_or_default();
    if mounted_at(&mounts, &cfg).is_none_or(|mount| mount.fstype != "zfs" || mount.read_only) {
        return cfg;
    }
    let Some(record) = read(boot) else { return cfg };
    if !matches!(record.state, State::Confirmed | State::Undone) {
        // What `/cfg` is to be may be in a snapshot that a way back to older data has not given back.
        boot.finish_switch();
    }
    match record.state {
        State::Confirmed | State::Undone => cfg,
        State::Pending if is_running(boot, &record) => {
            boot.find(waits(&record));
            // rc started anew without a restart of the machine, as after single-user mode: whoever was
            // to take it back is gone. A second one finds nothing to do.
            let services = boot.host.services();
            if boot.act
                && services.started_by_rc()
                && let Err(error) = services.watch(&record.id, record.until)
            {
                boot.console.detail(&error.to_string());
            }
            cfg
        }
        _ if !boot.act => {
            boot.console.say(&format!("would take back the change of {}", record.id));
            cfg
        }
        State::Pending => {
            undo::undo(boot, &record, "it was not confirmed before the machine restarted")
        }
        State::Preparing => {
            if let Err(why) = undo::unprepare(boot, &record, false) {
                let what = format!("the change of {} is not whole in /cfg: {why}", record.id);
                let finding = Finding::new(Code::E88, what);
                boot.find(finding.detail("etc", format!("is laid from @{}", record.applied)));
                let applied = undo::snapshot(&record.applied);
                return if boot.host.files().is_directory(&applied) { applied } else { cfg };
            }
            cfg
        }
    }
}

/// `nanozfs cfg confirm`: what was applied stays.
pub(super) fn confirm(boot: &mut Boot<'_, '_>) -> Exit {
    if let Err(exit) = history::find(boot) {
        return exit;
    }
    let Some(record) = read(boot) else {
        boot.console.say("confirm: nothing waits to be confirmed");
        return Exit::Nothing;
    };
    let id = &record.id;
    match record.state {
        State::Confirmed => {
            boot.console.say(&format!("confirm: the change of {id} is confirmed: {}", record.end));
            Exit::Done
        }
        State::Preparing => {
            boot.console.say(&format!("confirm: the change of {id} was never applied"));
            Exit::Nothing
        }
        State::Undone => {
            let what = format!("too late: the change of {id} was taken back: {}", record.end);
            let finding = Finding::new(Code::E87, what);
            boot.find(finding.detail("applied", format!("@{}", record.applied)));
            Exit::Failed
        }
        State::Pending if !boot.act => {
            boot.console.say(&format!("would confirm the change of {id}"));
            Exit::Done
        }
        State::Pending => {
            let who = boot.host.people().who();
            let (end, line) =
                (format!("by {who}"), format!("the change of {id} stays, confirmed by {who}"));
            let confirmed = Record { state: State::Confirmed, end, ..record.clone() };
            if let Err(error) = confirmed.write(boot.host.files(), Path::new(CFG)) {
                let what = format!("the change of {id} is not confirmed: {}", why(&error));
                boot.find(Finding::new(Code::E89, what).next("df /cfg; nanozfs cfg confirm"));
                return Exit::Failed;
            }
            boot.changed(1);
            boot.console.say(&format!("confirm: {line}"));
            Exit::Done
        }
    }
}

/// Takes a snapshot of `/cfg` that says who did what.
fn record_snapshot(
    boot: &mut Boot<'_, '_>,
    dataset: &str,
    name: &str,
    why: &str,
) -> crate::host::Result<()> {
    let full = format!("{dataset}@{name}");
    boot.console.detail(&format!("take the snapshot {full}"));
    let (who, now) = (boot.host.people().who(), boot.host.services().now().to_string());
    let notes = [(history::WHO, who), (history::WHEN, now), (history::WHY, why.to_owned())];
    let notes = notes.map(|(name, value)| (name.to_owned(), value));
    boot.host.snapshots().record(&full, &notes)?;
    boot.changed(1);
    Ok(())
}
