#!/bin/sh
# Takes out of a Debian root what a running platform has no use for: installers, perl, tools for disks and
# accounts. dpkg does it, so that its list of what is there stays true for scanners.
set -eu
python3 -m pip uninstall --quiet --yes --break-system-packages --root-user-action ignore pip setuptools wheel 2>/dev/null || true
find / -xdev -depth \( -name ensurepip -o -name idlelib -o -name lib2to3 -o -name __pycache__ \) -type d \
    -exec rm -rf {} +
dpkg --purge --force-all \
    adduser apt bsdutils debconf e2fsprogs gpgv libapt-pkg6.0 login logsave mount passwd perl-base \
    2>/dev/null
rm -rf /usr/share/doc /usr/share/man /usr/share/info /usr/share/locale \
    /var/cache/apt /var/lib/apt /var/cache/debconf /var/log/* /tmp/* /root/.cache
# Tables of glibc's iconv; Python has its own.
rm -rf /usr/lib/*/gconv
