# Sätze des Berichts. Die Namen stehen in src/rules; ein Test vergleicht sie mit en.ftl.
# Stil: ohne Anrede, klein beginnend wo kein Nomen steht, kein Punkt nach einem einzelnen Satz.

verdict-accepted = angenommen
verdict-accepted-with-warnings = mit Warnungen angenommen
verdict-refused = abgelehnt

step-firmware = Firmware gestartet
step-boot-loader = Bootloader gestartet
step-kernel = Kernel gestartet
step-init = init erreicht
step-cloud-init = cloud-init gestartet
step-login = Anmeldung an der seriellen Konsole
step-cloud-init-finished = cloud-init beendet
step-sshd = SSH-Server hat geantwortet
step-no-bootable-device = die Firmware hat nichts zum Starten gefunden
step-boot-loader-stopped = der Bootloader wartet auf eine Eingabe
step-kernel-panic = der Kernel hat aufgegeben
step-initramfs-shell = das Initramfs wartet auf eine Eingabe
step-emergency-mode = das System ist im Notfallmodus

end-complete = alles war zu sehen, was es zu sehen gibt
end-trouble = der Start ist stehen geblieben
end-powered-off = die Maschine hat sich selbst ausgeschaltet
end-time-limit = die Zeit war um

proven-by-sshd = kein Hindernis: beim Start des Abbilds hat der SSH-Server geantwortet
proven-by-init = kein Hindernis: beim Start des Abbilds ist das System hochgefahren

not-checked-no-image = nicht geprüft, weil das Abbild nicht geöffnet werden konnte
not-checked-no-root = nicht geprüft, weil die Dateien des Wurzeldateisystems nicht lesbar sind
not-checked-hidden = nicht geprüft, weil die Dateien unter `{ $path }` auf einem weiteren Dateisystem liegen, das nicht lesbar ist
not-checked-no-system = nicht geprüft, weil kein Betriebssystem gefunden wurde

remedy-install = Paket installieren
remedy-install-generic = Paket mit der Paketverwaltung der Distribution installieren
remedy-enable = beim Systemstart ausführen lassen

operating-system-title = Betriebssystem
operating-system-found = { $name }, { $architecture }
operating-system-found-plain = { $name }
operating-system-none = kein Dateisystem mit einem Betriebssystem gefunden
operating-system-windows = auf der Platte liegt Windows; unterstützt werden nur Linux und BSD
operating-system-dos = auf der Platte liegt DOS; unterstützt werden nur Linux und BSD
operating-system-installer = die Platte ist ein Installationsmedium oder Live-System (ISO 9660) und kein installiertes System
operating-system-empty = die Platte ist leer: Sie hat keine Partitionen, oder in ihnen liegt nichts
operating-system-unnamed = das Wurzeldateisystem nennt kein System: `/etc/os-release` fehlt
operating-system-why = von dieser Platte startet eine Maschine, also muss ein vollständiges Linux- oder BSD-System darauf sein
operating-system-explain =
    die Dateisysteme aller Partitionen werden nach `/etc/os-release`, `/usr/lib/os-release`,
    `/sbin/init`, `/etc/fstab` und dergleichen abgesucht, und das mit den meisten davon gilt als Wurzel; dessen
    os-release oder die älteren Dateien, die eine Distribution nennen, sagen, welches System es ist, und der ELF-Kopf
    seines init, für welchen Prozessor; Windows, Installationsmedien und reine Datenplatten werden beim Namen genannt
operating-system-remedy-supported = ein Linux- oder BSD-System installieren, oder das Cloud-Abbild einer Distribution nehmen
operating-system-remedy-install = davon in eine virtuelle Maschine installieren und deren Platte hochladen, oder das Cloud-Abbild der Distribution nehmen
operating-system-remedy-export = nachsehen, ob die richtige Platte exportiert wurde, und diejenige hochladen, von der das System startet
operating-system-remedy = nachsehen, was auf der Platte liegt, und diejenige hochladen, von der das System startet

