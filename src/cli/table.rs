//! The command table: what there is to type. nanozfs(8) is compared with it in the tests.

use crate::boot::Helper;
use crate::configuration;
use crate::upgrade::command::Verb;

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    Boot,
    Helper(Helper),
    Settle,
    Guard,
    Upgrade,
    Status,
    Resume,
    Init,
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
    /// Its letter, when it has one.
    pub short: Option<char>,
    /// What its value is called in a synopsis; empty when it has none.
    pub value: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
}

impl CommandOption {
    /// An option `--name value`.
    pub const fn new(name: &'static str, value: &'static str, about: &'static str) -> Self {
        CommandOption { name, short: None, value, about }
    }

    /// The same with a letter: `-m value`.
    #[must_use]
    pub const fn short(self, letter: char) -> Self {
        CommandOption { short: Some(letter), ..self }
    }
}

/// What some commands take as their first operand: `status` in `nanozfs upgrade status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandVerb {
    /// The word.
    pub name: &'static str,
    /// What follows it, as a synopsis shows it.
    pub operands: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
}

impl CommandVerb {
    /// A verb `name operands`.
    pub const fn new(name: &'static str, operands: &'static str, about: &'static str) -> Self {
        CommandVerb { name, operands, about }
    }
}

/// The verbs of a command that has none.
fn no_verbs() -> Vec<CommandVerb> {
    Vec::new()
}

/// One command of the executable.
pub struct Command {
    /// Its name, and for a helper the name of its link.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// Its operands, as a synopsis shows them.
    pub operands: &'static str,
    /// Its verbs.
    pub verbs: fn() -> Vec<CommandVerb>,
    /// The options that only this command takes. They stand behind its name.
    pub options: &'static [CommandOption],
    pub(super) job: Job,
}

impl Command {
    /// True when it looks at or changes the machine.
    pub(super) fn needs_host(&self) -> bool {
        let jobs =
            [Job::Boot, Job::Settle, Job::Guard, Job::Upgrade, Job::Status, Job::Resume, Job::Init];
        jobs.contains(&self.job) || matches!(self.job, Job::Helper(_))
    }
}

/// Every command. nanozfs(8) is compared with it in the tests.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "boot",
        about: "Run all helpers, as rc(8) does at boot.",
        operands: "",
        verbs: no_verbs,
        options: BOOT_OPTIONS,
        job: Job::Boot,
    },
    Command {
        name: "osdrive",
        about: "Find the OS drive, its slots and its recovery copy.",
        operands: "",
        verbs: no_verbs,
        options: &[],
        job: Job::Helper(Helper::OsDrive),
    },
    Command {
        name: "pools",
        about: "Wait for the disks of the known pools and import them.",
        operands: "",
        verbs: no_verbs,
        options: &[],
        job: Job::Helper(Helper::Pools),
    },
    Command {
        name: "cfg",
        about: "Mount /cfg, lay it over /etc; with a word: its history.",
        operands: "[word ...]",
        verbs: || configuration::command::Verb::ALL.map(|verb| verb.line()).to_vec(),
        options: CFG_OPTIONS,
        job: Job::Helper(Helper::Cfg),
    },
    Command {
        name: "var",
        about: "Mount /var and what belongs on it.",
        operands: "",
        verbs: no_verbs,
        options: &[],
        job: Job::Helper(Helper::Var),
    },
    Command {
        name: "etclocal",
        about: "Make /usr/local/etc lead to /etc/local.",
        operands: "",
        verbs: no_verbs,
        options: &[],
        job: Job::Helper(Helper::EtcLocal),
    },
    Command {
        name: "init",
        about: "Make the layout on a pool, and the pool when that is wanted.",
        operands: "pool [disk ...]",
        verbs: no_verbs,
        options: INIT_OPTIONS,
        job: Job::Init,
    },
    Command {
        name: "resume",
        about: "Leave recovery without a reboot, once the disks are back.",
        operands: "",
        verbs: no_verbs,
        options: RESUME_OPTIONS,
        job: Job::Resume,
    },
    Command {
        name: "upgrade",
        about: "Install a release in the other slot, try it, keep it, go back.",
        operands: "[word ...]",
        verbs: || Verb::ALL.map(Verb::line).to_vec(),
        options: UPGRADE_OPTIONS,
        job: Job::Upgrade,
    },
    Command {
        name: "status",
        about: "Say how the machine is, and what to type next.",
        operands: "",
        verbs: no_verbs,
        options: STATUS_OPTIONS,
        job: Job::Status,
    },
    Command {
        name: "settle",
        about: "Keep a system on trial once it is healthy, or go back.",
        operands: "",
        verbs: no_verbs,
        options: &[],
        job: Job::Settle,
    },
    Command {
        name: "guard",
        about: "Restart this machine at an uptime; a trial starts this.",
        operands: "seconds",
        verbs: no_verbs,
        options: &[],
        job: Job::Guard,
    },
    Command {
        name: "explain",
        about: "Say what a code means: what happened, what to do.",
        operands: "[code ...]",
        verbs: no_verbs,
        options: &[],
        job: Job::Explain,
    },
    #[cfg(feature = "maker")]
    Command {
        name: "release",
        about: "Make a release of a slot image, on the machine that built it.",
        operands: "image",
        verbs: no_verbs,
        options: RELEASE_OPTIONS,
        job: Job::Release,
    },
    Command {
        name: "help",
        about: "Show this.",
        operands: "",
        verbs: no_verbs,
        options: &[],
        job: Job::Help,
    },
    Command {
        name: "version",
        about: "Show the version.",
        operands: "",
        verbs: no_verbs,
        options: &[],
        job: Job::Version,
    },
];

const BOOT_OPTIONS: &[CommandOption] =
    &[CommandOption::new("clear", "", "Forget the boots that did not come to their end.")];
const RESUME_OPTIONS: &[CommandOption] =
    &[CommandOption::new("services", "", "Restart the services concerned, and start jails.")];

const INIT_OPTIONS: &[CommandOption] = &[
    CommandOption::new("create", "kind", "Make the pool of these disks: mirror, raidz1, disk."),
    CommandOption::new("yes", "", "Ask nobody.").short('y'),
];

/// Each is for some verbs, which say so themselves.
const CFG_OPTIONS: &[CommandOption] = &[
    CommandOption::new("message", "text", "Why; cfg log shows it.").short('m'),
    CommandOption::new("yes", "", "Ask nothing: what is new is left out.").short('y'),
    CommandOption::new("confirm", "time", "With apply: taken back then, unless confirmed; 5m."),
];

const UPGRADE_OPTIONS: &[CommandOption] = &[
    CommandOption::new("force", "", "Try again what failed; prune what rollback needs."),
    CommandOption::new("yes", "", "Prune without a question.").short('y'),
    CommandOption::new("reboot", "", "Restart the machine when all is ready."),
    CommandOption::new("progress-fd", "fd", "Report progress there, as lines of JSON."),
];

const STATUS_OPTIONS: &[CommandOption] =
    &[CommandOption::new("json", "", "As one object of JSON, for programs.")];

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
