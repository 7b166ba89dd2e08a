//! Which schema the database has, and back to an older one, for an operator who returns to the
//! previous release.
//!
//! Forward is no command: the service brings the schema up to date when it starts. Back has to be
//! asked of the newer release, for only it knows how to undo what it did (`db/migrate.rs`).

use crate::config::Config;
use crate::db::{Db, migrate};
use crate::start::lock;

/// The schema of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// The versions that were applied, oldest first.
    pub applied: Vec<i64>,
    /// The versions that this program knows, oldest first.
    pub known: Vec<i64>,
}

/// Which schema the database has. Nothing is changed.
///
/// # Errors
/// When there is no database yet, or it cannot be reached.
pub async fn schema(config: &Config) -> anyhow::Result<Schema> {
    read(&connect(config).await?).await
}

/// Takes the schema back to version `to`. What the older one has no place for is lost, so there
/// should be a copy of the database.
///
/// # Errors
/// When a service is running on the data directory, there is no database, or it never was at `to`.
pub async fn schema_back(config: &Config, to: i64) -> anyhow::Result<Schema> {
    let db = connect(config).await?;
    let _lock = lock(&config.data)?;
    migrate::down(db.read(), db.backend(), to).await?;
    read(&db).await
}

async fn read(db: &Db) -> anyhow::Result<Schema> {
    Ok(Schema {
        applied: migrate::applied(db.read()).await?,
        known: migrate::known(),
    })
}

/// Connects to a database that is there already.
async fn connect(config: &Config) -> anyhow::Result<Db> {
    config.expect_database()?;
    Db::connect(&config.database_url()).await
}