image-format-title = Abbildformat
image-format-plain = { $format }
image-format-compressed = { $format }, komprimiert mit { $layers }
image-format-refused = { $code ->
    [backing-file] das Abbild enthält nur die Unterschiede zu einer Basisdatei, und die wird nie geöffnet
    [data-file] die Daten des Abbilds liegen in einer weiteren Datei, und die wird nie geöffnet
    [encrypted] das Abbild ist verschlüsselt
    [empty-file] die Datei ist leer
    [bare-filesystem] die Datei ist ein Dateisystem ohne Partitionstabelle
    [no-partition-table] weder ein unterstütztes Abbildformat noch eine Partitionstabelle erkannt
    [marked-corrupt] das Abbild ist als beschädigt gekennzeichnet
    [truncated] die Datei ist abgeschnitten: { $detail }
   *[other] { $kind ->
        [io] die Datei war nicht lesbar: { $detail }
        [corrupt] das Abbild ist beschädigt: { $detail }
        [unsupported] das Format wird nicht unterstützt: { $detail }
       *[other] das Abbild wird nicht angenommen: { $detail }
    }
}
image-format-why = sicher lesbar sind nur eigenständige Abbilder im Format raw, qcow2, VHDX, VDI oder VMDK, auch komprimiert
image-format-explain =
    das Format wird am Inhalt erkannt und nie am Dateinamen, durch Kompression und tar-Archive wird hindurchgesehen,
    und jede Tabelle, die die Platte abbildet, wird geprüft; was ein Abbild nennt, etwa eine Basisdatei, wird nie
    geöffnet, und ein Abbild, das darauf angewiesen ist, wird abgelehnt
image-format-remedy-flatten = dort, wo die übrigen Dateien liegen, aus allen ein einziges Abbild machen
image-format-remedy-repair = Abbild reparieren lassen und erneut prüfen
image-format-remedy-hint = { $action ->
    [convert] in ein unterstütztes Format umwandeln
    [unpack] entpacken und das Abbild daraus verwenden
   *[other] Hinweis (englisch): { $hint }
}

virtual-size-title = Plattengröße
virtual-size-within = { $size }, erlaubt sind { $limit }
virtual-size-above = { $size }, mehr als die erlaubten { $limit }
virtual-size-refused = mehr als die erlaubten { $limit }: { $detail }
virtual-size-why = die Platte jeder Maschine aus diesem Abbild muss mindestens so groß sein
virtual-size-explain =
    die Größe der Platte, wie eine Maschine sie sieht, steht im Kopf des Abbilds und wird mit der Grenze des Betreibers
    verglichen; wie viel davon die Datei belegt, spielt keine Rolle
virtual-size-remedy = System auf eine kleinere Platte übertragen

root-filesystem-title = Wurzeldateisystem
root-filesystem-place = { $where ->
    [volume] im LVM-Volume { $volume } der Gruppe { $group }
    [disk] auf der ganzen Platte
   *[other] auf Partition { $partition }
}
root-filesystem-good = { $kind } { root-filesystem-place }
root-filesystem-ext2 = ext2 { root-filesystem-place } hat kein Journal; nötig ist ext3 oder ext4
root-filesystem-other = { $class ->
    [lvm] das System liegt { root-filesystem-place }, und dieses LVM ist nicht lesbar; nötig ist ext3 oder ext4 auf einer Partition oder in einem linearen oder Striped-Volume
    [encrypted] Partition { $partition } ist verschlüsselt ({ $kind }); nötig ist ext3 oder ext4
    [raid] Partition { $partition } gehört zu einem RAID-Verbund; nötig ist ext3 oder ext4 unmittelbar auf einer Partition
   *[filesystem] { $kind } { root-filesystem-place }; nötig ist ext3 oder ext4
}
root-filesystem-none = keine Partition enthält ein bekanntes Dateisystem
root-filesystem-truncated = { $kind } { root-filesystem-place } ist größer als die Partition: { $detail }
root-filesystem-dirty = { $kind } { root-filesystem-place } wurde nicht sauber ausgehängt, das Journal muss noch eingespielt werden
root-filesystem-unsupported = { $kind } { root-filesystem-place } nutzt eine Eigenschaft, die nicht lesbar ist: { $detail }
root-filesystem-corrupt = { $kind } { root-filesystem-place } ist beschädigt: { $detail }
root-filesystem-why = beim ersten Start wächst das Wurzeldateisystem auf die Größe der Platte, und das ist für ext3 und ext4 vorgesehen
root-filesystem-explain =
    der Superblock des Wurzeldateisystems sagt, was es ist; es muss ext3 oder ext4 sein, in seine Partition passen,
    sauber ausgehängt worden und lesbar sein
