# The stories on a real FreeBSD. Included by Makefile; for any make.
#
#   make vmtest FREEBSD_ROOT=DIR    DIR is the root of a FreeBSD system with kernel and loader
#       STORY=name                  only stories with this in their names; several with commas
#       JOBS=n                      guests at the same time; as many as there are cores
#       SEED=n                      the random moments of an earlier run once more
#       CPUS=n                      processors of a guest; 1
#       KEEP=yes                    the machines of the stories stay, below target/vm
#   make vmbench FREEBSD_ROOT=DIR   the figures of tests/vm/RESULTS.md, in one guest after another
#       FIGURES=kind                only these: boot, import, operator or upgrade
#   make freebsd-root RELEASE=14.3  gets such a root from FreeBSD's mirror
#       MIRROR=URL                  from there: http://ftp-archive.freebsd.org/... for old releases
#       DESTDIR=DIR                 to there

.PHONY: vmtest vmbench freebsd-root

vmtest:
	@CPUS='$(CPUS)' STORY='$(STORY)' JOBS='$(JOBS)' SEED='$(SEED)' KEEP='$(KEEP)' CARGO='$(CARGO)' tests/vm/run '$(FREEBSD_ROOT)'

vmbench:
	@FIGURES='$(FIGURES)'; CPUS='$(CPUS)' STORY=--figures$${FIGURES:+-$$FIGURES} CARGO='$(CARGO)' tests/vm/run '$(FREEBSD_ROOT)'

freebsd-root:
	@MIRROR='$(MIRROR)' DESTDIR='$(DESTDIR)' tests/vm/freebsd-root '$(RELEASE)'
