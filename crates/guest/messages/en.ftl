# Sentences of the report. Ids are named in src/rules; a test compares them with de.ftl.
# Style: lower-case start, no full stop after a single sentence, literals in backticks.

verdict-accepted = accepted
verdict-accepted-with-warnings = accepted with warnings
verdict-refused = refused

step-firmware = firmware started
step-boot-loader = boot loader started
step-kernel = kernel started
step-init = init reached
step-cloud-init = cloud-init started
step-login = login on the serial console
step-cloud-init-finished = cloud-init finished
step-sshd = SSH server answered
step-no-bootable-device = the firmware found nothing to start
step-boot-loader-stopped = the boot loader waits for input
step-kernel-panic = the kernel gave up
step-initramfs-shell = the initramfs waits for input
step-emergency-mode = the system is in emergency mode

end-complete = everything was seen that there is to see
end-trouble = the boot came to a stop
end-powered-off = the machine switched itself off
end-time-limit = the time was over

proven-by-sshd = not in the way: the SSH server answered when the image was booted
proven-by-init = not in the way: the system came up when the image was booted

not-checked-no-image = not checked, because the image could not be opened
not-checked-no-root = not checked, because the files of the root filesystem could not be read
not-checked-hidden = not checked, because the files under `{ $path }` lie on another filesystem that cannot be read
not-checked-no-system = not checked, because no operating system was found

remedy-install = install the package
remedy-install-generic = install the package with the distribution's package manager
remedy-enable = have it started on boot

operating-system-title = operating system
operating-system-found = { $name }, { $architecture }
operating-system-found-plain = { $name }
operating-system-none = no filesystem with an operating system was found
operating-system-windows = the disk holds Windows; only Linux and BSD systems are supported
operating-system-dos = the disk holds DOS; only Linux and BSD systems are supported
operating-system-installer = the disk is an installation medium or a live system (ISO 9660) and not an installed system
operating-system-empty = the disk is empty: it has no partitions, or nothing is in them
operating-system-unnamed = the root filesystem does not say which system it holds: `/etc/os-release` is missing
operating-system-why = a machine starts from this disk, so a complete Linux or BSD system must be on it
operating-system-explain =
    the filesystems of all partitions are searched for `/etc/os-release`,
    `/usr/lib/os-release`, `/sbin/init`, `/etc/fstab` and the like, and the one with most of them is the root; its
    os-release, or the older files that name a distribution, say which system it is, and the ELF header of its init
    says for which processor; Windows, installers and disks with data only are told by name
operating-system-remedy-supported = install a Linux or BSD system, or take a distribution's cloud image
operating-system-remedy-install = install from it into a virtual machine and upload that machine's disk, or take the distribution's cloud image
operating-system-remedy-export = see whether the right disk was exported, and upload the one that the system boots from
operating-system-remedy = see what is on the disk and upload the one that the system boots from

image-format-title = image format
image-format-plain = { $format }
image-format-compressed = { $format }, compressed with { $layers }
image-format-refused = { $code ->
    [backing-file] the image is only a difference to a backing file, which is never opened
    [data-file] the image keeps its data in an external file, which is never opened
    [encrypted] the image is encrypted
    [empty-file] the file is empty
    [bare-filesystem] the file is a filesystem without a partition table
    [no-partition-table] no supported image format and no partition table was recognised
    [marked-corrupt] the image is marked as corrupt
    [truncated] the file is cut off: { $detail }
   *[other] { $kind ->
        [io] the file could not be read: { $detail }
        [corrupt] the image is damaged: { $detail }
       *[other] { $detail }
    }
}
image-format-why = only raw, qcow2, VHDX, VDI and VMDK images, plain or compressed, that stand on their own can be read safely
image-format-explain =
    the format is told by content and never by the file's name, compression and tar archives are looked through,
    and every table that maps the disk is verified; what is named inside an image, such as a backing file, is never
    opened, and an image that depends on it is refused
image-format-remedy-flatten = where its other files are, make one image of all of them
image-format-remedy-repair = have the image repaired, then check it again
image-format-remedy-hint = { $hint }

