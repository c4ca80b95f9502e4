//! `nanozfs cfg apply`: what was changed in `/cfg` takes effect now, to stay or to be confirmed.

use std::path::Path;
use std::time::Duration;

use super::record::{Content, Record, State};
use super::{VARIABLE, record_snapshot, services, stage, undo, waits};
use crate::boot::cfg::CFG;
use crate::boot::{Boot, overlay};
use crate::configuration::history::{self, Home};
use crate::configuration::mirror::Difference;
use crate::configuration::names::shown;
use crate::host::why;
use crate::report::{Code, Exit, Finding, Impact};
use crate::upgrade::journal::id_of;

/// Shorter and nobody can type in it, longer and everybody forgets.
const GIVEN: std::ops::RangeInclusive<u64> = 30..=86_400;

/// Files that are shown.
const TOLD: usize = 12;

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    /// The time in which it has to be confirmed.
    pub(crate) confirm: Option<Duration>,
    /// The snapshot to go back to.
    pub(crate) back_to: Option<String>,
}

impl Request {
    /// From the value of `--confirm` and the operand behind it.
    ///
    /// # Errors
    ///
    /// What is wrong with them, in words.
    pub(crate) fn parse(confirm: Option<&str>, operand: Option<&str>) -> Result<Request, String> {
        let back_to = operand.map(|word| match word.strip_prefix('@') {
            Some(name) if !name.is_empty() && !name.contains('/') => Ok(name.to_owned()),
            _ => Err(format!("cfg apply: {word}: not a snapshot, as in @NAME")),
        });
        let (confirm, back_to) = (confirm.map(time).transpose()?, back_to.transpose()?);
        match (confirm, &back_to) {
            (None, Some(_)) => Err("cfg apply: a snapshot goes with --confirm".to_owned()),
            _ => Ok(Request { confirm, back_to }),
        }
    }
}

/// `5m`, `90s`, `1h`, `300`.
fn time(word: &str) -> Result<Duration, String> {
    let (digits, unit) = match word.char_indices().last() {
        Some((at, 's')) => (word.get(..at), 1),
        Some((at, 'm')) => (word.get(..at), 60),
        Some((at, 'h')) => (word.get(..at), 3600),
        _ => (Some(word), 1),
    };
    let seconds = digits.and_then(|digits| digits.parse::<u64>().ok()?.checked_mul(unit));
    let seconds = seconds.filter(|seconds| GIVEN.contains(seconds));
    let wrong = || format!("--confirm {word}: not a time from 30s to 24h, as in 5m");
    seconds.map(Duration::from_secs).ok_or_else(wrong)
}

/// Applies it.
pub(crate) fn run(boot: &mut Boot<'_, '_>, request: &Request) -> Exit {
    let home = match history::find(boot) {
        Ok(home) => home,
        Err(exit) => return exit,
    };
    if let Some(record) = super::read(boot) {
        match record.state {
            State::Pending if request.confirm.is_some() => {
                boot.find(waits(&record));
                return Exit::Failed;
            }
            State::Pending => {
                boot.console.say(&format!("apply: the change of {} still waits", record.id));
            }
            // Its process is gone: what it left is put right as a boot does it.
            State::Preparing if boot.act && super::before_laying(boot) != Path::new(CFG) => {
                return Exit::Failed;
            }
            _ => {}
        }
    }
    let facts = stage::look(boot);
    match request.confirm {
        None => lay(boot, &facts),
        Some(given) => match on_trial(boot, &home, given, request.back_to.clone(), &facts) {
            Ok(exit) => exit,
            Err(finding) => {
                boot.find(*finding);
                Exit::Failed
            }
        },
    }
}

/// Lays `/cfg` over `/etc`, and says what to restart.
fn lay(boot: &mut Boot<'_, '_>, facts: &stage::Facts) -> Exit {
    let before = boot.findings().len();
    let line = overlay::lay(boot, Path::new(CFG));
    boot.console.say(&format!("apply: {line}"));
    if boot.act {
        for line in services::to_restart(&facts.paths()) {
            boot.console.say(&line);
        }
    }
    let new = boot.findings().get(before..).unwrap_or_default();
    match new.iter().any(|finding| finding.code.impact() == Impact::Degraded) {
        true => Exit::Failed,
        false => Exit::Done,
    }
}

/// That nothing was applied, and why.
fn refused(what: impl Into<String>) -> Box<Finding> {
    Box::new(Finding::new(Code::E89, what))
}

