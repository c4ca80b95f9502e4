//! nanozfs: boot-time rc helpers for FreeBSD appliances whose system image is read-only and whose
//! configuration and data are on ZFS.
//!
//! Data flows one way: configuration, then facts about the machine, then a decision (a pure
//! function), then action through [`host::Host`], then a report.

pub mod boot;
pub mod cli;
pub mod config;
pub mod configuration;
pub mod format;
pub mod host;
#[cfg(feature = "lab")]
pub mod lab;
mod log;
pub mod operate;
pub mod report;
#[allow(unsafe_code)]
pub mod sys;
pub mod upgrade;

use std::ffi::OsString;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use host::console::SystemConsole;

/// Nobody reads what this process writes to its standard outputs.
static BACKGROUND: AtomicBool = AtomicBool::new(false);

/// The whole program, on the machine it runs on: the exit code.
pub fn start() -> u8 {
    // The only panic is a defect. rc sees it, and the boot goes on with what is mounted by then.
    std::panic::set_hook(Box::new(|defect| {
        let text = format!("nanozfs: a defect in nanozfs, please report it: {defect}\n");
        let unheard = std::io::stderr().write_all(text.as_bytes()).is_err();
        if unheard || BACKGROUND.load(Ordering::Relaxed) {
            let _ = SystemConsole::default().write_all(text.as_bytes());
        }
        std::process::exit(report::Exit::Internal.code().into());
    }));
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let asked = cli::asks(&arguments, std::env::var_os(host::RC_PID).is_some());
    BACKGROUND.store(asked.background, Ordering::Relaxed);
    log::start(asked.verbose);
    let mut out: Box<dyn Write> = match asked.background {
        true => Box::new(std::io::LineWriter::new(SystemConsole::default())),
        false => Box::new(std::io::stdout()),
    };
    if asked.root && !sys::process::is_root() {
        let finding = report::Finding::new(report::Code::E04, "not run by root");
        report::Console::new(&mut *out, false).finding(&finding);
        return report::Exit::NotRoot.code();
    }
    #[cfg(target_os = "freebsd")]
    return cli::run(&arguments, &host::FreeBsd::new(), &mut *out);
    #[cfg(not(target_os = "freebsd"))]
    return cli::run_elsewhere(&arguments, &mut *out);
}
