//! The log: syslog(3) when syslogd listens, facility daemon. Before that the console is the only
//! log: what was said there is kept, and told to syslogd later (`boot::said`).

use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use log::{Level, LevelFilter, Log, Metadata, Record};
use syslog::{LogFormat, Logger as Syslog, LoggerBackend, Severity};

/// Where syslogd listens on FreeBSD.
const SOCKET: &str = "/var/run/log";
/// `LOG_DAEMON` of `sys/syslog.h`, in its place above the severity.
const DAEMON: u8 = 3 << 3;

/// A line for syslogd(8) of the same machine: priority, program, process. No time: syslogd puts its
/// own, and working out local time needs a time zone file, which may not be there yet.
struct Line;

impl LogFormat<String> for Line {
    fn format<W: Write>(&self, to: &mut W, severity: Severity, text: String) -> syslog::Result<()> {
        let (priority, pid) = (DAEMON | severity as u8, std::process::id());
        write!(to, "<{priority}>nanozfs[{pid}]: {text}").map_err(syslog::Error::Write)
    }
}

/// Where records go.
struct Logger {
    syslog: Option<Mutex<Syslog<LoggerBackend, Line>>>,
    verbose: bool,
}

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if let Some(syslog) = self.syslog.as_ref().filter(|_| record.level() <= Level::Info) {
            let mut syslog = syslog.lock().unwrap_or_else(PoisonError::into_inner);
            let text = record.args().to_string();
            // syslogd went away: what is said to people is on the console anyway.
            let _ = match record.level() {
                Level::Error => syslog.err(text),
                Level::Warn => syslog.warning(text),
                _ => syslog.info(text),
            };
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
    let listens = Path::new(SOCKET).exists();
    let syslog = listens.then(|| syslog::unix_custom(Line, SOCKET)).and_then(Result::ok);
    let logger = Logger { syslog: syslog.map(Mutex::new), verbose };
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        log::set_max_level(if verbose { LevelFilter::Debug } else { LevelFilter::Info });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_syslogd_expects_of_a_local_program() {
        let mut line = Vec::new();
        Line.format(&mut line, Severity::LOG_WARNING, "E21 pool tank".to_owned()).unwrap();
        let pid = std::process::id();
        assert_eq!(String::from_utf8(line).unwrap(), format!("<28>nanozfs[{pid}]: E21 pool tank"));
    }
}
