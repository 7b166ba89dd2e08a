//! The database: one file per table, and the two ways in.
//!
//! Reads go through a pool. Everything that changes something goes through [`Db::write`], which
//! begins an immediate transaction, so that a state is read and moved in one step and nothing is
//! half done after a crash. Every query that serves a customer names the account.

pub mod account;
pub mod action;
pub mod droplet;
pub mod fetch;
pub mod idempotency;
pub mod image;
pub mod key;
pub mod tag;
pub mod upload;
pub mod usage;

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, SqlitePool, Transaction};

/// A result of the database.
pub type Result<T> = std::result::Result<T, sqlx::Error>;

/// A transaction that holds the write lock.
pub type Tx = Transaction<'static, Sqlite>;

/// A handle to the database; cheap to clone.
#[derive(Debug, Clone)]
pub struct Db {
    pool: SqlitePool,
}

impl Db {
    /// Opens or creates the database at `path` and brings its schema up to date.
    ///
    /// # Errors
    /// When the file cannot be used or a migration fails.
    pub async fn open(path: &Path) -> anyhow::Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // An answer given is on disk: WAL alone would only promise consistency.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(10));
        let pool = SqlitePoolOptions::new()
            .max_connections(8)
            .connect_with(options)
            .await?;
        sqlx::migrate!("src/db/migrations").run(&pool).await?;
        Ok(Self { pool })
    }

    /// The pool, for reads.
    pub fn read(&self) -> &SqlitePool {
        &self.pool
    }

    /// A transaction that already holds the write lock.
    ///
    /// # Errors
    /// When the lock cannot be had within ten seconds.
    pub async fn write(&self) -> Result<Tx> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        idempotency::mark(&mut tx).await?;
        Ok(tx)
    }
}

/// Seconds since 1970, UTC.
pub fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// The word that an enumeration of the wire types is written as.
pub fn word<T: Serialize>(value: T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        other => unreachable!("not an enumeration of words: {other:?}"),
    }
}

/// Reads back what [`word`] wrote.
///
/// # Errors
/// When the database holds a word that this version does not know.
pub fn from_word<T: DeserializeOwned>(word: &str) -> Result<T> {
    serde_json::from_value(serde_json::Value::String(word.to_owned()))
        .map_err(|e| sqlx::Error::Decode(e.into()))
}

/// A column that holds JSON.
///
/// # Errors
/// When the column holds something else.
pub fn from_json<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| sqlx::Error::Decode(e.into()))
}

/// The JSON of a value made of strings, numbers and lists.
pub fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|e| unreachable!("plain data: {e}"))
}

/// A size for an SQL integer; no real size comes near the limit.
pub fn sql_size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// A size from an SQL integer.
pub fn from_sql_size(bytes: i64) -> u64 {
    u64::try_from(bytes).unwrap_or(0)
}

/// One page of a list.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Rows to return.
    pub limit: i64,
    /// Rows to skip.
    pub offset: i64,
}

/// `$first, $first+1, …`: placeholders for a list of `count` values.
pub fn placeholders(first: usize, count: usize) -> String {
    let all: Vec<_> = (first..first + count).map(|n| format!("${n}")).collect();
    all.join(", ")
}

/// The condition of a list of images or droplets, with the account as `$1`, a name as `$2` and a
/// tag's id as `$3`; each is bound whether the list is limited by it or not.
fn list_condition(resource_type: &str, by_name: bool, by_tag: bool) -> String {
    let name = match by_name {
        true => "LOWER(name) = LOWER($2)",
        false => "CAST($2 AS TEXT) IS NOT NULL",
    };
    let tag = match by_tag {
        true => format!(
            "id IN (SELECT resource_id FROM tag_links WHERE tag_id = $3 \
             AND resource_type = '{resource_type}')"
        ),
        false => "CAST($3 AS BIGINT) IS NOT NULL".to_owned(),
    };
    format!("account_id = $1 AND deleted_at IS NULL AND {name} AND {tag}")
}
