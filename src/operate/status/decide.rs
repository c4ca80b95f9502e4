//! From facts to the answer: a pure function.

use std::path::Path;

use super::facts::Facts;
use super::pools::{self, CONNECT, RESUME, in_words};
use super::{Item, Status, Verdict, Weight, verbose};
use crate::boot::cfg::CFG;
use crate::boot::layout;
use crate::boot::pools::decide::Wanted;
use crate::boot::var::{self, VAR};
use crate::format::zpool::{Health, Pool, Space};
use crate::host::{Mount, mount_of, mounted_at};
use crate::report::{Code, Finding, Impact};
use crate::upgrade::journal::{End, Journal};
use crate::upgrade::machine;
use crate::upgrade::select;
use crate::upgrade::summary::{Summary, capital, outcome, summary};
use crate::upgrade::trial;

/// What a boot finds that nobody can see afterwards.
const REMEMBERED: [Code; 6] = [Code::E06, Code::E37, Code::E38, Code::E44, Code::E45, Code::E51];

/// The answer.
pub(super) fn decide(facts: &Facts) -> Status {
    let mut draft = Draft { facts, items: Vec::new() };
    let mounts = facts.mounts.as_deref().ok();
    let started = mounts.is_some_and(|mounts| has_started(facts, mounts));
    let cfg_is_ours = mounts.is_some_and(|mounts| comes_from_zfs(mounts, CFG));
    if let Err(error) = &facts.mounts {
        draft.unknown("mounts", "what is mounted", &error.why, "mount; dmesg | tail");
    }
    if let Some(mounts) = mounts.filter(|_| started) {
        draft.cfg(mounts);
        if !cfg_is_ours && !facts.config.recovery {
            draft.cause();
        }
        draft.var(mounts, cfg_is_ours);
    }
    let (pools, lines) = pools::pools(facts);
    draft.items.extend(lines);
    for (pool, error) in &facts.unlisted {
        let (why, advice) = in_words(error);
        draft.unknown("pool", &format!("what pool {pool} holds"), &why, &advice);
    }
    let (journal, unread) = match journal(facts) {
        Ok(journal) => (journal, None),
        Err(why) => (Journal::default(), Some(why)),
    };
    let slots = match &facts.slots {
        Ok(Some(started)) => Some(summary(started, &journal)),
        _ => None,
    };
    draft.drive(slots.as_ref());
    if let Some(why) = unread {
        draft.unknown("upgrade", "what upgrades did", &why, Code::E70.next());
    }
    if let Some(slots) = &slots {
        draft.upgrade(slots, &journal);
    }
    draft.boot(cfg_is_ours);
    draft.complaints();
    let verdict = match mounts {
        None => Verdict::Unknown,
        Some(_) if !started => Verdict::NotStarted,
        Some(_) if !cfg_is_ours => Verdict::Recovery,
        Some(_) => draft.verdict(slots.as_ref()),
    };
    let source = |at: &str| {
        mounts.and_then(|mounts| mounted_at(mounts, Path::new(at))).map(|one| one.source.clone())
    };
    let marks = slots.as_ref().map(|slots| (slots.running, slots.next_boot));
    Status {
        verdict,
        headline: draft.headline(verdict, slots.as_ref(), &journal),
        next: draft.next(verdict, slots.as_ref()),
        cfg: source(CFG),
        var: source(VAR),
        pools: pools.clone(),
        slots: (
            marks.map(|(running, _)| crate::upgrade::journal::letter(running)),
            marks.and_then(|(_, next)| next).map(crate::upgrade::journal::letter),
        ),
        boot_mode: facts.boot_mode.clone(),
        uptime: facts.uptime,
        sections: match &facts.more {
            Some(more) => verbose::sections(facts, more, &pools, slots.as_ref(), &journal),
            None => Vec::new(),
        },
        items: draft.items,
    }
}

/// The journal of upgrades; an empty one where there is none.
fn journal(facts: &Facts) -> Result<Journal, String> {
    let (layouts, parent) = (&facts.layouts, &facts.config.dataset);
    let home = trial::home(layouts, parent);
    home.map_or(Ok(Journal::default()), |pool| trial::journal(pool, parent))
}

