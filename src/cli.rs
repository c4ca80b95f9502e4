//! The command line: understood, run, and its exit code.

use std::ffi::OsString;
use std::io::Write;

use crate::boot::Boot;
use crate::config::Config;
use crate::host::{Host, Kind};
use crate::report::{Code, Console, Exit, Finding};

mod invocation;
mod orders;
mod table;
mod usage;

pub use invocation::{Asks, asks};
pub use table::{COMMANDS, Command, CommandOption, CommandVerb};

use invocation::Invocation;
use orders::Task;
use table::Job;

/// Runs the command that `arguments` name: the first is the program's own name, which is the
/// command when it is a helper's link. Everything a person reads goes to `out`.
///
/// Returns the exit code of the process. Only helpers and `boot` look at `host`.
pub fn run(arguments: &[OsString], host: &dyn Host, out: &mut dyn Write) -> u8 {
    dispatch(arguments, Some(host), out)
}

/// [`run`] on a system that is no appliance: what needs one is refused.
pub fn run_elsewhere(arguments: &[OsString], out: &mut dyn Write) -> u8 {
    dispatch(arguments, None, out)
}

fn dispatch(arguments: &[OsString], host: Option<&dyn Host>, out: &mut dyn Write) -> u8 {
    let invocation = match Invocation::parse(arguments) {
        Ok(invocation) => invocation,
        Err(why) => {
            let mut console = Console::new(out, false);
            console.say(&why);
            usage::all(&mut console);
            return Exit::Usage.code();
        }
    };
    let mut console = Console::new(out, invocation.verbose);
    if invocation.help {
        usage::help(invocation.command, &mut console);
        return Exit::Done.code();
    }
    let exit = match invocation.command.job {
        Job::Boot
        | Job::Helper(_)
        | Job::Settle
        | Job::Guard
        | Job::Upgrade
        | Job::Status
        | Job::Resume
        | Job::Init => match host {
            Some(host) => on_host(&invocation, host, &mut console),
            None => {
                let what = format!("{}: only on FreeBSD", invocation.command.name);
                console.finding(&Finding::new(Code::E07, what));
                Exit::Failed
            }
        },
        Job::Explain => usage::explain(&invocation.operands, &mut console),
        #[cfg(feature = "maker")]
        Job::Release => orders::release(&invocation, &mut console),
        Job::Help => {
            usage::all(&mut console);
            Exit::Done
        }
        Job::Version => {
            console.plain(&format!("nanozfs {}", env!("CARGO_PKG_VERSION")));
            Exit::Done
        }
    };
    exit.code()
}

/// A command that looks at the machine, and changes it unless `-n` was given.
fn on_host<'a>(invocation: &Invocation, host: &'a dyn Host, console: &mut Console<'a>) -> Exit {
    let task = match Task::of(invocation) {
        Ok(task) => task,
        Err(why) => {
            console.say(&why);
            usage::of(invocation.command, console);
            return Exit::Usage;
        }
    };
    let act = !invocation.dry_run;
    let lock = match (act && task.is_alone()).then(|| host.lock()).transpose() {
        Ok(lock) => lock,
        Err(error) if error.kind == Kind::Busy => {
            console.finding(&Finding::busy(&error));
            return Exit::Busy;
        }
        Err(error) => {
            // A machine that cannot lock still has to boot.
            console.detail(&error.to_string());
            None
        }
    };
    if act && task.is_kept() {
        console.keep(host.services());
    }
    let (mut config, findings) = Config::load(host);
    task.adjust(&mut config);
    let mut boot = Boot::new(host, &config, console, act);
    let exit = task.run(&mut boot, findings);
    drop(lock);
    exit
}
