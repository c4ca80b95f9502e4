//! `nanozfs cfg log`: the snapshots of `/cfg`, the newest first.

use super::history;
use crate::boot::Boot;
use crate::report::Exit;

/// Shows them.
pub(super) fn run(boot: &mut Boot<'_, '_>) -> Exit {
    let Some(dataset) = history::dataset(boot) else { return Exit::Failed };
    let Some(snapshots) = history::snapshots(boot, &dataset) else { return Exit::Failed };
    if snapshots.is_empty() {
        boot.console.say("nothing was saved yet");
        return Exit::Nothing;
    }
    for snapshot in snapshots.iter().rev() {
        boot.console.plain(&format!("@{}", snapshot.name));
    }
    Exit::Done
}
