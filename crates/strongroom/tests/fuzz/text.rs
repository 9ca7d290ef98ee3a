//! What the room text reads: models, treebanks, and texts in every language.

use strongroom_text::analysis::{Analysis, Scratch};
use strongroom_text::model::{Card, Kind, Model};
use strongroom_text::segment::Segmenter;
use strongroom_text::tag::Tagger;
use strongroom_text::{Language, conllu, language, models, sentiment};

/// A model as a whole, and its first bytes as the body of one, so that what lies behind checksums is reached.
pub(super) fn model(input: &[u8]) -> String {
    let whole = Model::read(input).map(|model| model.body.len());
    let (card, language) = (Card::default(), Some(Language::En));
    let body = Model { kind: Kind::Tag, language, card, body: input.to_vec() };
    let said = [
        whole.err().map(|e| e.to_string()),
        Segmenter::read(&body).err().map(|e| e.to_string()),
        Tagger::read(&body).err().map(|e| e.to_string()),
        language::tables::Tables::read(input).err().map(|e| e.to_string()),
        sentiment::tables::Tables::read(input).err().map(|e| e.to_string()),
    ];
    said.map(Option::unwrap_or_default).join(" ")
}

pub(super) fn conllu(input: &[u8]) -> String {
    match conllu::read(&String::from_utf8_lossy(input)) {
        Err(e) => e.what.to_owned(),
        Ok(sentences) => {
            let mut written = String::new();
            sentences.iter().for_each(|sentence| conllu::write(sentence, &mut written));
            assert!(conllu::read(&written).is_ok(), "what is written is read");
            format!("{} {}", sentences.len(), conllu::raw_text(&sentences).1.len())
        }
    }
}

/// A text whose first byte tells its language.
pub(super) fn analysis(input: &[u8]) -> String {
    let [first, rest @ ..] = input else { return String::new() };
    let text = String::from_utf8_lossy(rest);
    let engine = models::engine(Language::ALL[usize::from(*first) % Language::ALL.len()]);
    let mut analysis = Analysis::default();
    engine.analyse(&text, &mut Scratch::default(), &mut analysis);
    let mut end = 0;
    for token in analysis.tokens() {
        assert!(token.bytes.start >= end, "tokens are in order");
        assert!(!text[token.bytes.clone()].is_empty());
        end = token.bytes.end;
    }
    let tags: Vec<_> = analysis.words().iter().take(20).map(|word| word.upos.name()).collect();
    format!("{} {}", analysis.sentences().len(), tags.join(" "))
}

/// The first inputs: target, name, bytes.
pub(super) fn first_inputs() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let model = Model { kind: Kind::Tag, language: None, card: Card::default(), body: vec![1; 64] };
    let mut inputs = vec![("text-model", "small", model.write().unwrap())];
    let treebank = "# newpar\n# text = du x\n1-2\tdu\t_\t_\t_\t_\t_\t_\t_\tSpaceAfter=No\n1\tde\tde\tADP\n2\tle\tle\tDET\n3\tx\tx\tNOUN\n\n";
    inputs.push(("text-conllu", "small", treebank.into()));
    let texts = [
        ("en", "Mr. Lee can't come: 10:30, a@b.org, https://a.org/x?y=1. #tag @me :-) \u{1f600}"),
        ("ar", "وكتبت رئيسة الوزراء لأوباما، ثم ذهبت."),
        ("zh", "我们喜欢学习。2016年，他去了北京！"),
        ("de", "Er geht z. B. zum Bahnhof."),
        ("fr", "L'homme parle du chat, aujourd'hui."),
        ("es", "Dámelo, por favor. ¿Vas al mar?"),
        ("it", "Dell'acqua, diglielo."),
        ("ru", "Мальчик читает т. е. учится."),
        ("pl", "Zrobiłbym to dla niego."),
        ("pt", "Calculou-se o valor da casa."),
    ];
    for (number, (name, text)) in texts.into_iter().enumerate() {
        inputs.push(("text-analysis", name, [&[number as u8], text.as_bytes()].concat()));
    }
    inputs
}
