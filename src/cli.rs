//! The command line: understood, run, and its exit code.

use std::ffi::OsString;
use std::io::Write;
use std::time::Duration;

use crate::boot::Boot;
use crate::config::{Config, KEYS};
use crate::host::{Host, Kind};
use crate::report::{Code, Console, Exit, Finding};
use crate::upgrade::command::{self, Order, VERBS, Verb};
#[cfg(feature = "maker")]
use crate::upgrade::make;
use crate::upgrade::settle;

mod table;

pub use table::{COMMANDS, Command, CommandOption};

use table::Job;

/// From asking for a restart until it has happened.
const SHUTDOWN: Duration = Duration::from_secs(180);

/// A command line, understood.
struct Invocation {
    command: &'static Command,
    dry_run: bool,
    verbose: bool,
    help: bool,
    operands: Vec<String>,
    /// Names and values, in the order of the command line.
    options: Vec<(&'static str, String)>,
}

impl Invocation {
    /// The value of an option; the last one, when it was given more than once.
    #[cfg_attr(not(feature = "maker"), allow(dead_code, reason = "no other command has options"))]
    fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().rfind(|(other, _)| *other == name).map(|(_, value)| value.as_str())
    }
}

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
    let invocation = match parse(arguments) {
        Ok(invocation) => invocation,
        Err(why) => {
            let mut console = Console::new(out, false);
            console.say(&why);
            usage(&mut console);
            return Exit::Usage.code();
        }
    };
    let mut console = Console::new(out, invocation.verbose);
    if invocation.help {
        match invocation.command.options {
            [] => usage(&mut console),
            options => usage_of(invocation.command, options, &mut console),
        }
        return Exit::Done.code();
    }
    let exit = match invocation.command.job {
        Job::Boot | Job::Helper(_) | Job::Settle | Job::Guard | Job::Upgrade => match host {
            Some(host) => on_host(&invocation, host, &mut console),
            None => {
                let what = format!("{}: only on FreeBSD", invocation.command.name);
                console.finding(&Finding::new(Code::E07, what));
                Exit::Failed
            }
        },
        Job::Explain => explain(&invocation.operands, &mut console),
        #[cfg(feature = "maker")]
        Job::Release => release(&invocation, &mut console),
        Job::Help => {
            usage(&mut console);
            Exit::Done
        }
        Job::Version => {
            console.plain(&format!("nanozfs {}", env!("CARGO_PKG_VERSION")));
            Exit::Done
        }
    };
    exit.code()
}

/// What has to be known of a command line before it is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asks {
    /// Only root can do it.
    pub root: bool,
    /// Every step is to be shown.
    pub verbose: bool,
}

/// Looks at a command line without running it; one that cannot be understood asks for nothing.
pub fn asks(arguments: &[OsString]) -> Asks {
    match parse(arguments) {
        Ok(asked) => {
            let root = asked.command.needs_host() && !asked.help;
            Asks { root, verbose: asked.verbose }
        }
        Err(_) => Asks::default(),
    }
}

