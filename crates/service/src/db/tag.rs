//! Tags: names under which an account groups images and droplets.
//!
//! Names are compared without regard to case, and keep the spelling in which they were used first. A
//! link says that an object has a tag; links go with the tag, and with the object.

use sqlx::{AssertSqlSafe, FromRow};

use super::{Executor, Pool, Result, Tx, Window, from_json, now, placeholders};

/// What can have tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An image.
    Image,
    /// A droplet.
    Droplet,
}

impl Kind {
    /// As it is written in a link.
    pub fn word(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Droplet => "droplet",
        }
    }
}

/// One tag.
#[derive(Debug, Clone, FromRow)]
pub struct TagRow {
    /// Identifier.
    pub id: i64,
    /// In the spelling of its first use.
    pub name: String,
}

/// How many objects have a tag, and which got it last.
#[derive(Debug, Clone, FromRow)]
pub struct UseRow {
    /// The tag.
    pub tag_id: i64,
    /// `image` or `droplet`.
    pub resource_type: String,
    /// How many.
    pub count: i64,
    /// The newest link of this kind.
    pub last_link: i64,
    /// The object that it leads to.
    pub last_resource: i64,
}

/// One page by name, and the total.
pub async fn list(db: &Pool, account: i64, window: Window) -> Result<(Vec<TagRow>, i64)> {
    let rows = sqlx::query_as(
        "SELECT id, name FROM tags WHERE account_id = $1 ORDER BY LOWER(name) LIMIT $2 OFFSET $3",
    )
    .bind(account)
    .bind(window.limit)
    .bind(window.offset)
    .fetch_all(db)
    .await?;
    let total = sqlx::query_scalar("SELECT COUNT(*) FROM tags WHERE account_id = $1")
        .bind(account)
        .fetch_one(db)
        .await?;
    Ok((rows, total))
}

/// By name, in any spelling.
pub async fn find(db: impl Executor<'_>, account: i64, name: &str) -> Result<Option<TagRow>> {
    sqlx::query_as("SELECT id, name FROM tags WHERE account_id = $1 AND LOWER(name) = LOWER($2)")
        .bind(account)
        .bind(name)
        .fetch_optional(db)
        .await
}

/// The tag of that name, made if there is none.
pub async fn ensure(tx: &mut Tx, account: i64, name: &str) -> Result<TagRow> {
    if let Some(tag) = find(&mut **tx, account, name).await? {
        return Ok(tag);
    }
    sqlx::query_as(
        "INSERT INTO tags (account_id, name, created_at) VALUES ($1, $2, $3) RETURNING id, name",
    )
    .bind(account)
    .bind(name)
    .bind(now())
    .fetch_one(&mut **tx)
    .await
}

/// How often each of these tags is used.
pub async fn uses(db: &Pool, tags: &[i64]) -> Result<Vec<UseRow>> {
    if tags.is_empty() {
        return Ok(Vec::new());
    }
    let text = format!(
        "SELECT l.tag_id, l.resource_type, u.count, u.last_link, l.resource_id AS last_resource \
         FROM (SELECT MAX(id) AS last_link, COUNT(*) AS count FROM tag_links \
         WHERE tag_id IN ({}) GROUP BY tag_id, resource_type) AS u \
         JOIN tag_links l ON l.id = u.last_link",
        placeholders(1, tags.len())
    );
    let mut query = sqlx::query_as(AssertSqlSafe(text));
    for tag in tags {
        query = query.bind(tag);
    }
    query.fetch_all(db).await
}

/// A query for the tags of one object, in the order in which it got them; [`names`] takes its result apart.
/// `id` is an expression of SQL.
pub fn select_names(kind: Kind, id: &str) -> String {
    format!(
        "SELECT STRING_AGG(t.name, ' ' ORDER BY l.id) FROM tag_links l \
         JOIN tags t ON t.id = l.tag_id \
         WHERE l.resource_type = '{}' AND l.resource_id = {id}",
        kind.word()
    )
}

/// The tags in the result of [`select_names`]. No name has a space.
pub fn names(found: Option<&str>) -> Vec<String> {
    let names = found.unwrap_or_default().split_whitespace();
    names.map(str::to_owned).collect()
}

/// Gives an object a tag; one that it has already stays as it is.
pub async fn link(tx: &mut Tx, tag: i64, kind: Kind, id: i64) -> Result<()> {
    sqlx::query(
        "INSERT INTO tag_links (tag_id, resource_type, resource_id) VALUES ($1, $2, $3) \
         ON CONFLICT DO NOTHING",
    )
    .bind(tag)
    .bind(kind.word())
    .bind(id)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Takes a tag from an object.
pub async fn unlink(tx: &mut Tx, tag: i64, kind: Kind, id: i64) -> Result<()> {
    sqlx::query(
        "DELETE FROM tag_links WHERE tag_id = $1 AND resource_type = $2 AND resource_id = $3",
    )
    .bind(tag)
    .bind(kind.word())
    .bind(id)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Takes every tag from an object that is being deleted.
pub async fn unlink_all(tx: &mut Tx, kind: Kind, id: i64) -> Result<()> {
    sqlx::query("DELETE FROM tag_links WHERE resource_type = $1 AND resource_id = $2")
        .bind(kind.word())
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Removes a tag from everything that has it.
pub async fn delete(tx: &mut Tx, tag: i64) -> Result<()> {
    sqlx::query("DELETE FROM tag_links WHERE tag_id = $1")
        .bind(tag)
        .execute(&mut **tx)
        .await?;
    sqlx::query("DELETE FROM tags WHERE id = $1")
        .bind(tag)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Moves the tags that images and droplets had before there was a table for them.
pub async fn adopt(tx: &mut Tx) -> Result<()> {
    for kind in [Kind::Image, Kind::Droplet] {
        // `tags` is NOT NULL, and '[]' in everything that was made since.
        let rows: Vec<(i64, i64, String)> = match kind {
            Kind::Image => sqlx::query_as(
                "SELECT id, account_id, tags FROM images WHERE tags <> '[]' AND deleted_at IS NULL",
            ),
            Kind::Droplet => sqlx::query_as(
                "SELECT id, account_id, tags FROM droplets WHERE tags <> '[]' \
                 AND deleted_at IS NULL",
            ),
        }
        .fetch_all(&mut **tx)
        .await?;
        for (id, account, tags) in rows {
            for name in from_json::<Vec<String>>(&tags)? {
                let tag = ensure(tx, account, &name).await?;
                link(tx, tag.id, kind, id).await?;
            }
            match kind {
                Kind::Image => sqlx::query("UPDATE images SET tags = '[]' WHERE id = $1"),
                Kind::Droplet => sqlx::query("UPDATE droplets SET tags = '[]' WHERE id = $1"),
            }
            .bind(id)
            .execute(&mut **tx)
            .await?;
        }
    }
    Ok(())
}