/// Applies it, to be taken back when nobody confirms it.
fn on_trial(
    boot: &mut Boot<'_, '_>,
    home: &Home,
    given: Duration,
    back_to: Option<String>,
    facts: &stage::Facts,
) -> Result<Exit, Box<Finding>> {
    let dataset = home.dataset.as_str();
    // What cannot go there could not come back either.
    if let Some(why) = facts.refused() {
        return Err(refused(format!("/cfg: {why}: nothing was applied")));
    }
    let id = id_of(boot.host.services().now());
    let own = back_to.is_none() && !facts.is_nothing(boot.host.files());
    let before = match (back_to, own) {
        // By its number in the log, too.
        (Some(name), _) => match home.snapshot(&format!("@{name}")) {
            Some(snapshot) => snapshot.name.clone(),
            None => name,
        },
        (None, true) => format!("confirm-{id}-before"),
        (None, false) => earlier(boot, home)?,
    };
    if !own && !boot.host.files().is_directory(&undo::snapshot(&before)) {
        return Err(Box::new(
            Finding::new(Code::E93, format!("{dataset} has no snapshot @{before}"))
                .next("nanozfs cfg log"),
        ));
    }
    if !own {
        let way_back = undo::snapshot(&before);
        let way_back = Difference::find(boot.host.files(), &Content, &way_back, Path::new(CFG));
        if let Some((path, why)) = way_back.refused.first().or(way_back.failed.first()) {
            let what = format!("@{before}: {}: {why}: nothing was applied", shown(path));
            return Err(refused(what));
        }
    }
    let mut record = Record {
        applied: format!("confirm-{id}"),
        before,
        state: State::Preparing,
        until: boot.host.uptime() + given,
        given,
        who: boot.host.people().who(),
        end: String::new(),
        id,
    };
    if !boot.act {
        let (before, time) = (&record.before, record.given());
        boot.console.say(&format!("would apply, and go back to @{before} after {time}"));
        if !own {
            way_back(boot, before);
        }
        return Ok(lay(boot, facts));
    }
    boot.host.services().see_it_through();
    prepare(boot, dataset, &record, own, facts)?;
    let cannot = |what: &str, error: &dyn std::fmt::Display| {
        refused(format!("{what}: {error}: nothing was applied"))
    };
    boot.host
        .set_kenv(VARIABLE, &record.id)
        .map_err(|error| cannot("a restart could not be told", &error))?;
    record.until = boot.host.uptime() + given;
    record.state = State::Pending;
    record
        .write(boot.host.files(), Path::new(CFG))
        .map_err(|error| cannot("the record", &why(&error)))?;
    if let Err(error) = boot.host.services().watch(&record.id, record.until) {
        let ended =
            Record { state: State::Undone, end: "it was never applied".to_owned(), ..record };
        if let Err(error) = ended.write(boot.host.files(), Path::new(CFG)) {
            boot.console.detail(&error.to_string());
        }
        return Err(cannot("nothing would take it back", &error));
    }
    let exit = lay(boot, facts);
    let (time, before) = (record.given(), &record.before);
    boot.console.say(&format!(
        "apply: in {time} this is taken back, to @{before}, unless somebody types: nanozfs cfg confirm"
    ));
    way_back(boot, before);
    boot.console.say(
        "apply: a service that was restarted with the new files keeps them when they go back: \
         restart it again, or reboot",
    );
    Ok(exit)
}

/// Shows what going back will change in `/cfg`.
fn way_back(boot: &mut Boot<'_, '_>, before: &str) {
    let (files, cfg) = (boot.host.files(), Path::new(CFG));
    let found = Difference::find(files, &Content, &undo::snapshot(before), cfg);
    let lines = found.lines(files, cfg);
    boot.console.say("apply: taking it back changes these files of /cfg:");
    for (sign, path) in lines.iter().take(TOLD) {
        boot.console.entry(*sign, &shown(path));
    }
    if let Some(rest) = lines.len().checked_sub(TOLD).filter(|rest| *rest > 0) {
        boot.console.say(&format!("apply: and {rest} more: nanozfs cfg diff @{before}"));
    }
}

/// Has both states in snapshots.
fn prepare(
    boot: &mut Boot<'_, '_>,
    dataset: &str,
    record: &Record,
    own: bool,
    facts: &stage::Facts,
) -> Result<(), Box<Finding>> {
    let time = record.given();
    let snapshot = |boot: &mut Boot<'_, '_>, name: &str, why: &str| {
        record_snapshot(boot, dataset, name, why).map_err(|error| {
            let what = "no snapshot could be taken: nothing was applied";
            Box::new(Finding::failed(Code::E92, what, &error))
        })
    };
    if own {
        stage::room(boot, facts).map_err(refused)?;
    }
    snapshot(boot, &record.applied, &format!("apply, to be confirmed in {time}"))?;
    if !own {
        return Ok(());
    }
    let files = boot.host.files();
    record
        .write(files, Path::new(CFG))
        .map_err(|error| refused(format!("the record: {}: nothing was applied", why(&error))))?;
    let staged = stage::write(boot, facts);
    let staged = match staged {
        Ok(()) => snapshot(boot, &record.before, "before apply: as it is in /etc"),
        Err(why) => Err(refused(format!("the state of before: {why}: nothing was applied"))),
    };
    let back = undo::unprepare(boot, record, true);
    staged?;
    back.map_err(|why| {
        let finding = refused(format!("/cfg is not as it was: {why}: nothing was applied"));
        Box::new(finding.next(format!("nanozfs cfg revert @{}", record.applied)))
    })
}

/// The newest snapshot that differs from what is in `/cfg` in more than times. One of a change that
/// was applied, or of what was taken back with it, is nobody's good state.
fn earlier(boot: &Boot<'_, '_>, home: &Home) -> Result<String, Box<Finding>> {
    let files = boot.host.files();
    let differs = |name: &str| {
        let found = Difference::find(files, &Content, &undo::snapshot(name), Path::new(CFG));
        !found.lines(files, Path::new(CFG)).is_empty()
    };
    let good = |name: &str| !name.starts_with("confirm-") || name.ends_with("-before");
    let mut newest = home.snapshots.iter().rev();
    let newest = newest.find(|one| good(&one.name) && differs(&one.name));
    let nothing = || refused("/etc is as /cfg, and no snapshot is otherwise");
    newest.map(|one| one.name.clone()).ok_or_else(nothing)
}
