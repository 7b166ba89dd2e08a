//! Tests of reading a configuration.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;

const EXAMPLE: &str = include_str!("../../../../abbild.example.toml");

fn sources<'a>(text: &'a str, environment: &[(&str, &str)]) -> Sources<'a> {
    Sources {
        file: Some((Path::new("a.toml"), text)),
        environment: environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        arguments: Vec::new(),
    }
}

fn load(text: &str, environment: &[(&str, &str)]) -> Result<Loaded, Vec<String>> {
    sources(text, environment)
        .load()
        .map_err(|mistakes| mistakes.0.iter().map(ToString::to_string).collect())
}

fn parse(text: &str) -> Result<Config, Vec<String>> {
    load(text, &[]).map(|loaded| loaded.config)
}

#[test]
fn defaults_are_valid_and_have_the_two_regions() {
    let config = parse("").unwrap();
    let slugs: Vec<_> = config.regions.iter().map(|r| r.slug.as_str()).collect();
    assert_eq!(slugs, ["hal1", "nbg1"]);
}

#[test]
fn the_example_file_holds_the_defaults() {
    let (example, defaults) = (parse(EXAMPLE).unwrap(), Config::default());
    for &rule in abbild_guest::RuleId::ALL {
        assert_eq!(
            example.requirements.0.get(&rule),
            Some(&rule.default_severity()),
            "abbild.example.toml: `{rule}` in [requirements]"
        );
    }
    let without_rules = |config: Config| Config {
        requirements: Severities::default(),
        ..config
    };
    assert_eq!(
        format!("{:?}", without_rules(example)),
        format!("{:?}", without_rules(defaults))
    );
}

