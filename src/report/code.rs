//! The codes of findings: the one table that the console, `nanozfs explain`, nanozfs(8) and the
//! tests share. A code, once published, keeps its meaning.

/// Whether a finding takes the machine out of normal mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Impact {
    /// Worth knowing; the machine is as it should be.
    Note,
    /// Something the machine should have is missing or impaired.
    Degraded,
}

/// Makes the enum and its table from one list.
macro_rules! codes {
    ($($id:ident $impact:ident $title:literal, unchanged $unchanged:literal, next $next:literal;)+) => {
        /// The class of a finding.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "the table says what each means")]
        pub enum Code { $($id),+ }

        impl Code {
            /// Every code, in order.
            pub const ALL: &[Code] = &[$(Code::$id),+];

            /// As it is printed and asked for: `E21`.
            pub fn id(self) -> &'static str {
                match self { $(Code::$id => stringify!($id)),+ }
            }

            /// What the code means, as one phrase.
            pub fn title(self) -> &'static str {
                match self { $(Code::$id => $title),+ }
            }

            /// What was not changed: what is as it was, or what stands.
            pub fn unchanged(self) -> &'static str {
                match self { $(Code::$id => $unchanged),+ }
            }

            /// What to type next.
            pub fn next(self) -> &'static str {
                match self { $(Code::$id => $next),+ }
            }

            /// Whether the machine is still in normal mode.
            pub fn impact(self) -> Impact {
                match self { $(Code::$id => Impact::$impact),+ }
            }
        }
    };
}

