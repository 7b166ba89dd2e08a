//! Images; in which regions they are is in [`copies`], how many there are in [`counts`], and what is shown
//! of them in [`shown`].

mod copies;
mod counts;

use abbild_api::Stage;
use sqlx::{AssertSqlSafe, FromRow};

use super::droplet::LIES_ON;
use super::{Executor, Pool, Result, Tx, Window, from_word, now, word};
pub use copies::*;
pub use counts::recount;
pub use shown::{ShownRow, shown};

/// The columns of an [`ImageRow`]: all but `report`, which may have a hundred times the size of the
/// others.
macro_rules! columns {
    () => {
        "id, account_id, name, description, distribution, created_at, stage, error_message, \
         upload_id, checksum, digest, format, virtual_bytes, stored_bytes, summary, droplet_id, \
         deleted_at"
    };
}

// Below the macro, which it uses.
mod shown;

/// One image.
#[derive(Debug, Clone, FromRow)]
#[allow(missing_docs)] // the columns are explained in the migration
pub struct ImageRow {
    pub id: i64,
    pub account_id: i64,
    pub name: String,
    pub description: String,
    pub distribution: String,
    pub created_at: i64,
    stage: String,
    pub error_message: String,
    pub upload_id: Option<String>,
    pub checksum: Option<String>,
    pub digest: Option<String>,
    pub format: Option<String>,
    pub virtual_bytes: Option<i64>,
    pub stored_bytes: Option<i64>,
    /// See `summary`; the report itself is read only where it is asked for.
    pub summary: Option<String>,
    pub droplet_id: Option<i64>,
    pub deleted_at: Option<i64>,
}

impl ImageRow {
    /// Where the import stands.
    pub fn stage(&self) -> Result<Stage> {
        from_word(&self.stage)
    }
}

/// What a new image begins with.
#[derive(Debug)]
pub struct NewImage<'a> {
    /// Owner.
    pub account: i64,
    /// Chosen by the owner.
    pub name: &'a str,
    /// Free text.
    pub description: &'a str,
    /// Of the known list.
    pub distribution: &'a str,
    /// Where its bytes come from, unless they are known.
    pub upload: Option<&'a str>,
    /// Expected of those bytes.
    pub checksum: Option<&'a str>,
    /// `receiving` or `queued`.
    pub stage: Stage,
    /// The machine that it is a snapshot of.
    pub droplet: Option<i64>,
}

/// Which images to list: all, or those with a name, a tag, a content, or several of these.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    /// In any spelling.
    pub name: Option<&'a str>,
    /// By its id.
    pub tag: Option<i64>,
    /// Available, and of this content: a SHA-256 in hexadecimal.
    pub digest: Option<&'a str>,
    /// By where they come from.
    pub origin: Origin,
}

/// Where an image comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Origin {
    /// Wherever it is from.
    #[default]
    Any,
    /// It was uploaded, or fetched.
    Import,
    /// A machine, whatever became of it.
    Snapshot,
    /// Some machine, or this one, of which it is available.
    Available(Option<i64>),
}

impl Origin {
    fn condition(self) -> String {
        match self {
            Self::Any => String::new(),
            Self::Import => " AND droplet_id IS NULL".to_owned(),
            Self::Snapshot => " AND droplet_id IS NOT NULL".to_owned(),
            Self::Available(None) => {
                " AND droplet_id IS NOT NULL AND stage = 'available'".to_owned()
            }
            Self::Available(Some(droplet)) => {
                format!(" AND droplet_id = {droplet} AND stage = 'available'")
            }
        }
    }
}

/// One page, newest first, and the total. Deleted images are not listed, failed ones are.
pub async fn list(
    db: &Pool,
    account: i64,
    filter: Filter<'_>,
    window: Window,
) -> Result<(Vec<ShownRow>, i64)> {
    let mut condition = super::list_condition("image", filter.name.is_some(), filter.tag.is_some());
    condition += match filter.digest {
        Some(_) => " AND stage = 'available' AND (digest = $4 OR checksum = 'sha256:' || $4)",
        None => " AND CAST($4 AS TEXT) IS NOT NULL",
    };
    condition += &filter.origin.condition();
    let total = match counts::total(db, account, &filter).await? {
        Some(total) => total,
        None => {
            let text = format!("SELECT COUNT(*) FROM images WHERE {condition}");
            sqlx::query_scalar(AssertSqlSafe(text))
                .bind(account)
                .bind(filter.name.unwrap_or_default())
                .bind(filter.tag.unwrap_or_default())
                .bind(filter.digest.unwrap_or_default())
                .fetch_one(db)
                .await?
        }
    };
    let (order, window) = window.nearer_end(total);
    // The page is found in an index; only its rows are read.
    let text = format!(
        "id IN (SELECT id FROM images WHERE {condition} ORDER BY id {order} LIMIT $5 OFFSET $6)"
    );
    let rows = sqlx::query_as(AssertSqlSafe(shown::select(&text)))
        .bind(account)
        .bind(filter.name.unwrap_or_default())
        .bind(filter.tag.unwrap_or_default())
        .bind(filter.digest.unwrap_or_default())
        .bind(window.limit)
        .bind(window.offset)
        .fetch_all(db)
        .await?;
    Ok((rows, total))
}

