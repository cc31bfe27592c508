use quick_xml::events::Event;

use super::*;

/// The document as a line: `name(` for a start tag, `)` for an end tag, texts between them as they are.
fn read(xml: &[u8], limits: &Limits) -> Result<String, Error> {
    let mut reader = Reader::open(&Xml::from_bytes(xml.to_vec()), limits)?;
    reader.prolog()?;
    let mut line = String::from("feedback(");
    let mut depth = 1;
    while depth > 0 {
        let tag = reader.next()?;
        line.push_str(&reader.loose_text().value);
        if tag.is_some() {
            line.push_str(&String::from_utf8_lossy(reader.name()));
            line.push('(');
            depth += 1;
        } else {
            line.push(')');
            depth -= 1;
        }
    }
    reader.epilog()?;
    Ok(line)
}

fn check(xml: &str, expected: &str) {
    let line = read(xml.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(line, expected, "{}", &xml[xml.len().saturating_sub(500)..]);
}

/// In the content of the root element.
fn check_content(content: &str, expected: &str) {
    check(
        &format!("<feedback>{content}</feedback>"),
        &format!("feedback({expected})"),
    );
}

fn check_error(xml: &str, code: Code) {
    let found = read(xml.as_bytes(), &Limits::default()).map_err(|error| error.code);
    assert_eq!(found, Err(code), "{xml}");
}

fn check_content_error(content: &str, code: Code) {
    check_error(&format!("<feedback>{content}</feedback>"), code);
}

#[test]
fn elements() {
    check("<feedback/>", "feedback()");
    check("<feedback />", "feedback()");
    check("<feedback></feedback >", "feedback()");
    check_content("<row><count>1</count></row>", "row(count(1))");
    check_content("<row/><a/><b />", "row()a()b()");
    check_content("<n:row></n:row>", "n:row()");
    check_content("<\u{e4}/><a.b-1/>", "\u{e4}()a.b-1()");
    check_content("<a\n>x</a\t>", "a(x)");
}

#[test]
fn end_tags_must_match() {
    check_content_error("<a></b>", Code::NotWellFormed);
    check_content_error("<row></rows>", Code::NotWellFormed);
    check_content_error("<rows></row>", Code::NotWellFormed);
    check_content_error("<n:row></row>", Code::NotWellFormed);
    check_content_error("<row></n:row>", Code::NotWellFormed);
    check_content_error("</row>", Code::NotWellFormed);
    check_content_error("<row></row/>", Code::NotWellFormed);
    check_content_error("<row></ row>", Code::NotWellFormed);
    check_content_error("<row></row\u{c}>", Code::NotWellFormed);
    check_content_error("<row></row a=\"1\">", Code::NotWellFormed);
}

#[test]
fn names_must_be_names() {
    for name in ["a@b", "1a", "-a", "a/b", "", " a", "a!", "a<b", "a=b"] {
        check_content_error(&format!("<{name}>x</{name}>"), Code::NotWellFormed);
    }
}

#[test]
fn text() {
    check_content("a b", "a b");
    check_content("a &lt;&gt;&amp;&quot;&apos; b", "a <>&\"' b");
    check_content("&#65;&#x42;&#x1F600;&#10;c", "AB\u{1f600}\nc");
    check_content("a > b ] c ]] d", "a > b ] c ]] d");
    check_content("a<!-- b -->c<?d e?>f", "acf");
    check_content("a<![CDATA[<b>&]]]>c", "a<b>&]c");
    check_content("<![CDATA[]]>", "");
    check_content("\u{fc}\u{20ac}", "\u{fc}\u{20ac}");
    check_content(" a <row/> b ", "arow()b");
}

#[test]
fn what_no_text_may_hold() {
    for content in [
        "&nbsp;",
        "&",
        "& ",
        "&;",
        "&#;",
        "&#x;",
        "&#0;",
        "&#8;",
        "&#xD800;",
        "&#xFFFE;",
        "&#+65;",
        "&#1114112;",
        "&amp",
        "&AMP;",
        "]]>",
        "\0",
        "\u{1}",
        "\u{b}",
        "a\u{1f}",
        "<!-- a -- b -->",
        "<!-- a --->",
        "<!-- \u{2} -->",
        "<![CDATA[\0]]>",
        "<!a>",
        "<![cdata[]]>",
        "<?a \u{3}?>",
        "<? a?>",
        "<??>",
        "<?1?>",
        "<?xml version=\"1.0\"?>",
        "<?XML a?>",
        "<a?b>",
        "<",
        "< row>",
    ] {
        check_content_error(content, Code::NotWellFormed);
    }
}

#[test]
fn attributes_are_checked() {
    check_content("<a b=\"1\" c='&lt;>\"'/>", "a()");
    check_content("<a\n b = \"1\"\tb2=\"\">x</a>", "a(x)");
    check_content("<row a=\"/\"></row>", "row()");
    for tag in [
        "a b",
        "a b=",
        "a b=c",
        "a b=\"",
        "a b=\"1\"c=\"2\"",
        "a b=\"1\" b=\"2\"",
        "a =\"1\"",
        "a b=\"<\"",
        "a b=\"&x;\"",
        "a b=\"&\"",
        "a b=\"\u{1}\"",
        "a 1=\"1\"",
        "a / ",
        "a b=\"1\"/ ",
        "a b\"1\"",
        "a,b=\"1\"",
    ] {
        check_content_error(&format!("<{tag}/>"), Code::NotWellFormed);
    }
}

#[test]
fn what_may_stand_in_front() {
    check("<?xml version=\"1.0\"?><feedback/>", "feedback()");
    check("\u{feff}<?xml version=\"1.0\"?><feedback/>", "feedback()");
    check(
        "\r\n <?xml version=\"1.0\"?>\n<!-- a --><?b?>\n<feedback/>",
        "feedback()",
    );
    check("<xs:schema a=\"b\">\n<feedback/>", "feedback()");
    check("<schema/><feedback>x</feedback>", "feedback(x)");
    check("<?xml-stylesheet href=\"a\"?><feedback/>", "feedback()");
    check_error("", Code::Empty);
    check_error(" \n", Code::NotAReport);
    check_error("hello", Code::NotAReport);
    check_error("<html></html>", Code::NotAReport);
    check_error("<feedbacks/>", Code::NotAReport);
    check_error("<xs:schema><xs:schema><feedback/>", Code::NotAReport);
    check_error("<![CDATA[x]]><feedback/>", Code::NotWellFormed);
    check_error("<?xml \u{13}?><feedback/>", Code::NotWellFormed);
    check_error(
        "<!-- a --><?xml version=\"1.0\"?><feedback/>",
        Code::NotWellFormed,
    );
    check_error("<?xml version=\"1.0\"?>x<feedback/>", Code::NotAReport);
}

#[test]
fn what_may_stand_behind() {
    check("<feedback/>\r\n", "feedback()");
    check("<feedback/>\0\0", "feedback()");
    check("<feedback/> junk </x>", "feedback()");
    check("<feedback/><!-- end -->", "feedback()");
    check_error("<feedback/>\n<feedback/>", Code::NotWellFormed);
}

#[test]
fn doctype_is_refused_at_once() {
    check_error("<!DOCTYPE", Code::Doctype);
    check_error("<!doctype html>", Code::Doctype);
    check_error(
        "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b \"c\">",
        Code::Doctype,
    );
    check_content_error("<!DOCTYPE a>", Code::Doctype);
}

#[test]
fn an_early_end_is_told_from_damage() {
    let xml = "<?xml version=\"1.0\"?><!-- a --><feedback a=\"b\"><row>&amp;<!-- b --><![CDATA[c]]>\
               <count >1</count ><a/></row></feedback>";
    for end in 1..xml.len() {
        check_error(&xml[..end], Code::Truncated);
    }
}

#[test]
fn limits_hold() {
    let limits = Limits {
        xml_depth: 3,
        attributes: 2,
        text_bytes: 50,
        record_gap_bytes: 1000,
        report_bytes: 5000,
        ..Limits::default()
    };
    let check = |content: &str, code| {
        let xml = format!("<feedback>{content}</feedback>");
        let found = read(xml.as_bytes(), &limits).map_err(|error| error.code);
        assert_eq!(found.err(), code, "{content}");
    };
    check("<a><b/></a>", None);
    check("<a><b><c/></b></a>", Some(Code::TooManyParts));
    check("<a b='' c=''/>", None);
    check("<a b='' c='' d=''/>", Some(Code::TooLarge));
    check(&"a".repeat(50), None);
    check(&"a".repeat(51), Some(Code::TooLarge));
    check(&" ".repeat(51), Some(Code::TooLarge));
    check(&"&lt;".repeat(51), Some(Code::TooLarge));
    check(&"<![CDATA[aaaaaaaaaa]]>".repeat(6), Some(Code::TooLarge));
    check(
        &format!("<a b='{}'/>", "b".repeat(50)),
        Some(Code::TooLarge),
    );
    check(&format!("<{}/>", "b".repeat(50)), Some(Code::TooLarge));
    check(&format!("<!--{}-->", "b".repeat(50)), Some(Code::TooLarge));
    check(&format!("<?a {}?>", "b".repeat(50)), Some(Code::TooLarge));
    check(&"<a/>".repeat(300), Some(Code::TooLarge));
    check(&"<!--a-->".repeat(1000), Some(Code::TooLarge));
}

/// The edge of the window may fall anywhere.
#[test]
fn tokens_at_the_edge_of_the_window() {
    let content = "<row a=\"b\" >&amp;x<!-- c -->]y<![CDATA[<d>]]></row ><count>12</count>\n  <n:e/><?p i?>\u{fc}";
    let expected = "feedback(row(&x]y<d>)count(12)n:e()\u{fc})";
    let filler = format!("<!--{}-->", "f".repeat(50_000)).repeat(5);
    let left = 256 * 1024 - filler.len() - "<feedback><!---->".len();
    for shift in 0..content.len() + 2 {
        let last = "f".repeat(left - shift);
        let xml = format!("<feedback>{filler}<!--{last}-->{content}</feedback>");
        check(&xml, expected);
    }
}

#[test]
fn encodings() {
    let utf16 = |big: bool, mark: &str| -> Vec<u8> {
        let xml =
            format!("{mark}<?xml version=\"1.0\" encoding=\"UTF-16\"?><feedback>\u{fc}</feedback>");
        let bytes = |unit: u16| {
            if big {
                unit.to_be_bytes()
            } else {
                unit.to_le_bytes()
            }
        };
        xml.encode_utf16().flat_map(bytes).collect()
    };
    for xml in [
        utf16(true, "\u{feff}"),
        utf16(false, "\u{feff}"),
        utf16(true, ""),
        utf16(false, ""),
        b"<?xml version='1.0' encoding='windows-1252'?><feedback>\xfc</feedback>".to_vec(),
        b"<?xml version='1.0' encoding = \"ISO-8859-1\" ?><feedback>\xfc</feedback>".to_vec(),
        b"<?xml version='1.0' encoding='utf8'?><feedback>\xc3\xbc</feedback>".to_vec(),
        b"<?xml version='1.0' encoding='us-ascii'?><feedback>\xc3\xbc</feedback>".to_vec(),
        b"<?xml version='1.0' encoding='UTF-16'?><feedback>\xc3\xbc</feedback>".to_vec(),
        b"<?xml version='1.0' encoding=''?><feedback>\xc3\xbc</feedback>".to_vec(),
        "<feedback>\u{fc}</feedback>".into(),
    ] {
        let line = read(&xml, &Limits::default()).unwrap();
        assert_eq!(
            line,
            "feedback(\u{fc})",
            "{}",
            String::from_utf8_lossy(&xml)
        );
    }
    check_error(
        "<?xml version='1.0' encoding='klingon'?><feedback/>",
        Code::BadEncoding,
    );
    check_error(
        "<?xml version='1.0' encoding='iso-2022-kr'?><feedback/>",
        Code::BadEncoding,
    );
}

/// In UTF-8 the text is half as long again, so that it ends up in other places than the document's own size says.
#[test]
fn other_encodings_are_read_whole() {
    for euros in (0..200).chain([5_000, 21_845]) {
        let text = "\u{20ac}".repeat(euros);
        let xml = format!(
            "<feedback>{}</feedback>",
            format!("<a>{text}</a>").repeat(9)
        );
        let units: Vec<u8> = xml.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let line = read(&units, &Limits::default()).unwrap();
        assert_eq!(
            line.matches('\u{20ac}').count(),
            9 * euros,
            "{euros} in each"
        );
    }
}

#[test]
fn invalid_utf8_is_replaced() {
    let line = read(b"<feedback>a\x91b</feedback>", &Limits::default()).unwrap();
    assert_eq!(line, "feedback(a\u{fffd}b)");
}

/// What quick-xml makes of the same bytes; `None` if it finds fault with them.
fn read_with_quick_xml(xml: &str) -> Option<String> {
    let mut reader = quick_xml::Reader::from_str(xml);
    reader.config_mut().check_comments = true;
    let (mut line, mut text, mut depth) = (String::new(), String::new(), 0);
    loop {
        let event = reader.read_event().ok()?;
        if matches!(event, Event::Start(_) | Event::End(_) | Event::Empty(_)) {
            line.push_str(text.trim());
            text.clear();
        }
        match event {
            Event::Start(tag) | Event::Empty(tag) if tag.attributes().any(|a| a.is_err()) => {
                return None;
            }
            Event::Start(tag) => {
                line.push_str(tag.name().0);
                line.push('(');
                depth += 1;
            }
            Event::Empty(tag) => line.push_str(&format!("{}()", tag.name().0)),
            Event::End(_) => {
                line.push(')');
                depth -= 1;
            }
            Event::Text(content) => text.push_str(&content),
            Event::CData(content) => text.push_str(&content),
            Event::GeneralRef(name) => {
                let reference = format!("&{};", &*name);
                let (char, length) = reference_of(reference.as_bytes())?;
                assert_eq!(length, reference.len());
                text.push(char);
            }
            Event::Eof => return None,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
        if depth == 0 && !line.is_empty() {
            return Some(line);
        }
    }
}

fn reference_of(bytes: &[u8]) -> Option<(char, usize)> {
    scan::reference(bytes)
}

/// Whatever is accepted here is what another parser reads, event for event. The other way round there are
/// exceptions: quick-xml does not check names, characters and what stands around the root element.
#[test]
fn agrees_with_quick_xml() {
    const PIECES: [&str; 24] = [
        "<row>",
        "</row>",
        "<a>",
        "</a>",
        "<b:c d=\"e\">",
        "</b:c>",
        "<f/>",
        "<g h='i' />",
        "text",
        " ",
        "\n",
        "&amp;",
        "&#65;",
        "&x;",
        "<!-- c -->",
        "<?p i?>",
        "<![CDATA[d]]>",
        "]",
        "]]>",
        "<",
        ">",
        "&",
        "\u{fc}",
        "</row >",
    ];
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut pick = move |from: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % from as u64) as usize
    };
    let mut accepted = 0;
    for round in 0..60_000 {
        let mut content = String::new();
        let mut open = Vec::new();
        for _ in 0..pick(12) {
            // Mostly what fits, so that a good part is well-formed.
            match pick(8) {
                0 if round % 2 == 0 => content.push_str(PIECES[pick(PIECES.len())]),
                1 | 2 => {
                    let name = ["row", "a", "b:c", "count"][pick(4)];
                    content.push_str(&format!("<{name}>"));
                    open.push(name);
                }
                3 | 4 => {
                    if let Some(name) = open.pop() {
                        content.push_str(&format!("</{name}>"));
                    }
                }
                _ => content.push_str(PIECES[6 + pick(11)]),
            }
        }
        while let Some(name) = open.pop() {
            content.push_str(&format!("</{name}>"));
        }
        let xml = format!("<feedback>{content}</feedback>");
        if let Ok(ours) = read(xml.as_bytes(), &Limits::default()) {
            accepted += 1;
            assert_eq!(Some(ours), read_with_quick_xml(&xml), "{xml}");
        }
    }
    assert!(accepted > 10_000, "{accepted} accepted");
}
