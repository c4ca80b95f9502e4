#!/bin/sh
# Fills the corpora of the fuzz targets from the fixtures of the tests:
#   fuzz/seed-corpus.sh && cargo +nightly fuzz run geom
set -eu

cd "$(dirname "$0")"
fixtures=../tests/fixtures

for target in geom zfs_label nvlist zpool_output zfs_output conf ufs manifest tar boot0 journal boots; do
	mkdir -p "corpus/$target"
done

for release in 13.2 15.1; do
	from=$fixtures/freebsd-$release

	for file in "$from"/*/*-confxml.out; do
		cp "$file" "corpus/geom/$release-$(basename "$file")"
	done

	# The nvlist starts 16 KiB into the label; 4 KiB hold all of it that is not zero.
	for file in "$from"/pools/label0-*.bin.gz; do
		name=$release-$(basename "$file" .bin.gz)
		gzip -dc "$file" | dd bs=1024 skip=16 count=4 of="corpus/nvlist/$name" 2>/dev/null
		cp "corpus/nvlist/$name" "corpus/zfs_label/$name"
	done

	# The recordings have other columns than the suite asks for.
	awk -F '\t' -v OFS='\t' '{ print $1, $2, $3, $6 }' "$from/pools/zpool-list.out" \
		>"corpus/zpool_output/$release-list"
	awk -F '\t' -v OFS='\t' '$2 == "filesystem" { print $1, $4, $3, $5, "off", "-", "-", "-" }' \
		"$from/pools/zfs-list.out" >"corpus/zfs_output/$release-list"
	cp "$from/pools/zfs-get.out" "corpus/zfs_output/$release-get"
	cp "$from/pools/zfs-get-user.out" "corpus/zfs_output/$release-get-user"
done

# Small ones: mutations reach further in them than in a recording of 40 KB.
cat >corpus/geom/small <<'END'
<mesh><class id="0x1"><name>DISK</name><geom id="0x2"><name>d</name><config></config>
<provider id="0x3"><mode>r1w1e1</mode><name>d</name><alias>e</alias><mediasize>99</mediasize>
<sectorsize>512</sectorsize><config><ident>I</ident><descr>D</descr></config></provider></geom></class>
<class id="0x4"><name>PART</name><geom id="0x5"><name>d</name><config><scheme>GPT</scheme>
<state>OK</state></config><consumer id="0x6"><provider ref="0x3"/></consumer>
<provider id="0x7"><mode>r0w0e0</mode><name>dp1</name><mediasize>9</mediasize>
<sectorsize>512</sectorsize><config><index>1</index><type>efi</type><offset>8</offset>
<length>9</length><label>&#xC3;&#xA9;</label><attrib>bootme</attrib></config></provider></geom></class>
<class id="0x8"><name>LABEL</name><geom id="0x9"><name>dp1</name>
<consumer id="0xa"><provider ref="0x7"/></consumer><provider id="0xb"><mode>r0w0e0</mode>
<name>gpt/%20</name><mediasize>9</mediasize><config><offset>0</offset></config></provider></geom></class>
<class id="0xc"><name>ELI</name><geom id="0xd"><name>x</name><wither/>
<consumer id="0xe"><provider ref="0xb"/></consumer></geom></class></mesh>
END

cat >corpus/zpool_output/words <<'END'
a b	1	DEGRADED	on
c	18446744073709551615	FAULTED	-
END
cat >corpus/zfs_output/words <<'END'
t/a b	noauto	legacy	-	aes-256-gcm	unavailable	v=1	1234 5678
END
cat >corpus/zfs_output/sources <<'END'
t/a	x:y	-	-
t/a	x:y	v	inherited from t
t/a@s	x:y	v	received
END
cat >corpus/conf/example <<'END'
# comment
pools="tank data*"	# and another

wait='60'
mode=recovery
bad line
export a=b
c="$(date)"
END

# A superblock with a name, as src/format/ufs.rs lays it out.
{
	head -c 680 /dev/zero
	printf 'nanos1a'
	head -c 685 /dev/zero
	printf '\031\001\124\031'
} >corpus/ufs/named

# What tar programs write, and a release with its signature.
for file in "$fixtures"/release/tar/*.gz; do
	gzip -dc "$file" >"corpus/tar/$(basename "$file" .gz)"
done
tar --format=ustar -C "$fixtures/release" -cf corpus/tar/release manifest manifest.minisig image
cp "$fixtures/release/manifest" corpus/manifest/release
printf '1.0-rc1\n1.0\n1.0-p2\n' >corpus/manifest/versions
cat >corpus/manifest/others <<'END'
format=1
name=a
version=0
compat=b
layout=mbr
size=512
sha256=0000000000000000000000000000000000000000000000000000000000000000
image=c.xz
min_version=1
x_any=thing at all
END

cat >corpus/journal/full <<'END'
v=1;installed slot=B complete=yes drive=OS-1 name=gate version=2.1 digest=ab;past id=a end=failed from=A to=B restore= name=gate version=2 digest=cd why=not%20started;switch id=b phase=trial from=A to=B drive=OS-1 why= restore=a name= version= digest=
END

# A record of two boots, as src/format/boots.rs writes it, and the sector that it is in.
{
	printf 'nanozfs=boots\nversion=1\nunfinished=1\nboot=1700000000 n 42\nboot=1700086400 -\n'
	printf 'sum=cf473477\n'
	head -c 423 /dev/zero
} >corpus/boots/record
