//! The languages that are known.

use std::fmt;

/// A language that texts are analysed in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Language {
    /// English.
    En,
    /// Arabic.
    Ar,
    /// Chinese, in simplified or traditional script.
    Zh,
    /// German.
    De,
    /// French.
    Fr,
    /// Spanish.
    Es,
    /// Italian.
    It,
    /// Russian.
    Ru,
    /// Polish.
    Pl,
    /// Portuguese.
    Pt,
}

impl Language {
    /// All languages, in the order of their numbers.
    pub const ALL: [Language; 10] = [
        Language::En,
        Language::Ar,
        Language::Zh,
        Language::De,
        Language::Fr,
        Language::Es,
        Language::It,
        Language::Ru,
        Language::Pl,
        Language::Pt,
    ];

    /// The code of ISO 639-1: two lower-case letters.
    pub const fn code(self) -> &'static str {
        match self {
            Language::En => "en",
            Language::Ar => "ar",
            Language::Zh => "zh",
            Language::De => "de",
            Language::Fr => "fr",
            Language::Es => "es",
            Language::It => "it",
            Language::Ru => "ru",
            Language::Pl => "pl",
            Language::Pt => "pt",
        }
    }

    /// The codes of all languages, parted by spaces.
    pub fn codes() -> String {
        Language::ALL.map(Language::code).join(" ")
    }

    /// The English name.
    pub const fn name(self) -> &'static str {
        match self {
            Language::En => "English",
            Language::Ar => "Arabic",
            Language::Zh => "Chinese",
            Language::De => "German",
            Language::Fr => "French",
            Language::Es => "Spanish",
            Language::It => "Italian",
            Language::Ru => "Russian",
            Language::Pl => "Polish",
            Language::Pt => "Portuguese",
        }
    }

    /// The language of a code, in either case, with or without a region: `pt`, `PT`, `pt-BR`, `zh_Hant`.
    pub fn parse(code: &str) -> Option<Language> {
        let primary = code.split(['-', '_']).next().unwrap_or_default();
        Language::ALL.into_iter().find(|l| l.code().eq_ignore_ascii_case(primary))
    }

    /// The place in [`Language::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_lead_back_to_their_language() {
        for (i, language) in Language::ALL.into_iter().enumerate() {
            assert_eq!(Language::parse(language.code()), Some(language));
            assert_eq!(language.index(), i);
        }
        assert_eq!(Language::parse("pt-BR"), Some(Language::Pt));
        assert_eq!(Language::parse("ZH_Hant"), Some(Language::Zh));
        for unknown in ["", "-", "ja", "eng", "e"] {
            assert_eq!(Language::parse(unknown), None, "{unknown}");
        }
    }
}
