//! The last boots, as the OS drive remembers them: that a boot began to import pools, and how it
//! ended. So a machine that crashes whenever it imports a pool stays in recovery the third time.
//!
//! Nothing else survives such a crash: the root is read-only, and `/var` may be on that very pool.
//! [`boots`] says what is written; it lies in the partition of the recovery copy, in front of its file
//! system. A record that cannot be read or written never stops a boot, and never causes a recovery.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::osdrive::{self, OsDrive};
use super::{Boot, record};
use crate::config::KENV;
use crate::format::boots::{self, Boots, End, Found, Letter};
use crate::format::{conf, ufs};
use crate::host::{Files, Host, Kind, why};
use crate::report::{Code, Exit, Finding, Mode};

/// The kernel environment variable by which the end of a boot knows its beginning: when it was, in
/// seconds since 1970, and `imported` when it imported pools.
pub const BOOT: &str = "nanozfs.boot";
/// The word in it.
const IMPORTED: &str = "imported";
/// The word behind it when its end is in the record already.
const ENDED: &str = "ended";
/// Where rc(8) reads what is looked at here.
const RC_CONF: [&str; 4] = [
    "/etc/rc.conf",
    "/etc/rc.conf.local",
    "/etc/rc.conf.d/securelevel",
    "/etc/rc.conf.d/nanozfs_settle",
];
/// Longer ones are not read.
const RC_CONF_LIMIT: u64 = 1 << 20;
/// From this securelevel(7) on, disks cannot be opened to be written to.
const READ_ONLY_DISKS: i32 = 2;
/// Why nothing is written there.
const FOREIGN: &str = "other bytes are in the record's place";
/// Bytes that belong to the record, whatever a sector is: all zeroes, or a record and zeroes.
const AREA: usize = 4096;
/// Nobody holds the lock for longer, unless he waits for something.
const LOCK: u32 = 60;

/// A boot of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastBoot {
    /// When the machine started: seconds since 1970, by a clock that may be wrong.
    pub began: i64,
    /// The mode that it ran in; `None` when that is not known.
    pub mode: Option<Mode>,
    /// From the start of the machine to the end of rc(8); zero where there was no end.
    pub took: Duration,
    /// It came to the end of rc(8). Only boots that imported pools are remembered without an end.
    pub finished: bool,
}

/// The last boots, newest first, ten at most. Empty where nothing is known. Without effect; needs
/// neither a pool nor anything mounted.
pub fn recent(host: &dyn Host, drive: Option<&OsDrive>) -> Vec<PastBoot> {
    let past = |entry: &boots::Entry| PastBoot {
        began: entry.began,
        mode: entry.end.and_then(|end| mode(end.mode)),
        took: Duration::from_secs(entry.end.map_or(0, |end| end.seconds).into()),
        finished: entry.end.is_some(),
    };
    known(host, drive).entries.iter().rev().map(past).collect()
}

/// How many boots in a row began to import pools and did not come to their end; 0 where nothing is
/// known. The boot that is under way counts until rc(8) is at its end. Without effect.
pub fn unfinished(host: &dyn Host, drive: Option<&OsDrive>) -> u32 {
    known(host, drive).unfinished
}

/// How many boots in a row did not come to their end, when they are so many that a boot leaves the
/// pools alone. Without effect.
pub fn crash_loop(host: &dyn Host, drive: &OsDrive) -> Option<u32> {
    let boots = known(host, Some(drive));
    boots.is_loop().then_some(boots.unfinished)
}

fn known(host: &dyn Host, drive: Option<&OsDrive>) -> Boots {
    match drive.map(|drive| read(host, drive)) {
        Some(Ok(Found::Boots(boots))) => boots,
        _ => Boots::default(),
    }
}

/// What one boot has to do with those before it.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// The drive that remembers; `None` when rc(8) does not run us.
    drive: Option<OsDrive>,
    /// When the machine started.
    pub(super) began: i64,
    /// Boots in a row without an end, when they are too many.
    in_a_row: Option<u32>,
    imported: bool,
}

