//! The words around the sentences of a report, in both languages.

use abbild_guest::{Enablement, Lang, Origin, Outcome, Place, Severity};

pub(super) struct Words {
    pub why: &'static str,
    pub what: &'static str,
    pub fix: &'static str,
    pub requirement: &'static str,
    pub check: &'static str,
    pub overridable: &'static str,
    pub requirements: &'static str,
    pub further: &'static str,
    pub explain: &'static str,
    pub not_checked: &'static str,
    pub system: &'static str,
    pub image: &'static str,
    pub partitions: &'static str,
    pub root: &'static str,
    pub boot: &'static str,
    pub on_partition: &'static str,
    pub on_disk: &'static str,
    pub in_volume: &'static str,
    pub no_table: &'static str,
    pub bios_partition: &'static str,
    pub console: &'static str,
    pub proven: &'static str,
    pub news: &'static str,
    pub no_news: &'static str,
}

pub(super) fn words(lang: Lang) -> &'static Words {
    match lang {
        Lang::De => &Words {
            why: "Warum",
            what: "Was",
            fix: "Abhilfe, zum Beispiel bei einem Debian",
            requirement: "Anforderung",
            check: "Prüfung",
            overridable: "sofern der Betreiber nichts anderes festlegt",
            requirements: "Anforderungen",
            further: "Weitere Befunde",
            explain: "mehr zu einer Regel",
            not_checked: "nicht geprüft",
            system: "System",
            image: "Abbild",
            partitions: "Partitionen",
            root: "Wurzel",
            boot: "Start",
            on_partition: "auf Partition",
            on_disk: "auf der ganzen Platte",
            in_volume: "im LVM-Volume",
            no_table: "keine Partitionstabelle",
            bios_partition: "BIOS-Start",
            console: "Konsole",
            proven: "erwiesen",
            news: "Anders, als die Dateien des Abbilds vermuten lassen",
            no_news: "Der Start widerspricht den Dateien des Abbilds nicht.",
        },
        Lang::En => &Words {
            why: "why",
            what: "what",
            fix: "how to fix, for example on Debian",
            requirement: "requirement",
            check: "check",
            overridable: "unless the operator decides otherwise",
            requirements: "Requirements",
            further: "Further findings",
            explain: "more about a rule",
            not_checked: "not checked",
            system: "system",
            image: "image",
            partitions: "partitions",
            root: "root",
            boot: "boot",
            on_partition: "on partition",
            on_disk: "on the whole disk",
            in_volume: "in LVM volume",
            no_table: "no partition table",
            bios_partition: "BIOS boot",
            console: "console",
            proven: "proven",
            news: "Other than the files of the image suggest",
            no_news: "The boot contradicts nothing that the files of the image say.",
        },
    }
}

/// Where a remedy is carried out.
pub(super) fn place(place: Place, lang: Lang) -> &'static str {
    match (place, lang) {
        (Place::Guest, Lang::De) => "Abhilfe im Gast, als root",
        (Place::Host, Lang::De) => "Abhilfe auf diesem Rechner",
        (Place::Guest, Lang::En) => "remedy in the guest, as root",
        (Place::Host, Lang::En) => "remedy on this machine",
    }
}

/// By what something was seen when the image was booted.
pub(super) fn origin(origin: Origin, lang: Lang) -> &'static str {
    match (origin, lang) {
        (Origin::SerialLog, Lang::De) => "serielles Protokoll",
        (Origin::SerialLog, Lang::En) => "serial log",
        (Origin::Network, Lang::De) => "Port 22",
        (Origin::Network, Lang::En) => "port 22",
        (Origin::BootedDisk, Lang::De) => "nach dem Start",
        (Origin::BootedDisk, Lang::En) => "after the boot",
    }
}

/// The word at the beginning of a finding.
pub(super) fn mark(outcome: Outcome, lang: Lang) -> &'static str {
    match (outcome, lang) {
        (Outcome::Pass, _) => "ok",
        (Outcome::Note, _) => severity(Severity::Note, lang),
        (Outcome::Warning, _) => severity(Severity::Warning, lang),
        (Outcome::Failure, _) => severity(Severity::Failure, lang),
        (Outcome::Unknown, Lang::De) => "unklar",
        (Outcome::Unknown, Lang::En) => "unknown",
    }
}

/// A severity as a word.
pub(super) fn severity(severity: Severity, lang: Lang) -> &'static str {
    match (severity, lang) {
        (Severity::Note, Lang::De) => "Hinweis",
        (Severity::Note, Lang::En) => "note",
        (Severity::Warning, Lang::De) => "Warnung",
        (Severity::Warning, Lang::En) => "warning",
        (Severity::Failure, Lang::De) => "Fehler",
        (Severity::Failure, Lang::En) => "failure",
    }
}

/// Whether something starts by itself, as a phrase.
pub(super) fn starts(state: Enablement, lang: Lang) -> Option<&'static str> {
    match (state, lang) {
        (Enablement::Enabled, Lang::De) => Some("startet mit dem System"),
        (Enablement::Enabled, Lang::En) => Some("starts on boot"),
        (Enablement::Disabled, Lang::De) => Some("startet nicht"),
        (Enablement::Disabled, Lang::En) => Some("does not start"),
        (Enablement::Unknown, _) => None,
    }
}
