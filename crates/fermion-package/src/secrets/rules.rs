//! What credentials look like. Literals of compiled programs abut without delimiters, so no rule asks for a word's
//! edge or a quote; every rule begins with a literal, so that a scan is one pass that mostly skips. A token whose
//! variable part says little (fewer than three bits a character) is a placeholder.

use std::ops::Range;
use std::sync::LazyLock;

use regex::bytes::{Regex, RegexBuilder};

/// Fewer bits a character than this, and it is `AAAA...` or `your-key-here`.
const ENTROPY_MIN: f64 = 3.0;

struct Rule {
    name: &'static str,
    pattern: &'static str,
    /// Bytes of the literal that tokens of this kind begin with; none for rules that entropy says nothing about.
    prefix: Option<usize>,
}

const fn token(name: &'static str, prefix: usize, pattern: &'static str) -> Rule {
    Rule {
        name,
        pattern,
        prefix: Some(prefix),
    }
}

const fn form(name: &'static str, pattern: &'static str) -> Rule {
    Rule {
        name,
        pattern,
        prefix: None,
    }
}

/// Formats as the issuers and the public scanners describe them.
const RULES: [Rule; 27] = [
    token("aws-access-key", 4, "(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}"),
    token("google-api-key", 4, r"AIza[\w-]{35}"),
    token("github-token", 4, "gh[pousr]_[0-9A-Za-z]{36}"),
    token("github-fine-grained-token", 11, r"github_pat_\w{82}"),
    token("gitlab-token", 6, r"glpat-[\w-]{20}"),
    token("slack-token", 5, "xox[abposer]-[0-9A-Za-z-]{10,250}"),
    token(
        "slack-webhook",
        24,
        r"hooks\.slack\.com/services/[A-Z0-9]{8,12}/[A-Z0-9]{8,12}/\w{20,30}",
    ),
    token("stripe-key", 8, r"(?:sk|rk)_(?:test|live|prod)_\w{10,99}"),
    token("npm-token", 4, r"npm_[0-9A-Za-z]{36}"),
    token("vault-token", 4, r"hvs\.[\w-]{90,120}"),
    token("pypi-token", 16, r"pypi-AgEIcHlwaS5vcmc[\w-]{50,200}"),
    token("sendgrid-key", 3, r"SG\.[\w-]{22}\.[\w-]{43}"),
    token("anthropic-key", 7, r"sk-ant-[\w-]{80,120}"),
    token("openai-key", 3, r"sk-[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}"),
    token(
        "openai-project-key",
        8,
        r"sk-(?:proj|svcacct|admin)-[\w-]{40,180}",
    ),
    token("digitalocean-token", 7, "do[opr]_v1_[a-f0-9]{64}"),
    token("huggingface-token", 3, "hf_[A-Za-z]{34}"),
    token("databricks-token", 4, "dapi[a-f0-9]{32}"),
    token(
        "age-secret-key",
        15,
        "AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}",
    ),
    token("azure-storage-key", 11, r"AccountKey=[A-Za-z0-9+/]{86}=="),
    token("shopify-token", 6, "shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"),
    token("linear-key", 8, "lin_api_[A-Za-z0-9]{40}"),
    token("telegram-bot", 3, r"bot[0-9]{8,10}:AA[\w-]{33}"),
    form("jwt", r"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}"),
    form(
        "private-key",
        "-----BEGIN (?:[A-Z]{2,10} ){0,2}PRIVATE KEY(?: BLOCK)?-----\\s{0,4}[A-Za-z0-9+/=\\\\:]{16,}",
    ),
    form("putty-key", "PuTTY-User-Key-File-[23]: "),
    form(
        "url-with-password",
        r"(?:https?|ftps?|postgres(?:ql)?|mysql|mariadb|mssql|mongodb(?:\+srv)?|rediss?|amqps?|nats|ldaps?|smtps?)://[\w.%+-]{1,64}:[\w.%+!~*&^$-]{3,128}@[A-Za-z0-9\[][\w.:\]-]{1,253}",
    ),
];

/// One pattern of all, in the order of [`RULES`], each in a group of its own.
static TOKENS: LazyLock<Regex> = LazyLock::new(|| {
    let parts: Vec<String> = RULES.iter().map(|rule| format!("({})", rule.pattern)).collect();
    compile(&parts.join("|"), false)
});

/// A name that promises a secret, and a value that is long enough for one.
static GENERIC: LazyLock<Regex> = LazyLock::new(|| {
    compile(
        r#"(?:password|passwd|secret|api[_-]?key|access[_-]?token|auth[_-]?token|private[_-]?key)["']?[ \t]{0,4}[:=][ \t]{0,4}["']?[A-Za-z0-9+/_=.-]{12,128}"#,
        true,
    )
});

fn compile(pattern: &str, any_case: bool) -> Regex {
    RegexBuilder::new(pattern)
        .unicode(false)
        .case_insensitive(any_case)
        .build()
        .expect("the rules are valid patterns")
}

/// Calls `on_match` with rule and range of every credential, until it says false.
pub(super) fn tokens(bytes: &[u8], on_match: &mut dyn FnMut(&'static str, Range<usize>) -> bool) {
    let mut at = 0;
    let mut groups = TOKENS.capture_locations();
    while let Some(found) = TOKENS.find_at(bytes, at) {
        // Which rule it was is asked of the match alone: groups are dear, and most bytes match nothing.
        let range = found.range();
        TOKENS.captures_read(&mut groups, found.as_bytes());
        let rule = RULES
            .iter()
            .zip(1..)
            .find(|(_, group)| groups.get(*group).is_some());
        let Some((rule, _)) = rule else { return };
        let says_something = rule.prefix.is_none_or(|prefix| {
            entropy(bytes.get(range.start + prefix..range.end).unwrap_or_default()) >= ENTROPY_MIN
        });
        if says_something {
            at = range.end;
            if !on_match(rule.name, range) {
                return;
            }
        } else {
            // A placeholder may hide the beginning of a real one. Its length is bounded, and so is what this costs.
            at = range.start + 1;
        }
    }
}

/// The same for what may be a secret.
pub(super) fn generic(bytes: &[u8], on_match: &mut dyn FnMut(&'static str, Range<usize>) -> bool) {
    for found in GENERIC.find_iter(bytes) {
        let value = found
            .as_bytes()
            .rsplit(|byte| matches!(byte, b':' | b'='))
            .next()
            .unwrap_or_default();
        if entropy(value) >= ENTROPY_MIN && !on_match(super::GENERIC, found.range()) {
            return;
        }
    }
}

/// Shannon's entropy of the bytes, in bits a byte.
fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for &byte in bytes {
        counts[usize::from(byte)] += 1;
    }
    let total = f64::from(u32::try_from(bytes.len()).unwrap_or(u32::MAX).max(1));
    let share = |count: &u32| f64::from(*count) / total;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(share)
        .map(|p| -p * p.log2())
        .sum()
}
