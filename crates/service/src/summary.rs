//! What images and machines show of a report, kept beside it.
//!
//! A report has every fact and its evidence, and so a hundred kilobytes or more. A page of a list shows
//! up to two hundred images, each with its verdict and what is not met; [`Summary`] is that much.

use abbild_guest::{Finding, Lang, Message, Outcome, Report, RuleId, Verdict, render};
use serde::{Deserialize, Serialize};

use crate::db::image;
use crate::db::{self, Db, from_json, to_json};

/// How many images get their summary in one transaction.
const BATCH: i64 = 200;

/// The part of a report that is shown with an image.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Summary {
    /// What follows from the findings.
    pub verdict: Verdict,
    /// `ID` of os-release(5).
    pub os: Option<String>,
    /// The user that keys are given to.
    pub default_user: Option<String>,
    /// The requirements and recommendations that are not met.
    pub unmet: Vec<Unmet>,
}

/// A rule that is not met.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Unmet {
    rule: RuleId,
    outcome: Outcome,
    message: Message,
}

impl Summary {
    /// The summary of `report`.
    pub fn of(report: &Report) -> Self {
        let facts = &report.facts;
        let user = facts.cloud_init.default_user.as_ref();
        Self {
            verdict: report.verdict,
            os: facts.os.as_ref().and_then(|os| os.id.clone()),
            default_user: user.map(|user| user.value.clone()),
            unmet: report.findings.iter().filter_map(Unmet::of).collect(),
        }
    }

    /// A sentence for each rule that is not met, in `lang`.
    pub fn findings(&self, lang: Lang) -> Vec<String> {
        self.unmet.iter().map(|unmet| unmet.text(lang)).collect()
    }
}

impl Unmet {
    fn of(finding: &Finding) -> Option<Self> {
        matches!(finding.outcome, Outcome::Warning | Outcome::Failure).then(|| Self {
            rule: finding.rule,
            outcome: finding.outcome,
            message: finding.message.clone(),
        })
    }

    fn text(&self, lang: Lang) -> String {
        format!("{}: {}", self.rule.title(lang), render(lang, &self.message))
    }
}

/// Gives their summaries to images that were checked when there was none.
///
/// # Errors
/// When the database cannot be used, or a report in it is none.
pub async fn complete(db: &Db) -> db::Result<()> {
    loop {
        let mut tx = db.write().await?;
        let images = image::without_summary(&mut tx, BATCH).await?;
        if images.is_empty() {
            return Ok(());
        }
        for (id, report) in images {
            let summary = Summary::of(&from_json(&report)?);
            image::set_summary(&mut tx, id, &to_json(&summary)).await?;
        }
        tx.commit().await?;
    }
}
