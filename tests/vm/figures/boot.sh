#!/bin/sh
#
# Functions of the guest that is measured, which is in single-user mode: / is read-only, and
# nothing else is mounted, as rc(8) finds it. See boot.rs.

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

# boot_round: a boot by nanozfs, then the same by the stock scripts.
boot_round()
{
	measure empty true
	measure rc-nothing sh /mnt/rc
	measure nanozfs-diskless sh /etc/rc.initdiskless
	measure nanozfs-rc sh /mnt/rc /etc/rc.d/nanozfs
	lastcomm -f /mnt/account -u -s -e
	imported 1
	[ -e /var/db/app/data ] && grep -q gate /etc/rc.conf || echo '@@wrong nanozfs: not there'
	undo
	mount -t nullfs -o ro /conf/stock /conf/base
	measure stock-diskless sh /etc/rc.initdiskless
	mkdir -p /etc/zfs
	cp /mnt/cache1 /etc/zfs/zpool.cache
	measure stock-rc sh /mnt/rc /etc/rc.d/zpool /mnt/mounts /etc/rc.d/var
	lastcomm -f /mnt/account -u -s -e
	imported 1
	[ -e /var/db/app/data ] && grep -q gate /etc/rc.conf || echo '@@wrong stock: not there'
	undo
}

# import_round SET COUNT CACHE: all pools, in three ways; and zpool(8) as it looks for them and has the
# kernel try each, but imports none.
import_round()
{
	measure "import-$1-nanozfs" nanozfs pools -v
	sed 's/^/    /' /mnt/out
	# What it asks once the pools are there, for the helpers that follow.
	awk -v set="$1" '
		/zpool import/ { after = 0; next }
		/: exit [0-9]+ after / { after += $(NF - 1) }
		END { print "@@row", "asked-" set, after, 0, 0, 0, 0, 0, 0 }' /mnt/out
	imported "$2"
	undo
	measure "import-$1-scan" zpool import -a -N -o cachefile=none
	imported "$2"
	undo
	measure "import-$1-cache" zpool import -c "$3" -a -N -o cachefile=none
	imported "$2"
	undo
	measure "import-$1-look" zpool import
	imported 0
}

# memory: a boot of nanozfs alone, looked at until it ends. time(1) counts zpool(8) and zfs(8), too.
memory()
{
	sh /etc/rc.initdiskless >/dev/null
	nanozfs boot >/mnt/out 2>&1 &
	pid=$!
	most=0
	while :; do
		kb=$(procstat -r "$pid" 2>/dev/null | awk '/maximum RSS/ { print $(NF - 1) }')
		# One that is about to end counts its children, too.
		case $(ps -o state= -p "$pid") in
		'' | Z* | *E*) break ;;
		esac
		[ "${kb:-0}" -le "$most" ] || most=$kb
	done
	wait "$pid"
	echo "@@row memory 0 0 0 $most $? 0 0"
	undo
}
