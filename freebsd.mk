# Building for FreeBSD. Included by Makefile; for any make.
#
#   make check-freebsd          on another system: type-check, lint and link for FreeBSD
#   make freebsd                on FreeBSD: the static executable, target/freebsd/nanozfs
#   make freebsd SYSROOT=DIR    the same elsewhere; DIR is the root of a FreeBSD system

.PHONY: check-freebsd freebsd

check-freebsd:
	.ci/check-freebsd

freebsd:
	SYSROOT='$(SYSROOT)' .ci/build-freebsd
