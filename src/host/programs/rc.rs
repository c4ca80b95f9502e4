//! rc.subr(8), service(8), route(8), shutdown(8) and reboot(8): what rc.conf says, what runs, and the
//! way out.

use std::time::Duration;

use super::run;
use crate::host::command::{Command, Runner};
use crate::host::{Error, Kind, Result};

/// Both only read, from a system that may be busy starting.
const LIMIT: Duration = Duration::from_secs(60);
const SERVICE: &str = "/usr/sbin/service";
/// The functions of rc's scripts.
const RC_SUBR: &str = "/etc/rc.subr";
/// Prints `name: value`, the value on one line, as rc.d/netif and rc.d/routing load their settings;
/// after those of each a line that says that these are all.
const SETTINGS: &str = r#"
. "$1" || exit 1
show()
{
	set -f
	for name; do
		eval "value=\$$name"
		echo "$name:" $value
	done
	echo all:
}
( load_rc_config network; load_rc_config netif; show $(list_vars 'ifconfig_*') )
( load_rc_config routing; show defaultrouter )"#;
/// That line, and how often it comes.
const ALL: (&str, usize) = ("all", 2);
/// A shell for each of some two hundred scripts.
const ENABLED_LIMIT: Duration = Duration::from_secs(180);
/// From asking shutdown(8) to its being on its way.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(30);

/// What rc.conf says of the network, read as rc's own scripts read it: sysrc(8) needs bsdconfig(8),
/// which small images leave out.
pub fn settings(runner: &dyn Runner) -> Result<Vec<(String, String)>> {
    settings_by(runner, RC_SUBR)
}

fn settings_by(runner: &dyn Runner, rc_subr: &str) -> Result<Vec<(String, String)>> {
    let text = run(runner, &Command::new("/bin/sh", LIMIT).args(["-c", SETTINGS, "sh", rc_subr]))?;
    let setting = |line: &str| {
        line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
    };
    let all = text.lines().filter_map(setting);
    let (ends, settings): (Vec<_>, Vec<_>) = all.partition(|(name, _)| name == ALL.0);
    match ends.len() == ALL.1 {
        true => Ok(settings),
        false => Err(Error::new(Kind::Nonsense, "rc.conf", "rc.subr did not come to its end")),
    }
}

/// The scripts of the services that are enabled, in rc's order. Each script is run for that.
pub fn enabled(runner: &dyn Runner) -> Result<Vec<String>> {
    let text = run(runner, &Command::new(SERVICE, ENABLED_LIMIT).arg("-e"))?;
    let paths = text.lines().map(str::trim).filter(|line| line.starts_with('/'));
    Ok(paths.map(str::to_owned).collect())
}

/// What has a service's script do something.
pub fn service(name: &str, action: &str, limit: Duration) -> Command {
    Command::new(SERVICE, limit).args([name, action]).starts_daemons()
}

/// There is a default route.
pub fn has_default_route(runner: &dyn Runner) -> Result<bool> {
    let command = Command::new("/sbin/route", LIMIT).args(["-n", "get", "default"]);
    match run(runner, &command) {
        Ok(_) => Ok(true),
        Err(error) if error.kind == Kind::Refused => Ok(false),
        Err(error) => Err(error),
    }
}

/// Restarts the machine after every service was ended.
pub fn shutdown(runner: &dyn Runner) -> Result<()> {
    run(runner, &Command::new("/sbin/shutdown", SHUTDOWN_LIMIT).args(["-r", "now"])).map(drop)
}

/// Restarts the machine at once; what is to be written is still written.
pub fn reboot(runner: &dyn Runner) -> Result<()> {
    run(runner, &Command::new("/sbin/reboot", SHUTDOWN_LIMIT).arg("-q")).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::command::{Replay, System};

    #[test]
    fn settings_are_what_rcs_scripts_would_see() {
        let scratch = tempfile::tempdir().unwrap();
        let subr = scratch.path().join("rc.subr");
        let text = "list_vars() {\n\techo ifconfig_lo0 ifconfig_em0 ifconfig_em0_aliases ifconfig_em1\n}\n\
            load_rc_config() {\n\tdefaultrouter=NO ifconfig_lo0='inet 127.0.0.1'\n\
            \tifconfig_em0=\"inet 10.0.0.1/24 #*\" ifconfig_em0_aliases=\"inet 10.0.0.2/32\n\
            \t\tinet 10.0.0.3/32\"\n\tdefaultrouter=10.0.0.254 hostname=\"it's\" ifconfig_em1=\n}\n";
        std::fs::write(&subr, text).unwrap();
        let mut settings = settings_by(&System, subr.to_str().unwrap()).unwrap();
        settings.sort();
        let of = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            settings,
            [
                of("defaultrouter", "10.0.0.254"),
                of("ifconfig_em0", "inet 10.0.0.1/24 #*"),
                of("ifconfig_em0_aliases", "inet 10.0.0.2/32 inet 10.0.0.3/32"),
                of("ifconfig_em1", ""),
                of("ifconfig_lo0", "inet 127.0.0.1"),
            ]
        );
        assert!(settings_by(&System, "/nonexistent").is_err());
        std::fs::write(&subr, "exit 0\n").unwrap();
        assert!(settings_by(&System, subr.to_str().unwrap()).is_err(), "unknown is not nothing");
    }

    #[test]
    fn enabled_services_are_paths_and_the_rest_is_talk() {
        let text = "/etc/rc.d/syslogd\n/etc/rc.d/cron\n/usr/local/etc/rc.d/app\nwarning: x\n";
        let enabled = enabled(&Replay::new().answer("service -e", text, "", 0)).unwrap();
        assert_eq!(enabled, ["/etc/rc.d/syslogd", "/etc/rc.d/cron", "/usr/local/etc/rc.d/app"]);
        let command = service("sshd", "reload", Duration::from_secs(9));
        assert_eq!(command.argv(), "/usr/sbin/service sshd reload");
    }

    #[test]
    fn without_a_route_there_is_none() {
        let line = "route -n get default";
        let stderr = "route: route has not been found\n";
        assert!(!has_default_route(&Replay::new().answer(line, "", stderr, 1)).unwrap());
        assert!(
            has_default_route(&Replay::new().answer(line, "gateway: 10.0.0.254\n", "", 0)).unwrap()
        );
        assert!(has_default_route(&Replay::new().missing(line)).is_err());
    }

    #[test]
    fn there_is_an_orderly_way_and_one_that_waits_for_nobody() {
        let replay =
            Replay::new().answer("shutdown -r now", "", "", 0).answer("reboot -q", "", "", 0);
        shutdown(&replay).unwrap();
        reboot(&replay).unwrap();
        assert_eq!(replay.calls(), ["shutdown -r now", "reboot -q"]);
    }
}
