//! A registry in memory over real sockets, which tests can make lie, break off, loop, drip and refuse. One connection,
//! one request.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use sha2::Digest as _;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Without the query.
    pub(crate) path: String,
    pub(crate) query: String,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    /// How many requests with this method and path came before.
    pub(crate) before: usize,
}

impl Request {
    pub(crate) fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.path.contains(part)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What to answer.
pub(crate) enum Reply {
    /// Status, more header lines, body; the length is added.
    Full(u16, Vec<String>, Vec<u8>),
    /// These bytes and no more.
    Raw(Vec<u8>),
    /// A head, and then bytes as long as somebody takes them.
    Endless(Vec<u8>),
    /// Nothing, with the connection open until the other side closes it.
    Hang,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        Self::Full(status, Vec::new(), Vec::new())
    }

    pub(crate) fn redirect(to: &str) -> Self {
        Self::Full(307, vec![format!("location: {to}")], Vec::new())
    }
}

/// Blobs by digest; manifests by place, with their media types.
type Contents = (BTreeMap<String, Vec<u8>>, BTreeMap<String, (String, Vec<u8>)>);

type Hook = Box<dyn Fn(&Request) -> Option<Reply> + Send + Sync>;

#[derive(Default)]
struct State {
    blobs: BTreeMap<String, Vec<u8>>,
    /// `REPOSITORY/manifests/REFERENCE` to media type and bytes.
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    uploads: BTreeMap<String, Vec<u8>>,
    opened: usize,
    log: Vec<Request>,
}

struct Shared {
    address: SocketAddr,
    has_referrers: bool,
    /// A `PATCH` is read up to here, once, and the connection closed.
    cut_upload: Mutex<Option<usize>>,
    hook: Hook,
    state: Mutex<State>,
}

/// A running registry; its thread ends with the process.
#[derive(Clone)]
pub(crate) struct Server {
    shared: Arc<Shared>,
}

impl Server {
    /// A registry that does everything right.
    pub(crate) fn start(has_referrers: bool) -> Self {
        Self::hooked(has_referrers, |_| None)
    }

