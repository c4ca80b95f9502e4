//! `nanozfs resume`: out of recovery or degraded mode without a reboot, once the disks are back.
//!
//! It is a boot that waits for nothing, with one difference: a memory `/var` that the system runs
//! with is mounted over, and what it collected is kept ([`memory`]). Whether the machine can resume
//! is decided before anything is changed ([`decide`]). From then on the order is such that a
//! failure leaves a machine that answers: pools, the data of an unfinished way back of an upgrade,
//! `/cfg`, `/var`, the end of that way back; no process is ended, and sessions go on.

pub mod decide;
pub mod memory;
pub mod services;

use std::path::Path;
use std::time::Duration;

use crate::boot::cfg::{self, CFG, Origin};
use crate::boot::layout::KnownPool;
use crate::boot::var::{self, VAR};
use crate::boot::{Boot, Helper, etclocal, osdrive, past, pools, record};
use crate::host::{HeldDirectory, mounted_at};
use crate::report::{Code, Exit, Finding, Mode};
use crate::upgrade::journal::id_of;
use crate::upgrade::machine::Verdict;
use crate::upgrade::trial::{self, Started};

use decide::{Decision, Facts, Refusal};
use services::Changed;

#[cfg(test)]
mod tests;

/// Resumes; with `restart`, services read their configuration again, too.
pub fn run(boot: &mut Boot<'_, '_>, restart: bool, found: Vec<Finding>) -> Exit {
    let began = boot.host.uptime();
    for finding in found {
        boot.find(finding);
    }
    let mode = mode_before(boot);
    let started = match osdrive::look(boot).map(|drive| trial::look(boot.host, &drive)) {
        None => None,
        Some(Ok(started)) => started,
        Some(Err(error)) => {
            // Without it nothing can be said about a switch that is not finished.
            boot.find(Finding::failed(Code::E71, "which slot boots is not known", &error));
            boot.console.say("resume: nothing was changed");
            return Exit::Failed;
        }
    };
    // What is wrong with the pools is said when nothing is done about it; otherwise by the steps.
    let round = match boot.config.recovery {
        true => None,
        false => pools::look(boot),
    };
    let there = |wanted: &&pools::decide::Wanted| wanted.absent_name().is_none();
    let facts = Facts {
        mode,
        asked: boot.config.recovery,
        on_trial: started.as_ref().is_some_and(|started| started.on_trial),
        configured: is_configured(boot),
        pools: round.as_ref().map_or(0, |round| round.wanted.iter().filter(there).count()),
    };
    match decide::decide(&facts) {
        Decision::Normal if restart && memory::is_shown(boot) => {
            tell_services(boot, Changed { pools: true, files: true }, true)
        }
        Decision::Normal => {
            boot.console.say("resume: the machine is in normal mode: nothing to do");
            Exit::Nothing
        }
        Decision::Refuse(refusal) => {
            if refusal == Refusal::Pools {
                for finding in round.into_iter().flat_map(|round| round.findings) {
                    boot.find(finding);
                }
            }
            refuse(boot, refusal, mode)
        }
        Decision::Go => go(boot, started, restart, began),
    }
}

/// The mode that the last boot came to.
fn mode_before(boot: &Boot<'_, '_>) -> Option<Mode> {
    let state = boot.host.kenv(record::STATE)?;
    [Mode::Normal, Mode::Degraded, Mode::Recovery].into_iter().find(|mode| mode.name() == state)
}

/// `/cfg` comes from ZFS.
fn is_configured(boot: &Boot<'_, '_>) -> bool {
    let mounts = boot.host.mounts().unwrap_or_default();
    mounted_at(&mounts, Path::new(CFG)).is_some_and(|mount| mount.fstype == "zfs")
}

