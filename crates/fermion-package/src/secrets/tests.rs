//! Secrets made up here, in the places where they end up. Each is put together while the test runs, so that this file
//! holds none.

use super::*;

const NOW: u64 = 1_795_000_000;

fn aws() -> String {
    format!("{}{}", "AKIA", "QRSTUV2345WXYZ67")
}

/// `rule place@offset` of everything in bytes.
fn scan(wasm: &[u8]) -> Vec<String> {
    let mut scan = Scan::default();
    scan.component(wasm);
    scan.found()
        .map(|found| format!("{} {}", found.finding.rule, found.finding.place))
        .collect()
}

fn rules_of(text: &str) -> Vec<String> {
    let mut scan = Scan::default();
    scan.text("text", text.as_bytes());
    scan.found().map(|found| found.finding.rule.clone()).collect()
}

fn component(fields: &str) -> Vec<u8> {
    wat::parse_str(format!("(component (core module (memory 1) {fields}))")).unwrap()
}

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}

/// Text that looks random and is always the same.
fn noise(alphabet: &str, length: usize) -> String {
    let letters: Vec<char> = alphabet.chars().collect();
    let mut state = 0x2545_f491_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        letters[usize::try_from(state).unwrap() % letters.len()]
    };
    (0..length).map(|_| next()).collect()
}

