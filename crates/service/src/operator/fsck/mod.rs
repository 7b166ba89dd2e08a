//! Whether what is stored is what the database says, and making it so again.
//!
//! ```text
//!   rows ─▶ stores: missing, of another size, damaged ─▶ confirm under the write lock ─▶ heal
//!   stores and directories ─▶ rows: orphans ─▶ wait, look again ─▶ remove
//! ```
//!
//! The service may be running. So nothing that is found at first sight counts: what should be there
//! is looked for again while the write lock keeps rows from moving ([`objects`]), and what should not
//! be there must still be there, and nobody's, after a pause ([`orphans`]). Images are removed as the
//! service removes them ([`crate::removal`]), and replaced under their names in one step.
//!
//! What cannot be asked is no proof of a loss: a store that is away is reported as unchecked, and
//! nothing is given up because of it.

mod objects;
mod orphans;
mod uploads;

use serde::Serialize;

pub(super) use objects::listed;

use super::Operator;
use super::stores::{Place, Progress, check_user};
use crate::audit::Event;

/// What to do.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Repair what is found.
    pub repair: bool,
    /// Read every image, to find those whose bytes have changed.
    pub deep: bool,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Images in all stores.
    pub images: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether all of them were read.
    pub deep: bool,
    /// What is wrong, or was.
    pub problems: Vec<Problem>,
    /// What could not be looked at.
    pub unchecked: Vec<Unchecked>,
}

impl Report {
    /// How many problems are repaired.
    pub fn repaired(&self) -> usize {
        let repaired = |problem: &&Problem| problem.state == State::Repaired;
        self.problems.iter().filter(repaired).count()
    }
}

/// Something that is wrong.
#[derive(Debug, Serialize)]
pub struct Problem {
    /// What is wrong.
    pub kind: Kind,
    /// In which region.
    pub region: Option<String>,
    /// Name of an image, or path of a file.
    pub object: String,
    /// Its size.
    pub bytes: Option<u64>,
    /// Images that it is about.
    pub images: Vec<i64>,
    /// Machines that it is about.
    pub droplets: Vec<i64>,
    /// What was found.
    pub detail: String,
    /// What became of it.
    pub state: State,
    /// How it was repaired, or what to do.
    pub outcome: String,
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An image that should be in a store is not.
    MissingImage,
    /// An image in a store is not what its name says.
    DamagedImage,
    /// The same of a copy on this host of what is in a bucket.
    DamagedCopy,
    /// The database has another size than the image.
    WrongSize,
    /// An image that nothing needs.
    OrphanImage,
    /// A file that was to become an image.
    OrphanFile,
    /// The bytes of an upload that does not exist.
    OrphanUpload,
    /// The directory of a machine that does not exist.
    OrphanMachine,
    /// Fewer bytes of an upload than were acknowledged.
    ShortUpload,
    /// Rows name a region that the configuration does not.
    UnknownRegion,
}

/// What became of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It was found, and nobody asked for a repair.
    Found,
    /// It is no more.
    Repaired,
    /// It could not be repaired.
    Remains,
}

/// What could not be looked at.
#[derive(Debug, Serialize)]
pub struct Unchecked {
    /// The region.
    pub region: String,
    /// Why not.
    pub reason: String,
}

/// How a repair ended.
enum Repair {
    Done(String),
    Failed(String),
    /// There is nothing to repair any more.
    Moot,
}

/// One check.
struct Run<'a> {
    operator: &'a Operator,
    options: Options,
    progress: &'a (dyn Fn(Progress<'_>) + Sync),
    places: Vec<Place>,
    /// Names this run where a process is named.
    owner: String,
    report: Report,
}

impl Operator {
    /// Compares the database with what is stored, and repairs what differs if that is wanted.
    ///
    /// # Errors
    /// When the database cannot be reached, or files cannot be looked at.
    pub async fn fsck(
        &self,
        options: Options,
        progress: &(dyn Fn(Progress<'_>) + Sync),
    ) -> anyhow::Result<Report> {
        if options.repair {
            check_user(self.data())?;
        }
        let mut run = Run {
            operator: self,
            options,
            progress,
            places: self.places()?,
            owner: Self::instance(),
            report: Report {
                deep: options.deep,
                ..Report::default()
            },
        };
        run.objects().await?;
        run.uploads().await?;
        run.orphans().await?;
        let report = run.report;
        if report.repaired() > 0 {
            let detail = format!("repaired {} problems", report.repaired());
            let mut tx = self.db.write().await?;
            let event = Event::new("fsck.repair").detail(detail);
            self.origin.record(&mut tx, event).await?;
            tx.commit().await?;
        }
        Ok(report)
    }
}

impl Run<'_> {
    /// Puts a problem into the report; `repair` says what became of it, and is `None` if nobody
    /// asked for a repair.
    fn found(&mut self, mut problem: Problem, repair: Option<anyhow::Result<Repair>>) {
        (problem.state, problem.outcome) = match repair {
            None => (State::Found, problem.outcome),
            Some(Ok(Repair::Moot)) => return,
            Some(Ok(Repair::Done(how))) => (State::Repaired, how),
            Some(Ok(Repair::Failed(why))) => (State::Remains, why),
            Some(Err(error)) => (State::Remains, format!("{error:#}")),
        };
        self.report.problems.push(problem);
    }

    fn unchecked(&mut self, region: &str, error: &anyhow::Error) {
        self.report.unchecked.push(Unchecked {
            region: region.to_owned(),
            reason: format!("{error:#}"),
        });
    }
}

impl Problem {
    fn new(kind: Kind, region: Option<&str>, object: impl Into<String>) -> Self {
        Self {
            kind,
            region: region.map(str::to_owned),
            object: object.into(),
            bytes: None,
            images: Vec::new(),
            droplets: Vec::new(),
            detail: String::new(),
            state: State::Found,
            outcome: String::new(),
        }
    }
}
