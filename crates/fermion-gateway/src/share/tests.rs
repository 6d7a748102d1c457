//! Who is in the share: as often as the weight says, for as long as it does not shrink, and not by choice.

use fermion_model::rollout::{Condition, Field};
use http::header::{COOKIE, HeaderValue};
use xxhash_rust::xxh3::xxh3_64;

use super::*;

const SALT: &str = "000102030405060708090a0b0c0d0e0f";

/// A request with these fields and this query, from nowhere.
fn asking<'a>(headers: &'a HeaderMap, query: Option<&'a str>) -> Caller<'a> {
    Caller {
        headers,
        query,
        peer: None,
    }
}

fn split(weight: u16) -> Split {
    Split {
        rollout: 1,
        epoch: 1,
        weight,
        salt: SALT.to_owned(),
        sticky: Sticky::Cookie,
        testers: Vec::new(),
        audience: Vec::new(),
        copies: None,
        metric: None,
    }
}

fn asked(field: Field, name: &str, value: Option<&str>) -> Condition {
    Condition {
        field,
        name: name.to_owned(),
        value: value.map(str::to_owned),
        countries: Vec::new(),
    }
}

fn rule(split: &Split) -> Rule {
    Rule::new(split, "shop", "tax", None).expect("a split that holds")
}

/// Keys that look random, the same in every run.
fn key(seed: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&xxh3_64(&seed.to_le_bytes()).to_le_bytes());
    key[8..].copy_from_slice(&seed.to_le_bytes());
    key
}

fn no_key() -> [u8; 16] {
    panic!("nobody asked for a key")
}

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

/// What a browser sends back.
fn sent_back(cookie: &HeaderValue) -> String {
    let field = cookie.to_str().unwrap();
    field.split(';').next().unwrap().to_owned()
}

/// A new caller: the decision, and the cookie for the next request.
fn newcomer(rule: &Rule, seed: u64) -> (Assigned, HeaderMap) {
    let assigned = rule.decide(asking(&HeaderMap::new(), None), || key(seed));
    let cookie = sent_back(assigned.cookie.as_ref().expect("a cookie"));
    (assigned, headers(&[("cookie", &cookie)]))
}

/// Five standard deviations of a binomial distribution around its mean.
fn assert_share(canaries: u64, callers: u64, weight: u16, what: &str) {
    let share = f64::from(weight) / f64::from(WEIGHT_ALL);
    let (count, callers) = (canaries as f64, callers as f64);
    let spread = 5.0 * (callers * share * (1.0 - share)).sqrt();
    assert!(
        (count - callers * share).abs() <= spread,
        "{what}: {count} at {weight}"
    );
}

#[test]
fn the_hash_is_that_of_the_reference() {
    let rule = rule(&split(1));
    let mut bytes = Vec::new();
    let salt = read_hex::<16>(SALT.as_bytes()).unwrap();
    for part in [&b"shop"[..], b"tax", &salt, b"alice"] {
        bytes.extend((part.len() as u64).to_le_bytes());
        bytes.extend(part);
    }
    assert_eq!(rule.hash(b"alice"), xxh3_64(&bytes));
    let other = Rule::new(&split(1), "sho", "ptax", None).unwrap();
    assert_ne!(rule.hash(b"alice"), other.hash(b"alice"));
}

#[test]
fn shares_are_as_the_weight_says() {
    for weight in [100, 500, 2_500, 5_000] {
        let rule = rule(&split(weight));
        let canaries = (0..10_000).filter(|&seed| newcomer(&rule, seed).0.arm == Arm::Canary);
        assert_share(canaries.count() as u64, 10_000, weight, "new callers");
    }
}

#[test]
fn a_growing_weight_takes_nobody_back() {
    let rules: Vec<Rule> = [1, 7, 100, 500, 2_500, 5_000, 9_999, 10_000]
        .iter()
        .map(|&weight| rule(&split(weight)))
        .collect();
    for seed in 0..1_000 {
        let (first, with_cookie) = newcomer(&rules[0], seed);
        let mut before = first.arm;
        for rule in &rules {
            let assigned = rule.decide(asking(&with_cookie, None), no_key);
            assert_eq!((assigned.caller, assigned.cookie), (first.caller, None));
            assert!(assigned.arm >= before, "{seed} went back at {}", rule.weight);
            before = assigned.arm;
        }
        assert_eq!(before, Arm::Canary);
    }
}

