//! Mails: one a message, handed to a mail server by SMTP. Its id says which message it is, so that whoever gets it twice
//! can tell.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use fermion_model::receivers::{Mail, MailSecurity};
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};

use super::message::Message;
use super::send::{Failure, chain};
use super::{Secret, format, refuse, secret};
use crate::Error;

/// Characters of a subject; mail programs show less.
const SUBJECT_CHARACTERS_MAX: usize = 200;

/// Everything that is needed to send.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Line {
    mail: Mail,
    from: Mailbox,
    to: Vec<Mailbox>,
    password: Option<Secret>,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line")
            .field("host", &self.mail.host)
            .finish_non_exhaustive()
    }
}

/// What `alerts.toml` says, with the password from its file.
pub(super) fn line(mail: &Mail, folder: &Path) -> Result<Line, Error> {
    let mailbox = |text: &String| {
        let parsed = text.parse::<Mailbox>();
        parsed.map_err(|error| refuse(folder, &format!("{text:?} is not a mailbox: {error}")))
    };
    let password = mail.login.as_ref().map(|(_, file)| secret(&folder.join(file)));
    Ok(Line {
        from: mailbox(&mail.from)?,
        to: mail.to.iter().map(mailbox).collect::<Result<_, _>>()?,
        password: password.transpose()?,
        mail: mail.clone(),
    })
}

impl Line {
    /// Hands one mail over. What the server refuses for good is not tried again.
    pub(super) async fn send(&self, message: &Message, attempt_max: Duration) -> Result<(), Failure> {
        let mail = self.mail(message);
        let mail = mail.map_err(|error| Failure::Never(error.to_string()))?;
        let transport = self.transport(attempt_max);
        let transport = transport.map_err(|error| Failure::Later(chain(&error)))?;
        match tokio::time::timeout(attempt_max, transport.send(mail)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if error.is_permanent() => Err(Failure::Never(chain(&error))),
            Ok(Err(error)) => Err(Failure::Later(chain(&error))),
            Err(_) => Err(Failure::Later("it took too long".to_owned())),
        }
    }

    fn transport(
        &self,
        attempt_max: Duration,
    ) -> Result<AsyncSmtpTransport<Tokio1Executor>, lettre::transport::smtp::Error> {
        let Mail {
            host,
            port,
            security,
            login,
            ..
        } = &self.mail;
        let mut builder = match security {
            MailSecurity::Tls => AsyncSmtpTransport::<Tokio1Executor>::relay(host)?,
            MailSecurity::StartTls => AsyncSmtpTransport::<Tokio1Executor>::starttls_relay(host)?,
            MailSecurity::Plain => AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host),
        };
        builder = builder.port(*port).timeout(Some(attempt_max));
        if let (Some((user, _)), Some(Secret(password))) = (login, &self.password) {
            builder = builder.credentials(Credentials::new(user.clone(), password.clone()));
        }
        Ok(builder.build())
    }

    fn mail(&self, message: &Message) -> Result<lettre::Message, lettre::error::Error> {
        let subject = format::subject(message);
        let subject: String = subject.chars().take(SUBJECT_CHARACTERS_MAX).collect();
        let mut builder: MessageBuilder = lettre::Message::builder()
            .from(self.from.clone())
            .subject(subject)
            .message_id(Some(format!("<{}@fermion.invalid>", message.key())))
            .header(ContentType::TEXT_PLAIN);
        for reader in &self.to {
            builder = builder.to(reader.clone());
        }
        builder.body(format::text(message))
    }
}
