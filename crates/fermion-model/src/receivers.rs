//! `alerts.toml` of the data directory: who is told of alerts and rollouts, by which road. It names files that hold secrets, and holds
//! none itself.

mod mail;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::document::{DocumentError, Entry, Node, Section, Value, toml};
use crate::limits::{COMMAND_ARGUMENTS_MAX, RECEIVERS_MAX, ROUTE_RULES_MAX};
use crate::objective::read_name;

pub use mail::{Mail, MailSecurity};

/// The file's name.
pub const RECEIVERS_FILE: &str = "alerts.toml";

/// Where events for PagerDuty go unless the file says otherwise.
const PAGERDUTY: &str = "https://events.pagerduty.com/v2/enqueue";

/// An address: as written, or in a file, since some addresses are secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// The address.
    Plain(String),
    /// The file that holds it.
    File(PathBuf),
}

/// How a receiver is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Road {
    /// A JSON document, posted; signed if there is a secret.
    Webhook {
        /// Where to.
        url: Address,
        /// The file with the secret of the signature.
        secret_file: Option<PathBuf>,
    },
    /// A message in the form that Slack's incoming webhooks take.
    Slack {
        /// Where to.
        url: Address,
    },
    /// Events API, version 2.
    PagerDuty {
        /// Where to.
        url: Address,
        /// The file with the routing key.
        routing_key_file: PathBuf,
    },
    /// An Alertmanager's API, version 2.
    Alertmanager {
        /// Its root: `/api/v2/alerts` is added.
        url: Address,
    },
    /// A mail, handed over by SMTP.
    Email(Mail),
    /// A program that reads the JSON document from its standard input.
    Command {
        /// The program's path.
        program: PathBuf,
        /// Its arguments.
        arguments: Vec<String>,
    },
}

/// Which alerts go to whom. Every rule that fits counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteRule {
    /// Of these severities; of all if none is named.
    pub severities: Vec<String>,
    /// Of apps whose package names one of these owners; of all if none is named.
    pub owners: Vec<String>,
    /// To these receivers.
    pub receivers: Vec<String>,
}

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReceiversFile {
    /// Receivers by name.
    pub receivers: BTreeMap<String, Road>,
    /// Who gets what.
    pub routes: Vec<RouteRule>,
    /// Who is told of each step of each rollout.
    pub rollouts: Vec<String>,
}

impl ReceiversFile {
    /// Parses and validates; `file` names the text in refusals.
    pub fn parse(text: &str, file: &str) -> Result<Self, DocumentError> {
        let mut root = Section::open(
            file,
            "",
            toml::read(text, file)?,
            &["receivers", "routes", "rollouts"],
        )?;
        let mut read = Self::default();
        if let Some(entry) = root.take("receivers") {
            read.receivers = receivers(&root, entry, file)?;
        }
        let known: Vec<&str> = read.receivers.keys().map(String::as_str).collect();
        let next = format!("receivers here: {}", known.join(", "));
        let rollouts = root.list("rollouts", RECEIVERS_MAX, &next, |text| {
            match read.receivers.get(text) {
                Some(Road::PagerDuty { .. } | Road::Alertmanager { .. }) => {
                    Err(format!("{text:?} takes alerts only"))
                }
                Some(_) => Ok(text.to_owned()),
                None => Err(format!("{text:?} is no receiver of this file")),
            }
        })?;
        read.rollouts = rollouts;
        let next = "write [[routes]] with receivers = [\"NAME\"]";
        let nodes = root.nodes("routes", ROUTE_RULES_MAX, next)?;
        for (index, node) in nodes.into_iter().enumerate() {
            let rule = rule(&format!("routes[{index}]"), node, file, &read.receivers)?;
            read.routes.push(rule);
        }
        Ok(read)
    }

