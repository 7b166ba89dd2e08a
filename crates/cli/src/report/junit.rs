//! The findings as JUnit XML, for Jenkins, GitLab and whatever else shows tests.
//!
//! There is no standard; this is what the schema of Jenkins' xUnit plugin
//! (<https://github.com/jenkinsci/xunit-plugin>, `junit-10.xsd`) admits and both of them read. The
//! image is a test suite and every rule a test case, also the ones that had nothing to say, so that
//! a pipeline shows the same cases on every run. JUnit knows no warnings: what does not refuse the
//! image is a case that passes, with the finding as its output.

use std::io::{self, Write};

use abbild_guest::{Outcome, RuleId};
use quick_junit::{
    NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite, XmlString,
};

use super::words::{mark, words};
use super::{Finding, View, place, summary};
use crate::print::{clean, clean_lines};

impl View {
    /// Writes the test report of a check of the image called `name`. With an `error`, nothing could
    /// be said about it.
    ///
    /// # Errors
    /// Those of writing.
    pub fn junit(&self, out: &mut dyn Write, name: &str, error: Option<&str>) -> io::Result<()> {
        let mut suite = TestSuite::new(text(name));
        let facts = self.facts();
        if self.verdict.is_some() {
            suite.add_property(Property::new("verdict", text(&self.verdict_text)));
        }
        for (label, value) in summary::lines(&facts, self.lang) {
            if !value.is_empty() {
                suite.add_property(Property::new(label, text(&value)));
            }
        }
        let readable = facts.root.is_some_and(|root| root.readable);
        for rule in RuleId::ALL {
            let finding = self.findings.iter().find(|f| f.rule == rule.as_str());
            suite.add_test_case(match finding {
                Some(finding) => self.case(finding, error.is_some()),
                None => self.silent(rule.as_str(), readable),
            });
        }
        let known = |finding: &&Finding| finding.rule.parse::<RuleId>().is_ok();
        for finding in self.findings.iter().filter(|finding| !known(finding)) {
            suite.add_test_case(self.case(finding, error.is_some()));
        }
        if let Some(error) = error {
            suite.set_system_err(text(error));
        }
        let mut report = Report::new(env!("CARGO_PKG_NAME"));
        report.add_test_suite(suite);
        report.serialize(out).map_err(io::Error::other)
    }

    fn case(&self, finding: &Finding, unreadable: bool) -> TestCase {
        let sentence = text(&finding.statement(self.lang));
        let places = finding.evidence.iter();
        let places: Vec<_> = places.map(|evidence| place(evidence, self.lang)).collect();
        let mut details = places.join("\n");
        if finding.asks_for_action() {
            if !details.is_empty() {
                details.push('\n');
            }
            details.push_str(&finding.advice(self.lang));
        }
        let mut output = None;
        let mut status = match finding.outcome {
            // JUnit tells a test that failed from one that could not be carried out.
            Outcome::Failure if unreadable => TestCaseStatus::non_success(NonSuccessKind::Error),
            Outcome::Failure => TestCaseStatus::non_success(NonSuccessKind::Failure),
            Outcome::Unknown => TestCaseStatus::skipped(),
            Outcome::Pass | Outcome::Note | Outcome::Warning => {
                let mark = mark(finding.outcome, self.lang);
                output = Some(format!("{mark}: {}\n{details}", sentence.as_str()));
                TestCaseStatus::success()
            }
        };
        if output.is_none() {
            status.set_message(sentence);
            status.set_type(text(&finding.message_id));
            if !details.is_empty() {
                status.set_description(lines(&details));
            }
        }
        let mut case = TestCase::new(text(&finding.rule), status);
        case.set_classname(classname(finding.is_requirement()));
        if let Some(output) = output {
            case.set_system_out(lines(output.trim_end()));
        }
        case
    }

    /// The case of a rule that had nothing to say: all is well, if it could look.
    fn silent(&self, rule: &str, readable: bool) -> TestCase {
        let mut status = match readable {
            true => TestCaseStatus::success(),
            false => TestCaseStatus::skipped(),
        };
        if !readable {
            status.set_message(words(self.lang).not_checked);
        }
        let mut case = TestCase::new(rule, status);
        case.set_classname(classname(false));
        case
    }
}

/// Jenkins groups cases by the parts of this name.
fn classname(requirement: bool) -> &'static str {
    match requirement {
        true => "abbild.requirement",
        false => "abbild.check",
    }
}

fn text(text: &str) -> XmlString {
    XmlString::new(clean(text))
}

fn lines(text: &str) -> XmlString {
    XmlString::new(clean_lines(text))
}
