//! Who of an app's callers gets the release that is being rolled out. Decided by the request and the split alone, so
//! every node decides alike; raising the weight takes nobody back, because a caller's hash stays and only the bound
//! moves.
//!
//! A caller is known by the header that the app names, or else by a cookie that is signed here. Either is hashed with a
//! salt that nobody outside knows: no key can be worked out that falls into the share, only tried, and each key tried
//! has the chance that the weight is. While requests are shared, an answer that a cache keeps for everybody may be
//! either release's. Caching headers are the guest's business and stay as they are.

mod conditions;
mod cookies;
mod metric;
#[cfg(test)]
mod tests;
mod trial;

use std::net::IpAddr;
use std::sync::Arc;

use fermion_model::frame::Arm;
use fermion_model::rollout::{Condition, Split, Sticky, WEIGHT_ALL};
use fermion_planner::rollout::is_canary;
use http::Request;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use xxhash_rust::xxh3::Xxh3;

use crate::copies::{Copier, Copying};
use crate::trace::read_hex;
use crate::{Countries, Dispatch, Error, RequestBody};
use conditions::{Asked, Caller};
use cookies::Signer;
use metric::Metric;

pub use trial::Trial;

/// What a release that is being rolled out gets of its app's requests.
#[derive(Debug)]
pub struct Share<D> {
    canary: Arc<D>,
    rule: Rule,
    copier: Option<Copier<D>>,
    metric: Option<Arc<Metric>>,
}

/// A split, read once so that no request has to.
struct Rule {
    weight: u16,
    header: Option<HeaderName>,
    testers: Vec<Asked>,
    audience: Vec<Asked>,
    /// Namespace, app and salt, each with its length before it: what is hashed before a caller's key.
    prefix: Vec<u8>,
    signer: Signer,
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Whoever knows the salt can choose to be in the share.
        f.debug_struct("Rule")
            .field("weight", &self.weight)
            .finish_non_exhaustive()
    }
}

/// Where one request goes, and what is remembered of it.
#[derive(Debug, Default)]
pub(crate) struct Assigned {
    pub(crate) arm: Arm,
    /// Whether it is one of those that are shared out at all.
    pub(crate) is_shared: bool,
    /// See [`fermion_model::RequestRecord::caller`].
    pub(crate) caller: u64,
    /// For a caller who was not known.
    pub(crate) cookie: Option<HeaderValue>,
    /// Where the answer is looked at for an experiment.
    metric: Option<Arc<Metric>>,
    /// Whether the caller is part of the experiment.
    is_counted: bool,
}

impl Assigned {
    /// What the answer adds to an experiment.
    pub(crate) fn read_metric(&self, headers: &mut HeaderMap) -> Option<f64> {
        let metric = self.metric.as_ref()?;
        metric.read(headers, self.caller, self.is_counted)
    }
}

impl<D: Dispatch> Share<D> {
    /// Shares requests with `canary` as the split says. `trial` goes on from table to table; without
    /// `countries` nobody is in one.
    ///
    /// # Errors
    /// [`Error::Split`] for a salt, a method, a header's name or an app's name that is none.
    pub fn new(
        split: &Split,
        canary: Arc<D>,
        trial: &Arc<Trial>,
        countries: Option<&Arc<Countries>>,
    ) -> Result<Self, Error> {
        let served = canary.served();
        let refuse = |reason| Error::Split {
            app: format!("{}/{}", served.namespace, served.app),
            reason,
        };
        let rule = Rule::new(split, &served.namespace, &served.app, countries).map_err(refuse)?;
        let copier = split
            .copies
            .as_ref()
            .map(|copies| Copier::new(copies, Arc::clone(&canary), trial))
            .transpose()
            .map_err(refuse)?;
        let metric = split
            .metric
            .as_ref()
            .map(|spec| Metric::new(spec, trial).map(Arc::new));
        Ok(Self {
            metric: metric.transpose().map_err(refuse)?,
            rule,
            copier,
            canary,
        })
    }

    /// Whether a request that the old release answers is copied to the new one.
    pub(crate) fn copying(&self, request: &Request<RequestBody>, assigned: &Assigned) -> Option<Copying<D>> {
        let copier = self.copier.as_ref()?;
        (assigned.is_shared && assigned.arm == Arm::Stable)
            .then(|| copier.admit(request))
            .flatten()
    }