#[test]
fn nobody_who_picks_keys_is_in_the_share_more_often() {
    let mut by_name = split(500);
    by_name.sticky = Sticky::Header("X-User".to_owned());
    let by_name = rule(&by_name);
    for shape in ["u", "0000000000000000000000000000000000000000", "\u{fe}ä"] {
        let canaries = (0..10_000).filter(|n| {
            let fields = headers(&[("x-user", &format!("{shape}{n}"))]);
            let assigned = by_name.decide(asking(&fields, None), no_key);
            assert!(assigned.cookie.is_none() && assigned.caller != 0);
            assigned.arm == Arm::Canary
        });
        assert_share(canaries.count() as u64, 10_000, 500, shape);
    }
    // A key that is in the share is in another one's share as often as any.
    let mut next = split(500);
    next.salt = SALT.replace("0f", "1f");
    next.sticky = Sticky::Header("x-user".to_owned());
    let next = rule(&next);
    let (mut tried, mut again) = (0, 0);
    for n in 0..50_000 {
        let fields = headers(&[("x-user", &n.to_string())]);
        if by_name.decide(asking(&fields, None), no_key).arm == Arm::Canary {
            tried += 1;
            again += u64::from(next.decide(asking(&fields, None), no_key).arm == Arm::Canary);
        }
    }
    assert_share(again, tried, 500, "keys of the last rollout");
}

#[test]
fn a_forged_cookie_is_none() {
    let rule = rule(&split(5_000));
    let (first, with_cookie) = newcomer(&rule, 1);
    let good = with_cookie[COOKIE].to_str().unwrap().to_owned();
    let (name, value) = good.split_once('=').unwrap();
    let caller = |cookie: &str| {
        rule.decide(asking(&headers(&[("cookie", cookie)]), None), || key(2))
            .caller
    };
    let newcomer = newcomer(&rule, 2).0.caller;
    assert_ne!(newcomer, first.caller);
    assert_eq!(caller(&good), first.caller);
    assert_eq!(caller(&format!("a=b; {good};c")), first.caller);
    assert_eq!(caller(&format!("{name}=old; {good}")), first.caller);
    let other = |digit: &str| if digit == "0" { "1" } else { "0" };
    let (front, end) = value.split_at(value.len() - 1);
    let other_key = format!("{}{}", other(&value[..1]), &value[1..]);
    let other_mac = format!("{front}{}", other(end));
    let foreign = Signer::new("shop", "cart", &[0; 16]).issue(&key(1));
    let of_another_app = sent_back(&foreign).replace("cart", "tax");
    let mut last = split(5_000);
    last.salt = SALT.replace("0f", "1f");
    let last = Rule::new(&last, "shop", "tax", None).unwrap();
    let of_another_rollout = sent_back(&last.signer.issue(&key(1)));
    for forged in [
        format!("{name}={other_key}"),
        format!("{name}={other_mac}"),
        format!("{name}={}", value.to_uppercase()),
        format!("{name}={}", value.replace('.', "-")),
        format!("{name}={value}0"),
        format!("{name}={}", &value[..33]),
        format!("{name}={}", &value[..value.len() - 2]),
        format!("{name}=\"{value}\""),
        format!("{name}="),
        name.to_owned(),
        of_another_app,
        of_another_rollout,
        format!("{}{good}", format!("{name}=no; ").repeat(4)),
    ] {
        assert_eq!(caller(&forged), newcomer, "{forged}");
    }
}

#[test]
fn cookies_are_issued_only_while_there_is_something_to_keep() {
    for (weight, arm) in [(0, Arm::Stable), (10_000, Arm::Canary), (u16::MAX, Arm::Canary)] {
        let assigned = rule(&split(weight)).decide(asking(&HeaderMap::new(), None), no_key);
        assert_eq!((assigned.arm, assigned.caller), (arm, 0), "{weight}");
        assert!(assigned.cookie.is_none());
    }
    let issued = newcomer(&rule(&split(1)), 3).0.cookie.unwrap();
    let (value, attributes) = issued.to_str().unwrap().split_once(';').unwrap();
    assert!(
        value.starts_with("fermion_shop_tax=") && value.len() == 17 + 65,
        "{value}"
    );
    assert_eq!(attributes, " Path=/; HttpOnly; SameSite=Lax; Max-Age=2592000");
}