virtual-size-title = disk size
virtual-size-within = { $size }, limit { $limit }
virtual-size-above = { $size }, more than the limit of { $limit }
virtual-size-refused = more than the limit of { $limit }: { $detail }
virtual-size-why = the disk of every machine made from the image has to be at least this large
virtual-size-explain =
    the size of the disk as a machine sees it, from the header of the image, is compared with the operator's
    limit; how much of it the file takes up does not matter
virtual-size-remedy = copy the system to a smaller disk

root-filesystem-title = root filesystem
root-filesystem-place = { $where ->
    [volume] in LVM volume { $volume } of group { $group }
    [disk] on the whole disk
   *[other] on partition { $partition }
}
root-filesystem-good = { $kind } { root-filesystem-place }
root-filesystem-ext2 = ext2 { root-filesystem-place } has no journal; ext3 or ext4 is required
root-filesystem-other = { $class ->
    [lvm] the system lies { root-filesystem-place }, and this LVM cannot be read; ext3 or ext4 on a partition or in a linear or striped volume is required
    [encrypted] partition { $partition } is encrypted ({ $kind }); ext3 or ext4 is required
    [raid] partition { $partition } belongs to a RAID array; ext3 or ext4 directly on a partition is required
   *[filesystem] { $kind } { root-filesystem-place }; ext3 or ext4 is required
}
root-filesystem-none = no partition holds a known filesystem
root-filesystem-truncated = { $kind } { root-filesystem-place } is larger than its partition: { $detail }
root-filesystem-dirty = { $kind } { root-filesystem-place } was not unmounted cleanly and needs its journal replayed
root-filesystem-unsupported = { $kind } { root-filesystem-place } uses a feature that cannot be read: { $detail }
root-filesystem-corrupt = { $kind } { root-filesystem-place } is damaged: { $detail }
root-filesystem-why = the first boot enlarges the root filesystem to the machine's disk, which is supported for ext3 and ext4
root-filesystem-explain =
    the superblock of the root filesystem says what it is; it must be ext3 or ext4, fit into its
    partition, have been unmounted cleanly, and its files must be readable
root-filesystem-remedy-journal = add a journal, which makes it ext3
root-filesystem-remedy-rebuild = install the system anew with ext4, or copy its files to a new image and install the boot loader there
root-filesystem-remedy-check = have the filesystem checked and repaired
root-filesystem-remedy-truncated = see whether the file is complete, and transfer or export it again

cloud-init-title = cloud-init
cloud-init-good = version { $version }, runs on boot
cloud-init-missing = neither cloud-init nor another program that does its work is installed
cloud-init-other = { $agent } is installed, but not cloud-init
cloud-init-agent = { $version ->
    [none] { $agent }, runs on the first boot
   *[other] { $agent } { $version }, runs on the first boot
}
cloud-init-agent-disabled = { $agent } is installed but does not run on the first boot
cloud-init-agent-unclear = { $agent } is installed, but whether it runs on the first boot could not be told
cloud-init-old = version { $version } is too old; { $minimum } or later is required
cloud-init-disabled = cloud-init is installed but does not run on boot
cloud-init-no-version = cloud-init is installed, but its version was not found; { $minimum } or later is required
cloud-init-unclear = cloud-init is installed, but whether it runs on boot could not be told
cloud-init-proven = came to its end when the image was booted
cloud-init-not-run = did not run in the { $seconds } seconds for which the image was booted
cloud-init-unfinished = began when the image was booted, but did not come to its end in { $seconds } seconds
cloud-init-why = cloud-init gives a new machine its name, its network and its SSH keys
cloud-init-explain =
    the program or its Python package is looked for, its version taken from `version.py` or the package
    database, and whether it runs on boot from what decides it there: the kernel command line,
    `/etc/cloud/cloud-init.disabled`, `ds-identify.cfg`, and the units, runlevels or `rc.conf` that start it;
    Ignition, coreos-cloudinit, bsd-cloudinit and cloudbase-init do as well
cloud-init-remedy-file = remove the file that switches it off
cloud-init-remedy-look = see what it says of itself
cloud-init-remedy-policy = remove the policy that switches it off
cloud-init-remedy-first-boot = make the next boot count as the first
cloud-init-remedy-command-line = remove the switch from the kernel command line