    /// A registry that answers by `hook` where it gives an answer.
    pub(crate) fn hooked(
        has_referrers: bool,
        hook: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared {
            address: listener.local_addr().unwrap(),
            has_referrers,
            cut_upload: Mutex::new(None),
            hook: Box::new(hook),
            state: Mutex::default(),
        });
        let server = Self { shared };
        let accepting = server.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let (server, connection) = (accepting.clone(), connection.unwrap());
                // A peer that leaves early is part of some tests.
                std::thread::spawn(move || drop(server.serve(connection)));
            }
        });
        server
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.shared.address
    }

    pub(crate) fn cut_upload_at(&self, bytes: usize) {
        *self.shared.cut_upload.lock().unwrap() = Some(bytes);
    }

    /// Everything that was asked, as `METHOD path?query`.
    pub(crate) fn asked(&self) -> Vec<String> {
        let line = |request: &Request| format!("{} {}{}", request.method, request.path, request.query);
        self.shared.state.lock().unwrap().log.iter().map(line).collect()
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.state.lock().unwrap().log.clone()
    }

    pub(crate) fn forget(&self) {
        self.shared.state.lock().unwrap().log.clear();
    }

    /// The manifest of a repository under a tag or digest.
    pub(crate) fn manifest(&self, repository: &str, reference: &str) -> Option<Vec<u8>> {
        let state = self.shared.state.lock().unwrap();
        let key = format!("{repository}/manifests/{reference}");
        state.manifests.get(&key).map(|(_, bytes)| bytes.clone())
    }

    pub(crate) fn put_manifest(&self, repository: &str, reference: &str, media_type: &str, bytes: &[u8]) {
        let mut state = self.shared.state.lock().unwrap();
        for reference in [reference, &digest(bytes)] {
            let key = format!("{repository}/manifests/{reference}");
            state
                .manifests
                .insert(key, (media_type.to_owned(), bytes.to_vec()));
        }
    }

    pub(crate) fn put_blob(&self, bytes: &[u8]) {
        self.shared
            .state
            .lock()
            .unwrap()
            .blobs
            .insert(digest(bytes), bytes.to_vec());
    }

    /// Every blob and manifest, to compare two registries.
    pub(crate) fn contents(&self) -> Contents {
        let state = self.shared.state.lock().unwrap();
        (state.blobs.clone(), state.manifests.clone())
    }

    fn serve(&self, mut connection: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(connection.try_clone()?);
        let Some(mut request) = read_head(&mut reader)? else {
            return Ok(());
        };
        let length: usize = request
            .header("content-length")
            .map_or(0, |text| text.parse().unwrap());
        let cut = match request.method.as_str() {
            "PATCH" => self.shared.cut_upload.lock().unwrap().take(),
            _ => None,
        };
        request.body = vec![0; cut.map_or(length, |cut| cut.min(length))];
        reader.read_exact(&mut request.body)?;
        {
            let mut state = self.shared.state.lock().unwrap();
            let same = |other: &&Request| other.method == request.method && other.path == request.path;
            request.before = state.log.iter().filter(same).count();
            state.log.push(request.clone());
        }
        let hooked = (self.shared.hook)(&request);
        if cut.is_some() {
            self.answer(&request);
            return Ok(());
        }
        match hooked.unwrap_or_else(|| self.answer(&request)) {
            Reply::Full(status, headers, body) => {
                let mut head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\n");
                for header in headers {
                    head += &format!("{header}\r\n");
                }
                if !head.contains("content-length") && status != 204 {
                    head += &format!("content-length: {}\r\n", body.len());
                }
                connection.write_all(format!("{head}\r\n").as_bytes())?;
                if request.method != "HEAD" {
                    connection.write_all(&body)?;
                }
            }
            Reply::Raw(bytes) => connection.write_all(&bytes)?,
            Reply::Endless(head) => {
                connection.write_all(&head)?;
                loop {
                    connection.write_all(&[b'x'; 16 * 1024])?;
                }
            }
            Reply::Hang => drop(reader.read(&mut [0; 1])?),
        }
        Ok(())
    }

    fn answer(&self, request: &Request) -> Reply {
        let path = request.path.trim_start_matches("/v2/").to_owned();
        let mut state = self.shared.state.lock().unwrap();
        let read = matches!(request.method.as_str(), "GET" | "HEAD");
        if let Some((_, digest)) = path.split_once("/blobs/sha256:").filter(|_| read) {
            return match state.blobs.get(&format!("sha256:{digest}")) {
                None => not_found("BLOB_UNKNOWN"),
                Some(bytes) => blob(bytes, request.header("range")),
            };
        }
        if path.contains("/blobs/uploads/") {
            return self.upload(&mut state, request, &path);
        }
        if let Some((repository, subject)) = path.split_once("/referrers/") {
            return match self.shared.has_referrers {
                true => referrers(&state, repository, subject),
                false => not_found("UNSUPPORTED"),
            };
        }
        match state.manifests.get(&path).filter(|_| read) {
            Some((media_type, bytes)) => {
                let headers = vec![
                    format!("content-type: {media_type}"),
                    format!("docker-content-digest: {}", digest(bytes)),
                ];
                return Reply::Full(200, headers, bytes.clone());
            }
            None if read => return not_found("MANIFEST_UNKNOWN"),
            None => {}
        }
        let media_type = request.header("content-type").unwrap().to_owned();
        let named = digest(&request.body);
        let mut headers = vec![format!("docker-content-digest: {named}")];
        let document: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        if let Some(subject) = document["subject"]["digest"]
            .as_str()
            .filter(|_| self.shared.has_referrers)
        {
            headers.push(format!("oci-subject: {subject}"));
        }
        let repository = path.split_once("/manifests/").unwrap().0.to_owned();
        for key in [path, format!("{repository}/manifests/{named}")] {
            state
                .manifests
                .insert(key, (media_type.clone(), request.body.clone()));
        }
        Reply::Full(201, headers, Vec::new())
    }

    fn upload(&self, state: &mut State, request: &Request, path: &str) -> Reply {
        let id = path.rsplit('/').next().unwrap().to_owned();
        let headers = |id: &str, bytes: usize| {
            let path = request.path.split("/uploads/").next().unwrap().to_owned();
            vec![
                format!("location: {path}/uploads/{id}?state=kept"),
                format!("range: 0-{}", bytes.saturating_sub(1)),
            ]
        };
        if request.method == "POST" {
            if let Some(digest) = request.query.strip_prefix("?mount=") {
                let digest = digest.split('&').next().unwrap().replace("%3A", ":");
                if state.blobs.contains_key(&digest) {
                    return Reply::status(201);
                }
            }
            state.opened += 1;
            let id = format!("u{}", state.opened);
            state.uploads.insert(id.clone(), Vec::new());
            return Reply::Full(202, headers(&id, 0), Vec::new());
        }
        let Some(upload) = state.uploads.get_mut(&id) else {
            return not_found("BLOB_UPLOAD_UNKNOWN");
        };
        assert!(
            request.query.contains("state=kept"),
            "the location is taken as it is: {}",
            request.query
        );
        if request.method == "GET" {
            return Reply::Full(204, headers(&id, upload.len()), Vec::new());
        }
        if let Some(range) = request.header("content-range") {
            assert!(
                range.starts_with(&format!("{}-", upload.len())),
                "{range}, there are {}",
                upload.len()
            );
        }
        upload.extend_from_slice(&request.body);
        if request.method == "PATCH" {
            return Reply::Full(202, headers(&id, upload.len()), Vec::new());
        }
        let upload = state.uploads.remove(&id).unwrap();
        let wanted = request.query.split("digest=").nth(1).unwrap().replace("%3A", ":");
        if digest(&upload) != wanted {
            return Reply::status(400);
        }
        state.blobs.insert(wanted, upload);
        Reply::status(201)
    }
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(sha2::Sha256::digest(bytes)))
}

