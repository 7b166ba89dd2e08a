//! What an operator does on the machine that has the data, whether the service is running or not:
//! accounts, their users, tokens and quotas, the audit log, and whether what is stored is what the
//! database says ([`fsck`]), and backups ([`backup`]).
//!
//! [`Operator`] works on the database of a configuration. What it changes is recorded in the audit
//! log as done by an operator, in the transaction of the change, and counts at once for a service
//! that is running.

mod account;
pub mod backup;
pub mod fsck;
mod gc;
mod quota;
mod region;
mod stores;
mod token;
mod user;

pub use account::AccountSummary;
pub use gc::Garbage;
pub use region::{Dropped, RegionState};
pub use stores::Progress;
pub use token::NewOperatorToken;
pub use user::NewOperatorUser;

use anyhow::{Context as _, bail};

use crate::audit::Origin;
use crate::config::Config;
use crate::db::account::AccountRow;
use crate::db::{Db, Executor, account as accounts};
use crate::http::ApiError;

/// An operator with the database of a configuration.
#[derive(Debug)]
pub struct Operator {
    db: Db,
    origin: Origin,
    config: Config,
}

impl Operator {
    /// Opens the database, which must be there already.
    ///
    /// # Errors
    /// When there is no database yet, or it cannot be reached.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        config.expect_database()?;
        Ok(Self {
            db: Db::open(&config.database_url()).await?,
            origin: Origin::operator(),
            config: config.clone(),
        })
    }

    /// What names this process where it removes something from a store.
    fn instance() -> String {
        format!("operator/{}", uuid::Uuid::new_v4())
    }

    /// The account with the id, UUID or e-mail address `which`; the oldest without one.
    async fn find(db: impl Executor<'_>, which: Option<&str>) -> anyhow::Result<AccountRow> {
        let Some(which) = which else {
            return accounts::first(db)
                .await?
                .context("there is no account yet; start the service once");
        };
        match accounts::named(db, which).await?.as_slice() {
            [account] => Ok(account.clone()),
            [] => bail!("there is no account `{which}`; `abbild admin account list` shows all"),
            several => bail!(
                "{} accounts have the address `{which}`; name one by its id",
                several.len()
            ),
        }
    }
}

/// What is wrong, in the words of the API.
fn plain(error: ApiError) -> anyhow::Error {
    anyhow::anyhow!(error.message().to_owned())
}
