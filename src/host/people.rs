//! The person at the terminal, if there is one.

use std::io::{BufRead, IsTerminal};

use crate::sys;

/// More than any answer to a question.
const LONGEST: usize = 100;

/// The person who started this process.
pub trait People: Send + Sync {
    /// Somebody can read a question and answer it: standard input and output are a terminal.
    fn is_there(&self) -> bool;

    /// Waits for a line that somebody types; `None` when there will be none.
    fn answer(&self) -> Option<String>;

    /// Who it is, and from where: `anna (192.0.2.7)`, `root (ttyv0)`. Never empty.
    fn who(&self) -> String;
}

/// The terminal that this process was started from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminal;

impl People for Terminal {
    fn is_there(&self) -> bool {
        std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
    }

    fn answer(&self) -> Option<String> {
        let mut line = String::new();
        match std::io::stdin().lock().read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim().chars().take(LONGEST).collect()),
            Err(error) => {
                log::debug!("standard input: {error}");
                None
            }
        }
    }

    /// The name that somebody logged in with stays through su(1); sudo(8) and doas(1) tell theirs.
    fn who(&self) -> String {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let name = variable("SUDO_USER")
            .or_else(|| variable("DOAS_USER"))
            .or_else(sys::process::login)
            .or_else(|| variable("USER"))
            .unwrap_or_else(|| "root".to_owned());
        let client = variable("SSH_CLIENT").or_else(|| variable("SSH_CONNECTION"));
        let client = client.and_then(|value| value.split(' ').next().map(str::to_owned));
        let terminal = || {
            let path = nix::unistd::ttyname(std::io::stdin()).ok()?;
            Some(path.strip_prefix("/dev").unwrap_or(&path).display().to_string())
        };
        match client.or_else(terminal) {
            Some(place) => format!("{name} ({place})"),
            None => name,
        }
    }
}
