#!/bin/sh
#
# Functions of the guest in which an operator's commands are measured; what is measured is printed
# as "@@figure NAME NUMBER". See operator.rs.

# timed NAME COMMAND...: seconds, and those that the processor spent in the first program alone.
timed()
{
	name=$1
	shift
	program=$(basename "$1")
	: >/var/tmp/account
	accton /var/tmp/account
	/usr/bin/time -p -o /var/tmp/time "$@" >/var/tmp/out 2>&1
	status=$?
	accton
	awk -v name="$name" '$1 == "real" { print "@@figure", name, $2 }' /var/tmp/time
	lastcomm -f /var/tmp/account -u -s | awk -v name="$name" -v program="$program" '
		$1 == program {
			for (i = 2; i <= NF; i++)
				if ($i == "us" || $i == "sy") used += $(i - 1)
		}
		END { print "@@figure", name "-own", used + 0 }'
	[ $status = 0 ] || cat /var/tmp/out
	return $status
}

# 3,000 files of a configuration, laid over /etc and saved.
many()
{
	for directory in $(jot 60 0); do
		mkdir -p "/cfg/many/$directory"
		for number in $(jot 50 0); do
			echo "setting=$directory.$number" >"/cfg/many/$directory/$number"
		done
	done
	nanozfs cfg >/dev/null && nanozfs cfg save -m many >/dev/null
}

# As NanoBSD has saved for twenty years: every file of /cfg is compared with that of /etc by a
# process of its own, and copied when it differs.
save_cfg()
{
	( cd /cfg && find . -name .nanozfs -prune -o -type f -print | while read -r file; do
		cmp -s "/etc/$file" "$file" || cp -p "/etc/$file" "$file" || exit 1
	done )
}