    /// Who answers the requests in the share.
    pub(crate) fn canary(&self) -> &Arc<D> {
        &self.canary
    }

    /// Decides for one request, and takes off it what only the decision needed. `fresh` makes 16 bytes that no other
    /// caller has.
    pub(crate) fn assign<B>(
        &self,
        request: &mut Request<B>,
        peer: Option<IpAddr>,
        fresh: impl FnOnce() -> [u8; 16],
    ) -> Assigned {
        let caller = Caller {
            headers: request.headers(),
            query: request.uri().query(),
            peer,
        };
        let mut assigned = self.rule.decide(caller, fresh);
        assigned.metric.clone_from(&self.metric);
        self.rule.signer.hide(request.headers_mut());
        assigned
    }
}

impl Rule {
    fn new(
        split: &Split,
        namespace: &str,
        app: &str,
        countries: Option<&Arc<Countries>>,
    ) -> Result<Self, &'static str> {
        let salt = split.salt.to_ascii_lowercase();
        let salt = (salt.len() == 32)
            .then(|| read_hex::<16>(salt.as_bytes()))
            .flatten()
            .ok_or("the salt is not 32 hexadecimal digits")?;
        let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !is_name(namespace) || !is_name(app) {
            return Err("the app's name cannot be part of a cookie's");
        }
        let header = match &split.sticky {
            Sticky::Cookie => None,
            Sticky::Header(name) => Some(conditions::header_name(name)?),
        };
        let asked = |conditions: &[Condition]| {
            let asked = conditions
                .iter()
                .map(|condition| Asked::new(condition, countries));
            asked.collect::<Result<Vec<_>, _>>()
        };
        let mut prefix = Vec::new();
        for part in [namespace.as_bytes(), app.as_bytes(), &salt] {
            prefix.extend(length(part));
            prefix.extend(part);
        }
        Ok(Self {
            weight: split.weight.min(WEIGHT_ALL),
            header,
            testers: asked(&split.testers)?,
            audience: asked(&split.audience)?,
            prefix,
            signer: Signer::new(namespace, app, &salt),
        })
    }

    fn decide(&self, caller: Caller<'_>, fresh: impl FnOnce() -> [u8; 16]) -> Assigned {
        let is_shared = self.audience.iter().all(|asked| asked.holds(caller));
        let is_partial = self.weight > 0 && self.weight < WEIGHT_ALL;
        let (mut hash, mut cookie) = (self.known(caller.headers), None);
        // Testers get a cookie too: one of them who fails again and again is to count once.
        if hash.is_none() && is_shared && is_partial {
            let key = fresh();
            hash = Some(self.hash(&key));
            cookie = Some(self.signer.issue(&key));
        }
        let is_chosen = || {
            self.weight == WEIGHT_ALL
                || hash.is_some_and(|hash| is_canary(hash, self.weight))
                || self.testers.iter().any(|asked| asked.holds(caller))
        };
        let arm = if is_shared && self.weight > 0 && is_chosen() {
            Arm::Canary
        } else {
            Arm::Stable
        };
        Assigned {
            arm,
            is_shared,
            caller: hash.map_or(0, |hash| hash.max(1)),
            cookie,
            metric: None,
            is_counted: is_shared && is_partial,
        }
    }

    /// The hash of a caller who says who they are.
    fn known(&self, headers: &HeaderMap) -> Option<u64> {
        let named = self.header.as_ref().and_then(|name| headers.get(name));
        match named.map(HeaderValue::as_bytes) {
            Some(name) if !name.is_empty() => Some(self.hash(name)),
            _ => self.signer.key(headers).map(|key| self.hash(&key)),
        }
    }

    fn hash(&self, key: &[u8]) -> u64 {
        let mut hash = Xxh3::new();
        hash.update(&self.prefix);
        hash.update(&length(key));
        hash.update(key);
        hash.digest()
    }
}

/// A length as it stands before what has it, so that no two lists of parts are the same bytes.
fn length(part: &[u8]) -> [u8; 8] {
    (part.len() as u64).to_le_bytes()
}
