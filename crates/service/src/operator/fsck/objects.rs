//! Images that should be in a store: whether they are there, whole and undamaged.

use std::collections::BTreeMap;
use std::time::Duration;

use abbild_api::RegionCopyStatus;
use anyhow::Context as _;
use tokio::time::timeout;

use super::{Kind, Problem, Repair, Run};
use crate::audit::Event;
use crate::db::action::{self, NewAction};
use crate::db::fsck::{self, CopyRow};
use crate::db::{Tx, from_sql_size, image, sql_size};
use crate::jobs::JobContext;
use crate::operator::stores::Progress;
use crate::removal;
use crate::store::Stored;

/// For which the write lock may be held while a store is asked.
const ANSWER: Duration = Duration::from_secs(5);

/// What a region should have: the size of each image, by digest, as far as the database knows it.
type Wanted = BTreeMap<String, Option<u64>>;

/// Who has lost an image.
struct Losers {
    rows: Vec<CopyRow>,
    machines: Vec<i64>,
}

impl Run<'_> {
    /// Compares every store with the rows.
    pub(super) async fn objects(&mut self) -> anyhow::Result<()> {
        let mut copies = fsck::copies(self.operator.db.read()).await?;
        for number in 0..self.places.len() {
            let slug = self.places[number].slug.clone();
            let rows = copies.remove(&slug).unwrap_or_default();
            if let Err(error) = self.store(number, &rows).await {
                self.unchecked(&slug, &error);
            }
        }
        for (region, rows) in copies {
            let mut problem = Problem::new(Kind::UnknownRegion, Some(&region), &region);
            problem.images = rows.iter().map(|row| row.id).collect();
            problem.detail = "images are there, but the configuration has no such region".into();
            problem.outcome =
                format!("configure it again, or give it up: `abbild admin region drop {region}`");
            let outcome = problem.outcome.clone();
            let repair = self.options.repair.then_some(Ok(Repair::Failed(outcome)));
            self.found(problem, repair);
        }
        Ok(())
    }

    async fn store(&mut self, number: usize, rows: &[CopyRow]) -> anyhow::Result<()> {
        let place = &self.places[number];
        let mut wanted: Wanted = rows
            .iter()
            .map(|row| (row.digest.clone(), row.stored_bytes.map(from_sql_size)))
            .collect();
        let db = self.operator.db.read();
        for digest in fsck::digests_of_machines(db, &place.slug).await? {
            wanted.entry(digest).or_insert(None);
        }
        let stored = place.list(!wanted.is_empty()).await?;
        let copies = match place.store.is_bucket() && place.directory.join("images").is_dir() {
            true => place.store.copies()?,
            false => Vec::new(),
        };
        self.report.images += stored.len() as u64;
        self.report.bytes += stored.iter().map(|image| image.bytes).sum::<u64>();

        for digest in wanted.keys() {
            if !stored.iter().any(|image| image.digest == *digest) {
                self.missing(number, digest, stored.is_empty()).await?;
            }
        }
        self.damaged(number, &wanted, &stored).await?;
        self.damaged_copies(number, &wanted, &copies).await
    }

    /// An image was not listed: is it really lost?
    async fn missing(&mut self, number: usize, digest: &str, empty: bool) -> anyhow::Result<()> {
        let place = &self.places[number];
        let mut tx = self.operator.db.write().await?;
        let losers = losers(&mut tx, &place.slug, digest).await?;
        let none = losers.rows.is_empty() && losers.machines.is_empty();
        let answer = timeout(ANSWER, place.store.contains(digest)).await;
        let there = answer.context("the store did not answer in time")??;
        tx.rollback().await?;
        if none || there {
            return Ok(());
        }
        let mut problem = losers.problem(Kind::MissingImage, &place.slug, digest);
        problem.detail = "the store does not have it".into();
        let repair = match self.options.repair {
            true => Some(self.heal(number, digest, "lost", empty).await),
            false => None,
        };
        self.found(problem, repair);
        Ok(())
    }

    /// Reads what is to be read, and compares it with its name.
    async fn damaged(
        &mut self,
        number: usize,
        wanted: &Wanted,
        stored: &[Stored],
    ) -> anyhow::Result<()> {
        let suspects = self.suspects(wanted, stored);
        let total = suspects.iter().map(|(image, _)| image.bytes).sum();
        let mut done = 0;
        for (image, expected) in suspects {
            let place = &self.places[number];
            let job = JobContext::default();
            let reading = place.store.sum(&image.digest, &job);
            let step = Progress::new(&place.slug, done, total);
            let sum = step.watch(self.progress, &job, reading).await;
            done += image.bytes;
            let sum = match sum {
                Err(error) if place.store.is_bucket() => return Err(error),
                sum => sum,
            };
            if sum.as_ref().is_ok_and(|sum| *sum == image.digest) {
                if let Some(expected) = expected.filter(|expected| *expected != image.bytes) {
                    self.wrong_size(number, image, expected).await?;
                }
                continue;
            }
            if !place.store.contains(&image.digest).await? {
                // It was removed meanwhile, unless it is wanted still.
                self.missing(number, &image.digest, false).await?;
                continue;
            }
            let mut tx = self.operator.db.write().await?;
            let losers = losers(&mut tx, &place.slug, &image.digest).await?;
            tx.rollback().await?;
            let mut problem = losers.problem(Kind::DamagedImage, &place.slug, &image.digest);
            problem.bytes = Some(image.bytes);
            problem.detail = difference(sum);
            let repair = match self.options.repair {
                true => Some(self.heal(number, &image.digest, "damaged", false).await),
                false => None,
            };
            self.found(problem, repair);
        }
        Ok(())
    }

    /// The images that must be read, with the size that each should have: all, or those whose size
    /// is another one.
    fn suspects<'s>(
        &self,
        wanted: &Wanted,
        stored: &'s [Stored],
    ) -> Vec<(&'s Stored, Option<u64>)> {
        let suspects = stored.iter().filter_map(|image| {
            // What nobody wants is an orphan, and not worth reading.
            let expected = *wanted.get(&image.digest)?;
            let differs = expected.is_some_and(|expected| expected != image.bytes);
            (self.options.deep || differs).then_some((image, expected))
        });
        suspects.collect()
    }

    async fn wrong_size(
        &mut self,
        number: usize,
        image: &Stored,
        expected: u64,
    ) -> anyhow::Result<()> {
        let name = format!("sha256:{}", image.digest);
        let slug = self.places[number].slug.clone();
        let mut problem = Problem::new(Kind::WrongSize, Some(&slug), name);
        problem.bytes = Some(image.bytes);
        problem.detail = format!("the database says {expected} bytes");
        let mut repair = None;
        if self.options.repair {
            let mut tx = self.operator.db.write().await?;
            fsck::set_stored_bytes(&mut tx, &image.digest, sql_size(image.bytes)).await?;
            tx.commit().await?;
            repair = Some(Ok(Repair::Done("the database was corrected".into())));
        }
        self.found(problem, repair);
        Ok(())
    }

    /// Reads the copies on this host of what is in a bucket.
    async fn damaged_copies(
        &mut self,
        number: usize,
        wanted: &Wanted,
        copies: &[Stored],
    ) -> anyhow::Result<()> {
        let suspects = self.suspects(wanted, copies);
        let total = suspects.iter().map(|(image, _)| image.bytes).sum();
        let mut done = 0;
        for (image, _) in suspects {
            let place = &self.places[number];
            let job = JobContext::default();
            let reading = place.store.sum_file(&image.digest, &job);
            let step = Progress::new(&place.slug, done, total);
            let sum = step.watch(self.progress, &job, reading).await;
            done += image.bytes;
            let gone = !place
                .store
                .copies()?
                .iter()
                .any(|c| c.digest == image.digest);
            if gone || sum.as_ref().is_ok_and(|sum| *sum == image.digest) {
                continue;
            }
            let name = format!("sha256:{}", image.digest);
            let mut problem = Problem::new(Kind::DamagedCopy, Some(&place.slug), name);
            problem.bytes = Some(image.bytes);
            problem.detail = difference(sum);
            let repair = match self.options.repair {
                true => {
                    let fetched = place.store.refresh_copy(&image.digest, &job).await;
                    Some(fetched.map(|()| Repair::Done("fetched again from the bucket".into())))
                }
                false => None,
            };
            self.found(problem, repair);
        }
        Ok(())
    }

    /// Puts an image that is `what`, lost or damaged, back from wherever there is a good copy. Where
    /// there is none, it is given up in this region. In a store that is `empty` nothing is given up:
    /// it may be the wrong one.
    async fn heal(
        &self,
        number: usize,
        digest: &str,
        what: &str,
        empty: bool,
    ) -> anyhow::Result<Repair> {
        let place = &self.places[number];
        let job = JobContext::default();
        removal::wait(&self.operator.db, &place.slug, digest, &job).await?;
        let mut obstacles = Vec::new();
        for source in self.places.iter().filter(|p| p.slug != place.slug) {
            let copied = match source.store.contains(digest).await {
                Ok(false) => continue,
                Ok(true) => place.store.copy_from(&source.store, digest, &job).await,
                Err(error) => Err(error),
            };
            match copied {
                Ok(()) => return Ok(Repair::Done(format!("copied from {}", source.slug))),
                Err(error) if error.is::<crate::retry::Final>() => {} // damaged as well
                Err(error) => obstacles.push(format!("{}: {error:#}", source.slug)),
            }
        }
        if place.store.send_copy(digest, &job).await? {
            return Ok(Repair::Done("sent again from the copy on this host".into()));
        }
        if !obstacles.is_empty() {
            let obstacles = obstacles.join("; ");
            return Ok(Repair::Failed(format!("no copy could be had: {obstacles}")));
        }
        if empty {
            return Ok(Repair::Failed(
                "no region has it, and this store is empty; is it the right one?".into(),
            ));
        }
        self.give_up(number, digest, what).await
    }

    /// No good copy is left: the images fail in this region, and altogether if they are nowhere else.
    async fn give_up(&self, number: usize, digest: &str, what: &str) -> anyhow::Result<Repair> {
        let place = &self.places[number];
        let operator = self.operator;
        let mut tx = operator.db.write().await?;
        let losers = losers(&mut tx, &place.slug, digest).await?;
        let reason = format!("the stored image is {what}; upload it again");
        for row in &losers.rows {
            let (id, status) = (row.id, RegionCopyStatus::Failed);
            image::move_region(&mut tx, id, &place.slug, status, Some(&reason)).await?;
            fsck::fail_if_nowhere(&mut tx, id, &reason).await?;
            // For the owner, and for how long the image is kept.
            let new = NewAction {
                account: row.account_id,
                kind: "fsck",
                resource_type: "image",
                resource: id,
                region: Some(&place.slug),
                parameters: None,
                ready: false,
            };
            let action = action::insert(&mut tx, &new).await?;
            action::finish(&mut tx, action.id, Some(&reason)).await?;
            let event = Event::new("image.lost").on("image", id);
            let event = event.detail(format!("{what} in {}", place.slug));
            let origin = operator.origin.clone().in_account(row.account_id);
            origin.record(&mut tx, event).await?;
        }
        tx.commit().await?;
        if !losers.machines.is_empty() {
            return Ok(Repair::Failed(format!(
                "no good copy is left; put one back, or delete machines {}, whose disks lie on it",
                listed(&losers.machines)
            )));
        }
        // Another import of the same content must not find it.
        let (slug, store) = (&place.slug, &place.store);
        removal::remove(&operator.db, &self.owner, slug, store, digest).await?;
        Ok(Repair::Done(format!(
            "no good copy is left; images {} failed in {slug}",
            listed(&losers.ids())
        )))
    }
}

async fn losers(tx: &mut Tx, region: &str, digest: &str) -> anyhow::Result<Losers> {
    Ok(Losers {
        rows: fsck::copies_of(tx, region, digest).await?,
        machines: fsck::machines_on(&mut **tx, region, digest).await?,
    })
}

impl Losers {
    fn ids(&self) -> Vec<i64> {
        self.rows.iter().map(|row| row.id).collect()
    }

    fn problem(&self, kind: Kind, region: &str, digest: &str) -> Problem {
        let mut problem = Problem::new(kind, Some(region), format!("sha256:{digest}"));
        problem.images = self.ids();
        problem.droplets.clone_from(&self.machines);
        let bytes = self.rows.first().and_then(|row| row.stored_bytes);
        problem.bytes = bytes.map(from_sql_size);
        problem
    }
}

fn difference(sum: anyhow::Result<String>) -> String {
    match sum {
        Ok(sum) => format!("found sha256:{sum}"),
        Err(error) => format!("it cannot be read: {error:#}"),
    }
}

/// `3, 4, 5`.
pub fn listed(ids: &[i64]) -> String {
    let ids: Vec<_> = ids.iter().map(i64::to_string).collect();
    ids.join(", ")
}