root-filesystem-remedy-journal = Journal hinzufügen, damit wird es zu ext3
root-filesystem-remedy-rebuild = System neu mit ext4 installieren, oder seine Dateien in ein neues Abbild kopieren und dort den Bootloader einrichten
root-filesystem-remedy-check = Dateisystem prüfen und reparieren lassen
root-filesystem-remedy-truncated = prüfen, ob die Datei vollständig ist, und sie neu übertragen oder exportieren

cloud-init-title = cloud-init
cloud-init-good = Version { $version }, läuft beim Systemstart
cloud-init-missing = weder cloud-init noch ein Programm mit gleicher Aufgabe ist installiert
cloud-init-other = { $agent } ist installiert, cloud-init aber nicht
cloud-init-agent = { $version ->
    [none] { $agent }, läuft beim ersten Start
   *[other] { $agent } { $version }, läuft beim ersten Start
}
cloud-init-agent-disabled = { $agent } ist installiert, läuft beim ersten Start aber nicht
cloud-init-agent-unclear = { $agent } ist installiert; ob es beim ersten Start läuft, ist nicht zu erkennen
cloud-init-old = Version { $version } ist zu alt; nötig ist { $minimum } oder neuer
cloud-init-disabled = cloud-init ist installiert, läuft beim Systemstart aber nicht
cloud-init-no-version = cloud-init ist installiert, die Version war nicht zu finden; nötig ist { $minimum } oder neuer
cloud-init-unclear = cloud-init ist installiert; ob es beim Systemstart läuft, ist nicht zu erkennen
cloud-init-proven = beim Start des Abbilds bis zum Ende gelaufen
cloud-init-not-run = in den { $seconds } Sekunden, die das Abbild gestartet war, nicht gelaufen
cloud-init-unfinished = beim Start des Abbilds angelaufen, aber in { $seconds } Sekunden nicht zum Ende gekommen
cloud-init-why = cloud-init gibt einer neuen Maschine Namen, Netz und SSH-Schlüssel
cloud-init-explain =
    gesucht wird das Programm oder sein Python-Paket; die Version kommt aus `version.py` oder der Paketdatenbank, und ob
    es beim Systemstart läuft, aus dem, was dort entscheidet: die Kernel-Befehlszeile, `/etc/cloud/cloud-init.disabled`,
    `ds-identify.cfg` sowie die Units, Runlevel oder `rc.conf`, die es starten;
    Ignition, coreos-cloudinit, bsd-cloudinit und cloudbase-init genügen ebenso
cloud-init-remedy-file = Datei entfernen, die es abschaltet
cloud-init-remedy-look = nachsehen, was es über sich sagt
cloud-init-remedy-policy = Richtlinie entfernen, die es abschaltet
cloud-init-remedy-first-boot = den nächsten Start als ersten gelten lassen
cloud-init-remedy-command-line = Schalter aus der Kernel-Befehlszeile entfernen

datasource-order-title = Datenquellen
datasource-order-good = ConfigDrive wird rechtzeitig gefragt: { $order }
datasource-order-no-cloud-first = NoCloud wird vor ConfigDrive gefragt: { $order }
datasource-order-no-config-drive = ConfigDrive wird nicht gefragt: { $order }
datasource-order-built-in = keine Reihenfolge festgelegt, und von sich aus fragt cloud-init NoCloud vor ConfigDrive
datasource-order-no-cloud-init = nicht geprüft, weil cloud-init nicht installiert ist
datasource-order-agent = { $source ->
    [none] { $agent } liest das ConfigDrive
   *[other] { $agent } liest das ConfigDrive (`{ $source }`)
}
datasource-order-agent-elsewhere = { $source ->
    [none] { $agent } ist nicht dafür eingerichtet, ein ConfigDrive zu lesen
   *[other] { $agent } sucht seine Daten anderswo (`{ $source }`) und findet ein ConfigDrive nicht
}
datasource-order-agent-unclear = wo { $agent } seine Daten sucht, ist nicht zu erkennen
datasource-order-proven = beim Start des Abbilds kamen die Daten von ConfigDrive
datasource-order-other = beim Start des Abbilds kamen die Daten nicht von ConfigDrive, sondern von { $source }
datasource-order-why = die Daten einer Maschine kommen auf einem ConfigDrive; eine zuerst gefragte NoCloud-Quelle kann sie verdecken
datasource-order-explain =
    `/etc/cloud/cloud.cfg` und die Dateien in `/etc/cloud/cloud.cfg.d` werden in der Reihenfolge gelesen, in der
    cloud-init sie zusammenführt, dazu `ds-identify.cfg`; in der wirksamen `datasource_list` muss ConfigDrive stehen, und
    NoCloud nicht davor; ein anderes Programm an der Stelle von cloud-init muss ein ConfigDrive lesen