/// Says why nothing is done.
fn refuse(boot: &mut Boot<'_, '_>, refusal: Refusal, mode: Option<Mode>) -> Exit {
    let finding = match refusal {
        Refusal::Pools => None,
        Refusal::NotBooted => Some(
            Finding::new(Code::E80, "nanozfs boot has not run on this machine")
                .next("nanozfs boot"),
        ),
        Refusal::Asked => {
            Some(Finding::new(Code::E80, "mode=recovery was set: it lasts until the next boot"))
        }
        Refusal::Trial => Some(
            Finding::new(Code::E80, "this system is on trial: it is kept, or the old one is back")
                .next("nanozfs upgrade status"),
        ),
    };
    if let Some(finding) = finding {
        boot.find(finding);
    }
    let stays = mode.map(|mode| format!(": the machine stays in mode {mode}")).unwrap_or_default();
    boot.console.say(&format!("resume: nothing was changed{stays}"));
    match (refusal, mode) {
        (Refusal::Trial, _) => Exit::Trial,
        (_, Some(mode)) => mode.exit(),
        (_, None) => Exit::Failed,
    }
}

/// The steps of a boot, each only when those before it came out well.
fn go(boot: &mut Boot<'_, '_>, started: Option<Started>, restart: bool, began: Duration) -> Exit {
    let drive = boot.helper(Helper::OsDrive, osdrive::step);
    let known = boot.helper(Helper::Pools, pools::step);
    if boot.is_at_barrier() {
        boot.console.say("resume: the rest is known once the pools are imported");
        return Exit::Done;
    }
    let known = match settled(boot, started, known) {
        Ok(known) => known,
        Err(exit) => return exit,
    };
    let origin = boot.helper(Helper::Cfg, |boot| cfg::step(boot, &drive, &known));
    boot.configured_from(origin.clone());
    if !matches!(origin, Origin::Zfs(_)) {
        boot.finish_switch();
        record::keep(boot, boot.host.uptime().saturating_sub(began));
        boot.console.say("resume: there is no /cfg from ZFS yet: /var is left as it is");
        return close(boot, began);
    }
    if boot.act {
        // Half of it would leave a /var that shows neither what runs nor what was collected.
        boot.host.services().see_it_through();
    }
    let collected = exchange_var(boot, &known);
    boot.helper(Helper::EtcLocal, etclocal::step);
    boot.finish_switch();
    record::keep(boot, boot.host.uptime().saturating_sub(began));
    // The pools are there and the machine lives: what ended the boots before is over.
    if past::unfinished(boot.host, drive.as_ref()) > 0 {
        past::clear(boot);
    }
    let changes =
        |helper: Helper| boot.outcomes().iter().any(|one| one.helper == helper && one.changes > 0);
    let files = changes(Helper::Cfg) || changes(Helper::Var) || collected.is_some();
    // Who resumed before and asks for the services now.
    let again = restart && memory::is_shown(boot);
    let changed = Changed { pools: changes(Helper::Pools) || again, files: files || again };
    let exit = close(boot, began);
    if let Some(name) = &collected {
        tell_kept(boot, name);
    }
    if !boot.act {
        return exit;
    }
    let services = tell_services(boot, changed, restart);
    if let Some(name) = collected.filter(|_| restart) {
        // What daemons wrote until they opened the new files.
        memory::keep(boot, &name);
    }
    if exit == Exit::Done { services } else { exit }
}

/// Ends a switch between slots as the boot would have, had the pool been there: the journal, which
/// decides about the data, could not be read before. A trial is no business of resume's, and data
/// that are mounted are not exchanged.
fn settled(
    boot: &mut Boot<'_, '_>,
    started: Option<Started>,
    known: Vec<KnownPool>,
) -> Result<Vec<KnownPool>, Exit> {
    let parent = boot.config.dataset.clone();
    let Some(started) = started else { return Ok(known) };
    let home = trial::home(&known, &parent);
    let Some((home, Ok(journal))) = home.map(|home| (home, trial::journal(home, &parent))) else {
        // Without a journal nothing is decided; one that cannot be read is told there.
        return Ok(trial::step(boot, Some(started), known));
    };
    let decision = trial::decide(&started, &journal);
    if matches!(decision.verdict, Verdict::Trial | Verdict::UnknownTrial) {
        let what = "this system is on trial: it is kept, or the old one is back";
        boot.find(Finding::new(Code::E80, what).next("nanozfs upgrade status"));
        return Err(Exit::Trial);
    }
    let in_use = home.datasets.iter().any(|dataset| dataset.mounted);
    if in_use && decision.exchanges() {
        let what = "an upgrade has to be taken back, with data that are mounted";
        boot.find(Finding::new(Code::E80, what));
        return Err(Exit::Failed);
    }
    if boot.act && decision.exchanges() {
        boot.host.services().see_it_through();
    }
    Ok(trial::step(boot, Some(started), known))
}