/// The example with every setting in force that it shows in a comment.
fn uncommented() -> String {
    let is_setting = |line: &str| {
        let name = line.split(" = ").next().unwrap_or_default();
        let word = |c: char| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit();
        (line.contains(" = ") && name.chars().all(word))
            || (line.starts_with('[') && line.ends_with(']'))
    };
    let lines = EXAMPLE.lines().map(|line| match line.strip_prefix("# ") {
        Some(rest) if is_setting(rest) => rest,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The settings of a configuration, without the indexes of elements.
fn settings(value: &serde_json::Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                settings(value, &format!("{path}.{key}"), found);
            }
        }
        serde_json::Value::Array(items) if items.first().is_some_and(|i| i.is_object()) => {
            items.iter().for_each(|item| settings(item, path, found));
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}

#[test]
fn the_example_file_explains_every_setting() {
    let text = uncommented();
    let config: Config = toml::from_str(&text).unwrap_or_else(|e| panic!("{e}"));
    let mut wanted = BTreeSet::new();
    settings(&serde_json::to_value(config).unwrap(), "", &mut wanted);
    let mut shown = BTreeSet::new();
    let example: serde_json::Value = toml::from_str(&text).unwrap();
    settings(&example, "", &mut shown);
    let missing: Vec<_> = wanted.difference(&shown).collect();
    assert!(
        missing.is_empty(),
        "not in abbild.example.toml: {missing:?}"
    );
}

#[test]
fn every_rule_can_be_given_a_severity_and_nothing_else_can() {
    for &rule in abbild_guest::RuleId::ALL {
        for severity in ["failure", "warning", "note"] {
            let text = format!("[requirements]\n{rule} = \"{severity}\"");
            let config = parse(&text).unwrap();
            let named = serde_json::to_value(config.requirements.of(rule)).unwrap();
            assert_eq!(named, severity, "{rule}");
        }
    }
    assert!(parse("[requirements]\nno-such-rule = \"note\"").is_err());
}

#[test]
fn mistakes_are_named_with_their_place() {
    for (text, place, word) in [
        ("lisen = \"127.0.0.1:1\"", "a.toml:1:1: ", "lisen"),
        ("\nlisten = \"0.0.0.0:80\"", "a.toml:2:10: ", "plain HTTP"),
        ("regions = []", "a.toml:1:11: ", "at least one"),
        (
            "[[regions]]\nslug = \"A\"\nname = \"a\"",
            "a.toml:2:8: ",
            "`A`",
        ),
        (
            "[vm]\nfirst_address = \"10.0.0.1\"",
            "a.toml:2:17: ",
            "127.0.0.0/8",
        ),
        ("[vm]\n\naddresses = 0", "a.toml:1:1: ", "127.0.0.0/8"),
        ("[vm]\nkvm = 1", "a.toml:2:7: ", "boolean"),
        ("[vm]\nkvm = yes", "a.toml:2:7: ", ""),
        (
            "[limits]\nmax_upload_size = \"9 XiB\"",
            "a.toml:2:19: ",
            "`xib`",
        ),
        ("[[regions]]\nslug = \"a\"", "a.toml:1:1: ", "name"),
        ("[requirements]\nsshd = \"loud\"", "a.toml:2:8: ", "loud"),
    ] {
        let mistakes = parse(text).unwrap_err();
        assert_eq!(mistakes.len(), 1, "{text}: {mistakes:?}");
        assert!(mistakes[0].starts_with(place), "{text}: {mistakes:?}");
        assert!(mistakes[0].contains(word), "{text}: {mistakes:?}");
    }
}

#[test]
fn plain_http_is_for_loopback_and_trusted_proxies() {
    assert!(parse("listen = \"0.0.0.0:80\"").is_err());
    let behind_proxy = "listen = \"0.0.0.0:80\"\ntrusted_proxies = [\"192.0.2.10/32\"]";
    parse(behind_proxy).unwrap();
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = "listen = \"0.0.0.0:80\"\nlisen = 1\n[limits]\nmax_upload_size = -1\n\
                [[regions]]\nslug = 7\nname = \"a\"\n[vm]\nkvm = \"no\"\naddresses = 0";
    let mistakes = parse(text).unwrap_err();
    let lines: Vec<_> = mistakes
        .iter()
        .map(|m| m.split(':').nth(1).unwrap())
        .collect();
    assert_eq!(lines, ["1", "2", "4", "6", "8", "9"], "{mistakes:?}");
}

#[test]
fn the_environment_overrides_the_file() {
    let loaded = load(
        "[limits]\nupload_idle_hours = 1\ntombstone_minutes = 2\n[[regions]]\nslug = \"a\"\nname = \"A\"",
        &[
            ("ABBILD__LISTEN", "127.0.0.1:9"),
            ("ABBILD__LIMITS__MAX_UPLOAD_SIZE", "5 GiB"),
            ("ABBILD__LIMITS__UPLOAD_IDLE_HOURS", "3"),
            ("ABBILD__REGIONS__0__NAME", "12"),
            ("ABBILD__REQUIREMENTS__DATASOURCE_ORDER", "note"),
            ("ABBILD_LOG", "debug"),
            ("PATH", "/bin"),
        ],
    );
    let Loaded { config, shown } = loaded.unwrap();
    assert_eq!(config.listen.port(), 9);
    assert_eq!(config.limits.max_upload_size, 5 << 30);
    assert_eq!(config.limits.upload_idle_hours, 3);
    assert_eq!(config.limits.tombstone_minutes, 2);
    assert_eq!(config.regions[0].name, "12");
    for (setting, origin) in [
        ("listen = \"127.0.0.1:9\" ", "# ABBILD__LISTEN"),
        (
            "max_upload_size = 5368709120 ",
            "# ABBILD__LIMITS__MAX_UPLOAD_SIZE",
        ),
        ("tombstone_minutes = 2 ", "# a.toml:3:21"),
        ("max_virtual_size = 107374182400 ", "# default"),
        (
            "datasource-order = \"note\"",
            "# ABBILD__REQUIREMENTS__DATASOURCE_ORDER",
        ),
        ("# public_url is not set ", "# default"),
    ] {
        let line = shown.lines().find(|line| line.starts_with(setting));
        let line = line.unwrap_or_else(|| panic!("{setting} in {shown}"));
        assert!(line.ends_with(origin), "{line}");
    }
    let again = parse(&shown).unwrap();
    assert_eq!(again.limits.max_upload_size, 5 << 30);
    assert_eq!(again.regions[0].name, "12");
}

#[test]
fn mistakes_of_the_environment_are_named_by_their_variable() {
    for (name, value) in [
        ("ABBILD__LISEN", "x"),
        ("ABBILD__LISTEN", "0.0.0.0:80"),
        ("ABBILD__VM__KVM", "perhaps"),
        ("ABBILD__VM__KVM__DEEPER", "1"),
        ("ABBILD__", "1"),
        ("ABBILD__REGIONS", "[]"),
        ("ABBILD__REGIONS__7__NAME", "x"),
    ] {
        let text = "[vm]\nkvm = true\n[[regions]]\nslug = \"a\"\nname = \"A\"";
        let mistakes = load(text, &[(name, value)]).unwrap_err();
        assert_eq!(mistakes.len(), 1, "{name}: {mistakes:?}");
        assert!(
            mistakes[0].starts_with(&format!("{name}: ")),
            "{mistakes:?}"
        );
    }
}

#[test]
fn the_command_line_overrides_the_environment() {
    let mut sources = sources(
        "listen = \"127.0.0.1:1\"",
        &[("ABBILD__LISTEN", "127.0.0.1:2")],
    );
    sources.arguments = vec![("--listen", "listen", "127.0.0.1:3".to_owned())];
    assert_eq!(sources.load().unwrap().config.listen.port(), 3);
}

#[test]
fn what_several_processes_share_is_shared_by_all_of_it() {
    let mistakes = parse("shared = '/mnt/abbild'").unwrap_err();
    assert_eq!(mistakes.len(), 3, "{mistakes:?}");
    assert!(mistakes[0].contains("PostgreSQL"), "{mistakes:?}");
    assert!(
        mistakes[1].contains("those of `hal1` in a bucket"),
        "{mistakes:?}"
    );
    let one = "shared = '/mnt/abbild'\ndatabase = 'postgres://db/abbild'\n[[regions]]\nslug = 'a'\n\
               name = 'A'\n[regions.s3]\nendpoint = 'http://127.0.0.1:1'\nbucket = 'b'\n\
               access_key_id = 'k'\nsecret_access_key = 's'\n";
    let config = parse(one).unwrap();
    assert_eq!(config.shared(), Path::new("/mnt/abbild"));
}
