//! What the command line says about itself: usage, codes, keys.

use super::table::{COMMANDS, Command};
use crate::config::KEYS;
use crate::report::{Code, Console, Exit};

/// What `-h` shows: of a command that has verbs or options of its own those, otherwise everything.
pub(super) fn help(command: &Command, console: &mut Console<'_>) {
    match command.options.is_empty() && (command.verbs)().is_empty() {
        true => all(console),
        false => of(command, console),
    }
}

/// Every command.
pub(super) fn all(console: &mut Console<'_>) {
    console.plain("usage: nanozfs [-hnv] command [operand ...]");
    console.plain("");
    for command in COMMANDS {
        let name = format!("{} {}", command.name, command.operands);
        console.plain(&format!("  {:<20} {}", name.trim_end(), command.about));
    }
    console.plain("");
    console.plain("  -h  show this      -n  show what would be done      -v  show every step");
}

/// One command, with its verbs and options.
pub(super) fn of(command: &Command, console: &mut Console<'_>) {
    let (name, operands) = (command.name, command.operands);
    let options = if command.options.is_empty() { "" } else { " [option ...]" };
    console.plain(format!("usage: nanozfs [-hnv] {name}{options} {operands}").trim_end());
    console.plain("");
    console.plain(&format!("  {}", command.about));
    console.plain("");
    for verb in (command.verbs)() {
        let name = format!("{} {}", verb.name, verb.operands);
        console.plain(&format!("  {:<22} {}", name.trim_end(), verb.about));
    }
    for option in command.options {
        let short = option.short.map(|letter| format!("-{letter}, ")).unwrap_or_default();
        let name = format!("{short}--{} {}", option.name, option.value);
        console.plain(&format!("  {:<22} {}", name.trim_end(), option.about));
    }
}

/// Says what codes mean; without an operand, all of them.
pub(super) fn explain(words: &[String], console: &mut Console<'_>) -> Exit {
    let mut exit = Exit::Done;
    if words.is_empty() {
        for code in Code::ALL {
            console.plain(&format!("{}  {}", code.id(), code.title()));
        }
    }
    for word in words {
        match Code::ALL.iter().find(|code| code.id().eq_ignore_ascii_case(word)) {
            Some(code) => {
                console.plain(&format!("{}  {}", code.id(), code.title()));
                console.plain(&format!("     unchanged: {}", code.unchanged()));
                console.plain(&format!("     next: {}", code.next()));
                if matches!(code, Code::E02 | Code::E03) {
                    keys(console);
                }
            }
            None => {
                console.say(&format!("no such code: {word}"));
                exit = Exit::Usage;
            }
        }
    }
    exit
}

/// The keys of nanozfs.conf, for whoever has no manual page at hand.
fn keys(console: &mut Console<'_>) {
    console.plain("     The keys of /etc/nanozfs.conf, with their defaults:");
    for key in KEYS {
        console.hang("       ", &format!("{}=\"{}\"", key.name, key.default));
        console.plain(&format!("           {}", key.about));
    }
}
