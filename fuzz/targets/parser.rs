//! Any bytes as the XML of a report. What is accepted must add up, must not depend on how it is read, and must be
//! the same to another XML parser.

#![no_main]

use libfuzzer_sys::fuzz_target;
use quick_xml::events::Event;
use report::{Error, Limits, Parser, Record, Summary, WarningCode, Xml};

fuzz_target!(|bytes: &[u8]| {
    let xml = Xml::from_bytes(bytes.to_vec());
    let read = parse(&xml, 1000);
    assert_eq!(read.as_ref().ok(), parse(&xml, 1).as_ref().ok());
    let Ok((summary, records)) = read else {
        return;
    };
    let stored = summary.record_count - summary.skipped_count;
    assert_eq!(records.len() as u64, stored);
    let messages: u64 = records.iter().map(|record| record.message_count).sum();
    assert_eq!(messages, summary.message_count);
    let passed = records.iter().filter(|record| record.dmarc_pass());
    let passed: u64 = passed.map(|record| record.message_count).sum();
    assert_eq!(passed, summary.dmarc_pass_count);

    let repaired = [
        WarningCode::LeadingBytes,
        WarningCode::InvalidEncoding,
        WarningCode::StraySchema,
    ];
    let is_repaired = summary
        .warnings
        .iter()
        .any(|warning| repaired.contains(&warning.code));
    if let Ok(text) = str::from_utf8(bytes)
        && !is_repaired
        && !text.contains("encoding")
    {
        assert_eq!(records_by_quick_xml(text), Some(summary.record_count));
    }
});

fn parse(xml: &Xml, chunk: usize) -> Result<(Summary, Vec<Record>), Error> {
    let mut parser = Parser::open(xml, &Limits::default())?;
    let mut records = Vec::new();
    while parser.read_records(&mut records, chunk)? {}
    Ok((parser.finish(), records))
}

/// The number of `record` elements below the root; `None` if the document is not well-formed.
fn records_by_quick_xml(text: &str) -> Option<u64> {
    let mut reader = quick_xml::Reader::from_str(text);
    reader.config_mut().check_comments = true;
    let (mut depth, mut records) = (0, 0);
    loop {
        match reader.read_event().ok()? {
            Event::Start(tag) => {
                depth += 1;
                records += u64::from(depth == 2 && tag.local_name().as_ref() == "record");
            }
            Event::Empty(tag) => {
                records += u64::from(depth == 1 && tag.local_name().as_ref() == "record");
                if depth == 0 {
                    return Some(0);
                }
            }
            Event::End(_) if depth == 1 => return Some(records),
            Event::End(_) => depth -= 1,
            Event::Eof => return None,
            _ => {}
        }
    }
}
