//! Which services read the files that were changed. They are named, and nobody restarts them but the
//! administrator.

use std::path::{Path, PathBuf};

/// A file or directory below `/etc`, and what has it read again.
const READERS: &[(&str, &str)] = &[
    ("rc.conf", "service netif restart && service routing restart, or reboot"),
    ("rc.conf.local", "service netif restart && service routing restart, or reboot"),
    ("rc.conf.d", "service NAME restart, for each file NAME, or reboot"),
    ("wpa_supplicant.conf", "service netif restart && service routing restart"),
    ("resolvconf.conf", "resolvconf -u"),
    ("ssh", "service sshd restart"),
    ("pf.conf", "service pf reload"),
    ("ipfw.rules", "service ipfw restart"),
    ("sysctl.conf", "service sysctl restart"),
    ("devfs.rules", "service devfs restart"),
    ("ntp.conf", "service ntpd restart"),
    ("syslog.conf", "service syslogd reload"),
    ("syslog.d", "service syslogd reload"),
    ("inetd.conf", "service inetd reload"),
    ("hostapd.conf", "service hostapd restart"),
    ("exports", "service mountd reload"),
    ("snmpd.config", "service bsnmpd restart"),
    ("ttys", "kill -HUP 1"),
    ("local", "service NAME restart, for each program NAME that reads them"),
];

/// What to type so that these files are read again, each once.
pub(super) fn to_restart(paths: &[PathBuf]) -> Vec<String> {
    let read = |file: &str| paths.iter().any(|path| path.starts_with(Path::new(file)));
    let mut lines: Vec<String> = Vec::new();
    for (file, command) in READERS {
        let line = format!("to have {file} read: {command}");
        let known = lines.iter().any(|line| line.ends_with(command));
        if read(file) && !known {
            lines.push(line);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_named_once_and_only_for_what_was_changed() {
        let paths = ["rc.conf", "rc.conf.local", "ssh/sshd_config", "motd"].map(PathBuf::from);
        let lines = to_restart(&paths);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("to have rc.conf read: service netif"), "{lines:?}");
        assert_eq!(lines[1], "to have ssh read: service sshd restart");
        assert!(to_restart(&[PathBuf::from("hosts")]).is_empty());
    }
}