#[test]
fn a_name_in_the_header_goes_before_the_cookie() {
    let mut named = split(5_000);
    named.sticky = Sticky::Header("x-user".to_owned());
    let named = rule(&named);
    let (anonymous, with_cookie) = newcomer(&named, 4);
    let mut both = with_cookie.clone();
    both.insert("x-user", HeaderValue::from_static("alice"));
    assert_eq!(
        named.decide(asking(&both, None), no_key).caller,
        named.hash(b"alice")
    );
    both.insert("x-user", HeaderValue::from_static(""));
    assert_eq!(named.decide(asking(&both, None), no_key).caller, anonymous.caller);
}

#[test]
fn the_audience_bounds_the_share_and_testers_are_in_it() {
    let mut asks = split(1);
    asks.audience = vec![
        asked(Field::Query, "lang", Some("de")),
        asked(Field::Cookie, "beta", None),
    ];
    asks.testers = vec![
        asked(Field::Header, "X-Tester", Some("yes")),
        asked(Field::Query, "try", None),
    ];
    let inside = [("cookie", "beta=1")];
    let tester = [("cookie", "beta=1"), ("x-tester", "yes")];
    let outside = [("x-tester", "yes")];
    let de = Some("lang=de");
    // At a weight of one in ten thousand the key below is not in the share.
    for (weight, fields, query, arm, is_issued) in [
        (0, &tester[..], de, Arm::Stable, false),
        (1, &inside, de, Arm::Stable, true),
        (1, &tester, de, Arm::Canary, true),
        (1, &inside, Some("lang=de&try"), Arm::Canary, true),
        (1, &tester, None, Arm::Stable, false),
        (1, &outside, de, Arm::Stable, false),
        (10_000, &inside, de, Arm::Canary, false),
        (10_000, &outside, de, Arm::Stable, false),
        (10_000, &[], None, Arm::Stable, false),
    ] {
        asks.weight = weight;
        let assigned = rule(&asks).decide(asking(&headers(fields), query), || key(5));
        let found = (assigned.arm, assigned.cookie.is_some(), assigned.caller != 0);
        assert_eq!(
            found,
            (arm, is_issued, is_issued),
            "{weight} {fields:?} {query:?}"
        );
    }
}

#[test]
fn the_cookie_is_taken_off_and_others_stay_as_they_are() {
    let signer = Signer::new("shop", "tax", &[0; 16]);
    for (before, after) in [
        (&["a=1;  b = \"2\" ;c"][..], &["a=1;  b = \"2\" ;c"][..]),
        (&["fermion_shop_tax=x"], &[]),
        (&["fermion_shop_tax=x; a=1"], &["a=1"]),
        (&["a=1; fermion_shop_tax=x;  b = \"2\""], &["a=1;  b = \"2\""]),
        (&["a=1; fermion_shop_tax"], &["a=1"]),
        (
            &[
                "fermion_shop_tax=x; fermion_shop_tax=y",
                "fermion_shop_cart=z",
                "b=2",
            ],
            &["fermion_shop_cart=z", "b=2"],
        ),
        (
            &["Fermion_shop_tax=x; fermion_shop_taxi=y"],
            &["Fermion_shop_tax=x; fermion_shop_taxi=y"],
        ),
    ] {
        let fields: Vec<_> = before.iter().map(|field| ("cookie", *field)).collect();
        let mut fields = headers(&fields);
        signer.hide(&mut fields);
        let left: Vec<_> = fields.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
        let after: Vec<_> = after.iter().map(|field| field.as_bytes()).collect();
        assert_eq!(left, after, "{before:?}");
    }
}

#[test]
fn a_split_that_makes_no_sense_is_refused() {
    let refusal = |change: fn(&mut Split)| {
        let mut split = split(1);
        change(&mut split);
        Rule::new(&split, "shop", "tax", None).err()
    };
    assert!(refusal(|split| split.salt.make_ascii_uppercase()).is_none());
    assert!(refusal(|split| split.salt.truncate(31)).unwrap().contains("salt"));
    assert!(
        refusal(|split| split.salt = "ä".repeat(16))
            .unwrap()
            .contains("salt")
    );
    assert!(refusal(|split| split.sticky = Sticky::Header("a b".to_owned())).is_some());
    assert!(refusal(|split| split.testers = vec![asked(Field::Header, "a:", None)]).is_some());
    assert!(refusal(|split| split.audience = vec![asked(Field::Header, "", None)]).is_some());
    assert!(Rule::new(&split(1), "shop", "tax;", None).is_err());
    assert_eq!(format!("{:?}", rule(&split(1))), "Rule { weight: 1, .. }");
}
