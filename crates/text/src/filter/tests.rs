use super::*;
use crate::sentiment::rules::Lemma;
use proptest::prelude::*;

fn found(rule: &str, text: &str, lemmas: &[Lemma<'_>]) -> (bool, Vec<String>) {
    let rule = Filter::parse(rule).unwrap_or_else(|error| panic!("{rule}: {error}"));
    let found = Filters::new(vec![rule]).unwrap().find(text, lemmas).remove(0);
    assert!(found.ranges.len() == found.count.min(RANGES_MAX));
    for range in &found.ranges {
        assert_eq!(range.chars.start, text[..range.bytes.start].chars().count());
        assert_eq!(range.chars.end, text[..range.bytes.end].chars().count());
    }
    let told = found.ranges.iter().map(|range| text[range.bytes.clone()].to_owned());
    (found.matched, told.collect())
}

/// What made a rule match; `None` where it does not.
fn check(rule: &str, text: &str, expected: Option<&[&str]>) {
    let (matched, told) = found(rule, text, &[]);
    let expected = expected.map(|told| told.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>());
    assert_eq!(matched.then_some(told), expected, "{rule} in {text}");
}

#[test]
fn terms_match_whole_words() {
    check("refund", "Refunds? A REFUND, a refund.", Some(&["REFUND", "refund"]));
    check("refund", "prerefund refunds", None);
    check("refund*", "Refunds and refunding; a prefund", Some(&["Refunds", "refunding"]));
    check("\"Money back\"", "money. Back money-back", Some(&["money. Back", "money-back"]));
    check("don't", "I don’t, dont", Some(&["don’t"]));
    check("été", "L'ÉTÉ, e\u{301}te\u{301}, ete", Some(&["ÉTÉ", "e\u{301}te\u{301}"]));
    check("exact:Apple", "apple APPLE Apple", Some(&["Apple"]));
    check("exact:\"The Sun\"", "the sun, The sun, The Sun", Some(&["The Sun"]));
    check("iPhone AND 15", "the iphone 15", Some(&["iphone", "15"]));
    check("15", "the iphone 16", None);
    check("😀", "so😀😀", Some(&["😀", "😀"]));
    check("北京", "我们喜欢北京。北方", Some(&["北京"]));
    check("北京*", "我们喜欢北京。", Some(&["北京"]));
    check("كتاب", "الكِتاب كِتَاب", Some(&["كِتَاب"]));
    check("wi-fi", "WiFi wi fi Wi-Fi", Some(&["wi fi", "Wi-Fi"]));
    check("wi-f*", "wi-five", Some(&["wi-five"]));
    check("#ferry", "a #Ferry @ferry", Some(&["Ferry", "ferry"]));
}

#[test]
fn operators_bind_as_they_should() {
    check("a OR b AND c", "a", Some(&["a"]));
    check("a OR b AND c", "b", None);
    check("(a OR b) AND c", "a", None);
    check("NOT a AND b", "b", Some(&["b"]));
    check("NOT (a AND b)", "a", Some(&[]));
    check("NOT NOT a", "a", Some(&[]));
    check("a AND b NEAR/0 c", "a c b", Some(&["a", "c b"]));
    check("a AND NOT spam", "a spam", None);
    check("a OR a", "a", Some(&["a"]));
    check("and", "this and that", Some(&["and"]));
}

#[test]
fn near_counts_the_words_between() {
    check("a NEAR/2 b", "a x y b", Some(&["a x y b"]));
    check("a NEAR/1 b", "a x y b", None);
    check("b NEAR/2 a", "a x y b", Some(&["a x y b"]));
    check("a NEAR/0 a", "a", None);
    check("a NEAR/0 a", "a a", Some(&["a a"]));
    check("\"a b\" NEAR/1 (c OR dx*)", "c a b x dxy", Some(&["c a b", "a b x dxy"]));
    check("a NEAR/1 b NEAR/1 c", "a b x c", Some(&["a b x c"]));
    check("a NEAR/9 b", "a a b", Some(&["a a b", "a b"]));
    check("NOT (a NEAR/1 b)", "a x x b", Some(&[]));
}

#[test]
fn lemmas_match_where_they_are_known() {
    let text = "She paid, they pays";
    let lemmas = [Lemma { bytes: 4..8, lemma: "pay" }];
    assert_eq!(found("lemma:pay", text, &lemmas), (true, vec!["paid".to_owned()]));
    assert_eq!(found("lemma:paid", text, &lemmas), (false, Vec::new()));
    assert_eq!(found("lemma:paid", text, &[]), (true, vec!["paid".to_owned()]));
    assert!(Filter::parse("a OR lemma:pay").unwrap().needs_lemmas());
    assert!(!Filter::parse("a OR pay").unwrap().needs_lemmas());
}

#[test]
fn what_is_no_rule_is_refused_with_the_place() {
    let refused = |rule: &str, expected: &str| {
        let error = Filter::parse(rule).unwrap_err().to_string();
        assert!(error.contains(expected), "{rule}: {error}");
    };
    refused("", "at character 1: a term is missing");
    refused("a AND", "at character 6: a term is missing");
    refused("a b", "at character 3: two terms stand side by side; put AND");
    refused("(a b)", "at character 4: two terms");
    refused("é NOT b", "at character 3: two terms");
    refused("AND a", "at character 1: this operator has no term");
    refused("a OR OR b", "at character 6: this operator");
    refused("(a OR b", "at character 1: this parenthesis is not closed");
    refused("a)", "at character 2: nothing was opened");
    refused("()", "at character 2: there is nothing before");
    refused("a AND \"b c", "at character 7: this quote");
    refused("a NEAR b", "at character 3: NEAR has no number");
    refused("a NEAR/101 b", "from 0 to 100");
    refused("a NEAR/5 NOT b", "at character 3: NOT and AND have no place");
    refused("NOT a NEAR/5 b", "NOT (a NEAR/5 b)");
    refused("a NEAR/5 (b OR c AND d)", "at character 3");
    refused("r*d", "at character 1: a *");
    refused("\"re* d\"", "a * stands elsewhere");
    refused("r*", "too short");
    refused("--", "no word");
    refused("exact:", "no word");
    refused("lemma:wi-fi", "several words");
    refused(&"a".repeat(RULE_BYTES_MAX + 1), "4097 bytes");
    refused(&vec!["a"; TERMS_MAX + 1].join(" OR "), "more than 256 words");
    refused(&"(".repeat(RULE_BYTES_MAX), "nested too deeply");
    refused(&"NOT ".repeat(1000), "nested too deeply");
    refused(&vec!["a"; NEARS_MAX + 2].join(" NEAR/1 "), "more than 16 NEAR");
    assert!(Filter::parse(&vec!["a"; TERMS_MAX].join(" AND ")).is_ok());
    assert!(Filters::new(vec![Filter::parse("a").unwrap(); RULES_MAX + 1]).is_err());
}

#[test]
fn many_rules_are_told_in_their_order() {
    let rules =
        ["ferry", "boat", "fer*", "ferry AND NOT boat"].map(|rule| Filter::parse(rule).unwrap());
    let found = Filters::new(rules.into()).unwrap().find("The ferry", &[]);
    assert_eq!(
        found.iter().map(|found| found.matched).collect::<Vec<_>>(),
        [true, false, true, true]
    );
    let json = serde_json::to_string(&found[0]).unwrap();
    assert_eq!(
        json,
        r#"{"matched":true,"ranges":[{"bytes":{"start":4,"end":9},"chars":{"start":4,"end":9}}],"count":1}"#
    );
}

#[test]
fn floods_are_found_in_bounds() {
    let text = "a ".repeat(200_000);
    for rule in [
        &vec!["a"; NEARS_MAX + 1].join(" NEAR/100 "),
        &format!("\"{}\"", "a ".repeat(200)),
        "a NEAR/100 (a OR \"a a\")",
    ] {
        let filters = Filters::new(vec![Filter::parse(rule).unwrap()]).unwrap();
        let found = filters.find(&text, &[]).remove(0);
        assert!(found.matched && found.ranges.len() == RANGES_MAX && found.count > RANGES_MAX);
    }
}

/// Whether two words stand with at most `most` others between, found the slow way.
fn near(text: &[&str], a: &str, most: usize, b: &str) -> bool {
    let places = |word: &str| (0..text.len()).filter(|at| text[*at] == word).collect::<Vec<_>>();
    let pairs = |x: usize| places(b).into_iter().any(|y| x != y && x.abs_diff(y) <= most + 1);
    places(a).into_iter().any(pairs)
}

proptest! {
    #[test]
    fn near_finds_what_the_slow_way_finds(
        text in prop::collection::vec(prop::sample::select(vec!["a", "b", "x"]), 0..20),
        most in 0usize..5,
    ) {
        let rule = format!("a NEAR/{most} b");
        prop_assert_eq!(found(&rule, &text.join(" "), &[]).0, near(&text, "a", most, "b"));
    }

    #[test]
    fn no_rule_panics(
        rule in prop::collection::vec(prop::sample::select(vec![
            "(", ")", " AND ", " OR ", " NOT ", " NEAR/3 ", "NEAR/", "\"", "*", "a", "bé", " ", "exact:", "lemma:", "北", "😀", ":", "“",
        ]), 0..16),
        text in "(a|bé|北|😀|[ .,'\u{301}A]){0,30}",
    ) {
        if let Ok(rule) = Filter::parse(&rule.concat()) {
            for found in Filters::new(vec![rule]).unwrap().find(&text, &[]) {
                prop_assert!(found.matched || found.ranges.is_empty());
                prop_assert!(found.ranges.iter().all(|range| text.get(range.bytes.clone()).is_some_and(|t| !t.is_empty())));
            }
        }
    }

    #[test]
    fn no_text_is_a_panic(rule in "\\PC{0,40}", text in "\\PC{0,80}") {
        if let Ok(rule) = Filter::parse(&rule) {
            Filters::new(vec![rule]).unwrap().find(&text, &[]);
        }
    }
}
