//! Which files the recovery copy should have, and `nanozfs cfg recovery diff`.

use std::path::Path;

use super::{Result, copy};
use crate::boot::Boot;
use crate::boot::tree::What;
use crate::configuration::mirror::{Difference, Scope};
use crate::configuration::names::shown;
use crate::format::selection::Selection;
use crate::host::Database;
use crate::report::Exit;

/// Read at boot before `/cfg` is there: of no use in it.
const CONF: &str = "nanozfs.conf";

/// What the copy has of `/cfg`.
#[derive(Debug)]
pub(super) struct Files<'a>(pub(super) &'a Selection);

impl Scope for Files<'_> {
    fn holds(&self, path: &Path) -> bool {
        self.0.holds(path) && is_content(path)
    }

    fn leads_to(&self, path: &Path) -> bool {
        self.0.leads_to(path) && is_content(path)
    }
}

/// False for what is made anew from other files, or read before `/cfg` is there.
fn is_content(path: &Path) -> bool {
    let mut made = Database::ALL.into_iter().flat_map(Database::files);
    path != Path::new(CONF) && !made.any(|name| path == Path::new(name))
}

/// Shows what `save` would change.
pub(super) fn run(boot: &mut Boot<'_, '_>) -> Result<Exit> {
    let mut copy = copy::find(boot)?;
    let cfg = copy::live(boot)?;
    let name = copy.name();
    let selection = &boot.config.recovery_files;
    let found = copy.look(boot, |boot, at| {
        Ok(Difference::find(boot.host.files(), &Files(selection), &cfg, at))
    })?;
    let Some(found) = found else { return Ok(Exit::Done) };
    for change in &found.changes {
        let word = match change.what {
            What::File(_) | What::Link(_) => "write",
            What::Directory(_) => "make",
            What::Attributes(_) => "mode",
        };
        boot.console.plain(&format!("{word:6}  {}", shown(&change.path)));
    }
    for path in &found.gone {
        boot.console.plain(&format!("remove  {}", shown(path)));
    }
    for (path, why) in found.failed.iter().chain(&found.refused) {
        boot.console.plain(&format!("cannot  {}: {why}", shown(path)));
    }
    match found.is_empty() && found.failed.is_empty() && found.refused.is_empty() {
        true => boot.console.say(&format!("{name}: as /cfg, in {} files", found.same)),
        false => boot.console.say("next: nanozfs cfg recovery save"),
    }
    Ok(Exit::Done)
}