/// By id, deleted ones included.
pub async fn find(db: impl Executor<'_>, account: i64, id: i64) -> Result<Option<ImageRow>> {
    sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM images WHERE account_id = $1 AND id = $2"
    ))
    .bind(account)
    .bind(id)
    .fetch_optional(db)
    .await
}

/// By id, for the job that works on it.
pub async fn by_id(db: impl Executor<'_>, id: i64) -> Result<ImageRow> {
    sqlx::query_as(concat!("SELECT ", columns!(), " FROM images WHERE id = $1"))
        .bind(id)
        .fetch_one(db)
        .await
}

/// By id, with the write lock held.
pub async fn get(tx: &mut Tx, id: i64) -> Result<ImageRow> {
    by_id(&mut **tx, id).await
}

/// The snapshot of a machine that is being made: one at a time, as its actions are.
pub async fn unfinished_snapshot(db: impl Executor<'_>, droplet: i64) -> Result<Option<i64>> {
    sqlx::query_scalar(
        "SELECT id FROM images WHERE droplet_id = $1 AND deleted_at IS NULL \
         AND stage NOT IN ('available', 'failed') ORDER BY id DESC LIMIT 1",
    )
    .bind(droplet)
    .fetch_optional(db)
    .await
}

/// A new image.
pub async fn insert(tx: &mut Tx, new: &NewImage<'_>) -> Result<i64> {
    counts::add(tx, new.account, new.droplet.is_some()).await?;
    sqlx::query_scalar(
        "INSERT INTO images (account_id, name, description, distribution, tags, created_at, \
         stage, upload_id, checksum, droplet_id) \
         VALUES ($1, $2, $3, $4, '[]', $5, $6, $7, $8, $9) RETURNING id",
    )
    .bind(new.account)
    .bind(new.name)
    .bind(new.description)
    .bind(new.distribution)
    .bind(now())
    .bind(word(new.stage))
    .bind(new.upload)
    .bind(new.checksum)
    .bind(new.droplet)
    .fetch_one(&mut **tx)
    .await
}

/// The newest available image of the account with this content: `digest`, a SHA-256 in hexadecimal,
/// names the canonical image or the file that it was made from.
pub async fn with_content(tx: &mut Tx, account: i64, digest: &str) -> Result<Option<ImageRow>> {
    sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM images WHERE account_id = $1 AND deleted_at IS NULL \
         AND stage = 'available' AND (digest = $2 OR checksum = $3) ORDER BY id DESC LIMIT 1",
    ))
    .bind(account)
    .bind(digest)
    .bind(format!("sha256:{digest}"))
    .fetch_optional(&mut **tx)
    .await
}

