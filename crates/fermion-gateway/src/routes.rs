//! One immutable table from host, path and method to a target. Matching is by the bytes the caller sent: nothing is
//! decoded, normalised or collapsed, so `/a/../b` and `/a/%2e%2e/b` belong to `/a/*`, and `//a` does not.
//!
//! The most specific route that takes the method wins: a named host before any host, an exact path before a prefix, a
//! longer prefix before a shorter, a named method before any method. `/a/*` matches `/a`, `/a/` and all below it.

use std::collections::HashMap;
use std::sync::Arc;

use fermion_model::release::Route;
use http::Method;

use crate::{Dispatch, Error, Share};

/// Hosts are DNS names or addresses: 253 characters at most, and room for brackets.
const HOST_BYTES_MAX: usize = 255;

/// Where every request goes.
#[derive(Debug)]
pub struct RouteTable<D> {
    hosts: HashMap<String, Paths<D>>,
    any_host: Paths<D>,
}

#[derive(Debug)]
struct Paths<D> {
    exact: HashMap<String, Vec<Entry<D>>>,
    /// By prefix without the final `/*`; the empty one is `/*`.
    prefixes: HashMap<String, Vec<Entry<D>>>,
    /// Slashes in the longest prefix: how many a lookup has to try.
    depth_max: usize,
}

#[derive(Debug)]
struct Entry<D> {
    /// `None` takes every method.
    method: Option<Method>,
    target: Arc<D>,
    share: Option<Arc<Share<D>>>,
    strip: usize,
}

/// A route, who answers its requests, and who answers some of them instead.
#[derive(Debug)]
pub struct Routed<D> {
    /// Which requests.
    pub route: Route,
    /// Who answers.
    pub target: Arc<D>,
    /// What a release of the same app that is being rolled out gets of them.
    pub share: Option<Arc<Share<D>>>,
}

/// What a lookup found.
#[derive(Debug)]
pub enum Lookup<'a, D> {
    /// A route takes the request.
    Found(Match<'a, D>),
    /// Routes match host and path; these are the methods they take.
    MethodNotAllowed(Vec<String>),
    /// No route matches host and path.
    None,
}

/// A route that takes the request.
#[derive(Debug)]
pub struct Match<'a, D> {
    /// Who answers.
    pub target: &'a Arc<D>,
    /// Who answers some of the requests instead.
    pub share: Option<&'a Share<D>>,
    /// Bytes to take off the front of the path.
    pub strip: usize,
}

impl<D> Default for Paths<D> {
    fn default() -> Self {
        Self {
            exact: HashMap::new(),
            prefixes: HashMap::new(),
            depth_max: 0,
        }
    }
}

impl<D: Dispatch> RouteTable<D> {
    /// A table without routes: every request gets `NO_ROUTE`.
    pub fn empty() -> Self {
        Self {
            hosts: HashMap::new(),
            any_host: Paths::default(),
        }
    }

    /// Builds the table.
    ///
    /// # Errors
    /// [`Error::Route`] for a host, path or method that is not valid, [`Error::AmbiguousRoute`] when two apps want the
    /// same requests. The same app may name a route twice.
    pub fn build(routes: Vec<Routed<D>>) -> Result<Self, Error> {
        let mut table = Self::empty();
        for routed in &routes {
            table.add(routed)?;
        }
        Ok(table)
    }

    fn add(&mut self, routed: &Routed<D>) -> Result<(), Error> {
        let Routed { route, target, share } = routed;
        let refuse = |reason| Error::Route {
            app: name_of(target),
            route: show(route, None),
            reason,
        };
        let paths = match &route.host {
            None => &mut self.any_host,
            Some(host) => {
                check_host(host).map_err(refuse)?;
                self.hosts.entry(host.to_ascii_lowercase()).or_default()
            }
        };
        check_path(&route.path).map_err(refuse)?;
        let prefix = route.path.strip_suffix("/*");
        if prefix.is_none() && route.strip_prefix {
            return Err(refuse("strip_prefix needs a path that ends with /*"));
        }
        let strip = if route.strip_prefix {
            prefix.map_or(0, str::len)
        } else {
            0
        };
        let entries = match prefix {
            Some(prefix) => {
                paths.depth_max = paths.depth_max.max(slashes(prefix));
                paths.prefixes.entry(prefix.to_owned()).or_default()
            }
            None => paths.exact.entry(route.path.clone()).or_default(),
        };
        let mut methods = Vec::new();
        for method in &route.methods {
            let upper = method.to_ascii_uppercase();
            methods.push(Some(
                Method::from_bytes(upper.as_bytes()).map_err(|_| refuse("a method is one word"))?,
            ));
        }
        if methods.is_empty() {
            methods.push(None);
        }
        for method in methods {
            if let Some(taken) = entries.iter().find(|entry| entry.method == method) {
                if name_of(&taken.target) == name_of(target) && taken.strip == strip {
                    continue;
                }
                return Err(Error::AmbiguousRoute {
                    first: name_of(&taken.target),
                    second: name_of(target),
                    route: show(route, method.as_ref()),
                });
            }
            entries.push(Entry {
                method,
                target: Arc::clone(target),
                share: share.clone(),
                strip,
            });
        }
        // Named methods first, so that the first entry that takes a method is the most specific.
        entries.sort_by_key(|entry| entry.method.is_none());
        Ok(())
    }

