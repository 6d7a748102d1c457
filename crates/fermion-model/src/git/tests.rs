//! `GitSource` as data: what is accepted, and for each refusal where and with which words.

use super::*;

const HEAD: &str =
    "apiVersion: fermion.dev/v1\nkind: GitSource\nmetadata: {name: shop, namespace: shop}\nspec:\n";

fn parse(spec: &str) -> Result<GitSource, String> {
    GitSource::parse(&format!("{HEAD}{spec}\n"), "f").map_err(|error| error.to_string())
}

#[test]
fn reads_the_whole_format() {
    let source = parse(
        "  repository: https://git.example.com/operations.git
  branch: release/production
  path: environments/production/
  interval: 5m
  prune: true
  self_heal: false
  follow_rewrites: false
  verify: {allowed_signers: signers}
  credentials: {token: {file: token, username: deploy}}
  write_back: {notes: true, revert_branch: true}",
    )
    .unwrap();
    assert_eq!(source.reference.to_string(), "branch release/production");
    assert_eq!(source.path, "environments/production");
    assert_eq!(source.interval, 300);
    assert!(source.prune && !source.self_heal && !source.follow_rewrites);
    assert_eq!(source.allowed_signers, Some(FileName("signers".to_owned())));
    assert!(source.write_back.notes && source.write_back.revert_branch);
    let json = serde_json::to_string(&source).unwrap();
    assert_eq!(serde_json::from_str::<GitSource>(&json).unwrap(), source);
}

#[test]
fn says_little_and_gets_the_defaults() {
    let source = parse("  repository: /srv/operations.git").unwrap();
    assert_eq!(source.reference.to_string(), "branch main");
    assert_eq!((source.interval, source.path.as_str()), (120, ""));
    assert!(!source.prune && source.self_heal && source.follow_rewrites);
    let id = "0123456789abcdef0123456789abcdef01234567";
    let pinned = parse(&format!(
        "  repository: file:///srv/operations.git\n  commit: '{id}'"
    ))
    .unwrap();
    assert_eq!(pinned.reference.to_string(), format!("commit {id}"));
}

#[test]
fn refusals_say_where_and_never_repeat_a_password() {
    for (spec, part) in [
        ("  branch: main", "spec.repository is missing"),
        (
            "  repository: http://h/r",
            "f:5:15: spec.repository: http:// is not taken",
        ),
        ("  repository: ext::sh -c id", "spec.repository: "),
        ("  repository: ext://sh/id", "ext:// is not taken"),
        ("  repository: git@host:r.git", "neither an address"),
        ("  repository: --upload-pack=id", "neither an address"),
        (
            "  repository: https://me:hunter2@host/r",
            "name files under credentials",
        ),
        ("  repository: ssh://me:hunter2@host/r", "a password has no place"),
        ("  repository: ssh://-oProxyCommand=id/r", "no host"),
        ("  repository: ssh://git@host/r", "spec.credentials is missing"),
        ("  repository: /r\n  branch: --force", "f:6:11: spec.branch"),
        ("  repository: /r\n  branch: a..b", "spec.branch"),
        ("  repository: /r\n  branch: a.lock", "spec.branch"),
        (
            "  repository: /r\n  branch: a\n  tag: b",
            "f:7:8: spec names more than one",
        ),
        ("  repository: /r\n  commit: abc", "not the id of a commit"),
        ("  repository: /r\n  path: ../etc", "spec.path"),
        ("  repository: /r\n  path: /etc", "spec.path"),
        ("  repository: /r\n  path: --x", "spec.path"),
        ("  repository: /r\n  interval: 1ms", "is not from 1s to 24h"),
        ("  repository: /r\n  prune: yes", "is text, not a boolean"),
        ("  repository: /r\n  purne: true", "did you mean \"prune\"?"),
        (
            "  repository: /r\n  verify: {allowed_signers: ../node.key}",
            "spec.verify.allowed_signers",
        ),
        (
            "  repository: /r\n  credentials: {token: {file: t}}",
            "does not fit the repository's address",
        ),
    ] {
        let refusal = parse(spec).expect_err(spec);
        assert!(refusal.contains(part), "{spec}: {refusal}");
        assert!(!refusal.contains("hunter2"), "{refusal}");
    }
    let text = HEAD.replace("GitSource", "App");
    let refusal = GitSource::parse(&text, "f").unwrap_err().to_string();
    assert!(refusal.starts_with("f:2:7: kind: this is an app"), "{refusal}");
}
