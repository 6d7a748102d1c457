//! Receivers that get mails.

use std::path::PathBuf;

use super::path_of;
use crate::document::{DocumentError, Section};
use crate::limits::{MAIL_READERS_MAX, MAILBOX_BYTES_MAX};

/// How the line to a mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailSecurity {
    /// TLS from the first byte, port 465 unless said.
    Tls,
    /// TLS once the server has offered it, and nothing without; port 587 unless said.
    StartTls,
    /// None: to a server on this machine only; port 25 unless said.
    Plain,
}

/// Where mails go, and by whose word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The server's name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the line is protected.
    pub security: MailSecurity,
    /// Who writes: `Fermion <fermion@example.com>`, or the address alone.
    pub from: String,
    /// Who reads, in the same form.
    pub to: Vec<String>,
    /// By which name we log in, and the file with the password; without, we do not.
    pub login: Option<(String, PathBuf)>,
}

/// Reads what this kind says.
pub(super) fn read(section: &mut Section<'_>) -> Result<Mail, DocumentError> {
    let next = "write security = \"tls\", \"starttls\" or, to a server on this machine, \"none\"";
    let security = section.converted("security", next, |text| match text {
        "tls" => Ok(MailSecurity::Tls),
        "starttls" => Ok(MailSecurity::StartTls),
        "none" => Ok(MailSecurity::Plain),
        _ => Err(format!("{text:?} is none of these")),
    })?;
    let security = security.map_or(MailSecurity::StartTls, |placed| placed.value);
    let next = "write the server as smtp.example.com or smtp.example.com:587";
    let server = section
        .converted("server", next, read_server)?
        .ok_or_else(|| section.missing("server", next))?;
    let (host, port) = server.value;
    if security == MailSecurity::Plain && !matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1") {
        let what = format!("{} would be sent mails in the clear", section.full("server"));
        return Err(section.refuse(server.at, what, "write security = \"starttls\" or \"tls\""));
    }
    let next = "write an address such as fermion@example.com";
    let from = section
        .converted("from", next, read_mailbox)?
        .ok_or_else(|| section.missing("from", next))?
        .value;
    let to = section.list("to", MAIL_READERS_MAX, next, read_mailbox)?;
    if to.is_empty() {
        return Err(section.missing("to", "write to = [\"team@example.com\"]"));
    }
    let usual = match security {
        MailSecurity::Tls => 465,
        MailSecurity::StartTls => 587,
        MailSecurity::Plain => 25,
    };
    Ok(Mail {
        host,
        port: port.unwrap_or(usual),
        security,
        from,
        to,
        login: login(section)?,
    })
}

fn login(section: &mut Section<'_>) -> Result<Option<(String, PathBuf)>, DocumentError> {
    let user = section.text("user", "write the name by which the server knows us")?;
    let password = path_of(section, "password_file")?;
    match (user, password) {
        (Some(user), Some(file)) => Ok(Some((user.value, file))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(section.missing("password_file", "name the file that holds it")),
        (None, Some(_)) => Err(section.missing("user", "write by which name we log in")),
    }
}

/// `smtp.example.com:587`; the port may be absent.
fn read_server(text: &str) -> Result<(String, Option<u16>), String> {
    let refuse = || format!("{text:?} is not a host, or a host and a port");
    let authority: http::uri::Authority = text.parse().map_err(|_| refuse())?;
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return Err(refuse());
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    Ok((host.to_owned(), authority.port_u16()))
}

/// What can stand in a mail's head; the mail library has the last word.
fn read_mailbox(text: &str) -> Result<String, String> {
    let is_one = text.matches('@').count() == 1 && !text.starts_with('@') && !text.ends_with('@');
    let is_plain = text.len() <= MAILBOX_BYTES_MAX && !text.contains([',', ';']);
    (is_one && is_plain)
        .then(|| text.to_owned())
        .ok_or_else(|| format!("{text:?} is not the address of a mailbox"))
}
