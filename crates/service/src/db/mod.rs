//! The database: one file per table, and the two ways in.
//!
//! It is SQLite in a file, or PostgreSQL. Both are spoken to through sqlx's `Any` driver with the
//! same SQL: `$1` placeholders, integers and texts only, truth as 0 and 1. The schema is written
//! once as well ([`migrate`]).
//!
//! Reads go through a pool. Everything that changes something goes through [`Db::write`], whose
//! transaction holds the write lock from its beginning, so that a state is read and moved in one
//! step and nothing is half done after a crash. Every query that serves a customer names the
//! account.

pub mod account;
pub mod action;
pub mod audit;
pub mod census;
pub mod change;
pub mod console;
pub mod droplet;
pub mod fetch;
pub mod fsck;
pub mod idempotency;
pub mod image;
pub mod key;
pub mod migrate;
pub mod oidc;
pub mod probe;
pub mod quota;
pub mod region;
pub mod removal;
pub mod restore;
pub mod retention;
pub mod session;
pub mod tag;
pub mod token;
pub mod upload;
pub mod usage;
pub mod user;

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
pub use sqlx::AnyConnection as Connection;
pub use sqlx::AnyExecutor as Executor;
pub use sqlx::AnyPool as Pool;
use sqlx::any::AnyPoolOptions;
use sqlx::{Any, AnyConnection, Connection as _, Transaction};

/// A result of the database.
pub type Result<T> = std::result::Result<T, sqlx::Error>;

/// A transaction that holds the write lock.
pub type Tx = Transaction<'static, Any>;

/// How long to wait for a connection, and for the write lock.
const PATIENCE: Duration = Duration::from_secs(10);

/// What every connection to SQLite is told. An answer given is on disk: WAL alone would only
/// promise consistency, so every commit is synced.
const SQLITE_SESSION: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
    PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 10000;";

/// What every session of PostgreSQL is told. A process that hangs in a transaction holds the
/// write lock, so it may not do so for long.
const POSTGRES_SESSION: &str = "SET synchronous_commit = on; SET lock_timeout = '10s'; \
    SET idle_in_transaction_session_timeout = '30s';";

/// Takes PostgreSQL's write lock of Abbild until the end of the transaction. The number is
/// arbitrary, and the same in all versions. The type `void` is none that `Any` knows.
const POSTGRES_WRITE_LOCK: &str = "SELECT CAST(pg_advisory_xact_lock(4702394921) AS TEXT)";

/// Which database is behind the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// A file that one process uses.
    Sqlite,
    /// A server.
    Postgres,
}

/// A handle to the database; cheap to clone.
#[derive(Debug, Clone)]
pub struct Db {
    pool: Pool,
    backend: Backend,
}

impl Db {
    /// Opens the database at `url`, `sqlite:` or `postgres:`, and brings its schema up to date.
    ///
    /// # Errors
    /// When it cannot be reached or used, or a migration fails.
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        let db = Self::connect(url).await?;
        migrate::up(&db.pool, db.backend).await?;
        Ok(db)
    }

    /// Opens the database at `url` with the schema that it has.
    ///
    /// # Errors
    /// When it cannot be reached or used.
    pub async fn connect(url: &str) -> anyhow::Result<Self> {
        sqlx::any::install_default_drivers();
        let backend = Backend::of(url).context("a database is `sqlite:PATH` or `postgres://…`")?;
        let session = match backend {
            Backend::Sqlite => SQLITE_SESSION,
            Backend::Postgres => POSTGRES_SESSION,
        };
        let pool = AnyPoolOptions::new()
            .max_connections(16)
            .acquire_timeout(PATIENCE)
            // A server may have closed a connection meanwhile; a file has nobody to do so, and asking
            // costs as much as a query.
            .test_before_acquire(backend == Backend::Postgres)
            .after_connect(move |connection: &mut AnyConnection, _| {
                Box::pin(async move {
                    sqlx::raw_sql(session).execute(connection).await?;
                    Ok(())
                })
            })
            .after_release(move |connection, _| {
                Box::pin(async move {
                    if backend == Backend::Postgres || !connection.is_in_transaction() {
                        return Ok(true);
                    }
                    // A rollback may be under way still.
                    connection.ping().await?;
                    // SQLite ends a transaction itself when the disk is full. The rollback fails
                    // then, and the driver would think for ever that it is within one.
                    Ok(!connection.is_in_transaction())
                })
            })
            .connect(url)
            .await?;
        Ok(Self { pool, backend })
    }

    /// Which database this is.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// The pool, for reads.
    pub fn read(&self) -> &Pool {
        &self.pool
    }

    /// A transaction that already holds the write lock. There is one writer at a time, on either
    /// database and over all processes.
    ///
    /// # Errors
    /// When the lock cannot be had within ten seconds, or the database is away.
    pub async fn write(&self) -> Result<Tx> {
        let mut tx = match self.backend {
            Backend::Sqlite => self.pool.begin_with("BEGIN IMMEDIATE").await?,
            Backend::Postgres => {
                let mut tx = self.pool.begin().await?;
                sqlx::query(POSTGRES_WRITE_LOCK).execute(&mut *tx).await?;
                tx
            }
        };
        idempotency::mark(&mut tx).await?;
        Ok(tx)
    }
}

