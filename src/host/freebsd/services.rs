//! Services, network and restart of the real machine.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use super::{EXECUTABLE, FreeBsd, failed};
use crate::host::command::{Command, Exit, RunError};
use crate::host::programs::rc;
use crate::host::{Ended, Error, Host, Interface, Kind, Result, Services};
use crate::sys::{process, sysctl};

/// The kernel environment variable that holds the process of [`Services::guard`].
const GUARD: &str = "nanozfs.guard";

impl Services for FreeBsd {
    fn console_log(&self) -> Result<Vec<u8>> {
        sysctl::bytes("kern.msgbuf").map_err(|error| failed(&error))
    }

    fn settings(&self) -> Result<Vec<(String, String)>> {
        rc::settings(&*self.runner)
    }

    fn interfaces(&self) -> Result<Vec<Interface>> {
        process::interfaces().map_err(|error| failed(&error))
    }

    fn has_default_route(&self) -> Result<bool> {
        rc::has_default_route(&*self.runner)
    }

    fn run(&self, executable: &Path, limit: Duration) -> Result<Ended> {
        self.ended(&Command::new(executable.display().to_string(), limit))
    }

    fn enabled(&self) -> Result<Vec<String>> {
        rc::enabled(&*self.runner)
    }

    fn service(&self, name: &str, action: &str, limit: Duration) -> Result<Ended> {
        self.ended(&rc::service(name, action, limit))
    }

    fn guard(&self, deadline: Duration) -> Result<()> {
        self.stand_down()?;
        let pid = start(&["guard", &deadline.as_secs().to_string()])
            .map_err(|error| Error::io("start the guard of the trial", &error))?;
        self.set_kenv(GUARD, &pid.to_string())
    }

    fn watch(&self, id: &str, deadline: Duration) -> Result<()> {
        start(&["cfg", "watch", id, &deadline.as_secs().to_string()])
            .map(drop)
            .map_err(|error| Error::io("start the process that takes it back", &error))
    }

    fn is_guarded(&self) -> bool {
        self.guard_pid().is_some_and(process::is_alive)
    }

    fn stand_down(&self) -> Result<bool> {
        let Some(pid) = self.guard_pid() else { return Ok(false) };
        let ended = process::signal(pid, process::Signal::SIGTERM).is_ok();
        self.set_kenv(GUARD, "0")?;
        Ok(ended)
    }

    fn started_by_rc(&self) -> bool {
        super::rc_pid().is_some()
    }

    fn log_late(&self, text: &str, warns: bool) {
        match warns {
            true => log::warn!("{text}"),
            false => log::info!("{text}"),
        }
    }

    fn rc_is_running(&self) -> bool {
        super::rc_pid().is_some_and(process::is_alive)
    }

    fn detach(&self) {
        for done in [process::detach(), process::heed_requests_to_end()] {
            if let Err(error) = done {
                log::debug!("{error}");
            }
        }
    }

    fn see_it_through(&self) {
        if let Err(error) = process::ignore_requests_to_end() {
            log::debug!("{error}");
        }
    }

    fn now(&self) -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.ok().and_then(|since| i64::try_from(since.as_secs()).ok()).unwrap_or_default()
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn reboot(&self, orderly: bool) -> Result<()> {
        match orderly {
            true => rc::shutdown(&*self.runner),
            false => rc::reboot(&*self.runner),
        }
    }
}

impl FreeBsd {
    /// Runs it, and says how it ended.
    fn ended(&self, command: &Command) -> Result<Ended> {
        match self.runner.run(command) {
            Ok(output) => {
                let text = [output.stdout, output.stderr].concat();
                let text = String::from_utf8_lossy(&text);
                let last = text.lines().map(str::trim).rfind(|line| !line.is_empty());
                let code = match output.status {
                    Exit::Code(code) => Some(code),
                    Exit::Signal(_) => None,
                };
                Ok(Ended { code, last_line: last.unwrap_or_default().to_owned() })
            }
            Err(error @ RunError::TimedOut { .. }) => {
                Ok(Ended { code: None, last_line: error.to_string() })
            }
            Err(error) => Err(Error::new(Kind::Refused, command.argv(), error.to_string())),
        }
    }

    fn guard_pid(&self) -> Option<u32> {
        self.kenv(GUARD).and_then(|pid| pid.parse().ok()).filter(|pid| *pid > 1)
    }
}

/// Starts another nanozfs, which nobody waits for: its process.
fn start(words: &[&str]) -> std::io::Result<u32> {
    let child = std::process::Command::new(EXECUTABLE)
        .args(words)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(child.id())
}
