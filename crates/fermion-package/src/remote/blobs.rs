//! Blobs between a registry and the store. Downloads are counted and hashed while they are written, and go on where
//! they broke off. Uploads are not sent if the registry has the blob, and go on where the registry says it stands.

use bytes::Bytes;
use fermion_model::{Digest, PackageName};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::header::{CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use http::{Method, StatusCode};
use reqwest::{Response, Url};

use super::exchange::{Call, Failed, Try};
use super::landing::{Landing, blocking};
use super::manifests::text;
use super::progress::Event;
use super::session::Session;
use crate::canonical::Descriptor;
use crate::limits::{TRANSFERS_MAX, UPLOAD_WHOLE_BYTES_MAX};
use crate::{Error, RegistryFault, Result, Store};

const BYTES: &str = "application/octet-stream";

impl Session {
    /// Brings blobs into the store, several at once. With a repository's name, what arrives of a large one is kept there
    /// even if the process dies.
    pub(super) async fn fetch_all(
        &self,
        store: &Store,
        name: Option<&PackageName>,
        blobs: Vec<Descriptor>,
    ) -> Result<()> {
        stream::iter(blobs)
            .map(Ok)
            .try_for_each_concurrent(TRANSFERS_MAX, |blob| async move {
                let was_there = self.fetch(store, name, &blob).await?;
                self.client.config().progress.tell(Event::Arrived {
                    digest: blob.digest,
                    bytes: blob.size,
                    was_there,
                });
                Ok(())
            })
            .await
    }

    /// Brings a blob into the store; true if it was there, whole.
    pub(super) async fn fetch(
        &self,
        store: &Store,
        name: Option<&PackageName>,
        blob: &Descriptor,
    ) -> Result<bool> {
        let was_there = {
            let (store, blob) = (store.clone(), blob.clone());
            blocking(move || Ok(store.read_described("blob", &blob, blob.size).is_ok())).await?
        };
        if !was_there {
            let doing = format!("read the blob {} of {}", blob.digest, self.repository);
            self.download(store, name, blob, &doing).await?;
        }
        Ok(was_there)
    }

    /// Tries until the blob has landed. What has arrived stays, and the next try asks for the rest, also that of a later
    /// process.
    async fn download(
        &self,
        store: &Store,
        name: Option<&PackageName>,
        blob: &Descriptor,
        doing: &str,
    ) -> Result<()> {
        loop {
            let landing = Landing::begin(store, name, blob).await?;
            let resumed = landing.bytes > 0;
            let landed = self.fill(landing, blob, doing).await;
            match landed {
                // What an earlier process left behind was damaged. It is gone now.
                Err(Error::DigestMismatch { .. }) if resumed => {}
                landed => return landed.map_err(|error| self.landed_badly(error, doing)),
            }
        }
    }

    async fn fill(&self, landing: Landing, blob: &Descriptor, doing: &str) -> Result<()> {
        let wait_max = self.time_for(blob.size);
        let landing = tokio::sync::Mutex::new(landing);
        let filled = self.retry(doing, || async {
            let mut landing = landing.lock().await;
            if landing.bytes > 0 && landing.bytes == blob.size {
                return Ok(());
            }
            let tried = tokio::time::timeout(wait_max, self.try_download(blob, doing, &mut landing)).await;
            tried.unwrap_or_else(|_| Err(Failed::at_last(self.too_slow(doing, wait_max))))
        });
        let filled = filled.await;
        let landing = landing.into_inner();
        match filled {
            Ok(()) => landing.finish().await,
            Err(error) => {
                landing.leave().await;
                Err(error)
            }
        }
    }

    fn landed_badly(&self, error: Error, doing: &str) -> Error {
        match error {
            Error::DigestMismatch { found, .. } => self.fault(
                RegistryFault::OtherBytes,
                doing,
                format!("it sends {found} instead"),
            ),
            other => other,
        }
    }

    async fn try_download(&self, blob: &Descriptor, doing: &str, landing: &mut Landing) -> Try<()> {
        let mut call = Call::new(Method::GET, self.url(&format!("blobs/{}", blob.digest)), doing);
        if landing.bytes > 0 {
            call = call.header(RANGE, &format!("bytes={}-", landing.bytes));
        }
        let mut response = self.send(&call).await?;
        let mut skip = match response.status() {
            StatusCode::PARTIAL_CONTENT => self.check_range(&response, landing.bytes, blob, doing)?,
            // The registry does not do ranges: what has arrived comes again and is passed over.
            StatusCode::OK => landing.bytes,
            _ => return Err(self.refusal(response, doing).await),
        };
        let too_large = || {
            let why = format!("it sends more than the {} bytes that are described", blob.size);
            self.fault(RegistryFault::TooLarge, doing, why)
        };
        let expected = blob.size - landing.bytes + skip;
        match response.content_length() {
            Some(bytes) if bytes > expected => return Err(too_large().into()),
            Some(bytes) if bytes < expected => {
                let why = format!("it has {bytes} bytes, {expected} are described");
                return Err(self.fault(RegistryFault::OtherBytes, doing, why).into());
            }
            _ => {}
        }
        while let Some(mut piece) = self.piece(&mut response, doing).await? {
            let passed = skip.min(piece.len() as u64);
            skip -= passed;
            let piece = piece.split_off(usize::try_from(passed).unwrap_or(piece.len()));
            let bytes = piece.len() as u64;
            if landing.bytes + bytes > blob.size {
                return Err(too_large().into());
            }
            if bytes == 0 {
                continue;
            }
            self.client.config().progress.tell(Event::Moved {
                digest: blob.digest,
                bytes,
            });
            if !landing.push(piece).await {
                break;
            }
        }
        // A writer that gave up says why when it is asked to finish.
        if landing.bytes == blob.size || landing.has_given_up() {
            return Ok(());
        }
        let why = format!("the answer ends after {} of {} bytes", landing.bytes, blob.size);
        Err(self.fault(RegistryFault::Unreachable, doing, why).into())
    }

    /// Refuses a part that is not the one that was asked for; gives the bytes to pass over.
    fn check_range(&self, response: &Response, from: u64, blob: &Descriptor, doing: &str) -> Result<u64> {
        let range = text(response, CONTENT_RANGE.as_str()).unwrap_or_default();
        let wanted = format!("bytes {from}-{}/{}", blob.size.saturating_sub(1), blob.size);
        if from > 0 && range == wanted {
            return Ok(0);
        }
        let why = format!("it sends {range:?} where {wanted:?} was asked for");
        Err(self.fault(RegistryFault::Answer, doing, why))
    }

    /// True if the registry has the blob in this repository.
    pub(super) async fn has_blob(&self, digest: &Digest) -> Result<bool> {
        let doing = format!("look for the blob {digest} in {}", self.repository);
        let call = Call::new(Method::HEAD, self.url(&format!("blobs/{digest}")), &doing);
        self.retry(&doing, || async {
            let response = self.send(&call).await?;
            match response.status() {
                StatusCode::OK => Ok(true),
                StatusCode::NOT_FOUND => Ok(false),
                _ => Err(self.refusal(response, &doing).await),
            }
        })
        .await
    }

    /// Brings blobs from the store to the registry, several at once. `from` is a repository of the same registry that
    /// has them.
    pub(super) async fn send_all(
        &self,
        store: &Store,
        blobs: Vec<Descriptor>,
        from: Option<&str>,
    ) -> Result<()> {
        stream::iter(blobs)
            .map(Ok)
            .try_for_each_concurrent(TRANSFERS_MAX, |blob| async move {
                self.send_blob(store, &blob, from).await
            })
            .await
    }

    async fn send_blob(&self, store: &Store, blob: &Descriptor, from: Option<&str>) -> Result<()> {
        let (digest, bytes) = (blob.digest, blob.size);
        let was_there = self.has_blob(&digest).await? || self.mount(&digest, from).await?;
        if !was_there {
            let (store, blob) = (store.clone(), blob.clone());
            let content = blocking(move || store.read_described("blob", &blob, blob.size)).await?;
            self.upload(&digest, content.into()).await?;
        }
        self.client.config().progress.tell(Event::Arrived {
            digest,
            bytes,
            was_there,
        });
        Ok(())
    }

    /// True if the registry takes the blob over from another of its repositories.
    async fn mount(&self, digest: &Digest, from: Option<&str>) -> Result<bool> {
        let Some(from) = from else { return Ok(false) };
        let doing = format!("take over the blob {digest} from {from}");
        let mut url = self.url("blobs/uploads/");
        url.query_pairs_mut()
            .append_pair("mount", &digest.to_string())
            .append_pair("from", from);
        // A registry that does not want to opens an upload, which it forgets by itself, or refuses. Either way the blob
        // is then sent.
        let call = Call::new(Method::POST, url, &doing);
        match self.send(&call).await {
            Ok(response) => Ok(response.status() == StatusCode::CREATED),
            Err(failed) => match *failed.error {
                Error::Registry { fault, .. } if fault != RegistryFault::Unauthorized => Ok(false),
                error => Err(error),
            },
        }
    }

    async fn upload(&self, digest: &Digest, content: Bytes) -> Result<()> {
        let doing = format!("write the blob {digest} of {}", self.repository);
        let at = tokio::sync::Mutex::new(None::<Url>);
        self.retry(&doing, || async {
            let mut at = at.lock().await;
            let tried = self.try_upload(digest, &content, &doing, &mut at).await;
            if let Err(failed) = &tried
                && !failed.passes()
            {
                *at = None;
            }
            tried
        })
        .await
    }

    /// `at` is where an upload that broke off goes on.
    async fn try_upload(
        &self,
        digest: &Digest,
        content: &Bytes,
        doing: &str,
        at: &mut Option<Url>,
    ) -> Try<()> {
        let size = content.len() as u64;
        let (mut url, mut offset) = match at.take() {
            Some(url) => match self.standing(&url, size, doing).await? {
                Some(standing) => standing,
                None => (self.open_upload(doing).await?, 0),
            },
            None => (self.open_upload(doing).await?, 0),
        };
        *at = Some(url.clone());
        if size - offset > UPLOAD_WHOLE_BYTES_MAX {
            let call = self.part(Method::PATCH, url, digest, content, offset, doing);
            let response = self.send(&call).await?;
            if response.status() != StatusCode::ACCEPTED {
                return Err(self.refusal(response, doing).await);
            }
            url = self.location(&response, doing)?;
            *at = Some(url.clone());
            offset = size;
        }
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        let call = self.part(Method::PUT, url, digest, content, offset, doing);
        let response = self.send(&call).await?;
        match response.status() {
            StatusCode::CREATED | StatusCode::OK | StatusCode::NO_CONTENT => Ok(()),
            _ => Err(self.refusal(response, doing).await),
        }
    }

    /// The content from `offset` on, as a request.
    fn part(
        &self,
        method: Method,
        url: Url,
        digest: &Digest,
        content: &Bytes,
        offset: u64,
        doing: &str,
    ) -> Call {
        let mut call = Call::new(method, url, doing).header(CONTENT_TYPE, BYTES);
        call.body = content.slice(
            usize::try_from(offset)
                .unwrap_or(content.len())
                .min(content.len())..,
        );
        call.blob = Some(*digest);
        if offset > 0 && !call.body.is_empty() {
            call = call.header(CONTENT_RANGE, &format!("{offset}-{}", content.len() - 1));
        }
        call
    }

    async fn open_upload(&self, doing: &str) -> Try<Url> {
        let call = Call::new(Method::POST, self.url("blobs/uploads/"), doing);
        let response = self.send(&call).await?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(self.refusal(response, doing).await);
        }
        Ok(self.location(&response, doing)?)
    }

    fn location(&self, response: &Response, doing: &str) -> Result<Url> {
        match text(response, LOCATION.as_str()) {
            Some(location) => self.upload_url(&location),
            None => Err(self.fault(
                RegistryFault::Answer,
                doing,
                "it does not say where the upload goes on",
            )),
        }
    }

    /// How far an upload has come and where it goes on; none if it must begin anew.
    async fn standing(&self, url: &Url, size: u64, doing: &str) -> Try<Option<(Url, u64)>> {
        let response = self.send(&Call::new(Method::GET, url.clone(), doing)).await?;
        if response.status() != StatusCode::NO_CONTENT {
            return Ok(None);
        }
        // `0-N`, with N the last byte that is there. A registry with nothing may say `0-0`, which is also what it says
        // of a single byte; as no upload of ours breaks off after one byte by design, nothing is taken for granted.
        let offset = text(&response, RANGE.as_str())
            .and_then(|range| {
                range
                    .trim_start_matches("bytes=")
                    .strip_prefix("0-")?
                    .parse::<u64>()
                    .ok()
            })
            .map_or(0, |last| if last == 0 { 0 } else { last + 1 });
        let next = match text(&response, LOCATION.as_str()) {
            Some(location) => self.upload_url(&location)?,
            None => url.clone(),
        };
        Ok((offset > 0 && offset <= size).then_some((next, offset)))
    }
}