datasource-order-remedy = ConfigDrive an den Anfang stellen
datasource-order-remedy-platform = als Plattform `openstack` einstellen, dann wird das ConfigDrive gelesen
datasource-order-remedy-services = den Dienst für ConfigDrives an den Anfang der Metadatendienste stellen
datasource-order-remedy-command-line = die Datenquelle aus der Kernel-Befehlszeile entfernen
datasource-order-remedy-identify = Zeile entfernen, die nur eine Datenquelle zulässt

sshd-title = SSH-Server
sshd-good = { $server }, startet mit dem System
sshd-missing = kein SSH-Server installiert
sshd-disabled = { $server } ist installiert, startet aber nicht mit dem System
sshd-unclear = { $server } ist installiert; ob es mit dem System startet, ist nicht zu erkennen
sshd-proven = hat { $seconds } Sekunden nach dem Start des Abbilds auf Port 22 geantwortet
sshd-silent = in den { $seconds } Sekunden, die das Abbild gestartet war, hat auf Port 22 nichts geantwortet
sshd-why = ohne laufenden SSH-Server führt nur die Konsole in eine Maschine
sshd-explain =
    gesucht werden die Programme von OpenSSH und dropbear, danach, was sie beim Systemstart ausführt: Verweise von
    systemd-Units und -Sockets, Runlevel von OpenRC, SysV-Verweise oder `rc.conf`; Maskierungen und
    `/etc/ssh/sshd_not_to_be_run` zählen
sshd-remedy-file = Datei entfernen, die ihn abschaltet
sshd-remedy-look = nachsehen, ob er läuft, und auf welchem Port

support-end-title = Ende der Pflege
support-end-passed = { $name } wird seit dem { $date } nicht mehr gepflegt
support-end-why = ein erreichbares System ohne Sicherheitsaktualisierungen wird früher oder später übernommen
support-end-explain =
    `SUPPORT_END` in `os-release` wird mit dem heutigen Datum verglichen; Systeme ohne diese Angabe werden nicht beurteilt
support-end-remedy = das Abbild einer neueren Ausgabe nehmen

several-systems-title = weitere Systeme
several-systems-found = Maschinen starten { $boots }{ $reason ->
    [boot-entry] , das der Standardeintrag des Bootloaders nennt
    [flag] , dessen Partition zum Starten markiert ist
    [type] , dessen Partition den Typ einer Wurzel hat
    [files] , das am vollständigsten aussieht
    [size] , das am größten ist
    [order] , das an erster Stelle liegt
   *[only] {""}
}; auf der Platte liegt außerdem { $others }
several-systems-why = ein weiteres System belegt in jeder Maschine Platz, und ein geändertes Bootmenü würde es starten
several-systems-explain =
    alle Dateisysteme und LVM-Volumes werden nach Systemen abgesucht, und Windows zeigt sich an seinen Partitionen; von
    mehreren gilt das, das der Standardeintrag des Bootloaders als `root=` hat, sonst das auf der zum Starten markierten
    Partition, auf einer Partition mit dem Typ einer Wurzel, oder das mit den meisten Dateien eines Systems
several-systems-remedy = nachsehen, was auf der Platte liegt, und die übrigen Systeme im Abbild weglassen

architecture-title = Prozessor
architecture-other = die Programme sind für { $architecture }-Prozessoren
architecture-why = Maschinen haben x86-64-Prozessoren und führen Programme für andere nicht aus
architecture-explain =
    der ELF-Kopf des Programms, das init ist, sagt, für welchen Prozessor das System gebaut wurde; Maschinen laufen
    hier mit x86-64 und damit auch mit 32-Bit-x86
architecture-remedy = das Abbild der Distribution für x86-64 (auch amd64 genannt) nehmen

