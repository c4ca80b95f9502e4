//! How far writing a slot is: for a person at a terminal, for one who presses ^T, for a program.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use super::slot::{Progress, Stage};
use crate::boot::Boot;
use crate::host::Host;

/// Between two lines on a terminal.
const EVERY: Duration = Duration::from_millis(500);

/// Tells it.
pub struct Teller<'a> {
    host: &'a dyn Host,
    began: (Stage, Duration),
    shown: Duration,
    terminal: bool,
    program: Option<File>,
    percent: Option<(Stage, u64)>,
}

impl<'a> Teller<'a> {
    /// For `fd`, when a program listens there, and for the terminal on standard error.
    pub fn new(boot: &Boot<'a, '_>, fd: Option<i32>) -> Self {
        let program = fd.and_then(|fd| match crate::sys::process::descriptor(fd) {
            Ok(file) => Some(file),
            Err(error) => {
                log::warn!("progress: {error}");
                None
            }
        });
        let now = boot.host.uptime();
        Teller {
            host: boot.host,
            began: (Stage::Writing, now),
            shown: now,
            terminal: std::io::stderr().is_terminal(),
            program,
            percent: None,
        }
    }

    /// Takes note, and tells those who want to know now.
    pub fn tell(&mut self, progress: Progress) {
        let now = self.host.uptime();
        if self.began.0 != progress.stage {
            self.began = (progress.stage, now);
        }
        let percent = percent(&progress);
        if self.percent != Some((progress.stage, percent)) {
            self.percent = Some((progress.stage, percent));
            self.report(&progress, percent);
        }
        let asked = self.host.progress_asked();
        let due = self.terminal && now.saturating_sub(self.shown) >= EVERY;
        if asked || due {
            self.shown = now;
            let line = line(&progress, now.saturating_sub(self.began.1));
            // A terminal that went away must not end the work.
            let mut out = std::io::stderr();
            let _ = match self.terminal {
                true => write!(out, "\r{line:<60}\r"),
                false => writeln!(out, "nanozfs: {line}"),
            };
        }
    }

    /// One object a line. A listener that went away is forgotten.
    fn report(&mut self, progress: &Progress, percent: u64) {
        let Some(program) = &mut self.program else { return };
        let (done, size) = (progress.done, progress.size);
        let (written, spared) = (progress.counts.written, progress.counts.spared);
        let line = format!(
            "{{\"schema\":1,\"stage\":\"{}\",\"percent\":{percent},\"done\":{done},\"size\":{size},\
             \"written\":{written},\"spared\":{spared}}}\n",
            name(progress.stage)
        );
        if program.write_all(line.as_bytes()).is_err() {
            self.program = None;
        }
    }
}

fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::Writing => "writing",
        Stage::Verifying => "verifying",
        Stage::Finishing => "finishing",
    }
}

fn percent(progress: &Progress) -> u64 {
    progress.done.saturating_mul(100).checked_div(progress.size).unwrap_or(100)
}

/// `writing 42 %, 12.3 MB/s, 0:35 left`.
fn line(progress: &Progress, took: Duration) -> String {
    let seconds = took.as_secs_f64();
    let mut line = format!("{} {} %", name(progress.stage), percent(progress));
    if seconds > 0.0 && progress.done > 0 && progress.stage != Stage::Finishing {
        let speed = progress.done as f64 / seconds;
        let left = (progress.size.saturating_sub(progress.done) as f64 / speed).ceil() as u64;
        let megabytes = speed / f64::from(1 << 20);
        line.push_str(&format!(", {megabytes:.1} MB/s, {}:{:02} left", left / 60, left % 60));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::super::slot::Counts;
    use super::*;

    #[test]
    fn a_line_says_how_far_how_fast_and_how_long_still() {
        let at = |stage, done| Progress { stage, done, size: 400 << 20, counts: Counts::default() };
        let writing = at(Stage::Writing, 100 << 20);
        assert_eq!(line(&writing, Duration::from_secs(10)), "writing 25 %, 10.0 MB/s, 0:30 left");
        assert_eq!(line(&at(Stage::Verifying, 0), Duration::ZERO), "verifying 0 %");
        let empty = Progress { size: 0, ..writing };
        assert_eq!(percent(&empty), 100);
    }
}
