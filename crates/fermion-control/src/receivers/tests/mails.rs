//! A mail server that takes nothing at first: each mail arrives once, under an id that stays.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{NOW, emptied, notice, open_quick, put};
use crate::harness::{Hands, control};
use crate::slo::Transition;

/// One conversation of SMTP (RFC 5321).
async fn converse(stream: TcpStream, taken: &Mutex<Vec<String>>, is_busy: bool) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 mail.example.com\r\n").await?;
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let word = line.split([' ', ':', '\r']).next().unwrap_or_default();
        let word = word.to_ascii_uppercase();
        let answer = match word.as_str() {
            "MAIL" if is_busy => "451 not now",
            "DATA" => "354 go on",
            "QUIT" => "221 bye",
            _ => "250 ok",
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
        if word == "DATA" {
            let mut mail = String::new();
            while !mail.ends_with("\r\n.\r\n") {
                stream.read_line(&mut mail).await?;
            }
            taken.lock().unwrap().push(mail);
            stream.write_all(b"250 taken\r\n").await?;
        }
    }
}

#[tokio::test]
async fn a_mail_arrives_with_what_people_need_and_an_id_that_stays() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let taken = Arc::new(Mutex::new(Vec::new()));
    let mut server = JoinSet::new();
    let kept = taken.clone();
    server.spawn(async move {
        let mut is_busy = true;
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            drop(converse(stream, &kept, is_busy).await);
            is_busy = false;
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[receivers.post]\nkind = \"email\"\nserver = \"{address}\"\nsecurity = \"none\"\n\
         from = \"Fermion <fermion@example.com>\"\nto = [\"team@example.com\"]\n\
         [[routes]]\nreceivers = [\"post\"]\n"
    );
    std::fs::write(folder.path().join("alerts.toml"), text).unwrap();
    let control = control(folder.path(), &Hands::at(NOW), open_quick(folder.path()));
    put(&control, &[notice(1, Transition::Fired)]).await;
    let mut sender = JoinSet::new();
    sender.spawn({
        let control = control.clone();
        async move { control.run_receivers(CancellationToken::new()).await }
    });
    emptied(&control).await;
    let mails = taken.lock().unwrap().clone();
    assert_eq!(mails.len(), 1, "{mails:?}");
    for part in [
        "From: Fermion <fermion@example.com>",
        "To: team@example.com",
        "Message-ID: <key-01-fired@fermion.invalid>",
        "Subject: [page] default/tax success burns",
        "https://runbooks.example.com/tax",
    ] {
        assert!(mails[0].contains(part), "{part}: {}", mails[0]);
    }
}
