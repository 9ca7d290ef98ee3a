//! CoNLL-U, the format of treebanks: reading, writing, and the raw text of what was read.
//!
//! The format: <https://universaldependencies.org/format.html>. Of the ten columns, ID, FORM, LEMMA, UPOS, FEATS and
//! `SpaceAfter=No` of MISC are known here; the others are written as `_`. Empty nodes are left out.

use crate::Upos;
use std::fmt::Write as _;
use std::ops::Range;

/// The longest line that is read, in bytes.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// The most words that a sentence may have.
pub const SENTENCE_WORDS_MAX: usize = 1 << 20;

/// A sentence with its comments.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sentence {
    /// Whether a document begins with it.
    pub new_document: bool,
    /// Whether a paragraph begins with it.
    pub new_paragraph: bool,
    /// Its identifier.
    pub id: Option<String>,
    /// What stands between its first and its last character in the original.
    pub text: Option<String>,
    /// Its tokens.
    pub tokens: Vec<Token>,
}

impl Sentence {
    /// All words, those within tokens of several words too.
    pub fn words(&self) -> impl Iterator<Item = &Word> {
        self.tokens.iter().flat_map(|token| &token.words)
    }
}

/// What stands in the text: a word, or several that are written as one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    /// As it stands in the text.
    pub form: String,
    /// Whether a space, or a line end, follows in the text.
    pub space_after: bool,
    /// The words; more than one in a multi-word token such as `don't` or `du`.
    pub words: Vec<Word>,
}

/// A syntactic word.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Word {
    /// Its form; for a word within a token of several, its full form.
    pub form: String,
    /// Its dictionary form; none where the column holds `_` and the form is another.
    pub lemma: Option<String>,
    /// Its part of speech; [`Upos::X`] where the column holds `_`.
    pub upos: Upos,
    /// Its features as they stand in the column; empty for `_`.
    pub feats: String,
}

/// Why a text is no CoNLL-U.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Error {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

/// Reads all sentences of `text`, which may begin with a byte order mark.
///
/// # Errors
/// Where a line is no comment and no token, or a multi-word token's range does not fit its words.
pub fn read(text: &str) -> Result<Vec<Sentence>, Error> {
    let mut sentences = Vec::new();
    let mut sentence = Sentence::default();
    // How many words of the last multi-word token are still to come.
    let mut within = 0;
    let mut words = 0;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (line, content) in (1..).zip(text.lines()) {
        let wrong = |what| Err(Error { line, what });
        if content.len() > LINE_BYTES_MAX {
            return wrong("it is longer than is read");
        }
        if content.is_empty() {
            if within > 0 {
                return wrong("the sentence ends within a multi-word token");
            }
            if !sentence.tokens.is_empty() {
                sentences.push(std::mem::take(&mut sentence));
            }
            words = 0;
            continue;
        }
        if let Some(comment) = content.strip_prefix('#') {
            read_comment(comment.trim(), &mut sentence);
            continue;
        }
        let mut columns = content.split('\t');
        let id = columns.next().unwrap_or_default();
        let (Some(form), Some(lemma), Some(upos)) =
            (columns.next(), columns.next(), columns.next())
        else {
            return wrong("a token has ten columns, apart by tabs");
        };
        let feats = columns.nth(1).unwrap_or("_");
        let misc = columns.nth(3).unwrap_or("_");
        let space_after = !misc.split('|').any(|entry| entry == "SpaceAfter=No");
        if id.contains('.') {
            continue; // an empty node
        }
        if let Some((first, last)) = id.split_once('-') {
            let range = first.parse::<usize>().ok().zip(last.parse::<usize>().ok());
            within = match range {
                Some((first, last)) if first == words + 1 && last > first && within == 0 => {
                    (last - first + 1).min(SENTENCE_WORDS_MAX)
                }
                _ => return wrong("the range of a multi-word token does not fit"),
            };
            let token = Token { form: form.to_owned(), space_after, words: Vec::new() };
            sentence.tokens.push(token);
            continue;
        }
        words += 1;
        if id.parse() != Ok(words) || words > SENTENCE_WORDS_MAX {
            return wrong("words are numbered from 1");
        }
        let upos = match upos {
            "_" => Upos::X,
            name => {
                Upos::parse(name).ok_or(Error { line, what: "the fourth column is no UPOS" })?
            }
        };
        let word = Word {
            form: form.to_owned(),
            lemma: (lemma != "_" || form == "_").then(|| lemma.to_owned()),
            upos,
            feats: if feats == "_" { String::new() } else { feats.to_owned() },
        };
        match sentence.tokens.last_mut() {
            Some(token) if within > 0 => {
                token.words.push(word);
                within -= 1;
            }
            _ => sentence.tokens.push(Token {
                form: form.to_owned(),
                space_after,
                words: vec![word],
            }),
        }
    }
    if within > 0 {
        let what = "the sentence ends within a multi-word token";
        return Err(Error { line: text.lines().count(), what });
    }
    if !sentence.tokens.is_empty() {
        sentences.push(sentence);
    }
    Ok(sentences)
}

