//! `abbild check`: the verdict on an image file, on this machine.
//!
//! The same crates that the service imports with open the disk and look into it, so the answer is
//! the service's answer. A plain image is read where it lies, only the blocks that matter. A
//! compressed one is first unpacked into an unlinked sparse file.

use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::process::ExitCode;

use abbild_disk::{Error as DiskError, ErrorKind as DiskErrorKind, FileSource};
use abbild_guest::{Container, Context, Lang, Limits, Report, Verdict};
use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::args::CheckArgs;
use crate::commands::rules;
use crate::failure::{FAILED, Failure, UNREADABLE, with_causes};
use crate::input::{self, unreadable};
use crate::interrupt::Interrupt;
use crate::print::{self, Style, clean};
use crate::progress::Steps;
use crate::report::View;
use crate::session::Session;

/// Prints the verdict, or explains a rule.
///
/// # Errors
/// If the file could not be read or is no image, with that exit status.
pub fn run(session: &Session, args: &CheckArgs) -> anyhow::Result<ExitCode> {
    // clap sees conflicts of a command's own options only.
    if session.json && (args.sarif || args.junit) {
        let message = "`--json`, `--sarif` and `--junit` exclude each other";
        return Err(Failure::new(message).code(UNREADABLE).into());
    }
    match (args.explain, &args.image) {
        (Some(rule), _) => rules::explain(session, rule),
        (None, Some(image)) => check(session, args, image),
        (None, None) => Err(Failure::new("no image was named").code(UNREADABLE).into()),
    }
}

fn check(session: &Session, args: &CheckArgs, image: &Path) -> anyhow::Result<ExitCode> {
    let name = image.display().to_string();
    let checked = inspect(image, args.max_size)?;
    let report = checked.report.to_json(session.lang);
    let error = checked.unreadable();
    if args.sarif || args.junit {
        let report = match error {
            Some(error) => without_verdict(&name, report, error),
            None => report,
        };
        let view: View = serde_json::from_value(report).context("reading the report")?;
        let error = error.map(|error| with_causes(error));
        let mut out = BufWriter::new(io::stdout().lock());
        if args.sarif {
            print::json(&mut out, &view.sarif(image, error.as_deref()))?;
        } else {
            view.junit(&mut out, &name, error.as_deref())?;
        }
        out.flush()?;
    } else if let Some(error) = error {
        if session.json {
            session.show(&without_verdict(&name, report, error), |_| Ok(()))?;
        }
    } else {
        print_report(session, &name, report)?;
    }
    if let Some(error) = error {
        return Err(unreadable(&name, error).into());
    }
    Ok(match checked.report.verdict {
        Verdict::Accepted | Verdict::AcceptedWithWarnings => ExitCode::SUCCESS,
        Verdict::Refused => ExitCode::from(FAILED),
    })
}

/// Prints a report, as JSON or as text.
///
/// # Errors
/// If `report` is not a report, or writing fails.
pub fn print_report(session: &Session, name: &str, mut report: Value) -> anyhow::Result<()> {
    let view: View = serde_json::from_value(report.clone()).context("reading the report")?;
    if let Value::Object(object) = &mut report {
        object.insert("name".into(), name.into());
    }
    session.show(&report, |out| {
        view.write(out, name, Style::stdout(), print::width())
    })?;
    Ok(())
}

/// The report on a file, and why it could not be opened as a disk if that is so.
pub struct Checked {
    /// On all requirements, as far as they could be looked at.
    pub report: Report,
    error: Option<DiskError>,
}

impl Checked {
    /// The error, if it means that nothing can be said about the image. An image that is refused
    /// on purpose (a backing file, an unsupported format) is not unreadable.
    pub fn unreadable(&self) -> Option<&DiskError> {
        self.error.as_ref().filter(|error| {
            !matches!(
                error.kind(),
                DiskErrorKind::Unsupported | DiskErrorKind::Refused
            )
        })
    }
}

/// The report on a file about which nothing can be said: there is an error and no verdict.
fn without_verdict(name: &str, mut report: Value, error: &DiskError) -> Value {
    if let Value::Object(object) = &mut report {
        object.insert("name".into(), name.into());
        object.insert("verdict".into(), Value::Null);
        let error = json!({
            "code": error.code(),
            "message": with_causes(error),
            "offset": error.offset(),
            "hint": error.hint(),
        });
        object.insert("error".into(), error);
    }
    report
}

/// Opens the image at `path` and inspects it.
///
/// # Errors
/// If the file cannot be opened at all, or unpacking was interrupted.
pub fn inspect(path: &Path, max_size: u64) -> anyhow::Result<Checked> {
    let mut file = input::open(path)?;
    let file_size = file.metadata().map(|metadata| metadata.len()).ok();
    let mut context = Context {
        container: Container {
            file_size,
            ..Container::default()
        },
        limits: Limits {
            max_virtual_size: max_size,
        },
        today: Some(Timestamp::now().strftime("%F").to_string()),
        ..Context::default()
    };
    if let Some(compression) = input::compression(&mut file)? {
        context.container.layers = vec![compression.to_string()];
        let staging =
            tempfile::tempfile().context("creating a temporary file (TMPDIR says where)")?;
        let interrupt = Interrupt::watch()?;
        match input::unpack(file, staging, max_size, &mut Steps::new(), &interrupt)? {
            Ok(unpacked) => file = unpacked,
            Err(error) => {
                let report = abbild_guest::report_unreadable(&error, &context);
                let error = Some(error);
                return Ok(Checked { report, error });
            }
        }
    }
    let source = FileSource::new(file).context("asking for the size of the file")?;
    let checked = abbild_guest::check(source, context);
    Ok(Checked {
        report: checked.report,
        error: checked.disk.err(),
    })
}

/// The verdict in one phrase with the number of findings behind it, for a line on standard error.
pub fn headline(report: &Report, lang: Lang) -> String {
    let worse = report
        .findings
        .iter()
        .filter(|finding| finding.outcome != abbild_guest::Outcome::Pass);
    let titles: Vec<_> = worse.map(|finding| finding.title(lang)).collect();
    let verdict = report.verdict.text(lang);
    if titles.is_empty() {
        clean(&verdict)
    } else {
        clean(&format!("{verdict} ({})", titles.join(", ")))
    }
}
