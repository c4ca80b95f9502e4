//! pwd_mkdb(8) and cap_mkdb(1).

use std::time::Duration;

use super::run;
use crate::host::command::{Command, Runner};
use crate::host::{Database, Result};

/// Enough for tens of thousands of accounts.
const LIMIT: Duration = Duration::from_secs(60);

/// Rebuilds a database of `/etc` in place; the old one is used until the new one is whole.
pub fn rebuild(runner: &dyn Runner, database: Database) -> Result<()> {
    let command = match database {
        Database::Passwords => Command::new("/usr/sbin/pwd_mkdb", LIMIT).args([
            "-p",
            "-d",
            "/etc",
            "/etc/master.passwd",
        ]),
        Database::LoginClasses => Command::new("/usr/bin/cap_mkdb", LIMIT).arg("/etc/login.conf"),
    };
    run(runner, &command).map(drop)
}