/// Each rule with something it must find, made up here so that no scanner of this repository finds it.
fn samples() -> Vec<(&'static str, String)> {
    const WORD: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    const HEX: &str = "0123456789abcdef";
    let n = |length| noise(WORD, length);
    vec![
        ("aws-access-key", aws()),
        ("google-api-key", format!("AIza{}", n(35))),
        ("github-token", format!("ghp_{}", n(36))),
        ("github-fine-grained-token", format!("github_pat_{}", n(82))),
        ("gitlab-token", format!("glpat-{}", n(20))),
        (
            "slack-token",
            format!("xoxb-{}-{}", noise("0123456789", 12), n(24)),
        ),
        (
            "slack-webhook",
            format!(
                "hooks.slack.com/services/T{}/B{}/{}",
                noise("ABCDEF0123", 9),
                noise("ABCDEF0123", 9),
                n(24)
            ),
        ),
        ("stripe-key", format!("sk_live_{}", n(24))),
        ("npm-token", format!("npm_{}", n(36))),
        ("vault-token", format!("hvs.{}", n(95))),
        ("pypi-token", format!("pypi-AgEIcHlwaS5vcmc{}", n(70))),
        ("sendgrid-key", format!("SG.{}.{}", n(22), n(43))),
        ("anthropic-key", format!("sk-ant-api03-{}", n(90))),
        ("openai-key", format!("sk-{}T3BlbkFJ{}", n(20), n(20))),
        ("openai-project-key", format!("sk-proj-{}", n(60))),
        ("digitalocean-token", format!("dop_v1_{}", noise(HEX, 64))),
        ("huggingface-token", format!("hf_{}", noise(&WORD[..52], 34))),
        ("databricks-token", format!("dapi{}", noise(HEX, 32))),
        (
            "age-secret-key",
            format!(
                "AGE-SECRET-KEY-1{}",
                noise("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58)
            ),
        ),
        ("azure-storage-key", format!("AccountKey={}==", n(86))),
        ("shopify-token", format!("shpat_{}", noise(HEX, 32))),
        ("linear-key", format!("lin_api_{}", n(40))),
        (
            "telegram-bot",
            format!("bot{}:AA{}", noise("0123456789", 9), n(33)),
        ),
        ("jwt", format!("eyJ{}.eyJ{}.{}", n(20), n(40), n(43))),
        (
            "private-key",
            format!("-----BEGIN EC PRIVATE KEY-----\n{}", n(64)),
        ),
        ("private-key", format!("-----BEGIN PRIVATE KEY-----\\n{}", n(64))),
        ("putty-key", "PuTTY-User-Key-File-2: ssh-rsa".to_owned()),
        (
            "url-with-password",
            format!("postgres://app:{}@db.internal/app", n(12)),
        ),
    ]
}

#[test]
fn every_rule_finds_its_kind_between_other_letters() {
    for (rule, secret) in samples() {
        for text in [
            secret.clone(),
            format!("beforehand {secret}"),
            format!("x={secret}\u{0}more"),
        ] {
            assert!(
                rules_of(&text).contains(&rule.to_owned()),
                "{rule}: {:?}",
                rules_of(&text)
            );
        }
    }
}

#[test]
fn what_only_looks_like_one_is_left_alone() {
    let placeholder = format!("{}{}", "AKIA", "AAAAAAAAAAAAAAAA");
    for text in [
        placeholder.as_str(),
        "AKIASHORT",
        "https://example.com/a:b@c",
        "https://user@example.com/",
        "http://127.0.0.1:8080/hello/",
        "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE",
        "-----BEGIN PRIVATE KEY-----",
        "assertion failed: index.rs:12 sk_test_ eyJhbGciOi",
        "password: ",
    ] {
        assert_eq!(rules_of(text), Vec::<String>::new(), "{text}");
    }
    // A placeholder does not hide what follows it without a gap.
    assert_eq!(rules_of(&format!("{placeholder}{}", aws())), ["aws-access-key"]);
    assert_eq!(rules_of("api_key = \"q8Zt31xLw04RmPc7\""), ["generic-secret"]);
}

#[test]
fn a_secret_is_found_wherever_it_is_put() {
    let key = aws();
    let (head, tail) = key.split_at(9);
    let whole = component(&format!("(data (i32.const 0) \"some text{key}more\")"));
    assert_eq!(scan(&whole), ["aws-access-key data segments"]);
    let split = component(&format!(
        "(data (i32.const 100) \"{tail}\") (data (i32.const 91) \"{head}\")"
    ));
    assert_eq!(scan(&split), ["aws-access-key data segments"]);
    let apart = component(&format!(
        "(data (i32.const 200) \"{tail}\") (data (i32.const 91) \"{head}\")"
    ));
    assert_eq!(scan(&apart), Vec::<String>::new());
    let passive = component(&format!("(data \"{head}\") (data \"{tail}\")"));
    assert_eq!(scan(&passive), ["aws-access-key data segments"]);
    let overlapping = component(&format!(
        "(data (i32.const 0) \"{head}\") (data (i32.const 5) \"{}\")",
        &key[5..]
    ));
    assert_eq!(scan(&overlapping), ["aws-access-key data segments"]);
    let named = component(&format!("(func ${key})"));
    assert_eq!(scan(&named), ["aws-access-key custom section \"name\""]);
    let custom = component(&format!("(@custom \"notes\" \"{key}\")"));
    assert_eq!(scan(&custom), ["aws-access-key custom section \"notes\""]);
    let exported = component(&format!("(func (export \"{key}\"))"));
    assert_eq!(scan(&exported), ["aws-access-key the component"]);
}

#[test]
fn one_layer_of_encoding_is_taken_off() {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    let secret = format!("key={} and more", aws());
    for before in ["", "a", "ab", "abc", "a space "] {
        for text in [STANDARD.encode(&secret), URL_SAFE_NO_PAD.encode(&secret)] {
            let wasm = component(&format!("(data (i32.const 0) \"{before}{text}\")"));
            assert_eq!(
                scan(&wasm),
                ["aws-access-key data segments (base64)"],
                "{before:?}"
            );
        }
    }
    let wide: Vec<u8> = secret.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for before in ["", "\\01"] {
        let wasm = component(&format!("(data (i32.const 0) \"{before}{}\")", escaped(&wide)));
        assert_eq!(
            scan(&wasm),
            ["aws-access-key data segments (UTF-16)"],
            "{before:?}"
        );
    }
}

#[test]
fn offsets_point_into_the_component_and_nothing_repeats_the_match() {
    let wasm = component(&format!("(data (i32.const 0) \"text{}\")", aws()));
    let mut scan = Scan::default();
    scan.component(&wasm);
    let found = scan.found().next().unwrap();
    let at = usize::try_from(found.finding.offset).unwrap();
    assert_eq!(&wasm[at..at + 20], aws().as_bytes());
    let error = scan.check(&AllowList::default(), NOW).unwrap_err();
    assert_eq!(error.code(), "SECRET_FOUND");
    let facts = serde_json::to_string(&scan.facts(&AllowList::default(), NOW)).unwrap();
    for text in [
        format!("{scan:?}"),
        format!("{error:?}"),
        error.to_string(),
        facts,
    ] {
        assert!(
            text.contains("aws-access-key") && !text.contains(&aws()[4..10]),
            "{text}"
        );
    }
}

/// What costs most, and much of what costs little: prefixes without an end, placeholders, base64 in one run, noise.
#[test]
fn twenty_megabytes_are_scanned_and_findings_are_bounded() {
    let mut bytes = vec![0; 18 << 20];
    for text in [
        "eyJ",
        "AKIA",
        "sk_live_",
        "xoxb-",
        "https://a:",
        "-----BEGIN ",
        "password=",
        "A",
    ] {
        bytes.extend(text.repeat((1 << 17) / text.len()).into_bytes());
    }
    bytes.extend(noise("\u{1}\u{7f}aZ9+ ", 1 << 18).into_bytes());
    bytes.extend(aws().repeat(2 * SECRET_FINDINGS_MAX).into_bytes());
    let wasm = component(&format!(
        "(data (i32.const 0) \"{}\")",
        escaped(&bytes[18 << 20..])
    ));
    let mut scan = Scan::default();
    scan.text("text", &bytes);
    scan.component(&wasm);
    // Each kind has its own ceiling, and more than it can keep blocks by itself.
    assert!(scan.found().count() <= 2 * SECRET_FINDINGS_MAX);
    let facts = scan.facts(&AllowList::default(), NOW);
    assert!(
        facts.blocking > 0 && facts.rules.contains("too-many-findings"),
        "{facts:?}"
    );
    // What is no component is scanned as bytes.
    let mut scan = Scan::default();
    scan.component(&bytes);
    assert!(scan.found().count() > 0);
}
