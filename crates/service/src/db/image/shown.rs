//! Images as they are shown.

use sqlx::{AssertSqlSafe, FromRow};

use super::ImageRow;
use crate::db::tag::{self, Kind};
use crate::db::upload::LENGTH_UNKNOWN;
use crate::db::{Connection, Result, from_sql_size, placeholders};

/// An image with its tags, where its bytes come from, and how far its import is, as of the same moment.
#[derive(Debug, Clone, FromRow)]
pub struct ShownRow {
    /// The image itself.
    #[sqlx(flatten)]
    pub row: ImageRow,
    tag_names: Option<String>,
    /// Its upload, unless that is gone.
    pub source: Option<String>,
    length_bytes: Option<i64>,
    received_bytes: Option<i64>,
    /// Where the service fetches the bytes, if their owner does not send them.
    pub url: Option<String>,
    total_bytes: Option<i64>,
    /// How far the import is, if it is under way.
    pub progress_done: Option<i64>,
    /// How far it goes.
    pub progress_total: Option<i64>,
    /// Why it was held up last.
    pub setback: Option<String>,
}

impl ShownRow {
    /// In the order in which it got them.
    pub fn tags(&self) -> Vec<String> {
        tag::names(self.tag_names.as_deref())
    }

    /// Bytes that its upload will have, if that is known.
    pub fn length(&self) -> Option<u64> {
        let length = match self.url {
            Some(_) => self.total_bytes,
            None => self.length_bytes.filter(|&bytes| bytes != LENGTH_UNKNOWN),
        };
        length.map(from_sql_size)
    }

    /// Bytes of its upload that are synced to disk.
    pub fn received(&self) -> u64 {
        from_sql_size(self.received_bytes.unwrap_or(0))
    }
}

/// These images, deleted ones included, newest first.
pub async fn shown(db: &mut Connection, account: i64, ids: &[i64]) -> Result<Vec<ShownRow>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let condition = format!("account_id = $1 AND id IN ({})", placeholders(2, ids.len()));
    let mut query = sqlx::query_as(AssertSqlSafe(select(&condition))).bind(account);
    for id in ids {
        query = query.bind(id);
    }
    query.fetch_all(db).await
}

/// The query for those that `condition` is true of, newest first.
pub(super) fn select(condition: &str) -> String {
    format!(
        "SELECT s.*, ({}) AS tag_names, u.id AS source, u.length_bytes, u.received_bytes, f.url, \
         f.total_bytes, a.progress_done, a.progress_total, a.reason AS setback \
         FROM (SELECT {} FROM images WHERE {condition}) s \
         LEFT JOIN uploads u ON u.id = s.upload_id LEFT JOIN fetches f ON f.upload_id = u.id \
         LEFT JOIN actions a ON a.id = (SELECT MIN(c.id) FROM actions c \
         WHERE c.resource_type = 'image' AND c.resource_id = s.id AND c.kind = 'create' \
         AND c.status = 'in-progress') ORDER BY s.id DESC",
        tag::select_names(Kind::Image, "s.id"),
        columns!(),
    )
}