    /// The receivers of an alert, each once.
    pub fn receivers_of(&self, severity: &str, owner: Option<&str>) -> Vec<&str> {
        let fits = |wanted: &[String], found: Option<&str>| {
            wanted.is_empty() || found.is_some_and(|found| wanted.iter().any(|one| one == found))
        };
        let rules = self
            .routes
            .iter()
            .filter(|rule| fits(&rule.severities, Some(severity)) && fits(&rule.owners, owner));
        let mut names: Vec<&str> = rules
            .flat_map(|rule| rule.receivers.iter().map(String::as_str))
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

fn receivers(root: &Section<'_>, entry: Entry, file: &str) -> Result<BTreeMap<String, Road>, DocumentError> {
    let Value::Table(entries) = entry.node.value else {
        let what = format!("receivers is {}, not a table", entry.node.value.kind());
        return Err(root.refuse(entry.node.at, what, "write [receivers.NAME]"));
    };
    if entries.len() > RECEIVERS_MAX {
        let what = format!("{} receivers, the ceiling is {RECEIVERS_MAX}", entries.len());
        return Err(root.refuse(entry.node.at, what, "write fewer"));
    }
    let mut receivers = BTreeMap::new();
    for entry in entries {
        read_name(&entry.key).map_err(|why| {
            root.refuse(
                entry.at,
                format!("[receivers.{}]: {why}", entry.key),
                "choose another name",
            )
        })?;
        let road = road(&format!("receivers.{}", entry.key), entry.node, file)?;
        receivers.insert(entry.key, road);
    }
    Ok(receivers)
}

const KEYS: &[&str] = &[
    "kind",
    "url",
    "url_file",
    "secret_file",
    "routing_key_file",
    "program",
    "arguments",
    "server",
    "security",
    "from",
    "to",
    "user",
    "password_file",
];

fn road(path: &str, node: Node, file: &str) -> Result<Road, DocumentError> {
    let mut section = Section::open(file, path, node, KEYS)?;
    let next =
        "write kind = \"webhook\", \"slack\", \"pagerduty\", \"alertmanager\", \"email\" or \"command\"";
    let kind = section
        .text("kind", next)?
        .ok_or_else(|| section.missing("kind", next))?;
    let road = match kind.value.as_str() {
        "webhook" => Road::Webhook {
            url: address(&mut section, None)?,
            secret_file: path_of(&mut section, "secret_file")?,
        },
        "slack" => Road::Slack {
            url: address(&mut section, None)?,
        },
        "pagerduty" => Road::PagerDuty {
            url: address(&mut section, Some(PAGERDUTY))?,
            routing_key_file: path_of(&mut section, "routing_key_file")?.ok_or_else(|| {
                section.missing("routing_key_file", "name the file that holds the routing key")
            })?,
        },
        "alertmanager" => Road::Alertmanager {
            url: address(&mut section, None)?,
        },
        "email" => Road::Email(mail::read(&mut section)?),
        "command" => Road::Command {
            program: path_of(&mut section, "program")?
                .ok_or_else(|| section.missing("program", "write the path of a program"))?,
            arguments: section.list("arguments", COMMAND_ARGUMENTS_MAX, "write texts", |text| {
                Ok(text.to_owned())
            })?,
        },
        other => {
            let what = format!("{}: {other:?} is no kind", section.full("kind"));
            return Err(section.refuse(kind.at, what, next));
        }
    };
    // What this kind does not read must not look as if it were read.
    for key in KEYS {
        if let Some(entry) = section.take(key) {
            let what = format!("{} says nothing to a {}", section.full(key), kind.value);
            return Err(section.refuse(entry.at, what, "remove it"));
        }
    }
    Ok(road)
}

fn address(section: &mut Section<'_>, otherwise: Option<&str>) -> Result<Address, DocumentError> {
    let next = "write an address such as https://alerts.example.com/hook";
    let written = section.converted("url", next, read_url)?;
    let in_file = path_of(section, "url_file")?;
    match (written, in_file) {
        (Some(placed), Some(_)) => {
            let what = format!("{} and url_file are both written", section.full("url"));
            Err(section.refuse(placed.at, what, "write one of them"))
        }
        (Some(placed), None) => Ok(Address::Plain(placed.value)),
        (None, Some(path)) => Ok(Address::File(path)),
        (None, None) => match otherwise {
            Some(otherwise) => Ok(Address::Plain(otherwise.to_owned())),
            None => Err(section.missing("url", next)),
        },
    }
}

/// An absolute address of the web without a password in it.
pub fn read_url(text: &str) -> Result<String, String> {
    let refuse = || "it is not an address that begins with https:// or http://".to_owned();
    let uri: http::Uri = text.parse().map_err(|_| refuse())?;
    let is_web = matches!(uri.scheme_str(), Some("https" | "http"));
    match uri.authority() {
        Some(authority) if is_web && !authority.as_str().contains('@') => Ok(text.to_owned()),
        _ => Err(refuse()),
    }
}

fn path_of(section: &mut Section<'_>, key: &str) -> Result<Option<PathBuf>, DocumentError> {
    let path = section.text(key, "write the path of a file")?;
    Ok(path.map(|placed| PathBuf::from(placed.value)))
}

fn rule(
    path: &str,
    node: Node,
    file: &str,
    receivers: &BTreeMap<String, Road>,
) -> Result<RouteRule, DocumentError> {
    let at = node.at;
    let mut section = Section::open(file, path, node, &["severities", "owners", "receivers"])?;
    let next = "write severities = [\"page\", \"ticket\", \"notify\"]";
    let severities = section.list("severities", 3, next, |text| {
        let is_known = ["page", "ticket", "notify"].contains(&text);
        is_known
            .then(|| text.to_owned())
            .ok_or_else(|| format!("{text:?} is no severity"))
    })?;
    let next = "write names as packages have them in [telemetry] owner";
    let owners = section.list("owners", RECEIVERS_MAX, next, |text| Ok(text.to_owned()))?;
    let known: Vec<&str> = receivers.keys().map(String::as_str).collect();
    let next = format!("receivers here: {}", known.join(", "));
    let names = section.list("receivers", RECEIVERS_MAX, &next, |text| {
        let is_known = receivers.contains_key(text);
        is_known
            .then(|| text.to_owned())
            .ok_or_else(|| format!("{text:?} is no receiver of this file"))
    })?;
    if names.is_empty() {
        return Err(section.refuse(at, format!("{path} names no receiver"), next));
    }
    Ok(RouteRule {
        severities,
        owners,
        receivers: names,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
rollouts = ["chat"]
[receivers.hook]
kind = "webhook"
url = "https://alerts.example.com/hook"
secret_file = "hook.secret"
[receivers.chat]
kind = "slack"
url_file = "chat.url"
[receivers.duty]
kind = "pagerduty"
routing_key_file = "duty.key"
[receivers.am]
kind = "alertmanager"
url = "http://127.0.0.1:9093"
[receivers.post]
kind = "email"
server = "smtp.example.com"
from = "Fermion <fermion@example.com>"
to = ["team@example.com"]
user = "fermion"
password_file = "post.password"
[receivers.local]
kind = "command"
program = "/usr/local/bin/tell"
arguments = ["--loud"]
[[routes]]
severities = ["page"]
receivers = ["duty", "hook"]
[[routes]]
owners = ["team-checkout"]
receivers = ["chat", "hook"]
"#;

    #[test]
    fn reads_every_kind_and_routes_by_severity_and_owner() {
        let file = ReceiversFile::parse(WHOLE, "f").unwrap();
        assert_eq!(file.receivers.len(), 6);
        let duty = Road::PagerDuty {
            url: Address::Plain(PAGERDUTY.to_owned()),
            routing_key_file: "duty.key".into(),
        };
        assert_eq!(file.receivers["duty"], duty);
        assert_eq!(file.rollouts, ["chat"]);
        for (severity, owner, want) in [
            ("page", None, vec!["duty", "hook"]),
            ("page", Some("team-checkout"), vec!["chat", "duty", "hook"]),
            ("ticket", Some("team-checkout"), vec!["chat", "hook"]),
            ("ticket", Some("other"), vec![]),
        ] {
            assert_eq!(file.receivers_of(severity, owner), want, "{severity} {owner:?}");
        }
        assert_eq!(ReceiversFile::parse("", "f").unwrap(), ReceiversFile::default());
    }

    #[test]
    fn refusals_say_where_and_what() {
        for (from, to, part) in [
            (
                "kind = \"slack\"",
                "kind = \"slak\"",
                "f:8:8: receivers.chat.kind: \"slak\" is no kind",
            ),
            ("url = \"https://", "url = \"ftp://", "begins with https://"),
            (
                "https://alerts",
                "https://me:secret@alerts",
                "begins with https://",
            ),
            ("url_file = \"chat.url\"", "", "receivers.chat.url is missing"),
            (
                "routing_key_file = \"duty.key\"",
                "",
                "routing_key_file is missing",
            ),
            ("url_file", "url_fil", "did you mean \"url_file\"?"),
            ("secret_file = ", "program = ", "says nothing to a webhook"),
            (
                "[\"duty\", \"hook\"]",
                "[\"duties\"]",
                "\"duties\" is no receiver of this file",
            ),
            ("[\"duty\", \"hook\"]", "[]", "names no receiver"),
            ("[\"page\"]", "[\"pages\"]", "is no severity"),
            (
                "smtp.example.com\"",
                "smtp.example.com\"\nsecurity = \"none\"",
                "in the clear",
            ),
            ("user = \"fermion\"\n", "", "receivers.post.user is missing"),
            (
                "[\"team@example.com\"]",
                "[\"team\"]",
                "is not the address of a mailbox",
            ),
            ("\"smtp.example.com\"", "\"me@smtp.example.com\"", "is not a host"),
            ("[receivers.am]", "[receivers.AM]", "is not a name"),
            (
                "[\"chat\"]",
                "[\"chats\"]",
                "\"chats\" is no receiver of this file",
            ),
            ("[\"chat\"]", "[\"duty\"]", "\"duty\" takes alerts only"),
        ] {
            let text = WHOLE.replacen(from, to, 1);
            assert_ne!(text, WHOLE);
            let refusal = ReceiversFile::parse(&text, "f").unwrap_err().to_string();
            assert!(refusal.contains(part), "{to}: {refusal}");
        }
        let refusal = ReceiversFile::parse(&WHOLE.replace("https://alerts", "https://me:secret@alerts"), "f");
        assert!(!refusal.unwrap_err().to_string().contains("secret@"));
    }
}