fn read_comment(comment: &str, sentence: &mut Sentence) {
    let (key, value) = match comment.split_once('=') {
        Some((key, value)) => (key.trim(), value.trim()),
        None => (comment, ""),
    };
    match key.split(' ').next() {
        Some("newdoc") => sentence.new_document = true,
        Some("newpar") => sentence.new_paragraph = true,
        Some("sent_id") => sentence.id = Some(value.to_owned()),
        Some("text") if key == "text" => sentence.text = Some(value.to_owned()),
        _ => {}
    }
}

/// Writes a sentence to the end of `out`, with the empty line that ends it.
pub fn write(sentence: &Sentence, out: &mut String) {
    if sentence.new_document {
        out.push_str("# newdoc\n");
    }
    if sentence.new_paragraph {
        out.push_str("# newpar\n");
    }
    for (key, value) in [("sent_id", &sentence.id), ("text", &sentence.text)] {
        if let Some(value) = value {
            let _ = writeln!(out, "# {key} = {}", one_line(value));
        }
    }
    let mut number = 0;
    for token in &sentence.tokens {
        let misc = if token.space_after { "_" } else { "SpaceAfter=No" };
        let several = token.words.len() > 1;
        if several {
            let (first, last) = (number + 1, number + token.words.len());
            let form = one_line(&token.form);
            let _ = writeln!(out, "{first}-{last}\t{form}\t_\t_\t_\t_\t_\t_\t_\t{misc}");
        }
        for word in &token.words {
            number += 1;
            let form = one_line(&word.form);
            let lemma = one_line(word.lemma.as_deref().unwrap_or("_"));
            let feats = if word.feats.is_empty() { "_" } else { &word.feats };
            let misc = if several { "_" } else { misc };
            let upos = word.upos;
            let _ = writeln!(out, "{number}\t{form}\t{lemma}\t{upos}\t_\t{feats}\t_\t_\t_\t{misc}");
        }
    }
    out.push('\n');
}

/// What a column can hold: line ends and tabs become spaces, and nothing becomes `_`.
fn one_line(text: &str) -> String {
    match text {
        "" => "_".to_owned(),
        text => text
            .replace(['\t', '\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}'], " "),
    }
}