fn not_found(code: &str) -> Reply {
    let body = format!(r#"{{"errors":[{{"code":"{code}","message":"not here"}}]}}"#);
    Reply::Full(
        404,
        vec!["content-type: application/json".to_owned()],
        body.into_bytes(),
    )
}

fn blob(bytes: &[u8], range: Option<&str>) -> Reply {
    let from = range.and_then(|range| {
        range
            .strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse::<usize>()
            .ok()
    });
    match from {
        None => Reply::Full(200, Vec::new(), bytes.to_vec()),
        Some(from) => {
            let header = format!("content-range: bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
            Reply::Full(206, vec![header], bytes[from..].to_vec())
        }
    }
}

fn referrers(state: &State, repository: &str, subject: &str) -> Reply {
    let mut manifests = Vec::new();
    for (key, (media_type, bytes)) in &state.manifests {
        let document: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        if key.starts_with(&format!("{repository}/manifests/sha256:"))
            && document["subject"]["digest"] == subject
        {
            manifests.push(serde_json::json!({
                "mediaType": media_type, "digest": digest(bytes), "size": bytes.len(),
                "artifactType": document["artifactType"], "annotations": document["annotations"],
            }));
        }
    }
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests,
    });
    let header = "content-type: application/vnd.oci.image.index.v1+json".to_owned();
    Reply::Full(200, vec![header], index.to_string().into_bytes())
}

fn read_head(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path.to_owned(), format!("?{query}")),
        None => (target, String::new()),
    };
    // What is asked of a proxy names the host too.
    let path = match path.strip_prefix("http://").and_then(|rest| rest.split_once('/')) {
        Some((_, rest)) => format!("/{rest}"),
        None => path,
    };
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Ok(Some(Request {
        method,
        path,
        query,
        headers,
        body: Vec::new(),
        before: 0,
    }))
}