/// Looks what the last boots were. By hand nothing is counted or obeyed: whoever types it is there.
pub(super) fn watch(boot: &mut Boot<'_, '_>, drive: Option<&OsDrive>) {
    let by_rc = boot.host.services().started_by_rc();
    boot.past.began = began(boot.host);
    let Some(drive) = drive else { return };
    match read(boot.host, drive) {
        Ok(Found::Boots(past)) => {
            boot.past.in_a_row = (by_rc && past.is_loop()).then_some(past.unfinished);
        }
        Ok(Found::Nothing) => {}
        Ok(Found::Damaged) => {
            boot.console.detail("boot: the record of the last boots is damaged: begun anew");
        }
        Ok(Found::Foreign) => return not_counted(boot, FOREIGN),
        Err(why) => return not_counted(boot, &why),
    }
    boot.past.drive = by_rc.then(|| drive.clone());
}

/// Why no pool must be imported, when there is a reason.
pub(super) fn objection(boot: &mut Boot<'_, '_>) -> Option<Finding> {
    let count = boot.past.in_a_row?;
    let what =
        format!("the last {count} boots began to import pools and did not come to their end");
    if boot.host.kenv(&format!("{KENV}mode")).as_deref() == Some("auto") {
        boot.console.say(&format!("boot: {what}; mode=auto: the pools are imported all the same"));
        return None;
    }
    Some(Finding::new(Code::E15, format!("{what}: no pool was touched")))
}

/// Pools are about to be imported: writes that down. One write and one flush of the drive's cache.
pub(super) fn begin(boot: &mut Boot<'_, '_>) {
    if !boot.act {
        return;
    }
    boot.past.imported = true;
    let Some(drive) = boot.past.drive.clone() else { return };
    let began = boot.past.began;
    if let Err(error) = change(boot.host, &drive, &mut |past| past.begin(began)) {
        not_counted(boot, &why(&error));
    }
}

/// The helpers are done: leaves word for the end of rc(8), in the kernel's environment.
pub(super) fn leave_word(boot: &mut Boot<'_, '_>) {
    if !boot.act || !boot.host.services().started_by_rc() {
        return;
    }
    let imported = if boot.past.imported { format!(" {IMPORTED}") } else { String::new() };
    let mut value = format!("{}{imported}", boot.past.began);
    if let (Some(why_not), Some(drive)) = (never_ends(boot.host.files()), boot.past.drive.clone()) {
        boot.console.detail(&format!("boot: it counts as ended now: {why_not}"));
        let end = End { mode: letter(Some(boot.mode())), seconds: seconds(boot.host) };
        let (began, imported) = (boot.past.began, boot.past.imported);
        let finish = &mut |past: &mut Boots| past.finish(began, end, imported);
        match look_and_change(boot.host, &drive, finish) {
            Ok(()) => value = format!("{began} {ENDED}"),
            Err(error) => not_counted(boot, &why(&error)),
        }
    }
    if let Err(error) = boot.host.set_kenv(BOOT, &value) {
        boot.console.detail(&error.to_string());
    }
}

/// Why the end of rc(8) could not be written down: the kernel lets nobody write to disks any more
/// (securelevel(7)), or the script that does it is switched off. A machine that reaches its end like
/// that every day must not be taken for one that crashes.
fn never_ends(files: &dyn Files) -> Option<&'static str> {
    let text = RC_CONF.iter().filter_map(|path| files.read(Path::new(path), RC_CONF_LIMIT).ok());
    let text: Vec<u8> = text.collect::<Vec<_>>().join(&b'\n');
    let conf = conf::parse(&String::from_utf8_lossy(&text));
    let value = |name: &str| {
        let last = conf.assignments.iter().rev().find(|one| one.key == name);
        last.map_or("", |one| one.value.as_str()).to_ascii_lowercase()
    };
    let is_on = |word: &str| matches!(word, "yes" | "true" | "on" | "1");
    let level = value("kern_securelevel").parse::<i32>();
    if is_on(&value("kern_securelevel_enable")) && level.is_ok_and(|it| it >= READ_ONLY_DISKS) {
        return Some("rc.conf: kern_securelevel");
    }
    let settle = value("nanozfs_settle_enable");
    (!settle.is_empty() && !is_on(&settle)).then_some("rc.conf: nanozfs_settle_enable")
}

