//! `train tag`: parts of speech.

use crate::data::{self, Options, Part, Result};
use strongroom_text::tag::train;
use strongroom_text::{Language, Upos, segment, conllu, score};
use strongroom_text::analysis::*;

pub(crate) fn train(options: &Options) -> Result<()> {
    for language in &options.languages {
        train_one(*language)?;
    }
    Ok(())
}

fn treebank(file: &data::File) -> Result<Vec<conllu::Sentence>> {
    let mut treebank = data::treebank(&file.path)?;
    if file.set().starts_with("padt") {
        for word in treebank.iter_mut().flat_map(|s| &mut s.tokens).flat_map(|t| &mut t.words) {
            if word.upos == Upos::X { word.upos = Upos::Propn; }
        }
    }
    Ok(treebank)
}

fn tagged(sentences: &[conllu::Sentence]) -> Vec<train::Tagged> {
    let words = |s: &conllu::Sentence| s.words().map(|w| (w.form.clone(), w.upos)).collect();
    sentences.iter().map(words).collect()
}

fn train_one(language: Language) -> Result<()> {
    let files = data::files("pos", language.code())?;
    let mut sentences = Vec::new();
    let mut treebanks = Vec::new();
    for file in files.iter().filter(|file| file.part == Part::Train) {
        let t = treebank(file)?;
        sentences.extend(tagged(&t));
        let raw = !matches!(file.set(), "padt_v1" | "empirist");
        if raw {
            treebanks.push(segment::train::Treebank { sentences: t, breaks: !matches!(file.set(), "rhapsodie" | "parisstories") });
        }
    }
    let mut lists = Vec::new();
    for (_, words) in data::lexicon(language)? {
        lists.push(words);
    }
    let env = |n: &str, d: i64| std::env::var(n).ok().and_then(|v| v.parse().ok()).unwrap_or(d);
    let o = train::Options { perceptrons: env("P", 1) as u64, epochs: env("E", 6) as usize, margin: env("M", 8) as i32, count_min: env("C", 2) as u32, rows_max: env("R", 320000) as usize, ..Default::default() };
    let t = std::time::Instant::now();
    let segmenter = segment::train::train(language, &treebanks, &lists, 1);
    println!("{language}: trained segmenter {:?}", t.elapsed());
    let t = std::time::Instant::now();
    let tagger = train::train(&sentences, &lists, &o);
    println!("{language}: trained {:?} {o:?}", t.elapsed());
    let engine = Engine::new(segmenter, tagger);
    let mut scratch = strongroom_text::tag::Scratch::default();
    let mut scratch2 = Scratch::default();
    for file in files.iter().filter(|file| file.part == Part::Development) {
        let gold = treebank(file)?;
        let dev = tagged(&gold);
        let (mut right, mut all) = (0, 0);
        let tagger = engine.tagger();
        for sentence in &dev {
            tagger.begin(&mut scratch);
            sentence.iter().for_each(|(word, _)| tagger.push(word, &mut scratch));
            let tags = tagger.finish(&mut scratch);
            right += tags.iter().zip(sentence).filter(|(tag, (_, gold))| *tag == gold).count();
            all += sentence.len();
        }
        let (text, _) = conllu::raw_text(&gold);
        let mut a = Analysis::default();
        engine.analyse(&text, &mut scratch2, &mut a);
        let t = std::time::Instant::now();
        engine.analyse(&text, &mut scratch2, &mut a);
        let time = t.elapsed() / a.tokens().len() as u32;
        let found: Vec<_> = a.sentences().iter().map(|s| a.conllu(s, &text)).collect();
        if std::env::var("DUMP").is_ok() {
            let mut out = String::new();
            found.iter().for_each(|s| conllu::write(s, &mut out));
            std::fs::write(format!("/tmp/tag.{language}.{}.conllu", file.stem()), out)?;
        }
        let s = score::compare(&gold, &found)?;
        println!("{:32} gold {:.2}  raw: upos {:.2} words {:.2} tokens {:.2} sentences {:.2}  {time:?}/token", file.source.path, right as f64 / all as f64 * 100.0, s.upos.f1(), s.words.f1(), s.tokens.f1(), s.sentences.f1());
    }
    Ok(())
}
