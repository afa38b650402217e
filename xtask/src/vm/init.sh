#!/bin/busybox sh
# The first program in the VM: makes the machine usable, runs every test executable, switches off. What it says itself
# is marked for xtask, see report.rs.
say() { echo "voxlane-vm: $*"; }

/bin/busybox --install -s /bin
# The real ip, tc and ethtool are in /usr/sbin, busybox's in /bin.
export PATH=/usr/sbin:/bin HOME=/tmp CI=true VOXLANE_VM=1

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up

say "up $(uname -r)"
while read -r module; do
    insmod "/modules/$module" || say "module $module cannot be loaded"
done </modules/order

set --
while IFS= read -r argument; do
    set -- "$@" "$argument"
done </tests/arguments
for test in /tests/kernel_*; do
    say "run ${test##*/}"
    "$test" "$@"
    say "end $?"
done
say off
poweroff -f
