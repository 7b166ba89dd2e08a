//! `abbild vm create`: from an image and a key to a machine that one can log in to.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use abbild_api::{ActionOne, CreateDroplet, CreateDropletAnswer, Droplet, Id, IdOrName, Key};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::args::VmCreateArgs;
use crate::client::Client;
use crate::commands::{key, wait};
use crate::failure::Failure;
use crate::names;
use crate::print::clean;
use crate::public_key;
use crate::session::Session;

use super::{act, list, show};

/// Most user data that the API takes.
const MAX_USER_DATA: usize = 64 * 1024;

/// Creates a machine.
///
/// # Errors
/// If something it needs does not exist, the service refuses, or the machine does not start.
pub fn run(session: &Session, args: &VmCreateArgs) -> anyhow::Result<ExitCode> {
    let user_data = args.user_data.as_deref().map(read_user_data).transpose()?;
    // What is no text travels in Base64.
    let (user_data, user_data_base64) = match user_data.map(String::from_utf8) {
        Some(Ok(text)) => (Some(text), None),
        Some(Err(error)) => (None, Some(BASE64.encode(error.as_bytes()))),
        None => (None, None),
    };
    let client = session.client()?;
    let image = names::image(&client, &args.image)?;
    let (name, names) = match args.names.as_slice() {
        [] => (Some(host_name(&image.name)), Vec::new()),
        [name] => (Some(name.clone()), Vec::new()),
        names => (None, names.to_vec()),
    };
    let request = CreateDroplet {
        name,
        names,
        size: args.size.clone(),
        image: IdOrName::Id(image.id.0),
        region: Some(args.region.clone()),
        ssh_keys: resolve_keys(&client, &args.keys)?,
        user_data,
        user_data_base64,
        tags: args.tags.clone(),
        backups: false,
        ipv6: false,
        monitoring: false,
        private_networking: false,
        volumes: Vec::new(),
        vpc_uuid: None,
    };
    let answer: CreateDropletAnswer = client.post("/v2/droplets", &request)?;
    let many = answer.droplets.unwrap_or_default();
    let mut vms: Vec<Droplet> = answer.droplet.into_iter().chain(many).collect();
    if !args.no_wait {
        for (vm, link) in vms.iter_mut().zip(&answer.links.actions) {
            *vm = wait_until_running(&client, vm, link.id)?;
        }
    }
    match vms.as_slice() {
        [] => return Err(Failure::new("the service did not say which machine it created").into()),
        [vm] => {
            session.show(vm, |out| show::write(out, vm))?;
            advise(vm);
        }
        vms => session.show(&vms, |out| list::write(out, vms))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn wait_until_running(client: &Client, vm: &Droplet, action: Id) -> anyhow::Result<Droplet> {
    let action = client
        .get::<ActionOne>(&format!("/v2/actions/{action}"))?
        .action;
    let hint = format!(
        "the machine goes on starting; `abbild vm show {}` shows it",
        vm.id
    );
    let failed = "the machine was not created";
    wait::to_end(client, action, "starting", failed, &hint)?;
    act::fetch(client, vm)
}

/// What to do next, on standard error so that standard output stays data.
fn advise(vm: &Droplet) {
    let name = clean(&vm.name);
    eprintln!("\nhint: `abbild vm ssh {name}` waits for its SSH server and logs in");
    let warned = vm
        .extra
        .as_ref()
        .is_some_and(|extra| !extra.warnings.is_empty());
    if warned {
        eprintln!("hint: should that fail, `abbild vm console {name}` is the way in");
    }
}

/// Ids of the keys, adding those that are given as a file and not known yet.
fn resolve_keys(client: &Client, wanted: &[String]) -> anyhow::Result<Vec<IdOrName>> {
    let mut known = names::keys(client)?;
    let mut ids: Vec<IdOrName> = Vec::new();
    for text in wanted {
        let key = match names::key(&known, text) {
            Ok(key) => key,
            Err(_) if is_path(text) => from_file(client, &mut known, Path::new(text))?,
            Err(error) => return Err(error.into()),
        };
        let id = IdOrName::Id(key.id.0);
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// Whether a file is meant, there or not: who misspelt one wants to hear of that, not of keys.
fn is_path(text: &str) -> bool {
    text.starts_with(['/', '.', '~']) || text.ends_with(".pub") || Path::new(text).is_file()
}

fn from_file(client: &Client, known: &mut Vec<Key>, path: &Path) -> anyhow::Result<Key> {
    let line = public_key::read(path)?;
    let same = |key: &&Key| public_key::essence(&key.public_key) == public_key::essence(&line);
    if let Some(key) = known.iter().find(same) {
        return Ok(key.clone());
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = public_key::comment(&line).unwrap_or(&stem);
    let key = key::create(client, name, &line)?;
    eprintln!("added key {} `{}`", key.id, clean(&key.name));
    known.push(key.clone());
    Ok(key)
}

fn read_user_data(path: &Path) -> anyhow::Result<Vec<u8>> {
    let fault = |what: &str| Failure::new(format!("{}: {what}", path.display()));
    let bytes = fs::read(path).map_err(|error| fault(&error.to_string()))?;
    if bytes.len() > MAX_USER_DATA {
        let hint = "put the rest where the machine can fetch it, and use `#include URL`";
        return Err(fault("user data may have 64 KiB at most").hint(hint).into());
    }
    Ok(bytes)
}

/// `name` with what a host name cannot have replaced.
fn host_name(name: &str) -> String {
    let allowed = |c: char| {
        if c.is_ascii_alphanumeric() || c == '.' {
            c
        } else {
            '-'
        }
    };
    let name: String = name.chars().map(allowed).take(63).collect();
    let name = name.trim_matches(['-', '.']).to_owned();
    if name.is_empty() {
        "vm".to_owned()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_made_of_what_they_may_have() {
        assert_eq!(host_name("debian-12"), "debian-12");
        assert_eq!(host_name("Mein Abbild (neu)"), "Mein-Abbild--neu");
        assert_eq!(host_name("東京"), "vm");
        assert_eq!(host_name(&"a".repeat(100)).len(), 63);
    }

    #[test]
    fn names_and_fingerprints_of_keys_are_no_paths() {
        for path in ["/home/me/key", "./key", "../key", "id_ed25519.pub"] {
            assert!(is_path(path), "{path}");
        }
        for key in [
            "work",
            "7",
            "SHA256:abc/def",
            "3b:16:bf:e4:8b:00:8b:b8:59:8c:a9:d3:f0:19:45:fa",
        ] {
            assert!(!is_path(key), "{key}");
        }
    }

    #[test]
    fn user_data_has_a_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("user-data");
        fs::write(&path, vec![b'a'; MAX_USER_DATA]).unwrap();
        assert_eq!(read_user_data(&path).unwrap().len(), MAX_USER_DATA);
        fs::write(&path, vec![b'a'; MAX_USER_DATA + 1]).unwrap();
        assert!(read_user_data(&path).is_err());
    }
}
