//! The log: syslog(3) when syslogd listens, facility daemon. Before that the console is the only
//! log, and `/var/db/nanozfs/boot.json` keeps what was said there.

use std::path::Path;

use log::{LevelFilter, Log, Metadata, Record};
use syslog::{BasicLogger, Facility, Formatter3164};

/// Where syslogd listens on FreeBSD.
const SOCKET: &str = "/var/run/log";

/// Where records go.
struct Logger {
    syslog: Option<BasicLogger>,
    verbose: bool,
}

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if let Some(syslog) = self.syslog.as_ref().filter(|_| record.level() <= log::Level::Info) {
            syslog.log(record);
        }
        // The programs that are run; what is said to people is on the console already.
        if self.verbose && record.target().starts_with("nanozfs::host") {
            eprintln!("nanozfs: {}", record.args());
        }
    }

    fn flush(&self) {}
}

/// Starts the log; `verbose` shows the programs that are run on standard error. Never fails: a
/// machine without a log boots.
pub(crate) fn start(verbose: bool) {
    let syslog = Path::new(SOCKET).exists().then(|| {
        let formatter = Formatter3164 {
            facility: Facility::LOG_DAEMON,
            hostname: None,
            process: "nanozfs".to_owned(),
            pid: std::process::id(),
        };
        syslog::unix_custom(formatter, SOCKET)
    });
    let syslog = syslog.and_then(Result::ok).map(BasicLogger::new);
    if log::set_boxed_logger(Box::new(Logger { syslog, verbose })).is_ok() {
        log::set_max_level(if verbose { LevelFilter::Debug } else { LevelFilter::Info });
    }
}
