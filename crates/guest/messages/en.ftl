# Sentences of the report. Ids are named in src/rules; a test compares them with de.ftl.
# Style: lower-case start, no full stop after a single sentence, literals in backticks.

verdict-accepted = accepted
verdict-accepted-with-warnings = accepted with warnings
verdict-refused = refused

not-checked-no-image = not checked, because the image could not be opened
not-checked-no-root = not checked, because the files of the root filesystem could not be read
not-checked-no-system = not checked, because no operating system was found

remedy-install = install the package
remedy-install-generic = install the package with the distribution's package manager
remedy-enable = have it started on boot

operating-system-title = operating system
operating-system-found = { $name }, { $architecture }
operating-system-found-plain = { $name }
operating-system-none = no filesystem with an operating system was found
operating-system-windows = the disk holds Windows; only Linux and BSD systems are supported
operating-system-unnamed = the root filesystem does not say which system it holds: `/etc/os-release` is missing
operating-system-why = a machine starts from this disk, so a complete Linux or BSD system must be on it
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
image-format-remedy-flatten = where its other files are, make one image of all of them
image-format-remedy-repair = have the image repaired, then check it again
image-format-remedy-hint = { $hint }

virtual-size-title = disk size
virtual-size-within = { $size }, limit { $limit }
virtual-size-above = { $size }, more than the limit of { $limit }
virtual-size-refused = more than the limit of { $limit }: { $detail }
virtual-size-why = the disk of every machine made from the image has to be at least this large
virtual-size-remedy = copy the system to a smaller disk

root-filesystem-title = root filesystem
root-filesystem-good = { $kind } on partition { $partition }
root-filesystem-good-plain = { $kind } on the whole disk
root-filesystem-ext2 = ext2 on partition { $partition } has no journal; ext3 or ext4 is required
root-filesystem-other = { $class ->
    [lvm] the system lies in an LVM volume on partition { $partition }; ext3 or ext4 directly on a partition is required
    [encrypted] partition { $partition } is encrypted ({ $kind }); ext3 or ext4 is required
    [raid] partition { $partition } belongs to a RAID array; ext3 or ext4 directly on a partition is required
   *[filesystem] { $kind } on partition { $partition }; ext3 or ext4 is required
}
root-filesystem-none = no partition holds a known filesystem
root-filesystem-truncated = { $kind } on partition { $partition } is larger than its partition: { $detail }
root-filesystem-dirty = { $kind } on partition { $partition } was not unmounted cleanly and needs its journal replayed
root-filesystem-unsupported = { $kind } on partition { $partition } uses a feature that cannot be read: { $detail }
root-filesystem-corrupt = { $kind } on partition { $partition } is damaged: { $detail }
root-filesystem-why = the first boot enlarges the root filesystem to the machine's disk, which is supported for ext3 and ext4
root-filesystem-remedy-journal = add a journal, which makes it ext3
root-filesystem-remedy-rebuild = install the system anew with ext4, or copy its files to a new image and install the boot loader there
root-filesystem-remedy-check = have the filesystem checked and repaired
root-filesystem-remedy-truncated = see whether the file is complete, and transfer or export it again

cloud-init-title = cloud-init
cloud-init-good = version { $version }, runs on boot
cloud-init-missing = cloud-init is not installed
cloud-init-other = { $agent } is installed, but not cloud-init
cloud-init-old = version { $version } is too old; { $minimum } or later is required
cloud-init-disabled = cloud-init is installed but does not run on boot
cloud-init-no-version = cloud-init is installed, but its version was not found; { $minimum } or later is required
cloud-init-unclear = cloud-init is installed, but whether it runs on boot could not be told
cloud-init-why = cloud-init gives a new machine its name, its network and its SSH keys
cloud-init-remedy-file = remove the file that switches it off
cloud-init-remedy-policy = remove the policy that switches it off
cloud-init-remedy-command-line = remove the switch from the kernel command line

datasource-order-title = data sources
datasource-order-good = ConfigDrive is asked in time: { $order }
datasource-order-no-cloud-first = NoCloud is asked before ConfigDrive: { $order }
datasource-order-no-config-drive = ConfigDrive is not asked: { $order }
datasource-order-built-in = no order is set, and cloud-init's own asks NoCloud before ConfigDrive
datasource-order-no-cloud-init = not checked, because cloud-init is not installed
datasource-order-why = a machine's data come on a ConfigDrive; a NoCloud source that is asked first can hide them
datasource-order-remedy = put ConfigDrive first
datasource-order-remedy-identify = remove the line that admits one data source only

sshd-title = SSH server
sshd-good = { $server }, starts on boot
sshd-missing = no SSH server is installed
sshd-disabled = { $server } is installed but does not start on boot
sshd-unclear = { $server } is installed, but whether it starts on boot could not be told
sshd-why = without a running SSH server only the console leads into a machine
sshd-remedy-file = remove the file that switches it off
