//! `abbild admin fsck`: whether what is stored is what the database says.

use std::io::{self, Write};
use std::process::ExitCode;

use abbild_service::operator::fsck::{Options, Problem, Report, State};

use super::desk::{Desk, reporter};
use crate::args::AdminFsckArgs;
use crate::failure::{FAILED, Failure, UNREADABLE};
use crate::print::{clean, counted, size};
use crate::session::Session;

/// Checks, and repairs if that is wanted.
///
/// # Errors
/// If the database cannot be used.
pub fn run(session: &Session, args: &AdminFsckArgs) -> anyhow::Result<ExitCode> {
    let report =
        check(args).map_err(|error| Failure::new(format!("{error:#}")).code(UNREADABLE))?;
    session.show(&report, |out| text(out, &report))?;
    Ok(ExitCode::from(if !report.unchecked.is_empty() {
        UNREADABLE
    } else if report.problems.is_empty() {
        0
    } else {
        FAILED
    }))
}

fn check(args: &AdminFsckArgs) -> anyhow::Result<Report> {
    let desk = Desk::open(&args.service)?;
    let options = Options {
        repair: args.repair,
        deep: args.deep,
    };
    let progress = reporter("reading");
    desk.wait(desk.operator.fsck(options, &progress))
}

fn text(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    for problem in &report.problems {
        problem_text(out, problem)?;
    }
    for unchecked in &report.unchecked {
        let reason = clean(&unchecked.reason);
        writeln!(out, "unchecked: {}\n  {reason}", clean(&unchecked.region))?;
    }
    let read = if report.deep { ", all read" } else { "" };
    let repaired = match report.repaired() {
        0 => String::new(),
        count => format!(", {count} repaired"),
    };
    writeln!(
        out,
        "{} stored ({}{read}): {}{repaired}",
        counted(report.images, "image"),
        size(report.bytes),
        match report.problems.len() {
            0 => "nothing is wrong".to_owned(),
            count => counted(count as u64, "problem"),
        },
    )
}

/// What is wrong, where, with what, and what became of it, each on a line of its own, because
/// digests and paths are long.
fn problem_text(out: &mut dyn Write, problem: &Problem) -> io::Result<()> {
    let region = problem.region.as_deref().map(|r| format!(" in {r}"));
    let bytes = problem.bytes.map(|bytes| format!(", {}", size(bytes)));
    let kind = serde_json::to_value(problem.kind).unwrap_or_default();
    let kind = kind.as_str().unwrap_or_default().replace('-', " ");
    let head = format!(
        "{kind}{}{}{}{}",
        region.unwrap_or_default(),
        bytes.unwrap_or_default(),
        ids("image", &problem.images),
        ids("machine", &problem.droplets),
    );
    writeln!(out, "{}", clean(&head))?;
    writeln!(out, "  {}", clean(&problem.object))?;
    writeln!(out, "  {}", clean(&problem.detail))?;
    let outcome = clean(&problem.outcome);
    match problem.state {
        State::Found if outcome.is_empty() => Ok(()),
        State::Found => writeln!(out, "  {outcome}"),
        State::Repaired => writeln!(out, "  repaired: {outcome}"),
        State::Remains => writeln!(out, "  not repaired: {outcome}"),
    }
}

fn ids(what: &str, ids: &[i64]) -> String {
    let words: Vec<_> = ids.iter().map(i64::to_string).collect();
    match words.as_slice() {
        [] => String::new(),
        [one] => format!(", {what} {one}"),
        [_, ..] => format!(", {what}s {}", words.join(" ")),
    }
}
