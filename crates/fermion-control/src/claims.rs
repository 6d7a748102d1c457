//! Which app has which requests: the rules of a route, and collisions between apps. Two routes collide if they are the
//! same place (host and path) and both take any method or share a named one; a more specific place never collides with
//! a less specific one, since the gateway prefers it.

use std::collections::BTreeMap;

use fermion_model::release::Route;

use crate::Error;
use fermion_api::limits::ROUTES_MAX;

/// Bytes of a route's path: the longest that a request line with room for a query may have.
const PATH_BYTES_MAX: usize = 1024;
/// Bytes of a host name (RFC 1035, section 2.3.4).
const HOST_BYTES_MAX: usize = 253;
/// Methods of one route: all registered ones fit.
const METHODS_MAX: usize = 40;

/// Refuses routes that no request can have, and the same one twice.
pub(crate) fn check_routes(routes: &[Route]) -> Result<(), Error> {
    let refuse = |route: &Route, why: &str| {
        Err(Error::Route {
            path: route.path.chars().take(80).collect(),
            why: why.to_owned(),
        })
    };
    if routes.is_empty() || routes.len() > ROUTES_MAX {
        let what = format!(
            "an app has 1 to {ROUTES_MAX} routes, this one has {}",
            routes.len()
        );
        return Err(Error::Request { what });
    }
    let mut claims = Claims::default();
    for route in routes {
        if let Some(why) = path_fault(&route.path) {
            return refuse(route, why);
        }
        if !route.host.as_deref().is_none_or(is_host) {
            return refuse(
                route,
                "has a host that is not a lower-case host name without port",
            );
        }
        let upper = |method: &String| {
            http::Method::from_bytes(method.as_bytes()).is_ok()
                && !method.bytes().any(|b| b.is_ascii_lowercase())
        };
        if route.methods.len() > METHODS_MAX || !route.methods.iter().all(upper) {
            return refuse(route, "has a method that is not one in upper case");
        }
        if claims.collision("", std::slice::from_ref(route)).is_some() {
            return refuse(route, "is there twice");
        }
        claims.add("this app", std::slice::from_ref(route));
    }
    Ok(())
}

fn path_fault(path: &str) -> Option<&'static str> {
    let body = path.strip_suffix("/*").unwrap_or(path);
    if !path.starts_with('/') {
        return Some("does not begin with /");
    }
    if path.len() > PATH_BYTES_MAX {
        return Some("is too long");
    }
    if body.contains('*') {
        return Some("has a * elsewhere than as its last segment");
    }
    if !path.bytes().all(|b| b.is_ascii_graphic()) || path.contains(['?', '#', '\\']) {
        return Some("has characters that no request path has");
    }
    if path.contains("//") || path.split('/').any(|segment| segment == "." || segment == "..") {
        return Some("has segments that clients resolve before they send");
    }
    None
}

fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.len() <= HOST_BYTES_MAX && host.split('.').all(label)
        || host.parse::<std::net::Ipv4Addr>().is_ok()
        || host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
}

type Place = (Option<String>, String);

/// Who has which place.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    places: BTreeMap<Place, Vec<(String, Vec<String>)>>,
}

impl Claims {
    /// `app` is `namespace/app`.
    pub(crate) fn add(&mut self, app: &str, routes: &[Route]) {
        for route in routes {
            let place = (route.host.clone(), route.path.clone());
            self.places
                .entry(place)
                .or_default()
                .push((app.to_owned(), route.methods.clone()));
        }
    }

    /// The first of `routes` that an app other than `app` has, and that app.
    pub(crate) fn collision<'a>(&'a self, app: &str, routes: &'a [Route]) -> Option<(&'a Route, &'a str)> {
        routes.iter().find_map(|route| {
            let holders = self.places.get(&(route.host.clone(), route.path.clone()))?;
            let taken =
                |(other, methods): &&(String, Vec<String>)| other != app && meet(methods, &route.methods);
            holders
                .iter()
                .find(taken)
                .map(|(other, _)| (route, other.as_str()))
        })
    }
}

fn meet(left: &[String], right: &[String]) -> bool {
    if left.is_empty() || right.is_empty() {
        return left.is_empty() && right.is_empty();
    }
    left.iter().any(|method| right.contains(method))
}

/// A route for people: `shop.example.com/tax/* [GET]`.
pub(crate) fn route_text(route: &Route) -> String {
    let methods = if route.methods.is_empty() {
        String::new()
    } else {
        format!(" [{}]", route.methods.join(", "))
    };
    format!("{}{}{methods}", route.host.as_deref().unwrap_or("*"), route.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(host: Option<&str>, path: &str, methods: &[&str]) -> Route {
        Route {
            host: host.map(str::to_owned),
            path: path.to_owned(),
            methods: methods.iter().map(|&method| method.to_owned()).collect(),
            strip_prefix: false,
        }
    }

    #[test]
    fn collisions_are_same_place_and_common_method() {
        let mut claims = Claims::default();
        claims.add(
            "a/x",
            &[route(None, "/t/*", &["GET", "PUT"]), route(Some("h"), "/*", &[])],
        );
        let taken = |app: &str, wanted: Route| claims.collision(app, &[wanted]).is_some();
        assert!(taken("a/y", route(None, "/t/*", &["PUT"])));
        assert!(taken("a/y", route(Some("h"), "/*", &[])));
        assert!(!taken("a/x", route(None, "/t/*", &["PUT"])), "its own");
        assert!(!taken("a/y", route(None, "/t/*", &["POST"])));
        assert!(
            !taken("a/y", route(None, "/t/*", &[])),
            "a named method is the more specific"
        );
        assert!(!taken("a/y", route(Some("h"), "/t/*", &["GET"])));
        assert!(!taken("a/y", route(None, "/t", &["GET"])));
    }

    #[test]
    fn routes_that_no_request_can_have_are_refused() {
        let good = [
            route(None, "/*", &[]),
            route(Some("shop.example.com"), "/tax/*", &["GET"]),
            route(Some("127.0.0.1"), "/a%20b", &[]),
            route(Some("[::1]"), "/", &["PROPFIND"]),
        ];
        assert!(check_routes(&good).is_ok());
        let long = format!("/{}", "a".repeat(PATH_BYTES_MAX));
        let bad = [
            route(None, "", &[]),
            route(None, "tax", &[]),
            route(None, "*", &[]),
            route(None, "/a*", &[]),
            route(None, "/*/a", &[]),
            route(None, "/a//b", &[]),
            route(None, "/a/../b", &[]),
            route(None, "/a?b", &[]),
            route(None, "/a b", &[]),
            route(None, "/ä", &[]),
            route(None, &long, &[]),
            route(Some("Shop.example.com"), "/", &[]),
            route(Some("a:80"), "/", &[]),
            route(Some(""), "/", &[]),
            route(Some("a..b"), "/", &[]),
            route(None, "/", &["get"]),
            route(None, "/", &["G T"]),
        ];
        for route in bad {
            assert!(check_routes(std::slice::from_ref(&route)).is_err(), "{route:?}");
        }
        assert!(check_routes(&[]).is_err());
        assert!(check_routes(&[good[0].clone(), good[0].clone()]).is_err());
        assert!(check_routes(&vec![good[0].clone(); ROUTES_MAX + 1]).is_err());
    }
}