datasource-order-title = data sources
datasource-order-good = ConfigDrive is asked in time: { $order }
datasource-order-no-cloud-first = NoCloud is asked before ConfigDrive: { $order }
datasource-order-no-config-drive = ConfigDrive is not asked: { $order }
datasource-order-built-in = no order is set, and cloud-init's own asks NoCloud before ConfigDrive
datasource-order-no-cloud-init = not checked, because cloud-init is not installed
datasource-order-agent = { $source ->
    [none] { $agent } reads the config drive
   *[other] { $agent } reads the config drive (`{ $source }`)
}
datasource-order-agent-elsewhere = { $source ->
    [none] { $agent } is not set up to read a config drive
   *[other] { $agent } looks for its data elsewhere (`{ $source }`) and will not find a config drive
}
datasource-order-agent-unclear = where { $agent } looks for its data could not be told
datasource-order-proven = the data came from ConfigDrive when the image was booted
datasource-order-other = the data did not come from ConfigDrive when the image was booted, but from { $source }
datasource-order-why = a machine's data come on a ConfigDrive; a NoCloud source that is asked first can hide them
datasource-order-explain =
    `/etc/cloud/cloud.cfg` and the files of `/etc/cloud/cloud.cfg.d` are read in the order in which
    cloud-init merges them, and `ds-identify.cfg` with them; in the `datasource_list` that takes effect ConfigDrive must
    stand, and NoCloud not before it; another program in the place of cloud-init must read a config drive
datasource-order-remedy = put ConfigDrive first
datasource-order-remedy-platform = set the platform to `openstack`, which reads the config drive
datasource-order-remedy-services = put the service for config drives first among the metadata services
datasource-order-remedy-command-line = remove the data source from the kernel command line
datasource-order-remedy-identify = remove the line that admits one data source only

sshd-title = SSH server
sshd-good = { $server }, starts on boot
sshd-missing = no SSH server is installed
sshd-disabled = { $server } is installed but does not start on boot
sshd-unclear = { $server } is installed, but whether it starts on boot could not be told
sshd-proven = answered on port 22, { $seconds } seconds after the image was booted
sshd-silent = nothing answered on port 22 in the { $seconds } seconds for which the image was booted
sshd-why = without a running SSH server only the console leads into a machine
sshd-explain =
    the programs of OpenSSH and dropbear are looked for, and then what starts them on boot: links of systemd
    units and sockets, OpenRC runlevels, SysV links or `rc.conf`; masks and `/etc/ssh/sshd_not_to_be_run` count
sshd-remedy-file = remove the file that switches it off
sshd-remedy-look = see whether it runs, and on which port

support-end-title = end of support
support-end-passed = { $name } has not been maintained since { $date }
support-end-why = a system without security updates is taken over sooner or later once it can be reached
support-end-explain =
    `SUPPORT_END` in `os-release` is compared with today's date; systems that do not state one are not judged
support-end-remedy = take the image of a newer release

several-systems-title = further systems
several-systems-found = machines start { $boots }{ $reason ->
    [boot-entry] , which the boot loader's default entry names
    [flag] , whose partition is marked for booting
    [type] , whose partition has the type of a root
    [files] , which looks most complete
    [size] , which is the largest
    [order] , which comes first
   *[only] {""}
}; the disk also holds { $others }
several-systems-why = another system on the disk takes its space in every machine, and a changed boot menu would start it
several-systems-explain =
    all filesystems and LVM volumes are searched for systems, and Windows shows itself by its partitions; of several
    the one counts that the boot loader's default entry has as `root=`, else the one on the partition marked for
    booting, on a partition with a root's type, or with most of a system's files
several-systems-remedy = look at what is on the disk, and leave the other systems out of the image

architecture-title = processor
architecture-other = the programs are for { $architecture } processors
architecture-why = machines have x86-64 processors and cannot run programs for others
architecture-explain =
    the ELF header of the program that init is says for which processor the system was built; a machine here runs
    x86-64, and 32-bit x86 with it
architecture-remedy = take the distribution's image for x86-64 (also called amd64)

