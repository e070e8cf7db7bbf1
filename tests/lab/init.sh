#!/bin/busybox sh
# First process of the lab's machine. Its root is the file system of the host, read only, below a layer in memory.
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev
argument() { $b sed -n "s/.*\b$1=\([^ ]*\).*/\1/p" /proc/cmdline; }

for module in /modules/*; do
    case $module in
        *mac80211_hwsim.ko) $b insmod "$module" radios="$(argument lab.radios)" ;;
        *) $b insmod "$module" ;;
    esac || echo "lab: cannot load $module"
done

$b mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro host /lower
$b mount -t tmpfs -o mode=0755 layer /upper
$b mkdir /upper/data /upper/work
$b mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work lab /root
for folder in tmp run var/tmp; do
    $b mkdir -p "/root/$folder"
    $b mount -t tmpfs -o mode=1777 layer "/root/$folder"
done
$b mkdir -p /root/run/lab/shared /root/run/netns
# What the host changes while the machine runs is seen through this folder alone.
$b mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=none,ro shared /root/run/lab/shared
$b cp -r /modules /root/run/lab/modules

cat >/root/etc/inittab <<END
::once:$(argument lab.python) $(argument lab.source)/tests/lab/guest.py
::ctrlaltdel:/usr/bin/busybox poweroff -f
END
for folder in proc sys dev; do $b mount --move "/$folder" "/root/$folder"; done
$b mkdir -p /root/dev/pts /root/dev/shm
$b ln -s /proc/self/fd /root/dev/fd
$b ln -s fd/0 /root/dev/stdin
$b mount -t devpts devpts /root/dev/pts
$b mount -t tmpfs -o mode=1777 layer /root/dev/shm
$b ip link set lo up
$b ip link set eth0 up
$b ip addr add 10.0.2.15/24 dev eth0
$b ip route add default via 10.0.2.2
echo lab >/root/proc/sys/kernel/hostname
exec $b switch_root /root /usr/bin/busybox init
