#!/bin/sh
#
# What is measured of a boot; see boot.rs and rows.sh.

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
