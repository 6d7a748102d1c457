//! The default policy, and what the gate does with policies of others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use super::*;

fn baseline() -> PolicyFacts {
    PolicyFacts::parse(include_bytes!("baseline.json")).unwrap()
}

/// The baseline with other values at dotted paths.
fn with(changes: &[(&str, Value)]) -> PolicyFacts {
    let mut document = serde_json::to_value(baseline()).unwrap();
    for (path, value) in changes {
        let pointer = format!("/{}", path.replace('.', "/"));
        *document.pointer_mut(&pointer).unwrap_or_else(|| panic!("{path}")) = value.clone();
    }
    PolicyFacts::parse(&serde_json::to_vec(&document).unwrap()).unwrap()
}

fn question(action: Action) -> Question {
    Question {
        by: "operator".to_owned(),
        action,
        namespace: "shop".parse().unwrap(),
        app: "hello".parse().unwrap(),
        hosts: BTreeSet::from(["shop.example.com".to_owned()]),
        paths: BTreeSet::from(["/*".to_owned()]),
        config_keys: BTreeSet::new(),
    }
}

fn set(text: &str) -> Result<Policies, crate::Error> {
    Policies::parse(
        Path::new("policy"),
        &Sources::from([("own.cedar".to_owned(), text.to_owned())]),
    )
}

/// `allow`, or `deny` and the names of those who denied.
fn verdict(policies: &Policies, facts: &PolicyFacts, action: Action) -> String {
    let decision = policies.decide(facts, &question(action));
    if decision.verdict == Verdict::Allow {
        return "allow".to_owned();
    }
    let failed = decision
        .failed
        .iter()
        .map(|failed| format!("failed:{}", failed.id));
    let names = failed.chain(decision.policies.iter().map(|policy| policy.id.clone()));
    format!("deny {}", names.collect::<Vec<_>>().join(" "))
}

#[test]
fn the_default_policy_says_no_by_name_and_says_why() {
    let policies = Policies::builtin();
    let check = |changes: &[(&str, Value)], deploy: &str, activate: &str| {
        let facts = with(changes);
        assert_eq!(verdict(&policies, &facts, Action::Deploy), deploy, "{changes:?}");
        assert_eq!(
            verdict(&policies, &facts, Action::Activate),
            activate,
            "{changes:?}"
        );
    };
    check(&[], "allow", "allow");
    check(&[("signers", json!([]))], "deny unsigned", "deny unsigned");
    let import = json!(["wasi:config/store@0.2.0-rc.1"]);
    check(
        &[("undeclared_imports", import)],
        "deny undeclared-import",
        "deny undeclared-import",
    );
    let metadata = json!(["http://169.254.169.254"]);
    check(
        &[("egress.metadata", metadata)],
        "deny egress-metadata",
        "deny egress-metadata",
    );
    check(&[("wasm_bytes", json!(2 << 20))], "allow", "allow");
    check(&[("wasm_bytes", json!((2 << 20) + 1))], "deny size", "allow");
    for (engine, mebibytes) in [("javascript", 16), ("python", 24)] {
        let bytes = mebibytes << 20;
        check(
            &[("engine", json!(engine)), ("wasm_bytes", json!(bytes))],
            "allow",
            "allow",
        );
        let denied = format!("deny size-{engine}");
        check(
            &[("engine", json!(engine)), ("wasm_bytes", json!(bytes + 1))],
            &denied,
            "allow",
        );
    }
    check(&[("advisories.high", json!(1))], "deny advisory", "allow");
    check(&[("advisories.critical", json!(1))], "deny advisory", "allow");
    check(&[("advisories.medium", json!(3))], "allow", "allow");
    check(
        &[("advisories.database", json!("unreadable"))],
        "deny advisories-unreadable",
        "allow",
    );
    check(&[("secrets.blocking", json!(1))], "deny secret-found", "allow");
}

