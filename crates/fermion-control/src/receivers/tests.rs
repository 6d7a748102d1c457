//! Real receivers that fail, are slow, lose their answers: each message arrives, in order, once by its key. And what each
//! kind of receiver reads.

mod formats;
mod mails;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fermion_api::{AlertView, BlameView, BurnView, ChangedView};
use fermion_bus::Expect;
use fermion_model::ReleaseNumber;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::send::signature;
use super::*;
use crate::Control;
use crate::harness::{Hands, control};
use crate::limits::{DELIVERY_AGE_MAX, OUTBOX_MAX};
use crate::slo::{Notice, Transition};

const NOW: u64 = 1_800_000_000;
/// For tests in which nothing is late: however slow the machine is.
const QUICK: Patience = Patience {
    attempt_max: Duration::from_secs(60),
    backoff_min: Duration::from_millis(1),
    backoff_max: Duration::from_millis(4),
};

/// What a receiver does with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Takes,
    /// It takes it, and what it answers does not arrive.
    Mumbles,
    Fails(u16),
    /// It never answers.
    Sleeps,
}

/// What arrived: key, signature, body.
#[derive(Debug, Clone)]
struct Arrived {
    key: String,
    signature: Option<String>,
    body: String,
}

#[derive(Debug, Clone, Default)]
struct Receiver {
    /// What it does next; when nothing is left it takes everything.
    script: Arc<Mutex<VecDeque<Answer>>>,
    /// What it has taken.
    taken: Arc<Mutex<Vec<Arrived>>>,
}

impl Receiver {
    fn plays(script: &[Answer]) -> Self {
        let receiver = Self::default();
        receiver.script.lock().unwrap().extend(script);
        receiver
    }

    async fn start(&self) -> (String, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (receiver, mut tasks) = (self.clone(), JoinSet::new());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let receiver = receiver.clone();
                connections.spawn(async move {
                    let service = service_fn(move |request| receiver.clone().answer(request));
                    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    drop(served.await);
                });
            }
        });
        (url, tasks)
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
        let header = |name: &str| {
            let value = request.headers().get(name)?;
            Some(value.to_str().unwrap().to_owned())
        };
        let (key, signature) = (header("idempotency-key").unwrap(), header("fermion-signature"));
        let body = request
            .into_body()
            .collect()
            .await
            .map_err(std::io::Error::other)?;
        let body = String::from_utf8(body.to_bytes().to_vec()).unwrap();
        let next = self.script.lock().unwrap().pop_front();
        let next = next.unwrap_or(Answer::Takes);
        if matches!(next, Answer::Takes | Answer::Mumbles) {
            self.taken.lock().unwrap().push(Arrived { key, signature, body });
        }
        match next {
            Answer::Takes => Ok(Response::new(Full::default())),
            Answer::Mumbles => Err(std::io::Error::other("lost")),
            Answer::Sleeps => std::future::pending::<Result<_, Infallible>>()
                .await
                .map_err(|never| match never {}),
            Answer::Fails(status) => {
                let mut response = Response::new(Full::default());
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                Ok(response)
            }
        }
    }

    fn keys(&self) -> Vec<String> {
        self.taken
            .lock()
            .unwrap()
            .iter()
            .map(|one| one.key.clone())
            .collect()
    }
}

fn write_secret(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// A folder whose `alerts.toml` names one webhook.
fn folder(url: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[receivers.hook]\nkind = \"webhook\"\nurl = \"{url}\"\nsecret_file = \"hook.secret\"\n\
         [[routes]]\nreceivers = [\"hook\"]\n"
    );
    std::fs::write(folder.path().join("alerts.toml"), text).unwrap();
    write_secret(&folder.path().join("hook.secret"), "s3cret\n");
    folder
}

pub(super) fn notice(number: u32, transition: Transition) -> Notice {
    Notice {
        key: format!("key-{number:02}-{}", transition.word()),
        transition,
        at: NOW + u64::from(number),
        alert: AlertView {
            id: "4f2a9c01d7e3".to_owned(),
            namespace: "default".parse().unwrap(),
            app: "tax".parse().unwrap(),
            objective: "success".to_owned(),
            severity: "page".to_owned(),
            state: "firing".to_owned(),
            held: false,
            opened_at: NOW,
            resolved_at: (transition == Transition::Resolved).then_some(NOW + 900),
            burn: BurnView {
                window_seconds: 900,
                good: 855,
                total: 900,
                burn: Some(50.0),
            },
            threshold: 14.0,
            owner: Some("team-checkout".to_owned()),
            runbook: Some("https://runbooks.example.com/tax".to_owned()),
            changed: ChangedView {
                at: NOW - 600,
                by: "operator".to_owned(),
                kind: "deploy".to_owned(),
                release: Some(ReleaseNumber(2)),
            },
            releases: vec![BlameView {
                release: ReleaseNumber(2),
                total: 450,
                bad: 44,
                share: 0.98,
                window_seconds: 900,
            }],
            acknowledged: None,
        },
    }
}

