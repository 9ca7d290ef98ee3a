//! Training and development data, as files. A module of the binaries, not of the library, which reads no files.
//!
//! The folder is that of `STRONGROOM_TEXT_DATA`, else `../shared/text-data` beside the checkout. Its README.md has a
//! table for each kind of data, from which licences are known.
#![allow(dead_code, reason = "each binary uses a part of it")]

use std::io::Read as _;
use std::path::{Path, PathBuf};
use strongroom_text::conllu::{self, Sentence};
use strongroom_text::model::Source;
use strongroom_text::{Language, Upos};

/// What goes wrong ends the program, in words.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The folder of the data.
pub(crate) fn root() -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/text-data");
    std::env::var_os("STRONGROOM_TEXT_DATA").map_or(beside, PathBuf::from)
}

/// What a file is for, by its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    /// Learning: `-train`.
    Train,
    /// Tuning and figures: `-dev`, `-val`.
    Development,
    /// Neither: word lists.
    Other,
}

/// A file of the data.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// What it is for.
    pub(crate) part: Part,
    /// What its data card says of it.
    pub(crate) source: Source,
}

impl File {
    /// The name without folder and endings: `ewt-train`.
    pub(crate) fn stem(&self) -> &str {
        stem(&self.source.path)
    }

    /// The treebank or set: `ewt` of `ewt-train`.
    pub(crate) fn set(&self) -> &str {
        self.stem().rsplit_once('-').map_or(self.stem(), |(set, _)| set)
    }
}

fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.split('.').next().unwrap_or(name)
}

/// The files of a section (`pos`, `sentiment`, `lexicon`, `lid`, `ner`) that belong to `language` (a code, or `any`),
/// in the order of their names, with what README.md says of each.
pub(crate) fn files(section: &str, language: &str) -> Result<Vec<File>> {
    let root = root();
    let readme = read(&root.join("README.md"))?;
    let mut found = Vec::new();
    let mut within = false;
    for line in readme.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            within = title.trim() == section;
        }
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, path, name, licence, ..] = columns[..] else { continue };
        let mine = match path.split_once('/') {
            Some((folder, _)) => folder == language,
            None => stem(path) == language,
        };
        if !within || !mine {
            continue;
        }
        // The table names lid files without `.gz`.
        let plain = root.join(section).join(path);
        let packed = root.join(section).join(format!("{path}.gz"));
        let path = if plain.exists() { plain } else { packed };
        let relative = path.strip_prefix(&root)?.to_string_lossy().into_owned();
        let part = match stem(&relative) {
            name if name.ends_with("-train") => Part::Train,
            name if name.ends_with("-dev") || name.ends_with("-val") => Part::Development,
            _ => Part::Other,
        };
        let source = Source {
            path: relative,
            name: name.to_owned(),
            licence: licence.to_owned(),
            non_commercial: licence.contains("(NC)"),
        };
        found.push(File { path, part, source });
    }
    found.sort_by(|a, b| a.source.path.cmp(&b.source.path));
    Ok(found)
}

/// A whole file as text, unpacked where its name ends with `.gz`, without a byte order mark.
pub(crate) fn read(path: &Path) -> Result<String> {
    let named = |e: std::io::Error| format!("{}: {e}", path.display());
    let bytes = std::fs::read(path).map_err(named)?;
    let mut text = String::new();
    match path.extension().is_some_and(|e| e == "gz") {
        true => flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text),
        false => (&bytes[..]).read_to_string(&mut text),
    }
    .map_err(named)?;
    if text.starts_with('\u{feff}') {
        text.remove(0);
    }
    Ok(text)
}

/// A treebank.
pub(crate) fn treebank(path: &Path) -> Result<Vec<Sentence>> {
    conllu::read(&read(path)?).map_err(|e| format!("{}: {e}", path.display()).into())
}

