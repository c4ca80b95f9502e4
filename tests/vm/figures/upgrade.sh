#!/bin/sh
#
# Functions of the guest whose upgrades are measured; what is measured is printed as
# "@@figure NAME NUMBER". See upgrade.rs.

first=/var/tmp/gate-2.1.nzr
# shellcheck disable=SC2034
second=/var/tmp/gate-2.2.nzr
# The same by hand: written, checked, read back.
# shellcheck disable=SC2034
HAND="tar -xOf $first slot.img.gz | gunzip | dd of=/dev/gpt/nanoB ibs=64k obs=1m 2>/dev/null &&
fsck_ffs -n /dev/gpt/nanoB >/dev/null &&
dd if=/dev/gpt/nanoB bs=1m 2>/dev/null | sha256 -q"

# Nothing of an image is in the slot.
wipe()
{
	dd if=/dev/zero of=/dev/gpt/nanoB bs=1m 2>/dev/null
	sync
}

# timed NAME COMMAND...: seconds, and the memory of the largest process in kB.
timed()
{
	name=$1
	shift
	/usr/bin/time -l -o /var/tmp/time "$@" >/var/tmp/out 2>&1 || {
		cat /var/tmp/out
		return 1
	}
	awk -v name="$name" '
		$2 == "real" { print "@@figure", name, $1 }
		$2 == "maximum" { print "@@figure", name "-memory", $1 }' /var/tmp/time
}

# kB that were written to the OS drive since the start.
written()
{
	iostat -Idx ada0 | awk '$1 == "ada0" { print int($5) }'
}