/// When the boot of this machine began, and whether it imported pools, as
/// [`leave_word`] said; `None` before, and when that boot did not come so far.
pub(super) fn word(host: &dyn Host) -> Option<(i64, bool)> {
    let value = host.kenv(BOOT)?;
    let mut words = value.split(' ');
    let began = words.next()?.parse().ok()?;
    Some((began, words.next() == Some(IMPORTED)))
}

/// rc(8) is at its end, and so is this boot: writes that down. Without a word to people.
pub fn finish(boot: &mut Boot<'_, '_>) {
    let host = boot.host;
    let Some((began, imported)) = word(host) else { return };
    if host.kenv(BOOT).is_some_and(|value| value.ends_with(ENDED)) {
        return;
    }
    let Some(drive) = osdrive::look(boot) else { return };
    let mode = host.kenv(record::STATE);
    let mode = Mode::ALL.into_iter().find(|one| Some(one.name()) == mode.as_deref());
    let end = End { mode: letter(mode), seconds: seconds(host) };
    let lock = locked(host);
    let done = look_and_change(host, &drive, &mut |past| past.finish(began, end, imported));
    drop(lock);
    let Err(error) = done else { return };
    if unfinished(host, Some(&drive)) == 0 {
        // It was not counted at its beginning either.
        boot.console.detail(&format!("settle: the record of the last boots: {}", why(&error)));
        return;
    }
    let place = drive.recovery_copy().unwrap_or(&drive.disk);
    let what = format!("{place}: {}: this boot counts as one without an end", why(&error));
    boot.find(Finding::new(Code::E16, what).next("nanozfs boot --clear"));
}

/// How long the machine runs.
fn seconds(host: &dyn Host) -> u32 {
    u32::try_from(host.uptime().as_secs()).unwrap_or(u32::MAX)
}

/// `nanozfs boot --clear`: forgets the boots that did not come to their end, so that the next boot
/// imports pools. The last boots stay in the record. One write; says what was done.
pub fn clear(boot: &mut Boot<'_, '_>) -> Exit {
    let drive = osdrive::look(boot);
    let count = unfinished(boot.host, drive.as_ref());
    let Some(drive) = drive.filter(|_| count > 0) else {
        boot.console
            .say("boot: nothing to forget: the last boot came to its end, or none is known");
        return Exit::Done;
    };
    let what = match count {
        1 => "1 boot that did not come to its end".to_owned(),
        count => format!("{count} boots that did not come to their end"),
    };
    if !boot.act {
        boot.console.say(&format!("would forget {what}"));
        return Exit::Done;
    }
    match look_and_change(boot.host, &drive, &mut |past| past.unfinished = 0) {
        Ok(()) => {
            boot.changed(1);
            boot.console.say(&format!("boot: forgotten: {what}; the next boot imports the pools"));
            Exit::Done
        }
        Err(error) => {
            let place = drive.recovery_copy().unwrap_or(&drive.disk);
            let what = format!("{place}: {}: it remembers {what}", why(&error));
            boot.find(Finding::new(Code::E16, what));
            Exit::Failed
        }
    }
}

fn not_counted(boot: &mut Boot<'_, '_>, why: &str) {
    boot.console.detail(&format!("boot: a crash loop would not be noticed: {why}"));
}

/// When this machine started, by its clock.
fn began(host: &dyn Host) -> i64 {
    let up = i64::try_from(host.uptime().as_secs()).unwrap_or_default();
    host.services().now().saturating_sub(up)
}

/// The lock, when it can be had: whoever has it may be at work on the same record.
fn locked(host: &dyn Host) -> Option<Box<dyn crate::host::Lock>> {
    for _ in 0..LOCK {
        match host.lock() {
            Ok(lock) => return Some(lock),
            Err(error) if error.kind == Kind::Busy => {
                host.services().sleep(Duration::from_secs(1));
            }
            Err(_) => return None,
        }
    }
    None
}

