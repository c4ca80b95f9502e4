#!/bin/sh
#
# What is measured of imports; see import.rs and rows.sh.

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