boot-loader-title = Bootloader
boot-loader-none = weder ein BIOS noch eine UEFI-Firmware findet auf der Platte einen Bootloader
boot-loader-no-fallback = UEFI-Firmware findet `{ $program }` nicht, weil unter dem Ersatznamen `EFI/BOOT/BOOTX64.EFI` nichts liegt
boot-loader-proven = beim Start des Abbilds gestartet
boot-loader-not-found = beim Start des Abbilds hat die Firmware nichts zum Starten gefunden
boot-loader-stopped = beim Start des Abbilds ist der Bootloader stehen geblieben und hat auf eine Eingabe gewartet
boot-loader-why = die Firmware einer neuen Maschine kennt keinen Booteintrag und startet, was dort liegt, wo sie von selbst sucht
boot-loader-explain =
    für ein BIOS Startcode im ersten Sektor und bei einer GPT eine BIOS-Boot-Partition oder eine als startfähig
    markierte Partition; für UEFI das Programm unter dem Ersatznamen `EFI/BOOT/BOOTX64.EFI` in einer
    EFI-Systempartition; eines von beiden muss vorhanden sein
boot-loader-remedy-install = einen Bootloader für das BIOS installieren
boot-loader-remedy-fallback = den Bootloader unter den Ersatznamen kopieren

kernel-title = Kernel
kernel-absent = das Bootmenü startet `{ $path }`; diese Datei gibt es nicht
kernel-initrd-absent = das Bootmenü lädt `{ $path }`; diese Datei gibt es nicht
kernel-none = in `/boot` liegt kein Kernel
kernel-proven = beim Start des Abbilds gestartet
kernel-panicked = beim Start des Abbilds hat der Kernel aufgegeben
kernel-not-seen = in den { $seconds } Sekunden, die das Abbild gestartet war, hat sich kein Kernel gezeigt; das Bildschirmfoto zeigt, wie weit es kam
kernel-powered-off = die Maschine hat sich { $seconds } Sekunden nach dem Start des Abbilds selbst ausgeschaltet, ohne dass sich ein Kernel gezeigt hatte
kernel-why = ohne Kernel und Initrd kann der Bootloader das System nicht starten
kernel-explain =
    das Startmenü wird gelesen, wie der Bootloader es liest; der Kernel und jede initrd des Eintrags, der von selbst
    startet, müssen vorhanden sein; ohne Startmenü muss in `/boot` ein Kernel oder ein Programm für UEFI liegen
kernel-remedy = Initrd und Bootmenü neu schreiben

virtio-drivers-title = Virtio-Treiber
virtio-drivers-missing = dem Kernel { $kernel } fehlt { $drivers }
virtio-drivers-why = Platte und Netzwerkkarte einer Maschine sind Virtio-Geräte; ohne Treiber findet sie beide nicht
virtio-drivers-explain =
    virtio_pci, virtio_blk und virtio_net müssen in den startenden Kernel fest eingebaut sein (`modules.builtin`)
    oder unter `/lib/modules` bei dessen Modulen liegen
virtio-drivers-remedy = einen Kernel der Distribution installieren, der die Treiber hat

initrd-drivers-title = Initrd
initrd-drivers-one-machine = die Initrd enthält nur die Treiber der Maschine, auf der sie entstand; der für eine Virtio-Platte kann fehlen
initrd-drivers-why = ohne Treiber für die Platte in der Initrd findet das System sein Root-Dateisystem nicht
initrd-drivers-explain =
    die initrd selbst wird nicht geöffnet; die Konfiguration des Programms, das sie erzeugt, initramfs-tools oder
    dracut, sagt, ob sie die Treiber beliebiger Maschinen enthält oder nur die der erzeugenden
initrd-drivers-remedy = den Treiber in die Initrd aufnehmen und sie neu schreiben

root-device-title = Root-Gerät
root-device-absent = der Kernel bekommt `root={ $root }`; das gibt es im Abbild nicht
root-device-other-name = der Kernel bekommt `root={ $root }`, aber die Platte einer Maschine heißt `/dev/vda`
root-device-not-mounted = beim Start des Abbilds hat das Initramfs das Root-Dateisystem nicht gefunden
root-device-why = ein System, das sein Root-Dateisystem nicht findet, bleibt stehen, bevor man es erreichen kann
root-device-explain =
    `root=` auf der Kernel-Befehlszeile des Eintrags, der von selbst startet, wird mit UUID, Label und Partition
    jedes Dateisystems im Abbild verglichen; ein Gerätename muss der einer virtio-Platte sein, etwa `/dev/vda1`
root-device-remedy = das Root-Dateisystem im Bootmenü mit seiner UUID benennen
root-device-remedy-initrd = im seriellen Protokoll nachsehen, worauf es gewartet hat

