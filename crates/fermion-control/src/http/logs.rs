//! Logs over HTTP: the last lines, then each new one, as newline-delimited JSON.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use bytes::Bytes;
use fermion_api::limits::LOG_TAIL_MAX;
use fermion_telemetry::{Follower, LogLine, rfc3339};
use futures::stream;
use http::StatusCode;
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::answer::{Answer, answer};
use super::{Api, parse_names};
use crate::Error;
use crate::limits::FOLLOW_BEAT;

const LINES: &str = "application/x-ndjson";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogQuery {
    #[serde(default)]
    follow: bool,
    /// How many lines of the past; as many as are kept when absent.
    tail: Option<usize>,
}

pub(super) async fn logs(
    State(api): State<Api>,
    Path(names): Path<(String, String)>,
    query: Result<Query<LogQuery>, axum::extract::rejection::QueryRejection>,
) -> Answer {
    let (namespace, app) = parse_names(&names)?;
    let Query(query) = query.map_err(|error| Error::Request {
        what: error.body_text(),
    })?;
    api.control.read_app(&namespace, &app).await?;
    let hub = &api.control.shared.parts.logs;
    let (namespace, app) = (namespace.as_str(), app.as_str());
    // Before the past is read, so that no line falls between.
    let follower = query.follow.then(|| hub.follow(namespace, app));
    let past = hub.recent(
        namespace,
        app,
        query.tail.unwrap_or(LOG_TAIL_MAX).min(LOG_TAIL_MAX),
    );
    let Some(follower) = follower else {
        let text: Vec<u8> = past.iter().flat_map(|line| json_line(line)).collect();
        return Ok(answer(StatusCode::OK, LINES, text.into()));
    };
    let slot = Arc::clone(&api.control.shared.followers).try_acquire_owned();
    let slot = slot.map_err(|_| Error::Busy {
        what: "followed logs",
    })?;
    let follow = Follow {
        repeated: past.clone(),
        past: past.into(),
        follower,
        shutdown: api.shutdown,
        _slot: slot,
    };
    let lines = stream::unfold(follow, |mut follow| async move {
        let line = follow.next().await?;
        Some((Ok::<_, Infallible>(line), follow))
    });
    Ok(answer(StatusCode::OK, LINES, Body::from_stream(lines)))
}

struct Follow {
    past: VecDeque<Arc<LogLine>>,
    /// Lines of the past that may come again as new ones.
    repeated: Vec<Arc<LogLine>>,
    follower: Follower,
    shutdown: CancellationToken,
    _slot: OwnedSemaphorePermit,
}

impl Follow {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(line) = self.past.pop_front() {
            return Some(json_line(&line).into());
        }
        loop {
            let line = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return None,
                line = self.follower.next() => line?,
                // A blank line finds out whether anybody still reads.
                () = tokio::time::sleep(FOLLOW_BEAT) => return Some(Bytes::from_static(b"\n")),
            };
            if self.repeated.iter().any(|known| Arc::ptr_eq(known, &line)) {
                continue;
            }
            self.repeated.clear();
            return Some(json_line(&line).into());
        }
    }
}

/// The line as the API writes it.
fn json_line(line: &LogLine) -> Vec<u8> {
    let line = fermion_api::LogLine {
        time: rfc3339(line.time),
        namespace: line.served.namespace.clone(),
        app: line.served.app.clone(),
        release: line.served.release,
        request_id: hex::encode(line.request_id),
        stream: line.stream.as_str().to_owned(),
        level: line.level.map(|level| level.as_str().to_owned()),
        context: line.context.as_deref().map(str::to_owned),
        line: line.line.clone(),
    };
    let mut text = serde_json::to_vec(&line).expect("a line of texts and a number is JSON");
    text.push(b'\n');
    text
}
