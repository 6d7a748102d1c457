//! A followed log: newline-delimited JSON, one line at a time, however the network cuts it.

use bytes::{Buf as _, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use crate::limits::LOG_LINE_BYTES_MAX;
use crate::{Error, LogLine};

const DOING: &str = "GET logs";

/// The lines as they come. Dropping it ends the request.
#[derive(Debug)]
pub struct LogLines {
    address: String,
    body: Incoming,
    buffer: BytesMut,
    ended: bool,
}

impl LogLines {
    pub(super) fn new(address: String, body: Incoming) -> Self {
        Self {
            address,
            body,
            buffer: BytesMut::new(),
            ended: false,
        }
    }

    /// The next line; none at the end, which a followed log reaches when the server stops. May be dropped at any
    /// await and called again.
    pub async fn next(&mut self) -> Result<Option<LogLine>, Error> {
        loop {
            if let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
                let line = self.buffer.split_to(end);
                self.buffer.advance(1);
                // A blank line only keeps the connection alive.
                if line.is_empty() {
                    continue;
                }
                return serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(|error| self.unexpected(error.to_string()));
            }
            if self.ended {
                return Ok(None);
            }
            if self.buffer.len() > LOG_LINE_BYTES_MAX {
                return Err(self.unexpected(format!("a line of more than {LOG_LINE_BYTES_MAX} bytes")));
            }
            match self.body.frame().await {
                None => self.ended = true,
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => {
                    let source = Box::new(error);
                    return Err(Error::Exchange {
                        address: self.address.clone(),
                        doing: DOING.to_owned(),
                        source,
                    });
                }
            }
        }
    }

    fn unexpected(&self, what: String) -> Error {
        Error::Answer {
            address: self.address.clone(),
            doing: DOING.to_owned(),
            what,
        }
    }
}