/// What is in the place of the record; why there is no such place. One read, read-only.
fn read(host: &dyn Host, drive: &OsDrive) -> Result<Found, String> {
    let provider = drive.recovery_copy().ok_or("the OS drive has no recovery copy")?;
    let offset = |at: u64| usize::try_from(at - boots::OFFSET).unwrap_or(usize::MAX);
    let length = offset(ufs::SUPERBLOCK_OFFSET) + ufs::SUPERBLOCK_READ;
    let front = host.read_device(provider, boots::OFFSET, length);
    let front = front.map_err(|error| format!("{provider}: {}", why(&error)))?;
    // On MBR the place alone says that it is the recovery copy: see that it is no other thing.
    let from = |at: u64| front.get(offset(at)..).unwrap_or_default();
    if !ufs::is_ufs1(from(ufs::UFS1_OFFSET)) && !ufs::is_superblock(from(ufs::SUPERBLOCK_OFFSET)) {
        return Err(format!("{provider} holds no UFS"));
    }
    Ok(boots::parse(front.get(..AREA).unwrap_or_default()))
}

/// [`change`], once it is certain that the place is the record's.
fn look_and_change(
    host: &dyn Host,
    drive: &OsDrive,
    what: &mut dyn FnMut(&mut Boots),
) -> io::Result<()> {
    match read(host, drive) {
        Ok(Found::Foreign) => Err(io::Error::other(FOREIGN)),
        Ok(_) => change(host, drive, what),
        Err(why) => Err(io::Error::other(why)),
    }
}

/// Changes the record on a drive that [`read`] found to have a place for it: one sector is read,
/// changed, written, and flushed to the medium. Bytes of others are left alone.
fn change(host: &dyn Host, drive: &OsDrive, what: &mut dyn FnMut(&mut Boots)) -> io::Result<()> {
    let provider = drive.recovery_copy().unwrap_or_default();
    let mut device = host.drives().open(provider)?;
    let sector = usize::try_from(device.sector()).unwrap_or(usize::MAX);
    if sector < boots::SIZE || !AREA.is_multiple_of(sector) {
        let why = "a sector of this drive is longer than the record's place";
        return Err(io::Error::other(why));
    }
    let mut area = vec![0; AREA];
    device.read_at(&mut area, boots::OFFSET)?;
    let area = changed(&area, what).ok_or_else(|| io::Error::other(FOREIGN))?;
    device.write_at(area.get(..sector).unwrap_or_default(), boots::OFFSET)?;
    device.flush()
}

/// The record's place with a changed record in it; `None` when it is not ours. Behind the record it
/// stays as it is: zeroes.
fn changed(area: &[u8], change: &mut dyn FnMut(&mut Boots)) -> Option<Vec<u8>> {
    let mut past = match boots::parse(area) {
        Found::Boots(past) => past,
        Found::Nothing | Found::Damaged => Boots::default(),
        Found::Foreign => return None,
    };
    change(&mut past);
    let mut area = area.to_vec();
    area.get_mut(..boots::SIZE)?.copy_from_slice(&boots::encode(&past)?);
    Some(area)
}

fn letter(mode: Option<Mode>) -> Letter {
    match mode {
        Some(Mode::Normal) => Letter::Normal,
        Some(Mode::Degraded) => Letter::Degraded,
        Some(Mode::Recovery) => Letter::Recovery,
        None => Letter::Unknown,
    }
}

fn mode(letter: Letter) -> Option<Mode> {
    match letter {
        Letter::Normal => Some(Mode::Normal),
        Letter::Degraded => Some(Mode::Degraded),
        Letter::Recovery => Some(Mode::Recovery),
        Letter::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_written_over_zeroes_and_over_a_record_only() {
        let mut begin = |past: &mut Boots| past.begin(7);
        let once = changed(&[0; AREA], &mut begin).unwrap();
        let twice = changed(&once, &mut begin).unwrap();
        let found = match boots::parse(&twice) {
            Found::Boots(found) => found.unfinished,
            other => panic!("{other:?}"),
        };
        assert_eq!((found, twice.len()), (2, AREA));
        // A damaged one is begun anew, and zeroes stay behind it.
        let mut torn = twice;
        torn[40] ^= 1;
        assert_eq!(changed(&torn, &mut begin), Some(once.clone()));
        for at in [0, boots::SIZE, AREA - 1] {
            let mut other = once.clone();
            other[at] ^= 1;
            assert_eq!(changed(&other, &mut begin), None, "{at}");
        }
    }

    #[test]
    fn every_mode_is_remembered() {
        for known in Mode::ALL.into_iter().map(Some).chain([None]) {
            assert_eq!(mode(letter(known)), known);
        }
    }
}
