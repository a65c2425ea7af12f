#!/bin/sh
# Checks whether this machine can run the lab, before Python is installed. Prints one sentence for each missing
# prerequisite. Changes nothing. tools/prerequisites.py prints the same sentences when setup runs; this script reads the
# figures from it.
set -eu

cache=$1 home=$2 python=$3 # the interpreter may be empty
proc=${4:-/proc} lab=${5:-/run/govcloud/lab.json}
tools=$(dirname -- "$0")
gib=1048576 # in KiB

figure() { sed -n "s/^$1 = \([0-9]*\)\$/\1/p" "$tools/prerequisites.py"; }

first_number() { sed -n "s/^ *\"*$1\"*: *\([0-9]*\).*/\1/p" "$2" 2>/dev/null || true; }

in_gib() { echo "$(($1 / gib)).$(($1 % gib * 10 / gib)) GiB"; }

existing() { # the nearest existing folder: the path itself or a parent
    place=$1
    while [ ! -e "$place" ]; do place=$(dirname -- "$place"); done
    echo "$place"
}

missing_in_kernel_config() { # features that the running kernel was built without; empty if its configuration is hidden
    built=$(zcat "$proc/config.gz" 2>/dev/null || cat "/boot/config-$(uname -r)" 2>/dev/null) || return 0
    while read -r option feature; do
        echo "$built" | grep -q "^CONFIG_$option=[ym]" || echo "$feature"
    done <<TEXT
NAMESPACES namespaces
NET_NS network namespaces
PID_NS process namespaces
CGROUPS control groups
VETH virtual Ethernet pairs (veth)
BRIDGE bridges (bridge)
NF_TABLES packet filter (nf_tables)
TUN virtual network cards (tun/tap)
BLK_DEV_LOOP loop devices (loop)
OVERLAY_FS overlay file system (overlay)
TEXT
}

if [ "$(id -u)" != 0 ]; then
    echo "Root is needed: the lab makes machines, mounts and networks. Run it with sudo."
    exit
fi

command -v apt-get >/dev/null || echo "apt-get is needed: machines are made of Debian packages, and this system has none."

needed=$(figure MEMORY_GIB) available=$(first_number MemAvailable "$proc/meminfo") before=$(first_number available_before_mib "$lab")
available=${available:-0}
[ $((${before:-0} * 1024)) -le "$available" ] || available=$((before * 1024)) # the memory of a running lab counts as available
[ "$available" -ge $((needed * gib)) ] ||
    echo "$needed GiB of available memory are needed, $(in_gib "$available") are there."

needed=$(figure DISK_GIB) # for a first setup; later setups need less
for base in "$cache"/image/base-*; do [ ! -d "$base" ] || needed=$(figure DISK_READY_GIB); done
least=
for place in "$(existing "$cache")" "$(existing "$home")"; do
    free=$(df -k --output=avail -- "$place" | tail -n 1)
    [ -n "$least" ] && [ "$least" -le "$free" ] || { least=$((free)) where=$place; }
done
[ "$least" -ge $((needed * gib)) ] ||
    echo "$needed GiB of free disk are needed, $(in_gib "$least") are there at $where; GOVCLOUD_CACHE and GOVCLOUD_HOME can name another place."

if [ -n "$python" ]; then
    "$python" -I "$tools/kernel_features.py" 2>/dev/null || echo namespaces
else
    missing_in_kernel_config
fi | while read -r feature; do
    echo "The kernel lacks $feature: load its module or use a kernel that has it."
done
