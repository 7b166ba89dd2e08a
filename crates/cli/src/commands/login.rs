//! `abbild login`: tries a token and remembers it with its service.

use std::process::ExitCode;

use abbild_api::{AccountOne, CreateToken, Login, SessionOne, TokenOne};
use serde_json::json;
use ureq::SendBody;
use ureq::http::header::SET_COOKIE;

use crate::args::LoginArgs;
use crate::client::{self, Client};
use crate::credentials::{Credentials, normalise_url};
use crate::failure::Failure;
use crate::print::clean;
use crate::session::Session;
use crate::terminal::secret;

/// Asks for the token or the password if need be, verifies it and stores service and token.
///
/// # Errors
/// If the service does not answer or does not know the token; nothing is stored then.
pub fn run(session: &Session, args: &LoginArgs) -> anyhow::Result<ExitCode> {
    let mut credentials = Credentials {
        url: normalise_url(&args.url)?,
        token: String::new(),
        ca: args.ca.as_deref().map(std::path::absolute).transpose()?,
    };
    credentials.token = match (&args.email, &args.token) {
        (Some(email), _) => by_password(&Client::new(&credentials, session.lang)?, email)?,
        (None, Some(token)) => token.clone(),
        (None, None) => secret("Token")?,
    };
    credentials.token = credentials.token.trim().to_owned();
    let token = &credentials.token;
    if token.is_empty() || !token.chars().all(|c| c.is_ascii_graphic()) {
        return Err(Failure::new("that is not a token").hint(ANOTHER).into());
    }
    let client = Client::new(&credentials, session.lang)?;
    let account = match client.get::<AccountOne>("/v2/account") {
        Ok(answer) => answer.account,
        Err(error) if error.status() == Some(401) => {
            let message = format!("{} does not know this token", client.url());
            return Err(Failure::new(message).hint(ANOTHER).into());
        }
        Err(error) => return Err(error.into()),
    };
    let path = credentials.store()?;
    let answer = json!({"url": credentials.url, "account": account, "file": path});
    session.show(&answer, |out| {
        let who = if account.name.is_empty() {
            &account.email
        } else {
            &account.name
        };
        writeln!(out, "logged in to {} as {}", credentials.url, clean(who))
    })?;
    Ok(ExitCode::SUCCESS)
}

const ANOTHER: &str =
    "the service prints one on its first start; `abbild admin token create` makes another";

/// Logs in with a password, makes a token for this machine, and logs out.
fn by_password(client: &Client, email: &str) -> anyhow::Result<String> {
    let login = Login {
        email: email.to_owned(),
        password: secret(&format!("Password of {}", clean(email)))?,
    };
    // No page of any site asks for it, and the service wants to be told so.
    let by_nobody = ("sec-fetch-site", "none");
    let response = match client.post_with("/v2/session", &[by_nobody], &login) {
        Ok(response) => response,
        Err(error) if error.status() == Some(401) => {
            return Err(Failure::new("address or password is wrong")
                .hint("an owner of the account, or its operator, can set another password")
                .into());
        }
        Err(error) => return Err(error.into()),
    };
    let cookie = response
        .headers()
        .get(SET_COOKIE)
        .and_then(|value| value.to_str().ok()?.split(';').next())
        .map(str::to_owned)
        .ok_or_else(|| client::Error::malformed("POST /v2/session", "it sets no cookie"))?;
    let scopes = client::decode::<SessionOne>("POST", "/v2/session", response)?.scopes;
    let host = rustix::system::uname();
    let new = CreateToken {
        name: format!("abbild on {}", host.nodename().to_string_lossy()),
        scopes,
        expires_in: None,
    };
    let path = "/v2/account/tokens";
    let headers = [by_nobody, ("cookie", cookie.as_str())];
    let made = client.post_with(path, &headers, &new)?;
    let made = client::decode::<TokenOne>("POST", path, made)?;
    client.run("DELETE", "/v2/session", &headers, SendBody::none())?;
    made.token
        .token
        .ok_or_else(|| client::Error::malformed(format!("POST {path}"), "it has no token").into())
}