fn parse(arguments: &[OsString]) -> Result<Invocation, String> {
    use lexopt::prelude::{Long, Short, Value};
    let mut parser = lexopt::Parser::from_iter(arguments);
    let own = parser.bin_name().and_then(|name| name.rsplit('/').next().map(str::to_owned));
    let mut command = own.as_deref().and_then(linked);
    let (mut dry_run, mut verbose, mut help) = (false, false, false);
    let (mut operands, mut options) = (Vec::new(), Vec::new());
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        match argument {
            Short('n') | Long("dry-run") => dry_run = true,
            Short('v') | Long("verbose") => verbose = true,
            Short('h') | Long("help") => help = true,
            Value(word) => {
                let word = word.to_string_lossy().into_owned();
                match command {
                    Some(_) => operands.push(word),
                    None => {
                        let found = COMMANDS.iter().find(|command| command.name == word);
                        command = Some(found.ok_or_else(|| format!("no such command: {word}"))?);
                    }
                }
            }
            Long(name) => {
                let own = command.and_then(|command| taken(command, name));
                let Some(option) = own else {
                    return Err(Long(name).unexpected().to_string());
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
            other => return Err(other.unexpected().to_string()),
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
    Ok(Invocation { command, dry_run, verbose, help, operands, options })
}

/// The option of this name, when the command has one.
fn taken(command: &Command, name: &str) -> Option<&'static CommandOption> {
    command.options.iter().find(|option| option.name == name)
}

/// The helper whose link this name is.
fn linked(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name && matches!(command.job, Job::Helper(_)))
}

fn usage(console: &mut Console<'_>) {
    console.plain("usage: nanozfs [-hnv] command [operand ...]");
    console.plain("");
    for command in COMMANDS {
        let name = format!("{} {}", command.name, command.operands);
        console.plain(&format!("  {:<20} {}", name.trim_end(), command.about));
    }
    console.plain("");
    console.plain("  -h  show this      -n  show what would be done      -v  show every step");
}

fn usage_of(command: &Command, options: &[CommandOption], console: &mut Console<'_>) {
    let (name, operands) = (command.name, command.operands);
    console.plain(&format!("usage: nanozfs [-hnv] {name} [option ...] {operands}"));
    console.plain("");
    console.plain(&format!("  {}", command.about));
    console.plain("");
    for (_, name, operand, about) in VERBS.iter().filter(|_| command.job == Job::Upgrade) {
        console.plain(&format!("  {:<22} {about}", format!("{name} {operand}").trim_end()));
    }
    for option in options {
        let name = format!("--{} {}", option.name, option.value);
        console.plain(&format!("  {:<22} {}", name.trim_end(), option.about));
    }
}

/// Makes a release, or signs one.
#[cfg(feature = "maker")]
fn release(invocation: &Invocation, console: &mut Console<'_>) -> Exit {
    let [image] = invocation.operands.as_slice() else {
        console.say("release: which image?");
        return Exit::Usage;
    };
    let order = make::Order {
        image,
        version: invocation.option("version"),
        name: invocation.option("name"),
        compat: invocation.option("compat"),
        layout: invocation.option("layout"),
        min_from: invocation.option("min-from"),
        pack: invocation.option("pack"),
        output: invocation.option("output"),
        sign_with: invocation.option("sign-with"),
        signature: invocation.option("signature"),
    };
    match make::run(&order, console, !invocation.dry_run) {
        Ok(()) => Exit::Done,
        Err(make::Failure::Usage(why)) => {
            console.say(&why);
            Exit::Usage
        }
        Err(make::Failure::Failed(why)) => {
            console.say(&why);
            Exit::Failed
        }
    }
}

/// The order that the command line of `upgrade` is.
fn order(invocation: &Invocation) -> Result<Order, String> {
    let progress_fd = match invocation.option("progress-fd").map(str::parse) {
        None => None,
        Some(Ok(number)) if number >= 0 => Some(number),
        Some(_) => return Err("--progress-fd: not the number of a descriptor".to_owned()),
    };
    let (force, reboot) = (invocation.option("force"), invocation.option("reboot"));
    let order = Order::parse(&invocation.operands)?;
    Ok(Order { force: force.is_some(), reboot: reboot.is_some(), progress_fd, ..order })
}

/// `nanozfs guard`: restarts the machine at that uptime, and again, less kindly, when that does not
/// help. Comes back only when it cannot.
fn guard(invocation: &Invocation, host: &dyn Host, console: &mut Console<'_>) -> Exit {
    let seconds = invocation.operands.first().and_then(|word| word.parse().ok());
    let Some(deadline) = seconds.map(Duration::from_secs) else {
        console.say("guard: at how many seconds after the start?");
        return Exit::Usage;
    };
    let services = host.services();
    services.detach();
    while let Some(left) = deadline.checked_sub(host.uptime()).filter(|left| !left.is_zero()) {
        services.sleep(left);
    }
    console.say("guard: the trial was not kept in time: restarting");
    for orderly in [true, false] {
        match services.reboot(orderly) {
            Ok(()) => services.sleep(SHUTDOWN),
            Err(error) => console.say(&format!("guard: {error}")),
        }
    }
    Exit::Failed
}

/// A command that looks at the machine, and changes it unless `-n` was given.
fn on_host(invocation: &Invocation, host: &dyn Host, console: &mut Console<'_>) -> Exit {
    if invocation.command.job == Job::Guard {
        return guard(invocation, host, console);
    }
    let order = match invocation.command.job == Job::Upgrade {
        true => match order(invocation) {
            Ok(order) => Some(order),
            Err(why) => {
                console.say(&why);
                usage_of(invocation.command, invocation.command.options, console);
                return Exit::Usage;
            }
        },
        false => None,
    };
    let act = !invocation.dry_run;
    // Settling waits for minutes, and takes the lock by itself when it has something to write.
    let alone = order.as_ref().is_none_or(Order::acts)
        && invocation.command.job != Job::Settle
        && order.as_ref().and_then(|order| order.verb) != Some(Verb::Commit);
    let lock = match (act && alone).then(|| host.lock()).transpose() {
        Ok(lock) => lock,
        Err(error) if error.kind == Kind::Busy => {
            console.finding(&Finding::new(Code::E05, "another nanozfs is at work on this machine"));
            return Exit::Busy;
        }
        Err(error) => {
            // A machine that cannot lock still has to boot.
            console.detail(&error.to_string());
            None
        }
    };
    let (config, findings) = Config::load(host);
    let mut boot = Boot::new(host, &config, console, act);
    let exit = match (invocation.command.job, &order) {
        (Job::Helper(helper), _) => boot.one(helper, findings).exit(),
        (Job::Settle, _) => settle::run(&mut boot),
        (_, Some(order)) => command::run(&mut boot, order),
        _ => boot.all(findings).exit(),
    };
    drop(lock);
    exit
}

/// Says what codes mean; without an operand, all of them.
fn explain(words: &[String], console: &mut Console<'_>) -> Exit {
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
        console.plain(&format!("       {}=\"{}\"", key.name, key.default));
        console.plain(&format!("           {}", key.about));
    }
}