serial-console-title = serielle Konsole
serial-console-none = der Kernel benutzt die serielle Konsole nicht
serial-console-proven = beim Start des Abbilds vom Kernel benutzt
serial-console-login = beim Start des Abbilds vom Kernel benutzt; dort wartete auch eine Anmeldung
serial-console-silent = beim Start des Abbilds ist das System hochgefahren, und der Kernel hat dort nichts ausgegeben
serial-console-why = die Rettungskonsole zeigt, was eine Maschine auf ihre serielle Schnittstelle schreibt, vom Kernel bis zur Anmeldung
serial-console-explain =
    die Kernel-Befehlszeile des Eintrags, der von selbst startet, muss ein `console=` mit einer seriellen
    Schnittstelle enthalten, etwa `console=ttyS0,115200`
serial-console-remedy = den Kernel sie benutzen lassen

fstab-title = Einhängungen
fstab-absent = `/etc/fstab` hängt `{ $device }` unter `{ $place }` ein; das gibt es im Abbild nicht{ $count ->
    [1] {""}
   *[other] {" "}(insgesamt { $count } solche Zeilen)
}
fstab-other-name = `/etc/fstab` hängt `{ $device }` unter `{ $place }` ein, aber die Platte einer Maschine heißt `/dev/vda`{ $count ->
    [1] {""}
   *[other] {" "}(insgesamt { $count } solche Zeilen)
}
fstab-emergency = beim Start des Abbilds ist das System im Notfallmodus stehen geblieben, wie wenn sich etwas nicht einhängen lässt
fstab-why = der Start wartet auf ein Gerät, das nicht kommt, und bleibt dann im Notfallmodus stehen
fstab-explain =
    jede Zeile von `/etc/fstab` wird anhand von UUID, Label oder Name in den Partitionen und Volumes des Abbilds gesucht;
    Zeilen mit `nofail` oder `noauto` bleiben außer Acht
fstab-remedy = die Zeilen auskommentieren oder das Dateisystem mit seiner UUID benennen
fstab-remedy-emergency = im seriellen Protokoll oder im Gast nachsehen, was fehlgeschlagen ist

static-network-title = Netzwerkkonfiguration
static-network-address = eine feste Adresse ist eingetragen
static-network-hardware = eine Netzwerkschnittstelle ist an die Hardware-Adresse einer einzelnen Karte gebunden
static-network-why = eine neue Maschine hat eine andere Adresse und eine andere Netzwerkkarte und ist unter den alten nicht erreichbar
static-network-explain =
    die Dateien von ifupdown, netplan, NetworkManager, ifcfg, systemd-networkd und `rc.conf` werden nach festen
    Adressen abgesucht, und sie wie auch die Regeln von udev nach Schnittstellen, die an einer Hardwareadresse
    hängen; was cloud-init geschrieben hat, bleibt außer Betracht, denn das schreibt es für jede Maschine neu
static-network-remedy = die Konfiguration entfernen; cloud-init schreibt für jede Maschine eine eigene

machine-id-title = Machine-ID
machine-id-set = das Abbild enthält eine Machine-ID
machine-id-why = alle Maschinen aus dem Abbild hätten dieselbe ID, die eindeutig sein muss: DHCP, Journale und D-Bus verlassen sich darauf
machine-id-explain =
    `/etc/machine-id` muss leer sein, `uninitialized` enthalten oder fehlen, und die Kopie von D-Bus in
    `/var/lib/dbus` muss ein Verweis darauf sein oder fehlen
machine-id-remedy = sie leeren; dann erzeugt jede Maschine beim ersten Start ihre eigene

host-keys-title = SSH-Host-Keys
host-keys-present = { $count ->
    [1] das Abbild enthält einen privaten SSH-Host-Key
   *[other] das Abbild enthält { $count } private SSH-Host-Keys
}
host-keys-why = wer das Abbild hat, kann sich als jede daraus erzeugte Maschine ausgeben, sofern diese keine neuen erzeugt
host-keys-explain =
    `/etc/ssh` wird nach Dateien abgesucht, die wie private Hostschlüssel heißen; ihr Inhalt wird nie gezeigt
host-keys-remedy = sie entfernen; cloud-init erzeugt für jede Maschine neue