/// The rows of a file of columns apart by tabs, empty lines left out.
pub(crate) fn rows(path: &Path) -> Result<Vec<Vec<String>>> {
    let text = read(path)?;
    let rows = text.lines().filter(|line| !line.is_empty());
    Ok(rows.map(|line| line.split('\t').map(str::to_owned).collect()).collect())
}

/// The rows of a file of `label<TAB>text`, empty lines left out: the number of the line, from 1, label and text.
pub(crate) fn labelled(path: &Path) -> Result<Vec<(usize, String, String)>> {
    let content = read(path)?;
    let mut rows = Vec::new();
    for (line, row) in (1..).zip(content.lines()).filter(|(_, row)| !row.is_empty()) {
        let (label, text) = row
            .split_once('\t')
            .ok_or_else(|| format!("{}: line {line} is no label, tab, text", path.display()))?;
        rows.push((line, label.to_owned(), unescape(text)));
    }
    match rows.is_empty() {
        true => Err(format!("{}: there are no rows", path.display()).into()),
        false => Ok(rows),
    }
}

/// Writes what [`labelled`] reads.
pub(crate) fn write_labelled<'a>(
    path: &Path,
    rows: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<()> {
    let escape = |text: &str| text.replace('\\', r"\\").replace('\n', r"\n");
    let lines = rows.map(|(label, text)| format!("{label}\t{}\n", escape(text)));
    write(path, &lines.collect::<String>())
}

/// Writes a file, and the folders that it lies in.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    let named = |e: std::io::Error| format!("{}: {e}", path.display());
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).map_err(named)?;
    std::fs::write(path, text).map_err(named)?;
    Ok(())
}

/// What `\\` and `\n` in the text of rows stand for.
pub(crate) fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, chars.clone().next()) {
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some('\\')) => out.push('\\'),
            (c, _) => {
                out.push(c);
                continue;
            }
        }
        chars.next();
    }
    out
}

/// A list of words with their most frequent part of speech. In early PADT names are tagged X.
pub(crate) fn words(file: &File) -> Result<Vec<(String, Upos)>> {
    let names =
        |tag: Upos| if file.set().contains("padt") && tag == Upos::X { Upos::Propn } else { tag };
    let rows = rows(&file.path)?.into_iter();
    Ok(rows
        .filter_map(|row| Some((row.first()?.clone(), names(Upos::parse(row.get(1)?)?))))
        .collect())
}

/// The language of a file that was named: that of `--language`, where one was given, or of its folder.
pub(crate) fn language_of(path: &Path, options: &Options) -> Result<Language> {
    let folder = path.parent().and_then(|folder| folder.file_name()?.to_str());
    let language = match options.languages[..] {
        [one] => Some(one),
        _ => folder.and_then(Language::parse),
    };
    language.ok_or(format!("{}: which --language?", path.display()).into())
}

/// The options that follow a subcommand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// `--language L`, which may be given several times; all where it is not given.
    pub(crate) languages: Vec<Language>,
    /// `--gold-tokens`.
    pub(crate) gold_tokens: bool,
    /// `--write-items FOLDER`: the very texts that are judged are written there too.
    pub(crate) write_items: Option<PathBuf>,
    /// What is no option.
    pub(crate) files: Vec<PathBuf>,
}

impl Options {
    /// Reads the arguments after the subcommand.
    pub(crate) fn parse(arguments: &[String]) -> Result<Options> {
        let mut options = Options::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--language" => {
                    let code = arguments.next().ok_or("--language wants a code")?;
                    let language = Language::parse(code);
                    options.languages.push(language.ok_or(format!("unknown language {code}"))?);
                }
                "--gold-tokens" => options.gold_tokens = true,
                "--write-items" => {
                    let folder = arguments.next().ok_or("--write-items wants a folder")?;
                    options.write_items = Some(folder.into());
                }
                other if other.starts_with("--") => {
                    return Err(format!("unknown option {other}").into());
                }
                file => options.files.push(file.into()),
            }
        }
        if options.languages.is_empty() {
            options.languages = Language::ALL.to_vec();
        }
        Ok(options)
    }
}