boot-loader-title = boot loader
boot-loader-none = neither a BIOS nor UEFI firmware finds a boot loader on the disk
boot-loader-no-fallback = UEFI firmware does not find `{ $program }`, because nothing lies under the fallback name `EFI/BOOT/BOOTX64.EFI`
boot-loader-proven = started when the image was booted
boot-loader-not-found = the firmware found nothing to start when the image was booted
boot-loader-stopped = the boot loader stopped and waited for input when the image was booted
boot-loader-why = a new machine's firmware remembers no boot entry, so it starts what lies where firmware looks by itself
boot-loader-explain =
    for a BIOS, boot code in the first sector, and with a GPT a BIOS boot partition or a partition marked bootable;
    for UEFI, the program under the fallback name `EFI/BOOT/BOOTX64.EFI` in an EFI system partition; one of both
    must be there
boot-loader-remedy-install = install a boot loader for BIOS
boot-loader-remedy-fallback = copy the boot loader to the fallback name

kernel-title = kernel
kernel-absent = the boot menu starts `{ $path }`, which does not exist
kernel-initrd-absent = the boot menu loads `{ $path }`, which does not exist
kernel-none = there is no kernel in `/boot`
kernel-proven = started when the image was booted
kernel-panicked = the kernel gave up when the image was booted
kernel-not-seen = no kernel showed itself in the { $seconds } seconds for which the image was booted; the screenshot shows how far it came
kernel-powered-off = the machine switched itself off { $seconds } seconds after the image was booted, and no kernel had shown itself
kernel-why = without its kernel and initrd the boot loader cannot start the system
kernel-explain =
    the boot menu is read as the boot loader reads it, and the kernel and every initrd of the entry that starts by
    itself must exist; without a boot menu there must be a kernel in `/boot` or a program for UEFI
kernel-remedy = write the initrd and the boot menu anew

virtio-drivers-title = virtio drivers
virtio-drivers-missing = kernel { $kernel } has no { $drivers }
virtio-drivers-why = a machine's disk and network card are virtio devices; without drivers it finds neither
virtio-drivers-explain =
    virtio_pci, virtio_blk and virtio_net must be built into the kernel that starts (`modules.builtin`) or lie among
    its modules under `/lib/modules`
virtio-drivers-remedy = install a kernel of the distribution that has the drivers

initrd-drivers-title = initrd
initrd-drivers-one-machine = the initrd holds only the drivers of the machine that made it, which may not be those of a virtio disk
initrd-drivers-why = without a driver for the disk in the initrd the system does not find its root filesystem
initrd-drivers-explain =
    the initrd itself is not opened; the configuration of the program that makes it, initramfs-tools or dracut, says
    whether it takes the drivers of any machine or only those of the one it runs on
initrd-drivers-remedy = have the initrd hold the driver, and write it anew

root-device-title = root device
root-device-absent = the kernel is told `root={ $root }`, which is not in the image
root-device-other-name = the kernel is told `root={ $root }`, but the disk of a machine is called `/dev/vda`
root-device-not-mounted = the initramfs did not find the root filesystem when the image was booted
root-device-why = a system that does not find its root filesystem stops before it can be reached
root-device-explain =
    `root=` on the kernel command line of the entry that starts by itself is compared with UUID, label and partition
    of every filesystem in the image; a device name must be one that a virtio disk has, such as `/dev/vda1`
root-device-remedy = have the boot menu name the root filesystem by its UUID
root-device-remedy-initrd = see in the serial log what it waited for

serial-console-title = serial console
serial-console-none = the kernel does not use the serial console
serial-console-proven = the kernel used it when the image was booted
serial-console-login = the kernel used it when the image was booted, and a login waited there
serial-console-silent = the system came up when the image was booted, and its kernel printed nothing there
serial-console-why = the recovery console shows what a machine writes to its serial port, from the kernel to the login
serial-console-explain =
    the kernel command line of the entry that starts by itself must have a `console=` with a serial port, such as
    `console=ttyS0,115200`
serial-console-remedy = have the kernel use it

