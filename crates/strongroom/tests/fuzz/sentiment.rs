//! Text analysis: which language a text is in, how it speaks of its subject, and rules of accounts.

use strongroom_text::Language;
use strongroom_text::language::{detect, spans};
use strongroom_text::sentiment::rules::{Book, Lemma, Matcher, Ruling};
use strongroom_text::sentiment::{Scratch, analyser};

/// Any bytes as text: the parts cover it.
pub(crate) fn language(input: &[u8]) -> String {
    let text = String::from_utf8_lossy(input);
    let found = detect(&text);
    assert!((0.0..=1.0).contains(&found.confidence), "{found:?}");
    let spans = spans(&text);
    let end = spans.iter().fold(0, |at, span| {
        assert_eq!(span.range.start, at);
        assert!(text.get(span.range.clone()).is_some_and(|part| !part.is_empty()));
        span.range.end
    });
    assert_eq!(end, text.len());
    let parts: Vec<_> =
        spans.iter().take(8).map(|span| span.language.map_or("?", Language::code)).collect();
    format!("{:?} {}", found.language, parts.join(" "))
}

/// A byte for the language, then text.
pub(crate) fn sentiment(input: &[u8]) -> String {
    let (first, rest) = input.split_first().unwrap_or((&0, &[]));
    let text = String::from_utf8_lossy(rest);
    let analyser = analyser(Language::ALL[usize::from(*first) % Language::ALL.len()]);
    let mut scratch = Scratch::default();
    let found = analyser.judge(&text, None, &mut scratch);
    assert!(
        (-1.0..=1.0).contains(&found.score) && (0.0..=1.0).contains(&found.confidence),
        "{found:?}"
    );
    let reasons = analyser.explain(&text, None, &mut scratch);
    assert!(reasons.iter().all(|reason| text.get(reason.range.clone()).is_some()));
    let chunks = analyser.chunks(&text, None, &mut scratch);
    assert!(chunks.iter().all(|chunk| text.get(chunk.range.clone()).is_some()));
    let labels: Vec<_> = chunks.iter().take(8).map(|chunk| chunk.sentiment.label.name()).collect();
    format!("{} {} {}", found.label.name(), reasons.len(), labels.join(" "))
}

/// A book of rules, which is read, written, committed and used.
pub(crate) fn rules(input: &[u8]) -> String {
    const TEXT: &str = "A killer feature, not great: bugs, and the good old \u{1f600}";
    let mut book = match Book::from_json(input) {
        Err(e) => return e.to_string(),
        Ok(book) => book,
    };
    let written = book.to_json().expect("a book can be written");
    assert_eq!(Book::from_json(written.as_bytes()).expect("what was written can be read"), book);
    book.commit();
    let matcher = Matcher::new(&book, Language::En);
    let lemmas = [Lemma { bytes: 29..33, lemma: "bug" }];
    let ruling = Ruling { matcher: &matcher, lemmas: &lemmas };
    let found = analyser(Language::En).judge(TEXT, Some(&ruling), &mut Scratch::default());
    assert!((-1.0..=1.0).contains(&found.score), "{found:?}");
    format!("{} {} {}", book.list().count().min(9), matcher.is_empty(), found.label.name())
}

/// The first inputs: target, name, bytes.
pub(crate) fn first_inputs() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let book = r#"{"version":1,"revision":2,"next":6,"rules":{"1":{"kind":"phrase","text":"killer feature","score":0.9},
        "2":{"kind":"lemma","text":"bug","score":-0.5,"language":"en"},"4":{"kind":"prefix","text":"gr","score":0.1}},
        "waiting":[{"add":[5,{"kind":"phrase","text":"good old","score":-1.0}]},{"delete":4}]}"#;
    let mixed = "The meeting begins at nine. Die Sitzung beginnt um neun. Он ушёл. 他昨天说过这句话 \
        http://x.org @name l'été e\u{301}";
    let mut judged = vec![0];
    judged.extend_from_slice(
        "SOOOO not very good!!! 😀 :-( #fail, لا احب هذا, ｆｕｌｌ don’t".as_bytes(),
    );
    vec![
        ("text-language", "mixed", mixed.into()),
        ("text-language", "foreign", "これは日本語です。 Всі люди. ĉiuj homoj 10".into()),
        ("text-sentiment", "signs", judged),
        ("text-sentiment", "chinese", "\u{2}房间很干净，但是服务太差了。".into()),
        ("text-rules", "book", book.into()),
    ]
}
