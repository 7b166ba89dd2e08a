//! Which service to talk to, and the token for it.
//!
//! `abbild login` writes both to `$XDG_CONFIG_HOME/abbild/credentials.toml` (default
//! `~/.config`), mode 0600. `ABBILD_URL`, `ABBILD_TOKEN` and `ABBILD_CA` take precedence one by
//! one; what else is in the file is only ever used for the URL it was stored with.

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// A service and a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// Scheme, host and port, without a trailing slash.
    pub url: String,
    /// Bearer token.
    pub token: String,
    /// A file of authorities that are trusted instead of the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

impl Credentials {
    /// Those of the environment and the file.
    ///
    /// # Errors
    /// If neither says which, or the file cannot be read.
    pub fn load() -> anyhow::Result<Self> {
        let var = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let stored = read(&path()?)?;
        let ca = var("ABBILD_CA").map(PathBuf::from);
        merge(var("ABBILD_URL"), var("ABBILD_TOKEN"), ca, stored)
    }

    /// Writes the file, replacing it as a whole.
    ///
    /// # Errors
    /// Those of writing it.
    pub fn store(&self) -> anyhow::Result<PathBuf> {
        let path = path()?;
        write(&path, self).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }
}

/// `text` as the base of all URLs.
///
/// # Errors
/// If it is not an `http` or `https` URL of just host and port.
pub fn normalise_url(text: &str) -> Result<String, Failure> {
    let text = text.trim().trim_end_matches('/');
    let host = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"))
        .ok_or_else(|| {
            Failure::new(format!("`{text}` is not a URL of a service"))
                .hint("write it as http://127.0.0.1:8080 or https://images.example.org")
        })?;
    let bad = |c: char| c == '/' || c == '?' || c == '#' || c == '@' || c.is_whitespace();
    if host.is_empty() || host.contains(bad) {
        return Err(
            Failure::new(format!("`{text}` is more than a host and a port"))
                .hint("leave out any path, user name and query"),
        );
    }
    Ok(text.to_owned())
}

fn merge(
    url: Option<String>,
    token: Option<String>,
    ca: Option<PathBuf>,
    stored: Option<Credentials>,
) -> anyhow::Result<Credentials> {
    let url = url.as_deref().map(normalise_url).transpose()?;
    let not_logged_in = || {
        Failure::new("not logged in")
            .hint("`abbild login URL` remembers a service; `make run` prints the line to type")
    };
    let Some(url) = url.or_else(|| stored.as_ref().map(|s| s.url.clone())) else {
        return Err(not_logged_in().into());
    };
    let stored = stored.filter(|stored| stored.url == url);
    let ca = ca.or_else(|| stored.as_ref().and_then(|stored| stored.ca.clone()));
    let token = token.or_else(|| stored.map(|stored| stored.token));
    let Some(token) = token else {
        return Err(Failure::new(format!("no token for {url}"))
            .hint(format!("`abbild login {url}` or ABBILD_TOKEN"))
            .into());
    };
    Ok(Credentials { url, token, ca })
}

fn path() -> anyhow::Result<PathBuf> {
    Ok(directory("XDG_CONFIG_HOME", ".config")?.join("abbild/credentials.toml"))
}

/// The base directory that `variable` names if it is absolute, else `default` under the home
/// directory (XDG Base Directory Specification).
///
/// # Errors
/// If there is no home directory either.
pub fn directory(variable: &str, default: &str) -> anyhow::Result<PathBuf> {
    if let Some(path) = env::var_os(variable).map(PathBuf::from)
        && path.is_absolute()
    {
        return Ok(path);
    }
    match env::home_dir() {
        Some(home) if !home.as_os_str().is_empty() => Ok(home.join(default)),
        _ => Err(Failure::new("there is no home directory")
            .hint(format!("set HOME or {variable}"))
            .into()),
    }
}

fn read(path: &Path) -> anyhow::Result<Option<Credentials>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let credentials = toml::from_str(&text)
        // The cause may quote the line, and the line may be the token.
        .map_err(|_| {
            Failure::new(format!("{} is damaged", path.display()))
                .hint("`abbild login URL` writes it anew")
        })?;
    Ok(Some(credentials))
}

/// Writes through a neighbour, so that the file is never there with half its content or readable
/// by others.
fn write(path: &Path, credentials: &Credentials) -> anyhow::Result<()> {
    let directory = path.parent().context("the path has no directory")?;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    let text = toml::to_string(credentials)?;
    let draft = path.with_extension("toml.new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&draft, path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn stored() -> Option<Credentials> {
        Some(Credentials {
            url: "http://127.0.0.1:8080".into(),
            token: "secret".into(),
            ca: Some("/ca.pem".into()),
        })
    }

    #[test]
    fn what_is_stored_stays_with_its_url() {
        let with = |url: Option<&str>, token: Option<&str>, stored| {
            merge(url.map(Into::into), token.map(Into::into), None, stored)
        };
        assert_eq!(with(None, None, stored()).unwrap(), stored().unwrap());
        let same = with(Some("http://127.0.0.1:8080/"), None, stored());
        assert_eq!(same.unwrap(), stored().unwrap());
        assert!(with(Some("http://evil.example"), None, stored()).is_err());
        let both = with(Some("http://a"), Some("t"), stored()).unwrap();
        assert_eq!((both.url.as_str(), both.token.as_str()), ("http://a", "t"));
        assert_eq!(both.ca, None);
        assert!(with(None, Some("t"), None).is_err());
        let other = merge(None, None, Some("/other.pem".into()), stored()).unwrap();
        assert_eq!(other.ca, Some("/other.pem".into()));
    }

    #[test]
    fn urls_are_host_and_port() {
        assert_eq!(
            normalise_url(" https://a.example:1/ ").unwrap(),
            "https://a.example:1"
        );
        for bad in [
            "a.example",
            "ftp://a",
            "http://",
            "http://a/v2",
            "http://u@a",
            "http://a b",
        ] {
            assert!(normalise_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_file_is_private_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/credentials.toml");
        assert_eq!(read(&path).unwrap(), None);
        let wanted = stored().unwrap();
        write(&path, &wanted).unwrap();
        write(&path, &wanted).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(read(&path).unwrap(), Some(wanted));
        fs::write(&path, "token = sec").unwrap();
        assert!(!format!("{:#}", read(&path).unwrap_err()).contains("sec"));
    }
}