/// `nanozfs boot` ran, or somebody mounted things by hand.
fn has_started(facts: &Facts, mounts: &[Mount]) -> bool {
    facts.boot_mode.is_some() || [CFG, VAR].iter().any(|at| comes_from_zfs(mounts, at))
}

fn comes_from_zfs(mounts: &[Mount], at: &str) -> bool {
    mounted_at(mounts, Path::new(at)).is_some_and(|mount| mount.fstype == "zfs")
}

/// Nothing but `/` and `/dev`: rc(8) did not run.
fn is_single_user(mounts: &[Mount]) -> bool {
    mounts.iter().all(|mount| mount.at == Path::new("/") || mount.at == Path::new("/dev"))
}

struct Draft<'a> {
    facts: &'a Facts,
    items: Vec<Item>,
}

impl Draft<'_> {
    fn fact(&mut self, topic: &'static str, text: String) {
        let weight = Weight::Fact;
        self.items.push(Item { topic, code: None, weight, text, advice: None });
    }

    fn unknown(&mut self, topic: &'static str, what: &str, why: &str, advice: &str) {
        let (text, weight) = (format!("Not known: {what}: {why}."), Weight::Unknown);
        self.items.push(Item { topic, code: None, weight, text, advice: Some(advice.to_owned()) });
    }

    fn found(&mut self, topic: &'static str, finding: &Finding) {
        let weight = match finding.code.impact() {
            Impact::Note => Weight::Note,
            Impact::Degraded => Weight::Impaired,
        };
        let (code, advice) = (Some(finding.code), Some(finding.advice().to_owned()));
        let text = format!("{}.", capital(&finding.what));
        self.items.push(Item { topic, code, weight, text, advice });
    }

    fn cfg(&mut self, mounts: &[Mount]) {
        let weight = Weight::Impaired;
        let (code, text) = match mounted_at(mounts, Path::new(CFG)) {
            Some(mount) if mount.fstype == "zfs" => {
                return self.fact("cfg", format!("{CFG} is {}.", mount.source));
            }
            Some(mount) if mount.fstype == "ufs" => {
                let place = mount.source.trim_start_matches("/dev/");
                (Code::E32, format!("{CFG} is the recovery copy on {place}."))
            }
            Some(mount) => (Code::E33, format!("{CFG} is {}, which is not ours.", mount.source)),
            None => (Code::E33, format!("There is no {CFG}: /etc is as the image has it.")),
        };
        self.items.push(Item { topic: "cfg", code: Some(code), weight, text, advice: None });
    }

    /// `/var`; what it should be depends on the pool that holds `/cfg`.
    fn var(&mut self, mounts: &[Mount], cfg_is_ours: bool) {
        let parent = &self.facts.config.dataset;
        let at = Path::new(VAR);
        let text = match mounted_at(mounts, at) {
            Some(mount) if mount.fstype == "zfs" => return self.zfs_var(mounts, &mount.source),
            Some(mount) if mount.in_memory() => {
                format!("{VAR} is in memory: it is empty again after a reboot.")
            }
            Some(mount) => format!("{VAR} is {}.", mount.source),
            None if mount_of(mounts, at).is_some_and(|mount| !mount.read_only) => {
                format!("{VAR} is on the root file system.")
            }
            None => format!("{VAR} is that of the image, and cannot be written to."),
        };
        let holder = layout::holder(&self.facts.layouts, parent);
        let (code, advice) = match holder.map(|pool| (pool, pool.dataset(parent, "var"))) {
            Some((_, Some(one))) if one.encrypted && !one.key_available => {
                (Code::E34, Some(format!("zfs load-key {}; {RESUME}", one.name)))
            }
            Some((_, Some(_))) => (Code::E42, Some(RESUME.to_owned())),
            Some((pool, None)) => (Code::E40, Some(var::missing(pool, parent))),
            None => (Code::E42, None),
        };
        let advice = advice.filter(|_| cfg_is_ours);
        let weight = Weight::Impaired;
        self.items.push(Item { topic: "var", code: Some(code), weight, text, advice });
    }

    fn zfs_var(&mut self, mounts: &[Mount], source: &str) {
        let parent = &self.facts.config.dataset;
        let below = mounts.iter().filter(|one| {
            one.fstype == "zfs" && one.at.starts_with(VAR) && one.at != Path::new(VAR)
        });
        let more = match below.count() {
            0 => String::new(),
            count => format!(", and {count} below it"),
        };
        self.fact("var", format!("{VAR} is {source}{more}."));
        let pool = source.split('/').next().unwrap_or_default();
        let layout = self.facts.layouts.iter().find(|layout| layout.name == pool);
        for (name, at) in layout.map(|one| var::unmounted(one, parent, mounts)).unwrap_or_default()
        {
            let what = format!("{name} is not mounted on {}", at.display());
            self.found("var", &Finding::new(Code::E41, what).next(RESUME));
        }
    }

    /// Why an imported pool does not give its `/cfg`.
    fn cause(&mut self) {
        let (layouts, parent) = (&self.facts.layouts, &self.facts.config.dataset);
        let Some(holder) = layout::holder(layouts, parent) else {
            let one_waits =
                self.facts.round.wanted.iter().any(|one| matches!(one, Wanted::Ready { .. }));
            if !layouts.is_empty() && !one_waits && layouts.iter().all(|pool| pool.readable) {
                let what = format!("none of the imported pools holds {parent}/cfg");
                self.found("cfg", &Finding::new(Code::E30, what));
            }
            return;
        };
        let pools = self.facts.imported.as_deref().unwrap_or_default();
        let works = |(pool, _): &(Pool, Space)| {
            pool.guid == holder.guid && matches!(pool.health, Health::Online | Health::Degraded)
        };
        let Some(one) = holder.dataset(parent, "cfg").filter(|_| pools.iter().any(works)) else {
            return;
        };
        let finding = match one.encrypted && !one.key_available {
            true => Finding::new(Code::E34, format!("the key of {} is not loaded", one.name))
                .next(format!("zfs load-key {}; {RESUME}", one.name)),
            false => Finding::new(Code::E31, format!("{} is there, but not mounted", one.name))
                .next(RESUME),
        };
        self.found("cfg", &finding);
    }

    fn drive(&mut self, slots: Option<&Summary>) {
        let label = &self.facts.config.label;
        let search = match &self.facts.drive {
            Ok(search) => search,
            Err(error) => {
                return self.unknown("osdrive", "the list of disks", &error.why, Code::E12.next());
            }
        };
        if let Some(drive) = &search.drive {
            let slots = match (slots, &self.facts.slots) {
                (Some(slots), _) if slots.next_boot == Some(slots.running) => {
                    format!("{} runs, and boots next", slots.running.name())
                }
                (Some(slots), _) => {
                    format!("{} runs; {} boots next", slots.running.name(), slots.next_name())
                }
                (None, Err(error)) => format!("which slot boots is not known: {}", error.why),
                (None, Ok(_)) => match drive.running {
                    Some(running) => format!("{} runs", running.name()),
                    None => "/ is not on it".to_owned(),
                },
            };
            self.fact("osdrive", format!("OS drive {}: {slots}.", drive.name()));
        }
        for finding in search.findings(label) {
            self.found("osdrive", &finding);
            let drives = finding.details.iter().filter(|(word, _)| *word == "drive");
            let names: Vec<_> = drives.map(|(_, name)| name.as_str()).collect();
            if !names.is_empty() {
                self.fact("osdrive", format!("These drives: {}.", names.join(", ")));
            }
        }
        let damaged = self.facts.round.findings.iter().filter(|one| one.code == Code::E28);
        for finding in damaged {
            self.found("disk", finding);
        }
    }

    fn upgrade(&mut self, slots: &Summary, journal: &Journal) {
        let (running, other) = (slots.running.name(), select::opposite(slots.running).name());
        let left = self.facts.config.trial_limit.saturating_sub(self.facts.uptime).as_secs();
        let limit = match left {
            0 => String::new(),
            left => format!(", at the latest in {left} s"),
        };
        match slots.verdict {
            machine::Verdict::Trial | machine::Verdict::UnknownTrial => {
                let text = format!(
                    "{} is kept when it is healthy; otherwise {other} is back{limit}.",
                    capital(running)
                );
                self.fact("upgrade", text);
            }
            machine::Verdict::Steady => {}
            machine::Verdict::Armed => {
                let state = capital(&slots.state);
                self.fact("upgrade", format!("{state}. To call it off: nanozfs upgrade cancel."));
            }
            _ => self.fact("upgrade", format!("{}.", capital(&slots.state))),
        }
        if let Some(key) = slots.key_back {
            let text = format!("If that kernel does not start at all: press F{key} at boot0.");
            self.fact("upgrade", text);
        }
        if slots.leads_astray(journal) {
            let what = format!("{running} runs, and the next boot goes to {}", slots.next_name());
            self.found("upgrade", &Finding::new(Code::E77, what));
        }
        if let Some(past) = journal.past.last().filter(|past| past.end == End::Failed) {
            let what = format!("last upgrade: {}", outcome(past));
            self.found("upgrade", &Finding::new(Code::E74, what));
        }
    }

    /// What the last boot said, where that is not what is now.
    fn boot(&mut self, cfg_is_ours: bool) {
        let facts = self.facts;
        if let Some(count) = facts.crash_loop.filter(|_| !cfg_is_ours) {
            let what =
                format!("the last {count} boots that imported pools did not come to their end");
            self.found("boot", &Finding::new(Code::E15, what));
        }
        let Some(mode) = facts.boot_mode.as_deref() else { return };
        let record = facts.record.as_ref().filter(|record| record.mode == mode);
        let findings = record.map(|record| record.findings.as_slice()).unwrap_or_default();
        let failed = [Code::E24, Code::E25, Code::E26, Code::E31];
        let seen: Vec<Code> = self.items.iter().filter_map(|item| item.code).collect();
        for past in findings {
            let why_not = failed.contains(&past.code) && !cfg_is_ours && !seen.contains(&past.code);
            if REMEMBERED.contains(&past.code) || why_not {
                let (code, text) = (Some(past.code), format!("At boot: {}.", past.what));
                let advice = REMEMBERED.contains(&past.code).then(|| past.next.clone());
                let weight = if why_not { Weight::Note } else { Weight::Impaired };
                self.items.push(Item { topic: "boot", code, weight, text, advice });
            }
        }
        if let Some(why) = &facts.etclocal {
            let what = format!("/usr/local/etc does not lead to /etc/local: {why}");
            self.found("etclocal", &Finding::new(Code::E50, what));
        }
        let impaired = self.items.iter().any(|item| item.weight.counts());
        let note = |text: &str, weight, advice: Option<&str>| {
            let (text, advice) = (text.to_owned(), advice.map(str::to_owned));
            Item { topic: "boot", code: None, weight, text, advice }
        };
        let item = match mode {
            "recovery" if cfg_is_ours => {
                let text = "It started in RECOVERY: its services may run with other settings.";
                Some(note(text, Weight::Impaired, Some(RESUME)))
            }
            "degraded" if !impaired => {
                let text = "It started DEGRADED; what was missing then is there now.";
                Some(note(text, Weight::Note, None))
            }
            "normal" if impaired => Some(note("It started in mode normal.", Weight::Fact, None)),
            _ => None,
        };
        self.items.extend(item);
    }

    /// What is wrong with the configuration.
    fn complaints(&mut self) {
        for finding in &self.facts.complaints {
            self.found("config", finding);
        }
        if self.facts.config.recovery {
            let what = "recovery was asked for: no pool was looked at at boot";
            self.found("config", &Finding::new(Code::E29, what));
        }
    }

    /// With `/cfg` from ZFS.
    fn verdict(&self, slots: Option<&Summary>) -> Verdict {
        let impaired = self.items.iter().any(|item| item.weight.counts());
        match slots.map(|slots| slots.verdict) {
            // It will restart this machine: that comes first.
            Some(machine::Verdict::Trial | machine::Verdict::UnknownTrial) => Verdict::Trial,
            _ if impaired => Verdict::Degraded,
            None | Some(machine::Verdict::Steady) => Verdict::Normal,
            Some(_) => Verdict::Trial,
        }
    }

    fn headline(&self, verdict: Verdict, slots: Option<&Summary>, journal: &Journal) -> String {
        let lines: Vec<_> = self
            .items
            .iter()
            .enumerate()
            .filter(|(_, item)| item.weight.counts())
            .map(|(at, _)| (at + 1).to_string())
            .collect();
        let see = match lines.as_slice() {
            [] => String::new(),
            [line] => format!("see line {line}"),
            [first, .., last] if lines.len() > 3 => format!("see lines {first} to {last}"),
            [rest @ .., last] => format!("see lines {} and {last}", rest.join(", ")),
        };
        let on_trial = slots.map(|slots| slots.verdict);
        let on_trial =
            matches!(on_trial, Some(machine::Verdict::Trial | machine::Verdict::UnknownTrial));
        let slot = slots.map_or("", |slots| slots.running.name());
        match verdict {
            Verdict::Normal => {
                "NORMAL: this machine runs from its pool, and nothing is impaired.".to_owned()
            }
            Verdict::Degraded => format!("DEGRADED: this machine runs from its pool; {see}."),
            Verdict::Recovery => {
                let back = if self.disks_are_back() && !self.facts.config.recovery {
                    " Its disks are here."
                } else {
                    ""
                };
                let trial =
                    if on_trial { format!(", in the TRIAL of {slot}") } else { String::new() };
                format!("RECOVERY{trial}: this machine runs without its own /cfg.{back}")
            }
            Verdict::NotStarted => match self.in_single_user() {
                true => "NOT STARTED: nothing is mounted yet; this is single-user mode.",
                false => "NOT STARTED: nanozfs boot did not run, and nothing is mounted.",
            }
            .to_owned(),
            Verdict::Unknown => "NOT KNOWN: what is mounted could not be learnt.".to_owned(),
            Verdict::Trial if on_trial => {
                let image = journal.switch.as_ref().map(trial::image_name).unwrap_or_default();
                let impaired = if see.is_empty() { see } else { format!(", DEGRADED: {see}") };
                format!("TRIAL: {slot}{image} runs on trial{impaired}.")
            }
            Verdict::Trial => {
                format!("TRIAL: {}.", slots.map_or("", |slots| slots.state.as_str()))
            }
        }
    }

    fn in_single_user(&self) -> bool {
        self.facts.mounts.as_deref().is_ok_and(is_single_user)
    }

    /// Every known pool is there, and one at least waits to be imported.
    fn disks_are_back(&self) -> bool {
        let wanted = &self.facts.round.wanted;
        let here = |one: &Wanted| !matches!(one, Wanted::Absent { .. });
        wanted.iter().all(here) && wanted.iter().any(|one| matches!(one, Wanted::Ready { .. }))
    }

    /// What to type next.
    fn next(&self, verdict: Verdict, slots: Option<&Summary>) -> String {
        let heavy = self.items.iter().filter(|item| item.weight.counts());
        let heavy: Vec<&str> = heavy.filter_map(|item| item.advice.as_deref()).collect();
        let notes = self.items.iter().filter(|item| item.weight == Weight::Note);
        let mut notes = notes.filter_map(|item| item.advice.as_deref());
        let slots_next = slots.map(|slots| slots.next);
        let leads_back = slots.is_some_and(|slots| {
            !matches!(slots.verdict, machine::Verdict::Steady | machine::Verdict::Armed)
        });
        let next = match verdict {
            Verdict::Normal => notes.next().unwrap_or("nothing"),
            Verdict::Trial => slots_next.unwrap_or("nanozfs upgrade status"),
            Verdict::Degraded => heavy.first().copied().unwrap_or("nanozfs status -v"),
            Verdict::Recovery if self.facts.config.recovery => Code::E29.next(),
            // A boot finishes a way back, and every other boot of a trial begins one.
            Verdict::Recovery if leads_back => "reboot",
            Verdict::Recovery if heavy.contains(&CONNECT) => CONNECT,
            Verdict::Recovery => heavy.first().copied().unwrap_or(RESUME),
            Verdict::NotStarted if self.in_single_user() => {
                "exit, and the boot goes on; or, to stay here: nanozfs boot"
            }
            Verdict::NotStarted => "nanozfs boot",
            Verdict::Unknown => "mount; dmesg | tail",
        };
        next.to_owned()
    }
}
