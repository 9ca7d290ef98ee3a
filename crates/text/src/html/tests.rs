use super::*;
use proptest::prelude::*;

const SENTENCE: &str =
    "The ferry leaves the old harbour at seven in the morning and comes back only after dark. ";

fn main_of(page: &str) -> Clean {
    let found = clean(page, Keep::Main).unwrap();
    check(page, &found);
    found
}

/// What holds of the text of any page.
fn check(page: &str, found: &Clean) {
    let mut at = (0, 0);
    for block in &found.blocks {
        let text = &found.text[block.bytes.clone()];
        assert!(block.bytes.start >= at.0 && block.html.start >= at.1 && !text.is_empty());
        assert!(!text.contains('\n') && text.trim() == text, "{text:?}");
        let html = &page[block.html.clone()];
        let first = text.chars().next().unwrap();
        assert!(html.starts_with(first) || html.starts_with('&'), "{text:?} {html:?}");
        at = (block.bytes.end, block.html.end);
    }
    let lines = if found.text.is_empty() { 0 } else { found.text.lines().count() };
    assert_eq!(lines, found.blocks.len());
}

/// The main text has all of `with` and none of `without`.
fn rows(page: &str, with: &[&str], without: &[&str]) {
    let found = main_of(page);
    for part in with {
        assert!(found.text.contains(part), "{part:?} is not in {:?}", found.text);
    }
    for part in without {
        assert!(!found.text.contains(part), "{part:?} is in {:?}", found.text);
    }
}

#[test]
fn a_blog() {
    let page = format!(
        "<!DOCTYPE html><html lang='de-AT'><head><title>Mein  Blog &ndash; Eins</title><style>p {{ x }}</style></head>
        <body class='sidebar'><header><h1>Mein Blog</h1></header><div id=menu><a href=a>Eins</a></div>
        <div class='content has-sidebar'><h2>Am Hafen</h2><p>{SENTENCE}<p>Kurz, aber hier.<p>{SENTENCE}</div>
        <div class=sidebar>{SENTENCE}Werbung</div><div id='comments'><p>{SENTENCE}Unsinn</div></body></html>"
    );
    rows(
        &page,
        &["Am Hafen\nThe ferry", "Kurz, aber hier."],
        &["Mein Blog", "Eins", "Werbung", "Unsinn"],
    );
    let found = main_of(&page);
    assert_eq!(found.title.as_deref(), Some("Mein Blog – Eins"));
    assert_eq!(found.language.as_deref(), Some("de-AT"));
    assert_eq!(found.blocks[0].kind, Kind::Heading);
}

#[test]
fn news_with_menus_and_comments() {
    let links = "<li><a href=/x>Some section of the news</a>".repeat(30);
    let page = format!(
        "<nav><ul>{links}</ul></nav><main><article><header><h1>A ferry</h1><p>By a person of our own paper, today at noon</header>
        <p>{SENTENCE}</p><aside>{SENTENCE}Aside</aside><p>{SENTENCE}Second.</p><ul><li>one</li><li>two</ul>
        <section class='post comments'><article><p>{SENTENCE}Nonsense</article></section></article></main>
        <div>{links}</div><footer>{SENTENCE}Imprint</footer>"
    );
    rows(
        &page,
        &["A ferry", "Second.", "one\ntwo"],
        &["section of", "Aside", "Nonsense", "Imprint"],
    );
}

#[test]
fn links_without_marks_are_left_out() {
    let links = "<div><a href=/x>Read more of this and that and other news</a></div>".repeat(20);
    let page = format!(
        "{links}<div>{SENTENCE}{SENTENCE}{SENTENCE}</div><div>{SENTENCE}Last.</div>{links}"
    );
    rows(&page, &["Last."], &["Read more"]);
}

#[test]
fn tables_keep_their_rows_and_cells() {
    let page = format!(
        "<p>{SENTENCE}<table><caption>Fares</caption><tr><th>From<th>Price<tr><td>Here</td> <td>4&nbsp;&euro;</td></tr></table>"
    );
    rows(&page, &["Fares\nFrom\tPrice\nHere\t4 €"], &[]);
}

#[test]
fn broken_tags_lose_no_text() {
    rows(
        &format!("<p><b>{SENTENCE}</i></div></p></p><p>after</b></span> it < 3 & more <"),
        &["ferry", "after it < 3 & more <"],
        &[],
    );
    rows(
        &format!("</article></div>{SENTENCE}<//><!x>{SENTENCE}<a href=x"),
        &["dark. The"],
        &["href"],
    );
    rows(
        &format!("<p onclick='a > b'>{SENTENCE}<p title=\"<p>\">{SENTENCE}"),
        &["dark.\nThe"],
        &["b'", "\""],
    );
}

#[test]
fn references_are_read() {
    rows(
        &format!("<p>{SENTENCE}Caf&eacute; &amp;amp; bar&hellip; 1&lt2 &#x1F600; &bogus; &#128;"),
        &["Café &amp; bar… 1<2 😀 &bogus; €"],
        &[],
    );
}

#[test]
fn a_hundred_thousand_nested_elements() {
    let depth = 100_000;
    for (open, close) in
        [("<div>", "</div>"), ("<nav>", "</form>"), ("<b><i>", "</b></i>"), ("<a href=x>", "</p>")]
    {
        let page = format!("{}{SENTENCE}{}", open.repeat(depth), close.repeat(depth));
        let found = clean(&page, Keep::All).unwrap();
        assert_eq!(found.text, SENTENCE.trim());
        check(&page, &found);
    }
}

