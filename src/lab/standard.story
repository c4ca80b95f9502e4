# The common appliance: a NanoBSD-style drive with two slots and a recovery copy, a read-only
# root, /etc in memory, and three disks with a raidz pool that holds /cfg and /var.

os-drive ada0 serial=OS-1 layout=mbr label=nano
start root=ro by=label slot=1 etc=memory etc-size=5m

dir image /dev
dir image /cfg
dir image /var
dir image /sbin
dir image /usr/local
dir image /conf/default/etc
dir image /conf/nanozfs/recovery
file image /COPYRIGHT "An appliance.\n"
file image /etc/rc.conf "hostname=\"from-the-image\"\nsshd_enable=\"YES\"\n"
file image /etc/master.passwd "root:*:0:0::0:0:Charlie &:/root:/bin/sh\n" mode=0600
file image /etc/passwd "root:*:0:0:Charlie &:/root:/bin/sh\n"
file image /etc/pwd.db "pwd.db of the image\n"
file image /etc/spwd.db "spwd.db of the image\n" mode=0600
file image /etc/login.conf "default:\\\n\t:path=/sbin /bin:\n"
file image /etc/login.conf.db "login.conf.db of the image\n"
file image /etc/fstab "/dev/ufs/nanos1a / ufs ro 1 1\n"
file image /etc/hosts "127.0.0.1 localhost\n"
dir image /etc/ssh
file image /etc/diskless ""
file image /etc/local/app.conf "colour = grey\n"
link image /usr/local/etc /etc/local
dir image /conf/nanozfs/var/db/pkg
file image /conf/nanozfs/var/db/pkg/local.sqlite "packages of image 1\n"
dir image /conf/nanozfs/var/cron/tabs mode=0700
dir image /conf/nanozfs/var/empty mode=0555
dir image /conf/nanozfs/var/log
file image /conf/nanozfs/var/log/messages "" mode=0640
dir image /conf/nanozfs/var/run
dir image /conf/nanozfs/var/tmp mode=1777
config pools tank

file recovery /rc.conf "hostname=\"in-recovery\"\n"

disk ada1 serial=WD-1001 size=256m
disk ada2 serial=WD-1002 size=256m
disk ada3 serial=WD-1003 size=256m
pool tank guid=7301950118427365042 raidz1 ada1 ada2 ada3
dataset tank/nano canmount=off
dataset tank/nano/cfg mountpoint=/cfg canmount=noauto
dataset tank/nano/var mountpoint=/var canmount=noauto
dataset tank/nano/var/log mountpoint=/var/log canmount=noauto
dataset tank/nano/jails mountpoint=/jails canmount=noauto

file tank/nano/cfg /rc.conf "hostname=\"gate\"\nsshd_enable=\"YES\"\n"
file tank/nano/cfg /ssh/ssh_host_ed25519_key "the key of this machine\n" mode=0600
file tank/nano/cfg /local/app.conf "colour = green\n"
dir tank/nano/var /db/pkg
file tank/nano/var /db/app/data "a year of measurements\n"
dir tank/nano/var /cron/tabs mode=0700
dir tank/nano/var /empty mode=0555
dir tank/nano/var /log
dir tank/nano/var /run
dir tank/nano/var /tmp mode=1777
file tank/nano/var/log /messages "yesterday\n" mode=0640
