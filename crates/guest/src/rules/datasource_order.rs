//! `datasource-order`: cloud-init asks ConfigDrive, and asks it before NoCloud.

use super::{Judgement, Rule, agents, remedy, unreadable};
use crate::facts::{Fact, Facts};
use crate::report::{Context, Message, Remedy, RuleId};

const WANTED: &str = "datasource_list: [ ConfigDrive, None ]";

pub(super) struct DatasourceOrder;

impl Rule for DatasourceOrder {
    fn id(&self) -> RuleId {
        RuleId::DatasourceOrder
    }

    fn judge(&self, facts: &Facts, _: &Context) -> Judgement {
        if let Some(judgement) = unreadable(facts) {
            return judgement;
        }
        if facts.cloud_init.installed.is_none() || agents::stand_in(facts) {
            return agents::data_source(facts).unwrap_or_else(|| {
                Judgement::unknown(Message::new("datasource-order-no-cloud-init"))
            });
        }
        let found = &facts.cloud_init;
        let list = match &found.datasource_list {
            Some(list) if !found.datasource_built_in => list,
            // The built-in list begins with NoCloud (cloudinit/settings.py).
            built_in => {
                let evidence = built_in.iter().flat_map(|list| list.evidence.clone());
                return Judgement::not_met(Message::new("datasource-order-built-in"))
                    .seen(evidence)
                    .cure(remedies(None));
            }
        };
        // cloud-init compares names without regard to case.
        let place = |name: &str| {
            list.value
                .iter()
                .position(|found| found.eq_ignore_ascii_case(name))
        };
        let order = list
            .value
            .iter()
            .take(5)
            .cloned()
            .collect::<Vec<_>>()
            .join(", ");
        let about = |id: &str| Message::new(id).with("order", order.clone());
        match (place("ConfigDrive"), place("NoCloud")) {
            (Some(config_drive), Some(no_cloud)) if no_cloud < config_drive => {
                Judgement::not_met(about("datasource-order-no-cloud-first"))
                    .seen(list.evidence.clone())
                    .cure(remedies(Some(list)))
            }
            (Some(_), _) => {
                Judgement::met(about("datasource-order-good")).seen(list.evidence.clone())
            }
            (None, _) => Judgement::not_met(about("datasource-order-no-config-drive"))
                .seen(list.evidence.clone())
                .cure(remedies(Some(list))),
        }
    }
}

/// A drop-in that takes effect after the file which sets the order now.
fn remedies(list: Option<&Fact<Vec<String>>>) -> Vec<Remedy> {
    let path = list
        .and_then(|list| list.evidence.first()?.path.as_deref())
        .unwrap_or("");
    if path.ends_with("ds-identify.cfg") {
        let command = format!("sed -i '/^datasource:/d' {}", remedy::quote(path));
        return remedy::both("datasource-order-remedy-identify", &[command]);
    }
    if remedy::is_command_line(path) {
        let line = list.and_then(|list| list.evidence.first()?.text.as_deref());
        let pattern = if line.is_some_and(|line| line.contains(" cc:")) {
            " *cc:.*end_cc"
        } else {
            "\\b\\(ci\\.datasource\\|ci\\.ds\\|ds\\)=[^ \"]*"
        };
        return remedy::from_command_line("datasource-order-remedy-command-line", pattern, path);
    }
    // Beside the files that count: FreeBSD's packages have theirs below another prefix.
    let base = ["/usr/local/etc/cloud", "/usr/pkg/etc/cloud"]
        .into_iter()
        .find(|base| path.starts_with(base))
        .unwrap_or("/etc/cloud");
    let directory = format!("{base}/cloud.cfg.d");
    let current = path
        .strip_prefix(directory.as_str())
        .and_then(|rest| rest.strip_prefix('/'));
    let name = match current {
        Some(current) if current >= "99-datasource.cfg" => "zzz-datasource.cfg",
        _ => "99-datasource.cfg",
    };
    let file = format!("{directory}/{name}");
    vec![
        remedy::guest(
            "datasource-order-remedy",
            [format!("echo '{WANTED}' > {file}")],
        ),
        remedy::host(
            "datasource-order-remedy",
            [format!("virt-customize -a IMAGE --write '{file}:{WANTED}'")],
        ),
    ]
}
