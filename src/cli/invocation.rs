//! argv -> what was asked for.

use std::ffi::OsString;

use super::table::{COMMANDS, Command, CommandOption, Job};
use crate::boot::Helper;
use crate::configuration::command::Verb;

/// A command line, understood.
pub(super) struct Invocation {
    pub(super) command: &'static Command,
    pub(super) dry_run: bool,
    pub(super) verbose: bool,
    pub(super) help: bool,
    pub(super) operands: Vec<String>,
    /// The operands with the very bytes that were typed: names of files can have any.
    pub(super) words: Vec<OsString>,
    /// Names and values, in the order of the command line.
    pub(super) options: Vec<(&'static str, String)>,
}

impl Invocation {
    /// Understands a command line, or says why not.
    pub(super) fn parse(arguments: &[OsString]) -> Result<Invocation, String> {
        use lexopt::prelude::{Long, Short, Value};
        let mut parser = lexopt::Parser::from_iter(arguments);
        let own = parser.bin_name().and_then(|name| name.rsplit('/').next().map(str::to_owned));
        let mut command = own.as_deref().and_then(linked);
        let (mut dry_run, mut verbose, mut help) = (false, false, false);
        let (mut operands, mut words, mut options) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
            match argument {
                Short('n') | Long("dry-run") => dry_run = true,
                Short('v') | Long("verbose") => verbose = true,
                Short('h') | Long("help") => help = true,
                Value(typed) => {
                    let word = typed.to_string_lossy().into_owned();
                    match command {
                        Some(_) => {
                            operands.push(word);
                            words.push(typed);
                        }
                        None => {
                            let found = COMMANDS.iter().find(|command| command.name == word);
                            command =
                                Some(found.ok_or_else(|| format!("no such command: {word}"))?);
                        }
                    }
                }
                Long(_) | Short(_) => {
                    let own = command.and_then(|command| taken(command, &argument));
                    let Some(option) = own else {
                        return Err(argument.unexpected().to_string());
                    };
                    let value = match option.value {
                        "" => String::new(),
                        _ => {
                            let value = parser.value().map_err(|error| error.to_string())?;
                            value.to_string_lossy().into_owned()
                        }
                    };
                    options.push((option.name, value));
                }
            }
        }
        let command = match command {
            Some(command) => command,
            None if help => {
                COMMANDS.iter().find(|command| command.job == Job::Help).ok_or("no help")?
            }
            None => return Err("which command?".to_owned()),
        };
        if let Some(word) = operands.first().filter(|_| command.operands.is_empty()) {
            return Err(format!("{}: takes no operand: {word}", command.name));
        }
        Ok(Invocation { command, dry_run, verbose, help, operands, words, options })
    }

    /// The value of an option; the last one, when it was given more than once.
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().rfind(|(other, _)| *other == name).map(|(_, value)| value.as_str())
    }
}

/// What has to be known of a command line before it is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asks {
    /// Only root can do it.
    pub root: bool,
    /// Every step is to be shown.
    pub verbose: bool,
    /// It goes on when whoever started it is gone, and has the console to talk to.
    pub background: bool,
}

/// Looks at a command line without running it; one that cannot be understood asks for nothing.
/// `by_rc`: rc(8) started it.
pub fn asks(arguments: &[OsString], by_rc: bool) -> Asks {
    match Invocation::parse(arguments) {
        Ok(asked) => {
            let root = asked.command.needs_host() && !asked.help;
            let watches =
                asked.operands.first().is_some_and(|word| word == Verb::Watch.line().name);
            let background = match asked.command.job {
                Job::Guard => true,
                Job::Settle => by_rc,
                Job::Helper(Helper::Cfg) => watches,
                _ => false,
            };
            // The lines of `status -v` are its own; those of the log would come between them.
            let verbose = asked.verbose && asked.command.job != Job::Status;
            Asks { root, verbose, background: background && !asked.help }
        }
        Err(_) => Asks::default(),
    }
}

/// The option of the command that this is, when it has one.
fn taken(command: &Command, argument: &lexopt::Arg<'_>) -> Option<&'static CommandOption> {
    command.options.iter().find(|option| match argument {
        lexopt::Arg::Long(name) => option.name == *name,
        lexopt::Arg::Short(letter) => option.short == Some(*letter),
        lexopt::Arg::Value(_) => false,
    })
}

/// The helper whose link this name is.
fn linked(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name && matches!(command.job, Job::Helper(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_outlives_the_one_who_started_it_talks_to_the_console() {
        let background = |line: &str, by_rc: bool| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            asks(&words, by_rc).background
        };
        assert!(background("nanozfs guard 600", false));
        assert!(background("nanozfs cfg watch 20231114T221328Z 120", false));
        assert!(background("nanozfs settle", true));
        assert!(!background("nanozfs settle", false), "by hand");
        assert!(!background("nanozfs guard -h", false), "somebody reads the help");
        assert!(!background("nanozfs cfg", true));
        assert!(!background("nanozfs cfg save watch", false));
        assert!(!background("nanozfs boot", true));
    }
}