fn alert(notice: Notice) -> Message {
    Message::Alert(Box::new(notice))
}

async fn put(control: &Control, notices: &[Notice]) {
    let messages: Vec<_> = notices.iter().cloned().map(alert).collect();
    let ops = control.outbox_ops(&messages).await.unwrap();
    control.bus().commit(ops).await.unwrap();
}

/// Until nothing waits.
async fn emptied(control: &Control) {
    loop {
        let seen = control.bus().revision();
        let views = control.receiver_views().await.unwrap();
        if views.iter().all(|view| view.waiting == 0) {
            return;
        }
        control.bus().changed_since(seen).await.unwrap();
    }
}

fn open_quick(folder: &Path) -> Receivers {
    Receivers::open(folder).unwrap().with_patience(QUICK)
}

#[tokio::test]
async fn a_receiver_that_fails_sleeps_or_answers_twice_gets_each_message_once_by_key() {
    let receiver = Receiver::plays(&[
        Answer::Fails(503),
        Answer::Fails(500),
        Answer::Mumbles,
        Answer::Takes,
        Answer::Sleeps,
        Answer::Fails(404),
        Answer::Mumbles,
        Answer::Mumbles,
    ]);
    let (url, _server) = receiver.start().await;
    let folder = folder(&url);
    // An attempt that a slow machine takes for one that is lost is made again, with the same key.
    let patience = Patience {
        attempt_max: Duration::from_millis(300),
        ..QUICK
    };
    let receivers = Receivers::open(folder.path()).unwrap().with_patience(patience);
    let control = control(folder.path(), &Hands::at(NOW), receivers);
    let notices = [
        notice(1, Transition::Fired),
        notice(2, Transition::Acknowledged),
        notice(3, Transition::Resolved),
    ];
    put(&control, &notices).await;
    let stop = CancellationToken::new();
    let mut sender = JoinSet::new();
    sender.spawn({
        let (control, stop) = (control.clone(), stop.clone());
        async move { control.run_receivers(stop).await }
    });
    emptied(&control).await;
    stop.cancel();
    while sender.join_next().await.is_some() {}
    let mut keys = receiver.keys();
    assert!(keys.len() > notices.len(), "some came twice: {keys:?}");
    keys.dedup();
    let wanted: Vec<_> = notices.iter().map(|notice| notice.key.clone()).collect();
    assert_eq!(keys, wanted, "in order, and nothing but these");
    for arrived in receiver.taken.lock().unwrap().iter() {
        let want = signature(&Secret("s3cret".to_owned()), NOW, arrived.body.as_bytes());
        assert_eq!(arrived.signature.as_deref(), want.unwrap().to_str().ok());
        let body: serde_json::Value = serde_json::from_str(&arrived.body).unwrap();
        assert_eq!(body["key"], arrived.key.as_str());
    }
}

#[tokio::test]
async fn what_waits_outlives_the_process() {
    let receiver = Receiver::default();
    let (url, _server) = receiver.start().await;
    let folder = folder(&url);
    let hands = Hands::at(NOW);
    let first = control(folder.path(), &hands, open_quick(folder.path()));
    put(
        &first,
        &[notice(1, Transition::Fired), notice(2, Transition::Resolved)],
    )
    .await;
    drop(first);
    let second = control(folder.path(), &hands, open_quick(folder.path()));
    let mut sender = JoinSet::new();
    sender.spawn({
        let control = second.clone();
        async move { control.run_receivers(CancellationToken::new()).await }
    });
    emptied(&second).await;
    assert_eq!(receiver.keys(), ["key-01-fired", "key-02-resolved"]);
}