    /// Finds the route for a request. `host` may carry a port, which does not count, and any case.
    pub fn lookup<'a>(&'a self, host: Option<&str>, path: &str, method: &Method) -> Lookup<'a, D> {
        let mut allow = Vec::new();
        if let (false, Some(host)) = (self.hosts.is_empty(), host)
            && let Some(paths) = self.host_paths(without_port(host))
            && let Some(found) = paths.lookup(path, method, &mut allow)
        {
            return Lookup::Found(found);
        }
        if let Some(found) = self.any_host.lookup(path, method, &mut allow) {
            return Lookup::Found(found);
        }
        if allow.is_empty() {
            return Lookup::None;
        }
        let mut allow: Vec<String> = allow.iter().map(ToString::to_string).collect();
        allow.sort();
        allow.dedup();
        Lookup::MethodNotAllowed(allow)
    }

    fn host_paths(&self, host: &str) -> Option<&Paths<D>> {
        // A fully qualified name may end with its root dot.
        let host = host.strip_suffix('.').unwrap_or(host);
        if let Some(paths) = self.hosts.get(host) {
            return Some(paths);
        }
        let has_upper = host.len() <= HOST_BYTES_MAX && host.bytes().any(|b| b.is_ascii_uppercase());
        if has_upper {
            self.hosts.get(&host.to_ascii_lowercase())
        } else {
            None
        }
    }
}

impl<D: Dispatch> Paths<D> {
    fn lookup<'a>(
        &'a self,
        path: &str,
        method: &Method,
        allow: &mut Vec<&'a Method>,
    ) -> Option<Match<'a, D>> {
        if !self.exact.is_empty()
            && let Some(found) = self
                .exact
                .get(path)
                .and_then(|entries| pick(entries, method, allow))
        {
            return Some(found);
        }
        if self.prefixes.is_empty() || !path.starts_with('/') {
            return None;
        }
        // The ends of every prefix that could match: before each slash, and at the path's end; the deepest first.
        let mut depth = 0;
        let mut end = path.len();
        for (index, _) in path.match_indices('/').skip(1) {
            depth += 1;
            if depth >= self.depth_max {
                end = index;
                break;
            }
        }
        loop {
            if let Some(found) = self
                .prefixes
                .get(&path[..end])
                .and_then(|entries| pick(entries, method, allow))
            {
                return Some(found);
            }
            if end == 0 {
                return None;
            }
            end = path[..end].rfind('/').unwrap_or(0);
        }
    }
}

fn pick<'a, D>(
    entries: &'a [Entry<D>],
    method: &Method,
    allow: &mut Vec<&'a Method>,
) -> Option<Match<'a, D>> {
    for entry in entries {
        match &entry.method {
            Some(taken) if taken != method => allow.push(taken),
            _ => {
                return Some(Match {
                    target: &entry.target,
                    share: entry.share.as_deref(),
                    strip: entry.strip,
                });
            }
        }
    }
    None
}

fn slashes(text: &str) -> usize {
    text.bytes().filter(|&b| b == b'/').count()
}

/// `shop.example.com:8080` without `:8080`; `[::1]:80` without `:80`.
fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(colon) if !host.ends_with(']') => &host[..colon],
        _ => host,
    }
}

fn name_of<D: Dispatch>(target: &Arc<D>) -> String {
    let served = target.served();
    format!("{}/{}", served.namespace, served.app)
}

fn show(route: &Route, method: Option<&Method>) -> String {
    let host = route.host.as_deref().unwrap_or("*");
    match method {
        Some(method) => format!("{method} {host}{}", route.path),
        None => format!("{host}{}", route.path),
    }
}

fn check_host(host: &str) -> Result<(), &'static str> {
    if host.is_empty() || host.len() > HOST_BYTES_MAX {
        return Err("a host has 1 to 255 characters");
    }
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let inner = if bracketed { &host[1..host.len() - 1] } else { host };
    let plain =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.') || (bracketed && b == b':');
    if inner.is_empty() || !inner.bytes().all(plain) {
        return Err("a host is a name or an address, without port and without *");
    }
    Ok(())
}

fn check_path(path: &str) -> Result<(), &'static str> {
    if !path.starts_with('/') {
        return Err("a path begins with /");
    }
    if path
        .bytes()
        .any(|b| b <= b' ' || b == 0x7f || matches!(b, b'?' | b'#'))
    {
        return Err("a path has no spaces, queries or fragments");
    }
    let body = path.strip_suffix("/*").unwrap_or(path);
    if body.contains('*') {
        return Err("* may only stand at the end, after a /");
    }
    Ok(())
}
