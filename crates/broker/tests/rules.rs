//! Rules against headers and bodies.
#![allow(clippy::unwrap_used)]

use duolog_broker::headers::TYPE_PREFIX;
use duolog_broker::limits::RULES_BODY_BYTES;
use duolog_broker::routing::{Rules, RulesOn, Seen};
use duolog_record::Header;
use proptest::prelude::*;
use serde_json::{Value, json};

fn headers(pairs: &[(&str, &str, &str)]) -> Vec<Header> {
    let bytes = |text: &str| bytes::Bytes::copy_from_slice(text.as_bytes());
    let header = |key: String, value: &str| Header { key: key.into(), value: Some(bytes(value)) };
    pairs
        .iter()
        .flat_map(|(name, data_type, value)| {
            [header((*name).to_owned(), value), header(format!("{TYPE_PREFIX}{name}"), data_type)]
        })
        .collect()
}

fn on_headers(rules: &Value, pairs: &[(&str, &str, &str)]) -> bool {
    let headers = headers(pairs);
    Rules::parse(RulesOn::Headers, &rules.to_string()).unwrap().hold(&Seen::new(&headers, b""))
}

fn on_body(rules: &Value, body: &str) -> bool {
    Rules::parse(RulesOn::Body, &rules.to_string()).unwrap().hold(&Seen::new(&[], body.as_bytes()))
}

fn refused(on: RulesOn, text: &str) -> String {
    Rules::parse(on, text).unwrap_err().to_string()
}

#[test]
fn values_are_compared_by_their_kind() {
    let text = |value| [("a", "String", value)];
    for (test, taken, others) in [
        (json!("x"), "x", &["y", "X", "xx", ""][..]),
        (json!({"prefix": "ab"}), "abc", &["a", "cab", "AB"]),
        (json!({"suffix": "ab"}), "cab", &["b", "abc"]),
        (json!({"equals-ignore-case": "Äb"}), "äB", &["ab", "äbc"]),
        (json!({"wildcard": "a*c*e"}), "abcde", &["abc", "ae", "xabcde"]),
        (json!({"wildcard": r"a\*\\*"}), r"a*\b", &[r"ab\b", "a*"]),
        (json!({"anything-but": ["x", "y"]}), "z", &["x", "y"]),
        (json!({"anything-but": "x"}), "y", &["x"]),
        (json!({"anything-but": {"prefix": "ab"}}), "ba", &["abc"]),
        (json!({"anything-but": {"suffix": ["ab", "cd"]}}), "abc", &["xab", "cd"]),
        (json!({"anything-but": {"wildcard": "*b*"}}), "ac", &["abc"]),
        (json!({"anything-but": {"equals-ignore-case": ["A"]}}), "b", &["a", "A"]),
        (json!({"cidr": "10.1.0.0/16"}), "10.1.255.3", &["10.2.0.1", "x", "::1"]),
        (json!({"cidr": "2001:db8::/32"}), "2001:db8::7", &["2001:db9::1", "10.0.0.1"]),
        (json!({"cidr": "0.0.0.0/0"}), "255.255.255.255", &["::"]),
    ] {
        assert!(on_headers(&json!({"a": [test]}), &text(taken)), "{test} takes {taken}");
        for other in others {
            assert!(!on_headers(&json!({"a": [test]}), &text(other)), "{test} takes {other}");
        }
        assert!(!on_headers(&json!({"a": [test]}), &[]), "{test} takes nothing");
    }
}

#[test]
fn numbers_are_compared_as_numbers() {
    let number = |value| [("a", "Number.int", value)];
    for (test, taken, others) in [
        (json!(5), "5.0", &["6", "50"][..]),
        (json!({"numeric": ["=", 5]}), "5", &["5.1"]),
        (json!({"numeric": ["<", 5]}), "4.9", &["5", "6"]),
        (json!({"numeric": ["<=", 5]}), "5", &["5.1"]),
        (json!({"numeric": [">", 5]}), "1e3", &["5"]),
        (json!({"numeric": [">=", -5]}), "-5", &["-5.1"]),
        (json!({"numeric": [">", 0, "<=", 150]}), "150", &["0", "151"]),
        (json!({"anything-but": [5, 6]}), "7", &["5", "6"]),
    ] {
        assert!(on_headers(&json!({"a": [test]}), &number(taken)), "{test} takes {taken}");
        for other in others {
            assert!(!on_headers(&json!({"a": [test]}), &number(other)), "{test} takes {other}");
        }
        assert!(!on_headers(&json!({"a": [test]}), &[]), "{test} takes nothing");
    }
    assert!(!on_headers(&json!({"a": [5]}), &[("a", "String", "5")]), "a text is no number");
    assert!(!on_headers(&json!({"a": ["5"]}), &number("5")), "and a number no text");
}

