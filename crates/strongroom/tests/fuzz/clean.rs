//! Text analysis: filter rules, and text of pages.

use strongroom_text::filter::{Filter, Filters};
use strongroom_text::html::{self, Keep};

/// A line with a rule, then a text.
pub(crate) fn filter(input: &[u8]) -> String {
    let input = String::from_utf8_lossy(input);
    let (rule, text) =
        input.split_once('\n').unwrap_or((&input, "A refund? Never, not even late."));
    let rule = match Filter::parse(rule) {
        Err(e) => return e.to_string(),
        Ok(rule) => rule,
    };
    let lemmas = rule.needs_lemmas();
    let filters = Filters::new(vec![rule]).expect("one rule is not too many");
    let found = filters.find(text, &[]).remove(0);
    assert!(found.matched || found.ranges.is_empty(), "{found:?}");
    assert!(found.ranges.len() <= found.count);
    for range in &found.ranges {
        let part = text.get(range.bytes.clone()).expect("a range of the text");
        assert_eq!(part.chars().count(), range.chars.len());
        assert!(!part.is_empty());
    }
    format!("{} {} {lemmas}", found.matched, found.count.min(4))
}

/// A page in any charset.
pub(crate) fn page(input: &[u8]) -> String {
    let page = match html::decode(input, None) {
        Err(e) => return e.to_string(),
        Ok(page) => page,
    };
    let mut said = String::new();
    for keep in [Keep::Main, Keep::All] {
        let found = html::clean(&page, keep).expect("it is short");
        let mut at = (0, 0);
        for block in &found.blocks {
            assert!(block.bytes.start >= at.0 && block.html.start >= at.1, "{block:?}");
            assert!(found.text.get(block.bytes.clone()).is_some_and(|text| !text.is_empty()));
            assert!(page.get(block.html.clone()).is_some_and(|html| !html.is_empty()));
            at = (block.bytes.end, block.html.end);
        }
        let kinds = found.blocks.iter().take(8).map(|block| format!("{:?} ", block.kind));
        said.extend(kinds);
        said.push_str(if found.title.is_some() { "titled " } else { "" });
        said.push_str(if found.language.is_some() { "in a language " } else { "" });
    }
    said
}

/// The first inputs: target, name, bytes.
pub(crate) fn first_inputs() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let rule = "(refund* OR \"money back\") NEAR/5 (lemma:late OR exact:Never) AND NOT (spam OR 北京)\n\
        My money back? Never. Refunds come late. 北";
    let page = "\u{feff}<!DOCTYPE html><html lang=en><head><meta charset=utf-8><title>A &amp; b</title><script>if (a</b) '<p>'</script>\
        </head><body><nav><a href=x>Home</a></nav><main><h1>On ferries</h1><p>The ferry leaves the old harbour at seven in the \
        morning, and comes back only after dark.<ul><li>one<li>two &euro;&#x41;&notit;</ul><table><tr><td>a<td>b</table><!-- no \
        --><pre>x\n y</pre></main><div class='comments' hidden><form><textarea><p></textarea></form></div><svg><title>t</title></svg>";
    let latin = b"<meta http-equiv=content-type content='text/html; charset=iso-8859-1'><p>caf\xe9";
    vec![
        ("text-filter", "operators", rule.into()),
        ("text-filter", "refused", "a NEAR/5 NOT (b".into()),
        ("text-html", "page", page.into()),
        ("text-html", "latin", latin.to_vec()),
    ]
}
