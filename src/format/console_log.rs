//! The kernel's message buffer, which holds what rc(8) said on the console: `dmesg -a`.
//!
//! It survives a warm restart, and every boot begins with a tag of its own (`sys/kern/subr_prf.c`).

/// What the kernel says first.
const BOOT_TAG: &str = "---<<BOOT>>---";
/// What rc.subr(8) says when a service does not start.
const FAILED: &str = "WARNING: failed to start ";

/// The services that rc could not start since the last boot, in the order of their failure, each
/// once. A buffer without a tag is of one boot: the tag was the first to be overwritten.
pub fn failed_services(log: &[u8]) -> Vec<String> {
    let log = String::from_utf8_lossy(log);
    let since = log.rfind(BOOT_TAG).and_then(|at| log.get(at..)).unwrap_or(&log);
    let mut failed = Vec::new();
    for line in since.lines() {
        let Some((_, rest)) = line.split_once(FAILED) else { continue };
        let name = rest.split_whitespace().next().unwrap_or_default().to_owned();
        if !name.is_empty() && !failed.contains(&name) {
            failed.push(name);
        }
    }
    failed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_boot_counts() {
        let log = b"<118>/etc/rc: WARNING: failed to start old\n---<<BOOT>>---\nCopyright\n\
            <118>Starting sshd.\n<118>/etc/rc: WARNING: failed to start sshd\n\
            <118>/etc/rc: WARNING: failed to start sshd\n\
            <118>/etc/rc: WARNING: failed to start ntpd\n";
        assert_eq!(failed_services(log), ["sshd", "ntpd"]);
    }

    #[test]
    fn a_buffer_that_wrapped_is_of_one_boot() {
        assert_eq!(failed_services(b"t\n/etc/rc: WARNING: failed to start a\n"), ["a"]);
        assert_eq!(failed_services(b"WARNING: failed to start \n\xff\xfe"), [""; 0]);
        assert_eq!(failed_services(b""), [""; 0]);
    }
}