#[test]
fn lists_and_binary_headers() {
    let list = [("a", "String.Array", r#"["rugby", 5, true, null, ["deep"]]"#)];
    for taken in [json!("rugby"), json!(5), json!(true), json!(null), json!("deep"), json!({"exists": true})]
    {
        assert!(on_headers(&json!({"a": [taken]}), &list), "{taken}");
    }
    assert!(!on_headers(&json!({"a": [false, "tennis", {"exists": false}]}), &list));
    assert!(on_headers(&json!({"a": [{"anything-but": ["rugby"]}]}), &list), "another element is");
    assert!(on_headers(&json!({"a": ["[x"]}), &[("a", "String.Array", "[x")]), "no list: a text");
    let binary = [("a", "Binary", "x")];
    assert!(!on_headers(&json!({"a": ["x", {"exists": true}]}), &binary));
    assert!(on_headers(&json!({"a": [{"exists": false}]}), &binary));
}

#[test]
fn all_keys_and_one_of_alternatives() {
    let rules = json!({"a": ["x"], "$or": [{"b": ["y"]}, {"c": ["z"], "d": [{"exists": true}]}]});
    let text = |pairs: &[(&'static str, &'static str)]| {
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (*name, "String", *value)).collect();
        on_headers(&rules, &pairs)
    };
    assert!(text(&[("a", "x"), ("b", "y")]));
    assert!(text(&[("a", "x"), ("c", "z"), ("d", "")]));
    assert!(!text(&[("a", "x"), ("c", "z")]));
    assert!(!text(&[("b", "y")]));
    assert!(on_headers(&json!({}), &[]), "no keys, no condition");
}

#[test]
fn bodies_are_looked_into() {
    let nested = json!({"order": {"store": ["x"], "items": {"id": [{"numeric": [">", 3]}], "kind": ["k"]}}});
    assert!(on_body(&nested, r#"{"order":{"store":"x","items":[{"id":1},{"id":4,"kind":"k"}]}}"#));
    let apart = r#"{"order":{"store":"x","items":[{"id":4},{"id":1,"kind":"k"}]}}"#;
    assert!(!on_body(&nested, apart), "one element holds all");
    assert!(on_body(&json!({"a": [true, null]}), r#"{"a":[[null]]}"#));
    assert!(on_body(&json!({"a": {"b": [{"exists": false}]}}), "{}"));
    assert!(on_body(&json!({"a": [{"exists": false}]}), r#"{"a":{"b":1}}"#), "an object is no value");
    assert!(!on_body(&json!({"a": {"b": [{"exists": true}]}}), r#"{"a":5}"#));
    for body in ["", "x", "[]", "5", "null", r#"{"a":"#] {
        assert!(!on_body(&json!({}), body), "{body}");
    }
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(RULES_BODY_BYTES));
    assert!(!on_body(&json!({}), &long));
    let deep = format!("{{\"a\":{}", "[".repeat(100_000));
    assert!(!on_body(&json!({}), &deep));
}

#[test]
fn what_is_wrong_is_said() {
    for (text, said) in [
        ("", "failed to parse JSON."),
        ("[]", "must be a JSON object"),
        (r#"{"a": "x"}"#, "\"a\" must be an object or an array"),
        (r#"{"a": null}"#, "\"a\" must be an object or an array"),
        (r#"{"a": []}"#, "Empty arrays are not allowed"),
        (r#"{"a": [[1]]}"#, "Match value must be String, number, true, false, or null"),
        (r#"{"a": [{}]}"#, "Only one key allowed"),
        (r#"{"a": [{"prefix": "a", "suffix": "b"}]}"#, "Only one key allowed"),
        (r#"{"a": [{"prefix": 5}]}"#, "prefix match pattern must be a string"),
        (r#"{"a": [{"like": "a"}]}"#, "Unrecognized match type like"),
        (r#"{"a": [{"exists": "x"}]}"#, "exists match pattern must be either true or false."),
        (r#"{"a": [{"anything-but": []}]}"#, "Empty arrays are not allowed"),
        (r#"{"a": [{"anything-but": {"numeric": 1}}]}"#, "Unsupported anything-but pattern: numeric"),
        (r#"{"a": [{"anything-but": {"prefix": 1}}]}"#, "prefix match pattern must be a string"),
        (r#"{"a": [{"numeric": 5}]}"#, "Value of numeric must be an array."),
        (r#"{"a": [{"numeric": []}]}"#, "Invalid member in numeric match: ]"),
        (r#"{"a": [{"numeric": [5]}]}"#, "Invalid member in numeric match: 5"),
        (r#"{"a": [{"numeric": ["~", 5]}]}"#, "Unrecognized numeric range operator: ~"),
        (r#"{"a": [{"numeric": ["<"]}]}"#, "Value of < must be numeric"),
        (r#"{"a": [{"numeric": ["<", 5, ">", 1]}]}"#, "Too many elements in numeric expression"),
        (r#"{"a": [{"numeric": [">", 5, ">", 6]}]}"#, "Bad numeric range operator"),
        (r#"{"a": [{"numeric": [">", 5, "<"]}]}"#, "Value of < must be numeric"),
        (r#"{"a": [{"numeric": [">", 5, "<", 5]}]}"#, "Bottom must be less than top"),
        (r#"{"a": [{"numeric": [">", 5, "<", 6, 7]}]}"#, "Too many terms"),
        (r#"{"a": [{"wildcard": "a**"}]}"#, "Consecutive wildcard characters at pos 1"),
        (r#"{"a": [{"wildcard": "a\\x"}]}"#, "Invalid escape character at pos 2"),
        (r#"{"a": [{"cidr": "10.0.0.0"}]}"#, "Malformed CIDR"),
        (r#"{"a": [{"cidr": "10.0.0/8"}]}"#, "Nonstandard IP address: 10.0.0"),
        (r#"{"a": [{"cidr": "10.0.0.0/33"}]}"#, "Malformed CIDR"),
        (r#"{"$or": [{"a": [1]}]}"#, "at least 2 Objects"),
        (r#"{"$or": [{"a": [1]}, 5]}"#, "Only non-empty objects"),
        (r#"{"a": {"b": [1]}}"#, "does not support nested filter policy"),
        (r#"{"a":[1],"b":[1],"c":[1],"d":[1],"e":[1],"f":[1]}"#, "more than 5 keys"),
    ] {
        let error = refused(RulesOn::Headers, text);
        assert!(error.contains(said), "{text}: {error}");
    }
    let list = |n: usize| vec![1; n];
    assert!(refused(RulesOn::Headers, &json!({"a": list(151)}).to_string()).contains("too complex"));
    assert!(Rules::parse(RulesOn::Headers, &json!({"a": list(15), "b": list(10)}).to_string()).is_ok());
    let nested = json!({"a": {"b": {"c": list(4)}}, "d": {"e": list(3)}});
    assert!(Rules::parse(RulesOn::Body, &nested.to_string()).is_ok(), "72 combinations");
    let nested = json!({"a": {"b": {"c": list(8)}}, "d": {"e": list(6)}});
    assert!(refused(RulesOn::Body, &nested.to_string()).contains("too complex"), "288");
    let deep = format!("{}[1]{}", "{\"a\":".repeat(200), "}".repeat(200));
    assert!(refused(RulesOn::Body, &deep).contains("failed to parse JSON."));
}

/// What a pattern takes, by trying every way.
fn fits_slowly(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|skipped| fits_slowly(rest, &text[skipped..])),
        Some((byte, rest)) => text.first() == Some(byte) && fits_slowly(rest, &text[1..]),
    }
}

proptest! {
    #[test]
    fn patterns_take_what_they_say(pieces in proptest::collection::vec("[ab]{0,2}", 1..4), text in "[ab]{0,8}") {
        // An empty piece within would put two asterisks together.
        prop_assume!(pieces.len() < 3 || pieces[1..pieces.len() - 1].iter().all(|piece| !piece.is_empty()));
        let pattern = pieces.join("*");
        let fits = on_headers(&json!({"a": [{"wildcard": pattern}]}), &[("a", "String", &text)]);
        prop_assert_eq!(fits, fits_slowly(pattern.as_bytes(), text.as_bytes()));
    }

    #[test]
    fn a_test_and_its_contrary_part_all_texts(operator in "prefix|suffix|equals-ignore-case", wanted in "[abA]{0,2}", text in "[abA]{0,4}") {
        let it = on_headers(&json!({"a": [{operator.clone(): wanted}]}), &[("a", "String", &text)]);
        let but = json!({"a": [{"anything-but": {operator: wanted}}]});
        prop_assert_ne!(it, on_headers(&but, &[("a", "String", &text)]));
    }

    #[test]
    fn ranges_are_what_numbers_say(low in -50..50_i32, width in 1..50_i32, number in -60..110_i32) {
        let within = on_headers(&json!({"a": [{"numeric": [">=", low, "<", low + width]}]}), &[("a", "Number", &number.to_string())]);
        prop_assert_eq!(within, (low..low + width).contains(&number));
    }
}