#[test]
fn comments_and_scripts_with_tricks() {
    let page = format!(
        "<p>{SENTENCE}<!-- x -- <p>hidden</p> --><script>if (a < b) document.write('<p>hidden</p><\\/script>'); //</scrip</script>
        <SCRIPT>/* </ script> hidden */</SCRIPT\n><p>{SENTENCE}Shown.<script><!-- <script>hidden</script> hidden</script> --></script>
        <p>{SENTENCE}Seen.<!-- no end <p>hidden"
    );
    rows(&page, &["Shown.", "Seen."], &["hidden", "write"]);
}

#[test]
fn one_word_of_ten_million_bytes() {
    let page = "x".repeat(HTML_BYTES_MAX);
    let found = main_of(&page);
    assert_eq!((found.text.len(), found.blocks.len()), (HTML_BYTES_MAX, 1));
    let longer = page + "x";
    assert!(decode(longer.as_bytes(), None).is_err());
}

#[test]
fn floods_of_signs_are_read_once() {
    for sign in [
        "<",
        "&",
        "</",
        "<!--",
        "<a ",
        "<a b='",
        "--",
        "<p>",
        "<pre>\n",
        "<script><!--",
        "&#",
        "<li class='comment'>",
    ] {
        let page = sign.repeat(300_000 / sign.len());
        check(&page, &clean(&page, Keep::All).unwrap());
        main_of(&page);
    }
}

#[test]
fn a_page_of_too_many_blocks_is_cut() {
    let found = clean(&"a<p>".repeat(BLOCKS_MAX + 10), Keep::All).unwrap();
    assert!(found.cut && found.blocks.len() == BLOCKS_MAX);
    let found = clean(&format!("<pre>{}", "a\n".repeat(BLOCKS_MAX + 10)), Keep::All).unwrap();
    assert!(found.cut && found.blocks.len() == BLOCKS_MAX);
}

#[test]
fn a_page_that_is_one_form_has_text() {
    rows(
        &format!(
            "<form id=aspnet><input value=x><p>{SENTENCE}<select><option>Austria</select></form>"
        ),
        &["ferry"],
        &["Austria"],
    );
    rows(
        &format!("<p>{SENTENCE}<form><p>Subscribe to our letters now, and more words</form>"),
        &["ferry"],
        &["Subscribe"],
    );
}

#[test]
fn short_pages_and_pages_of_links() {
    rows("<p>Hello.", &["Hello."], &[]);
    rows("just text", &["just text"], &[]);
    rows("<div class=comments><p>Only this.</div>", &["Only this."], &[]);
    rows("<a href=x>One</a> <a href=y>Two</a>", &[], &["One"]);
    assert_eq!(main_of("").blocks, []);
}

#[test]
fn chinese_is_measured_in_characters() {
    let text = "我们早上七点离开老港口，天黑以后才回来，路上看见了很多船和海鸥，大家都很高兴，孩子们也不想回家。";
    rows(
        &format!(
            "<div><a href=x>首页</a></div><p>{text}</p><div><a href=x>更多新闻更多新闻</a></div>"
        ),
        &[text],
        &["首页", "更多"],
    );
}

#[test]
fn a_charset_is_told_or_refused() {
    let check = |bytes: &[u8], charset: Option<&str>, expected: &str| {
        let told = decode(bytes, charset).map_or_else(|error| error.to_string(), Cow::into_owned);
        assert!(told.contains(expected), "{told:?}");
    };
    check("<p>é".as_bytes(), None, "<p>é");
    check(b"\xef\xbb\xbf<p>\xc3\xa9", None, "\u{feff}<p>é");
    check(b"<meta charset=iso-8859-2><p>\xb1", None, "<p>ą");
    check(
        b"<META http-equiv=x content='text/html; charset=\"windows-1251\"'><p>\xe9",
        None,
        "<p>й",
    );
    check(b"\xff\xfe<\0p\0>\0\xe9\0", Some("utf-8"), "<p>é");
    check(b"<p>\xe9", Some("latin1"), "<p>é");
    check(b"<p>\xe9", None, "not UTF-8 from byte 3 on");
    check(b"<meta charset=utf-8><p>\xe9", None, "not UTF-8 from byte 23 on");
    check(b"<p>\xe9", Some("klingon"), "\"klingon\" is not known");
    check(b"<meta charset=utf-16><p>\xe9", None, "not UTF-8");
}

#[test]
fn the_answer_as_json() {
    let json = serde_json::to_string(&main_of("<title>T</title><p>a &amp; b")).unwrap();
    assert_eq!(
        json,
        r#"{"title":"T","text":"a & b","blocks":[{"bytes":{"start":0,"end":5},"html":{"start":19,"end":28},"kind":"paragraph"}]}"#
    );
}

proptest! {
    #[test]
    fn any_text_is_a_page(text in "(\\PC|[<>&;!'\"=/\\- a-z\n]){0,200}") {
        check(&text, &clean(&text, Keep::All).unwrap());
        main_of(&text);
    }

    #[test]
    fn any_tags_are_a_page(parts in prop::collection::vec(prop::sample::select(vec![
        "<p>", "</p>", "<div class='comments'>", "</div>", "<a href=x>", "</a>", "<nav>", "</nav>", "<pre>", "</pre>", "a few words ",
        "&amp;", "&#x41;", "\n", "<script>", "</script>", "<!--", "-->", "<td>", "<tr>", "<table>", "</table>", "<title>", "</title>",
        "<main>", "</main>", "<svg>", "</svg>", "é", "你好", "<form>", "</form>", "<h1>", "</h1>", "<li>", "<br>", "<p hidden>", "\t",
    ]), 0..60)) {
        let page = parts.concat();
        check(&page, &clean(&page, Keep::All).unwrap());
        main_of(&page);
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        if let Ok(page) = decode(&bytes, None) {
            main_of(&page);
        }
    }
}
