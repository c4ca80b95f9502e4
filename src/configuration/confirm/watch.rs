//! `nanozfs cfg watch ID`: the process that takes a change back when its time is over.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::record::State;
use super::undo;
use crate::boot::cfg::CFG;
use crate::boot::{Boot, overlay};
use crate::host::Kind;
use crate::report::Exit;

/// How often it asks for the lock while another nanozfs is at work.
const AGAIN: Duration = Duration::from_secs(1);

/// So often, and not once more.
const TRIES: u32 = 60;

/// Waits until the uptime that the second operand names, and takes the change that the first one
/// names back unless it was confirmed.
pub(crate) fn run(boot: &mut Boot<'_, '_>, operands: &[OsString]) -> Exit {
    let words: Vec<_> = operands.iter().map(|word| word.to_string_lossy()).collect();
    let [id, seconds] = words.as_slice() else { return Exit::Usage };
    let Ok(seconds) = seconds.parse() else {
        boot.console.say("cfg watch: at how many seconds after the start?");
        return Exit::Usage;
    };
    let services = boot.host.services();
    services.detach();
    let until = Duration::from_secs(seconds);
    while let Some(left) = until.checked_sub(boot.host.uptime()).filter(|left| !left.is_zero()) {
        services.sleep(left);
    }
    let mut lock = boot.host.lock();
    for _ in 0..TRIES {
        match &lock {
            Err(error) if error.kind == Kind::Busy => services.sleep(AGAIN),
            _ => break,
        }
        lock = boot.host.lock();
    }
    // Without a lock the machine has to be reached all the same: one that hangs on a pool holds it
    // for ever.
    let lock = lock.ok();
    let waiting = |record: &super::Record| record.id == *id && record.state == State::Pending;
    let exit = match super::read(boot).filter(waiting) {
        None => Exit::Nothing,
        Some(_) if !boot.act => {
            boot.console.say(&format!("would take back the change of {id}"));
            Exit::Done
        }
        Some(record) => {
            services.see_it_through();
            let why = format!("it was not confirmed in {}", record.given());
            let from = undo::undo(boot, &record, &why);
            let line = overlay::lay(boot, &from);
            boot.console.say(&format!("watch: {line}"));
            if from == Path::new(CFG) { Exit::Done } else { Exit::Failed }
        }
    };
    drop(lock);
    exit
}
