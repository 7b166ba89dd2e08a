//! `cloud-config`: cloud-init's configuration can be read, names sources that exist, and the image
//! holds no data or state that would be taken for the machine's.

use super::{Judgement, agents, remedy};
use crate::facts::{Evidence, Facts, Fault};
use crate::report::{Context, Message, Remedy};

/// Oddities that do no harm by themselves.
const MILD: [&str; 4] = [
    "instance-left",
    "list-on-lines",
    "merge-how",
    "unknown-source",
];

pub(super) fn check(facts: &Facts, _: &Context) -> Option<Judgement> {
    let problems = &agents::cloud_init(facts)?.problems;
    let worst = problems
        .iter()
        .find(|problem| !MILD.contains(&problem.code.as_str()))
        .or_else(|| problems.first())?;
    let message = Message::new("cloud-config-found")
        .with("code", &worst.code)
        .with("detail", &worst.detail);
    // The worst first, then all others.
    let others = problems
        .iter()
        .filter(|problem| *problem != worst)
        .map(|problem| problem.evidence.clone());
    let evidence: Vec<Evidence> = std::iter::once(worst.evidence.clone())
        .chain(others)
        .take(8)
        .collect();
    let judgement = Judgement::not_met(message)
        .seen(evidence)
        .cure(remedies(worst));
    Some(if MILD.contains(&worst.code.as_str()) {
        judgement.mild()
    } else {
        judgement
    })
}

fn remedies(problem: &Fault) -> Vec<Remedy> {
    let path = problem.evidence.path.as_deref().unwrap_or("");
    match problem.code.as_str() {
        "seed" => {
            let command = format!("rm -r {}", remedy::quote(path));
            remedy::both("cloud-config-remedy-seed", &[command])
        }
        "instance-left" => remedy::both(
            "cloud-config-remedy-clean",
            &["cloud-init clean --logs --seed".to_owned()],
        ),
        "instance-kept" => remedy::both(
            "cloud-config-remedy-clean",
            &[
                format!("sed -i '/^manual_cache_clean:/d' {}", remedy::quote(path)),
                "cloud-init clean --logs".to_owned(),
            ],
        ),
        "not-yaml" => {
            let command = format!("cloud-init schema --config-file {}", remedy::quote(path));
            vec![remedy::guest("cloud-config-remedy-check", [command])]
        }
        _ => {
            let command = format!("vi {}", remedy::quote(path));
            vec![remedy::guest("cloud-config-remedy-edit", [command])]
        }
    }
}
