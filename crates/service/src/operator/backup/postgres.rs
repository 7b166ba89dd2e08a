//! PostgreSQL's own tools, which read and write what no other program should.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, bail};
use percent_encoding::percent_decode_str;
use reqwest::Url;
use tokio::process::Command;

use crate::db::Db;
use crate::db::fsck::{self, CopyRow};

/// A transaction whose snapshot others may use, and that may wait for them.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; \
    SET LOCAL idle_in_transaction_session_timeout = 0";

/// Writes the database into a new file by pg_dump(1), and returns what it says of images, of the
/// same moment.
pub async fn dump(
    db: &Db,
    url: &str,
    path: &Path,
) -> anyhow::Result<BTreeMap<String, Vec<CopyRow>>> {
    let mut connection = db.read().acquire().await?;
    sqlx::raw_sql(BEGIN).execute(&mut *connection).await?;
    let work = async {
        let snapshot: String = sqlx::query_scalar("SELECT CAST(pg_export_snapshot() AS TEXT)")
            .fetch_one(&mut *connection)
            .await?;
        let copies = fsck::copies(&mut *connection).await?;
        let mut command = tool("pg_dump", url)?;
        command.args(["--no-owner", "--no-privileges", "--snapshot", &snapshot]);
        command.arg("--file").arg(path);
        run("pg_dump", command).await?;
        anyhow::Ok(copies)
    };
    let result = work.await;
    sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await?;
    result
}

/// Fills an empty database from such a file by psql(1): with all of it, or with nothing.
pub async fn load(url: &str, path: &Path) -> anyhow::Result<()> {
    let mut command = tool("psql", url)?;
    command.args(["--no-psqlrc", "--quiet", "--single-transaction"]);
    command.args(["--set", "ON_ERROR_STOP=1", "--output", "/dev/null"]);
    command.arg("--file").arg(path);
    run("psql", command).await
}

/// One of the tools, for the database at `url`. A password is given where no other user of the host
/// can see it.
fn tool(program: &str, url: &str) -> anyhow::Result<Command> {
    let mut url = Url::parse(url).context("the URL of the database")?;
    let mut password = match url.password() {
        Some(word) => Some(percent_decode_str(word).decode_utf8()?.into_owned()),
        None => None,
    };
    // A URL without a host has no place for one.
    if password.is_some() && url.set_password(None).is_err() {
        bail!("the URL of the database has a password and no host");
    }
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    url.set_query(None);
    for (name, value) in pairs {
        match name.as_str() {
            "password" => password = Some(value),
            // Of our driver alone.
            "statement-cache-capacity" => {}
            _ => {
                url.query_pairs_mut().append_pair(&name, &value);
            }
        }
    }
    // libpq reads `+` as itself.
    let url = url.as_str().replace('+', "%20");
    let mut command = Command::new(program);
    command.arg("--dbname").arg(url).stdin(Stdio::null());
    if let Some(password) = password {
        command.env("PGPASSWORD", password);
    }
    Ok(command)
}

async fn run(program: &str, mut command: Command) -> anyhow::Result<()> {
    let output = command.kill_on_drop(true).output().await;
    let output = match output {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("`{program}` was not found; install it with `apt install postgresql-client`")
        }
        output => output.with_context(|| format!("running {program}"))?,
    };
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("{program} failed: {}", words.trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_no_arguments() {
        let words = |url: &str| {
            let command = tool("psql", url).unwrap();
            let std = command.as_std();
            let args: Vec<_> = std.get_args().map(|a| a.to_str().unwrap()).collect();
            let env = std.get_envs().next();
            let env = env.map(|(_, value)| value.unwrap().to_str().unwrap().to_owned());
            (args[1].to_owned(), env)
        };
        let (url, password) = words("postgres://me:s%40c@host:5433/db?sslmode=require");
        assert_eq!(url, "postgres://me@host:5433/db?sslmode=require");
        assert_eq!(password.as_deref(), Some("s@c"));
        let (url, password) = words("postgres://me@localhost/db?host=/run/a%20b&password=x");
        assert_eq!(url, "postgres://me@localhost/db?host=%2Frun%2Fa%20b");
        assert_eq!(password.as_deref(), Some("x"));
    }
}