codes! {
    // 0x: the command and its configuration.
    E01 Note "The configuration file could not be read.",
        unchanged "everything; each key has its default", next "ls -l /etc/nanozfs.conf";
    E02 Note "A line of the configuration, or a key in it, is not known.",
        unchanged "every other line counts", next "nanozfs explain E02";
    E03 Note "A value in the configuration cannot be used.",
        unchanged "the value from before stands", next "nanozfs explain E03";
    E04 Note "Only root can do this.",
        unchanged "everything", next "su -, and the same command again";
    E05 Note "Another nanozfs is at work on this machine.",
        unchanged "everything", next "wait a minute, and the same command again";
    E06 Degraded "The result of this boot could not be recorded.",
        unchanged "the boot itself", next "df /var; ls -ld /var/db/nanozfs";
    E07 Note "This command needs FreeBSD.",
        unchanged "everything", next "nanozfs-lab shell, to try it on a model";
    E08 Note "A nanozfs.conf in /cfg has no effect: it would be read too late.",
        unchanged "the nanozfs.conf of the image counts", next "put it into the image";

    // 1x: the OS drive.
    E10 Note "No OS drive was found, by where / is mounted from or by label.",
        unchanged "all disks", next "glabel status; mount";
    E11 Note "More than one drive carries the OS drive's labels.",
        unchanged "all drives", next "unplug the drive that is not wanted; gpart show";
    E12 Degraded "The kernel's list of disks could not be read.",
        unchanged "all disks", next "sysctl kern.geom.confxml";
    E13 Note "The OS drive has no recovery copy of /cfg.",
        unchanged "the OS drive", next "gpart show -l";
    E14 Note "A label on the OS drive contradicts its place.",
        unchanged "the OS drive; the place decides", next "glabel status; gpart show -p";
    E15 Degraded "Two boots in a row did not come to their end: no pool was imported.",
        unchanged "all disks with data", next "nanozfs boot --clear; reboot";
    E16 Note "The record of the last boots on the OS drive could not be written.",
        unchanged "the OS drive", next "at the loader prompt: set nanozfs.mode=auto, then: boot";

    // 2x: pools.
    E20 Degraded "No pool is named in the configuration.",
        unchanged "all pools", next "at the loader prompt: set nanozfs.pools=NAME, then: boot";
    E21 Degraded "A pool lacks disks, but has enough to run.",
        unchanged "all data is there", next "zpool status; replace the disk";
    E22 Degraded "A pool lacks more disks than it can do without.",
        unchanged "all disks that are there", next "connect the disks, then: nanozfs resume";
    E23 Degraded "No disk of a known pool was found.",
        unchanged "all disks that are there", next "connect the disks, then: nanozfs resume";
    E24 Degraded "A pool could not be imported, or is not in working order.",
        unchanged "the data on it", next "zpool import; zpool status";
    E25 Degraded "An import took longer than import_limit and was given up.",
        unchanged "the data on it; the kernel may still be at work", next "zpool status; dmesg | tail";
    E26 Degraded "zpool or zfs is missing, failed, or answered what cannot be understood.",
        unchanged "all pools", next "ls -l /sbin/zpool /sbin/zfs; zpool status";
    E27 Degraded "Two pools have the same known name.",
        unchanged "all of these pools", next "at the loader prompt: set nanozfs.pools=ID, then: boot";
    E28 Note "A disk could not be read, or its ZFS label is damaged or there twice.",
        unchanged "the disk", next "dmesg | tail; zpool status";
    E29 Note "Recovery was asked for: no pool was looked at.",
        unchanged "all disks with data", next "reboot; where nanozfs.conf says mode=\"recovery\", change it first";

    // 3x: /cfg and /etc.
    E30 Degraded "No known pool holds a /cfg.",
        unchanged "all datasets", next "zfs list; man nanozfs-layout";
    E31 Degraded "/cfg could not be mounted from ZFS.",
        unchanged "the dataset", next "zfs list; mount";
    E32 Degraded "/cfg comes from the recovery copy on the OS drive.",
        unchanged "the recovery copy, which is mounted read-only", next "nanozfs cfg -v";
    E33 Degraded "There is no /cfg at all: /etc is as the image has it.",
        unchanged "the OS drive", next "nanozfs osdrive -v";
    E34 Degraded "A dataset is encrypted and its key is not loaded.",
        unchanged "the dataset; nobody was asked for a key", next "zfs load-key DATASET; nanozfs resume";
    E35 Note "A mount hides files that were in the directory below it.",
        unchanged "the hidden files are still there", next "mount -p";
    E36 Note "Something in /cfg is neither a file, a directory nor a link.",
        unchanged "what is in /cfg", next "remove it from /cfg";
    E37 Degraded "A file of /cfg could not be put into /etc.",
        unchanged "the file in /etc is whole, as it was before", next "df /etc; ls -l /etc";
    E38 Degraded "A database of /etc could not be rebuilt.",
        unchanged "the text is in place; the old database is still used", next "pwd_mkdb -p /etc/master.passwd; cap_mkdb /etc/login.conf";
    E39 Note "More than one pool holds a /cfg; the one named first is used.",
        unchanged "the other pool", next "at the loader prompt: set nanozfs.pools=NAME, then: boot";

    // 4x: /var.
    E40 Degraded "The pool that holds /cfg has no /var.",
        unchanged "all datasets", next "nanozfs init POOL; nanozfs resume";
    E41 Degraded "A dataset of /var could not be mounted.",
        unchanged "the dataset", next "zfs list; mount";
    E42 Degraded "/var is in memory: what is written there is gone at the next reboot.",
        unchanged "all datasets", next "nanozfs var -v";
    E43 Degraded "No memory could be had for /var.",
        unchanged "/var is as the image has it; rc tries once more", next "mount; mdconfig -l";
    E44 Degraded "An empty /var could not be filled from the image.",
        unchanged "what is in /var already", next "df /var; ls -l /var";
    E45 Degraded "A part of /var that belongs to the image could not be shown.",
        unchanged "/var shows its own copy of it", next "kldload nullfs; nanozfs var";
    E47 Degraded "/var is in memory and in use, while ZFS has one.",
        unchanged "what the memory /var collected", next "nanozfs resume";

    // 5x: /usr/local/etc.
    E50 Degraded "/usr/local/etc cannot be made to lead to /etc/local.",
        unchanged "/usr/local/etc", next "ls -l /usr/local";
    E51 Degraded "A file of /usr/local/etc could not be taken over into /etc/local.",
        unchanged "the file in /usr/local/etc", next "df /etc";

    // 6x: installing a release.
    E60 Note "This is no release, or it is damaged.",
        unchanged "both slots", next "get the file once more, then: nanozfs upgrade info FILE";
    E61 Note "No known key signed this release.",
        unchanged "both slots", next "ls -l /etc/nanozfs.pub.d";
    E62 Note "This release is not for this machine.",
        unchanged "both slots", next "nanozfs upgrade info FILE";
    E63 Note "There is not enough room for this release.",
        unchanged "both slots", next "gpart show; zpool list";
    E64 Note "This image failed a trial on this machine.",
        unchanged "both slots", next "nanozfs upgrade log; nanozfs upgrade install --force FILE";
    E65 Note "The other slot cannot be written to.",
        unchanged "both slots", next "nanozfs osdrive -v; gpart show";
    E66 Note "The other slot holds no system now: it was not written to its end.",
        unchanged "the running slot, the data", next "the same command again";
    E67 Note "The drive holds other bytes than were written to it.",
        unchanged "the running slot, the data", next "the same command again; then replace the OS drive";
    E68 Note "The other slot holds no system that could be started.",
        unchanged "both slots, the data", next "nanozfs upgrade install FILE";
    E69 Note "A switch to the other slot is under way.",
        unchanged "the switch", next "nanozfs upgrade status";

    // 7x: switching slots.
    E70 Note "The journal of upgrades could not be read or written.",
        unchanged "both slots, the data", next "zfs get org.nanozfs:upgrade; zpool status";
    E71 Note "What boots next could not be changed.",
        unchanged "both slots, the data", next "gpart show; nanozfs upgrade status";
    E72 Note "No snapshots could be taken.",
        unchanged "the data; the next boot is as before", next "zfs list -t snapshot; zpool list";
    E73 Degraded "The data could not be exchanged for those of another time.",
        unchanged "all of them are there still", next "nanozfs upgrade status; zfs list -t all";
    E74 Note "A new system failed its trial: the machine went back to the old one.",
        unchanged "what the trial wrote is kept", next "nanozfs upgrade log";
    E75 Note "This loader does not know how to start a slot once.",
        unchanged "both slots", next "man nanozfs-layout";
    E76 Note "There is no slot to switch to, or none to go back to.",
        unchanged "both slots, the data", next "nanozfs upgrade status";
    E77 Note "The next boot goes to a slot other than the one that runs.",
        unchanged "both slots", next "nanozfs upgrade status";
    E78 Note "The system on trial is not healthy.",
        unchanged "the data of before the trial", next "nanozfs upgrade status";
    E79 Note "Something that is kept is needed still, or could not be destroyed.",
        unchanged "the live data", next "nanozfs upgrade kept";

    // 8x: what an operator does.
    E80 Note "This machine cannot resume now.",
        unchanged "/cfg, /etc and /var", next "reboot";
    E81 Note "What a memory /var collected could not all be kept.",
        unchanged "it is shown in /var/db/nanozfs/memory until a reboot", next "df /var; ls -l /var/db/nanozfs/memory";
    E82 Degraded "What a new /var hides could not be shown again.",
        unchanged "programs go on with the files that they have open", next "reboot";
    E83 Note "A service could not be restarted.",
        unchanged "the other services", next "service -e; tail /var/log/messages";
    E84 Note "The layout cannot be made on this pool.",
        unchanged "what is on the pool", next "zfs list; man nanozfs-layout";
    E85 Note "A disk cannot be used for a new pool.",
        unchanged "all disks", next "gpart show; zpool import";

    // 8x: a change of the configuration that has to be confirmed.
    E86 Note "A change of /cfg waits to be confirmed.",
        unchanged "it is taken back by itself, unless somebody confirms it", next "nanozfs cfg confirm";
    E87 Note "A change of /cfg was not confirmed, and was taken back.",
        unchanged "what was applied is in a snapshot", next "nanozfs cfg log";
    E88 Degraded "A change of /cfg that was not confirmed could not be taken back.",
        unchanged "both states of /cfg are in snapshots", next "df /cfg; nanozfs cfg";
    E89 Note "A change of /cfg could not be applied to be confirmed, or not be confirmed.",
        unchanged "/etc, and what is in /cfg", next "nanozfs cfg log; df /cfg";

    // 9x: the history of the configuration.
    E90 Note "/cfg does not come from ZFS: it has no history now.",
        unchanged "/cfg and /etc", next "zpool status; nanozfs cfg";
    E91 Note "A file could not be saved to /cfg.",
        unchanged "/etc; in /cfg each file is as before or as in /etc", next "nanozfs cfg save -n; df /cfg";
    E92 Note "A snapshot of /cfg could not be taken, or the snapshots not be listed.",
        unchanged "/etc, and what is in /cfg", next "zfs list -t snapshot; zpool list";
    E93 Note "There is no such snapshot, or nothing of that name in it.",
        unchanged "/cfg and /etc", next "nanozfs cfg log";
    E94 Note "A list in /cfg/.nanozfs could not be read, or a line of it not be used.",
        unchanged "the list; every other line counts", next "ls -l /cfg/.nanozfs";
    E95 Note "A file could not be brought back.",
        unchanged "what was before is in a snapshot", next "nanozfs cfg log; nanozfs cfg diff";
    E96 Note "The recovery copy cannot be used now.",
        unchanged "the recovery copy, /cfg and /etc", next "nanozfs osdrive; mount";
    E97 Note "The file system of the recovery copy is damaged, or was.",
        unchanged "/cfg on the pool; both slots", next "nanozfs cfg recovery save";
    E98 Note "A file could not be put on the recovery copy.",
        unchanged "each file on it is whole: as it was before, or as it is now", next "nanozfs cfg recovery diff; nanozfs cfg recovery show";
}

impl Code {
    /// True for what keeps a machine from its own `/cfg` or `/var`: a pool, a dataset, an order.
    pub fn is_cause_of_recovery(self) -> bool {
        let pools = self == Code::E12 || self >= Code::E20 && self <= Code::E31;
        pools && !matches!(self, Code::E21 | Code::E28)
            || matches!(self, Code::E15 | Code::E34 | Code::E40 | Code::E41)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_in_order_and_say_everything() {
        assert!(Code::ALL.is_sorted());
        for code in Code::ALL {
            assert_eq!(code.id().len(), 3);
            assert!(code.title().ends_with('.') && !code.unchanged().is_empty(), "{}", code.id());
            assert!(!code.next().is_empty() && !code.next().ends_with('.'), "{}", code.id());
        }
    }
}