/// Gives a new image the content of another one, and what is known of it.
pub async fn set_content(tx: &mut Tx, id: i64, of: i64) -> Result<()> {
    sqlx::query(
        "UPDATE images SET \
         (checksum, digest, format, virtual_bytes, stored_bytes, report, summary) = \
         (SELECT checksum, digest, format, virtual_bytes, stored_bytes, report, summary \
         FROM images WHERE id = $1) WHERE id = $2",
    )
    .bind(of)
    .bind(id)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The id of the image that an upload belongs to.
pub async fn id_by_upload(db: &Pool, upload: &str) -> Result<Option<i64>> {
    sqlx::query_scalar("SELECT id FROM images WHERE upload_id = $1")
        .bind(upload)
        .fetch_optional(db)
        .await
}

/// The image that an upload belongs to.
pub async fn by_upload(tx: &mut Tx, upload: &str) -> Result<Option<ImageRow>> {
    sqlx::query_as(concat!(
        "SELECT ",
        columns!(),
        " FROM images WHERE upload_id = $1"
    ))
    .bind(upload)
    .fetch_optional(&mut **tx)
    .await
}

/// Changes what the owner may change.
pub async fn update(tx: &mut Tx, image: &ImageRow) -> Result<()> {
    sqlx::query("UPDATE images SET name = $1, description = $2, distribution = $3 WHERE id = $4")
        .bind(&image.name)
        .bind(&image.description)
        .bind(&image.distribution)
        .bind(image.id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Moves an image that is not deleted to `stage`. Returns false when it is deleted.
pub async fn set_stage(tx: &mut Tx, id: i64, stage: Stage) -> Result<bool> {
    let done = sqlx::query("UPDATE images SET stage = $1 WHERE id = $2 AND deleted_at IS NULL")
        .bind(word(stage))
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// The canonical image is about to be stored: from now on nobody removes it. Returns false when
/// the image is deleted.
pub async fn begin_storing(tx: &mut Tx, id: i64, digest: &str, stored_bytes: i64) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE images SET stage = $1, digest = $2, stored_bytes = $3 \
         WHERE id = $4 AND deleted_at IS NULL",
    )
    .bind(word(Stage::Storing))
    .bind(digest)
    .bind(stored_bytes)
    .bind(id)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Keeps what the check found.
pub async fn set_report(
    tx: &mut Tx,
    id: i64,
    format: &str,
    virtual_bytes: Option<i64>,
    report: &str,
    summary: &str,
) -> Result<()> {
    sqlx::query(
        "UPDATE images SET format = $1, virtual_bytes = $2, report = $3, summary = $4 WHERE id = $5",
    )
    .bind(format)
    .bind(virtual_bytes)
    .bind(report)
    .bind(summary)
    .bind(id)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// What the check found, whole.
pub async fn report(db: impl Executor<'_>, id: i64) -> Result<Option<String>> {
    sqlx::query_scalar("SELECT report FROM images WHERE id = $1")
        .bind(id)
        .fetch_one(db)
        .await
}

/// Ids and reports of some images that have no summary yet.
pub async fn without_summary(tx: &mut Tx, limit: i64) -> Result<Vec<(i64, String)>> {
    sqlx::query_as(
        "SELECT id, report FROM images WHERE summary IS NULL AND report IS NOT NULL LIMIT $1",
    )
    .bind(limit)
    .fetch_all(&mut **tx)
    .await
}

/// Keeps the summary of a report.
pub async fn set_summary(tx: &mut Tx, id: i64, summary: &str) -> Result<()> {
    sqlx::query("UPDATE images SET summary = $1 WHERE id = $2")
        .bind(summary)
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// The canonical image exists: its name and size.
pub async fn set_canonical(
    tx: &mut Tx,
    id: i64,
    digest: &str,
    virtual_bytes: i64,
    stored_bytes: i64,
) -> Result<()> {
    sqlx::query(
        "UPDATE images SET digest = $1, virtual_bytes = $2, stored_bytes = $3, upload_id = NULL \
         WHERE id = $4",
    )
    .bind(digest)
    .bind(virtual_bytes)
    .bind(stored_bytes)
    .bind(id)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Ends an import with a reason; its upload no longer belongs to it.
pub async fn fail(tx: &mut Tx, id: i64, reason: &str) -> Result<()> {
    sqlx::query(
        "UPDATE images SET stage = 'failed', error_message = $1, upload_id = NULL \
         WHERE id = $2 AND deleted_at IS NULL",
    )
    .bind(reason)
    .bind(id)
    .execute(&mut **tx)
    .await?;
    sqlx::query("UPDATE image_regions SET status = 'failed', reason = $1 WHERE image_id = $2")
        .bind("the import failed")
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Ends an import, and whatever else was still to be done for the image.
pub async fn give_up(tx: &mut Tx, id: i64, reason: &str) -> Result<()> {
    fail(tx, id, reason).await?;
    super::action::fail_open(tx, "image", id, reason).await
}

/// Marks an image as removed by its owner. It is in no region from now on.
pub async fn delete(tx: &mut Tx, id: i64) -> Result<()> {
    counts::remove(tx, id).await?;
    super::probe::forget_of(tx, id).await?;
    sqlx::query(
        "UPDATE images SET deleted_at = $1, stage = 'deleted', upload_id = NULL WHERE id = $2",
    )
    .bind(now())
    .bind(id)
    .execute(&mut **tx)
    .await?;
    sqlx::query("DELETE FROM image_regions WHERE image_id = $1")
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Whether anything in `region` still needs the canonical image `digest`: an image that is, or is
/// about to be, available there, a machine whose disk lies on it, or an image that waits for a copy of
/// it somewhere else.
pub async fn is_needed(db: impl Executor<'_>, region: &str, digest: &str) -> Result<bool> {
    let text = format!(
        "SELECT COUNT(*) FROM (SELECT 1 FROM images i JOIN image_regions r ON r.image_id = i.id \
         WHERE i.digest = $2 AND i.deleted_at IS NULL AND (r.status IN ('pending', 'copying') \
         OR (r.region = $1 AND r.status <> 'failed')) \
         UNION ALL SELECT 1 FROM droplets WHERE {LIES_ON}) AS uses"
    );
    let uses: i64 = sqlx::query_scalar(AssertSqlSafe(text))
        .bind(region)
        .bind(digest)
        .fetch_one(db)
        .await?;
    Ok(uses > 0)
}
