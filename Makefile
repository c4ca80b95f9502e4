# nanozfs. For make(1) of FreeBSD and of GNU.
#
#	make			the release build for this system
#	make demo		boots a model appliance through its stories (STORY=name, STORY=shell)
#	make test		every test
#	make lint		formatting, clippy, shell scripts, manual pages
#	make bench		figures, each against something else in the same run
#	make check-freebsd	type-check, clippy and link for FreeBSD, from Linux
#	make freebsd		the static executable: on FreeBSD, or elsewhere with SYSROOT=
#	make install DESTDIR=	into an image

CARGO?=		cargo
STORY?=		all
DESTDIR?=
PREFIX?=
SBINDIR?=	$(PREFIX)/sbin
LIBEXECDIR?=	$(PREFIX)/libexec/nanozfs
MANDIR?=	/usr/share/man
EXECUTABLE?=	target/freebsd/nanozfs
HELPERS=	osdrive pools cfg var etclocal

all: build

build:
	$(CARGO) build --locked --release

demo:
	@$(CARGO) build --quiet --locked --profile lab --features lab --bin nanozfs-lab
	@case "$(STORY)" in \
	shell) exec target/lab/nanozfs-lab shell ;; \
	*) exec target/lab/nanozfs-lab demo "$(STORY)" ;; \
	esac

test:
	$(CARGO) test --locked --features lab --profile lab

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets --features lab -- -D warnings
	$(CARGO) clippy --locked --no-default-features -- -D warnings
	.ci/lint-scripts

bench:
	$(CARGO) bench --locked --features lab

# An image gets the executable, a link for each helper, the rc.d scripts, the configuration (one
# that is there stays) and the manual pages. A NanoBSD world whose /etc was put below /conf already
# gets them there too, because that is what a machine will see.
install:
	install -d "$(DESTDIR)$(SBINDIR)" "$(DESTDIR)$(LIBEXECDIR)"
	install -m 555 "$(EXECUTABLE)" "$(DESTDIR)$(SBINDIR)/nanozfs"
	for helper in $(HELPERS); do \
		ln -f "$(DESTDIR)$(SBINDIR)/nanozfs" "$(DESTDIR)$(LIBEXECDIR)/$$helper" || exit 1; \
	done
	for etc in "$(DESTDIR)/etc" "$(DESTDIR)/conf/base/etc"; do \
		[ "$$etc" = "$(DESTDIR)/etc" ] || [ -d "$$etc" ] || continue; \
		install -d "$$etc/rc.d" "$$etc/rc.conf.d" && \
		install -m 555 rc.d/nanozfs rc.d/nanozfs_settle "$$etc/rc.d" && \
		install -m 644 overlay/etc/rc.conf.d/gptboot "$$etc/rc.conf.d" && \
		{ [ -f "$$etc/nanozfs.conf" ] || \
		install -m 644 overlay/etc/nanozfs.conf "$$etc/nanozfs.conf"; } || exit 1; \
	done
	for page in nanozfs.8 nanozfs.conf.5 nanozfs-layout.7; do \
		section=$${page##*.}; \
		install -d "$(DESTDIR)$(MANDIR)/man$$section" && \
		install -m 444 man/$$page "$(DESTDIR)$(MANDIR)/man$$section/$$page" || exit 1; \
	done

clean:
	$(CARGO) clean

.PHONY: all build demo test lint bench check-freebsd freebsd install clean

include freebsd.mk
include vm.mk
