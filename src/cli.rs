//! The command table, the options, the exit codes.

use std::ffi::OsString;
use std::io::Write;

use crate::boot::{Boot, Helper};
use crate::config::{Config, KEYS};
use crate::host::{Host, Kind};
use crate::report::{Code, Console, Exit, Finding};
#[cfg(feature = "maker")]
use crate::upgrade::make;

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Job {
    Boot,
    Helper(Helper),
    Explain,
    #[cfg(feature = "maker")]
    Release,
    Help,
    Version,
}

/// An option that one command takes.
pub struct CommandOption {
    /// Its name, without the dashes.
    pub name: &'static str,
    /// What its value is called in a synopsis; empty when it has none.
    pub value: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
}

impl CommandOption {
    /// An option `--name value`.
    pub const fn new(name: &'static str, value: &'static str, about: &'static str) -> Self {
        CommandOption { name, value, about }
    }
}

/// One command of the executable.
pub struct Command {
    /// Its name, and for a helper the name of its link.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// Its operands, as a synopsis shows them.
    pub operands: &'static str,
    /// The options that only this command takes. They stand behind its name.
    pub options: &'static [CommandOption],
    job: Job,
}

impl Command {
    /// True when it looks at or changes the machine.
    fn needs_host(&self) -> bool {
        matches!(self.job, Job::Boot | Job::Helper(_))
    }
}

/// Every command. nanozfs(8) is compared with it in the tests.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "boot",
        about: "Run all helpers, as rc(8) does at boot.",
        operands: "",
        options: &[],
        job: Job::Boot,
    },
    Command {
        name: "osdrive",
        about: "Find the OS drive, its slots and its recovery copy.",
        operands: "",
        options: &[],
        job: Job::Helper(Helper::OsDrive),
    },
    Command {
        name: "pools",
        about: "Wait for the disks of the known pools and import them.",
        operands: "",
        options: &[],
        job: Job::Helper(Helper::Pools),
    },
    Command {
        name: "cfg",
        about: "Mount /cfg and lay it over /etc.",
        operands: "",
        options: &[],
        job: Job::Helper(Helper::Cfg),
    },
    Command {
        name: "var",
        about: "Mount /var and what belongs on it.",
        operands: "",
        options: &[],
        job: Job::Helper(Helper::Var),
    },
    Command {
        name: "etclocal",
        about: "Make /usr/local/etc lead to /etc/local.",
        operands: "",
        options: &[],
        job: Job::Helper(Helper::EtcLocal),
    },
    Command {
        name: "explain",
        about: "Say what a code means: what happened, what to do.",
        operands: "[code ...]",
        options: &[],
        job: Job::Explain,
    },
    #[cfg(feature = "maker")]
    Command {
        name: "release",
        about: "Make a release of a slot image, on the machine that built it.",
        operands: "image",
        options: RELEASE_OPTIONS,
        job: Job::Release,
    },
    Command { name: "help", about: "Show this.", operands: "", options: &[], job: Job::Help },
    Command {
        name: "version",
        about: "Show the version.",
        operands: "",
        options: &[],
        job: Job::Version,
    },
];

#[cfg(feature = "maker")]
const RELEASE_OPTIONS: &[CommandOption] = &[
    CommandOption::new("version", "version", "The version of the system. Cannot be left out."),
    CommandOption::new("name", "name", "What the system is called; system."),
    CommandOption::new("compat", "word", "The machines that it runs on; generic."),
    CommandOption::new("layout", "gpt|mbr", "What the image is for; what the image tells."),
    CommandOption::new(
        "min-from",
        "version",
        "The oldest version that can be upgraded to this one.",
    ),
    CommandOption::new("pack", "zst|xz|gz|none", "How the image is packed; zst."),
    CommandOption::new("output", "file", "The release; name-version.nzr in this directory."),
    CommandOption::new("sign-with", "key", "Sign it by minisign with this secret key."),
    CommandOption::new("signature", "file", "The image is a release: put this signature into it."),
];

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
        Job::Boot | Job::Helper(_) => match host {
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

/// A command that looks at the machine, and changes it unless `-n` was given.
fn on_host(invocation: &Invocation, host: &dyn Host, console: &mut Console<'_>) -> Exit {
    let act = !invocation.dry_run;
    let lock = match act.then(|| host.lock()).transpose() {
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
    let mode = match invocation.command.job {
        Job::Helper(helper) => boot.one(helper, findings),
        _ => boot.all(findings),
    };
    drop(lock);
    mode.exit()
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