fstab-title = mounts
fstab-absent = `/etc/fstab` mounts `{ $device }` on `{ $place }`, which is not in the image{ $count ->
    [1] {""}
   *[other] , and { $count } such lines in all
}
fstab-other-name = `/etc/fstab` mounts `{ $device }` on `{ $place }`, but the disk of a machine is called `/dev/vda`{ $count ->
    [1] {""}
   *[other] ; there are { $count } such lines
}
fstab-emergency = the system stopped in emergency mode when the image was booted, as it does when something cannot be mounted
fstab-why = the boot waits for a device that does not come and then stops in emergency mode
fstab-explain =
    every line of `/etc/fstab` is resolved against the partitions and volumes of the image, by UUID, label or name;
    lines with `nofail` or `noauto` are left alone
fstab-remedy = comment the lines out, or name the filesystem by its UUID
fstab-remedy-emergency = see in the serial log, or in the guest, what failed

static-network-title = network configuration
static-network-address = a fixed address is configured
static-network-hardware = a network interface is bound to the hardware address of one card
static-network-why = a new machine has another address and another network card, and is not reached under the old ones
static-network-explain =
    the files of ifupdown, netplan, NetworkManager, ifcfg, systemd-networkd and `rc.conf` are searched for fixed
    addresses, and they and udev's rules for interfaces named by a hardware address; what cloud-init has written is
    left out, because it writes that anew for every machine
static-network-remedy = remove the configuration; cloud-init writes one for each machine

machine-id-title = machine id
machine-id-set = the image holds a machine id
machine-id-why = all machines made from the image would have the same id, which must be unique: DHCP, journals and D-Bus rely on it
machine-id-explain =
    `/etc/machine-id` must be empty, say `uninitialized` or not exist, and D-Bus' copy in `/var/lib/dbus` must be a
    link to it or not exist
machine-id-remedy = empty it; each machine then makes its own on its first boot

host-keys-title = SSH host keys
host-keys-present = { $count ->
    [1] the image holds a private SSH host key
   *[other] the image holds { $count } private SSH host keys
}
host-keys-why = whoever has the image can pretend to be any machine made from it, unless each makes new keys
host-keys-explain =
    `/etc/ssh` is searched for files named like private host keys; their content is never shown
host-keys-remedy = remove them; cloud-init makes new ones for each machine

authorized-keys-title = authorized keys
authorized-keys-present = { $count ->
    [1] a public key in the image lets its owner log in
   *[other] { $count } public keys in the image let their owners log in
}
authorized-keys-why = the owners of these keys can log in to every machine made from the image
authorized-keys-explain =
    the `.ssh` directories of root and of the home directories are searched for authorized keys
authorized-keys-remedy = remove the files; cloud-init installs the keys that are chosen for a machine

private-keys-title = private keys
private-keys-present = { $count ->
    [1] a private key lies in a home directory
   *[other] { $count } private keys lie in home directories
}
private-keys-why = whoever gets the image gets the keys, too
private-keys-explain =
    the `.ssh` directories of root and of the home directories are searched for private keys, which are told by
    their first line; their content is never shown
private-keys-remedy = remove them, and replace them where they were used

sshd-port-title = SSH port
sshd-port-other = the SSH server listens on port { $port }
sshd-port-why = only port 22 is forwarded to a machine by default
sshd-port-explain =
    the first `Port` that takes effect in `sshd_config` and the files it includes; nothing is said about a server
    that does not start
sshd-port-remedy = have it listen on port 22

sshd-firewall-title = firewall
sshd-firewall-blocks = a firewall in the image drops what comes in and does not admit port { $port }
sshd-firewall-why = behind it the SSH server is not reached, and only the console leads into a machine
sshd-firewall-explain =
    ufw, nftables, iptables and firewalld, if they start on boot: a set of rules that drops what comes in and names
    the SSH server's port nowhere is reported; anything finer is not judged
sshd-firewall-remedy = admit the port

sshd-root-login-title = root login
sshd-root-login-password = root can log in over SSH with a password that is part of the image
sshd-root-login-why = all machines made from the image have the same password, and it can be guessed from outside
sshd-root-login-explain =
    `PermitRootLogin yes` without `PasswordAuthentication no` in the SSH server's configuration, together with a
    password or none at all for root in `/etc/shadow`