impl Backend {
    /// By the scheme of a URL; `None` when it is neither of the two.
    pub fn of(url: &str) -> Option<Self> {
        match url.split_once(':') {
            Some(("sqlite", _)) => Some(Self::Sqlite),
            Some(("postgres" | "postgresql", _)) => Some(Self::Postgres),
            _ => None,
        }
    }
}

/// The URL of the SQLite file at `path`, which is made if need be.
pub fn sqlite_url(path: &Path) -> String {
    format!("{}?mode=rwc", sqlite_path(path))
}

/// The URL of an SQLite file that nobody changes, for reading it without a trace.
pub fn sqlite_snapshot_url(path: &Path) -> String {
    format!("{}?mode=ro&immutable=true", sqlite_path(path))
}

fn sqlite_path(path: &Path) -> String {
    let path = path.as_os_str().as_encoded_bytes();
    format!("sqlite://{}", percent_encode(path, NON_ALPHANUMERIC))
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

impl Window {
    /// Everything.
    pub const ALL: Self = Self {
        limit: i64::MAX,
        offset: 0,
    };

    /// The order, and the page in it, that skips the fewest of `total` rows: of a list that is ordered
    /// downwards, its last pages are counted from the end.
    fn nearer_end(self, total: i64) -> (&'static str, Self) {
        let behind = total.saturating_sub(self.offset).max(0);
        let limit = self.limit.min(behind);
        if behind - limit < self.offset {
            let offset = behind - limit;
            return ("ASC", Self { limit, offset });
        }
        ("DESC", self)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_the_same_from_either_end() {
        let cut = |rows: Vec<i64>, window: Window| -> Vec<i64> {
            let [offset, limit] =
                [window.offset, window.limit].map(|n| usize::try_from(n).unwrap());
            rows.into_iter().skip(offset).take(limit).collect()
        };
        for (total, limit, offset) in (0..9)
            .flat_map(|total| (1..5).map(move |limit| (total, limit)))
            .flat_map(|(total, limit)| (0..11).map(move |offset| (total, limit, offset)))
        {
            let window = Window { limit, offset };
            let mut page = match window.nearer_end(total) {
                ("ASC", window) => cut((0..total).collect(), window),
                (_, window) => cut((0..total).rev().collect(), window),
            };
            page.sort_unstable_by_key(|id| -id);
            let expected = cut((0..total).rev().collect(), window);
            assert_eq!(page, expected, "{limit} of {total} from {offset}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_met_a_full_disk_is_not_used_again() {
        let directory = tempfile::tempdir().unwrap();
        let db = Db::open(&sqlite_url(&directory.path().join("db")))
            .await
            .unwrap();
        let mut tx = db.write().await.unwrap();
        sqlx::raw_sql("PRAGMA max_page_count = 1")
            .execute(&mut *tx)
            .await
            .unwrap();
        let error = sqlx::query(
            "INSERT INTO accounts (uuid, name, email, created_at) VALUES ('u', $1, 'e', 0)",
        )
        .bind("x".repeat(1 << 20))
        .execute(&mut *tx)
        .await
        .unwrap_err();
        assert!(error.to_string().contains("full"), "{error}");
        drop(tx);
        for _ in 0..20 {
            db.write().await.unwrap().rollback().await.unwrap();
        }
    }
}
