# The stories on a real FreeBSD. Included by Makefile; for any make.
#
#   make vmtest FREEBSD_ROOT=DIR    DIR is the root of a FreeBSD system with kernel and loader
#       STORY=name                  only stories with this in their names; several with commas
#       JOBS=n                      guests at the same time; as many as there are cores
#       SEED=n                      the random moments of an earlier run once more
#       CPUS=n                      processors of a guest; 1
#   make vmbench FREEBSD_ROOT=DIR   the figures of tests/vm/RESULTS.md, in one guest after another
#       FIGURES=kind                only these: boot, upgrade or operator
#   make freebsd-root RELEASE=14.3  gets such a root from FreeBSD's mirror

.PHONY: vmtest vmbench freebsd-root

vmtest:
	@CPUS='$(CPUS)' STORY='$(STORY)' JOBS='$(JOBS)' CARGO='$(CARGO)' tests/vm/run '$(FREEBSD_ROOT)'

vmbench:
	@FIGURES='$(FIGURES)'; CPUS='$(CPUS)' STORY=--figures$${FIGURES:+-$$FIGURES} CARGO='$(CARGO)' tests/vm/run '$(FREEBSD_ROOT)'

freebsd-root:
	@tests/vm/freebsd-root '$(RELEASE)'
