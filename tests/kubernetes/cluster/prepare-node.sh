#!/bin/sh
# Runs once inside the node's new namespaces, as its first program. What it changes is seen there only: the machine's
# own /etc, /var, /run, sysctls and interfaces stay as they are.
# Environment: NODE_DIRECTORY, NODE_NAME, NODE_ADDRESS, MACHINE_ADDRESS.
set -eu

mount --make-rshared /
mount -t tmpfs -o mode=755 tmpfs /run

# Programs may write to /etc and /var; what they write lies in the cluster's directory. It is thrown away with it, so
# that unmounting need not wait until the disk has it, and all else that the machine has written meanwhile.
for name in etc var; do
    layer="$NODE_DIRECTORY/overlay/$name"
    mkdir -p "$layer/upper" "$layer/work"
    mount -t overlay -o "volatile,lowerdir=/$name,upperdir=$layer/upper,workdir=$layer/work" overlay "/$name"
done

# Images are overlays themselves, and an overlay cannot lie upon another. The usual paths are kept because a socket's
# path has at most 107 characters, and the cluster's directory may be a long one.
for name in lib/containerd lib/kubelet lib/etcd log/pods local-volumes; do
    mkdir -p "$NODE_DIRECTORY/var/$name" "/var/$name"
    mount --bind "$NODE_DIRECTORY/var/$name" "/var/$name"
done

# The kubelet insists on these settings of the whole machine. It is given files that look like them.
for name in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys \
    kernel/keys/root_maxbytes; do
    stand_in="$NODE_DIRECTORY/sysctl/$name"
    mkdir -p "$(dirname "$stand_in")"
    cat "/proc/sys/$name" >"$stand_in"
    mount --bind "$stand_in" "/proc/sys/$name"
done

hostname "$NODE_NAME"
: >/etc/resolv.conf
printf '127.0.0.1 localhost\n::1 localhost\n%s %s\n' "$NODE_ADDRESS" "$NODE_NAME" >/etc/hosts
[ -s /etc/machine-id ] || tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id

ip link set lo up
ip address add "$NODE_ADDRESS/30" dev eth0
ip link set eth0 up
ip route add default via "$MACHINE_ADDRESS"
echo 1 >/proc/sys/net/ipv4/ip_forward
# Answers between two pods of one bridge must pass the translation that a Service's address needs.
if [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then
    echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
fi
