//! From what the user typed to one object: by id, by name, and an error that helps otherwise.

use std::fmt::Display;

use abbild_api::{Droplet, DropletList, Id, IdOrName, Image, ImageList, ImageOne, ImageStatus};
use abbild_api::{DropletOne, Key, KeyList, Token};

use crate::client::Client;
use crate::failure::Failure;
use crate::print::clean;

/// The image that `text` names. Of several of one name, one that is usable goes before those
/// whose import failed.
///
/// # Errors
/// If there is none, or several.
pub fn image(client: &Client, text: &str) -> anyhow::Result<Image> {
    let candidates = match images(client, text)? {
        Found::One(image) => return Ok(*image),
        Found::Named(images) => images,
    };
    let (dead, alive): (Vec<_>, Vec<_>) = candidates
        .into_iter()
        .partition(|image| image.status == ImageStatus::Deleted);
    let usable = if alive.is_empty() { dead } else { alive };
    Ok(only(usable, "image", text, |image| image.id)?)
}

/// The image that `text` names, for something that cannot be undone: no guess among several.
///
/// # Errors
/// If there is none, or several.
pub fn image_strictly(client: &Client, text: &str) -> anyhow::Result<Image> {
    match images(client, text)? {
        Found::One(image) => Ok(*image),
        Found::Named(images) => Ok(only(images, "image", text, |image| image.id)?),
    }
}

enum Found {
    One(Box<Image>),
    Named(Vec<Image>),
}

fn images(client: &Client, text: &str) -> anyhow::Result<Found> {
    if let IdOrName::Id(id) = IdOrName::parse(text) {
        match client.get::<ImageOne>(&format!("/v2/images/{id}")) {
            Ok(answer) => return Ok(Found::One(Box::new(answer.image))),
            Err(error) if error.status() == Some(404) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let all = client.list("/v2/images?private=true", |page: ImageList| {
        (page.images, page.meta)
    })?;
    let named = all.into_iter().filter(|image| image.name == text);
    Ok(Found::Named(named.collect()))
}

/// The machine that `text` names.
///
/// # Errors
/// If there is none, or several.
pub fn vm(client: &Client, text: &str) -> anyhow::Result<Droplet> {
    if let IdOrName::Id(id) = IdOrName::parse(text) {
        match client.get::<DropletOne>(&format!("/v2/droplets/{id}")) {
            Ok(answer) => return Ok(answer.droplet),
            Err(error) if error.status() == Some(404) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let all = client.list("/v2/droplets", |page: DropletList| {
        (page.droplets, page.meta)
    })?;
    let named = all.into_iter().filter(|vm| vm.name == text);
    Ok(only(named.collect(), "vm", text, |vm| vm.id)?)
}

/// All keys of the account.
///
/// # Errors
/// Those of the request.
pub fn keys(client: &Client) -> anyhow::Result<Vec<Key>> {
    Ok(client.list("/v2/account/keys", |page: KeyList| {
        (page.ssh_keys, page.meta)
    })?)
}

/// The key of `keys` with the id, name or fingerprint `text`.
///
/// # Errors
/// If there is none, or several.
pub fn key(keys: &[Key], text: &str) -> Result<Key, Failure> {
    let by_id = |key: &&Key| IdOrName::parse(text) == IdOrName::Id(key.id.0);
    if let Some(key) = keys.iter().find(by_id) {
        return Ok(key.clone());
    }
    let fingerprint = text.strip_prefix("MD5:").unwrap_or(text);
    let named = keys
        .iter()
        .filter(|key| key.name == text || key.fingerprint.eq_ignore_ascii_case(fingerprint));
    only(named.cloned().collect(), "key", text, |key| key.id)
}

/// The token of `tokens` with the id or name `text`.
///
/// # Errors
/// If there is none, or several.
pub fn token(tokens: &[Token], text: &str) -> Result<Token, Failure> {
    let by_id = |token: &&Token| IdOrName::parse(text) == IdOrName::Id(token.id.0);
    if let Some(token) = tokens.iter().find(by_id) {
        return Ok(token.clone());
    }
    let named = tokens.iter().filter(|token| token.name == text);
    only(named.cloned().collect(), "token", text, |token| token.id)
}

fn only<T>(mut found: Vec<T>, kind: &str, text: &str, id: impl Fn(&T) -> Id) -> Result<T, Failure> {
    let text = clean(text);
    match found.pop() {
        None => Err(Failure::new(format!("there is no {kind} `{text}`"))
            .hint(format!("`abbild {kind} list` shows what there is"))),
        Some(one) if found.is_empty() => Ok(one),
        Some(last) => {
            found.push(last);
            let ids: Vec<_> = found.iter().map(|item| id(item).to_string()).collect();
            Err(
                Failure::new(format!("{} {kind}s are called `{text}`", ids.len()))
                    .hint(format!("name one by its id: {}", list(&ids))),
            )
        }
    }
}

fn list(items: &[impl Display]) -> String {
    let items: Vec<_> = items.iter().map(ToString::to_string).collect();
    items.join(", ")
}

#[cfg(test)]
mod tests {
    use crate::failure::hint;

    use super::*;

    fn key_of(id: i64, name: &str) -> Key {
        Key {
            id: Id(id),
            fingerprint: format!("aa:0{id}"),
            public_key: String::new(),
            name: name.into(),
        }
    }

    #[test]
    fn keys_are_found_by_id_name_and_fingerprint() {
        let keys = [key_of(1, "home"), key_of(2, "work"), key_of(3, "work")];
        let found = |text: &str| key(&keys, text).map(|key| key.id.0).ok();
        assert_eq!(found("1"), Some(1));
        assert_eq!(found("home"), Some(1));
        assert_eq!(found("MD5:AA:02"), Some(2));
        assert_eq!(found("4"), None);
        let ambiguous = anyhow::Error::new(key(&keys, "work").unwrap_err());
        assert_eq!(ambiguous.to_string(), "2 keys are called `work`");
        assert_eq!(hint(&ambiguous).unwrap(), "name one by its id: 2, 3");
    }
}