/// Mounts `/var`, in the place of one in memory, too. The name under which is kept what that one
/// collected.
fn exchange_var(boot: &mut Boot<'_, '_>, known: &[KnownPool]) -> Option<String> {
    let host = boot.host;
    let memory = memory::is_memory(boot);
    let held = match memory && boot.act {
        false => None,
        true => match host.hold(Path::new(VAR)) {
            Ok(held) => Some(held),
            Err(error) => {
                boot.find(Finding::new(Code::E82, error.to_string()));
                None
            }
        },
    };
    if held.is_some() || memory && !boot.act {
        boot.cover_memory();
    }
    boot.helper(Helper::Var, |boot| var::step(boot, known));
    let held: Box<dyn HeldDirectory + '_> = held?;
    if !boot.act || memory::is_memory(boot) {
        return None;
    }
    memory::show(boot, &*held);
    memory::is_shown(boot).then(|| id_of(host.services().now()))
}

/// Keeps what the memory `/var` collected, and says where.
fn tell_kept(boot: &mut Boot<'_, '_>, name: &str) {
    if let Some((count, place)) = memory::keep(boot, name) {
        let files = if count == 1 { "1 file".to_owned() } else { format!("{count} files") };
        let place = place.display();
        boot.console.say(&format!("resume: kept of the memory /var: {files}, in {place}"));
    }
    let view = memory::VIEW;
    boot.console.say(&format!("resume: the memory /var is shown in {view} until a reboot"));
}

/// The mode that the machine is in now.
fn close(boot: &mut Boot<'_, '_>, began: Duration) -> Exit {
    let took = boot.host.uptime().saturating_sub(began).as_secs_f64();
    let mode = boot.mode();
    let verb = if boot.act { "mode" } else { "would be in mode" };
    boot.console.say(&format!("resume: {verb} {mode}, {took:.1} s"));
    mode.exit()
}

/// Restarts services, or says which to restart.
fn tell_services(boot: &mut Boot<'_, '_>, changed: Changed, restart: bool) -> Exit {
    if changed == Changed::default() {
        return Exit::Done;
    }
    let services = boot.host.services();
    let affected = match services.enabled() {
        Ok(enabled) => services::affected(&enabled, changed),
        Err(error) => {
            boot.find(Finding::failed(Code::E83, "which services are enabled", &error));
            return Exit::Failed;
        }
    };
    if affected.is_empty() {
        return Exit::Done;
    }
    if !restart || !boot.act {
        boot.console.say("resume: services still run with the files of before; in this order:");
        for service in &affected {
            boot.console.plain(&format!("         {}", service.command()));
        }
        boot.console.say("resume: or all of these: nanozfs resume --services");
        boot.console.say("resume: host name and addresses change with the next reboot");
        return Exit::Done;
    }
    let mut failed = 0;
    for service in &affected {
        match services::act(services, service) {
            Ok(()) => boot.console.say(&format!("resume: {}", service.command())),
            Err(why) => {
                failed += 1;
                let what = format!("{}: {why}", service.command());
                boot.find(Finding::new(Code::E83, what).next(service.command()));
            }
        }
    }
    if failed == 0 { Exit::Done } else { Exit::Failed }
}
