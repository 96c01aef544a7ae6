#!/bin/sh
# Gives every image that the composition starts from: one that is here or can be pulled is taken, else a
# stand-in is made under the official name (needs debootstrap, root, Debian's packages and PyPI).
#
#     stand_ins.sh python=python:3.11.14-slim-bookworm redis=redis:7.2.11-bookworm ...
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

debian() { # a small Debian, with the certificate authorities that this machine trusts
    docker image inspect cocu-stand-in-debian > /dev/null 2>&1 && return
    debootstrap --variant=minbase --include=ca-certificates bookworm "$work/root" > "$work/log" 2>&1 \
        || { cat "$work/log" >&2; exit 1; }
    if [ -d /usr/local/share/ca-certificates ]; then
        cp -R /usr/local/share/ca-certificates/. "$work/root/usr/local/share/ca-certificates/"
        chroot "$work/root" update-ca-certificates > /dev/null 2>&1
    fi
    for folder in var/cache/apt var/lib/apt/lists usr/share/doc usr/share/man usr/share/locale var/log; do
        find "$work/root/$folder" -type f -delete
    done
    echo 'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb"; };' > "$work/root/etc/apt/apt.conf.d/docker-clean"
    tar -C "$work/root" -c . | docker import \
        --change 'ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt' --change 'LABEL cocu.stand-in=true' \
        - cocu-stand-in-debian > /dev/null
    rm -rf "$work/root"
}

for wanted in "$@"; do
    part=${wanted%%=*} image=${wanted#*=}
    docker image inspect "$image" > /dev/null 2>&1 && continue
    timeout 600 docker pull --quiet "$image" 2> /dev/null && continue
    echo "$image cannot be pulled; a stand-in takes its place"
    debian
    cp "$here"/stand-ins/* "$here/../../requirements/triton.txt" "$work/"
    docker build --quiet --network host --target "$part" --tag "$image" "$work" > /dev/null
done