#[tokio::test]
async fn what_is_refused_damaged_or_too_old_does_not_hold_up_the_rest() {
    let receiver = Receiver::plays(&[Answer::Fails(422), Answer::Fails(503)]);
    let (url, _server) = receiver.start().await;
    let folder = folder(&url);
    let hands = Hands::at(NOW + DELIVERY_AGE_MAX.as_secs() + 3);
    let control = control(folder.path(), &hands, open_quick(folder.path()));
    let damaged = serde_json::json!({"schema": 7});
    let key = format!("outbox/hook/{:020}-x", 1);
    control.bus().put_json(&key, &damaged, Expect::Any).await.unwrap();
    let notices = [1, 2, 9].map(|number| notice(number, Transition::Fired));
    put(&control, &notices).await;
    let mut sender = JoinSet::new();
    sender.spawn({
        let control = control.clone();
        async move { control.run_receivers(CancellationToken::new()).await }
    });
    emptied(&control).await;
    // The first is refused for good, the second is a day old when it fails.
    assert_eq!(receiver.keys(), ["key-09-fired"]);
}

#[tokio::test]
async fn the_outbox_is_bounded_and_keeps_what_is_new() {
    let folder = folder("http://127.0.0.1:9/hook");
    let control = control(folder.path(), &Hands::at(NOW), open_quick(folder.path()));
    for first in (0..OUTBOX_MAX + 40).step_by(20) {
        let numbers = first..first + 20;
        let notices: Vec<_> = numbers
            .map(|number| notice(u32::try_from(number).unwrap(), Transition::Fired))
            .collect();
        put(&control, &notices).await;
    }
    let view = &control.receiver_views().await.unwrap()[0];
    let over = (OUTBOX_MAX + 40).next_multiple_of(20) - OUTBOX_MAX;
    assert_eq!(
        (view.waiting, view.oldest_at),
        (OUTBOX_MAX as u64, Some(NOW + over as u64))
    );
}

#[tokio::test]
async fn a_program_reads_the_document() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("tell");
    // The first time it fails, after it has read.
    let text = "#!/bin/sh\ncat > \"$1/document\"\n[ -e \"$1/again\" ] && exit 0\n: > \"$1/again\"\nexit 1\n";
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
    let text = format!(
        "[receivers.local]\nkind = \"command\"\nprogram = \"/bin/sh\"\narguments = [\"{}\", \"{}\"]\n\
         [[routes]]\nseverities = [\"page\"]\nreceivers = [\"local\"]\n",
        script.display(),
        folder.path().display()
    );
    std::fs::write(folder.path().join("alerts.toml"), text).unwrap();
    let control = control(folder.path(), &Hands::at(NOW), open_quick(folder.path()));
    let mut ticket = notice(2, Transition::Fired);
    ticket.alert.severity = "ticket".to_owned();
    put(&control, &[notice(1, Transition::Fired), ticket]).await;
    let mut sender = JoinSet::new();
    sender.spawn({
        let control = control.clone();
        async move { control.run_receivers(CancellationToken::new()).await }
    });
    emptied(&control).await;
    let document = std::fs::read_to_string(folder.path().join("document")).unwrap();
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["key"], "key-01-fired");
}

#[test]
fn secrets_come_from_files_of_the_right_mode_and_are_never_shown() {
    let folder = folder("https://alerts.example.com/hook");
    let shown = format!("{:?}", Receivers::open(folder.path()).unwrap());
    assert!(!shown.contains("s3cret"), "{shown}");
    let secret = folder.path().join("hook.secret");
    let open = || Receivers::open(folder.path()).unwrap_err().to_string();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(open().contains("hook.secret: others may read it"), "{}", open());
    write_secret(&secret, "two words\n");
    assert!(open().contains("one word") && !open().contains("two words"));
    std::fs::remove_file(&secret).unwrap();
    assert!(open().contains("hook.secret"), "{}", open());
    let file = folder.path().join("alerts.toml");
    let text = "[receivers.chat]\nkind = \"slack\"\nurl_file = \"chat.url\"\n";
    std::fs::write(&file, text).unwrap();
    write_secret(&folder.path().join("chat.url"), "ftp://s3cret.example.com");
    assert!(
        open().contains("https://") && !open().contains("s3cret"),
        "{}",
        open()
    );
    std::fs::write(&file, "[receivers.chat]\nkind = \"slac\"\n").unwrap();
    assert!(open().contains("alerts.toml:2:8"), "{}", open());
    std::fs::remove_file(&file).unwrap();
    assert!(Receivers::open(folder.path()).unwrap().targets.is_empty());
}