#[test]
fn the_default_policy_passes_its_own_tests_and_a_wrong_expectation_fails() {
    let results = run_cases(&Policies::builtin(), DEFAULT_CASES).unwrap();
    let failed: Vec<_> = results.iter().filter(|result| !result.passed).collect();
    assert!(failed.is_empty() && results.len() > 10, "{failed:?}");
    let run = |text: &str| run_cases(&Policies::builtin(), text);
    let wrong = run(r#"{"cases": [{"name": "a", "expect": {"verdict": "deny"}}]}"#).unwrap();
    assert!(!wrong[0].passed && wrong[0].found.as_ref().unwrap().contains("allow by [admit]"));
    let typo = run(r#"{"cases": [{"name": "a", "facts": {"wasm_byte": 1}, "expect": {"verdict": "deny"}}]}"#);
    let words = typo.unwrap_err().to_string();
    assert!(words.contains("wasm_byte") && words.contains("\"a\""), "{words}");
}

#[test]
fn every_default_policy_that_forbids_explains_itself() {
    let policies = Policies::builtin();
    for (name, _) in policies.names() {
        let policy = policies
            .set()
            .policy(&cedar_policy::PolicyId::new(&name))
            .unwrap();
        assert!(policy.annotation("reason").is_some(), "{name}");
        let forbids = policy.effect() == cedar_policy::Effect::Forbid;
        assert!(!forbids || policy.annotation("next").is_some(), "{name}");
    }
    let facts = with(&[("undeclared_imports", json!(["wasi:config/store@0.2.0-rc.1"]))]);
    let decision = policies.decide(&facts, &question(Action::Deploy));
    let words = decision.explanation();
    assert!(
        words.contains("wasi:config/store@0.2.0-rc.1") && words.contains("[capabilities]"),
        "{words}"
    );
    assert_eq!(decision.code.as_deref(), Some("POLICY_DENIED"));
    assert!(decision.is_overridable());
    let facts = with(&[("secrets.blocking", json!(1))]);
    let decision = policies.decide(&facts, &question(Action::Deploy));
    assert_eq!(decision.code.as_deref(), Some("SECRET_FOUND"));
    assert!(!decision.is_overridable());
}

#[test]
fn a_policy_that_cannot_be_evaluated_denies_by_its_name() {
    let overflow = "context.facts.wasm_bytes * 9223372036854775807 > 0";
    let facts = baseline();
    for effect in ["forbid", "permit"] {
        let text = format!(
            "@id(\"all\") permit (principal, action, resource);\n\
             @id(\"broken\") {effect} (principal, action == Action::\"deploy\", resource) when {{ {overflow} }};"
        );
        let policies = set(&text).unwrap();
        assert_eq!(
            verdict(&policies, &facts, Action::Deploy),
            "deny failed:broken",
            "{effect}"
        );
        assert_eq!(verdict(&policies, &facts, Action::Activate), "allow");
        let words = policies.decide(&facts, &question(Action::Deploy)).explanation();
        assert!(words.contains("broken") && words.contains("overflow"), "{words}");
    }
}

#[test]
fn a_set_without_a_permit_denies() {
    let policies = set("").unwrap();
    let decision = policies.decide(&baseline(), &question(Action::Deploy));
    assert_eq!(decision.verdict, Verdict::Deny);
    assert!(
        decision.explanation().contains("no policy permits"),
        "{}",
        decision.explanation()
    );
}

#[test]
fn policies_see_who_and_where() {
    let policies = set(
        "@id(\"all\") permit (principal, action, resource);\n\
         @id(\"who\") forbid (principal == Operator::\"up\", action, resource);\n\
         @id(\"tenant\") forbid (principal, action, resource in Namespace::\"bank\");\n\
         @id(\"name\") forbid (principal, action, resource in Repository::\"acme/legacy\");\n\
         @id(\"host\") forbid (principal, action == Action::\"deploy\", resource)\n\
         when { context.hosts.contains(\"www.example.com\") };\n\
         @id(\"owner\") forbid (principal, action == Action::\"deploy\", resource) unless { context.facts.telemetry has owner };",
    )
    .unwrap();
    let check = |change: &dyn Fn(&mut Question, &mut PolicyFacts), expected: &[&str]| {
        let (mut asked, mut facts) = (question(Action::Deploy), baseline());
        change(&mut asked, &mut facts);
        let decision = policies.decide(&facts, &asked);
        let denied: Vec<&str> = decision
            .policies
            .iter()
            .filter(|p| p.effect == Effect::Forbid)
            .map(|p| p.id.as_str())
            .collect();
        assert_eq!(denied, expected);
    };
    check(&|_, _| (), &[]);
    check(&|asked, _| asked.by = "up".to_owned(), &["who"]);
    check(&|asked, _| asked.namespace = "bank".parse().unwrap(), &["tenant"]);
    check(&|_, facts| facts.name = "acme/legacy".to_owned(), &["name"]);
    check(
        &|asked, _| asked.hosts = ["www.example.com".to_owned()].into(),
        &["host"],
    );
    check(&|_, facts| facts.telemetry.owner = None, &["owner"]);
}

#[test]
fn placement_goes_by_labels() {
    let policies = set(
        "@id(\"all\") permit (principal, action == Action::\"place\", resource);\n\
         @id(\"residency\") @reason(\"payments stay in the EU\")\n\
         forbid (principal, action == Action::\"place\", resource in Namespace::\"pay\")\n\
         unless { principal.hasTag(\"region\") && principal.getTag(\"region\") like \"eu-*\" };",
    )
    .unwrap();
    let check = |namespace: &str, labels: &[(&str, &str)]| {
        let subject = Subject {
            namespace,
            app: "hello",
            package: "acme/hello",
            version: "1.0.0",
            digest: baseline().digest,
        };
        let labels = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let place = Place {
            node: "n1".to_owned(),
            labels: labels.collect::<BTreeMap<_, _>>(),
        };
        policies.place(&subject, &place).verdict
    };
    assert_eq!(check("shop", &[]), Verdict::Allow);
    assert_eq!(check("pay", &[]), Verdict::Deny);
    assert_eq!(check("pay", &[("region", "us-east")]), Verdict::Deny);
    assert_eq!(
        check("pay", &[("region", "eu-west"), ("zone", "b")]),
        Verdict::Allow
    );
}

#[test]
fn what_is_not_sound_is_refused_with_its_place() {
    let check = |text: &str, line: Option<usize>, words: &str| {
        let error = set(text).unwrap_err();
        let crate::Error::PolicyInvalid {
            path,
            line: found,
            why,
        } = &error
        else {
            panic!("{error}")
        };
        assert_eq!(
            (path.as_path(), *found),
            (Path::new("policy/own.cedar"), line),
            "{error}"
        );
        assert!(why.contains(words), "{why}");
    };
    check(
        "@id(\"a\")\npermit (principal, action, resource)\n",
        Some(2),
        "unexpected",
    );
    check("permit (principal, action, resource);", None, "@id");
    check(
        "@id(\"a b\") permit (principal, action, resource);",
        None,
        "no name",
    );
    check(
        "@id(\"a\") permit (principal, action, resource);\n@id(\"a\") forbid (principal, action, resource);",
        None,
        "once",
    );
    check(
        "@id(\"a\") permit (principal == ?principal, action, resource);",
        None,
        "template",
    );
    let typo = "@id(\"a\")\nforbid (principal, action == Action::\"deploy\", resource)\nwhen { context.facts.wasm_byte > 1 };";
    check(typo, Some(3), "wasm_byte");
    let kind = "@id(\"a\")\nforbid (principal, action == Action::\"deploy\", resource)\nwhen { context.facts.wasm_bytes > \"1\" };";
    check(kind, Some(3), "Long");
    check(
        "@id(\"a\") forbid (principal == User::\"x\", action, resource);",
        Some(1),
        "User",
    );
}

#[test]
fn the_last_sound_set_decides_while_the_folder_is_broken() {
    let folder = tempfile::tempdir().unwrap();
    let gate = Gate::new(folder.path().join("policy"), folder.path().join("advisories"));
    let own = folder.path().join("policy/own.cedar");
    let builtin = gate.policies().unwrap().hash();
    assert_eq!(builtin, Policies::builtin().hash());

    std::fs::create_dir(folder.path().join("policy")).unwrap();
    std::fs::write(&own, "@id(\"no\") forbid (principal, action, resource);").unwrap();
    let stricter = gate.policies().unwrap();
    assert_ne!(stricter.hash(), builtin);
    assert_eq!(verdict(&stricter, &baseline(), Action::Deploy), "deny no");

    std::fs::write(&own, "forbid (").unwrap();
    assert_eq!(gate.policies().unwrap().hash(), stricter.hash());
    let fresh = Gate::new(folder.path().join("policy"), folder.path().join("advisories"));
    assert_eq!(fresh.policies().unwrap_err().code(), "POLICY_INVALID");

    std::fs::remove_file(&own).unwrap();
    assert_eq!(gate.policies().unwrap().hash(), builtin);
    // A file of the default's name takes its place, and not only its weaknesses.
    std::fs::write(folder.path().join("policy/default.cedar"), "").unwrap();
    assert_eq!(
        verdict(&gate.policies().unwrap(), &baseline(), Action::Deploy),
        "deny "
    );
}

#[test]
fn too_much_policy_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write(
        "big.cedar",
        &vec![b'/'; usize::try_from(crate::limits::POLICY_FILE_BYTES_MAX).unwrap() + 1],
    );
    assert_eq!(read_folder(folder.path()).unwrap_err().code(), "POLICY_INVALID");
    write("big.cedar", &[0xff]);
    assert_eq!(read_folder(folder.path()).unwrap_err().code(), "POLICY_INVALID");
    write("big.cedar", b"");
    std::fs::create_dir(folder.path().join("folder.cedar")).unwrap();
    assert_eq!(read_folder(folder.path()).unwrap_err().code(), "POLICY_INVALID");
    std::fs::remove_dir(folder.path().join("folder.cedar")).unwrap();
    let nameless: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff.cedar");
    std::fs::write(folder.path().join(nameless), "").unwrap();
    assert_eq!(read_folder(folder.path()).unwrap_err().code(), "POLICY_INVALID");
    std::fs::remove_file(folder.path().join(nameless)).unwrap();
    for number in 0..crate::limits::POLICY_FILES_MAX {
        write(&format!("{number}.cedar"), b"");
    }
    assert_eq!(read_folder(folder.path()).unwrap_err().code(), "POLICY_INVALID");
    let many: String = (0..=crate::limits::POLICIES_MAX)
        .map(|number| format!("@id(\"p{number}\") permit (principal, action, resource);"))
        .collect();
    assert_eq!(set(&many).unwrap_err().code(), "POLICY_INVALID");
}

#[test]
fn facts_are_read_strictly() {
    let text = String::from_utf8(include_bytes!("baseline.json").to_vec()).unwrap();
    let check = |from: &str, to: &str| {
        PolicyFacts::parse(text.replace(from, to).as_bytes())
            .unwrap_err()
            .code()
    };
    assert_eq!(check("\"schema\": 1", "\"schema\": 2"), "FACTS_INVALID");
    assert_eq!(check("\"wasm_bytes\"", "\"wasm_byte\""), "FACTS_INVALID");
    assert_eq!(check("50000,", "-1,"), "FACTS_INVALID");
    let large = format!("{text}{}", " ".repeat(crate::limits::FACTS_BYTES_MAX));
    assert_eq!(
        PolicyFacts::parse(large.as_bytes()).unwrap_err().code(),
        "SIZE_EXCEEDED"
    );
    // Numbers that Cedar has no room for deny, and do not wrap around.
    let huge = with(&[("wasm_bytes", json!(u64::MAX))]);
    assert_eq!(
        verdict(&Policies::builtin(), &huge, Action::Deploy),
        "deny failed:facts"
    );
}
