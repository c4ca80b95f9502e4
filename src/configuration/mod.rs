//! The history of the configuration: `nanozfs cfg WORD`.
//!
//! At boot `/cfg` is laid over `/etc`. Here is the way back: what somebody changed in `/etc` goes to
//! `/cfg`, each time with a snapshot of it that says who, when and why.
//!
//! [`command`] knows the words; each of them has a file of its own.

mod act;
mod back;
pub mod command;
pub mod confirm;
mod decide;
mod diff;
mod history;
mod lines;
pub(crate) mod lists;
mod log;
mod look;
mod mirror;
mod names;
mod places;
mod plan;
mod recovery;
mod revert;
mod rewind;
mod save;
mod walk;

use std::io;
use std::path::{Path, PathBuf};

use crate::boot::tree::Change;
use crate::host::Files;

/// What a save would write to `cfg`: the files in `etc` that differ from those in `cfg` and in the
/// trees of `image`. What only `etc` has is left out. Looks only.
///
/// # Errors
///
/// When something could not be read.
pub fn changes(
    files: &dyn Files,
    etc: &Path,
    cfg: &Path,
    image: &[PathBuf],
) -> io::Result<Vec<Change>> {
    let (etc, cfg, image) = (etc.to_owned(), cfg.to_owned(), image.to_vec());
    let named = names::Named::default();
    let look = look::look(files, look::Trees { etc: etc.clone(), cfg, image }, &named);
    if let Some((path, why)) = look.failed.first() {
        return Err(io::Error::other(format!("{}: {why}", path.display())));
    }
    let known = plan::Known {
        facts: &look.facts,
        deleted: &lists::Deleted::new(),
        ignore: &lists::Ignore::default(),
        laid: decide::Laid::default(),
        named: &named,
        image: true,
    };
    let plan = plan::Plan::make(files, &etc, &known, &mut |_, _, _| plan::Answer::Nobody)?;
    Ok(plan.changes.into_iter().map(|(path, what)| Change { path, what }).collect())
}