authorized-keys-title = hinterlegte Schlüssel
authorized-keys-present = { $count ->
    [1] mit einem öffentlichen Schlüssel im Abbild kann sich sein Besitzer anmelden
   *[other] mit { $count } öffentlichen Schlüsseln im Abbild können sich ihre Besitzer anmelden
}
authorized-keys-why = die Besitzer dieser Schlüssel können sich auf jeder Maschine aus dem Abbild anmelden
authorized-keys-explain =
    die Verzeichnisse `.ssh` von root und in den Benutzerverzeichnissen werden nach zugelassenen Schlüsseln
    abgesucht
authorized-keys-remedy = die Dateien entfernen; cloud-init hinterlegt die Schlüssel, die für eine Maschine gewählt werden

private-keys-title = private Schlüssel
private-keys-present = { $count ->
    [1] in einem Home-Verzeichnis liegt ein privater Schlüssel
   *[other] in Home-Verzeichnissen liegen { $count } private Schlüssel
}
private-keys-why = wer das Abbild bekommt, bekommt auch die Schlüssel
private-keys-explain =
    die Verzeichnisse `.ssh` von root und in den Benutzerverzeichnissen werden nach privaten Schlüsseln abgesucht,
    erkannt an der ersten Zeile; ihr Inhalt wird nie gezeigt
private-keys-remedy = sie entfernen und überall ersetzen, wo sie benutzt wurden

sshd-port-title = SSH-Port
sshd-port-other = der SSH-Server lauscht auf Port { $port }
sshd-port-why = ohne weiteres Zutun wird nur Port 22 zu einer Maschine weitergeleitet
sshd-port-explain =
    das zuerst wirksame `Port` in `sshd_config` und den Dateien, die sie einbindet; zu einem Server, der nicht
    startet, wird nichts gesagt
sshd-port-remedy = ihn auf Port 22 lauschen lassen

sshd-firewall-title = Firewall
sshd-firewall-blocks = eine Firewall im Abbild verwirft, was hereinkommt, und lässt Port { $port } nicht durch
sshd-firewall-why = hinter ihr ist der SSH-Server nicht erreichbar, und nur die Konsole führt in eine Maschine
sshd-firewall-explain =
    ufw, nftables, iptables und firewalld, sofern sie mit dem System starten: gemeldet wird ein Regelwerk, das
    Eingehendes verwirft und den Port des SSH-Servers nirgends nennt; Feineres wird nicht beurteilt
sshd-firewall-remedy = den Port durchlassen

sshd-root-login-title = Root-Anmeldung
sshd-root-login-password = root kann sich über SSH mit einem Passwort anmelden, das Teil des Abbilds ist
sshd-root-login-why = alle Maschinen aus dem Abbild haben dasselbe Passwort, und es lässt sich von außen erraten
sshd-root-login-explain =
    `PermitRootLogin yes` ohne `PasswordAuthentication no` in der Konfiguration des SSH-Servers, zusammen mit einem
    Passwort für root in `/etc/shadow` oder gar keinem
sshd-root-login-remedy = root nur mit einem Schlüssel hereinlassen

cloud-config-title = Konfiguration von cloud-init
cloud-config-found = { $code ->
    [not-yaml] eine Datei ist kein gültiges YAML und wird übergangen: { $detail }
    [empty-list] die Liste der Datenquellen ist leer, cloud-init fragt also keine
    [unknown-source] die Liste der Datenquellen nennt `{ $detail }`, was cloud-init nicht kennt
    [config-drive-off] die Datenquelle ConfigDrive ist abgeschaltet
    [seed] das Abbild enthält Daten für { $detail }, die jede Maschine für ihre eigenen hielte
    [instance-kept] cloud-init soll bei der Maschine bleiben, auf der das Abbild entstanden ist
    [instance-left] das Abbild enthält cloud-inits Zustand der Maschine, auf der es entstanden ist
    [merge-how] eine Datei verlangt eine Art der Zusammenführung, der dieser Bericht nicht folgt
   *[list-on-lines] die Liste der Datenquellen geht über mehrere Zeilen, `ds-identify` sieht sie deshalb nicht
}
cloud-config-errors = beim Start des Abbilds hat cloud-init Fehler gemeldet: { $error }
cloud-config-why = mit Einstellungen, die cloud-init übergeht, oder Daten einer anderen Maschine fehlen einer Maschine Name, Netz oder Schlüssel
cloud-config-explain =
    `/etc/cloud/cloud.cfg` und die Dateien in `/etc/cloud/cloud.cfg.d` müssen YAML sein und Datenquellen nennen, die
    es gibt, und im Abbild dürfen weder Daten für NoCloud oder ConfigDrive noch der Zustand zurückgeblieben sein,
    den cloud-init in `/var/lib/cloud` zu einer anderen Maschine führt
