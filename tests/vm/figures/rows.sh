#!/bin/sh
#
# Functions of a guest that is measured in single-user mode: / is read-only, and nothing else is
# mounted, as rc(8) finds it. See rows.rs.

forks()
{
	sysctl -n vm.stats.vm.v_forks vm.stats.vm.v_vforks vm.stats.vm.v_rforks |
		awk '{ n += $1 } END { print n }'
}

# measure NAME COMMAND...: prints what it took: wall and CPU seconds, forks, kB, its exit status, and
# wall and CPU seconds of the longest zpool(8) in it. CPU by process accounting, of all processes
# that have ended.
measure()
{
	name=$1
	shift
	: >/mnt/account
	before=$(forks)
	accton /mnt/account
	/usr/bin/time -l -o /mnt/time "$@" >/mnt/out 2>&1
	status=$?
	accton
	after=$(forks)
	lastcomm -f /mnt/account -u -s -e | awk -v name="$name" -v forks=$((after - before)) \
		-v status=$status '
		FILENAME != "-" {
			if ($2 == "real") wall = $1
			if ($2 == "maximum") kb = $1
			next
		}
		$1 == "accton" { next }
		{
			for (i = 2; i <= NF; i++) {
				if ($i == "us") used = $(i - 1)
				if ($i == "sy") used += $(i - 1)
				if ($i == "es") long = $(i - 1)
			}
			cpu += used
			if ($1 == "zpool" && long >= longest) { longest = long; its = used }
		}
		END { print "@@row", name, wall, cpu, forks, kb, status, longest + 0, its + 0 }' \
		/mnt/time -
	[ $status = 0 ] || sed 's/^/	/' /mnt/out
}

# Everything is as it was before.
undo()
{
	mount -p | awk '$2 != "/" && $2 != "/dev" && $2 != "/mnt" { print $2 }' | tail -r |
		while read -r at; do
			umount "$at" || umount -f "$at"
		done
	for pool in $(zpool list -H -o name); do
		zpool export "$pool" || zpool export -f "$pool"
	done
	kenv -q -u nanozfs.state >/dev/null 2>&1
	sync
}

# imported COUNT: says so when it is another number of pools.
imported()
{
	count=$(zpool list -H -o name | wc -l)
	[ $((count)) = "$1" ] || echo "@@wrong $((count)) pools are imported, not $1"
}

# prepare: once, after the start.
prepare()
{
	mount -t tmpfs tmpfs /mnt
	sh /etc/rc.d/hostid faststart >/dev/null
	# What rc(8) does around its scripts.
	cat >/mnt/rc <<'END'
autoboot=yes
. /etc/rc.subr
load_rc_config
trap "_rc_conf_loaded=false; load_rc_config" ALRM
for script; do
	run_rc_script "$script" faststart
done
exit 0
END
	# What a shell way has to do between rc.d/zpool and rc.d/var.
	cat >/mnt/mounts <<'END'
zfs mount tank/nano/cfg
zfs mount tank/nano/var
zfs mount tank/nano/var/log
mount -t nullfs -o ro /conf/nanozfs/var/db/pkg /var/db/pkg
cp -Rp /cfg/ /etc/
END
	chmod 555 /mnt/mounts
}

# cache FILE POOL...: makes a cache file with these pools.
cache()
{
	file=$1
	shift
	for pool; do
		zpool import -f -N -o cachefile=/mnt/cache.new "$pool" || echo "@@wrong no $pool"
	done
	sync
	cp /mnt/cache.new "$file"
	undo
}
