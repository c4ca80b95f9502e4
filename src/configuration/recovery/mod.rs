//! The recovery copy of `/cfg` on the OS drive: `nanozfs cfg recovery save|diff|show`.
//!
//! In recovery mode the machine has nothing but this copy to be reached by, so it is refreshed from
//! the `/cfg` that is in use, with the files that `recovery_files` names. It is mounted while one of
//! these commands works, at a place of its own, and unmounted and clean at every other time.

mod copy;
mod difference;
mod save;
mod show;

use crate::boot::Boot;
use crate::report::{Exit, Finding};

/// What is to be done with the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Save,
    Diff,
    Show,
}

/// `nanozfs cfg recovery WORD`.
pub(super) fn run(boot: &mut Boot<'_, '_>, word: &std::ffi::OsStr) -> Exit {
    let word = match word.to_str() {
        Some("save") => Word::Save,
        Some("diff") => Word::Diff,
        Some("show") => Word::Show,
        _ => {
            let word = word.to_string_lossy();
            boot.console.say(&format!("cfg recovery: save, diff or show, not {word}"));
            return Exit::Usage;
        }
    };
    let done = match word {
        Word::Save => save::run(boot),
        Word::Diff => difference::run(boot),
        Word::Show => show::run(boot),
    };
    match done {
        Ok(exit) => exit,
        Err(finding) => {
            boot.find(*finding);
            Exit::Failed
        }
    }
}

/// What came of a step; what went wrong is a finding that ends the command.
type Result<T> = std::result::Result<T, Box<Finding>>;