cloud-config-remedy-seed = die Daten entfernen
cloud-config-remedy-clean = cloud-init die Maschine vergessen lassen
cloud-config-remedy-check = nachsehen, was falsch ist, und die Datei berichtigen
cloud-config-remedy-edit = die Datei berichtigen

cloud-user-title = Konto für die Schlüssel
cloud-user-no-module = das Modul `ssh` gehört nicht zu denen von cloud-init, deshalb bekommt kein Konto die Schlüssel einer Maschine
cloud-user-none = `default` fehlt unter den Benutzern und root ist ausgesperrt, deshalb bekommt kein Konto die Schlüssel einer Maschine
cloud-user-unnamed = der Standardbenutzer hat keinen Namen, deshalb bekommt kein Konto die Schlüssel einer Maschine
cloud-user-shell = das Konto `{ $user }` hat die Shell `{ $shell }`, die niemanden einlässt oder fehlt
cloud-user-proven = beim Start des Abbilds hatte das Konto `{ $user }` den Schlüssel der Maschine
cloud-user-no-key = beim Start des Abbilds hat das Konto `{ $user }` den Schlüssel der Maschine nicht bekommen
cloud-user-no-account = beim Start des Abbilds hat kein Konto den Schlüssel der Maschine bekommen
cloud-user-why = cloud-init richtet die Schlüssel einer Maschine für seinen Standardbenutzer ein; ohne dieses Konto kann sich niemand anmelden
cloud-user-explain =
    in der zusammengeführten Konfiguration von cloud-init muss das Modul `ssh` laufen und die Schlüssel müssen ein
    Konto erreichen: den Standardbenutzer, der einen Namen und eine vorhandene Shell braucht, oder root, wenn
    `disable_root` aus ist
cloud-user-remedy = den Standardbenutzer anlegen lassen

network-renderer-title = Netz durch cloud-init
network-renderer-disabled = cloud-init soll das Netz in Ruhe lassen
network-renderer-none = cloud-init findet kein Programm, mit dem es das Netz einrichten könnte
network-renderer-missing = { $available ->
    [none] cloud-init darf das Netz mit { $wanted } einrichten, und nichts davon ist installiert
   *[other] cloud-init darf das Netz mit { $wanted } einrichten, das Abbild hat aber { $available }
}
network-renderer-why = die Adressen einer Maschine stehen auf ihrem ConfigDrive, und cloud-init muss sie an das Netzprogramm des Abbilds weitergeben
network-renderer-explain =
    gesucht werden die Programme, mit denen cloud-init das Netz einrichtet: netplan, ifupdown, NetworkManager,
    systemd-networkd, sysconfig und rc.conf eines BSD; eines davon, das die Konfiguration zulässt, muss vorhanden
    sein, und `network: { "{" }config: disabled{ "}" }` darf nicht gesetzt sein
network-renderer-remedy = cloud-init das Netz einrichten lassen

disk-growth-title = Wachsen der Platte
disk-growth-off = das Wurzeldateisystem wachsen zu lassen ist abgeschaltet: `{ $setting }`
disk-growth-no-module = das Modul `{ $module }` gehört nicht zu denen von cloud-init, deshalb wächst das Wurzeldateisystem nicht
disk-growth-no-tool = `{ $program }` ist nicht installiert, deshalb wächst das Wurzeldateisystem nicht
disk-growth-proven = beim Start des Abbilds ist das Root-Dateisystem von { $before } auf { $after } gewachsen
disk-growth-missing = beim Start des Abbilds auf einer größeren Platte ist das Root-Dateisystem nicht gewachsen: es hatte { $before }, danach { $after }
disk-growth-why = das Wurzeldateisystem behält die Größe, die es im Abbild hat, so groß die Platte der Maschine auch ist
disk-growth-explain =
    die Module `growpart` und `resizefs` von cloud-init müssen laufen und dürfen nicht abgeschaltet sein, und deren
    Programme `growpart` und `resize2fs` müssen installiert sein; Wachstum in der initrd oder durch systemd-repart
    zählt ebenso