/// The raw text of a treebank, with where its sentences and tokens lie in it.
///
/// The sentences of a paragraph are joined by one space (by none after `SpaceAfter=No`); a line break stands only
/// where a paragraph or a document begins.
pub fn raw_text(sentences: &[Sentence]) -> (String, Vec<Spans>) {
    let mut text = String::new();
    let mut spans = Vec::with_capacity(sentences.len());
    for sentence in sentences {
        if (sentence.new_document || sentence.new_paragraph) && !text.is_empty() {
            text.truncate(text.trim_end_matches(' ').len());
            text.push('\n');
        }
        let mut tokens = Vec::with_capacity(sentence.tokens.len());
        for token in &sentence.tokens {
            let start = text.len();
            text.push_str(&token.form);
            tokens.push(start..text.len());
            if token.space_after {
                text.push(' ');
            }
        }
        spans.push(Spans { tokens });
    }
    text.truncate(text.trim_end_matches(' ').len());
    (text, spans)
}

/// Where a sentence lies in a text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spans {
    /// The bytes of each token.
    pub tokens: Vec<Range<usize>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SAMPLE: &str = "\
# newdoc id = d1
# newpar id = d1-p1
# sent_id = s1
# text = I don't.
1\tI\tI\tPRON\t_\tCase=Nom|Person=1\t_\t_\t_\t_
2-3\tdon't\t_\t_\t_\t_\t_\t_\t_\tSpaceAfter=No
2\tdo\tdo\tAUX\t_\t_\t_\t_\t_\t_
3\tn't\tnot\tPART\t_\t_\t_\t_\t_\t_
3.1\tgo\tgo\tVERB\t_\t_\t_\t_\t_\t_
4\t.\t.\tPUNCT\t_\t_\t_\t_\t_\t_

# sent_id = s2
1\tGo\t_\tVERB\t_\t_\t_\t_\t_\tFoo=Bar|SpaceAfter=No
2\t!\t!\tPUNCT\t_\t_\t_\t_\t_\t_

# newpar
1\tYes\tyes\tINTJ\t_\t_\t_\t_\t_\t_
";

    #[test]
    fn a_treebank_is_read_and_written() {
        let sentences = read(SAMPLE).unwrap();
        assert_eq!(sentences.len(), 3);
        let first = &sentences[0];
        assert!(first.new_document && first.new_paragraph);
        assert_eq!(first.id.as_deref(), Some("s1"));
        assert_eq!(first.tokens.len(), 3);
        assert_eq!(first.tokens[1].form, "don't");
        assert_eq!(first.words().count(), 4);
        assert_eq!(first.tokens[0].words[0].feats, "Case=Nom|Person=1");
        assert_eq!(sentences[1].tokens[0].words[0].lemma, None);
        let mut written = String::new();
        sentences.iter().for_each(|sentence| write(sentence, &mut written));
        assert_eq!(read(&written).unwrap(), sentences);
        assert_eq!(read(&format!("\u{feff}{written}")).unwrap(), sentences, "a byte order mark");
    }

    #[test]
    fn raw_text_breaks_lines_at_paragraphs_only() {
        let (text, spans) = raw_text(&read(SAMPLE).unwrap());
        assert_eq!(text, "I don't. Go!\nYes");
        let forms: Vec<_> = spans[0].tokens.iter().map(|r| &text[r.clone()]).collect();
        assert_eq!(forms, ["I", "don't", "."]);
        assert_eq!(&text[spans[2].tokens[0].clone()], "Yes");
    }

    #[test]
    fn what_is_no_treebank_is_refused_with_its_line() {
        let check = |text: &str, line: usize| {
            assert_eq!(read(text).unwrap_err().line, line, "{text:?}");
        };
        check("1\tx", 1);
        check("# c\n2\tx\tx\tX\t_", 2);
        check("1\tx\tx\tNOPE\t_", 1);
        check("1-2\tx\t_\t_\t_\n1\tx\tx\tX\n\n", 3);
        check("1-2\tx\t_\t_\t_\n1\tx\tx\tX", 2);
        check("3-2\tx\t_\t_\t_", 1);
        check("1-99999999999999999999999\tx\t_\t_\t_", 1);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(lines in prop::collection::vec("[0-9#\\-._\tA-Za-z =]{0,12}", 0..20)) {
            let _ = read(&lines.join("\n"));
        }
    }
}
