//! What a command line orders, in the words of the command that does it.

use std::time::Duration;

use super::invocation::Invocation;
use super::table::Job;
use crate::boot::{Boot, Helper, past};
use crate::config::Config;
use crate::configuration;
use crate::operate::{init, resume, status};
#[cfg(feature = "maker")]
use crate::report::Console;
use crate::report::{Exit, Finding};
use crate::upgrade::command::{self, Order, Verb};
#[cfg(feature = "maker")]
use crate::upgrade::make;
use crate::upgrade::{guard, settle};

/// What is to be done on a machine.
pub(super) enum Task {
    Boot,
    /// Forget the boots that did not come to their end.
    Clear,
    Helper(Helper),
    Settle,
    /// Until this uptime.
    Guard(Duration),
    Upgrade(Order),
    Status(status::Order),
    Resume {
        services: bool,
    },
    Init(init::Order),
    Configuration(configuration::command::Order),
}

impl Task {
    /// What a command line orders; what is wrong with it, in words.
    pub(super) fn of(invocation: &Invocation) -> Result<Task, String> {
        Ok(match invocation.command.job {
            Job::Helper(Helper::Cfg)
                if !(invocation.words.is_empty() && invocation.options.is_empty()) =>
            {
                let (words, options) = (&invocation.words, &invocation.options);
                Task::Configuration(configuration::command::Order::parse(words, options)?)
            }
            Job::Helper(helper) => Task::Helper(helper),
            Job::Settle => Task::Settle,
            Job::Guard => Task::Guard(guard::deadline(&invocation.operands)?),
            Job::Upgrade => Task::Upgrade(upgrade(invocation)?),
            Job::Status => {
                let json = invocation.option("json").is_some();
                Task::Status(status::Order { verbose: invocation.verbose, json })
            }
            Job::Boot if invocation.option("clear").is_some() => Task::Clear,
            Job::Init => Task::Init(init::Order::parse(
                &invocation.operands,
                invocation.option("create"),
                invocation.option("yes").is_some(),
            )?),
            Job::Resume => Task::Resume { services: invocation.option("services").is_some() },
            Job::Boot => Task::Boot,
            // Nothing that was forgotten here may become a boot.
            _ => return Err(format!("{}: needs no machine", invocation.command.name)),
        })
    }

    /// No other nanozfs may be at work meanwhile.
    pub(super) fn is_alone(&self) -> bool {
        match self {
            Task::Boot | Task::Clear | Task::Helper(_) | Task::Resume { .. } => true,
            // They wait for minutes, and take the lock by themselves when there is something to
            // write.
            Task::Settle | Task::Guard(_) => false,
            // It changes nothing.
            Task::Status(_) => false,
            // These take the lock by themselves, too: they wait for their turn, or for an answer.
            Task::Init(_) => false,
            Task::Upgrade(order) => {
                order.acts() && !matches!(order.verb, Some(Verb::Commit | Verb::Prune))
            }
            Task::Configuration(order) => order.acts(),
        }
    }

    /// What it shows is kept in the log.
    pub(super) fn is_kept(&self) -> bool {
        matches!(self, Task::Boot)
    }

    /// What of the configuration counts otherwise for this: who types `resume` has connected the
    /// disks.
    pub(super) fn adjust(&self, config: &mut Config) {
        if matches!(self, Task::Resume { .. }) {
            config.wait = Duration::ZERO;
        }
    }

    /// Does it, after what was found in the configuration.
    pub(super) fn run(self, boot: &mut Boot<'_, '_>, findings: Vec<Finding>) -> Exit {
        match self {
            Task::Boot => boot.all(findings).exit(),
            Task::Clear => past::clear(boot),
            Task::Helper(helper) => boot.one(helper, findings).exit(),
            Task::Settle => settle::run(boot),
            Task::Guard(deadline) => guard::run(boot.host, boot.console, deadline),
            Task::Upgrade(order) => command::run(boot, &order),
            Task::Status(order) => status::run(boot, findings, order),
            Task::Init(order) => init::run(boot, &order, findings),
            Task::Resume { services } => resume::run(boot, services, findings),
            Task::Configuration(order) => configuration::command::run(boot, &order),
        }
    }
}

/// Makes a release, or signs one.
#[cfg(feature = "maker")]
pub(super) fn release(invocation: &Invocation, console: &mut Console<'_>) -> Exit {
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
fn upgrade(invocation: &Invocation) -> Result<Order, String> {
    let progress_fd = match invocation.option("progress-fd").map(str::parse) {
        None => None,
        Some(Ok(number)) if number >= 0 => Some(number),
        Some(_) => return Err("--progress-fd: not the number of a descriptor".to_owned()),
    };
    let (force, reboot) = (invocation.option("force"), invocation.option("reboot"));
    let order = Order::parse(&invocation.operands)?;
    let yes = invocation.option("yes").is_some();
    Ok(Order { force: force.is_some(), reboot: reboot.is_some(), yes, progress_fd, ..order })
}