sshd-root-login-remedy = let root in with a key only

cloud-config-title = cloud-init's configuration
cloud-config-found = { $code ->
    [not-yaml] a file is no valid YAML and will be passed over: { $detail }
    [empty-list] the list of data sources is empty, so that cloud-init asks none
    [unknown-source] the list of data sources names `{ $detail }`, which cloud-init does not know
    [config-drive-off] the data source ConfigDrive is switched off
    [seed] the image holds data for { $detail }, which every machine would take for its own
    [instance-kept] cloud-init is told to stay with the machine that the image was made on
    [instance-left] the image holds cloud-init's state of the machine that it was made on
    [merge-how] a file asks for a way of merging that this report does not follow
   *[list-on-lines] the list of data sources spans several lines, so that `ds-identify` does not see it
}
cloud-config-errors = cloud-init reported errors when the image was booted: { $error }
cloud-config-why = with settings that cloud-init passes over, or data of another machine, a machine lacks its name, its network or its keys
cloud-config-explain =
    `/etc/cloud/cloud.cfg` and the files of `/etc/cloud/cloud.cfg.d` must be YAML and name data sources that exist,
    and neither a seed of NoCloud or ConfigDrive nor cloud-init's state of another machine in `/var/lib/cloud` may
    be left in the image
cloud-config-remedy-seed = remove the data
cloud-config-remedy-clean = have cloud-init forget the machine
cloud-config-remedy-check = see what is wrong, and correct the file
cloud-config-remedy-edit = correct the file

cloud-user-title = account for the keys
cloud-user-no-module = the module `ssh` is not among cloud-init's, so that no account gets a machine's keys
cloud-user-none = `default` is not among the users and root is shut out, so that no account gets a machine's keys
cloud-user-unnamed = the default user has no name, so that no account gets a machine's keys
cloud-user-shell = the account `{ $user }` has the shell `{ $shell }`, which lets nobody in or is not there
cloud-user-proven = the account `{ $user }` had the machine's key when the image was booted
cloud-user-no-key = the account `{ $user }` did not get the machine's key when the image was booted
cloud-user-no-account = no account got the machine's key when the image was booted
cloud-user-why = cloud-init installs a machine's keys for its default user; without that account nobody can log in
cloud-user-explain =
    the merged configuration of cloud-init must have its module `ssh` run and give the keys to an account: the
    default user, which needs a name and a shell that exists, or root if `disable_root` is off
cloud-user-remedy = have the default user created

network-renderer-title = network by cloud-init
network-renderer-disabled = cloud-init is told to leave the network alone
network-renderer-none = cloud-init finds no program that it could set up the network with
network-renderer-missing = { $available ->
    [none] cloud-init may set up the network with { $wanted }, and none of that is installed
   *[other] cloud-init may set up the network with { $wanted }, but the image has { $available }
}
network-renderer-why = a machine's addresses are in its config drive, and cloud-init has to hand them to the image's network program
network-renderer-explain =
    the programs are looked for with which cloud-init sets up a network: netplan, ifupdown, NetworkManager,
    systemd-networkd, sysconfig and a BSD's rc.conf; one that the configuration admits must be there, and `network:
    { "{" }config: disabled{ "}" }` must not
network-renderer-remedy = have cloud-init set up the network

disk-growth-title = growth of the disk
disk-growth-off = growing the root filesystem is switched off: `{ $setting }`
disk-growth-no-module = the module `{ $module }` is not among cloud-init's, so that the root filesystem does not grow
disk-growth-no-tool = `{ $program }` is not installed, so that the root filesystem does not grow
disk-growth-proven = the root filesystem grew from { $before } to { $after } when the image was booted
disk-growth-missing = the root filesystem did not grow when the image was booted on a larger disk: it had { $before }, and { $after } afterwards
disk-growth-why = the root filesystem keeps the size that it has in the image, however large the machine's disk is
disk-growth-explain =
    cloud-init's modules `growpart` and `resizefs` must run and not be switched off, and their programs `growpart`
    and `resize2fs` be installed; growth in the initrd or by systemd-repart counts as well
